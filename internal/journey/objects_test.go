//go:build unix && cgo

package journey

import (
	"regexp"
	"strings"

	"github.com/miekg/pkcs11"

	"sigill/internal/stage"
)

// objects returns what pkcs11-tool lists on the card's first token, one text for
// each object.
func (c *hardCard) objects() []string {
	c.t.Helper()
	cmd := stage.Command(stage.Need(c.t, "pkcs11-tool", "opensc"), "--module", c.hsm.Module, "--token-label", c.labels[0], "--login", "--pin", pin1, "--list-objects")
	o := stage.Run(c.t, cmd).Want(c.t, 0, "pkcs11-tool")
	var all []string
	for line := range strings.Lines(o.Out) {
		switch {
		case strings.HasPrefix(line, " "):
			if len(all) > 0 {
				all[len(all)-1] += line
			}
		default:
			all = append(all, line)
		}
	}
	return all
}

// onToken fails the test unless the token has the key pair id and its
// certificate, and no other authentication object, by pkcs11-tool's word; and
// unless the private key was made there and can't be had.
func (c *hardCard) onToken(id string) {
	c.t.Helper()
	kinds := map[string]int{}
	for _, o := range c.objects() {
		if !strings.Contains(o, "sigill authentication") {
			continue
		}
		kind, _, _ := strings.Cut(o, " Object")
		kinds[kind]++
		stage.Says(c.t, "pkcs11-tool", o, id)
		if kind == "Private Key" {
			stage.Says(c.t, "pkcs11-tool", o, "sensitive, always sensitive, never extractable, local")
		}
	}
	if len(kinds) != 3 || kinds["Private Key"] != 1 || kinds["Public Key"] != 1 || kinds["Certificate"] != 1 {
		c.t.Errorf("authentication objects on the token: %v\n%s", kinds, strings.Join(c.objects(), ""))
	}
	c.stays(mustHex(c.t, id))
}

// secrets are the attributes that a private key is made of (PKCS #11, 2.1.3 and
// 2.3.4).
var secrets = []uint{pkcs11.CKA_VALUE, pkcs11.CKA_PRIVATE_EXPONENT, pkcs11.CKA_PRIME_1, pkcs11.CKA_PRIME_2,
	pkcs11.CKA_EXPONENT_1, pkcs11.CKA_EXPONENT_2, pkcs11.CKA_COEFFICIENT}

// stays tries, with the PIN, to get the private key id out of the token: by
// reading it, by loosening it, by wrapping it under a key that is known.
func (c *hardCard) stays(id []byte) {
	c.t.Helper()
	m := pkcs11.New(c.hsm.Module)
	c.Must(m.Initialize())
	defer m.Destroy()
	defer m.Finalize()
	s, key := c.find(m, id)
	for _, attribute := range secrets {
		got, err := m.GetAttributeValue(s, key, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
		if err == nil && len(got[0].Value) > 0 {
			c.t.Errorf("attribute %#x of the private key was read", attribute)
		}
	}
	if _, err := m.GetAttributeValue(s, key, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)}); err != pkcs11.Error(pkcs11.CKR_ATTRIBUTE_SENSITIVE) {
		c.t.Errorf("reading the private key: %v, want CKR_ATTRIBUTE_SENSITIVE", err)
	}
	for _, loose := range []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true)} {
		if err := m.SetAttributeValue(s, key, []*pkcs11.Attribute{loose}); err == nil {
			c.t.Errorf("attribute %#x of the private key was loosened", loose.Type)
		}
	}
	wrapping, err := m.CreateObject(s, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false), pkcs11.NewAttribute(pkcs11.CKA_WRAP, true), pkcs11.NewAttribute(pkcs11.CKA_VALUE, make([]byte, 32))})
	c.Must(err)
	if _, err := m.WrapKey(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_WRAP_PAD, nil)}, wrapping, key); err != pkcs11.Error(pkcs11.CKR_KEY_UNEXTRACTABLE) {
		c.t.Errorf("wrapping the private key: %v, want CKR_KEY_UNEXTRACTABLE", err)
	}
}

// find logs in to the card's first token and finds the private key id.
func (c *hardCard) find(m *pkcs11.Ctx, id []byte) (pkcs11.SessionHandle, pkcs11.ObjectHandle) {
	c.t.Helper()
	slots, err := m.GetSlotList(true)
	c.Must(err)
	for _, slot := range slots {
		info, err := m.GetTokenInfo(slot)
		c.Must(err)
		if !regexp.MustCompile(`^` + regexp.QuoteMeta(c.labels[0]) + `[ \x00]*$`).MatchString(info.Label) {
			continue
		}
		s, err := m.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		c.Must(err)
		c.Must(m.Login(s, pkcs11.CKU_USER, pin1))
		c.Must(m.FindObjectsInit(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY), pkcs11.NewAttribute(pkcs11.CKA_ID, id)}))
		found, _, err := m.FindObjects(s, 2)
		c.Must(err)
		c.Must(m.FindObjectsFinal(s))
		if len(found) != 1 {
			c.t.Fatalf("%d private keys %x", len(found), id)
		}
		return s, found[0]
	}
	c.t.Fatalf("no token %q", c.labels[0])
	return 0, 0
}
