//go:build unix

package interop

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"sigill/internal/checkpoint"
	"sigill/internal/keys"
	"sigill/internal/revtest"
	"sigill/revocation"
	"sigill/revocation/logged"
)

// thief has the key of the issuing CA, and that of the log of its certificates, which
// in a TEST installation one account can read.
type thief struct {
	issuer *keys.Issuer
	log    *revtest.Log
}

// rob takes both keys from the installation.
func (in *installation) rob(t *testing.T) thief {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	h, err := keys.Load(in.dir)
	must(err)
	pass, err := keys.FromFile(filepath.Join(in.dir, "secrets", "passphrase"), keys.Test)
	must(err)
	issuer, err := h.OpenIssuer(t.Context(), keys.PersonHSA3, pass)
	must(err)
	t.Cleanup(func() { issuer.Close() })
	logs, err := keys.LoadLogs(in.dir)
	must(err)
	pass, err = keys.FromFile(filepath.Join(in.dir, "secrets", "log-passphrase"), keys.Test)
	must(err)
	key, err := logs.Open(t.Context(), logs.Certificates, pass)
	must(err)
	t.Cleanup(func() { key.Close() })
	log, err := checkpoint.NewLog(logs.Certificates.Origin, key.Signer.Public())
	must(err)
	return thief{issuer, &revtest.Log{Log: log, Key: key.Signer, T: t}}
}

// fetchPlain is what a relying party fetches with.
func fetchPlain(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := plain.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", address, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// Who has stolen the issuing key makes a certificate outside, with any serial and, if he
// has the log's key too, with a timestamp that verifies. OCSP says unknown, which no
// relying party lets pass; a list cannot have it; that it is logged he cannot bring about
// without showing it to the witnesses, and so to everybody.
func TestBothKeysStolen(t *testing.T) {
	in := served(t)
	robbed := in.rob(t)
	witness := revtest.NewCosigner(t, "witness.example/w1")
	known := logged.Config{Logs: []logged.Log{{Log: robbed.log.Log}}, Witnesses: []checkpoint.Witness{witness.Witness()}}
	judge := func(cert *x509.Certificate, demand logged.Demand, sources revocation.Sources, proofs ...[]byte) revocation.Verification {
		logs, err := logged.New(known)
		if err != nil {
			t.Fatal(err)
		}
		v := &revocation.Verifier{Roots: []*x509.Certificate{in.root}, Fetch: fetchPlain, Now: time.Now, Skew: time.Minute, Sources: sources, Logs: logs,
			AskLogs: true, Demand: revocation.Demand{Log: demand}}
		return v.Judge(t.Context(), revocation.Presented{Certificate: cert, Issuers: []*x509.Certificate{in.issuer}, Proofs: proofs})
	}
	want := func(got revocation.Verification, cause revocation.Cause, state logged.State) {
		t.Helper()
		if got.Cause != cause || got.Log.State != state {
			t.Errorf("%s, %q; want %s, %q: %v", got.Cause, got.Log.State, cause, state, got.Steps)
		}
	}

	// The honest one: the service itself tells the proof, and a witness has seen its head.
	honest := in.leaves[good].Certificate
	got := judge(honest, logged.DemandSCT, revocation.AllSources)
	want(got, revocation.CauseGood, logged.Included)
	want(judge(honest, logged.DemandLogged, revocation.AllSources), revocation.CauseNotLogged, logged.Included)
	seen := cosigned(t, robbed.log.Log, witness, got.Log.Promises[0].Leaf)
	want(judge(honest, logged.DemandLogged, revocation.AllSources, seen), revocation.CauseGood, logged.Logged)

	// The forged one is unknown to OCSP, whatever is demanded.
	bare := in.leaves[forged].Certificate
	pre := revtest.PreCert{TBS: bare.RawTBSCertificate, Issuer: in.issuer, At: time.Now().Add(-time.Minute)}
	forged := revtest.Embed(t, bare, robbed.issuer.Signer, revtest.SCTList(t, revtest.Octets(t, robbed.log.SCT(pre))))
	for _, demand := range []logged.Demand{logged.DemandNone, logged.DemandSCT, logged.DemandLogged} {
		want(judge(forged, demand, revocation.AllSources), revocation.CauseNotIssued, logged.Promised)
		want(judge(forged, demand, revocation.AllSources, seen), revocation.CauseNotIssued, logged.Promised) // another's proof
	}
	// He signs a tree for himself, in which it is. No witness has seen it.
	own := robbed.log.Proof(robbed.log.Add(pre.Leaf(t)), robbed.log.Head(time.Now()))
	want(judge(forged, logged.DemandLogged, revocation.AllSources, own), revocation.CauseNotIssued, logged.Included)

	// By lists alone it passes for a good one, with its promise too. Proof it lacks.
	want(judge(forged, logged.DemandNone, revocation.CRLOnly), revocation.CauseGood, logged.Promised)
	want(judge(forged, logged.DemandSCT, revocation.CRLOnly), revocation.CauseGood, logged.Promised)
	want(judge(forged, logged.DemandLogged, revocation.CRLOnly), revocation.CauseNotLogged, logged.Promised)
	want(judge(forged, logged.DemandLogged, revocation.CRLOnly, own), revocation.CauseNotLogged, logged.Included)
	want(judge(honest, logged.DemandLogged, revocation.CRLOnly, seen), revocation.CauseGood, logged.Logged)
}

// cosigned is the service's proof of a leaf under a head that the witness has cosigned.
func cosigned(t *testing.T, log *checkpoint.Log, w *checkpoint.Cosigner, leaf string) []byte {
	t.Helper()
	text, err := fetchPlain(t.Context(), "http://"+log.Origin()+"/proof/"+leaf)
	if err != nil {
		t.Fatal(err)
	}
	p, err := checkpoint.ParseProof(text)
	if err != nil {
		t.Fatal(err)
	}
	head, err := log.Open(p.Note)
	if err != nil {
		t.Fatal(err)
	}
	line, err := w.Cosign(head, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if p.Note, err = log.Merge(p.Note, line, []checkpoint.Witness{w.Witness()}); err != nil {
		t.Fatal(err)
	}
	return p.Text()
}
