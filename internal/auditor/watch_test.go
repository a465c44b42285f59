package auditor_test

import (
	"os"
	"slices"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/auditor"
	"sigill/internal/auditor/auditortest"
	"sigill/internal/auditor/rederive"
	"sigill/internal/config"
)

// What the public is shown must be the log that was followed.
func TestPublicCheckpoints(t *testing.T) {
	s := auditortest.Founded(t)
	a := begin(t, s)
	a.finds()
	fork := s.Fork()
	s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
	s.Sign()
	fork.EID(fork.Person(), "ordinary", fork.Admins[1], fork.Admins[0])
	fork.Sign()
	a.finds()
	watch := func(of *auditortest.Scene) []string {
		t.Helper()
		r, err := a.Watch(t.Context(), auditortest.Source{Scene: of}.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		return wrong(r)
	}
	old := s.Fork()
	if got := watch(s); len(got) > 0 {
		t.Errorf("the same: found %v", got)
	}
	if got := watch(fork); !slices.Equal(got, []string{"log.forked"}) {
		t.Errorf("another: found %v", got)
	}
	s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
	s.Sign()
	if got := watch(s); len(got) > 0 {
		t.Errorf("ahead of what was followed: found %v", got)
	}
	if got := watch(old); !slices.Equal(got, []string{"log.rolledback"}) {
		t.Errorf("smaller: found %v", got)
	}
	if got := watch(auditortest.New(t)); !slices.Equal(got, []string{"checkpoint.unsigned"}) {
		t.Errorf("another key: found %v", got)
	}
}

// A configuration that was recorded tells which addresses certificates may name.
func TestAddressesAreThoseOfTheConfiguration(t *testing.T) {
	settings := config.Defaults()
	settings.StatusURL, settings.Partitions = "http://status.example", 3
	text, err := settings.Text()
	if err != nil {
		t.Fatal(err)
	}
	h := rederive.NewHistory(nil)
	h.Add(time.Now(), text)
	rules, err := h.Rules(nil, nil)
	if err != nil || rules.StatusURL != "http://status.example" || !slices.Equal(rules.Partitions, []int{3}) {
		t.Errorf("%+v, %v", rules, err)
	}
	s := auditortest.Founded(t)
	p := s.Person()
	s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
	e := entryOf(t, s, p) // its CA has one partition
	judge := rulesOf(t, s)
	for partitions, want := range map[int]bool{1: true, 2: false} {
		judge.Partitions = []int{partitions}
		serial, err := ca.ParseSerial(e.Said.Serial)
		if err != nil {
			t.Fatal(err)
		}
		right := want || ca.PartitionOf(serial, partitions) == 0
		if got := judge.Check(e.Entry, e.Said, e.Order); (len(got.Problems) == 0) != right {
			t.Errorf("%d partitions: %v", partitions, got.Problems)
		}
	}
}

func BenchmarkFollow(b *testing.B) {
	s := auditortest.Founded(b)
	const people = 500
	for range people {
		s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
	}
	s.Sign()
	var octets int64
	for b.Loop() {
		a := begin(b, s)
		if r := a.look(); len(wrong(r)) > 0 {
			b.Fatal(r.Findings)
		}
		if err := a.book.Close(); err != nil {
			b.Fatal(err)
		}
		octets = 0
		entries, err := os.ReadDir(a.book.Dir())
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil {
				octets += info.Size()
			}
		}
	}
	b.ReportMetric(float64(b.N*people)/b.Elapsed().Seconds(), "certificates/s")
	b.ReportMetric(float64(octets)/people, "octets/certificate")
}

// A log that shows the same head for ever is noticed by the auditor's own clock, and so is
// one whose clock is ahead: by the log's own times nothing would ever be overdue.
func TestHeadsAreDated(t *testing.T) {
	for _, c := range []struct {
		name string
		now  time.Duration // after the scene
		want []string
	}{
		{"fresh", time.Hour, nil}, {"old", 3 * time.Hour, []string{"log.stale"}}, {"a little ahead", -time.Minute, nil}, {"ahead", -time.Hour, []string{"log.ahead"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := auditortest.Founded(t)
			s.Sign()
			a := begin(t, s, func(config *auditor.Config) {
				config.HeadAge, config.Now = 0, func() time.Time { return s.Now.Add(c.now) }
			})
			r, err := a.Watch(t.Context(), auditortest.Source{Scene: s}.Checkpoint)
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Compact(wrong(r)); !slices.Equal(got, c.want) {
				t.Errorf("watched: %v, want %v", got, c.want)
			}
			b := begin(t, s, func(config *auditor.Config) {
				config.HeadAge, config.Now = 0, func() time.Time { return s.Now.Add(c.now) }
			})
			if r, err = b.Follow(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !slices.Contains(wrong(r), want) {
					t.Errorf("followed: %v, want %s", wrong(r), want)
				}
			}
		})
	}
}
