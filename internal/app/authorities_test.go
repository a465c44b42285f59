package app

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/store"
	"sigill/orders/issue"
	"sigill/policy"
	"sigill/revocation"
)

// revokeCA signs a list of the root that revokes id, and puts it in place.
func revokeCA(t *testing.T, dir string, id ca.IssuerID, now time.Time, reason ca.Reason) {
	t.Helper()
	h, err := keys.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	pass, err := RootPassphrase(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	each, ok := h.Issuer(id)
	serial, ours := ca.SerialOf(each.Certificate.SerialNumber)
	if !ok || !ours {
		t.Fatalf("no CA %s", id)
	}
	if err := h.SignRootCRL(t.Context(), pass, now, []keys.RevokedCA{{Serial: serial, At: now, Reason: reason}}); err != nil {
		t.Fatal(err)
	}
}

// actsOf returns the acts of the chain that begin with prefix, with their issuers.
func actsOf(t *testing.T, a *App, prefix string) (out []string) {
	t.Helper()
	if err := a.Sequencer.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := a.DB.Audit().View(t.Context(), func(tx *audit.Tx) error {
		out = nil
		records, _, err := tx.Linked(0, 1000)
		for _, r := range records {
			if strings.HasPrefix(r.Act, prefix) {
				out = append(out, r.Act)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// officer asks for an officer's certificate, which is for no card's eID.
func (a *App) issueFrom(t *testing.T, id ca.IssuerID, profile ca.ProfileName) (*issue.Certificate, error) {
	t.Helper()
	content := ca.Content{Country: "SE", Organisation: "O", CommonName: "somebody"}
	if profile == policy.ProfileServer {
		content.DNSNames = []string{"card.example"}
	}
	c, _, err := a.technical(t.Context(), id, profile, content, time.Hour)
	return c, err
}

func ruleOf(err error) policy.Rule {
	if r, ok := errors.AsType[*policy.Refusal](err); ok {
		return r.Rule
	}
	return ""
}

// TestEndedIssuer: a CA that the root has revoked, or that was closed, issues
// nothing any more, in a process that serves and in one that starts. What status and
// revoking need is made, and other CAs go on.
func TestEndedIssuer(t *testing.T) {
	dir := make1(t, "")
	a, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { a.Close() }()
	if _, err := a.issueFrom(t, keys.FunctionCA, policy.ProfileOfficer); err != nil {
		t.Fatal(err)
	}
	if d := a.Downloads.Gate(keys.PersonHSA2); !d.Allow {
		t.Fatalf("before: %+v", d)
	}
	revokeCA(t, dir, keys.FunctionCA, time.Now(), ca.Superseded)
	if _, err := a.Hierarchy.CloseIssuer(keys.Closing{Issuer: keys.PersonHSA2, At: time.Now(), By: "anna"}); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"while it serves", "at start", "with another reason"} {
		if when == "with another reason" {
			revokeCA(t, dir, keys.FunctionCA, time.Now(), ca.CACompromise)
		}
		if when == "at start" {
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			if a, err = open(t, dir, time.Now); err != nil {
				t.Fatal(err)
			}
		} else if _, err := a.authorities.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := a.issueFrom(t, keys.FunctionCA, policy.ProfileOfficer); ruleOf(err) != policy.IssuerEnded {
			t.Errorf("%s: an officer's certificate from a revoked CA: %v", when, err)
		}
		for _, profile := range []ca.ProfileName{policy.ProfileOCSP, policy.ProfileServer} {
			if _, err := a.issueFrom(t, keys.FunctionCA, profile); err != nil {
				t.Errorf("%s: what status and revoking need, %s: %v", when, profile, err)
			}
		}
		for id, want := range map[ca.IssuerID]policy.Rule{keys.PersonHSA2: policy.IssuerEnded, keys.FunctionCA: policy.IssuerEnded, keys.PersonHSA3: "", keys.CardCA: ""} {
			if d := a.Downloads.Gate(id); d.Rule != want || d.Allow != (want == "") {
				t.Errorf("%s: gate of %s = %+v, want %q", when, id, d, want)
			}
		}
		if !slices.Contains(a.Modes.Modes(), policy.ModeIssuerEnded) || !a.Modes.MayWork(policy.WorkChange).Allow {
			t.Errorf("%s: modes %v", when, a.Modes.Modes())
		}
	}
	if _, err := a.authorities.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Each is told once, however often it was looked at and by how many processes.
	want := []string{audit.CARevoked, audit.CAClosed, audit.CARevoked}
	got := actsOf(t, a, "ca.")
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	findings, err := Doctor(t.Context(), dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"person-hsa-id-2-v1 is closed", "function-v1 is revoked by the root"} {
		if !slices.ContainsFunc(findings, func(f Finding) bool { return f.Grade == Yellow && strings.Contains(f.Text, want) }) {
			t.Errorf("doctor does not say %q: %+v", want, findings)
		}
	}
}

// TestEndedInBetween: a CA that ends after a request was let in is asked about once
// more in the transaction that would record the intent.
func TestEndedInBetween(t *testing.T) {
	a, err := open(t, make1(t, ""), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	asked := 0
	a.Issue.May = func(ca.IssuerID, ca.ProfileName) error {
		if asked++; asked > 1 {
			return policy.MayWork(policy.ModeIssuerEnded, policy.WorkIssue).Err()
		}
		return nil
	}
	before, err := a.DB.Living(t.Context(), keys.FunctionCA, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.issueFrom(t, keys.FunctionCA, policy.ProfileOfficer); ruleOf(err) != policy.IssuerEnded || asked < 2 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	if after, err := a.DB.Living(t.Context(), keys.FunctionCA, "", time.Now()); err != nil || after != before {
		t.Errorf("an intent was recorded: %+v, before %+v, %v", after, before, err)
	}
}

// TestLivingCounts: what is valid, what of it is good, and until when; one profile
// left out, other issuing CAs not counted.
func TestLivingCounts(t *testing.T) {
	for _, url := range []string{"", postgres.URL(t)} {
		a, err := open(t, make1(t, url), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		count := func(now time.Time) store.Living {
			t.Helper()
			n, err := a.DB.Living(t.Context(), keys.FunctionCA, policy.ProfileOCSP, now)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		officers := count(time.Now()) // two, by init, for a year
		if officers.Valid != 2 || officers.Good != 2 || officers.LastEnd.Before(time.Now().AddDate(0, 11, 0)) {
			t.Errorf("after init: %+v", officers)
		}
		c, err := a.issueFrom(t, keys.FunctionCA, policy.ProfileServer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.issueFrom(t, keys.FunctionCA, policy.ProfileOCSP); err != nil {
			t.Fatal(err)
		}
		if _, err := a.issueFrom(t, keys.CardCA, policy.ProfileOCSP); err != nil {
			t.Fatal(err)
		}
		if n := count(time.Now()); n.Valid != 3 || n.Good != 3 || !n.LastEnd.Equal(officers.LastEnd) {
			t.Errorf("one more: %+v", n)
		}
		for _, reason := range []ca.Reason{ca.Superseded, ca.KeyCompromise} { // a graver reason is no second one
			err = a.DB.Issue().Update(t.Context(), func(tx *issue.Tx) error {
				_, err := issue.Revoke(tx, c, reason, "test", "system", a.now())
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if n := count(time.Now()); n.Valid != 3 || n.Good != 2 {
				t.Errorf("revoked: %+v", n)
			}
		}
		if n := count(time.Now().Add(2 * time.Hour)); n.Valid != 2 || n.Good != 2 {
			t.Errorf("one expired: %+v", n)
		}
		if n := count(time.Now().AddDate(2, 0, 0)); n != (store.Living{}) {
			t.Errorf("all expired: %+v", n)
		}
	}
}

// TestUnreadableClosings: what somebody meant to close is not known, so nothing is
// issued; revoking goes on, also after a start.
func TestUnreadableClosings(t *testing.T) {
	dir := make1(t, "")
	if err := os.WriteFile(filepath.Join(dir, "closed.json"), []byte("closed: card-v1"), 0o644); err != nil {
		t.Fatal(err)
	}
	serving(t, dir, func(at Addresses) {
		if status, _ := get(t, at.Status+"/crl/card-v1/0.crl"); status != http.StatusOK {
			t.Errorf("status: %d", status)
		}
	})
	a, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.authorities.look(t.Context()); err == nil {
		t.Error("read")
	}
	if d := a.Downloads.Gate(keys.PersonHSA3); d.Rule != policy.ServiceRevokeOnly {
		t.Errorf("gate = %+v", d)
	}
	if err := os.Remove(filepath.Join(dir, "closed.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.authorities.look(t.Context()); err != nil || !a.Downloads.Gate(keys.PersonHSA3).Allow {
		t.Errorf("put right: %v", err)
	}
}

// TestLastListsAreCounted: the last CRLs come when nothing is valid any more or,
// where they are demanded, when nothing is that is not revoked; and stay.
func TestLastListsAreCounted(t *testing.T) {
	h := &keys.Hierarchy{Dir: t.TempDir()}
	now := time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)
	var n store.Living
	counted, acts := 0, []string(nil)
	s := &authorities{h: h, now: func() time.Time { return now }, log: slog.New(slog.DiscardHandler),
		record: func(_ context.Context, act string, _ Ended) error { acts = append(acts, act); return nil },
		living: func(context.Context, ca.IssuerID, time.Time) (store.Living, error) {
			counted++
			if n.Valid < 0 {
				return n, errors.New("away")
			}
			return n, nil
		},
		ended: map[ca.IssuerID]Ended{}, final: map[ca.IssuerID]bool{}, nextLiving: map[ca.IssuerID]time.Time{}, demanded: map[ca.IssuerID]bool{}}
	c := keys.Closing{Issuer: keys.CardCA, At: now}
	for i, step := range []struct {
		after       time.Duration
		demanded    bool
		valid, good int
		counted     int
		last        bool
	}{
		{0, false, 5, 5, 1, false},
		{time.Minute, false, 0, 0, 1, false}, // counting is dear: not again so soon
		{time.Hour, false, 5, 0, 2, false},   // revoked ones must be on lists until they end
		{time.Minute, true, 5, 1, 3, false},  // demanded: counted at once
		{time.Hour, true, -1, 0, 4, false},   // the database is away
		{time.Minute, true, 5, 0, 5, true},
		{time.Hour, true, 5, 5, 5, true},
	} {
		now = now.Add(step.after)
		n.Valid, n.Good = step.valid, step.good
		if step.demanded {
			c.LastCRL = now
		}
		s.count(t.Context(), c)
		if counted != step.counted || s.last(keys.CardCA) != step.last || s.last(keys.PersonID3) {
			t.Errorf("step %d: counted %d times, last %t; want %d, %t", i, counted, s.last(keys.CardCA), step.counted, step.last)
		}
	}
	if !slices.Equal(acts, []string{audit.CALast}) {
		t.Errorf("events %v", acts)
	}
}

// TestLastLists closes a CA over the real store: its lists are issued once more
// and stay for ever, those of others do not, and a new process leaves them alone.
func TestLastLists(t *testing.T) {
	dir := make1(t, "")
	a, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { a.Close() }()
	publish := func(now time.Time) {
		t.Helper()
		if _, err := a.Publisher.Publish(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	list := func(id ca.IssuerID, file string) *x509.RevocationList { return publicFile(t, dir, id, file) }
	if err := a.renewSigner(t.Context(), a.Hierarchy.Issuers[3]); err != nil { // a signer of it lives on
		t.Fatal(err)
	}
	publish(time.Now())
	if _, err := a.Hierarchy.CloseIssuer(keys.Closing{Issuer: keys.CardCA, At: time.Now(), By: "anna"}); err != nil {
		t.Fatal(err)
	}
	look := func() {
		t.Helper()
		closed, err := a.authorities.look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range closed {
			a.authorities.count(t.Context(), c)
		}
	}
	look()
	publish(time.Now().Add(time.Minute))
	for _, file := range []string{"0.crl", "1.crl", "full.crl"} {
		if l := list(keys.CardCA, file); l.NextUpdate.Year() != 9999 || l.Number.Int64() != 2 {
			t.Errorf("%s of the closed CA: number %v until %v", file, l.Number, l.NextUpdate)
		}
		if l := list(keys.PersonHSA3, file); l.NextUpdate.Year() == 9999 {
			t.Errorf("%s of another CA ends never", file)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if a, err = open(t, dir, time.Now); err != nil {
		t.Fatal(err)
	}
	publish(time.Now().Add(48 * time.Hour)) // before anybody has counted
	if l := list(keys.CardCA, "full.crl"); l.NextUpdate.Year() != 9999 || l.Number.Int64() != 2 {
		t.Errorf("after a start: number %v until %v", l.Number, l.NextUpdate)
	}
	if l := list(keys.PersonHSA3, "0.crl"); l.Number.Int64() < 2 {
		t.Errorf("another CA's list was left alone: number %v", l.Number)
	}
}

// TestRevokedIssuerIsRefused: relying parties refuse what is below a CA that the
// root has revoked, although its own status is good.
func TestRevokedIssuerIsRefused(t *testing.T) {
	dir := make1(t, "")
	check := func(want revocation.Status) {
		serving(t, dir, func(at Addresses) {
			h, err := keys.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			der := leafOf(t, dir)
			leaf, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			function, _ := h.Issuer(keys.FunctionCA)
			v := &revocation.Verifier{Roots: []*x509.Certificate{h.Root.Certificate}, Fetch: fetchFrom(at.Status, h.StatusURL), Now: time.Now, Skew: time.Minute}
			if got := v.Verify(t.Context(), leaf, function.Certificate); got.Status != want {
				t.Errorf("verifier: %s, want %s: %+v", got.Status, want, got.Steps)
			}
			opensslJudges(t, h, leaf, function.Certificate, want)
		})
	}
	a, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.issueFrom(t, keys.FunctionCA, policy.ProfileOfficer)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "leaf.der"), c.DER, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	check(revocation.Good)
	revokeCA(t, dir, keys.FunctionCA, time.Now(), ca.CACompromise)
	check(revocation.Revoked)
}

// opensslJudges has OpenSSL check every level of the chain with the lists that are
// public.
func opensslJudges(t *testing.T, h *keys.Hierarchy, leaf, issuer *x509.Certificate, want revocation.Status) {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("SIGILL_REQUIRE") == "1" {
			t.Fatal("openssl is not installed")
		}
		t.Log("openssl is not installed")
		return
	}
	dir := t.TempDir()
	write := func(name string, blocks ...*pem.Block) string {
		t.Helper()
		var text []byte
		for _, b := range blocks {
			text = append(text, pem.EncodeToMemory(b)...)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certificate := func(c *x509.Certificate) *pem.Block { return &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw} }
	var lists []*pem.Block
	for _, file := range []string{"root/0.crl", "function-v1/0.crl", "function-v1/1.crl"} {
		der, err := os.ReadFile(filepath.Join(h.PublicDir(), "crl", file))
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, &pem.Block{Type: "X509 CRL", Bytes: der})
	}
	out, err := exec.CommandContext(t.Context(), program, "verify", "-crl_check_all", "-extended_crl",
		"-CAfile", write("root.pem", certificate(h.Root.Certificate)), "-untrusted", write("issuer.pem", certificate(issuer)),
		"-CRLfile", write("lists.pem", lists...), write("leaf.pem", certificate(leaf))).CombinedOutput()
	if good := err == nil; good != (want == revocation.Good) || !good && !strings.Contains(string(out), "certificate revoked") {
		t.Errorf("openssl, where %s is expected: %v\n%s", want, err, out)
	}
}

func publicFile(t *testing.T, dir string, id ca.IssuerID, file string) *x509.RevocationList {
	t.Helper()
	der, err := os.ReadFile(filepath.Join(dir, "public", "crl", string(id), file))
	if err != nil {
		t.Fatal(err)
	}
	l, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func publicList(t *testing.T, dir string, id ca.IssuerID, partition int) *x509.RevocationList {
	t.Helper()
	return publicFile(t, dir, id, strconv.Itoa(partition)+".crl")
}

func leafOf(t *testing.T, dir string) []byte {
	t.Helper()
	der, err := os.ReadFile(filepath.Join(dir, "leaf.der"))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestRootCRLIsWatched: metric, readiness and doctor tell in time that the root's
// list ends.
func TestRootCRLIsWatched(t *testing.T) {
	dir := make1(t, "")
	const day = 24 * time.Hour
	for _, test := range []struct {
		after    time.Duration
		grade    Grade
		degraded bool
	}{
		{0, Green, false},
		{200 * day, Yellow, false},
		{334 * day, Yellow, false},
		{336 * day, Red, true},
		{366 * day, Red, true},
	} {
		now := func() time.Time { return time.Now().Add(test.after) }
		findings, err := Doctor(t.Context(), dir, now)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(findings, func(f Finding) bool {
			return f.Area == "root" && f.Grade == test.grade && strings.Contains(f.Text, "CRL of")
		}) {
			t.Errorf("after %v doctor says %+v, want %s", test.after, findings, test.grade)
		}
	}
	var after atomic.Int64
	a, err := open(t, dir, func() time.Time { return time.Now().Add(time.Duration(after.Load())) })
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.status(); err != nil {
		t.Fatal(err)
	}
	ops, err := a.ops()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://ops"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		var w recorder
		ops.ServeHTTP(&w, r)
		return w.String()
	}
	for _, days := range []int{0, 334, 336} {
		after.Store(int64(time.Duration(days) * day))
		var ready readiness
		if err := json.Unmarshal([]byte(ask("/readyz")), &ready); err != nil {
			t.Fatal(err)
		}
		if degraded := days > 335; (ready.State == "degraded") != degraded || (len(ready.Degraded) > 0) != degraded {
			t.Errorf("after %d days: %+v", days, ready)
		}
		if left := a.authorities.remaining(); left > time.Duration(366-days)*day || left < time.Duration(364-days)*day {
			t.Errorf("after %d days: %v left", days, left)
		}
	}
	if text := ask("/metrics"); !strings.Contains(text, "sigill_root_crl_remaining_seconds 2.") {
		t.Errorf("metrics:\n%s", text)
	}
}

// recorder is what an answer is written to.
type recorder struct {
	bytes.Buffer
	header http.Header
}

func (r *recorder) Header() http.Header {
	if r.header == nil {
		r.header = http.Header{}
	}
	return r.header
}
func (r *recorder) WriteHeader(int) {}

func fetchFrom(status, url string) func(ctx context.Context, url string) ([]byte, error) {
	return func(ctx context.Context, address string) ([]byte, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.Replace(address, url, status, 1), nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(resp.Body)
	}
}
