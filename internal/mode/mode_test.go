package mode_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sigill/ca"
	"sigill/internal/mode"
	"sigill/policy"
)

const mib = 1 << 20

// bench is a Keeper over a directory, a disk and a clock that the test moves.
type bench struct {
	*mode.Keeper
	t       *testing.T
	dir     string
	free    uint64
	freeErr error
	now     time.Time
	failing []ca.IssuerID
	made    []string // events
	fails   bool     // the database does not work
	log     bytes.Buffer
	reserve mode.File
}

var errFull = errors.New("no room")

func set(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), free: 1000 * mib, now: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)}
	b.reserve = mode.File{Path: filepath.Join(b.dir, "disk.reserve"), Size: mib}
	b.start()
	return b
}

// start makes a new Keeper, as a new process does.
func (b *bench) start() {
	b.t.Helper()
	var err error
	b.Keeper, err = mode.New(mode.Config{
		Dir: b.dir, Full: func(err error) bool { return errors.Is(err, errFull) }, Now: func() time.Time { return b.now },
		Log: slog.New(slog.NewTextHandler(&b.log, nil)), Failing: func() []ca.IssuerID { return b.failing },
		Disk: mode.Disk{Paths: []string{b.dir}, Free: func(string) (uint64, error) { return b.free, b.freeErr },
			StopBelow: 100 * mib, Reserve: b.reserve, ReserveSize: mib},
		Record: func(_ context.Context, act mode.Act, n mode.Notice) error {
			if b.fails {
				return errors.New("the database does not work")
			}
			b.made = append(b.made, string(act)+" "+n.ReasonEN)
			return nil
		}})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) look() { b.Look(b.t.Context()) }

func (b *bench) modes(want ...policy.Mode) {
	b.t.Helper()
	if got := b.Modes(); !slices.Equal(got, want) {
		b.t.Errorf("modes %v, want %v", got, want)
	}
}

func (b *bench) begin(reason string) mode.Notice {
	b.t.Helper()
	n, err := mode.Begin(b.dir, mode.Notice{Begun: b.now, Until: b.now.Add(time.Hour), ReasonSV: "Databasen flyttas.", ReasonEN: reason, By: "operator"})
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

// TestOutageIsHeardOf: from the file alone; recorded once, by whichever process,
// and as soon as the database takes it.
func TestOutageIsHeardOf(t *testing.T) {
	b := set(t)
	b.look()
	b.modes(policy.ModeNormal)
	if d := b.MayIssue("x"); !d.Allow {
		t.Fatalf("%+v", d)
	}
	b.fails = true
	n := b.begin("one")
	b.look()
	b.modes(policy.ModeOutage)
	if got, on := b.Outage(); !on || got.ID != n.ID || len(b.made) != 0 {
		t.Fatalf("outage %+v %t, events %v", got, on, b.made)
	}
	for w, want := range map[policy.Work]policy.Rule{policy.WorkIssue: policy.ServiceOutage, policy.WorkChange: "", policy.WorkRevoke: "", policy.WorkConfirm: ""} {
		if d := b.MayWork(w); d.Rule != want {
			t.Errorf("%s: %+v", w, d)
		}
	}
	b.fails = false
	b.look()
	b.look()
	b.start()
	b.look()
	b.now = b.now.Add(2 * time.Hour) // it does not end by itself
	b.look()
	b.modes(policy.ModeOutage)
	b.begin("two")
	b.look()
	if _, err := mode.End(b.dir, b.now); err != nil {
		t.Fatal(err)
	}
	b.look()
	b.look()
	b.modes(policy.ModeNormal)
	if _, err := mode.End(b.dir, b.now); !errors.Is(err, mode.ErrNoOutage) {
		t.Errorf("End again: %v", err)
	}
	b.begin("three") // begun and ended while nobody looks
	if _, err := mode.End(b.dir, b.now); err != nil {
		t.Fatal(err)
	}
	b.start()
	b.look()
	b.start()
	b.look()
	if want := []string{"begun one", "begun two", "ended two", "begun three", "ended three"}; !slices.Equal(b.made, want) {
		t.Errorf("events %v, want %v", b.made, want)
	}
}

// TestUnreadableAnnouncementStopsIssuing: somebody meant something by it.
func TestUnreadableAnnouncementStopsIssuing(t *testing.T) {
	b := set(t)
	file := filepath.Join(b.dir, "outage.json")
	if err := os.WriteFile(file, []byte(`{"id":`), 0o600); err != nil {
		t.Fatal(err)
	}
	b.look()
	b.look()
	b.modes(policy.ModeOutage)
	if n := strings.Count(b.log.String(), "reading the announcement"); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
	if len(b.made) != 0 {
		t.Errorf("events %v", b.made)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	b.look()
	b.modes(policy.ModeNormal)
}

// TestDiskMarks walks free space down and up over every mark.
func TestDiskMarks(t *testing.T) {
	b := set(t)
	for _, step := range []struct {
		free uint64 // MiB
		low  bool
		held bool
	}{
		{1000, false, true}, // the reserve is taken at the first look
		{101, false, true},
		{100, false, true},
		{99, true, true},
		{50, true, true},
		{105, true, true}, // not yet: it would flicker
		{112, true, true},
		{113, false, true},
		{1, true, true},
		{0, true, false}, // less than the reserve: it is given back
		{2, true, false}, // which is seen as free space
		{113, false, false},
		{114, false, false},
		{115, false, true},
	} {
		b.free = step.free * mib
		b.look()
		_, held := b.Space()
		if low := b.Modes()[0] == policy.ModeDiskLow; low != step.low || held != step.held || b.reserve.Held() != step.held {
			t.Fatalf("%d MiB free: low %t, reserve %t (%t); want %t, %t", step.free, low, held, b.reserve.Held(), step.low, step.held)
		}
	}
	b.free = 0
	b.look()
	for w, want := range map[policy.Work]policy.Rule{policy.WorkIssue: policy.ServiceRevokeOnly, policy.WorkChange: policy.ServiceRevokeOnly,
		policy.WorkRevoke: "", policy.WorkConfirm: "", policy.WorkRead: ""} {
		if d := b.MayWork(w); d.Rule != want {
			t.Errorf("%s: %+v", w, d)
		}
	}
}

// TestFullAtOnce: a write that finds no room counts before the next look and for
// half a minute, whatever the file system says of itself.
func TestFullAtOnce(t *testing.T) {
	b := set(t)
	b.look()
	b.Saw(nil)
	b.Saw(errors.New("another"))
	b.modes(policy.ModeNormal)
	b.Saw(fmt.Errorf("writing: %w", errFull))
	b.modes(policy.ModeDiskLow)
	if b.reserve.Held() {
		t.Error("the reserve is still taken")
	}
	b.now = b.now.Add(29 * time.Second)
	b.look()
	b.modes(policy.ModeDiskLow)
	b.now = b.now.Add(time.Second)
	b.look()
	b.modes(policy.ModeNormal)
	if !b.reserve.Held() {
		t.Error("the reserve was not taken again")
	}
}

// TestUnknownSpace: where free space cannot be read, only full writes count, and
// they pass.
func TestUnknownSpace(t *testing.T) {
	b := set(t)
	b.freeErr = errors.New("not here")
	b.look()
	b.look()
	b.modes(policy.ModeNormal)
	if n := strings.Count(b.log.String(), "reading the free space"); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
	b.Saw(errFull)
	b.modes(policy.ModeDiskLow)
	b.now = b.now.Add(time.Minute)
	b.look()
	b.modes(policy.ModeNormal)
}

// TestStrictestFirst: with everything wrong at once the answer is the strictest,
// and a failing signer is told and is not everybody's.
func TestStrictestFirst(t *testing.T) {
	b := set(t)
	b.failing = []ca.IssuerID{"person"}
	b.look()
	b.modes(policy.ModeSignerDown)
	if d := b.MayWork(policy.WorkIssue); !d.Allow {
		t.Errorf("another CA's signer: %+v", d)
	}
	b.begin("one")
	b.free = 0
	b.look()
	b.modes(policy.ModeDiskLow, policy.ModeOutage, policy.ModeSignerDown)
	if d := b.MayWork(policy.WorkIssue); d.Rule != policy.ServiceRevokeOnly {
		t.Errorf("%+v", d)
	}
}

// TestRunHearsWithinASecond: the loop of the server.
func TestRunHearsWithinASecond(t *testing.T) {
	b := set(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { b.Run(ctx); close(done) }()
		b.begin("one")
		time.Sleep(time.Second)
		synctest.Wait()
		b.modes(policy.ModeOutage)
		if _, err := mode.End(b.dir, b.now); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		b.modes(policy.ModeNormal)
		stop()
		<-done
	})
}

func TestNoticeText(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	n := mode.Notice{ReasonSV: "Databasen flyttas.", ReasonEN: "The database is moved.", Until: time.Date(2026, 5, 1, 18, 0, 0, 0, zone)}
	for _, c := range []struct {
		lang string
		now  time.Time
		want string
	}{
		{"sv", n.Until.Add(-time.Minute), "Databasen flyttas. Beräknas vara klart 2026-05-01 18:00 (+02:00)."},
		{"en", n.Until.Add(-time.Minute), "The database is moved. Expected to be over at 2026-05-01 18:00 (+02:00)."},
		{"en", n.Until, "The database is moved."},
	} {
		if got := n.Text(c.lang, c.now); got != c.want {
			t.Errorf("%s: %q", c.lang, got)
		}
	}
	if got := (mode.Notice{}).Text("sv", time.Now()); got != "" {
		t.Errorf("no notice: %q", got)
	}
}

func TestBeginRefuses(t *testing.T) {
	now := time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)
	good := mode.Notice{Begun: now, Until: now.Add(time.Hour), ReasonSV: "å", ReasonEN: "a"}
	for name, change := range map[string]func(*mode.Notice){
		"over before it begins": func(n *mode.Notice) { n.Until = now },
		"no Swedish":            func(n *mode.Notice) { n.ReasonSV = " " },
		"no English":            func(n *mode.Notice) { n.ReasonEN = "" },
		"two lines":             func(n *mode.Notice) { n.ReasonEN = "a\nb" },
		"steers a terminal":     func(n *mode.Notice) { n.ReasonEN = "a\x1b[2J" },
		"too long":              func(n *mode.Notice) { n.ReasonSV = strings.Repeat("å", 501) },
	} {
		dir := t.TempDir()
		n := good
		change(&n)
		if _, err := mode.Begin(dir, n); err == nil {
			t.Errorf("%s: no error", name)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	if _, err := mode.Begin(t.TempDir(), good); err != nil {
		t.Error(err)
	}
}

// TestReserveIsThere: it takes the space that it says, is recognised by another
// process, and one of another size is not it.
func TestReserveIsThere(t *testing.T) {
	f := mode.File{Path: filepath.Join(t.TempDir(), "reserve"), Size: 3*mib + 1}
	if f.Held() || f.Release() != nil {
		t.Fatal("a reserve that was never made")
	}
	if err := f.Make(); err != nil {
		t.Fatal(err)
	}
	if used := allocated(t, f.Path); !f.Held() || used < f.Size {
		t.Errorf("held %t, %d octets are allocated", f.Held(), used)
	}
	if (mode.File{Path: f.Path, Size: mib}).Held() {
		t.Error("a reserve of another size is taken for it")
	}
	if err := f.Release(); err != nil || f.Held() {
		t.Errorf("Release: %v", err)
	}
	nowhere := mode.File{Path: filepath.Join(t.TempDir(), "no", "reserve"), Size: 1}
	if err := nowhere.Make(); err == nil {
		t.Error("made nowhere")
	}
}

// TestRelieve: before a start the reserve goes where less than its size is free, and
// nowhere else; one of another size, of a configuration that was changed, goes too.
func TestRelieve(t *testing.T) {
	for name, test := range map[string]struct {
		free, size uint64
		err        error
		gave, left bool
	}{
		"full":           {mib - 1, mib, nil, true, false},
		"room enough":    {mib, mib, nil, false, true},
		"another size":   {0, mib / 2, nil, false, false},
		"cannot be told": {0, mib, errors.New("no file system"), false, true},
	} {
		f := mode.File{Path: filepath.Join(t.TempDir(), "disk.reserve"), Size: mib}
		if err := os.WriteFile(f.Path, make([]byte, test.size), 0o600); err != nil {
			t.Fatal(err)
		}
		d := mode.Disk{Paths: []string{t.TempDir()}, Free: func(string) (uint64, error) { return test.free, test.err }, StopBelow: 2 * mib, Reserve: f, ReserveSize: mib}
		gave, err := d.Relieve()
		if _, missing := os.Stat(f.Path); gave != test.gave || !errors.Is(err, test.err) || (missing == nil) != test.left {
			t.Errorf("%s: %t, %v; the file: %v", name, gave, err, missing)
		}
	}
	if gave, err := (mode.Disk{}).Relieve(); gave || err != nil {
		t.Errorf("without a reserve: %t, %v", gave, err)
	}
}

func TestFreeSpaceOfThisMachine(t *testing.T) {
	if free, err := mode.Free(t.TempDir()); err != nil || free == 0 {
		t.Errorf("Free = %d, %v", free, err)
	}
	if _, err := mode.Free(filepath.Join(t.TempDir(), "nothing")); err == nil {
		t.Error("Free of nothing")
	}
}

func FuzzParseNotice(f *testing.F) {
	f.Add([]byte(`{"id":"out_1","begun":"2026-05-01T08:00:00Z","until":"2026-05-01T09:00:00+02:00","reasonSv":"å","reasonEn":"a","by":"root"}`))
	f.Add([]byte(`{"id":"out_1","ended":"2026-05-01T08:00:00Z"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := mode.ParseNotice(b)
		if err != nil {
			if n.Active() {
				t.Errorf("refused and active: %+v", n)
			}
			return
		}
		if strings.ContainsAny(n.Text("sv", time.Now())+n.Text("en", time.Now()), "\n\r\x1b") {
			t.Errorf("a text steers: %q", n.Text("sv", time.Now()))
		}
	})
}
