package population

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca"
	"sigill/internal/app"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/profiles"
	"sigill/policy"
)

// mold casts certificates of one partition: to-be-signed bytes that the real
// issuer has built for a real mandate and the real linter has passed, and where in
// them stands what differs between two certificates of the same length.
type mold struct {
	tbs                                                    []byte
	serial, hsaID, card, keyID, point, notBefore, notAfter int
}

// foundry has a mold for each partition and the issuing key.
type foundry struct {
	molds  []mold
	issuer *keys.Issuer
	linter ca.Linter
}

// algorithm is ecdsa-with-SHA256 (RFC 5758, 3.2).
var algorithm = []byte{0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02}

// chosen gives out the serials that molds are made with, so that there is one for
// each partition.
type chosen struct{ partition int }

func (c *chosen) serial() (s ca.Serial) {
	copy(s[:8], "\x5aserial\x5a")
	binary.BigEndian.PutUint64(s[8:], uint64(c.partition))
	return s
}

// Read implements io.Reader for ca.IssuerConfig.Rand.
func (c *chosen) Read(b []byte) (int, error) {
	s := c.serial()
	return copy(b, s[:]), nil
}

// sample is what molds are made for; its texts are as long as all others.
type sample struct {
	content             ca.Content
	key                 *ecdsa.PrivateKey
	notBefore, notAfter time.Time
	mandate             *ca.Mandate
}

func newSample(now time.Time) (s sample, err error) {
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return s, err
	}
	s.notBefore = now.UTC().Truncate(time.Second)
	s.notAfter = s.notBefore.Add(validity)
	s.content = ca.Content{Country: "SE", Organisation: organisation, CommonName: "Åsa Öström", Surname: "Öström", GivenName: "Åsa",
		SerialNumber: hsaID(0), CardNumber: cardNumber(0)}
	return s, nil
}

// openFoundry opens the issuing CA of an installation and makes the molds.
func openFoundry(ctx context.Context, dir string, now time.Time) (f *foundry, err error) {
	cfg, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	hierarchy, err := keys.Load(dir)
	if err != nil {
		return nil, err
	}
	pass, err := app.Passphrase(cfg, nil)
	if err != nil {
		return nil, err
	}
	all, err := profiles.Load(cfg.Path("profiles"))
	if err != nil {
		return nil, err
	}
	f = &foundry{}
	if f.linter, err = app.NewLinter(all); err != nil {
		return nil, err
	}
	if f.issuer, err = hierarchy.OpenIssuer(ctx, Issuer, pass); err != nil {
		return nil, err
	}
	numbers := &chosen{}
	issuer, err := ca.NewIssuer(ca.IssuerConfig{ID: Issuer, Certificate: f.issuer.Certificate, Signer: f.issuer.Signer, Profiles: all,
		MayIssue: []ca.ProfileName{policy.ProfileAuthentication}, Partitions: cfg.Partitions, StatusURL: hierarchy.StatusURL,
		Linter: f.linter, Rand: numbers})
	if err != nil {
		return nil, errors.Join(err, f.close())
	}
	if err := f.cast(ctx, issuer, numbers, now); err != nil {
		return nil, errors.Join(fmt.Errorf("the certificates that others are cast from: %w", err), f.close())
	}
	return f, nil
}

func (f *foundry) close() error { return f.issuer.Close() }

// cast makes a mold for each partition.
func (f *foundry) cast(ctx context.Context, issuer *ca.Issuer, numbers *chosen, now time.Time) error {
	s, err := newSample(now)
	if err != nil {
		return err
	}
	profile, ok := issuer.Profile(policy.ProfileAuthentication)
	if !ok {
		return errors.New("the issuer has no profile for authentication")
	}
	for name, oid := range profile.Assurance() {
		if name == "ordinary/3" {
			s.content.PolicyOIDs = []string{oid}
		}
	}
	var admins [2]crypto.Signer
	for i := range admins {
		if admins[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return err
		}
	}
	if s.mandate, err = mandate(s.content, Issuer, s.notAfter, admins, now); err != nil {
		return err
	}
	f.molds = make([]mold, issuer.Partitions())
	for p := range f.molds {
		numbers.partition = p
		draft, err := issuer.Prepare(ca.Request{Profile: policy.ProfileAuthentication, Content: s.content, PublicKey: s.key.Public(),
			NotBefore: s.notBefore, NotAfter: s.notAfter, Mandate: s.mandate})
		if err != nil {
			return err
		}
		sealed, err := draft.Seal(ctx, nil)
		if err != nil {
			return err
		}
		// It is never signed: only its bytes are wanted, with other values.
		if f.molds[p], err = newMold(sealed.Intent(), s); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	return nil
}

// newMold finds where the values stand. Each must stand in one place only.
func newMold(in ca.Intent, s sample) (mold, error) {
	m := mold{tbs: in.TBS}
	point, err := s.key.PublicKey.Bytes()
	if err != nil {
		return m, err
	}
	keyID := sha256.Sum256(point)
	var errs []error
	find := func(what string, value []byte) int {
		if n := bytes.Count(m.tbs, value); n != 1 {
			errs = append(errs, fmt.Errorf("%s stands %d times in it", what, n))
		}
		return bytes.Index(m.tbs, value)
	}
	m.serial, m.hsaID, m.card = find("the serial", in.Serial[:]), find("the HSA-id", []byte(hsaID(0))), find("the card's number", []byte(cardNumber(0)))
	m.keyID, m.point = find("the key's identifier", keyID[:20]), find("the key", point)
	m.notBefore, m.notAfter = find("notBefore", utcTime(s.notBefore)), find("notAfter", utcTime(s.notAfter))
	if !bytes.Contains(m.tbs, algorithm) {
		errs = append(errs, errors.New("it is not to be signed by ECDSA with SHA-256"))
	}
	return m, errors.Join(errs...)
}

// utcTime is a time as certificates before 2050 write it.
func utcTime(t time.Time) []byte { return t.UTC().AppendFormat(nil, "060102150405Z") }

// certificate is one that was cast.
type certificate struct {
	serial              ca.Serial
	partition           int
	holder              int // index of holder and card
	notBefore, notAfter time.Time
	key                 ca.KeyFingerprint
	tbs, der            []byte
	fingerprint         ca.Fingerprint
	private             *ecdsa.PrivateKey
}

// make casts, keys and signs one certificate.
func (f *foundry) make(holder int, notBefore time.Time) (c certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return c, err
	}
	if c.key, err = ca.FingerprintKey(&key.PublicKey); err != nil {
		return c, err
	}
	c.private = key
	c.serial, c.holder, c.notBefore = ca.NewSerial(), holder, notBefore.UTC().Truncate(time.Second)
	c.notAfter = c.notBefore.Add(validity)
	c.partition = ca.PartitionOf(c.serial, len(f.molds))
	m := &f.molds[c.partition]
	c.tbs = bytes.Clone(m.tbs)
	keyID := sha256.Sum256(point)
	copy(c.tbs[m.serial:], c.serial[:])
	copy(c.tbs[m.hsaID:], hsaID(holder))
	copy(c.tbs[m.card:], cardNumber(holder))
	copy(c.tbs[m.keyID:], keyID[:20])
	copy(c.tbs[m.point:], point)
	copy(c.tbs[m.notBefore:], utcTime(c.notBefore))
	copy(c.tbs[m.notAfter:], utcTime(c.notAfter))
	digest := sha256.Sum256(c.tbs)
	signature, err := f.issuer.Signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		return c, err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(c.tbs)+len(algorithm)+len(signature)+16))
	b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(c.tbs)
		b.AddBytes(algorithm)
		b.AddASN1BitString(signature)
	})
	c.der, err = b.Bytes()
	c.fingerprint = ca.FingerprintOf(c.der)
	return c, err
}

// look examines one certificate as strictly as one that is really issued.
func (f *foundry) look(c *certificate) error {
	parsed, err := x509.ParseCertificate(c.der)
	if err != nil {
		return err
	}
	if err := parsed.CheckSignatureFrom(f.issuer.Certificate); err != nil {
		return err
	}
	key, err := ca.FingerprintKey(parsed.PublicKey)
	if err != nil {
		return err
	}
	serial, ok := ca.SerialOf(parsed.SerialNumber)
	point := parsed.RawSubjectPublicKeyInfo[len(parsed.RawSubjectPublicKeyInfo)-65:]
	keyID := sha256.Sum256(point)
	switch {
	case !bytes.Equal(parsed.SubjectKeyId, keyID[:20]):
		return errors.New("its key identifier is another key's")
	case parsed.Subject.SerialNumber != hsaID(c.holder):
		return errors.New("it is another holder's")
	case !ok || serial != c.serial || key != c.key:
		return errors.New("its serial or key is another")
	case !parsed.NotBefore.Equal(c.notBefore) || !parsed.NotAfter.Equal(c.notAfter):
		return errors.New("its validity is another")
	case !bytes.Equal(parsed.RawTBSCertificate, c.tbs):
		return errors.New("its to-be-signed bytes are others")
	}
	return f.linter.Lint(c.der, policy.ProfileAuthentication)
}
