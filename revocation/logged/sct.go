package logged

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/checkpoint"
	"sigill/internal/der"
)

// maxPromises bounds how many SCTs of one certificate are looked at. Certificates of
// the public web carry two to five.
const maxPromises = 16

var oidSCTList = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}

// splitList reads a SignedCertificateTimestampList (RFC 6962, 3.3): at least one SCT,
// none of them empty, nothing behind.
func splitList(list []byte) ([][]byte, error) {
	var read ctx509.SignedCertificateTimestampList
	rest, err := tls.Unmarshal(list, &read)
	if err != nil {
		return nil, fmt.Errorf("its list of timestamps cannot be read: %w", err)
	}
	if len(rest) > 0 {
		return nil, errors.New("its list of timestamps has something behind it")
	}
	if len(read.SCTList) > maxPromises {
		return nil, fmt.Errorf("its list has %d timestamps, more than the %d that are looked at", len(read.SCTList), maxPromises)
	}
	var out [][]byte
	for _, each := range read.SCTList {
		out = append(out, each.Val)
	}
	return out, nil
}

// errVersion is an SCT of another version, which is passed over (RFC 6962, 3.3): RFC
// 9162 signs other things than what is computed here.
var errVersion = errors.New("it is of another version than 1")

// readSCT reads one SCT of version 1.
func readSCT(octets []byte) (*ct.SignedCertificateTimestamp, error) {
	if octets[0] != byte(ct.V1) {
		return nil, errVersion
	}
	var sct ct.SignedCertificateTimestamp
	rest, err := tls.Unmarshal(octets, &sct)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, errors.New("something is behind it")
	}
	return &sct, nil
}

// subject is what a log was shown before the certificate existed.
type subject struct {
	issuerKeyHash [sha256.Size]byte
	tbs           []byte // without the list of SCTs
}

func subjectOf(cert, issuer *x509.Certificate) (subject, error) {
	tbs, err := der.RemoveExtension(cert.RawTBSCertificate, oidSCTList)
	if err != nil {
		return subject{}, fmt.Errorf("the certificate is not in a form that a log signs: %w", err)
	}
	return subject{sha256.Sum256(issuer.RawSubjectPublicKeyInfo), tbs}, nil
}

// entry is the Merkle leaf that sct promises (RFC 6962, 3.4).
func (s subject) entry(sct *ct.SignedCertificateTimestamp) ct.LogEntry {
	return ct.LogEntry{Leaf: ct.MerkleTreeLeaf{Version: ct.V1, LeafType: ct.TimestampedEntryLeafType, TimestampedEntry: &ct.TimestampedEntry{
		Timestamp: sct.Timestamp, EntryType: ct.PrecertLogEntryType, Extensions: sct.Extensions,
		PrecertEntry: &ct.PreCert{IssuerKeyHash: s.issuerKeyHash, TBSCertificate: s.tbs}}}}
}

// verify checks the log's signature over an entry (RFC 6962, 3.2) and returns the
// leaf's hash (2.1). Only what [checkpoint] signs with is believed, SHA-256 and ECDSA,
// in strict DER: the library takes MD5 too, and octets behind the signature.
func verify(log *checkpoint.Log, sct *ct.SignedCertificateTimestamp, entry ct.LogEntry) (tlog.Hash, error) {
	key, ok := log.Signatures().PubKey.(*ecdsa.PublicKey)
	if !ok || sct.Signature.Algorithm != (tls.SignatureAndHashAlgorithm{Hash: tls.SHA256, Signature: tls.ECDSA}) {
		return tlog.Hash{}, errors.New("it is not signed by SHA-256 and ECDSA")
	}
	input, err := ct.SerializeSCTSignatureInput(*sct, entry)
	if err != nil {
		return tlog.Hash{}, err
	}
	sum := sha256.Sum256(input)
	if !ecdsa.VerifyASN1(key, sum[:], sct.Signature.Signature) {
		return tlog.Hash{}, errors.New("the log's key did not sign it for this certificate of this issuer")
	}
	leaf, err := ct.LeafHashForLeaf(&entry.Leaf)
	return tlog.Hash(leaf), err
}

// promises judges each SCT of a list.
func (j *Judge) promises(q Question, list []byte) ([]promise, error) {
	octets, err := splitList(list)
	if err != nil {
		return nil, err
	}
	s, err := subjectOf(q.Certificate, q.Issuer)
	if err != nil {
		return nil, err
	}
	var out []promise
	for i, each := range octets {
		if slices.ContainsFunc(octets[:i], func(before []byte) bool { return bytes.Equal(before, each) }) {
			out = append(out, promise{Promise: Promise{State: Unchecked, Why: "it stands there already"}})
			continue
		}
		out = append(out, j.promise(q, s, each))
	}
	return out, nil
}

// target is what a proof must be about: a leaf in a log. The leaf names certificate,
// issuer and time.
type target struct {
	log  *Log
	leaf tlog.Hash
}

// key names what is kept of t.
func (t target) key() string { return string(t.leaf[:]) + t.log.Origin() }

// promise is a Promise with its target.
type promise struct {
	Promise
	target
}

// promise judges one SCT. What is of another version or of a log that is not known is
// passed over; whose log is known must be right in everything.
func (j *Judge) promise(q Question, s subject, octets []byte) promise {
	sct, err := readSCT(octets)
	if err != nil {
		p := promise{Promise: Promise{State: Unchecked, Why: err.Error()}}
		if !errors.Is(err, errVersion) {
			p.State, p.Why = Refused, "it cannot be read: "+err.Error()
		}
		return p
	}
	p := promise{Promise: Promise{State: Unchecked, LogID: hex.EncodeToString(sct.LogID.KeyID[:])}}
	log := j.byID[sct.LogID.KeyID]
	if log == nil {
		p.Why = "its log is not known here, id " + p.LogID
		return p
	}
	p.log, p.Log, p.State = log, log.Origin(), Refused
	if sct.Timestamp > maxMillis {
		p.Why = "its time is out of range"
		return p
	}
	p.Time = time.UnixMilli(int64(sct.Timestamp)).UTC()
	if p.leaf, err = verify(log.Log, sct, s.entry(sct)); err != nil {
		p.Why = err.Error()
		return p
	}
	p.Leaf = hex.EncodeToString(p.leaf[:])
	if p.Time.After(q.Now.Add(q.Skew)) {
		p.Why = fmt.Sprintf("its time %s has not come: the log's clock is ahead of ours by %s", stamp(p.Time), p.Time.Sub(q.Now).Round(time.Second))
		return p
	}
	p.State = Promised
	return p
}

// maxMillis is a time far off, below which milliseconds are a time in Go and in JSON:
// the end of the year 9999.
const maxMillis = 253402300799999
