package auditortest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/auditor"
	"sigill/internal/checkpoint"
	"sigill/internal/statement"
	"sigill/policy"
)

// Intended is what an intent says beside the certificate, and how it is spoilt.
type Intended struct {
	Person          *Person
	Order, Download string
	Slot            string              // "": authentication
	NoIntent        bool                // no act announces it
	NoLeaf          bool                // it is not in the log
	NoFinal         bool                // no certificate is shown
	NoIssued        bool                // no act issues it
	Spoil           func([]byte) []byte // the certificate, before it is shown
	NotAfter        time.Time
}

// Issue makes a certificate by the real CA, with the acts and the leaf that belong to it.
func (s *Scene) Issue(issuer ca.IssuerID, profile ca.ProfileName, c ca.Content, key crypto.Signer, in Intended) []byte {
	s.T.Helper()
	r := ca.Request{Profile: profile, Content: c, PublicKey: key.Public(), NotBefore: s.Now.Add(-10 * time.Minute), NotAfter: s.Now.AddDate(1, 0, 0)}
	if !in.NotAfter.IsZero() {
		r.NotAfter = in.NotAfter
	}
	if s.Profiles[profile].Mandate() == ca.MandateOrder {
		r.Mandate = s.mandate(c)
	}
	draft, err := s.Issuers[issuer].Prepare(r)
	s.must(err)
	log := &promises{s: s}
	sealed, err := draft.Seal(s.T.Context(), log)
	s.must(err)
	recorded, err := sealed.Record(s.T.Context(), func(context.Context, ca.Intent) error { return nil })
	s.must(err)
	logged, err := recorded.Await(s.T.Context())
	s.must(err)
	issued, err := s.Issuers[issuer].Sign(logged)
	s.must(err)
	s.record(sealed.Intent(), log.leaf, issued, in)
	return issued.DER
}

// record appends what belongs to a certificate to both logs.
func (s *Scene) record(intent ca.Intent, input []byte, issued *ca.Issued, in Intended) {
	s.T.Helper()
	card, slot, loa, kind, org := "", "", "", "", ""
	if in.Person != nil {
		card, slot, loa, kind, org = in.Person.Card, "authentication", "3", "hsa-id", Org
	}
	if intent.Profile == policy.ProfileTransport {
		slot, loa, kind = "transport", "", ""
	}
	if in.Slot != "" {
		slot = in.Slot
	}
	serial := intent.Serial.String()
	if !in.NoIntent {
		s.Act(audit.IntentRecorded, "system", field("serial", serial), field("issuer", string(intent.Issuer)), field("profile", string(intent.Profile)), field("slot", slot),
			field("card", card), field("organisation", org), field("kind", kind), field("loa", loa), field("order", in.Order), field("download", in.Download),
			field("key", hex.EncodeToString(intent.Key[:])), field("leaf", hex.EncodeToString(intent.Leaf.Hash[:])))
	}
	if s.LastLeaf = input; !in.NoLeaf {
		leaf := auditor.Leaf{Input: input, Final: issued.DER}
		if in.Spoil != nil {
			leaf.Final = in.Spoil(leaf.Final)
		}
		if in.NoFinal {
			leaf.Final = nil
		}
		s.AppendLeaf(leaf)
	}
	if !in.NoIssued {
		s.Act(audit.CertificateIssued, "system", field("serial", serial), field("issuer", string(intent.Issuer)), field("certificate", issued.Fingerprint.String()),
			field("card", card), field("download", in.Download))
	}
}

// AppendLeaf appends an entry to the log of certificates.
func (s *Scene) AppendLeaf(l auditor.Leaf) int64 {
	s.Leaves = append(s.Leaves, l)
	return s.Logs[auditor.Certificates].append(s.T, l.Input)
}

// mandate is one that the CA accepts: what stands behind a certificate is the auditor's
// to judge here.
func (s *Scene) mandate(c ca.Content) *ca.Mandate {
	order, err := json.Marshal(map[string]any{"content": c})
	s.must(err)
	one := &Person{ID: "per_0", Card: "-", Key: s.key()}
	st := statement.Statement{Act: statement.ActPlace, Subject: "x", By: one.ID, For: "-", Card: "-", Content: sha256.Sum256(order), At: s.Now.Truncate(time.Second)}
	signature, err := statement.Sign(one.Key, st.Bytes())
	s.must(err)
	m, err := ca.NewMandate(order, 1, []ca.SignedStatement{{Content: st.Bytes(), Signature: signature, Certificate: &x509.Certificate{PublicKey: one.Key.Public()}, Person: one.ID}})
	s.must(err)
	return m
}

// promises is the log as the CA asks it.
type promises struct {
	s    *Scene
	leaf []byte
	at   ca.LogLeaf
}

// Promise implements [ca.Log].
func (p *promises) Promise(_ context.Context, c ca.PreCert) (ca.Promise, error) {
	l := p.s.Logs[auditor.Certificates]
	leaf := ct.MerkleTreeLeaf{Version: ct.V1, LeafType: ct.TimestampedEntryLeafType, TimestampedEntry: &ct.TimestampedEntry{Timestamp: uint64(p.s.Now.UnixMilli()),
		EntryType: ct.PrecertLogEntryType, PrecertEntry: &ct.PreCert{IssuerKeyHash: c.IssuerKeyHash, TBSCertificate: c.TBS}}}
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: l.Log.ID()}, Timestamp: leaf.TimestampedEntry.Timestamp}
	input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: leaf})
	if err != nil {
		return ca.Promise{}, err
	}
	signed, err := checkpoint.DigitallySign(l.Key, input)
	if err != nil {
		return ca.Promise{}, err
	}
	if _, err := tls.Unmarshal(signed, &sct.Signature); err != nil {
		return ca.Promise{}, err
	}
	one, err := tls.Marshal(sct)
	if err != nil {
		return ca.Promise{}, err
	}
	if p.leaf, err = tls.Marshal(leaf); err != nil {
		return ca.Promise{}, err
	}
	n := len(one)
	list := append([]byte{byte((n + 2) >> 8), byte(n + 2), byte(n >> 8), byte(n)}, one...)
	p.at = ca.LogLeaf{Hash: tlog.RecordHash(p.leaf), Time: time.UnixMilli(p.s.Now.UnixMilli()).UTC()}
	return ca.Promise{SCTList: list, Leaf: p.at}, nil
}

// Check implements [ca.Log].
func (p *promises) Check([]byte, ca.PreCert) (ca.LogLeaf, error) { return p.at, nil }

// Await implements [ca.Log].
func (p *promises) Await(context.Context, ca.LogLeaf) error { return nil }

// Key returns a new key.
func Key(t testing.TB) *ecdsa.PrivateKey { return (&Scene{T: t}).key() }

// Stray makes an eID in order for somebody new, but for what in spoils.
func (s *Scene) Stray(in Intended) []byte {
	s.T.Helper()
	p := s.Person()
	id := s.Place(p, s.Admins[0], s.Document(p, "ordinary"))
	s.Approve(p, s.Admins[1], id)
	in.Person, in.Order, in.Download = p, id, s.Begin(p, id, nil)
	return s.Issue(PersonCA, policy.ProfileAuthentication, s.Content(p), s.key(), in)
}

// Revoke revokes a person's eID.
func (s *Scene) Revoke(p *Person) { s.End(p, p.DER, audit.CertificateRevoked, "keyCompromise") }

// End ends a certificate of a person by an act.
func (s *Scene) End(p *Person, der []byte, act, reason string) {
	s.T.Helper()
	s.Act(act, "system", field("serial", SerialOf(der)), field("issuer", string(PersonCA)), field("reason", reason),
		field("rule", "card.blocked"), field("partition", "0"), field("card", p.Card))
}

// SerialOf returns the serial of a certificate; "": it is none.
func SerialOf(der []byte) string {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return ""
	}
	serial, _ := ca.SerialOf(cert.SerialNumber)
	return serial.String()
}

// Resign returns a certificate over other to-be-signed bytes, signed by an ECDSA key with
// SHA-256.
func Resign(t testing.TB, der, tbs []byte, key crypto.Signer) []byte {
	t.Helper()
	var c struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &c); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(tbs)
	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	c.TBS, c.Signature = asn1.RawValue{FullBytes: tbs}, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	out, err := asn1.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// WithoutSCT returns a certificate as the issuing key signs it without the log's promise.
func WithoutSCT(t testing.TB, der []byte, key crypto.Signer) []byte {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	tbs, err := ctx509.RemoveSCTList(cert.RawTBSCertificate)
	if err != nil {
		t.Fatal(err)
	}
	return Resign(t, der, tbs, key)
}

// WithoutSCT is the function of that name, with the key of the person CA.
func (s *Scene) WithoutSCT(der []byte) []byte { return WithoutSCT(s.T, der, s.Keys[PersonCA]) }

// Forge returns a certificate signed by another key than its issuer's.
func (s *Scene) Forge(der []byte) []byte {
	cert, err := x509.ParseCertificate(der)
	s.must(err)
	return Resign(s.T, der, cert.RawTBSCertificate, s.key())
}

// lenient lets everything pass.
type lenient struct{}

// Lint implements [ca.Linter].
func (lenient) Lint([]byte, ca.ProfileName) error { return nil }

// Plant lets the person CA issue by a profile that was changed behind everybody's back,
// without lints. The acts do not tell of it.
func (s *Scene) Plant(name ca.ProfileName, change func(*ca.ProfileConfig)) {
	s.T.Helper()
	config := s.Profiles[name].Config()
	change(&config)
	planted, err := ca.NewProfile(config)
	s.must(err)
	all := maps.Clone(s.Profiles)
	all[name] = planted
	s.replant(all, nil)
}

// DrawFrom lets the person CA draw serials from a source.
func (s *Scene) DrawFrom(source io.Reader) { s.replant(s.Profiles, source) }

func (s *Scene) replant(all ca.Profiles, source io.Reader) {
	s.T.Helper()
	var err error
	s.Issuers[PersonCA], err = ca.NewIssuer(ca.IssuerConfig{ID: PersonCA, Certificate: s.Issuers[PersonCA].Certificate(), Signer: s.Keys[PersonCA], Profiles: all,
		MayIssue: []ca.ProfileName{policy.ProfileAuthentication, policy.ProfileSigning}, Partitions: 3, StatusURL: StatusURL, Linter: lenient{}, Rand: source})
	s.must(err)
}
