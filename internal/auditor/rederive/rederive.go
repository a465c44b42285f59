// Package rederive judges a certificate of the log as an outsider does: from the
// leaf, the profile of its time and the order behind it, it works out anew what the
// certificate may say, and compares. Its parser is that of
// certificate-transparency-go, its lints are zlint's; nothing here was used to make
// the certificate, so that one mistake cannot both make and excuse it.
//
// It knows no log, no network and no store: [Rules.Check] is a pure function, safe
// for concurrent use, and can be run on all cores.
package rederive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"github.com/google/certificate-transparency-go/x509"

	"sigill/ca"
	"sigill/internal/checkpoint"
)

// Kind names what is wrong with a certificate. Kinds are for machines and do not
// change.
type Kind string

// Kinds.
const (
	Malformed  Kind = "malformed"  // no certificate, or one that two parsers read differently
	Forged     Kind = "forged"     // not signed by the issuer that it names
	NoSCT      Kind = "sct"        // the promise of the log is missing, or another's
	Unlogged   Kind = "unlogged"   // signed are other bytes than the log has
	Subject    Kind = "subject"    // names of the holder
	Names      Kind = "names"      // subject alternative names, SID, card number
	Extensions Kind = "extensions" // one too many, one missing, criticality
	Usage      Kind = "usage"      // key usage and purposes
	Policies   Kind = "policies"   // level of assurance and policies
	Validity   Kind = "validity"   // too long, or begun at another time than it was logged
	Addresses  Kind = "addresses"  // CRL, OCSP and issuer's certificate
	Key        Kind = "key"        // not one that the profile certifies
	Order      Kind = "order"      // not what was ordered
	Lint       Kind = "lint"       // what zlint or our lints say
	Claim      Kind = "claim"      // not what the act log says of it
)

// Problem is one thing that is wrong. Text has no value of the certificate in it,
// because problems are told and certificates carry names.
type Problem struct {
	Kind Kind   `json:"kind"`
	Text string `json:"text"`
}

// Entry is a certificate as the log has it.
type Entry struct {
	Leaf  ct.MerkleTreeLeaf
	Hash  [sha256.Size]byte // of the leaf (RFC 6962, 2.1)
	Time  time.Time         // of the log's promise
	TBS   []byte            // without the SCT list
	Final []byte            // the certificate; nil: none was stored, or not yet
}

// ParseEntry reads a MerkleTreeLeaf (RFC 6962, 3.4) of a precertificate. final is
// the certificate that was made of it, if there is one.
func ParseEntry(leaf, final []byte) (Entry, error) {
	e := Entry{Hash: leafHash(leaf), Final: final}
	rest, err := tls.Unmarshal(leaf, &e.Leaf)
	if err != nil || len(rest) > 0 {
		return e, errors.New("leaf is not one MerkleTreeLeaf")
	}
	t := e.Leaf.TimestampedEntry
	if e.Leaf.Version != ct.V1 || e.Leaf.LeafType != ct.TimestampedEntryLeafType || t == nil || t.EntryType != ct.PrecertLogEntryType || t.PrecertEntry == nil {
		return e, errors.New("leaf is not that of a precertificate, version 1")
	}
	if len(t.Extensions) > 0 {
		return e, errors.New("leaf has extensions")
	}
	if t.Timestamp > 1<<48 {
		return e, errors.New("leaf has no time that can be written")
	}
	e.Time, e.TBS = time.UnixMilli(int64(t.Timestamp)).UTC(), t.PrecertEntry.TBSCertificate
	return e, nil
}

func leafHash(leaf []byte) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(leaf)
	return [sha256.Size]byte(h.Sum(nil))
}

// LeafOf returns the leaf that the log must have for a certificate, by what the
// certificate itself carries: its to-be-signed bytes without the SCT list, the
// issuer's key, and the time of the log's promise in it. It fails if there is no
// such promise.
func LeafOf(der []byte, issuers *Issuers, log *checkpoint.Log) (Entry, error) {
	cert, err := x509.ParseCertificate(der)
	if x509.IsFatal(err) {
		return Entry{}, errors.New("it is no certificate")
	}
	issuer := issuers.of(cert)
	if issuer == nil {
		return Entry{}, errors.New("none of the given CAs has signed it")
	}
	sct, err := promiseOf(cert, log)
	if err != nil {
		return Entry{}, err
	}
	tbs, err := x509.RemoveSCTList(cert.RawTBSCertificate)
	if err != nil {
		return Entry{}, fmt.Errorf("taking the SCT list out: %w", err)
	}
	leaf, err := tls.Marshal(ct.MerkleTreeLeaf{Version: ct.V1, LeafType: ct.TimestampedEntryLeafType,
		TimestampedEntry: &ct.TimestampedEntry{Timestamp: sct.Timestamp, EntryType: ct.PrecertLogEntryType,
			PrecertEntry: &ct.PreCert{IssuerKeyHash: issuer.keyHash, TBSCertificate: tbs}}})
	if err != nil {
		return Entry{}, fmt.Errorf("encoding its leaf: %w", err)
	}
	return ParseEntry(leaf, der)
}

// Issuers are the issuing CAs that are believed, found by the hash of their key.
type Issuers struct {
	byKey map[[sha256.Size]byte]*issuer
}

type issuer struct {
	cert    *x509.Certificate
	keyHash [sha256.Size]byte
}

// NewIssuers reads certificates of issuing CAs. That they are the right ones is the
// auditor's to know: he got them himself.
func NewIssuers(certificates ...[]byte) (*Issuers, error) {
	s := &Issuers{byKey: map[[sha256.Size]byte]*issuer{}}
	for n, der := range certificates {
		cert, err := x509.ParseCertificate(der)
		if x509.IsFatal(err) {
			return nil, fmt.Errorf("CA certificate %d: %w", n+1, err)
		}
		if !cert.IsCA {
			return nil, fmt.Errorf("CA certificate %d is not a CA's", n+1)
		}
		hash := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
		s.byKey[hash] = &issuer{cert: cert, keyHash: hash}
	}
	return s, nil
}

// Certificate returns the DER of the CA with that key, nil if it is not known.
func (s *Issuers) Certificate(keyHash [sha256.Size]byte) []byte {
	if i := s.byKey[keyHash]; i != nil {
		return i.cert.Raw
	}
	return nil
}

// All returns the certificates, DER.
func (s *Issuers) All() [][]byte {
	var out [][]byte
	for _, i := range s.byKey {
		out = append(out, i.cert.Raw)
	}
	return out
}

// Signed reports whether one of the CAs has signed a certificate.
func (s *Issuers) Signed(der []byte) bool {
	cert, err := x509.ParseCertificate(der)
	return !x509.IsFatal(err) && s.of(cert) != nil
}

// SerialOf returns the serial number of a certificate, 32 hexadecimal digits; "": it has
// none that a certificate here can have.
func SerialOf(der []byte) string {
	cert, err := x509.ParseCertificate(der)
	if x509.IsFatal(err) {
		return ""
	}
	if serial, ok := ca.SerialOf(cert.SerialNumber); ok {
		return serial.String()
	}
	return ""
}

// of returns the CA whose signature a certificate carries, nil if it is none of ours.
func (s *Issuers) of(cert *x509.Certificate) *issuer {
	for _, i := range s.byKey {
		if bytes.Equal(i.cert.RawSubject, cert.RawIssuer) && i.signed(cert) == nil {
			return i
		}
	}
	return nil
}

func (i *issuer) signed(cert *x509.Certificate) error {
	return i.cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature)
}

// Said is what the act log says of a certificate when its intent was recorded.
// Fields that do not apply are empty.
type Said struct {
	Serial  string
	Issuer  string
	Profile string
	Card    string
	Key     string // fingerprint, hexadecimal
	Kind    string // of identifier: hsa-id, person-number
	LoA     string
	Leaf    string // hash, hexadecimal
	At      time.Time
}

// Rules are what certificates are judged by. They do not change once in use.
type Rules struct {
	Issuers *Issuers
	Log     *checkpoint.Log
	// Profile returns the profile of that name that was in force at a time; nil: none is
	// known.
	Profile func(name string, at time.Time) *ca.Profile
	// Linter judges whole certificates; nil: they are not linted.
	Linter ca.Linter
	// StatusURL is where status is said to be; empty: any one address, the same in all
	// extensions.
	StatusURL string
	// Partitions are the numbers of CRL partitions that there ever were; empty: unknown.
	Partitions []int
}

// Result is what was found, and what the certificate itself says.
type Result struct {
	Problems []Problem
	Serial   string // 32 hexadecimal digits
	Key      string // fingerprint, hexadecimal, as the act log writes it
	Profile  string
	NotAfter time.Time
	CRL      string // its distribution point; empty: none
	// Fingerprint of the certificate, hexadecimal; empty: there is none yet.
	Fingerprint string
}

// check is one certificate under judgement.
type check struct {
	*Rules
	Result
	entry   Entry
	said    *Said
	order   *Document
	issuer  *issuer
	profile *ca.ProfileConfig
	tbs     *x509.Certificate // what the log has
}

func (c *check) find(kind Kind, format string, args ...any) {
	c.Problems = append(c.Problems, Problem{kind, fmt.Sprintf(format, args...)})
}

// Check judges a certificate. said is what the act log says of it; nil: nothing is
// known. order is what it was ordered by; nil: none. That profile and order must be
// there is for the caller to judge; what is there is compared.
func (r *Rules) Check(e Entry, said *Said, order *Document) Result {
	c := &check{Rules: r, entry: e, said: said, order: order}
	cert, err := x509.ParseTBSCertificate(e.TBS)
	if x509.IsFatal(err) {
		c.find(Malformed, "what the log has is not to-be-signed bytes of a certificate")
		return c.Result
	}
	c.tbs = cert
	if s, ok := ca.SerialOf(cert.SerialNumber); ok {
		c.Serial = s.String()
	} else {
		c.find(Malformed, "its serial number is not 127 bits")
	}
	c.NotAfter = cert.NotAfter
	if f, err := ca.FingerprintKey(cert.PublicKey); err == nil {
		c.Key = hex.EncodeToString(f[:])
	} else {
		c.find(Key, "its key is of no kind that is certified")
	}
	if c.issuer = r.Issuers.byKey[e.Leaf.TimestampedEntry.PrecertEntry.IssuerKeyHash]; c.issuer == nil {
		c.find(Forged, "the log names an issuer that is none of the given CAs")
	}
	c.checkFinal()
	c.checkSaid()
	if c.profile != nil {
		c.checkProfile()
	}
	return c.Result
}

// checkSaid compares the certificate with the act that announced it, and finds its
// profile.
func (c *check) checkSaid() {
	if c.said == nil {
		return
	}
	for _, f := range []struct{ name, is, said string }{
		{"serial", c.Serial, c.said.Serial}, {"key", c.Key, c.said.Key}, {"leaf", hex.EncodeToString(c.entry.Hash[:]), c.said.Leaf},
	} {
		if f.said != "" && f.is != f.said {
			c.find(Claim, "its %s is not the one that the act log names", f.name)
		}
	}
	c.Result.Profile = c.said.Profile
	if d := c.entry.Time.Sub(c.said.At); d < -maxSkew || d > maxSkew {
		c.find(Validity, "its intent and the log's promise are %s apart", d.Abs().Round(time.Second))
	}
	p := c.Rules.Profile(c.said.Profile, c.entry.Time)
	if p == nil {
		c.find(Claim, "its profile is not known")
		return
	}
	config := p.Config()
	c.profile = &config
}

// maxSkew is how far two times of one issuance may be apart: the promise is signed
// before the transaction of the intent, which may have waited.
const maxSkew = 5 * time.Minute
