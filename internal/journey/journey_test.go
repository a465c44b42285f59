//go:build unix && cgo

package journey

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"

	"sigill/internal/stage"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/internal/wire"
)

// TestJourneyOverSoftHSM: an order becomes an eID on a card of two tokens, a
// corrected one replaces it, relying parties see both; another card gets nothing.
func TestJourneyOverSoftHSM(t *testing.T) {
	stage.Need(t, "pkcs11-tool", "opensc")
	stage.Need(t, "openssl", "openssl")
	hsm := tokentest.StartSoftHSM(t)
	p, h := play(t), björn()
	c := p.hard(hsm, h, token.P256, "PIN1 card", "PIN2 card") // pkcs11-tool takes a label by its beginning
	c.beforeFetch(h)
	order := p.Order("ordinary", h)
	c.notForAnother(order)
	first := c.fetch(order)
	old := c.current()
	cert := c.becomes(first, old, h)
	p.ocsp(cert, ": good")
	if o := p.verify(cert); o.Code != 0 {
		t.Errorf("openssl verify: %v", o)
	}

	h.Email = "bjorn-ake.ohrstrom@region.example"
	p.Directory("changed", h)
	second := c.fetch(p.Order("update", h))
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
	o := p.verify(cert).Want(t, 2, "openssl verify of the old one")
	stage.Says(t, "openssl verify of the old one", o.Err, "certificate revoked")
	if o := p.verify(updated); o.Code != 0 {
		t.Errorf("openssl verify of the new one: %v", o)
	}
	programs.Examined(t, p.Dir, "after the journey")
}

// beforeFetch: the handed out card logs in as a card, and that is all.
func (c *hardCard) beforeFetch(h *stage.Holder) {
	c.t.Helper()
	o := c.run("self-test").Want(c.t, 0, "sigill-card self-test")
	if strings.Count(o.Out, "ok ") != 5 || !strings.Contains(o.Out, "All is well") {
		c.t.Errorf("self-test: %v", o)
	}
	var me wire.Me
	c.read(&me, "login")
	if me.Card != h.Card || me.LoggedInWith != "transport" || me.LoA != 0 || len(me.EIDs) != 0 || len(me.Offers) != 0 {
		c.t.Errorf("before the order: %+v", me)
	}
	o = c.run("fetch", "--yes").Want(c.t, 1, "fetch without an order")
	stage.Says(c.t, "fetch without an order", o.Err, "nothing to fetch", "ID administrator")
	wrong := stage.Run(c.t, c.holderProgram(c.uri, c.Server, "000000\n", "login")).Want(c.t, 1, "log-in with a wrong PIN")
	stage.Says(c.t, "log-in with a wrong PIN", wrong.Err, "wrong PIN for authentication")
}

// notForAnother: the order goes to its card and no other.
func (c *hardCard) notForAnother(order string) {
	c.t.Helper()
	o := stage.Run(c.t, c.holderProgram("soft:"+c.SoftCard(stage.ElseCard), c.Server, stage.SoftPIN+"\n", "fetch", "--yes", "--order", order))
	o.Want(c.t, 1, "another card fetches the order")
	stage.Says(c.t, "another card fetches the order", o.Err, "download.card", "Insert the card that the order names")
	if strings.Contains(o.Err, "2/7") || o.Out != "" {
		c.t.Errorf("another card went on: %v", o)
	}
}

// becomes checks what a fetch made against what is current and who the holder
// is, and returns the certificate.
func (c *hardCard) becomes(r result, now wire.Certificate, h *stage.Holder) *x509.Certificate {
	c.t.Helper()
	in := r.Installed[0]
	if r.Card != h.Card || in.Slot != "authentication" || in.Serial != now.Serial || in.Fingerprint != now.Fingerprint {
		c.t.Errorf("fetched %+v, current is %s", r, now.Serial)
	}
	cert, err := x509.ParseCertificate(now.DER)
	c.Must(err)
	if cert.Subject.CommonName != h.Given+" "+h.Surname || cert.Subject.SerialNumber != h.HSAID ||
		fmt.Sprint(cert.EmailAddresses) != "["+h.Email+"]" || token.NumberOf(cert) != h.Card {
		c.t.Errorf("the certificate is of %s, %v, card %s", cert.Subject, cert.EmailAddresses, token.NumberOf(cert))
	}
	return cert
}

// TestRSACardOverSoftHSM: a card whose transport key is RSA logs in by TLS 1.3
// (RSA-PSS made by the token) and fetches. The key of its eID is of the kind that
// the plan prefers.
func TestRSACardOverSoftHSM(t *testing.T) {
	stage.Need(t, "pkcs11-tool", "opensc")
	hsm := tokentest.StartSoftHSM(t)
	p := play(t)
	h := &stage.Holder{Number: "197709232388", Given: "Märit", Surname: "Çelik Ångström", HSAID: "SE2321000016-M9C4", Email: "marit@region.example", Card: "9752278900000000072"}
	c := p.hard(hsm, h, token.RSA2048, "rsa")
	if all := strings.Join(c.objects(), ""); !lineWith(all, "Private Key Object", "RSA") {
		t.Fatalf("the token has no RSA key:\n%s", all)
	}
	c.beforeFetch(h)
	r := c.fetch(p.Order("ordinary", h))
	c.becomes(r, c.current(), h)
	programs.Examined(t, p.Dir, "after the journey")
}
