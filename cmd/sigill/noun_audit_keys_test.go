package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/app"
	"sigill/internal/auditor/auditortest"
	"sigill/internal/auditor/remote"
	"sigill/internal/checkpoint"
	"sigill/internal/keys"
	"sigill/internal/lint"
	"sigill/internal/profiles"
	"sigill/internal/witness"
	"sigill/orders/issue"
	"sigill/policy"
)

// thief has a copy of the installation, and what opens its keys.
type thief struct {
	t *testing.T
	*app.App
	db *sql.DB // its rows
}

func (a *audited) thief(t *testing.T, dir string) *thief {
	t.Helper()
	opened, err := app.Open(t.Context(), dir, app.Options{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "sigill.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	return &thief{t, opened, db}
}

func (h *thief) close() {
	h.t.Helper()
	if err := h.db.Close(); err != nil {
		h.t.Error(err)
	}
	if err := h.App.Close(); err != nil {
		h.t.Error(err)
	}
}

func (h *thief) rows(text string, args ...any) {
	h.t.Helper()
	if r, err := h.db.Exec(text, args...); err != nil {
		h.t.Fatalf("%s: %v", text, err)
	} else if n, err := r.RowsAffected(); n == 0 || err != nil {
		h.t.Fatalf("%s changed nothing: %v", text, err)
	}
}

// stolen opens the key of an issuing CA.
func (h *thief) stolen(id ca.IssuerID) *keys.Issuer {
	h.t.Helper()
	pass, err := keys.FromFile(h.Config.Path("secrets", "passphrase"), keys.Test)
	if err != nil {
		h.t.Fatal(err)
	}
	i, err := h.Hierarchy.OpenIssuer(h.t.Context(), id, pass)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { i.Close() })
	return i
}

// issuer is an issuing CA with a stolen key, that draws serials from source.
func (h *thief) issuer(id ca.IssuerID, source io.Reader, names ...ca.ProfileName) *ca.Issuer {
	h.t.Helper()
	all, err := profiles.Load(h.Config.Path("profiles"))
	if err != nil {
		h.t.Fatal(err)
	}
	var levels []string
	for _, oid := range all[policy.ProfileAuthentication].Assurance() {
		levels = append(levels, oid)
	}
	linter, err := lint.New(lint.Config{LoAPolicies: levels})
	if err != nil {
		h.t.Fatal(err)
	}
	stolen := h.stolen(id)
	i, err := ca.NewIssuer(ca.IssuerConfig{ID: id, Certificate: stolen.Certificate, Signer: stolen.Signer, Profiles: all, MayIssue: names, Partitions: 2,
		StatusURL: h.Config.StatusURL, Linter: linter, Rand: source})
	if err != nil {
		h.t.Fatal(err)
	}
	return i
}

// server asks for a server certificate, of which nobody wants an order.
func server(key crypto.Signer) ca.Request {
	return ca.Request{Profile: policy.ProfileServer, PublicKey: key.Public(), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		Content: ca.Content{CommonName: "card.example", DNSNames: []string{"card.example"}}}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keys are those who have stolen keys, or write what the CA remembers of them.
func (a *audited) keys(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*thief)
		want []string
	}{
		{"key reuse", func(h *thief) {
			key := newKey(t)
			for range 2 {
				if _, err := h.Issue.Issue(t.Context(), keys.FunctionCA, server(key), issue.Binding{}, nil); err != nil {
					t.Fatal(err)
				}
				f, err := ca.FingerprintKey(key.Public())
				if err != nil {
					t.Fatal(err)
				}
				h.rows(`DELETE FROM keys_seen WHERE fingerprint = ?`, f[:]) // so that the CA forgets it
			}
		}, []string{"certificate.reusedkey"}},
		{"serial reuse", func(h *thief) {
			h.Issuers[keys.FunctionCA] = h.issuer(keys.FunctionCA, repeated{}, policy.ProfileServer)
			for i := range 2 {
				cert, err := h.Issue.Issue(t.Context(), keys.FunctionCA, server(newKey(t)), issue.Binding{}, nil)
				if err != nil {
					t.Fatal(err)
				}
				if i == 0 { // out of the way of the second
					for _, table := range []string{"intents", "certificates", "log_leaves"} {
						h.rows(`UPDATE `+table+` SET serial = ? WHERE serial = ?`, bytes.Repeat([]byte{0x50}, 16), cert.Serial[:])
					}
				}
			}
		}, []string{"certificate.serial"}},
		{"SCT missing", func(h *thief) {
			var der []byte
			if err := h.db.QueryRow(`SELECT der FROM certificates WHERE profile = 'authentication' ORDER BY stored_at LIMIT 1`).Scan(&der); err != nil {
				t.Fatal(err)
			}
			h.rows(`UPDATE certificates SET der = ? WHERE der = ?`, auditortest.WithoutSCT(t, der, h.stolen(keys.PersonHSA3).Signer), der)
		}, []string{"certificate.sct"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := a.copied(t, a.pristine)
			h := a.thief(t, dir)
			c.do(h)
			h.close()
			a.serve(t, dir)
			o := a.follow(t, filepath.Join(t.TempDir(), "state"))
			for _, want := range c.want {
				if got := kinds(t, o); !slices.Contains(got, want) {
					t.Errorf("found %v, not %s: %s", got, want, o.out)
				}
			}
		})
	}
	t.Run("signed outside", a.outside)
}

// repeated is a source of randomness that is none.
type repeated struct{}

func (repeated) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 7
	}
	return len(b), nil
}

// promised is the service's log without its tree: a thief of both keys promises what he
// will not keep.
type promised struct{ ca.Log }

// Await implements [ca.Log].
func (promised) Await(context.Context, ca.LogLeaf) error { return nil }

// outside: certificates that the thief of an issuing key signed in a copy of the
// installation, with the log's key and without.
func (a *audited) outside(t *testing.T) {
	h := a.thief(t, a.copied(t, a.pristine))
	issuer := h.issuer(keys.FunctionCA, rand.Reader, policy.ProfileServer)
	sign := func(log ca.Log) []byte {
		draft, err := issuer.Prepare(server(newKey(t)))
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := draft.Seal(t.Context(), log)
		if err != nil {
			t.Fatal(err)
		}
		recorded, err := sealed.Record(t.Context(), func(context.Context, ca.Intent) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		logged, err := recorded.Await(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		issued, err := issuer.Sign(logged)
		if err != nil {
			t.Fatal(err)
		}
		return issued.DER
	}
	both, one := sign(promised{h.Logs}), sign(nil)
	var own []byte
	if err := h.db.QueryRow(`SELECT der FROM certificates WHERE profile = 'authentication' ORDER BY stored_at LIMIT 1`).Scan(&own); err != nil {
		t.Fatal(err)
	}
	h.close()

	a.serve(t, a.copied(t, a.pristine))
	state := filepath.Join(t.TempDir(), "state")
	if got := kinds(t, a.follow(t, state)); len(got) > 0 {
		t.Fatalf("found %v", got)
	}
	prove := func(der []byte, more ...string) outcome {
		path := a.file("presented.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		return program(t, "", append(append([]string{"audit", "prove", path, "--state", state}, a.known...), more...)...)
	}
	got := prove(own)
	for _, want := range []string{"in the log\n", "order.placed", "order.approved", "download.begun", "intent.recorded", "certificate.issued", "nobody"} {
		if got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("of the service, without %q: %+v", want, got)
		}
	}
	for name, der := range map[string][]byte{"issuing key": one, "issuing key and log key": both} {
		if got := prove(der); got.code != exitFailed || !strings.HasPrefix(got.out, "NOT in the log") || !strings.Contains(got.out, "outside") {
			t.Errorf("stolen %s: %+v", name, got)
		}
		if status := a.ocsp(t, der, issuer.Certificate()); status != ocsp.Unknown {
			t.Errorf("stolen %s: OCSP says %d, want unknown", name, status)
		}
	}
}

// ocsp asks the service for the status of a certificate.
func (a *audited) ocsp(t *testing.T, der []byte, issuer *x509.Certificate) int {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	request, err := ocsp.CreateRequest(cert, issuer, nil)
	if err != nil {
		t.Fatal(err)
	}
	public := remote.NewPublic("")
	defer public.Close()
	text, err := public.OCSP(t.Context(), cert.OCSPServer[0], request)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := ocsp.ParseResponseForCert(text, cert, issuer)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status
}

// witnessed: a witness has cosigned one history. Whoever is shown another one sees that
// it did not.
func (a *audited) witnessed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "witness")
	if _, err := witness.Init(dir, "witness.example/1"); err != nil {
		t.Fatal(err)
	}
	var logs []*checkpoint.Log
	for i := 1; i < len(a.logs); i += 2 {
		origin, file, _ := strings.Cut(a.logs[i], "=")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		l, err := checkpoint.ReadLog(origin, text)
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, l)
	}
	w, err := witness.Open(witness.Config{Dir: dir, Logs: logs, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	server := httptest.NewServer(w)
	defer server.Close()
	watched := func(from string) string {
		dir := a.copied(t, from)
		path := filepath.Join(dir, "sigill.yaml")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		set := strings.Replace(string(text), "  witnesses: []", "  witnesses:\n    - url: "+server.URL+"\n      key: "+w.Witness().String(), 1)
		if err := os.WriteFile(path, []byte(set), 0o600); err != nil || set == string(text) {
			t.Fatalf("naming the witness: %v", err)
		}
		return dir
	}
	by := []string{"--witness", w.Witness().String(), "--public", "1ms"}
	follow := func(state string) []string { return kinds(t, a.follow(t, state, by...)) }

	first := watched(a.pristine)
	// It has run without a witness until now.
	if _, err := app.AcceptPlace(t.Context(), first, app.AcceptOptions{Place: w.Witness().Name(), Do: true, Now: time.Now, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	a.serve(t, first)
	a.changed(t, 3)
	state := filepath.Join(t.TempDir(), "state")
	// Witnesses are asked after the log has signed. What they have not seen yet, they will.
	for deadline := time.Now().Add(time.Minute); ; {
		got := follow(state)
		if len(got) == 0 {
			break
		}
		if !slices.Equal(got, []string{"log.unwitnessed"}) || time.Now().After(deadline) {
			t.Fatalf("found %v", got)
		}
		state = filepath.Join(t.TempDir(), "state") // a finding is reported once
	}
	// The copy goes on by itself: its own witness is asked in vain.
	a.serve(t, watched(a.pristine))
	if got := follow(filepath.Join(t.TempDir(), "state")); !slices.Contains(got, "log.unwitnessed") {
		t.Errorf("a fork that the witness has not cosigned: found %v", got)
	}
}
