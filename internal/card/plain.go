package card

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cb "golang.org/x/crypto/cryptobyte/asn1"
)

// maxCommonName is ub-common-name (RFC 5280, appendix A).
const maxCommonName = 64

// PlainRequest is a request from a delivery file: the transport key that the
// bureau made in a card. Its proof of possession has been verified; that key
// and number belong together is vouched for by the signature over the file.
type PlainRequest struct {
	PublicKey crypto.PublicKey // *ecdsa.PublicKey (P-256, P-384) or *rsa.PublicKey
	Card      string           // card number, digits only
}

// NewPlainRequest returns the DER of a request for a transport key: subject CN
// is the card number, and there is no attribute.
func NewPlainRequest(key crypto.Signer, cardNumber string) ([]byte, error) {
	if err := checkNumber(cardNumber); err != nil {
		return nil, err
	}
	var w cryptobyte.Builder
	w.AddASN1(cb.SEQUENCE, func(w *cryptobyte.Builder) {
		w.AddASN1(cb.SET, func(w *cryptobyte.Builder) {
			w.AddASN1(cb.SEQUENCE, func(w *cryptobyte.Builder) {
				w.AddASN1ObjectIdentifier(oidCommonName)
				w.AddASN1(cb.PrintableString, func(w *cryptobyte.Builder) { w.AddBytes([]byte(cardNumber)) })
			})
		})
	})
	name, err := w.Bytes()
	if err != nil {
		return nil, fmt.Errorf("certification request: %w", err)
	}
	info, err := requestInfo(key.Public(), name, nil)
	if err != nil {
		return nil, err
	}
	return signRequest(key, info)
}

// ParsePlainRequest reads what [NewPlainRequest] writes. It also takes the
// number as UTF8String, which other tools of bureaus write. The limits are
// those of [ParseRequest], and its error wraps [ErrProof] under the same
// condition.
func ParsePlainRequest(der []byte) (*PlainRequest, error) {
	csr, err := parseRequest(der)
	if err != nil {
		return nil, err
	}
	attributes, err := attributesOf(csr.RawTBSCertificateRequest)
	if err != nil {
		return nil, err
	}
	if !attributes.Empty() {
		return nil, errors.New("certification request: an attribute where none is allowed")
	}
	number, err := commonNameOf(csr)
	if err != nil {
		return nil, err
	}
	// A request info of another form can't hide behind lenient parsing.
	want, err := requestInfo(csr.PublicKey, csr.RawSubject, nil)
	if err != nil {
		return nil, err
	}
	if string(want) != string(csr.RawTBSCertificateRequest) {
		return nil, errors.New("certification request: not in the one form allowed")
	}
	if err := prove(csr); err != nil {
		return nil, err
	}
	return &PlainRequest{PublicKey: csr.PublicKey, Card: number}, nil
}

// commonNameOf returns the card number in a subject that holds nothing else.
func commonNameOf(csr *x509.CertificateRequest) (string, error) {
	names := csr.Subject.Names
	if len(names) != 1 || !names[0].Type.Equal(oidCommonName) {
		return "", errors.New("certification request: subject is not one common name with the card number")
	}
	number, ok := names[0].Value.(string)
	if !ok {
		return "", errors.New("certification request: common name is no text")
	}
	return number, checkNumber(number)
}

func checkNumber(number string) error {
	if number == "" || len(number) > maxCommonName || strings.Trim(number, "0123456789") != "" {
		return errors.New("certification request: common name is no card number")
	}
	return nil
}
