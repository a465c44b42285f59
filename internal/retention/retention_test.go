package retention_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/retention"
	"sigill/internal/store"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders/issue"
	"sigill/policy"
)

func TestMain(m *testing.M) { os.Exit(worldtest.Main(m)) }

// installation is a world in which things have happened.
type installation struct {
	*worldtest.Scene
	*testing.T
	holder *world.Holder
	old    ca.Serial // superseded
}

func lived(t *testing.T) *installation {
	t.Helper()
	s := &installation{Scene: worldtest.New(t, worldtest.Logged), T: t}
	s.holder = s.Holder()
	s.old = s.holder.Certificate().Serial
	if err := s.Fetch(t.Context(), s.holder, s.Ordered(s.holder, policy.OrderRenewal)); err != nil {
		t.Fatal(err)
	}
	s.refuse(3)
	s.sequence()
	return s
}

// refuse has the holder refused, so many times.
func (s *installation) refuse(n int) {
	s.Helper()
	c, err := s.World.Login(s.Context(), s.holder)
	if err != nil {
		s.Fatal(err)
	}
	for i := range n {
		s.Pass(time.Minute) // not told apart from what was refused in the same minute
		if _, err := s.Register.Card(s.Context(), c, policy.CardNumber(fmt.Sprintf("975200000000000%d", i))); err == nil {
			s.Fatal("a card that is not there was shown")
		}
	}
}

func (s *installation) sequence() {
	s.Helper()
	if err := s.Sequencer.CatchUp(s.Context()); err != nil {
		s.Fatal(err)
	}
}

func (s *installation) job() *retention.Job {
	return &retention.Job{Store: s.Store.Retention(), Now: s.Now, NewID: func() string { return policy.NewID("evt") }, By: "system"}
}

func (s *installation) run() retention.Report {
	s.Helper()
	report, err := s.job().Run(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	s.sequence()
	return report
}

func count(r retention.Report, what string) int64 {
	i := slices.IndexFunc(r, func(l retention.Line) bool { return l.What == what })
	if i < 0 {
		return -1
	}
	return r[i].Count
}

// verify walks the chain and returns what it found.
func (s *installation) verify() (audit.Summary, []audit.Finding) {
	s.Helper()
	var found []audit.Finding
	sum, err := audit.Verify(s.Context(), s.Store.Audit(), nil, func(f audit.Finding) { found = append(found, f) })
	if err != nil {
		s.Fatal(err)
	}
	return sum, found
}

func (s *installation) check() (found []string) {
	s.Helper()
	if err := s.Store.Check(s.Context(), func(v store.Violation) { found = append(found, v.String()) }); err != nil {
		s.Fatal(err)
	}
	return found
}

// sound fails the test unless chain and rows agree.
func (s *installation) sound() audit.Summary {
	s.Helper()
	sum, findings := s.verify()
	if len(findings) > 0 {
		s.Errorf("the chain: %v", findings)
	}
	if v := s.check(); len(v) > 0 {
		s.Errorf("the rows: %v", v)
	}
	return sum
}

// root is the hash of the Merkle tree (RFC 6962, 2.1) over the first n events.
func (s *installation) root(n int64) tlog.Hash {
	s.Helper()
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (out []tlog.Hash, _ error) {
		for _, i := range indexes {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	err := s.Store.Audit().View(s.Context(), func(tx *audit.Tx) error {
		leaves, err := tx.Trees.ActLeaves(0, int(n))
		if err != nil || int64(len(leaves)) != n {
			return fmt.Errorf("%d leaves: %w", len(leaves), err)
		}
		hashes = nil
		for i, leaf := range leaves {
			more, err := tlog.StoredHashesForRecordHash(int64(i), leaf, reader)
			if err != nil {
				return err
			}
			hashes = append(hashes, more...)
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
	root, err := tlog.TreeHash(n, reader)
	if err != nil {
		s.Fatal(err)
	}
	return root
}

// each calls fn for the body of each event that has one.
func (s *installation) each(fn func(*audit.Body)) {
	s.Helper()
	err := s.Store.Audit().View(s.Context(), func(tx *audit.Tx) error {
		records, _, err := tx.Linked(0, 10_000)
		for _, r := range records {
			if len(r.Body) == 0 {
				continue
			}
			b, err := audit.ParseBody(r.Body)
			if err != nil {
				return err
			}
			fn(b)
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
}

// statuses is what OCSP would say of the holder's certificates.
func (s *installation) statuses() string {
	s.Helper()
	reader, err := s.Store.StatusReader(1)
	if err != nil {
		s.Fatal(err)
	}
	defer reader.Close()
	var out strings.Builder
	for _, serial := range []ca.Serial{s.old, s.holder.Certificate().Serial} {
		released, entry, err := reader.Status(s.Context(), s.holder.Certificate().Issuer, serial)
		if err != nil {
			s.Fatal(err)
		}
		fmt.Fprintf(&out, "%s released %t revoked %t;", serial, released, entry != nil)
	}
	return out.String()
}

// After eighteen months the bodies of log-ins and refusals are gone, with what they
// said of persons; after ten years more than a card's life everything personal is. The
// chain, the tree over it and what OCSP says are the same at each step.
func TestErasingKeepsEverythingProvable(t *testing.T) {
	s := lived(t)
	before := s.sound()
	root, statuses, whole := s.root(before.Links), s.statuses(), s.Dump()
	if report := s.run(); report.Count() != 0 {
		t.Errorf("on the first day %v was erased", report)
	}
	same := func(when string) {
		t.Helper()
		if got := s.root(before.Links); got != root {
			t.Errorf("%s: the root of the same events is another", when)
		}
		if got := s.statuses(); got != statuses {
			t.Errorf("%s: status %q, want %q", when, got, statuses)
		}
		now := s.Dump()
		for _, table := range []string{"revocations", "log_leaves", "standings", "keys_seen", "assignments", "grants", "persons"} {
			if !slices.Equal(now[table], whole[table]) {
				t.Errorf("%s: %s is not what it was", when, table)
			}
		}
		if report := s.run(); report.Count() != 0 {
			t.Errorf("%s: a second run erased %v", when, report)
		}
	}

	s.Pass(540 * 24 * time.Hour)
	if report := s.run(); report.Count() != 0 {
		t.Errorf("before eighteen months are over %v was erased", report)
	}
	s.Pass(9 * 24 * time.Hour)
	refused := int64(s.Rows("events", "act = 'request.refused'"))
	would, err := s.job().DryRun(t.Context())
	if err != nil || would.Count() != refused || s.Rows("events", "length(body) = 0") != 0 {
		t.Errorf("dry run: %v, %v, want %d and nothing changed", would, err, refused)
	}
	if report := s.run(); count(report, retention.Access) != refused || report.Count() != refused {
		t.Errorf("after eighteen months %v was erased, want %d of access", report, refused)
	}
	if sum := s.sound(); sum.Bodies != refused || sum.Personal == 0 {
		t.Errorf("%d bodies are gone, %d values are left, want %d and some", sum.Bodies, sum.Personal, refused)
	}
	if n := s.Rows("events", "length(body) = 0 AND by_who <> 'erased'") + s.Rows("event_people p JOIN events e ON e.seq = p.event", "length(e.body) = 0"); n != 0 {
		t.Errorf("%d erased events name their person", n)
	}
	same("after eighteen months")

	s.Pass(13*365*24*time.Hour + 100*24*time.Hour)
	if report := s.run(); report.Count() != 0 {
		t.Errorf("less than ten years after the card %v was erased", report)
	}
	s.Pass(300 * 24 * time.Hour)
	cards := int64(s.Rows("cards", "holder IS NOT NULL"))
	report := s.run()
	if count(report, retention.Cards) < cards || count(report, retention.Certificates) == 0 {
		t.Errorf("after fifteen years %v was erased, want %d cards", report, cards)
	}
	kept := s.Rows("certificates c JOIN statements st ON st.certificate = c.fingerprint", "length(st.content) > 0 AND length(c.der) = 0")
	if n := s.Rows("orders", "length(bytes) > 0") + s.Rows("downloads", "length(plan) > 0"); n != 0 || kept != 0 {
		t.Errorf("%d orders and plans are left, %d certificates are gone that something kept was signed with", n, kept)
	}
	if n := s.Rows("intents", "card = ? AND length(tbs) > 0", string(s.holder.Card)); n != 0 {
		t.Errorf("%d of the holder's certificates are left", n)
	}
	// The acts say which numbers of the log of certificates are empty now, and how many.
	var told int64
	s.each(func(b *audit.Body) {
		if e, err := audit.ErasureOf(b); err == nil && e.What == retention.Certificates {
			told += e.Count
			if e.From < 1 || e.To < e.From {
				t.Errorf("certificates were erased under no number: %+v", e)
			}
		}
	})
	if n := int64(s.Rows("intents i JOIN log_leaves l ON l.serial = i.serial", "length(i.tbs) = 0 AND l.number IS NOT NULL")); n == 0 || told != n {
		t.Errorf("%d entries are empty, the acts tell of %d", n, told)
	}
	s.sound()
	same("after fifteen years")

	s.Pass(6 * 366 * 24 * time.Hour)
	if report := s.run(); report.Count() != 0 {
		t.Errorf("after twenty-one years %v was erased", report)
	}
	s.Pass(2 * 366 * 24 * time.Hour)
	if report := s.run(); count(report, retention.Records) == 0 || count(report, retention.Statements) == 0 {
		t.Errorf("after twenty-two years %v was erased", report)
	}
	if n := s.Rows("event_personal", "1 = 1"); n != 0 {
		t.Errorf("%d personal values are left", n)
	}
	s.sound()
	same("after twenty-two years")
}

// What erases without saying so, or says so before its time, is found, in the chain and
// in the rows.
func TestErasedBehindTheLogIsFound(t *testing.T) {
	for name, tamper := range map[string]func(*installation){
		"a record": func(s *installation) {
			s.Exec(`UPDATE events SET body = ?, by_who = 'erased' WHERE act = 'card.handedout' AND number = (SELECT max(number) FROM events WHERE act = 'card.handedout')`, []byte{})
		},
		"a record, as refusal": func(s *installation) {
			s.Exec(`UPDATE events SET body = ?, by_who = 'erased', act = 'request.refused' WHERE number = (SELECT max(number) FROM events WHERE act = 'order.placed')`, []byte{})
		},
		"a later refusal": func(s *installation) {
			s.Exec(`UPDATE events SET body = ?, by_who = 'erased' WHERE number = (SELECT max(number) FROM events WHERE act = 'request.refused')`, []byte{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := lived(t)
			s.Pass(549 * 24 * time.Hour)
			s.run()
			s.holder = s.Holder() // with events of its own
			s.refuse(1)
			s.sequence()
			s.sound()
			tamper(s)
			_, findings := s.verify()
			if !slices.ContainsFunc(findings, func(f audit.Finding) bool { return f.Kind == audit.Erased }) {
				t.Errorf("the chain: %v, want %s", findings, audit.Erased)
			}
			if v := s.check(); !slices.ContainsFunc(v, func(f string) bool { return strings.HasPrefix(f, "event.erased") }) {
				t.Errorf("the rows: %v", v)
			}
		})
	}
}

// A record that somebody has called a refusal, to have it erased, stays.
func TestOnlyWhatWasChainedDecides(t *testing.T) {
	s := lived(t)
	s.Exec(`UPDATE events SET act = 'request.refused' WHERE number = (SELECT max(number) FROM events WHERE act = 'order.placed')`)
	s.Pass(549 * 24 * time.Hour)
	report := s.run()
	if report[0].What != retention.Access || report[0].Left != 1 {
		t.Errorf("%v, want one left", report)
	}
	if n := s.Rows("events", "length(body) = 0"); int64(n) != report[0].Count || n == 0 {
		t.Errorf("%d bodies are gone, the report says %d", n, report[0].Count)
	}
}

// What comes after an act of a clock that was ahead stays as long as that act would:
// nobody could tell any more that it was old.
func TestKeptBehindAClockThatWasAhead(t *testing.T) {
	s := lived(t)
	err := s.Store.Issue().Update(t.Context(), func(tx *issue.Tx) error {
		return tx.Events.Append(issue.NewEvent(audit.ClockChecked, s.Now().AddDate(0, 1, 0), "system", issue.F("result", "far")))
	})
	if err != nil {
		t.Fatal(err)
	}
	s.sequence()
	s.refuse(2)
	s.sequence()
	before := s.Rows("events", "act = 'request.refused'") - 2
	s.Pass(549 * 24 * time.Hour)
	if n := count(s.run(), retention.Access); n != int64(before) {
		t.Errorf("%d are erased, want %d", n, before)
	}
	s.sound()
	s.Pass(31 * 24 * time.Hour)
	if n := count(s.run(), retention.Access); n != 2 {
		t.Errorf("a month later %d are erased, want 2", n)
	}
	s.sound()
}

// cut is a store whose power fails before or after a transaction.
type cut struct {
	retention.Store
	left  int
	after bool
}

var errCut = errors.New("cut off")

func (c *cut) Update(ctx context.Context, fn func(*retention.Tx) error) error {
	c.left--
	if c.left == 0 && !c.after {
		return errCut
	}
	err := c.Store.Update(ctx, fn)
	if c.left == 0 && err == nil {
		return errCut
	}
	return err
}

// A run that is cut off between any two pages, before or after their commit, leaves
// everything provable, and the next one goes on.
func TestCutOffBetweenPages(t *testing.T) {
	s := lived(t)
	s.Pass(16 * 366 * 24 * time.Hour)
	for n := 1; ; n++ {
		job := s.job()
		job.Page = 2
		job.Store = &cut{job.Store, n%3 + 1, n%2 == 0}
		_, err := job.Run(t.Context())
		s.sequence()
		s.sound()
		if err == nil {
			break
		} else if !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		if n > 100 {
			t.Fatal("it comes to no end")
		}
	}
	if report := s.run(); report.Count() != 0 {
		t.Errorf("after it %v was left", report)
	}
	refused := s.Rows("events", "act = 'request.refused'")
	if n := s.Rows("events", "length(body) = 0"); n != refused || refused < 3 {
		t.Errorf("%d of %d refusals are gone", n, refused)
	}
}

// A run has an end, and says that there is more.
func TestRunIsBounded(t *testing.T) {
	s := lived(t)
	s.Pass(549 * 24 * time.Hour)
	job := s.job()
	job.Page, job.Most = 1, 2
	report, err := job.Run(t.Context())
	if err != nil || count(report, retention.Access) != 2 || !report[0].More {
		t.Errorf("%v, %v, want two and more", report, err)
	}
	// The act that tells of it has no number yet: it counts all the same.
	if sum, findings := s.verify(); len(findings) > 0 || sum.Unnumbered == 0 {
		t.Errorf("before it has its number: %v, %d unnumbered", findings, sum.Unnumbered)
	}
	if n := count(s.run(), retention.Access); n != int64(s.Rows("events", "act = 'request.refused'"))-2 {
		t.Errorf("%d by the next run", n)
	}
	s.sequence()
	s.sound()
}

// Who asks for a certificate that was erased is told as one who asks for another that
// has expired: the card is not believed.
func TestErasedCertificateOpensNothing(t *testing.T) {
	s := lived(t)
	der := s.holder.Certificate().DER
	s.Pass(16 * 366 * 24 * time.Hour)
	s.run()
	_, err := s.Register.Login(t.Context(), der, false)
	refusal, ok := errors.AsType[*policy.Refusal](err)
	if !ok || refusal.Rule != policy.LoginUnknown {
		t.Errorf("log-in: %v", err)
	}
}
