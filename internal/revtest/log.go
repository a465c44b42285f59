package revtest

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/checkpoint"
	"sigill/internal/der"
)

// Log is a transparency log in memory with its key, as the log has it or who stole it.
type Log struct {
	*checkpoint.Log
	Key    crypto.Signer
	T      testing.TB
	hashes []tlog.Hash // as tlog stores them
	Size   int64
}

// NewLog returns an empty log with a key of its own.
func NewLog(t testing.TB, origin string) *Log {
	t.Helper()
	key := NewKey(t)
	l, err := checkpoint.NewLog(origin, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &Log{Log: l, Key: key, T: t}
}

// PublicKey is the log's public key in PEM.
func (l *Log) PublicKey() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: l.SPKI()})
}

// PreCert is what the log is shown of a certificate before it has SCTs.
type PreCert struct {
	TBS        []byte
	Issuer     *x509.Certificate
	At         time.Time
	Extensions []byte // of the SCT
}

// Entry is the leaf of p.
func (p PreCert) Entry() ct.MerkleTreeLeaf {
	return ct.MerkleTreeLeaf{Version: ct.V1, LeafType: ct.TimestampedEntryLeafType, TimestampedEntry: &ct.TimestampedEntry{
		Timestamp: uint64(p.At.UnixMilli()), EntryType: ct.PrecertLogEntryType, Extensions: p.Extensions,
		PrecertEntry: &ct.PreCert{IssuerKeyHash: sha256.Sum256(p.Issuer.RawSubjectPublicKeyInfo), TBSCertificate: p.TBS}}}
}

// Leaf is the hash of the leaf of p.
func (p PreCert) Leaf(t testing.TB) tlog.Hash {
	t.Helper()
	leaf := p.Entry()
	hash, err := ct.LeafHashForLeaf(&leaf)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// SCT signs that p will be in the log, which Add has to bring about.
func (l *Log) SCT(p PreCert) ct.SignedCertificateTimestamp {
	l.T.Helper()
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: l.ID()}, Timestamp: uint64(p.At.UnixMilli()), Extensions: p.Extensions}
	input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: p.Entry()})
	if err != nil {
		l.T.Fatal(err)
	}
	signed, err := checkpoint.DigitallySign(l.Key, input)
	if err != nil {
		l.T.Fatal(err)
	}
	if _, err := tls.Unmarshal(signed, &sct.Signature); err != nil {
		l.T.Fatal(err)
	}
	return sct
}

// Octets is an SCT as it stands in a list.
func Octets(t testing.TB, sct ct.SignedCertificateTimestamp) []byte {
	t.Helper()
	b, err := tls.Marshal(sct)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// SCTList makes the list that a certificate carries.
func SCTList(t testing.TB, scts ...[]byte) []byte {
	t.Helper()
	var list ctx509.SignedCertificateTimestampList
	for _, each := range scts {
		list.SCTList = append(list.SCTList, ctx509.SerializedSCT{Val: each})
	}
	b, err := tls.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Embed returns cert with a list of SCTs as its last extension, signed anew with its
// issuer's key.
func Embed(t testing.TB, cert *x509.Certificate, issuer crypto.Signer, list []byte) *x509.Certificate {
	t.Helper()
	value, err := der.OctetString(list)
	if err != nil {
		t.Fatal(err)
	}
	tbs, err := der.AppendExtension(cert.RawTBSCertificate, der.Extension{ID: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: value})
	if err != nil {
		t.Fatal(err)
	}
	parts, err := der.ParseTBS(tbs)
	if err != nil {
		t.Fatal(err)
	}
	hash := crypto.SHA256
	switch cert.SignatureAlgorithm {
	case x509.ECDSAWithSHA384, x509.SHA384WithRSA:
		hash = crypto.SHA384
	}
	h := hash.New()
	h.Write(tbs)
	signature, err := issuer.Sign(rand.Reader, h.Sum(nil), hash)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := asn1.Marshal(struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}{asn1.RawValue{FullBytes: tbs}, asn1.RawValue{FullBytes: parts.Algorithm}, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Add appends a leaf and returns its index.
func (l *Log) Add(leaf tlog.Hash) int64 {
	l.T.Helper()
	more, err := tlog.StoredHashesForRecordHash(l.Size, leaf, l)
	if err != nil {
		l.T.Fatal(err)
	}
	l.hashes = append(l.hashes, more...)
	l.Size++
	return l.Size - 1
}

// ReadHashes implements tlog.HashReader.
func (l *Log) ReadHashes(at []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range at {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

// Head signs the tree as it is, and has it cosigned.
func (l *Log) Head(at time.Time, witnesses ...*checkpoint.Cosigner) []byte {
	l.T.Helper()
	root, err := tlog.TreeHash(l.Size, l)
	if err != nil {
		l.T.Fatal(err)
	}
	note, err := l.Sign(l.Key, l.Size, root, at)
	if err != nil {
		l.T.Fatal(err)
	}
	head, err := l.Open(note)
	if err != nil {
		l.T.Fatal(err)
	}
	for _, w := range witnesses {
		line, err := w.Cosign(head, at)
		if err != nil {
			l.T.Fatal(err)
		}
		note = append(note, line...)
	}
	return note
}

// Proof is the text that proves the leaf at index under a head of the whole tree.
func (l *Log) Proof(index int64, note []byte) []byte {
	l.T.Helper()
	hashes, err := tlog.ProveRecord(l.Size, index, l)
	if err != nil {
		l.T.Fatal(err)
	}
	return checkpoint.Proof{Index: index, Hashes: hashes, Note: note}.Text()
}

// NewCosigner makes a witness with a key of its own.
func NewCosigner(t testing.TB, name string) *checkpoint.Cosigner {
	t.Helper()
	key, err := checkpoint.GenerateCosigner(name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := checkpoint.NewCosigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return w
}
