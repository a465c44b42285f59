package checkpoint

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// sthSignature is the type of a note's signature that is an RFC 6962 tree head
// (C2SP static-ct-api).
const sthSignature = 0x05

const (
	keyHashOctets = 4
	timeOctets    = 8
)

// Log is a log that is believed: its name and key. It verifies what the log signed.
// It is a [note.Verifier] and safe for concurrent use.
type Log struct {
	origin   string
	id       [sha256.Size]byte
	key      *ecdsa.PublicKey
	spki     []byte
	hash     uint32
	verifier *ct.SignatureVerifier
	known    [2]atomic.Pointer[opened] // what Open verified last
	next     atomic.Uint32
}

// opened is a note that was verified.
type opened struct {
	text string
	c    Checkpoint
}

// NewLog returns the log of that name and key (*ecdsa.PublicKey on P-256).
func NewLog(origin string, key crypto.PublicKey) (*Log, error) {
	if err := CheckOrigin(origin); err != nil {
		return nil, err
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("log %s: a key of type %T does not sign logs: it must be ECDSA", origin, key)
	}
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("log %s: encoding its key: %w", origin, err)
	}
	v, err := ct.NewSignatureVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("log %s: %w", origin, err)
	}
	l := &Log{origin: origin, id: sha256.Sum256(spki), key: public, spki: spki, verifier: v}
	h := sha256.New()
	h.Write([]byte(origin))
	h.Write([]byte{'\n', sthSignature})
	h.Write(l.id[:])
	l.hash = binary.BigEndian.Uint32(h.Sum(nil))
	return l, nil
}

// ReadLog returns the log of that name and of a public key in PEM ("PUBLIC KEY").
func ReadLog(origin string, text []byte) (*Log, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("log %s: its key is not one public key in PEM", origin)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("log %s: its key: %w", origin, err)
	}
	return NewLog(origin, key)
}

// Origin names the log.
func (l *Log) Origin() string { return l.origin }

// ID is the log's id in SCTs: SHA-256 of its SubjectPublicKeyInfo (RFC 6962, 3.2).
func (l *Log) ID() [sha256.Size]byte { return l.id }

// SPKI returns the log's SubjectPublicKeyInfo. It must not be changed.
func (l *Log) SPKI() []byte { return l.spki }

// Signatures verifies SCTs and tree heads of the log, less strictly than
// [Log.VerifySignature].
func (l *Log) Signatures() *ct.SignatureVerifier { return l.verifier }

// Name implements [note.Verifier].
func (l *Log) Name() string { return l.origin }

// KeyHash implements [note.Verifier].
func (l *Log) KeyHash() uint32 { return l.hash }

// Verify implements [note.Verifier]: signature is a time in milliseconds and the
// signature of an RFC 6962 tree head (3.5) for the body.
func (l *Log) Verify(body, signature []byte) bool {
	sth, err := treeHead(body, signature)
	if err != nil || sth.origin != l.origin {
		return false
	}
	input, err := ct.SerializeSTHSignatureInput(sth.SignedTreeHead)
	return err == nil && l.VerifySignature(input, sth.TreeHeadSignature) == nil
}

// VerifySignature returns nil if the log signed input as [DigitallySign] does. It is
// stricter than the library's verifier, which takes the hash that the signature names,
// MD5 too, and skips octets behind it: anybody could write one signature in many ways.
func (l *Log) VerifySignature(input []byte, signed ct.DigitallySigned) error {
	if signed.Algorithm != (tls.SignatureAndHashAlgorithm{Hash: tls.SHA256, Signature: tls.ECDSA}) {
		return fmt.Errorf("log %s signs by SHA-256 and ECDSA", l.origin)
	}
	sum := sha256.Sum256(input)
	if !ecdsa.VerifyASN1(l.key, sum[:], signed.Signature) {
		return fmt.Errorf("log %s: the signature is false", l.origin)
	}
	return nil
}

type namedHead struct {
	ct.SignedTreeHead
	origin string
}

// treeHead reads a note's signature as the tree head that it is.
func treeHead(body, signature []byte) (namedHead, error) {
	c, err := parseBody(string(body))
	if err != nil {
		return namedHead{}, err
	}
	if len(signature) <= timeOctets {
		return namedHead{}, errors.New("checkpoint: signature is cut off")
	}
	sth := namedHead{origin: c.Origin, SignedTreeHead: ct.SignedTreeHead{Version: ct.V1, TreeSize: uint64(c.Size),
		Timestamp: binary.BigEndian.Uint64(signature), SHA256RootHash: ct.SHA256Hash(c.Root)}}
	rest, err := tls.Unmarshal(signature[timeOctets:], &sth.TreeHeadSignature)
	if err != nil || len(rest) > 0 {
		return namedHead{}, errors.New("checkpoint: not the signature of a tree head")
	}
	if sth.Timestamp > MaxSize {
		return namedHead{}, errors.New("checkpoint: its time is out of range")
	}
	return sth, nil
}

// Open reads a signed note and returns the checkpoint if the log signed it. Signatures
// that are not the log's are skipped: [Log.Witnessed] looks at those of witnesses. The
// error is [ErrSignature] if it is a checkpoint that the log has not signed.
//
// The last notes are remembered, octet for octet: a service reads its own newest heads
// over and over, and a signature takes longer to verify than all else of a proof.
func (l *Log) Open(text []byte) (Checkpoint, error) {
	for i := range l.known {
		if k := l.known[i].Load(); k != nil && k.text == string(text) {
			return k.c, nil
		}
	}
	c, _, err := l.open(text)
	if err == nil {
		l.known[l.next.Add(1)%uint32(len(l.known))].Store(&opened{string(text), c})
	}
	return c, err
}

// open reads a note that the log signed and returns it with the signatures of the log
// and of witnesses that verify.
func (l *Log) open(text []byte, witnesses ...note.Verifier) (Checkpoint, *note.Note, error) {
	c, n, err := openNote(text, append(witnesses, l))
	if err != nil {
		return Checkpoint{}, nil, fmt.Errorf("checkpoint of %s: %w", l.origin, err)
	}
	i := slices.IndexFunc(n.Sigs, func(s note.Signature) bool { return s.Name == l.origin && s.Hash == l.hash })
	if i < 0 {
		return Checkpoint{}, nil, fmt.Errorf("checkpoint of %s: %w: witnesses alone have", l.origin, ErrSignature)
	}
	own := n.Sigs[i]
	raw, err := base64.StdEncoding.DecodeString(own.Base64)
	if err != nil || len(raw) < keyHashOctets+timeOctets {
		return Checkpoint{}, nil, fmt.Errorf("checkpoint of %s: %w", l.origin, ErrSignature)
	}
	c.Time = time.UnixMilli(int64(binary.BigEndian.Uint64(raw[keyHashOctets:]))).UTC()
	n.Sigs[0], n.Sigs[i] = own, n.Sigs[0]
	return c, n, nil
}

// TreeHead returns the log's signature under a note as RFC 6962 has it (get-sth, 4.3).
func (l *Log) TreeHead(text []byte) (*ct.SignedTreeHead, error) {
	_, n, err := l.open(text)
	if err != nil {
		return nil, err
	}
	raw, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil {
		return nil, fmt.Errorf("checkpoint of %s: %w", l.origin, err)
	}
	sth, err := treeHead([]byte(n.Text), raw[keyHashOctets:])
	if err != nil {
		return nil, err
	}
	sth.LogID = ct.SHA256Hash(l.id)
	return &sth.SignedTreeHead, nil
}

// Sign returns the signed note of the log's tree. key is the log's; at is cut to
// milliseconds. The note is verified before it is returned.
func (l *Log) Sign(key crypto.Signer, size int64, root tlog.Hash, at time.Time) ([]byte, error) {
	c := Checkpoint{Origin: l.origin, Size: size, Root: root}
	sth := ct.SignedTreeHead{Version: ct.V1, TreeSize: uint64(size), Timestamp: uint64(at.UnixMilli()), SHA256RootHash: ct.SHA256Hash(root)}
	input, err := ct.SerializeSTHSignatureInput(sth)
	if err != nil {
		return nil, fmt.Errorf("checkpoint of %s: %w", l.origin, err)
	}
	signed, err := DigitallySign(key, input)
	if err != nil {
		return nil, fmt.Errorf("signing checkpoint of %s: %w", l.origin, err)
	}
	octets := binary.BigEndian.AppendUint32(nil, l.hash)
	octets = binary.BigEndian.AppendUint64(octets, sth.Timestamp)
	octets = append(octets, signed...)
	text := []byte(c.Body() + "\n— " + l.origin + " " + base64.StdEncoding.EncodeToString(octets) + "\n")
	if _, err := l.Open(text); err != nil {
		return nil, fmt.Errorf("signed, but: %w", err)
	}
	return text, nil
}

// DigitallySign returns the digitally-signed struct of RFC 5246, 4.7, over input, by
// SHA-256 and ECDSA, as RFC 6962 (2.1.4) demands of logs.
func DigitallySign(key crypto.Signer, input []byte) ([]byte, error) {
	sum := sha256.Sum256(input)
	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return tls.Marshal(ct.DigitallySigned{Algorithm: tls.SignatureAndHashAlgorithm{Hash: tls.SHA256, Signature: tls.ECDSA}, Signature: signature})
}
