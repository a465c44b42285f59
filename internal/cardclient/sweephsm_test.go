//go:build cgo

package cardclient_test

import (
	"testing"

	"github.com/miekg/pkcs11"

	"sigill/internal/cardclient"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/internal/wire"
	"sigill/policy"
)

// raw is a token as no card program sees it: objects one by one.
type raw struct {
	t *testing.T
	m *pkcs11.Ctx
	s pkcs11.SessionHandle
}

// onToken calls fn with the only token, logged in. No card of the same library may
// be open meanwhile.
func onToken(t *testing.T, module, pin string, fn func(*raw)) {
	t.Helper()
	r := &raw{t: t, m: pkcs11.New(module)}
	r.must(r.m.Initialize())
	defer r.m.Destroy()
	defer r.m.Finalize()
	slots, err := r.m.GetSlotList(true)
	r.must(err)
	r.s, err = r.m.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	r.must(err)
	r.must(r.m.Login(r.s, pkcs11.CKU_USER, pin))
	fn(r)
}

func (r *raw) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) find(template ...*pkcs11.Attribute) []pkcs11.ObjectHandle {
	r.t.Helper()
	r.must(r.m.FindObjectsInit(r.s, template))
	found, _, err := r.m.FindObjects(r.s, 100)
	r.must(err)
	r.must(r.m.FindObjectsFinal(r.s))
	return found
}

// destroy removes the parts of an object, as a killed deletion does, or one that
// was never made whole.
func (r *raw) destroy(id []byte, classes ...uint) {
	r.t.Helper()
	for _, class := range classes {
		found := r.find(pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_ID, id))
		if len(found) != 1 {
			r.t.Fatalf("%d objects of class %d", len(found), class)
		}
		r.must(r.m.DestroyObject(r.s, found[0]))
	}
}

// certificate makes a certificate object with any content at all.
func (r *raw) certificate(label string, id, value []byte) {
	r.t.Helper()
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), pkcs11.NewAttribute(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		pkcs11.NewAttribute(pkcs11.CKA_SUBJECT, []byte{0x30, 0}), pkcs11.NewAttribute(pkcs11.CKA_VALUE, value)}
	if id != nil {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	}
	_, err := r.m.CreateObject(r.s, template)
	r.must(err)
}

// label names the public key of an object anew.
func (r *raw) relabel(id []byte, label string) {
	r.t.Helper()
	for _, h := range r.find(pkcs11.NewAttribute(pkcs11.CKA_ID, id)) {
		r.must(r.m.SetAttributeValue(r.s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, label)}))
	}
}

// count counts the objects of an id.
func (r *raw) count(id []byte) int {
	return len(r.find(pkcs11.NewAttribute(pkcs11.CKA_ID, id)))
}

// TestSweepOverPKCS11 makes on a token what killed programs leave there, half-made
// keys, half-done deletions, certificates that can't be read, and lets a sweep and
// a fetch put it right.
func TestSweepOverPKCS11(t *testing.T) {
	h := tokentest.StartSoftHSM(t)
	h.NewToken(t, "card", pin1)
	open := func() token.Card {
		t.Helper()
		c, err := token.Open(t.Context(), h.URI("card"), tokentest.PIN(pin1, ""))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	f := newFake(t)
	f.offers = nil
	c := open()
	key := func(slot policy.Slot) []byte {
		t.Helper()
		id, err := c.GenerateKey(t.Context(), slot, token.P256)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	login, loginFP := f.certified(t, c, policy.Authentication)
	noCertificate, noCertificateFP := f.certified(t, c, policy.Authentication)
	unreadable, unreadableFP := f.certified(t, c, policy.Signing)
	halfDeleted, halfDeletedFP := f.certified(t, c, policy.Authentication)
	keyGone, _ := f.certified(t, c, policy.Authentication)
	stays := map[string][]byte{"login": login, "current without certificate": noCertificate, "current, certificate unreadable": unreadable}
	sweeps := map[string][]byte{"key without certificate": key(policy.Authentication), "signing key without certificate": key(policy.Signing),
		"public key alone": key(policy.Authentication), "private key alone": key(policy.Authentication), "deletion cut off": halfDeleted, "certificate without key": keyGone}
	foreign, transport, damaged := key(policy.Authentication), key(policy.Transport), []byte("0123456789abcdef")
	stays["another program's key"], stays["transport key"], sweeps["unreadable certificate alone"] = foreign, transport, damaged
	der := func(id []byte) []byte {
		t.Helper()
		b, err := c.ReadCertificate(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	f.eids = []wire.EID{{State: "current", Certificates: []wire.Certificate{
		{Fingerprint: loginFP, State: "current", Slot: "authentication", DER: der(login)},
		{Fingerprint: noCertificateFP, State: "current", Slot: "authentication", DER: der(noCertificate)},
		{Fingerprint: unreadableFP, State: "current", Slot: "signing", DER: der(unreadable)},
		{Fingerprint: halfDeletedFP, State: "superseded", Slot: "authentication", Profile: "authentication", DER: der(halfDeleted)},
	}}}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	const private, public, certificate = pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_CERTIFICATE
	onToken(t, h.Module, pin1, func(r *raw) {
		r.destroy(noCertificate, certificate)
		r.destroy(unreadable, certificate)
		r.certificate("sigill signing", unreadable, []byte{0x30, 0x82})
		r.destroy(halfDeleted, private)
		r.destroy(keyGone, private, public)
		r.destroy(sweeps["public key alone"], private)
		r.destroy(sweeps["private key alone"], public)
		r.certificate("sigill authentication", damaged, []byte{1})
		r.certificate("sigill authentication", nil, []byte{1}) // nameless
		r.certificate("another program", nil, []byte{1})
		r.relabel(foreign, "another program")
	})

	c = open()
	client := &cardclient.Client{Server: f.url, Roots: f.roots, Card: c, Version: "1.0.0"}
	result, err := client.Sweep(t.Context(), yes)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Repaired) != 2 || len(result.Kept) != 0 {
		t.Errorf("%+v", result)
	}
	if want := len(sweeps) + 1; result.Swept != want {
		t.Errorf("%d swept, want %d", result.Swept, want)
	}
	if result, err := client.Sweep(t.Context(), yes); err != nil || result.Swept+len(result.Repaired) != 0 {
		t.Errorf("again: %+v, %v", result, err)
	}
	for _, fp := range []string{loginFP, noCertificateFP, unreadableFP} {
		if !has(t, c, fp) {
			t.Errorf("the current certificate %s is not on the card", fp)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	onToken(t, h.Module, pin1, func(r *raw) {
		for what, id := range sweeps {
			if n := r.count(id); n != 0 {
				t.Errorf("%s: %d objects are left", what, n)
			}
		}
		for what, id := range stays {
			want := 3
			if what == "another program's key" || what == "transport key" {
				want = 2
			}
			if n := r.count(id); n != want {
				t.Errorf("%s: %d objects, want %d", what, n, want)
			}
		}
		if n := len(r.find(pkcs11.NewAttribute(pkcs11.CKA_LABEL, "another program"))); n != 3 {
			t.Errorf("%d objects of another program, want 3", n)
		}
	})
}

// TestUnknownKeyStays: a private key whose public key is gone may be that of a
// current certificate. It stays until that one's key is found elsewhere.
func TestUnknownKeyStays(t *testing.T) {
	h := tokentest.StartSoftHSM(t)
	h.NewToken(t, "card", pin1)
	open := func() token.Card {
		t.Helper()
		c, err := token.Open(t.Context(), h.URI("card"), tokentest.PIN(pin1, ""))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	f := newFake(t)
	f.offers = nil
	c := open()
	_, loginFP := f.certified(t, c, policy.Authentication)
	hidden, hiddenFP := f.certified(t, c, policy.Authentication)
	der, err := c.ReadCertificate(t.Context(), hidden)
	if err != nil {
		t.Fatal(err)
	}
	f.eids = []wire.EID{{State: "current", Certificates: []wire.Certificate{{Fingerprint: loginFP, State: "superseded", Slot: "authentication"},
		{Fingerprint: hiddenFP, State: "current", Slot: "authentication", DER: der}}}}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	onToken(t, h.Module, pin1, func(r *raw) { r.destroy(hidden, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_CERTIFICATE) })
	c = open()
	defer c.Close()
	client := &cardclient.Client{Server: f.url, Roots: f.roots, Card: c, Version: "1.0.0"}
	if result, err := client.Sweep(t.Context(), yes); err != nil || result.Swept != 0 {
		t.Errorf("%+v, %v", result, err)
	}
	if n := count(t, c); n != 2 {
		t.Errorf("%d objects on the card, want 2", n)
	}
}
