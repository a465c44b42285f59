package audit

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// chained returns a store with a sound chain of n events.
func chained(t *testing.T, n int) *memLog {
	t.Helper()
	m := &memLog{}
	for i := range n {
		m.append(told(i + 1))
	}
	if err := (&Sequencer{Store: m}).CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// relink chains all links anew, as somebody with the database in his hands can.
func (m *memLog) relink() {
	var last Link
	for i := range m.links {
		l := &m.links[i]
		l.Number = int64(i) + 1
		for _, r := range m.events {
			if r.ID == l.Event {
				l.Leaf = LeafHash(r.Body)
			}
		}
		l.Hash = chainHash(l.Number, last.Hash, l.Leaf)
		last = *l
	}
}

func found(t *testing.T, m *memLog, kept ...Head) ([]Finding, Summary) {
	t.Helper()
	var all []Finding
	sum, err := Verify(t.Context(), m, kept, func(f Finding) { all = append(all, f) })
	if err != nil {
		t.Fatal(err)
	}
	if int(sum.Findings) != len(all) {
		t.Errorf("%d findings counted, %d reported", sum.Findings, len(all))
	}
	return all, sum
}

func TestTampering(t *testing.T) {
	resealed := func(i int, change func(*Event)) Record {
		e := told(i)
		change(&e)
		r, err := seal(e)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	at := func(n int64, k Kind) Finding { return Finding{Kind: k, Number: n} }
	for _, tt := range []struct {
		name   string
		tamper func(*memLog)
		kept   bool // compare with a head kept before the tampering
		want   []Finding
	}{
		{"nothing", func(*memLog) {}, true, nil},
		{"body changed", func(m *memLog) {
			m.events[4].Body = []byte(strings.Replace(string(m.events[4].Body), "ordinary", "extra", 1))
		}, false, []Finding{at(5, Changed)}},
		{"body and leaf changed", func(m *memLog) {
			m.events[4] = resealed(5, func(e *Event) { e.By = "per_2" })
		}, false, []Finding{at(5, Changed)}},
		{"body, leaf and link's leaf changed", func(m *memLog) {
			m.events[4] = resealed(5, func(e *Event) { e.By = "per_2" })
			m.links[4].Leaf = m.events[4].Leaf
		}, false, []Finding{at(5, Broken)}},
		{"body changed and its link chained anew", func(m *memLog) {
			m.events[4] = resealed(5, func(e *Event) { e.By = "per_2" })
			m.links[4].Leaf = m.events[4].Leaf
			m.links[4].Hash = chainHash(5, m.links[3].Hash, m.links[4].Leaf)
		}, false, []Finding{at(6, Broken)}},
		{"last event changed and chained anew", func(m *memLog) {
			m.events[9] = resealed(10, func(e *Event) { e.By = "per_2" })
			m.relink()
		}, true, []Finding{at(10, Forked)}},
		{"body that is no event, chained", func(m *memLog) {
			m.events[9].Body = []byte("{}")
			m.relink()
		}, false, []Finding{at(10, Malformed)}},
		{"column act", func(m *memLog) { m.events[4].Act = OrderApproved }, false, []Finding{at(5, Changed)}},
		{"column by", func(m *memLog) { m.events[4].By = "per_2" }, false, []Finding{at(5, Changed)}},
		{"column at", func(m *memLog) { m.events[4].At = m.events[4].At.Add(time.Microsecond) }, false, []Finding{at(5, Changed)}},
		{"column leaf", func(m *memLog) { m.events[4].Leaf[0]++ }, false, []Finding{at(5, Changed)}},
		{"event deleted", func(m *memLog) { m.events = slices.Delete(m.events, 4, 5) }, false, []Finding{at(5, Missing)}},
		{"event and link deleted", func(m *memLog) {
			m.events = slices.Delete(m.events, 4, 5)
			m.links = slices.Delete(m.links, 4, 5)
		}, false, []Finding{at(5, Missing)}},
		{"first deleted", func(m *memLog) { m.links = m.links[1:]; m.events = m.events[1:] }, false, []Finding{at(1, Missing)}},
		{"deleted and chained anew", func(m *memLog) {
			m.links = slices.Delete(m.links, 4, 5)
			m.events = slices.Delete(m.events, 4, 5)
			m.relink()
		}, true, []Finding{at(10, Cut)}},
		{"deleted and renumbered", func(m *memLog) {
			m.links = slices.Delete(m.links, 7, 8)
			m.links[7].Number, m.links[8].Number = 8, 9
		}, false, []Finding{at(8, Broken), at(9, Broken)}},
		{"two events exchanged", func(m *memLog) {
			m.links[4].Event, m.links[5].Event = m.links[5].Event, m.links[4].Event
		}, false, []Finding{at(5, Changed), at(6, Changed)}},
		{"two rows exchanged", func(m *memLog) {
			m.links[4].Number, m.links[5].Number = 6, 5
		}, false, []Finding{at(5, Broken), at(6, Broken), at(7, Broken)}},
		{"rows exchanged and all chained anew", func(m *memLog) {
			m.links[4].Event, m.links[5].Event = m.links[5].Event, m.links[4].Event
			m.relink()
		}, true, []Finding{at(10, Forked)}},
		{"row inserted in the middle", func(m *memLog) {
			r := m.append2(told(99))
			for i := 5; i < 10; i++ {
				m.links[i].Number++
			}
			l := Link{Number: 6, Event: r.ID, Leaf: r.Leaf, Hash: chainHash(6, m.links[4].Hash, r.Leaf)}
			m.links = slices.Insert(m.links, 5, l)
		}, false, []Finding{at(7, Broken), at(8, Broken), at(9, Broken), at(10, Broken), at(11, Broken)}},
		{"row hidden under number 0", func(m *memLog) {
			r := m.append2(told(99))
			m.links = append(m.links, Link{Number: 0, Event: r.ID, Leaf: r.Leaf, Hash: chainHash(0, [32]byte{}, r.Leaf)})
		}, false, []Finding{at(0, Broken)}},
		{"tail cut, nothing kept", func(m *memLog) { m.links = m.links[:7]; m.events = m.events[:7] }, false, nil},
		{"tail cut", func(m *memLog) { m.links = m.links[:7]; m.events = m.events[:7] }, true, []Finding{at(10, Cut)}},
		{"everything cut", func(m *memLog) { m.links, m.events = nil, nil }, true, []Finding{at(10, Cut)}},
		{"another chain", func(m *memLog) { *m = *chained(t, 12) }, true, []Finding{at(10, Forked)}},
		{"personal value", func(m *memLog) { m.events[4].Personal[0].Value = "Eva Öberg" }, false, []Finding{at(5, PersonalChanged)}},
		{"salt", func(m *memLog) { m.events[4].Personal[0].Salt[3]++ }, false, []Finding{at(5, PersonalChanged)}},
		{"personal values exchanged", func(m *memLog) {
			p := m.events[4].Personal
			p[0].Value, p[1].Value = p[1].Value, p[0].Value
			p[0].Salt, p[1].Salt = p[1].Salt, p[0].Salt
		}, false, []Finding{at(5, PersonalChanged), at(5, PersonalChanged)}},
		{"personal field added", func(m *memLog) {
			m.events[4].Personal = append(m.events[4].Personal, PersonalField{Name: "phone", Value: "1"})
		}, false, []Finding{at(5, PersonalChanged)}},
		{"personal field doubled", func(m *memLog) {
			m.events[4].Personal = append(m.events[4].Personal, m.events[4].Personal[0])
		}, false, []Finding{at(5, PersonalChanged)}},
		{"personal field erased", func(m *memLog) { m.events[4].Personal = nil }, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := chained(t, 10)
			head, err := ReadHead(t.Context(), m, time.Unix(0, 0))
			if err != nil {
				t.Fatal(err)
			}
			tt.tamper(m)
			var kept []Head
			if tt.kept {
				kept = append(kept, head)
			}
			got, sum := found(t, m, kept...)
			same := func(a, b Finding) bool { return a.Kind == b.Kind && a.Number == b.Number }
			if !slices.EqualFunc(got, tt.want, same) {
				t.Errorf("found %v, want %v", got, tt.want)
			}
			for _, f := range got {
				if f.Detail == "" || strings.Contains(f.String(), "berg") {
					t.Errorf("finding %v has no detail, or a personal one", f)
				}
			}
			if proven := tt.kept && len(tt.want) == 0; (sum.Proven == 10) != proven {
				t.Errorf("Proven = %d", sum.Proven)
			}
		})
	}
}

// A body that somebody has emptied is found though an act covers its number, if what
// stands before it is newer than what that act says it erased.
func TestErasedYesterdayIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		through time.Time
		want    []Kind
	}{
		"an act of its own time":    {told(4).At.Add(-MaxBack), nil},
		"an act of long before":     {told(4).At.Add(-MaxBack - time.Microsecond), []Kind{Erased}},
		"an act of eighteen months": {AccessThrough(told(11).At), []Kind{Erased}},
	} {
		t.Run(name, func(t *testing.T) {
			m := chained(t, 10)
			e := &m.events[4]
			e.Body, e.Personal, e.Act, e.By = nil, nil, RequestRefused, "erased"
			act := told(11)
			act.At, act.Act, act.By, act.Personal = c.through.AddDate(2, 0, 0), RetentionErased, "system", nil
			act.Public = Erasure{What: string(Access), Through: c.through, From: 5, To: 5, Count: 1}.Fields()
			if name == "an act of eighteen months" {
				act.At = told(11).At
			}
			m.append(act)
			if err := (&Sequencer{Store: m}).CatchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, sum := found(t, m)
			if !slices.EqualFunc(got, c.want, func(f Finding, k Kind) bool { return f.Kind == k && f.Number == 5 }) || sum.Bodies != 1 {
				t.Errorf("found %v, want %v", got, c.want)
			}
		})
	}
}

// append2 appends without numbering, for tampering.
func (m *memLog) append2(e Event) Record { return m.append(e) }

func TestSummary(t *testing.T) {
	m := chained(t, 10)
	early, err := ReadHead(t.Context(), m, time.Date(2026, 3, 1, 12, 0, 0, 999, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParseHead(early.String()); err != nil || again != early {
		t.Fatalf("%v is read as %v, %v", early, again, err)
	}
	empty, err := ReadHead(t.Context(), &memLog{}, time.Unix(0, 0))
	if err != nil || empty.Number != 0 {
		t.Fatalf("head of the empty chain = %v, %v", empty, err)
	}
	for i := 10; i < 1234; i++ { // more than a page
		m.append(told(i + 1))
	}
	if err := (&Sequencer{Store: m}).CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.append(told(9000))
	m.events[3].Personal = nil

	got, sum := found(t, m)
	if len(got) != 0 || sum.Links != 1234 || sum.Head.Number != 1234 || sum.Personal != 2*1233 || sum.Erased != 2 || sum.Unnumbered != 1 || sum.Proven != 0 {
		t.Errorf("found %v, %+v", got, sum)
	}
	wantSentences(t, sum, "no head kept elsewhere", "not numbered yet", "2 personal values are erased")

	got, sum = found(t, m, early, empty)
	if len(got) != 0 || sum.Proven != 10 {
		t.Errorf("found %v, Proven %d", got, sum.Proven)
	}
	wantSentences(t, sum, "rows 11 to 1234 are newer", "not numbered yet", "erased")

	late, err := ReadHead(t.Context(), m, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	got, sum = found(t, m, late, early)
	if len(got) != 0 || sum.Proven != 1234 {
		t.Errorf("found %v, Proven %d", got, sum.Proven)
	}
	wantSentences(t, sum, "rows after 1234", "not numbered yet", "erased")
}

func wantSentences(t *testing.T, s Summary, parts ...string) {
	t.Helper()
	all := s.Unproven()
	if len(all) != len(parts) {
		t.Errorf("Unproven = %q", all)
		return
	}
	for i, part := range parts {
		if !strings.Contains(all[i], part) {
			t.Errorf("Unproven[%d] = %q, want %q in it", i, all[i], part)
		}
	}
}

// hidingStore joins links and events: a link whose event was deleted is not seen.
type hidingStore struct {
	*memLog
	wrong bool // also returns rows that do not follow
}

func (h hidingStore) View(ctx context.Context, fn func(*Tx) error) error {
	return h.memLog.View(ctx, func(tx *Tx) error { return fn(&Tx{Log: hidingTx{tx.Log, h.wrong}}) })
}

type hidingTx struct {
	Log
	wrong bool
}

func (h hidingTx) Linked(after int64, limit int) ([]Record, []Link, error) {
	if h.wrong {
		after = 0
	}
	recs, links, err := h.Log.Linked(after, limit)
	for i := len(recs) - 1; i >= 0; i-- {
		if recs[i].ID == "" {
			recs, links = slices.Delete(recs, i, i+1), slices.Delete(links, i, i+1)
		}
	}
	return recs, links, err
}

func TestVerifyOverJoin(t *testing.T) {
	m := chained(t, 10)
	m.events = slices.Delete(m.events, 9, 10) // the last: only the head tells
	m.events = slices.Delete(m.events, 2, 3)
	var got []Finding
	if _, err := Verify(t.Context(), hidingStore{memLog: m}, nil, func(f Finding) { got = append(got, f) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Kind != Missing || got[0].Number != 3 || got[1].Kind != Missing || got[1].Number != 10 {
		t.Errorf("found %v", got)
	}
}

func TestVerifyEndsOnBrokenStore(t *testing.T) {
	_, err := Verify(t.Context(), hidingStore{memLog: chained(t, 3), wrong: true}, nil, nil)
	if err == nil {
		t.Error("a store that returns the same page for ever was believed")
	}
}

func TestVerifyCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Verify(ctx, chained(t, 3), nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Verify = %v", err)
	}
}
