package auditor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	"sigill/internal/config"
	"sigill/internal/statement"
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
	c := auditor.Config{Source: auditortest.Source{Scene: s}, Book: b, Issuers: issuers, Now: time.Now,
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
		if root, err := a.book.Root(tree, head.Size); err != nil || root != head.Root {
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

// spoilt are stories that do not hold, each by one thing that is wrong.
var spoilt = []struct {
	name string
	tell func(s *auditortest.Scene)
	want []auditor.Kind
}{
	{"nobody approved", func(s *auditortest.Scene) { s.EID(s.Person(), "ordinary", s.Admins[0], nil) }, []auditor.Kind{finding.OrderUnapproved}},
	{"the same person approved", func(s *auditortest.Scene) { s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[0]) }, []auditor.Kind{finding.OrderUnapproved}},
	{"approved after it was made", func(s *auditortest.Scene) {
		p := s.Person()
		id := s.Place(p, s.Admins[0], s.Document(p, "ordinary"))
		s.Fetch(p, id)
		s.Approve(p, s.Admins[1], id)
	}, []auditor.Kind{finding.OrderUnapproved}},
	{"somebody without a role approved", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		s.EID(s.Person(), "ordinary", s.Admins[0], p)
	}, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"an administrator whose role had ended", func(s *auditortest.Scene) {
		s.Act(audit.RoleEnded, "per_1", field("person", s.Admins[1].ID), field("organisation", auditortest.Org), field("role", "administrator"), field("rule", "role.ended"))
		s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
	}, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"approved for himself", func(s *auditortest.Scene) { s.EID(s.Admins[1], "extra", s.Admins[0], s.Admins[1]) }, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"an officer after the ceremony", func(s *auditortest.Scene) { s.EID(s.Person(), "ordinary", s.Officers[0], s.Officers[1]) },
		[]auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"in another's name", func(s *auditortest.Scene) {
		forger := *s.Admins[0]
		forger.ID = s.Admins[1].ID
		s.EID(s.Person(), "ordinary", s.Admins[0], &forger)
	}, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"signature of another key", func(s *auditortest.Scene) {
		forger := *s.Admins[1]
		forger.Key = s.Admins[0].Key
		s.EID(s.Person(), "ordinary", s.Admins[0], &forger)
	}, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"statement without an act", func(s *auditortest.Scene) {
		p := s.Person()
		id := s.Place(p, s.Admins[0], s.Document(p, "ordinary"))
		e := s.Evidence[id]
		e.Statements = append(e.Statements, s.State(s.Admins[1], statement.ActApprove, id, e.Order, p))
		s.Fetch(p, id)
	}, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"act without its statement", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		e := s.Evidence[p.Order]
		e.Statements = e.Statements[:1]
	}, []auditor.Kind{finding.OrderEvidence, finding.OrderUnapproved}},
	{"another order is shown", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		s.Evidence[p.Order].Order = []byte(strings.Replace(string(s.Evidence[p.Order].Order), "ordinary", "renewals", 1))
	}, []auditor.Kind{finding.OrderEvidence}},
	{"nothing is shown", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		delete(s.Evidence, p.Order)
	}, []auditor.Kind{finding.OrderEvidence}},
	{"an order for somebody else", func(s *auditortest.Scene) {
		p, other := s.Person(), s.Person()
		d := s.Document(p, "ordinary")
		d["content"] = s.Content(other)
		id := s.Place(p, s.Admins[0], d)
		s.Approve(p, s.Admins[1], id)
		s.Fetch(p, id)
	}, []auditor.Kind{"certificate.names", "certificate.order", "certificate.subject"}},
	{"longer than ordered", func(s *auditortest.Scene) {
		p := s.Person()
		d := s.Document(p, "ordinary")
		d["notAfter"] = s.Now.AddDate(0, 1, 0).Truncate(time.Second)
		id := s.Place(p, s.Admins[0], d)
		s.Approve(p, s.Admins[1], id)
		s.Fetch(p, id)
	}, []auditor.Kind{"certificate.order"}},
	{"without order", func(s *auditortest.Scene) {
		p := s.Person()
		s.Fetch(p, "ord_none")
	}, []auditor.Kind{finding.Unordered, finding.OrderEvidence}},
	{"without order and download", func(s *auditortest.Scene) {
		p := s.Person()
		s.Issue(auditortest.PersonCA, "authentication", s.Content(p), auditortest.Key(s.T), auditortest.Intended{Person: p})
	}, []auditor.Kind{"certificate.order"}},
	{"leaf without intent", func(s *auditortest.Scene) { s.Stray(auditortest.Intended{NoIntent: true}) }, []auditor.Kind{finding.Unintended}},
	{"intent without leaf", func(s *auditortest.Scene) { s.Stray(auditortest.Intended{NoLeaf: true}) }, []auditor.Kind{finding.Missing}},
	{"issued, not shown", func(s *auditortest.Scene) { s.Stray(auditortest.Intended{NoFinal: true}) }, []auditor.Kind{finding.Missing}},
	{"shown, not issued", func(s *auditortest.Scene) { s.Stray(auditortest.Intended{NoIssued: true}) }, []auditor.Kind{finding.Unintended}},
	{"no SCT", func(s *auditortest.Scene) { s.Stray(auditortest.Intended{Spoil: s.WithoutSCT}) },
		[]auditor.Kind{"certificate.sct", finding.Missing}},
	{"signed by another key", func(s *auditortest.Scene) { s.Stray(auditortest.Intended{Spoil: s.Forge}) }, []auditor.Kind{"certificate.forged", finding.Missing}},
	{"key of another card", func(s *auditortest.Scene) {
		p, q := s.Person(), s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		id := s.Place(q, s.Admins[0], s.Document(q, "ordinary"))
		s.Approve(q, s.Admins[1], id)
		s.Issue(auditortest.PersonCA, "authentication", s.Content(q), p.Key, auditortest.Intended{Person: q, Order: id, Download: s.Begin(q, id, nil)})
	}, []auditor.Kind{finding.KeyReuse}},
	{"leaf twice", func(s *auditortest.Scene) {
		s.Stray(auditortest.Intended{})
		s.AppendLeaf(s.Leaves[len(s.Leaves)-1])
	}, []auditor.Kind{finding.SerialReuse}},
	{"intent twice", func(s *auditortest.Scene) {
		s.Stray(auditortest.Intended{})
		s.AppendAct(s.Bodies[len(s.Bodies)-2])
	}, []auditor.Kind{finding.SerialReuse}},
	{"card blocked, nothing revoked", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		s.Act(audit.CardBlocked, p.ID, field("card", p.Card), field("report", "lost"))
	}, []auditor.Kind{finding.Unrevoked}},
	{"card blocked, revoked late", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		s.Act(audit.CardBlocked, p.ID, field("card", p.Card), field("report", "lost"))
		s.Tick(2 * time.Minute)
		s.Revoke(p)
	}, []auditor.Kind{finding.Late}},
	{"assignment ended, nothing revoked", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		s.Act(audit.AssignmentChanged, "per_1", field("person", p.ID), field("organisation", auditortest.Org), field("ended", "yes"))
	}, []auditor.Kind{finding.Unrevoked}},
	{"the clock went back", func(s *auditortest.Scene) {
		s.Tick(-time.Hour)
		s.Act(audit.CALast, "system", field("issuer", "x"), field("since", "x"))
		s.Tick(time.Hour)
	}, []auditor.Kind{finding.ActTime}},
	{"the clock was ahead", func(s *auditortest.Scene) {
		s.Tick(3 * time.Hour)
		s.Act(audit.CALast, "system", field("issuer", "x"), field("since", "x"))
		s.Tick(-3 * time.Hour)
	}, []auditor.Kind{finding.ActTime}},
	{"an act that is none", func(s *auditortest.Scene) { s.AppendAct([]byte(`{"id":"evt_1"}`)) }, []auditor.Kind{finding.EntryMalformed}},
}

func TestStoriesThatDoNotHold(t *testing.T) {
	for _, c := range spoilt {
		t.Run(c.name, func(t *testing.T) {
			s := auditortest.Founded(t)
			s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
			c.tell(s)
			s.Tick(time.Second)
			s.EID(s.Person(), "ordinary", s.Admins[1], s.Admins[0])
			s.Sign()
			if c.name != "the clock was ahead" && c.name != "the clock went back" {
				late(s)
			}
			begin(t, s).finds(c.want...)
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

func TestErasedByRetention(t *testing.T) {
	s := auditortest.Founded(t)
	n := s.Act(audit.LoginAccepted, "per_1", field("certificate", strings.Repeat("0", 64)), field("listener", "card"))
	m := s.Act(audit.LoginAccepted, "per_1", field("certificate", strings.Repeat("0", 64)), field("listener", "card"))
	s.Tick(2 * 365 * 24 * time.Hour)
	e := audit.Erasure{What: string(audit.Access), Through: s.Now.AddDate(0, -18, -1), From: n + 1, To: m + 1, Count: 1}
	s.Act(audit.RetentionErased, "system", e.Fields()...)
	s.Sign()
	s.Bodies[n] = nil
	soon := func(c *auditor.Config) { c.Grace = -time.Hour }
	begin(t, s, soon).finds()
	s.Bodies[m] = nil // more than the act says
	begin(t, s, soon).finds(finding.EntryErased)
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
