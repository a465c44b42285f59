package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"net/http"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/card"
	"sigill/internal/wire"
	"sigill/internal/world"
	"sigill/orders/download"
	"sigill/policy"
)

// pair is a holder whose eID with its signing certificate is being made anew.
type pair struct {
	*server
	h       *world.Holder
	c       *http.Client
	st      *download.State
	path    string
	signing *ecdsa.PrivateKey    // of the signing certificate that is current
	keys    [2]*ecdsa.PrivateKey // of what comes
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{server: serve(t)}
	ctx := t.Context()
	p.h = p.Holder()
	p.Pass(time.Second)
	if err := p.SetSigning(ctx, p.Org, true); err != nil {
		t.Fatal(err)
	}
	var err error
	if p.signing, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	p.h.SetNextSigningKey(p.signing)
	if err := p.FetchSigning(ctx, p.h); err != nil {
		t.Fatal(err)
	}
	p.c = p.as(p.h)
	if p.st, err = p.Begin(ctx, p.h, p.Ordered(p.h, policy.OrderRenewal)); err != nil {
		t.Fatal(err)
	}
	if len(p.st.Items) != 2 {
		t.Fatalf("%d items, want one for each slot", len(p.st.Items))
	}
	p.path = "/card/v1/downloads/" + string(p.st.Download.ID)
	for i := range p.keys {
		if p.keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// request is one by a key for a slot with the challenge of another, or the same.
func (p *pair) request(key *ecdsa.PrivateKey, slot, challenge policy.Slot) wire.Submit {
	p.t.Helper()
	b := card.Binding{Download: string(p.st.Download.ID), Slot: string(slot), Card: string(p.h.Card), Login: p.st.Download.Login,
		PlanHash: p.st.Download.PlanHash, Challenge: p.st.Item(challenge).Challenge}
	return wire.Submit{CSR: forge(p.t, key, b.Digest()).der()}
}

// Two certificates in one download are two: a request, a challenge, a key and what
// was read back of the one are none of the other's, and the key for signatures
// that bind logs in nowhere.
func TestHostileSigning(t *testing.T) {
	p := newPair(t)
	const auth, sign = policy.Authentication, policy.Signing
	post := func(c *http.Client, path string, body any, status int, rule policy.Rule) {
		t.Helper()
		p.refused(p.do(c, "POST", path, body), status, "refused", rule)
	}
	before := p.Dump()
	post(p.c, p.path+"/items/signing", p.request(p.keys[0], auth, auth), 403, policy.DownloadBinding)
	post(p.c, p.path+"/items/authentication", p.request(p.keys[0], sign, sign), 403, policy.DownloadBinding)
	post(p.c, p.path+"/items/signing", p.request(p.keys[0], sign, auth), 403, policy.DownloadBinding)
	post(p.c, p.path+"/items/authentication", p.request(p.keys[0], auth, sign), 403, policy.DownloadBinding)
	post(p.c, p.path+"/items/transport", p.request(p.keys[0], auth, auth), 403, policy.DownloadPlan)
	own := p.client(p.signing, p.h.SigningCertificate().DER)
	for _, path := range []string{"/card/v1/block", "/card/v1/downloads", p.path + "/confirm", p.path + "/abandon"} {
		post(own, path, struct{}{}, 403, policy.LoginProfile)
	}
	post(p.c, "/card/v1/downloads", wire.Begin{Signing: true}, 409, policy.DownloadOpen)
	post(p.c, "/card/v1/downloads", wire.Begin{Order: string(p.st.Download.Order), WithoutSigning: true}, 409, policy.DownloadOpen)
	post(p.c, "/card/v1/downloads", wire.Begin{Order: string(p.st.Download.Order), Signing: true}, 400, policy.RequestForm)
	post(p.c, "/card/v1/downloads", wire.Begin{Signing: true, WithoutSigning: true}, 400, policy.RequestForm)
	post(p.c, "/card/v1/downloads", wire.Begin{}, 400, policy.RequestForm)
	p.unchanged(before)

	var one, two wire.Item
	p.do(p.c, "POST", p.path+"/items/authentication", p.request(p.keys[0], auth, auth)).read(t, &one)
	before = p.Dump()
	post(p.c, p.path+"/items/signing", p.request(p.keys[0], sign, sign), 403, policy.KeySeenRule) // one key for both
	next := p.client(p.keys[0], one.Certificate)
	hash, print := hexOf(p.st.Download.PlanHash), ca.FingerprintOf(one.Certificate).String()
	post(next, p.path+"/confirm", evidence(hash, "authentication", print), 403, policy.DownloadEvidence)
	post(next, p.path+"/confirm", evidence(hash, "authentication", print, "signing", print), 409, policy.DownloadStateRule)
	p.unchanged(before)

	p.do(p.c, "POST", p.path+"/items/signing", p.request(p.keys[1], sign, sign)).read(t, &two)
	p.confirmPair(next, one, two)
}

// confirmPair tries to confirm half of the pair, or crosswise, before it confirms
// the whole.
func (p *pair) confirmPair(next *http.Client, one, two wire.Item) {
	p.t.Helper()
	hash := hexOf(p.st.Download.PlanHash)
	a, s := ca.FingerprintOf(one.Certificate).String(), ca.FingerprintOf(two.Certificate).String()
	old := p.h.SigningCertificate().Fingerprint.String()
	before := p.Dump()
	for name, ev := range map[string]wire.Confirm{
		"crosswise": evidence(hash, "authentication", s, "signing", a), "the first half": evidence(hash, "authentication", a), "the other half": evidence(hash, "signing", s),
		"one of them twice": evidence(hash, "authentication", a, "signing", a), "the old signing certificate": evidence(hash, "authentication", a, "signing", old),
	} {
		x := p.do(next, "POST", p.path+"/confirm", ev)
		p.refused(x, 403, "refused", policy.DownloadEvidence)
		if p.unchanged(before); p.t.Failed() {
			p.t.Fatalf("confirmed with %s", name)
		}
	}
	whole := evidence(hash, "authentication", a, "signing", s)
	p.refused(p.do(p.client(p.keys[1], two.Certificate), "POST", p.path+"/confirm", whole), 403, "refused", policy.LoginProfile)
	p.refused(p.do(p.c, "POST", p.path+"/confirm", whole), 403, "refused", policy.DownloadEvidence)
	p.unchanged(before)
	for _, x := range []struct {
		der   []byte
		usage x509.KeyUsage
	}{{one.Certificate, x509.KeyUsageDigitalSignature}, {two.Certificate, x509.KeyUsageContentCommitment}} {
		cert, err := x509.ParseCertificate(x.der)
		if err != nil || cert.KeyUsage != x.usage {
			p.t.Errorf("key usage %b, want %b: %v", cert.KeyUsage, x.usage, err)
		}
	}
	p.do(next, "POST", p.path+"/confirm", whole).read(p.t, new(wire.Download))
	p.Sound()
}
