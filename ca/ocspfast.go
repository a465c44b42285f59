package ca

import (
	"crypto"
	"crypto/x509"
	"fmt"
)

// OCSPQuestion is the usual request: one certificate, no extension, hashes by SHA-1
// or SHA-256. Its slices are parts of the request that it was read from.
type OCSPQuestion struct {
	// Issuer is the CertID up to the serial, as it was sent: the algorithm, with
	// its parameters or without, and the hashes. [OCSPIssuerForms] returns what
	// it can be.
	Issuer []byte
	Serial Serial
	Raw    []byte // the CertID
}

// A usual request has one length and one beginning for each form of its CertID:
// five SEQUENCEs around one another, then the algorithm and the head of the first
// OCTET STRING.
const (
	questionSHA1         = "\x30\x51\x30\x4f\x30\x4d\x30\x4b\x30\x49" + algorithmSHA1
	questionSHA1Absent   = "\x30\x4f\x30\x4d\x30\x4b\x30\x49\x30\x47" + algorithmSHA1Absent
	questionSHA256       = "\x30\x6d\x30\x6b\x30\x69\x30\x67\x30\x65" + algorithmSHA256
	questionSHA256Absent = "\x30\x6b\x30\x69\x30\x67\x30\x65\x30\x63" + algorithmSHA256Absent

	algorithmSHA1         = "\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00"
	algorithmSHA1Absent   = "\x30\x07\x06\x05\x2b\x0e\x03\x02\x1a"
	algorithmSHA256       = "\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00"
	algorithmSHA256Absent = "\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01"
)

const (
	questionID     = 8      // where its CertID begins
	questionIssuer = 10     // and that one's content
	questionSerial = 2 + 16 // INTEGER of 16 octets, at the end
)

// ReadOCSPQuestion reads the usual request without making anything on the heap. It
// is strict: false says only that [ParseOCSPRequest] must read der, and whatever is
// read here is read the same there (FuzzReadOCSPQuestion).
func ReadOCSPQuestion(der []byte) (OCSPQuestion, bool) {
	var head string
	switch len(der) {
	case 2 + 0x51:
		head = questionSHA1
	case 2 + 0x4f:
		head = questionSHA1Absent
	case 2 + 0x6d:
		head = questionSHA256
	case 2 + 0x6b:
		head = questionSHA256Absent
	default:
		return OCSPQuestion{}, false
	}
	size := (len(der) - len(head) - questionSerial) / 2 // of each OCTET STRING
	name, key, serial := len(head), len(head)+size, len(der)-questionSerial
	if string(der[:name]) != head ||
		der[name] != derOctets || int(der[name+1]) != size-2 ||
		der[key] != derOctets || int(der[key+1]) != size-2 ||
		der[serial] != 2 || der[serial+1] != 16 || der[serial+2]&0xc0 != 0x40 { // see SerialOf
		return OCSPQuestion{}, false
	}
	return OCSPQuestion{Issuer: der[questionIssuer:serial], Serial: Serial(der[serial+2:]), Raw: der[questionID:]}, true
}

// Question returns the CertID as one of a usual request, false if its serial or its
// algorithm can't be of this system.
func (id *CertID) Question() (OCSPQuestion, bool) {
	serial, ok := SerialOf(id.Serial)
	if !ok || id.Hash == 0 {
		return OCSPQuestion{}, false
	}
	// With such a serial the CertID is shorter than 128 octets.
	return OCSPQuestion{Issuer: id.Raw[2 : len(id.Raw)-questionSerial], Serial: serial, Raw: id.Raw}, true
}

// OCSPIssuerForms returns what [OCSPQuestion.Issuer] is for certificates of cert, in
// a fixed order: SHA-1 with parameters NULL and without parameters, SHA-256 likewise.
func OCSPIssuerForms(cert *x509.Certificate) ([]string, error) {
	var forms []string
	for _, each := range []struct {
		hash       crypto.Hash
		algorithms []string
	}{{crypto.SHA1, []string{algorithmSHA1, algorithmSHA1Absent}}, {crypto.SHA256, []string{algorithmSHA256, algorithmSHA256Absent}}} {
		name, key, err := IssuerHashes(cert, each.hash)
		if err != nil {
			return nil, fmt.Errorf("names of an issuer: %w", err)
		}
		head := string([]byte{derOctets, byte(each.hash.Size())})
		for _, algorithm := range each.algorithms {
			forms = append(forms, algorithm+head+name+head+key)
		}
	}
	return forms, nil
}

// OCSPRequestFor returns the usual request for the certificate with this serial;
// form is one of [OCSPIssuerForms].
func OCSPRequestFor(form string, s Serial) []byte {
	der := make([]byte, 0, questionIssuer+len(form)+questionSerial)
	for n := len(form) + questionSerial + 8; len(der) < questionIssuer; n -= 2 {
		der = append(der, derSequence, byte(n)) // below 128: see the forms
	}
	der = append(append(der, form...), 2, byte(len(s)))
	return append(der, s[:]...)
}
