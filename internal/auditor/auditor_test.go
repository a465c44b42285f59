package auditor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/auditor"
	"sigill/internal/auditor/auditortest"
	"sigill/internal/auditor/book"
	"sigill/internal/auditor/finding"
	"sigill/internal/auditor/rederive"
	"sigill/internal/checkpoint"
)

// auditing is an auditor with a book of his own.
type auditing struct {
	*auditor.Auditor
	t    testing.TB
	book *book.Book
}

func begin(t testing.TB, s *auditortest.Scene, change ...func(*auditor.Config)) *auditing {
	t.Helper()
	b, err := book.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	issuers, err := rederive.NewIssuers(s.CAs...)
	if err != nil {
		t.Fatal(err)
	}
	// A scene plays yesterday, so that what must have come by now can be missing.
	c := auditor.Config{Source: auditortest.Source{Scene: s}, Book: b, Issuers: issuers, Now: time.Now, HeadAge: 48 * time.Hour,
		Logs: map[auditor.Tree]*checkpoint.Log{auditor.Certificates: s.Logs[auditor.Certificates].Log, auditor.Acts: s.Logs[auditor.Acts].Log}}
	for _, fn := range change {
		fn(&c)
	}
	a, err := auditor.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return &auditing{a, t, b}
}

// look follows the logs and returns the report.
func (a *auditing) look() *auditor.Report {
	a.t.Helper()
	r, err := a.Follow(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	for _, f := range r.Findings {
		for _, personal := range []string{"Öström", "Åsa", "SE2321000016-", "@"} {
			if strings.Contains(f.String(), personal) {
				a.t.Errorf("finding %q holds what is personal", f)
			}
		}
	}
	return r
}

// wrong returns the kinds of what was found and is no note.
func wrong(r *auditor.Report) []string {
	var out []string
	for _, f := range r.Findings {
		if f.Severity != finding.Note {
			out = append(out, string(f.Kind))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (a *auditing) finds(want ...auditor.Kind) *auditor.Report {
	a.t.Helper()
	r := a.look()
	var kinds []string
	for _, k := range want {
		kinds = append(kinds, string(k))
	}
	slices.Sort(kinds)
	if got := wrong(r); !slices.Equal(got, kinds) {
		a.t.Errorf("found %v, want %v", got, kinds)
		for _, f := range r.Findings {
			a.t.Log(f)
		}
	}
	return r
}

// late moves the scene's clock past every time that is allowed, and signs.
func late(s *auditortest.Scene) {
	s.Tick(time.Hour)
	s.Act(audit.CALast, "system", audit.Field{Name: "issuer", Value: "x"}, audit.Field{Name: "since", Value: "x"})
	s.Sign()
}

func TestCleanInstallation(t *testing.T) {
	s := auditortest.Founded(t)
	a := begin(t, s)
	r := a.finds()
	if r.Rederived != 4 || !r.Clean() {
		t.Errorf("%d certificates were derived anew, want 4 (two officers, two administrators): %v", r.Rederived, r.Findings)
	}
	if n := len(r.Findings); n != len(s.Profiles) {
		t.Errorf("%d notes, want one for each profile", n)
	}
	// More than a chunk, over several looks, with entries in the middle of one.
	for i := range 3 {
		for range 60 {
			s.EID(s.Person(), "ordinary", s.Admins[i%2], s.Admins[(i+1)%2])
		}
		late(s)
		if r := a.finds(); r.Rederived != 60 {
			t.Errorf("%d certificates were derived anew, want 60", r.Rederived)
		}
	}
	if r := a.finds(); r.Rederived != 0 || len(r.Findings) != 0 {
		t.Errorf("a second look at the same found %v", r)
	}
	// Who begins now finds the same as who followed.
	if r := begin(t, s).finds(); r.Rederived != 184 {
		t.Errorf("%d certificates were derived anew, want 184", r.Rederived)
	}
	for _, tree := range []string{book.Certificates, book.Acts} {
		head, err := a.book.Head(t.Context(), tree)
		if err != nil {
			t.Fatal(err)
		}
		if root, err := a.book.Root(t.Context(), tree, head.Size); err != nil || root != head.Root {
			t.Errorf("the hashes that were kept of %s have another root: %v", tree, err)
		}
	}
}

func field(name, value string) audit.Field { return audit.Field{Name: name, Value: value} }

func TestLogsThatAreNotTheSame(t *testing.T) {
	for _, c := range []struct {
		name   string
		tamper func(t *testing.T, s *auditortest.Scene) *auditortest.Scene // what is shown after a first look
		want   auditor.Kind
	}{
		{"rolled back", nil, finding.RolledBack},
		{"forked, larger", func(t *testing.T, s *auditortest.Scene) *auditortest.Scene {
			for range 5 {
				s.EID(s.Person(), "ordinary", s.Admins[1], s.Admins[0])
			}
			return s
		}, finding.Forked},
		{"signed by another key", func(t *testing.T, s *auditortest.Scene) *auditortest.Scene {
			other := auditortest.New(t)
			for name, l := range s.Logs {
				l.Note, _ = l.Log.Sign(other.Logs[name].Key, l.Size, checkpoint.EmptyRoot(), s.Now)
				l.Note = []byte(strings.Replace(string(other.Logs[name].Note), "\n", " \n", 1))
			}
			return s
		}, finding.Unsigned},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := auditortest.Founded(t)
			older := s.Fork()
			s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
			s.Sign()
			a := begin(t, s)
			a.finds()
			shown := older
			if c.tamper != nil {
				shown = c.tamper(t, older)
				if c.want != finding.Unsigned {
					shown.Sign()
				}
			}
			a.Source = auditortest.Source{Scene: shown}
			before, err := a.book.Head(t.Context(), book.Acts)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // it is said again as long as it is so
				r := a.finds(c.want)
				if r.Clean() || len(r.Findings[0].Evidence) == 0 {
					t.Errorf("nothing proves %v", r.Findings)
				}
			}
			if after, err := a.book.Head(t.Context(), book.Acts); err != nil || after.Size != before.Size || after.Root != before.Root || after.Done != before.Done {
				t.Errorf("the state was advanced from %d to %d, %v", before.Size, after.Size, err)
			}
			a.Source = auditortest.Source{Scene: s}
			a.finds() // the right log is still the right one
		})
	}
}

func TestEntriesThatAreNotWhatWasSigned(t *testing.T) {
	acts := func(s *auditortest.Scene) int { return len(s.Bodies) - 3 }
	certs := func(s *auditortest.Scene) int { return len(s.Leaves) - 2 }
	for _, c := range []struct {
		name   string
		tamper func(s *auditortest.Scene)
		log    auditor.Tree
		at     func(*auditortest.Scene) int
		want   auditor.Kind
	}{
		{"act changed", func(s *auditortest.Scene) {
			s.Bodies[acts(s)] = []byte(strings.Replace(string(s.Bodies[acts(s)]), `"at":"2`, `"at":"3`, 1))
		}, auditor.Acts, acts, finding.EntryChanged},
		{"act not shown", func(s *auditortest.Scene) { s.Shown[int64(acts(s))] = auditor.ErrUnshown }, auditor.Acts, acts, finding.EntryUnshown},
		{"act erased", func(s *auditortest.Scene) { s.Bodies[acts(s)] = nil }, auditor.Acts, acts, finding.EntryErased},
		{"acts exchanged", func(s *auditortest.Scene) {
			i := acts(s)
			s.Bodies[i], s.Bodies[i+1] = s.Bodies[i+1], s.Bodies[i]
		}, auditor.Acts, acts, finding.EntryReordered},
		{"certificate changed", func(s *auditortest.Scene) {
			l := &s.Leaves[certs(s)]
			l.Input = slices.Clone(l.Input)
			l.Input[len(l.Input)-10] ^= 1
		}, auditor.Certificates, certs, finding.EntryChanged},
		{"certificate not shown", func(s *auditortest.Scene) { s.Hidden[int64(certs(s))] = auditor.ErrUnshown }, auditor.Certificates, certs, finding.EntryUnshown},
		{"certificate erased", func(s *auditortest.Scene) { s.Hidden[int64(certs(s))] = auditor.ErrErased }, auditor.Certificates, certs, finding.EntryErased},
		{"certificates exchanged", func(s *auditortest.Scene) {
			i := certs(s)
			s.Leaves[i], s.Leaves[i+1] = s.Leaves[i+1], s.Leaves[i]
		}, auditor.Certificates, certs, finding.EntryReordered},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := auditortest.Founded(t)
			for range 80 { // more than a chunk of acts
				s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
			}
			s.Sign()
			c.tamper(s)
			r := begin(t, s, func(c *auditor.Config) { c.Grace = -time.Hour }).look()
			if !slices.ContainsFunc(r.Findings, func(f auditor.Finding) bool {
				return f.Kind == c.want && f.Log == c.log && f.Index == int64(c.at(s))
			}) {
				t.Errorf("no finding %s at %s %d in %v", c.want, c.log, c.at(s), r.Findings)
			}
		})
	}
}

// Stories that hold although they look unusual.
func TestStoriesThatHold(t *testing.T) {
	s := auditortest.Founded(t)
	p := s.Person()
	s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
	old := p.DER
	s.EID(p, "update", s.Admins[0], nil) // fetched with a current eID: card and PIN are the second party
	s.End(p, old, audit.CertificateSuperseded, "superseded")
	s.Revoke(p)
	s.Act(audit.CardBlocked, p.ID, field("card", p.Card), field("report", "lost"))
	// A transport certificate opens no door: a card that is blocked leaves it.
	blank := s.Person()
	s.Issue(auditortest.FunctionCA, "transport", ca.Content{CommonName: blank.Card, CardNumber: blank.Card}, auditortest.Key(t), auditortest.Intended{Person: blank})
	s.Act(audit.CardBlocked, "per_1", field("card", blank.Card), field("report", "lost"))
	// A second try with the same key, after an intent was given up.
	q := s.Person()
	id := s.Place(q, s.Admins[1], s.Document(q, "ordinary"))
	s.Approve(q, s.Admins[0], id)
	d, key := s.Begin(q, id, nil), auditortest.Key(t)
	first := s.Issue(auditortest.PersonCA, "authentication", s.Content(q), key, auditortest.Intended{Person: q, Order: id, Download: d, NoFinal: true, NoIssued: true})
	s.End(q, first, audit.IntentAbandoned, "cessationOfOperation")
	s.Issue(auditortest.PersonCA, "authentication", s.Content(q), key, auditortest.Intended{Person: q, Order: id, Download: d})
	late(s)
	begin(t, s).finds()
}

// A certificate that is issued after its entry was read is looked at when it is there.
func TestIssuedAfterItWasRead(t *testing.T) {
	s := auditortest.Founded(t)
	der := s.Stray(auditortest.Intended{NoFinal: true})
	s.Sign()
	a := begin(t, s)
	a.finds()
	s.Leaves[len(s.Leaves)-1].Final = s.Forge(der)
	late(s)
	a.finds("certificate.forged", finding.Missing)
}

// What is shown and was not signed is believed in nothing.
func TestWhatWasNotSignedIsNotBelieved(t *testing.T) {
	s := auditortest.Founded(t)
	p := s.Person()
	id := s.Place(p, s.Admins[0], s.Document(p, "ordinary"))
	n := s.Act(audit.CALast, "system", field("issuer", "x"), field("since", "x"))
	s.Fetch(p, id)
	s.Sign()
	fork := s.Fork()
	fork.Approve(p, fork.Admins[1], id)
	s.Evidence[id] = fork.Evidence[id]
	s.Bodies[n] = fork.Bodies[len(fork.Bodies)-1] // an approval, in the place of another act
	begin(t, s).finds(finding.EntryChanged, finding.ApprovalForged, finding.OrderUnapproved)
}

func TestErasedByRetention(t *testing.T) {
	s := auditortest.Founded(t)
	n := s.Act(audit.LoginAccepted, "per_1", field("certificate", strings.Repeat("0", 64)), field("listener", "card"))
	m := s.Act(audit.LoginAccepted, "per_1", field("certificate", strings.Repeat("0", 64)), field("listener", "card"))
	s.Tick(2 * 365 * 24 * time.Hour)
	e := audit.Erasure{What: string(audit.Access), Through: s.Now.AddDate(0, -18, -1), From: n + 1, To: m + 1, Count: 1}
	s.Act(audit.RetentionErased, "system", e.Fields()...)
	s.Sign()
	s.Bodies[n] = nil
	soon := func(c *auditor.Config) { c.Grace, c.Now = -time.Hour, func() time.Time { return s.Now } }
	begin(t, s, soon).finds()
	s.Bodies[m] = nil // more than the act says
	begin(t, s, soon).finds(finding.EntryErased)
}

// An erased body has no time, and could be that of any act: also of one that was done
// yesterday, which who has the database emptied and named in an act of retention.
func TestErasedIsNotNewerThanItsAct(t *testing.T) {
	for _, c := range []struct {
		name string
		days int // that the act before the erased one is older than what was due
		want []auditor.Kind
	}{
		{"of long ago", 2, nil},
		{"of yesterday", -2, []auditor.Kind{finding.EntryErased}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := auditortest.Founded(t)
			s.Act(audit.CALast, "system", field("issuer", "x"), field("since", "x"))
			through := s.Now.AddDate(0, 0, c.days)
			n := s.Act(audit.LoginAccepted, "per_1", field("certificate", strings.Repeat("0", 64)), field("listener", "card"))
			s.Tick(2 * 365 * 24 * time.Hour)
			s.Act(audit.RetentionErased, "system", audit.Erasure{What: string(audit.Access), Through: through, From: n + 1, To: n + 1, Count: 1}.Fields()...)
			s.Sign()
			s.Bodies[n] = nil
			begin(t, s, func(c *auditor.Config) { c.Grace, c.Now = -time.Hour, func() time.Time { return s.Now } }).finds(c.want...)
		})
	}
}

// The same of a certificate, whose entry comes after those of newer ones.
func TestErasedCertificateIsNotNewerThanItsAct(t *testing.T) {
	for _, c := range []struct {
		name string
		days int
		want bool
	}{{"of long ago", 2, false}, {"of yesterday", -2, true}} {
		t.Run(c.name, func(t *testing.T) {
			s := auditortest.Founded(t)
			s.Stray(auditortest.Intended{})
			n := int64(len(s.Leaves) - 1)
			through := s.Now.AddDate(0, 0, c.days)
			s.Tick(11 * 365 * 24 * time.Hour)
			s.Act(audit.RetentionErased, "system", audit.Erasure{What: "certificates", Through: through, From: n + 1, To: n + 1, Count: 1}.Fields()...)
			s.Sign()
			s.Hidden[n] = auditor.ErrErased
			r := begin(t, s, func(c *auditor.Config) { c.Grace, c.Now = -time.Hour, func() time.Time { return s.Now } }).look()
			if slices.Contains(wrong(r), string(finding.EntryErased)) != c.want {
				t.Errorf("found %v", r.Findings)
			}
		})
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	s := auditortest.Founded(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := begin(t, s).Follow(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Follow = %v", err)
	}
}

// broken does not answer.
type broken struct{ auditortest.Source }

func (broken) Evidence(context.Context, string) (*auditor.Evidence, error) {
	return nil, fmt.Errorf("asking: %w", auditor.ErrNoAnswer)
}

// What could not be asked is no finding, and is asked again.
func TestNoAnswerIsNoFinding(t *testing.T) {
	s := auditortest.Founded(t)
	a := begin(t, s)
	a.Source = broken{auditortest.Source{Scene: s}}
	if r, err := a.Follow(t.Context()); !errors.Is(err, auditor.ErrNoAnswer) || len(wrong(r)) > 0 {
		t.Errorf("Follow = %v, %v", wrong(r), err)
	}
	a.Source = auditortest.Source{Scene: s}
	if r := a.finds(); r.Rederived != 4 {
		t.Errorf("%d certificates were derived anew, want 4", r.Rederived)
	}
}
