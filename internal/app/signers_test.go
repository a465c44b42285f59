package app

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/keys"
	"sigill/orders/issue"
	"sigill/policy"
	"sigill/revocation/status"
)

// signerNow asks the status service about the issuing CA's first signer, and
// returns the serial of the one that has signed the answer.
func signerNow(t *testing.T, at Addresses, h *keys.Hierarchy, id ca.IssuerID) (signer string, about *ocsp.Response) {
	t.Helper()
	each, ok := h.Issuer(id)
	if !ok {
		t.Fatalf("no CA %s", id)
	}
	first := signersOf(t, h.Dir, id)[0]
	serial, err := ca.ParseSerial(first.Serial)
	if err != nil {
		t.Fatal(err)
	}
	asked := *each.Certificate // only its serial and its issuer's name matter
	asked.SerialNumber = serial.Int()
	request, err := ocsp.CreateRequest(&asked, each.Certificate, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(at.Status+"/ocsp", "application/ocsp-request", bytes.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	der, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := ocsp.ParseResponse(der, each.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	got, ours := ca.SerialOf(answer.Certificate.SerialNumber)
	if !ours {
		t.Fatalf("signed by %x", answer.Certificate.SerialNumber)
	}
	return got.String(), answer
}

func signersOf(t *testing.T, dir string, id ca.IssuerID) (out []SignerID) {
	t.Helper()
	all, err := ReadSigners(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Issuer == id {
			out = append(out, s)
		}
	}
	return out
}

// within asks again and again, for what a background loop does.
func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline, poll := time.After(30*time.Second), time.NewTicker(20*time.Millisecond)
	defer poll.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("not in half a minute: %s", what)
		case <-poll.C:
		}
	}
}

// TestRequestsAtOnce: of commands that ask at the same time, none is lost.
func TestRequestsAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if fresh, err := RequestSignerRevocation(dir, SignerRequest{Serial: fmt.Sprint(i), By: "anna", At: time.Now()}); err != nil || !fresh {
				t.Errorf("request %d = %t, %v", i, fresh, err)
			}
		})
	}
	wg.Wait()
	if all, err := readJSON[SignerRequest](filepath.Join(dir, signerRequests)); err != nil || len(all) != 20 {
		t.Errorf("%d of 20 requests are there: %v", len(all), err)
	}
}

// TestRevokeSigner: an OCSP signer that a command names is replaced and revoked
// while it is served; nothing is signed with it any more, also what was kept, and
// it stands on the CRL.
func TestRevokeSigner(t *testing.T) {
	dir := make1(t, "")
	serving(t, dir, func(at Addresses) {
		h, err := keys.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		was, about := signerNow(t, at, h, keys.CardCA)
		if mine := signersOf(t, dir, keys.CardCA); len(mine) != 1 || mine[0].Serial != was || about.Status != ocsp.Good {
			t.Fatalf("signed by %s, %d, known are %+v", was, about.Status, mine)
		}
		other, _ := signerNow(t, at, h, keys.PersonHSA3)
		r := SignerRequest{Serial: was, By: "anna", At: time.Now()}
		if fresh, err := RequestSignerRevocation(dir, r); err != nil || !fresh {
			t.Fatalf("request = %t, %v", fresh, err)
		}
		if fresh, err := RequestSignerRevocation(dir, r); err != nil || fresh {
			t.Errorf("again = %t, %v", fresh, err)
		}
		within(t, "another signer, and the old one revoked", func() bool {
			is, about := signerNow(t, at, h, keys.CardCA)
			return is != was && about.Status == ocsp.Revoked && about.RevocationReason == ocsp.KeyCompromise
		})
		within(t, "the old one on a CRL", func() bool {
			for p := range 2 {
				_, body := get(t, at.Status+"/crl/card-v1/"+string('0'+rune(p))+".crl")
				serial, err := ca.ParseSerial(was)
				if err == nil && strings.Contains(body, string(serial[:])) {
					return true
				}
			}
			return false
		})
		if is, _ := signerNow(t, at, h, keys.PersonHSA3); is != other {
			t.Error("another CA's signer was replaced too")
		}
	})
}

// TestRevokeSignersAtStart: a start revokes nothing by itself; told to, it revokes
// the signers of earlier processes and not its own. What was asked for while nobody
// served is done then.
func TestRevokeSignersAtStart(t *testing.T) {
	dir := make1(t, "")
	revoked := func(a *App, s SignerID) bool {
		t.Helper()
		serial, err := ca.ParseSerial(s.Serial)
		if err != nil {
			t.Fatal(err)
		}
		_, since, err := FindSigner(t.Context(), a.DB.Issue().View, serial)
		if err != nil {
			t.Fatal(err)
		}
		return !since.IsZero()
	}
	start := func(told bool) (counts [2]int) {
		t.Helper()
		a, err := Open(t.Context(), dir, Options{Log: slog.New(slog.DiscardHandler), Now: time.Now, RevokeSigners: told})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		ctx, stop := context.WithCancel(t.Context())
		if err := a.Serve(ctx, func(Addresses) { stop() }); err != nil {
			t.Fatal(err)
		}
		all, err := ReadSigners(dir, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if revoked(a, s) {
				counts[1]++
			} else {
				counts[0]++
			}
		}
		return counts
	}
	if got := start(false); got != [2]int{5, 0} {
		t.Errorf("first start: %v", got)
	}
	if got := start(false); got != [2]int{10, 0} {
		t.Errorf("second start: %v", got)
	}
	if _, err := RequestSignerRevocation(dir, SignerRequest{Serial: signersOf(t, dir, keys.CardCA)[0].Serial, By: "anna", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if got := start(false); got != [2]int{14, 1} {
		t.Errorf("third start, one asked for: %v", got)
	}
	if got := start(true); got != [2]int{5, 15} {
		t.Errorf("told to: %v", got)
	}
	if got := start(true); got != [2]int{5, 20} {
		t.Errorf("told to again: %v", got)
	}
}

// TestRevokeSignerForgets: what the revoked signer has signed of other certificates is
// not given out from memory either; a plain renewal keeps it (TestSignerRotation).
func TestRevokeSignerForgets(t *testing.T) {
	a, err := open(t, make1(t, ""), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.Config.OCSP.Presign.Dir = "ahead"
	if _, err := a.status(); err != nil {
		t.Fatal(err)
	}
	if err := first(t.Context(), a.renewals(&server{})); err != nil {
		t.Fatal(err)
	}
	issuer, _ := a.Hierarchy.Issuer(keys.FunctionCA)
	was := signersOf(t, a.Config.Dir, keys.FunctionCA)[0].Serial
	all, err := a.DB.ReleasedAfter(t.Context(), ca.Serial{}, 100)
	all = slices.DeleteFunc(all, func(r status.Released) bool { return r.Issuer != keys.FunctionCA || r.Serial.String() == was })
	if err != nil || len(all) == 0 {
		t.Fatalf("%d certificates, %v", len(all), err)
	}
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: all[0].Serial.Int()}, issuer.Certificate, nil)
	if err != nil {
		t.Fatal(err)
	}
	// pass signs ahead until a pass is over.
	pass := func(a *App) {
		t.Helper()
		ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
		defer stop()
		p, whole := a.ocsp.ahead, false
		passed := p.Passed
		defer func() { p.Passed = passed }()
		p.Passed = func(context.Context) { whole = true; stop() }
		p.Run(ctx)
		if !whole {
			t.Fatalf("no pass in half a minute, at %+v", p.Position)
		}
	}
	signers := func(a *App) (here, ahead string) {
		t.Helper()
		answer, err := a.ocsp.responder.Reply(t.Context(), status.Question{DER: der})
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(filepath.Join(a.Config.Dir, "ahead", filepath.FromSlash(status.PathOf(der))))
		if err != nil {
			t.Fatal(err)
		}
		var out [2]string
		for i, der := range [][]byte{answer.DER, file} {
			got, err := ocsp.ParseResponse(der, issuer.Certificate)
			if err != nil {
				t.Fatal(err)
			}
			serial, _ := ca.SerialOf(got.Certificate.SerialNumber)
			out[i] = serial.String()
		}
		return out[0], out[1]
	}
	pass(a)
	if here, ahead := signers(a); here != was || ahead != was {
		t.Fatalf("signed by %s and %s, not by %s", here, ahead, was)
	}
	if _, err := RequestSignerRevocation(a.Config.Dir, SignerRequest{Serial: was, By: "anna", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	a.book.obey(t.Context())
	if here, _ := signers(a); here == was {
		t.Error("given from memory after its signer was revoked")
	}
	pass(a)
	if _, ahead := signers(a); ahead == was {
		t.Error("signed ahead by a signer that is revoked")
	}
	// The next start obeys once more, and does not sign all ahead once more.
	times := 0
	a.book.done, a.book.forget = map[string]bool{}, func(since time.Time) {
		times++
		if !a.ocsp.ahead.Position.Began.After(since) {
			t.Error("all is signed ahead once more because of a signer that was revoked before")
		}
	}
	a.book.obey(t.Context())
	if times != 1 {
		t.Errorf("forgotten %d times", times)
	}
}

// TestSignerUsedUntil: what a signer that could not be replaced has signed after it was
// revoked is not good either.
func TestSignerUsedUntil(t *testing.T) {
	asked := time.Now().UTC().Truncate(time.Second)
	list := []SignerID{
		{"a", keys.CardCA, asked.Add(-2 * time.Hour), asked.Add(time.Hour)}, {"b", keys.CardCA, asked.Add(-time.Hour), asked.Add(time.Hour)},
		{"x", keys.FunctionCA, asked.Add(time.Minute), asked.Add(time.Hour)}, {"c", keys.CardCA, asked.Add(2 * time.Minute), asked.Add(time.Hour)},
	}
	b := &signerBook{dir: t.TempDir(), now: func() time.Time { return asked.Add(30 * time.Minute) }}
	if err := writeJSON(filepath.Join(b.dir, signersFile), list); err != nil {
		t.Fatal(err)
	}
	for serial, want := range map[string]time.Duration{"a": 0, "b": 2 * time.Minute, "c": 0, "lost": 0} {
		if got := b.usedUntil(keys.CardCA, SignerRequest{Serial: serial, At: asked}); !got.Equal(asked.Add(want)) {
			t.Errorf("%s: until %v after it was asked", serial, got.Sub(asked))
		}
	}
	if err := os.WriteFile(filepath.Join(b.dir, signersFile), []byte("noise"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := b.usedUntil(keys.CardCA, SignerRequest{Serial: "a", At: asked}); !got.Equal(b.now()) {
		t.Errorf("not known: until %v", got)
	}
}

// TestSignerBook: a signer that cannot be replaced is revoked all the same, and
// replaced as soon as it can be; what is no signer is left alone.
func TestSignerBook(t *testing.T) {
	dir := t.TempDir()
	serial, stranger := ca.NewSerial(), ca.NewSerial()
	var revokes, renews, uses, forgotten int
	use := func() error { uses++; return nil }
	fail := errors.New("no signature")
	b := &signerBook{dir: dir, log: slog.New(slog.DiscardHandler), now: time.Now, current: map[ca.IssuerID]ca.Serial{}, done: map[string]bool{}, said: map[string]string{},
		revoke: func(_ context.Context, s ca.Serial, by string) (ca.IssuerID, error) {
			if s != serial {
				return "", errNoSigner
			}
			if by != "operator:anna" {
				t.Errorf("by %s", by)
			}
			revokes++
			return keys.CardCA, nil
		}}
	b.forget = func(time.Time) { forgotten++ }
	b.renew = func(context.Context, ca.IssuerID) error {
		renews++
		if fail == nil {
			b.current[keys.CardCA] = ca.NewSerial()
		}
		return fail
	}
	c := &issue.Certificate{StoredAt: time.Now()}
	c.Serial, c.Issuer, c.Profile, c.NotAfter = serial, keys.CardCA, policy.ProfileOCSP, time.Now().Add(time.Hour)
	if err := b.add(c, func() error { return fail }); !errors.Is(err, fail) || b.current[keys.CardCA] == serial {
		t.Errorf("what cannot be used is taken for used: %v", err)
	}
	if err := b.add(c, use); err != nil || uses != 1 {
		t.Fatal(err)
	}
	for _, s := range []ca.Serial{serial, stranger} {
		if _, err := RequestSignerRevocation(dir, SignerRequest{Serial: s.String(), By: "anna", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	b.obey(t.Context())
	b.obey(t.Context())
	if revokes != 2 || renews != 2 || forgotten != 0 {
		t.Errorf("no signature: %d revocations, %d renewals, %d times forgotten", revokes, renews, forgotten)
	}
	fail = nil
	b.obey(t.Context())
	b.obey(t.Context()) // done
	if revokes != 3 || renews != 3 || forgotten != 1 {
		t.Errorf("healed: %d revocations, %d renewals, %d times forgotten", revokes, renews, forgotten)
	}
	// Files that cannot be read: nothing is carried out, and a new signer is written
	// down all the same.
	for _, name := range []string{signersFile, signerRequests} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("noise"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.obey(t.Context())
	if err := b.add(c, use); err != nil || revokes != 3 {
		t.Errorf("over noise: %v", err)
	}
	if all, err := ReadSigners(dir, time.Now()); err != nil || len(all) != 1 {
		t.Errorf("after noise: %v, %v", all, err)
	}
	if all, err := ReadSigners(dir, time.Now().Add(2*time.Hour)); err != nil || len(all) != 0 {
		t.Errorf("expired ones are told: %v, %v", all, err)
	}
}

// TestRevokeSignerIsForSigners: no other certificate can be revoked this way.
func TestRevokeSignerIsForSigners(t *testing.T) {
	a, err := open(t, make1(t, ""), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	c, err := a.issueFrom(t, keys.FunctionCA, policy.ProfileServer)
	if err != nil {
		t.Fatal(err)
	}
	for _, serial := range []ca.Serial{c.Serial, ca.NewSerial()} {
		if _, err := a.revokeSigner(t.Context(), serial, "operator:anna"); !errors.Is(err, errNoSigner) {
			t.Errorf("%s: %v", serial, err)
		}
	}
}
