//go:build unix && cgo

package journey

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"

	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/internal/wire"
)

// TestJourneyOverSoftHSM: an order becomes an eID on a card of two tokens, a
// corrected one replaces it, relying parties see both; another card gets nothing.
func TestJourneyOverSoftHSM(t *testing.T) {
	need(t, "pkcs11-tool", "opensc")
	need(t, "openssl", "openssl")
	hsm := tokentest.StartSoftHSM(t)
	p, h := play(t), björn()
	c := p.hard(hsm, h, token.P256, "PIN1 card", "PIN2 card") // pkcs11-tool takes a label by its beginning
	c.beforeFetch(h)
	order := p.order("ordinary", h)
	c.notForAnother(order)
	first := c.fetch(order)
	old := c.current()
	cert := c.becomes(first, old, h)
	p.ocsp(cert, ": good")
	if o := p.verify(cert); o.code != 0 {
		t.Errorf("openssl verify: %v", o)
	}

	h.email = "bjorn-ake.ohrstrom@region.example"
	p.directory(h, "changed")
	second := c.fetch(p.order("update", h))
	now := c.current()
	updated := c.becomes(second, now, h)
	if now.Serial == old.Serial || len(second.Removed) != 1 || second.Removed[0] != old.Fingerprint {
		t.Errorf("removed %v, was %s", second.Removed, old.Fingerprint)
	}
	p.ocsp(updated, ": good")
	p.ocsp(cert, ": revoked", "Reason: superseded")
	_, entry := p.crl(cert)
	if entry.ReasonCode != 4 { // superseded (RFC 5280, 5.3.1)
		t.Errorf("the CRL has reason %d", entry.ReasonCode)
	}
	o := p.verify(cert).want(t, 2, "openssl verify of the old one")
	says(t, "openssl verify of the old one", o.err, "certificate revoked")
	if o := p.verify(updated); o.code != 0 {
		t.Errorf("openssl verify of the new one: %v", o)
	}
	examined(t, p.dir, "after the journey")
}

// beforeFetch: the handed out card logs in as a card, and that is all.
func (c *hardCard) beforeFetch(h *holder) {
	c.t.Helper()
	o := c.run("self-test").want(c.t, 0, "sigill-card self-test")
	if strings.Count(o.out, "ok ") != 5 || !strings.Contains(o.out, "All is well") {
		c.t.Errorf("self-test: %v", o)
	}
	var me wire.Me
	c.read(&me, "login")
	if me.Card != h.card || me.LoggedInWith != "transport" || me.LoA != 0 || len(me.EIDs) != 0 || len(me.Offers) != 0 {
		c.t.Errorf("before the order: %+v", me)
	}
	o = c.run("fetch", "--yes").want(c.t, 1, "fetch without an order")
	says(c.t, "fetch without an order", o.err, "nothing to fetch", "ID administrator")
	wrong := run(c.t, c.holderProgram(c.uri, c.server, "000000\n", "login")).want(c.t, 1, "log-in with a wrong PIN")
	says(c.t, "log-in with a wrong PIN", wrong.err, "wrong PIN for authentication")
}

// notForAnother: the order goes to its card and no other.
func (c *hardCard) notForAnother(order string) {
	c.t.Helper()
	o := run(c.t, c.holderProgram("soft:"+c.softCard(elseCard), c.server, softPIN+"\n", "fetch", "--yes", "--order", order))
	o.want(c.t, 1, "another card fetches the order")
	says(c.t, "another card fetches the order", o.err, "download.card", "Insert the card that the order names")
	if strings.Contains(o.err, "2/7") || o.out != "" {
		c.t.Errorf("another card went on: %v", o)
	}
}

// becomes checks what a fetch made against what is current and who the holder
// is, and returns the certificate.
func (c *hardCard) becomes(r result, now wire.Certificate, h *holder) *x509.Certificate {
	c.t.Helper()
	in := r.Installed[0]
	if r.Card != h.card || in.Slot != "authentication" || in.Serial != now.Serial || in.Fingerprint != now.Fingerprint {
		c.t.Errorf("fetched %+v, current is %s", r, now.Serial)
	}
	cert, err := x509.ParseCertificate(now.DER)
	c.must(err)
	if cert.Subject.CommonName != h.given+" "+h.surname || cert.Subject.SerialNumber != h.hsaID ||
		fmt.Sprint(cert.EmailAddresses) != "["+h.email+"]" || token.NumberOf(cert) != h.card {
		c.t.Errorf("the certificate is of %s, %v, card %s", cert.Subject, cert.EmailAddresses, token.NumberOf(cert))
	}
	return cert
}

// TestRSACardOverSoftHSM: a card whose transport key is RSA logs in by TLS 1.3
// (RSA-PSS made by the token) and fetches. The key of its eID is of the kind that
// the plan prefers.
func TestRSACardOverSoftHSM(t *testing.T) {
	need(t, "pkcs11-tool", "opensc")
	hsm := tokentest.StartSoftHSM(t)
	p := play(t)
	h := &holder{number: "197709232388", given: "Märit", surname: "Çelik Ångström", hsaID: "SE2321000016-M9C4", email: "marit@region.example", card: "9752278900000000072"}
	c := p.hard(hsm, h, token.RSA2048, "rsa")
	if all := strings.Join(c.objects(), ""); !lineWith(all, "Private Key Object", "RSA") {
		t.Fatalf("the token has no RSA key:\n%s", all)
	}
	c.beforeFetch(h)
	r := c.fetch(p.order("ordinary", h))
	c.becomes(r, c.current(), h)
	examined(t, p.dir, "after the journey")
}
