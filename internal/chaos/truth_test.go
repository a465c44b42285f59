//go:build unix && cgo

package chaos

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"slices"

	"golang.org/x/crypto/ocsp"

	"sigill/internal/wire"
	"sigill/policy"
)

// truth compares, with the server running and everybody at rest, what each client
// was told, the rows, the cards, OCSP and the logs; then the whole by sigill's own means.
func (c *chaos) truth() {
	t := c.t
	t.Helper()
	fetched, drawn := 0, 0
	for _, l := range c.lives {
		drawn += c.judge(l)
		for _, e := range l.books {
			fetched += len(e.serials)
		}
	}
	for what, from := range map[string]string{
		"intents are open":                            "intents WHERE state = 'open'",
		"downloads are open":                          "downloads WHERE state = 'planned'",
		"certificates are pending":                    "standings WHERE kind = 'pending'",
		"intents came to nothing and are not revoked": "intents i WHERE state = 'abandoned' AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.serial = i.serial)",
	} {
		if n := c.db.count(t, from); n > c.limited(what) {
			t.Errorf("%d %s", n, what)
		}
	}
	c.logs.look(c)
	c.logs.continued(c)
	text := fmt.Sprintf("%d holders fetched %d certificates, for which %d serials were drawn", len(c.lives), fetched, drawn)
	t.Log(text)
	if fetched == 0 {
		t.Error("nobody fetched anything")
	}
	if err := c.server.stop(); err != nil {
		t.Errorf("stopping in the end: %v", err)
	}
	programs.Examined(t, c.Dir, "in the end")
}

// limited is how many downloads, and certificates of theirs, may wait because
// their cards had all the intents of a day.
func (c *chaos) limited(what string) (n int) {
	if what != "downloads are open" && what != "certificates are pending" {
		return 0
	}
	for _, l := range c.lives {
		if l.limit {
			n++
		}
	}
	return n
}

// book sums up what the client of a card was told: the orders that it carried
// out, all serials, and those that must work now, by slot. An eID takes the signing
// certificate of its predecessor with it, and brings another or none.
func (l *life) book() (orders []string, told map[string]bool, last map[policy.Slot]string) {
	told, last = map[string]bool{}, map[policy.Slot]string{}
	for _, e := range l.books {
		if e.order != "" {
			orders = append(orders, e.order)
			clear(last)
		}
		for slot, serial := range e.serials {
			told[serial], last[slot] = true, serial
		}
	}
	return orders, told, last
}

// judge compares all that is known of one card, and returns how many serials were
// drawn for it.
func (c *chaos) judge(l *life) (drawn int) {
	t := c.t
	t.Helper()
	orders, told, last := l.book()
	if got := c.db.installed(t, l.Card); !slices.Equal(got, orders) {
		t.Errorf("card %s: the client fetched the orders %q, the database has %q installed", l.Card, orders, got)
	}
	all := c.db.issuedTo(t, l.Card)
	current := map[policy.Slot]int{}
	for _, i := range all {
		serial, slot := hex.EncodeToString(i.serial), policy.Slot(i.slot)
		want, waits := "", l.limit && i.standing == "pending"
		switch {
		case serial == last[slot]:
			want = "current"
			current[slot]++
		case waits: // for the second one of its download, tomorrow
			want = "pending"
		}
		if i.standing != want || i.revoked == (want != "") {
			t.Errorf("card %s: %s %s stands as %q, revoked = %t (%s); the client has %v", l.Card, slot, serial, i.standing, i.revoked, i.state, last)
		}
		if i.state != "signed" && told[serial] {
			t.Errorf("card %s: the client was told %s, whose intent is %s", l.Card, serial, i.state)
		}
		delete(told, serial)
	}
	if current[policy.Authentication] != min(len(orders), 1) || current[policy.Signing] > 1 || len(told) > 0 {
		t.Errorf("card %s: %v are current; the client was told %v, of which the database knows nothing", l.Card, current, told)
	}
	if len(last) > 0 {
		cert, issuer := c.eid(l)
		c.onCard(l, last, issuer)
		c.relyingParties(l, all, cert, issuer)
	}
	return len(all)
}

// onCard checks that the card holds what works and nothing else, that the log proves
// every certificate there is, and logs in with it.
func (c *chaos) onCard(l *life, last map[policy.Slot]string, issuer *x509.Certificate) {
	t := c.t
	t.Helper()
	card := c.insert(l)
	defer card.Close()
	objects, err := card.Objects(t.Context())
	c.Must(err)
	found := map[policy.Slot]string{}
	for _, o := range objects {
		if o.Slot == policy.Transport {
			continue
		}
		if o.Certificate != nil {
			c.logs.has(c, l.Card, o.Slot, o.Certificate, issuer)
		}
		cert, err := x509.ParseCertificate(o.Certificate)
		works := err == nil && o.HasKey && fmt.Sprintf("%032x", cert.SerialNumber) == last[o.Slot]
		switch {
		case works:
			found[o.Slot] += last[o.Slot]
		case !l.limit: // else of a download that may go on tomorrow
			t.Errorf("card %s: has a %s object beside %v: key %t, %d octets of certificate", l.Card, o.Slot, last, o.HasKey, len(o.Certificate))
		}
	}
	if !maps.Equal(found, last) {
		t.Errorf("card %s: has %v, of which should work %v", l.Card, found, last)
	}
	o, err := c.program(t.Context(), l, "login", "--json")
	c.Must(err)
	var me wire.Me
	c.Must(json.Unmarshal([]byte(o.Want(t, 0, "sigill-card login").Out), &me))
	got := currentOf(&me)
	delete(got, policy.Transport)
	if me.LoggedInWith != string(policy.ProfileAuthentication) || !maps.Equal(got, last) {
		t.Errorf("card %s: logs in with %s, current is %v, want %v", l.Card, me.LoggedInWith, got, last)
	}
	// One that is installed may be told as open until what was removed is
	// reported, on which nothing depends: the next run of the program does it.
	if me.Open != nil && me.Open.State != string(policy.DownloadInstalled) && !l.limit {
		t.Errorf("card %s: download %s is %s", l.Card, me.Open.ID, me.Open.State)
	}
}

// relyingParties asks OCSP about all serials ever drawn for a card: good for what
// is current, revoked for everything else.
func (c *chaos) relyingParties(l *life, all []issued, cert, issuer *x509.Certificate) {
	t := c.t
	t.Helper()
	template, err := ocsp.CreateRequest(cert, issuer, nil)
	c.Must(err)
	request, err := ocsp.ParseRequest(template)
	c.Must(err)
	for _, i := range all {
		request.SerialNumber = new(big.Int).SetBytes(i.serial)
		der, err := request.Marshal()
		c.Must(err)
		resp, err := http.Post(cert.OCSPServer[0], "application/ocsp-request", bytes.NewReader(der))
		c.Must(err)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		c.Must(err)
		answer, err := ocsp.ParseResponse(body, issuer)
		if err != nil {
			t.Errorf("OCSP of %x: %s, %v", i.serial, resp.Status, err)
			continue
		}
		want := ocsp.Revoked
		if i.standing != "" {
			want = ocsp.Good
		}
		if answer.Status != want || answer.SerialNumber.Cmp(request.SerialNumber) != 0 {
			t.Errorf("card %s: OCSP says %d of %x, want %d (the intent is %s)", l.Card, answer.Status, i.serial, want, i.state)
		}
	}
}

// eid returns the eID on a card, and its issuer from where it says.
func (c *chaos) eid(l *life) (cert, issuer *x509.Certificate) {
	c.t.Helper()
	card := c.insert(l)
	defer card.Close()
	objects, err := card.Objects(c.t.Context())
	c.Must(err)
	for _, o := range objects {
		if o.Slot == policy.Authentication && o.Certificate != nil {
			cert, err = x509.ParseCertificate(o.Certificate)
			c.Must(err)
		}
	}
	resp, err := http.Get(cert.IssuingCertificateURL[0])
	c.Must(err)
	defer resp.Body.Close()
	der, err := io.ReadAll(resp.Body)
	c.Must(err)
	issuer, err = x509.ParseCertificate(der)
	c.Must(err)
	return cert, issuer
}
