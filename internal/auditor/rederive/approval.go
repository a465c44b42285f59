package rederive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/google/certificate-transparency-go/x509"
	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca"
	"sigill/internal/checkpoint"
	"sigill/internal/statement"
)

// Statement is a signature behind an order, with the certificate that verifies it.
type Statement struct {
	Content     []byte
	Signature   []byte
	Certificate []byte // DER
}

// Signature is a statement that verifies over an order.
type Signature struct {
	Act     string // order.place or order.approve
	By      string // person id, or officer:1
	At      time.Time
	Content string // SHA-256 of what was signed, hexadecimal
	// Certificate is the fingerprint of the signer's, Serial its serial and Leaf the hash
	// of the leaf that the log must have for it.
	Certificate string
	Serial      string
	Leaf        string
	NotBefore   time.Time
	NotAfter    time.Time
}

// Verify checks that a statement is one about this order (document is its bytes), that
// its signature verifies under its certificate, and that the certificate is one that the
// given CAs have signed and that carries the log's promise. Whose certificate it is, and
// whether it is in the log, is for the caller to know.
func (s Statement) Verify(d *Document, document []byte, issuers *Issuers, log *checkpoint.Log) (Signature, error) {
	var out Signature
	st, err := statement.Parse(s.Content)
	if err != nil {
		return out, errors.New("it is not in the form of a statement")
	}
	switch {
	case st.Act != statement.ActPlace && st.Act != statement.ActApprove:
		return out, errors.New("it neither places nor approves an order")
	case st.Subject != d.Order || st.Content != sha256.Sum256(document):
		return out, errors.New("it is about another order")
	case st.For != d.Person || st.Card != d.Card:
		return out, errors.New("it is for another person or card")
	}
	cert, err := x509.ParseCertificate(s.Certificate)
	if x509.IsFatal(err) {
		return out, errors.New("its certificate is none")
	}
	if err := statement.Verify(cert.PublicKey, s.Content, s.Signature); err != nil {
		return out, errors.New("its signature does not verify")
	}
	entry, err := LeafOf(s.Certificate, issuers, log)
	if err != nil {
		return out, errors.New("its certificate is not the CA's, or not in the log")
	}
	serial, _ := ca.SerialOf(cert.SerialNumber)
	content, fingerprint := sha256.Sum256(s.Content), sha256.Sum256(s.Certificate)
	return Signature{Act: st.Act, By: st.By, At: st.At, Content: hex.EncodeToString(content[:]), Certificate: hex.EncodeToString(fingerprint[:]),
		Serial: serial.String(), Leaf: hex.EncodeToString(entry.Hash[:]), NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}, nil
}

// Serial returns the serial number of the entry's certificate, 32 hexadecimal digits,
// and false if it has none that a certificate here can have. It reads no further.
func (e Entry) Serial() (string, bool) {
	in, body := cryptobyte.String(e.TBS), cryptobyte.String(nil)
	var octets []byte
	if !in.ReadASN1(&body, casn1.SEQUENCE) || !body.SkipASN1(casn1.Tag(0).ContextSpecific().Constructed()) || !body.ReadASN1Integer(&octets) {
		return "", false
	}
	var s ca.Serial
	if len(octets) != len(s) || octets[0] < 0x40 {
		return "", false
	}
	copy(s[:], octets)
	return s.String(), true
}
