package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cb "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/policy"
)

// LabelPrefix begins the label of every object that this package writes, so
// that they are told apart from what a bureau or another middleware put there.
const LabelPrefix = "sigill "

func labelOf(slot policy.Slot) string { return LabelPrefix + string(slot) }

// oidCardNumber is the extension with the card number (SIS, SS 61 43 32).
var oidCardNumber = asn1.ObjectIdentifier{1, 2, 752, 34, 2, 1}

// NumberOf returns the card number in a certificate, or "".
func NumberOf(cert *x509.Certificate) string {
	for _, e := range cert.Extensions {
		if !e.Id.Equal(oidCardNumber) {
			continue
		}
		value := cryptobyte.String(e.Value)
		var number []byte
		if value.ReadASN1Bytes(&number, cb.PrintableString) && value.Empty() {
			if n, err := policy.ParseCardNumber(string(number)); err == nil {
				return string(n)
			}
		}
	}
	return ""
}

var numberInLabel = regexp.MustCompile(`\b9752[0-9]{15}\b`)

// numberOf finds the card number in certificates, or else in labels.
func numberOf(objects []Object, labels ...string) string {
	for _, o := range objects {
		if cert, err := x509.ParseCertificate(o.Certificate); err == nil {
			if n := NumberOf(cert); n != "" {
				return n
			}
		}
	}
	return numberInLabel.FindString(strings.Join(labels, " "))
}

// slotOf tells the slot of an object from its label, or else from its
// certificate: a signing certificate has contentCommitment and nothing else.
func slotOf(label string, certificate []byte) policy.Slot {
	if name, ok := strings.CutPrefix(label, LabelPrefix); ok {
		for _, s := range []policy.Slot{policy.Authentication, policy.Signing, policy.Transport} {
			if strings.HasPrefix(name, string(s)) {
				return s
			}
		}
	}
	if cert, err := x509.ParseCertificate(certificate); err == nil && cert.KeyUsage == x509.KeyUsageContentCommitment {
		return policy.Signing
	}
	return policy.Authentication
}

// SameKey reports whether two public keys are equal; nil equals nothing.
func SameKey(a, b crypto.PublicKey) bool {
	switch a := a.(type) {
	case *ecdsa.PublicKey:
		return a != nil && a.Equal(b)
	case *rsa.PublicKey:
		return a != nil && a.Equal(b)
	}
	return false
}

// certificateFor parses der and checks that it is public's.
func certificateFor(public crypto.PublicKey, der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate for the card: %w", err)
	}
	if !SameKey(public, cert.PublicKey) {
		return nil, errors.New("the certificate belongs to another key")
	}
	return cert, nil
}
