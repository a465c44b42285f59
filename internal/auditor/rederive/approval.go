package rederive

import (
	"crypto"
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
	*Signer
	Act string // order.place or order.approve
	By  string // person id, or officer:1
	At  time.Time
}

// Signer is a certificate that one of the CAs has signed and that carries the log's
// promise, as one who signs statements. Whose it is, and whether it is in the log, is for
// the caller to know.
type Signer struct {
	key         crypto.PublicKey
	Fingerprint string // hexadecimal
	Serial      string
	Leaf        string // hash of the leaf that the log must have for it, hexadecimal
	NotBefore   time.Time
	NotAfter    time.Time
}

// NewSigner reads the certificate of a signer. It is slow beside the rest: who sees the
// same signers again and again keeps them.
func NewSigner(der []byte, issuers *Issuers, log *checkpoint.Log) (*Signer, error) {
	cert, err := x509.ParseCertificate(der)
	if x509.IsFatal(err) {
		return nil, errors.New("its certificate is none")
	}
	entry, err := LeafOf(der, issuers, log)
	if err != nil {
		return nil, errors.New("its certificate is not the CA's, or not in the log")
	}
	serial, _ := ca.SerialOf(cert.SerialNumber)
	fingerprint := sha256.Sum256(der)
	return &Signer{key: cert.PublicKey, Fingerprint: hex.EncodeToString(fingerprint[:]), Serial: serial.String(), Leaf: hex.EncodeToString(entry.Hash[:]),
		NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}, nil
}

// Verify checks that a statement is one about this order (document is its bytes) and that
// its signature is that of the signer, whose certificate stands with it.
func (s Statement) Verify(d *Document, document []byte, by *Signer) (Signature, error) {
	st, err := statement.Parse(s.Content)
	if err != nil {
		return Signature{}, errors.New("it is not in the form of a statement")
	}
	switch {
	case st.Act != statement.ActPlace && st.Act != statement.ActApprove:
		return Signature{}, errors.New("it neither places nor approves an order")
	case st.Subject != d.Order || st.Content != sha256.Sum256(document):
		return Signature{}, errors.New("it is about another order")
	case st.For != d.Person || st.Card != d.Card:
		return Signature{}, errors.New("it is for another person or card")
	}
	if err := statement.Verify(by.key, s.Content, s.Signature); err != nil {
		return Signature{}, errors.New("its signature does not verify")
	}
	return Signature{Act: st.Act, By: st.By, At: st.At, Signer: by}, nil
}

// Says checks that it is the statement that is wanted, whoever made it and when (its By
// and At are not looked at), and that its signature is that of the signer.
func (s Statement) Says(want statement.Statement, by *Signer) (Signature, error) {
	st, err := statement.Parse(s.Content)
	if err != nil {
		return Signature{}, errors.New("it is not in the form of a statement")
	}
	if want.By, want.At = st.By, st.At; st != want {
		return Signature{}, errors.New("its statement is about something else")
	}
	if err := statement.Verify(by.key, s.Content, s.Signature); err != nil {
		return Signature{}, errors.New("its signature does not verify")
	}
	return Signature{Act: st.Act, By: st.By, At: st.At, Signer: by}, nil
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
