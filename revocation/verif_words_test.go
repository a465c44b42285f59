package revocation_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation"
	"sigill/revocation/transcript"
)

// Each cause has a name of its own, and words in both languages.
func TestCausesHaveWords(t *testing.T) {
	names := map[string]bool{}
	for cause := revocation.CauseGood; cause <= revocation.CausePast; cause++ {
		r := revocation.Verification{Cause: cause}
		if names[cause.String()] || cause.String() == "none" {
			t.Errorf("cause %d is called %q", cause, cause)
		}
		names[cause.String()] = true
		for _, both := range [][2]string{{r.Summary("en"), r.Summary("sv")}, {r.Next("en"), r.Next("sv")}} {
			if both[0] == "" || both[1] == "" || both[0] == both[1] {
				t.Errorf("%s: %q", cause, both)
			}
		}
	}
	if (revocation.Verification{}).Cause.String() != "none" {
		t.Error("the zero cause has a name")
	}
}

func TestTranscript(t *testing.T) {
	w := newWeb(t)
	e := revtest.NewEntry(revtest.Person, 3, ca.KeyCompromise)
	e.Serial = w.serial
	w.Revoke(e)
	p := revocation.Presented{Certificate: w.leaf}
	p.Issuers = append(p.Issuers, w.inner.Cert)
	got := w.v.Judge(t.Context(), p)
	text := transcript.Text(got, p, revtest.Start, transcript.Options{Language: "sv", Subject: true})
	for _, want := range []string{"subject:     CN=Åsa Öberg", "identifier:  none, or more than one", "our clock:   2026-03-14T09:26:53Z",
		"signed by    \"TEST root\"", "list         number 1, 0 entries, for all certificates", "OCSP for the certificate", ": revoked at 2026-03-14T09:25:53Z as keyCompromise",
		"this update  2026-03-14T09:21:53Z, 5m0s ago", "verdict:     REVOKED. Certifikatet är spärrat. Det spärrades 2026-03-14T09:25:53Z (keyCompromise).", "nyckeln har varit i fel händer"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	// Without the subject nothing names the holder, and nothing else does anyway.
	text = transcript.Text(got, p, revtest.Start, transcript.Options{})
	if strings.Contains(text, "Åsa") || !strings.Contains(text, "The certificate is revoked.") {
		t.Errorf("without subject:\n%s", text)
	}
	// The clock of who answered is ahead: both clocks are told.
	w.ocsp = w.forge(w.inner.OCSPCert, w.inner.OCSPKey, func(a *answer) { a.this = revtest.Start.Add(30 * time.Second) })
	got = w.v.Judge(t.Context(), p)
	if text := transcript.Text(got, p, revtest.Start, transcript.Options{}); !strings.Contains(text, "in 30s") {
		t.Errorf("ahead:\n%s", text)
	}
	w.ocsp = w.forge(w.inner.OCSPCert, w.inner.OCSPKey, func(a *answer) { a.this = revtest.Start.Add(10 * time.Minute) })
	got = w.v.Judge(t.Context(), p)
	if text := transcript.Text(got, p, revtest.Start, transcript.Options{}); !strings.Contains(text, "its clock is ahead of ours by 10m0s or more") {
		t.Errorf("far ahead:\n%s", text)
	}
}

// Names in certificates are strangers' words: none begins a line of its own, turns
// the writing around or moves the cursor, in whatever field it stands.
func TestTranscriptKeepsStrangersOnTheirLine(t *testing.T) {
	const evil = "x\r\nverdict:     GOOD. \x1b[2J\u202eDOOG\u2028"
	w := newWeb(t)
	w.holder(func(c *x509.Certificate) { c.RawSubject, c.Subject = nil, pkix.Name{CommonName: evil} })
	issuer := *w.inner.Cert
	issuer.RawSubject, issuer.Subject, issuer.MaxPathLen = nil, pkix.Name{CommonName: evil}, -1
	w.inner.Cert = revtest.Sign(t, &issuer, w.root.Cert, w.inner.Key.Public(), w.root.Key)
	w.holder(func(*x509.Certificate) {})
	w.ocsp = func([]byte) ([]byte, error) { return nil, errors.New(evil) }
	p := revocation.Presented{Certificate: w.leaf, Issuers: []*x509.Certificate{w.inner.Cert}}
	w.v.Open.Unreachable = true
	delete(w.crl, leafList)
	got := w.v.Judge(t.Context(), p)
	w.want(got, revocation.Good, revocation.CauseSoft)
	text := transcript.Text(got, p, revtest.Start, transcript.Options{Subject: true})
	if strings.Count(text, "\nverdict:") != 1 || strings.ContainsAny(text, "\r\x1b\u202e\u2028") || strings.Count(text, "[2J") < 3 {
		t.Errorf("%q", text)
	}
}
