package app

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/config"
	"sigill/internal/store"
	"sigill/orders/issue"
	"sigill/policy"
	"sigill/revocation"
)

// planted puts certificates of any keys into an installation's database.
type planted struct {
	t      *testing.T
	dir    string
	signer *ecdsa.PrivateKey
	n      int64
}

// plant stores a certificate for pub on a card. The rows that an issuance would
// leave beside it are not there: DoctorKeys looks at none of them.
func (p *planted) plant(pub crypto.PublicKey, card policy.CardNumber, change func(*issue.Certificate), revoked bool) string {
	p.t.Helper()
	p.n++
	serial := ca.Serial{0x40, 15: byte(p.n)}
	template := &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial[:]), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, pub, p.signer)
	if err != nil {
		p.t.Fatal(err)
	}
	key, err := ca.FingerprintKey(pub)
	if err != nil {
		p.t.Fatal(err)
	}
	c := &issue.Certificate{Issued: ca.Issued{Fingerprint: ca.FingerprintOf(der), Serial: serial, Issuer: "person-hsa-id-3-v1", Profile: policy.ProfileAuthentication,
		NotBefore: template.NotBefore, NotAfter: template.NotAfter, Key: key, DER: der}, Binding: issue.Binding{Card: card}, StoredAt: time.Now()}
	if change != nil {
		change(c)
	}
	cfg, err := config.Load(p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	db, err := store.Open(p.t.Context(), store.Config{URL: cfg.DatabaseURL()})
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	err = db.Issue().Update(p.t.Context(), func(tx *issue.Tx) error {
		if !revoked {
			return tx.InsertCertificate(c)
		}
		ev := issue.NewEvent("certificate.revoked", time.Now(), "system", issue.F("serial", serial.String()), issue.F("issuer", string(c.Issuer)),
			issue.F("reason", ca.KeyCompromise.String()), issue.F("rule", "eid.revoked"), issue.F("partition", "0"), issue.F("card", string(card)))
		_, _, err := revocation.Revoke(tx.Revocations, revocation.Entry{Serial: serial, Issuer: c.Issuer, NotAfter: c.NotAfter, At: ev.At,
			Reason: ca.KeyCompromise, Rule: "eid.revoked", Event: ev.ID})
		return errors.Join(err, tx.Events.Append(ev), tx.InsertCertificate(c))
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return serial.String()
}

func randomPrime(t *testing.T) *big.Int {
	t.Helper()
	p, err := rand.Prime(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func published(t *testing.T, name string) *rsa.PublicKey {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../testdata/badkeys/published", name))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS1PublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// examine runs DoctorKeys, and wants it to tell how far it is.
func (p *planted) examine(batch int) *KeyReport {
	p.t.Helper()
	stages := map[string]int{}
	r, err := DoctorKeys(p.t.Context(), p.dir, KeyOptions{Now: time.Now, Batch: batch, Progress: func(stage string, done, total int) { stages[stage] = done }})
	if err != nil {
		p.t.Fatal(err)
	}
	if stages["certificates"] != r.Certificates {
		p.t.Errorf("told of %v", stages)
	}
	return r
}

func TestDoctorKeys(t *testing.T) {
	p := &planted{t: t, dir: make1(t, ""), signer: ecKey(t)}
	sound := p.examine(0)
	for _, f := range sound.Findings {
		if f.Grade == Red {
			t.Errorf("a new installation: %+v", f)
		}
	}
	if !told(sound, Yellow, "CVE-2008-0166", "weak_keys") || !told(sound, Green, "none is weak") {
		t.Errorf("a new installation without lists: %+v", sound.Findings)
	}

	shared := randomPrime(t)
	rsaKey := func(a, b *big.Int) *rsa.PublicKey { return &rsa.PublicKey{N: new(big.Int).Mul(a, b), E: 65537} }
	first := p.plant(rsaKey(shared, randomPrime(t)), "9752000000000000001", nil, false)
	p.plant(rsaKey(randomPrime(t), randomPrime(t)), "9752000000000000002", nil, false)
	second := p.plant(rsaKey(randomPrime(t), shared), "9752000000000000003", nil, false)
	known := p.plant(published(t, "rfc9500-rsa2048.pem"), "9752000000000000004", nil, false)
	gone := p.plant(published(t, "rfc9500-rsa4096.pem"), "9752000000000000005", nil, true)
	debian := p.plant(published(t, "debian-rsa2048.pem"), "9752000000000000006", nil, false)
	twin := ecKey(t)
	p.plant(twin.Public(), "9752000000000000007", nil, false)
	p.plant(twin.Public(), "9752000000000000007", nil, false) // the same card, as after an interruption
	p.plant(twin.Public(), "9752000000000000008", nil, false)
	misfiled := p.plant(ecKey(t).Public(), "9752000000000000009", func(c *issue.Certificate) { c.Key = ca.KeyFingerprint{1} }, false)

	for _, batch := range []int{0, 2} {
		r := p.examine(batch)
		if r.Certificates != sound.Certificates+10 || r.Moduli != 6 {
			t.Errorf("%d certificates, %d moduli", r.Certificates, r.Moduli)
		}
		allTold(t, r, [][]string{
			{"primes", first, "shares a prime of 1024 bits with certificate " + second}, {"primes", second, "with certificate " + first},
			{"keys", known, "key.published", "RFC 9500"}, {"duplicates", "975200000000000000", "is that of card"},
			{"keys", misfiled, "stored under the key 01"},
		})
		if !told(r, Yellow, gone, "key.published", "revoked") || told(r, Red, gone) || told(r, Red, debian) || told(r, Green, "none is weak") {
			t.Errorf("what is revoked is not to be done now: %+v", r.Findings)
		}
	}

	// With a list in place the same population is judged by it.
	list, err := filepath.Abs("../../testdata/badkeys/debian.list")
	if err != nil {
		t.Fatal(err)
	}
	p.configure(fmt.Sprintf("weak_keys:\n  debian: [%q]\n", list))
	if r := p.examine(0); !told(r, Red, debian, "key.debian") || !told(r, Yellow, "debian.list", "not whole") {
		t.Errorf("with the list: %+v", r.Findings)
	}
	found, err := Doctor(t.Context(), p.dir, time.Now)
	if err != nil || !told(&KeyReport{Findings: found}, Yellow, "debian.list", "not whole") {
		t.Errorf("doctor: %+v, %v", found, err)
	}
}

// allTold wants each of the findings in red, and no other.
func allTold(t *testing.T, r *KeyReport, all [][]string) {
	t.Helper()
	for _, want := range all {
		if !told(r, Red, want...) {
			t.Errorf("not told in red: %q of %+v", want, r.Findings)
		}
	}
	// In the order of fingerprints the twin's other card comes last, and is told
	// once, or before the two of the first card, and is told twice.
	if twins := count(r, Red, "duplicates"); twins < 1 || twins > 2 || count(r, Red, "") != 4+twins {
		t.Errorf("%d duplicates: %+v", twins, r.Findings)
	}
}

// configure replaces the lists in the configuration.
func (p *planted) configure(lists string) {
	p.t.Helper()
	name := filepath.Join(p.dir, config.File)
	text, err := os.ReadFile(name)
	if err != nil {
		p.t.Fatal(err)
	}
	i := strings.Index(string(text), "weak_keys:\n")
	j := strings.Index(string(text), "\ndownload:")
	if i < 0 || j < i {
		p.t.Fatal("the configuration has no weak_keys")
	}
	if err := os.WriteFile(name, []byte(string(text[:i])+lists+string(text[j:])), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// told reports whether a finding of a grade has all the words.
func told(r *KeyReport, g Grade, words ...string) bool {
	for _, f := range r.Findings {
		all := f.Grade == g
		for _, w := range words {
			all = all && strings.Contains(f.Area+" "+f.Text, w)
		}
		if all {
			return true
		}
	}
	return false
}

// count counts the findings of a grade in an area; empty: in all.
func count(r *KeyReport, g Grade, area string) int {
	n := 0
	for _, f := range r.Findings {
		if f.Grade == g && (area == "" || f.Area == area) {
			n++
		}
	}
	return n
}

// A list that cannot be read whole does not pass as one that knows nothing: the
// service does not start, and the doctor says what is wrong.
func TestUnusableListStopsTheStart(t *testing.T) {
	p := &planted{t: t, dir: make1(t, ""), signer: ecKey(t)}
	cut := filepath.Join(p.dir, "cut.list")
	if err := os.WriteFile(cut, []byte("3c430072d96e4a1e1809\n3c430072d9"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, lists := range map[string]string{
		"missing": "weak_keys:\n  debian: [nowhere.list]\n", "cut off": "weak_keys:\n  debian: [cut.list]\n", "another form": "weak_keys:\n  badkeys: [cut.list]\n",
	} {
		t.Run(name, func(t *testing.T) {
			p.configure(lists)
			if a, err := open(t, p.dir, time.Now); err == nil || !strings.Contains(err.Error(), "weak_keys") {
				if err == nil {
					a.Close()
				}
				t.Errorf("open: %v", err)
			}
			if _, err := DoctorKeys(context.Background(), p.dir, KeyOptions{Now: time.Now}); err == nil || !strings.Contains(err.Error(), "weak_keys") {
				t.Errorf("doctor keys: %v", err)
			}
			found, err := Doctor(t.Context(), p.dir, time.Now)
			if err != nil || !told(&KeyReport{Findings: found}, Red, "weak_keys") {
				t.Errorf("doctor: %+v, %v", found, err)
			}
		})
	}
}

// The lists of the configuration are the gate's.
func TestListsAreTheGates(t *testing.T) {
	p := &planted{t: t, dir: make1(t, ""), signer: ecKey(t)}
	list, err := filepath.Abs("../../testdata/badkeys/debian.list")
	if err != nil {
		t.Fatal(err)
	}
	p.configure(fmt.Sprintf("weak_keys:\n  debian: [%q]\n", list))
	a, err := open(t, p.dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for name, rules := range map[string]policy.KeyRules{"downloads": a.Downloads.Keys, "deliveries": a.Register.TransportKeys} {
		if d := policy.AdmitKey(published(t, "debian-rsa2048.pem"), rules); d.Rule != policy.KeyDebian {
			t.Errorf("%s: %+v", name, d)
		}
	}
}
