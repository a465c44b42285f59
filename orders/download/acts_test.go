package download_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/internal/store"
	"sigill/internal/world/fault"
	"sigill/internal/world/worldtest"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// elsewhere are the acts of the service around the domain, with the package that tells
// them and what a test of it looks for.
func elsewhere() map[string][2]string {
	return map[string][2]string{
		audit.Initialised:         {"../../internal/app", "audit.Initialised"},
		audit.ConfigurationLoaded: {"../../internal/app", "audit.ConfigurationLoaded"},
		audit.ClockChecked:        {"../../internal/app", "audit.ClockChecked"},
		audit.OutageBegun:         {"../../internal/app", "outage.begun by operator"},
		audit.OutageEnded:         {"../../internal/app", "outage.ended by operator"},
		audit.CARevoked:           {"../../internal/app", "audit.CARevoked"},
		audit.CAClosed:            {"../../internal/app", "audit.CAClosed"},
		audit.CALast:              {"../../internal/app", "audit.CALast"},
		audit.RetentionErased:     {"../../internal/retention", "retention.Access"},
		audit.PersonExported:      {"../privacy", "person.exported"},
		audit.PersonErased:        {"../privacy", "person.erased"},
		audit.LogRestored:         {"../../internal/app", "audit.LogRestored"},
		audit.LogReconciled:       {"../../internal/app", "audit.LogReconciled"},
		audit.LogAccepted:         {"../../internal/app", "audit.LogAccepted"},
	}
}

// looksFor reports whether a test of a package has a text.
func looksFor(t *testing.T, dir, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(b), text)
	})
}

// TestEveryActIsTold: each act of the list is done, the ones that end something, that
// refuse and that fail with them, and what is told of it has the fields of its act.
func TestEveryActIsTold(t *testing.T) {
	s := worldtest.New(t, worldtest.Logged)
	walk(s)
	if _, err := s.Downloads.RevokeMass(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, b := range s.Told("") {
		seen[b.Act] = true
		e := audit.Event{Act: b.Act, Public: b.Public}
		for _, c := range b.Commitments {
			e.Personal = append(e.Personal, audit.Field{Name: c.Name})
		}
		if err := audit.Check(e); err != nil {
			t.Errorf("%s: %v", b.ID, err)
		}
		if b.Act == audit.CertificateRevoked || b.Act == audit.CertificateSuperseded || b.Act == audit.IntentAbandoned {
			if worldtest.Value(b, "reason") == "" || worldtest.Value(b, "rule") == "" {
				t.Errorf("a revocation without reason or rule: %+v", b)
			}
		}
		if strings.HasSuffix(b.Act, ".refused") && worldtest.Value(b, "rule") == "" {
			t.Errorf("a refusal without rule: %+v", b)
		}
	}
	for _, act := range audit.Acts() {
		other, is := elsewhere()[act]
		if is == seen[act] {
			t.Errorf("%s: told here %t, and elsewhere %t", act, seen[act], is)
		}
		if is && !looksFor(t, other[0], other[1]) {
			t.Errorf("%s: no test in %s looks for %q", act, other[0], other[1])
		}
	}
	s.Sound()
}

// walk does every act of the domain once.
func walk(s *worldtest.Scene) {
	t, ctx := s.T, s.T.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	by := admin(t, s)
	must(s.Register.Accepted(ctx, by, "card"))
	h := both(s) // a switch is turned, two certificates come
	must(s.Fetch(ctx, h, s.Ordered(h, policy.OrderRenewal)))
	must(s.Arm(ctx, s.Person()))

	must(s.GrantRole(ctx, h, s.Org, policy.RoleReader))
	if _, err := s.Register.EndRole(ctx, by, s.Org, h.Person, policy.RoleReader); err != nil {
		t.Fatal(err)
	}
	_, err := s.Register.ListCards(ctx, loggedIn(s, h), s.Org, "", 10)
	s.Refused(err, policy.RoleMissing)

	// Orders and downloads that come to nothing.
	if _, err := s.Downloads.Withdraw(ctx, by, s.Ordered(h, policy.OrderRenewal)); err != nil {
		t.Fatal(err)
	}
	id := s.Ordered(h, policy.OrderRenewal)
	st, err := s.Begin(ctx, h, id)
	must(err)
	s.Faults.FailSign(1, fault.NotBegun, nil)
	if _, err := s.Submit(ctx, h, st); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("submitted to a signer that fails: %v", err)
	}
	s.Faults.Clear()
	must(s.Downloads.Abandon(ctx, loggedIn(s, h), st.Download.ID))
	s.Pass(time.Minute) // the breaker closes
	_, err = s.Begin(ctx, h, id)
	must(err)
	s.Pass(20 * time.Minute)
	if n, err := s.Downloads.EndDue(ctx); err != nil || n != 1 {
		t.Fatalf("%d ended, %v", n, err)
	}
	s.Pass(100 * 24 * time.Hour)
	if n, err := s.Downloads.EndDue(ctx); err != nil || n != 1 {
		t.Fatalf("%d ended, %v", n, err)
	}
	takeBack(s)
}

// takeBack does the acts by which eIDs end, and keys are refused.
func takeBack(s *worldtest.Scene) {
	t, ctx := s.T, s.T.Context()
	by := admin(t, s)
	copied, thief := s.Holder(), s.Holder()
	_, submit := attempt(s, thief, copied.CurrentKey())
	if err := submit(ctx); err == nil {
		t.Fatal("a copied key was certified")
	}
	lost := s.Holder()
	if err := s.Downloads.BlockCard(ctx, by, lost.Card, "lost"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Register.Login(ctx, lost.CertificateOf(), false)
	s.Refused(err, policy.LoginRevoked)
	if err := s.Downloads.EndAssignment(ctx, by, s.Holder().Person, s.Org); err != nil {
		t.Fatal(err)
	}
	listed(s, download.BySerial, ca.CessationOfOperation, serialOf(s.Holder())).approved(s)
}

// TestActsNameWhatTheyRestOn: who is shown an order, a statement, a plan and a
// certificate finds from the acts alone that they are those.
func TestActsNameWhatTheyRestOn(t *testing.T) {
	s := worldtest.New(t, worldtest.Logged)
	h := s.Person()
	first := s.Ordered(h, policy.OrderOrdinary)
	if err := s.Fetch(t.Context(), h, first); err != nil {
		t.Fatal(err)
	}
	id := s.Ordered(h, policy.OrderRenewal)
	if err := s.Fetch(t.Context(), h, id); err != nil {
		t.Fatal(err)
	}
	documents := map[string][]byte{}
	statements := map[string]*register.Statement{}
	err := s.Store.Orders().View(t.Context(), func(tx *orders.Tx) error {
		for _, about := range []string{string(first), string(id), string(h.Card)} {
			list, err := tx.StatementsAbout(about)
			if err != nil {
				return err
			}
			for _, st := range list {
				statements[string(st.ID)] = st
			}
		}
		for _, id := range []policy.OrderID{first, id} {
			o, err := tx.Orders.Order(id)
			if err != nil {
				return err
			}
			documents[string(id)] = o.Bytes
		}
		return nil
	})
	if err != nil || len(statements) < 4 {
		t.Fatalf("%d statements, %v", len(statements), err)
	}
	hash := func(b []byte) string { sum := sha256.Sum256(b); return hex.EncodeToString(sum[:]) }
	last := map[string]*audit.Body{}
	for _, b := range s.Told("") {
		last[b.Act] = b
		st := statements[worldtest.Value(b, "statement")]
		if st == nil {
			continue
		}
		delete(statements, string(st.ID))
		if worldtest.Value(b, "signed") != hash(st.Content) || worldtest.Value(b, "certificate") != st.Certificate.String() || b.By != string(st.By) {
			t.Errorf("%s: another statement than %s", b.Act, st.ID)
		}
		if text, err := statement.Parse(st.Content); err != nil || hex.EncodeToString(text.Content[:]) != worldtest.Value(b, "document") {
			t.Errorf("%s: another document than was stated, %v", b.Act, err)
		}
		if strings.HasPrefix(b.Act, "order.") && worldtest.Value(b, "document") != hash(documents[worldtest.Value(b, "order")]) {
			t.Errorf("%s: another document than the order's", b.Act)
		}
	}
	if len(statements) != 0 {
		t.Errorf("of %d statements no act is told", len(statements))
	}
	cert := h.Certificate()
	want := map[string]map[string]string{
		audit.OrderPlaced: {"order": string(id), "type": "renewal", "organisation": string(s.Org), "card": string(h.Card), "person": string(h.Person),
			"kind": "hsa-id", "loa": "3"},
		audit.DownloadBegun:  {"order": string(id), "card": string(h.Card)},
		audit.IntentRecorded: {"order": string(id), "serial": cert.Serial.String(), "slot": "authentication", "organisation": string(s.Org), "kind": "hsa-id", "loa": "3"},
		audit.CertificateIssued: {"serial": cert.Serial.String(), "certificate": cert.Fingerprint.String(),
			"download": worldtest.Value(last[audit.DownloadBegun], "download")},
		audit.DownloadConfirmed:     {"order": string(id), "plan": worldtest.Value(last[audit.DownloadBegun], "plan"), "certificate": cert.Fingerprint.String()},
		audit.CertificateSuperseded: {"reason": "superseded", "rule": "confirm.superseded", "card": string(h.Card)},
	}
	for act, fields := range want {
		for name, value := range fields {
			if got := worldtest.Value(last[act], name); got != value {
				t.Errorf("%s: %s is %q, want %q", act, name, got, value)
			}
		}
	}
	leaf, err := hex.DecodeString(worldtest.Value(last[audit.IntentRecorded], "leaf"))
	if err != nil || s.Rows("log_leaves", "leaf = ? AND serial = ?", leaf, cert.Serial[:]) != 1 {
		t.Errorf("the leaf that is told is not the one in the log, %v", err)
	}
}

// TestActsThatHappenOnceAreToldOnce: who asks again, because an answer was lost, makes
// no second event; and a store would not take one.
func TestActsThatHappenOnceAreToldOnce(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	d, err := s.Preview(ctx, h, policy.OrderRenewal)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(act string, i int) []register.Signed {
		t.Helper()
		g, err := s.StateAs(statement.Statement{Act: act, Subject: string(d.Order), For: string(d.Person), Card: string(d.Card),
			Content: register.HashOf(d.Bytes())}, s.Admins[i])
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	placed, approved := signed(statement.ActPlace, 0), signed(statement.ActApprove, 1)
	first, second := login(s, s.Admins[0]), login(s, s.Admins[1])
	for range 2 {
		if _, err := s.Orders.Place(ctx, first, d.Bytes(), placed); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Orders.Approve(ctx, second, d.Order, approved); err != nil {
			t.Fatal(err)
		}
	}
	st, err := s.Begin(ctx, h, d.Order)
	if err != nil {
		t.Fatal(err)
	}
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	fp := ca.FingerprintOf(h.NextDER())
	for range 2 {
		if err := s.ConfirmAs(ctx, h.NextDER(), st.Download.ID, st.Download.PlanHash, fp); err != nil {
			t.Fatal(err)
		}
	}
	lost := s.Holder()
	for range 2 {
		if err := s.Downloads.BlockCard(ctx, first, lost.Card, "lost"); err != nil {
			t.Fatal(err)
		}
	}
	var statementID string
	all := s.Told("")
	for _, b := range all {
		if b.Act == audit.OrderApproved && worldtest.Value(b, "order") == string(d.Order) {
			statementID = worldtest.Value(b, "statement")
		}
	}
	for _, once := range [][]string{
		{audit.OrderPlaced, string(d.Order)},
		{audit.OrderApproved, string(d.Order), statementID},
		{audit.CardHandedOut, string(h.Card)},
		{audit.DownloadConfirmed, string(st.Download.ID)},
		{audit.CardBlocked, string(lost.Card)},
	} {
		id := audit.EventID(once[0], once[1:]...)
		at := slices.IndexFunc(all, func(b *audit.Body) bool { return b.ID == id })
		if at < 0 {
			t.Errorf("%q is not told under the name that its subject gives it", once)
			continue
		}
		n := 0
		for _, b := range all {
			if b.Act == once[0] && (once[0] != audit.OrderApproved || worldtest.Value(b, "order") == once[1]) && slices.ContainsFunc(b.Public, func(f audit.Field) bool { return f.Value == once[1] }) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%q is told %d times", once, n)
		}
		again := audit.Event{ID: id, At: s.Now(), Act: once[0], By: "per_1", Public: all[at].Public}
		err := s.Store.Issue().Update(ctx, func(tx *issue.Tx) error { return tx.Events.Append(again) })
		if !errors.Is(err, audit.ErrTaken) {
			t.Errorf("%q a second time: %v", once, err)
		}
	}
	if err := s.Store.Check(ctx, func(v store.Violation) { t.Error(v) }); err != nil {
		t.Fatal(err)
	}
}
