// Package read reads what issuers tell relying parties: OCSP answers, revocation
// lists, and what certificates say of status: where it is told, and of logs. It
// verifies who signed answers and lists, and shares no code with what writes them
// but the reader of lists, which shares none either. It knows nothing of time, trust or policy: whether what was read is in
// force, and what it means, is for its caller.
package read

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca"
)

// Limits of an OCSP answer. One of a single certificate, with the signer's, is
// about a kilobyte; some responders add their chain.
const (
	maxOCSPAnswer  = 64 << 10
	maxOCSPSingles = 64
	maxOCSPCerts   = 8 // each costs a signature to try
)

var (
	oidBasicOCSP     = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidNonce         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidArchiveCutoff = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 6}
	oidHashSHA1      = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidHashSHA256    = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

// ErrNotAbout is a true answer to another question.
var ErrNotAbout = errors.New("the answer is about another certificate")

// errForm is an answer that is not what RFC 6960 says.
var errForm = errors.New("it is not an OCSP response in DER")

// ErrorStatus is the status of an answer that is none (RFC 6960, 4.2.1). Nobody
// signs it, so that it proves no more than silence.
type ErrorStatus int

func (e ErrorStatus) Error() string {
	words := map[ErrorStatus]string{1: "malformedRequest", 2: "internalError", 3: "tryLater", 5: "sigRequired", 6: "unauthorized"}
	if w, ok := words[e]; ok {
		return "the responder says " + w
	}
	return fmt.Sprintf("the responder says error %d", int(e))
}

// Answer is an OCSP response as it was read. Nothing in it is to be believed
// before Verify has returned nil.
type Answer struct {
	ProducedAt time.Time
	Singles    []Single
	Nonce      []byte // value of the extension; nil without one
	Octets     int
	Signer     Signer // set by Verify

	tbs       []byte
	algorithm x509.SignatureAlgorithm
	signature []byte
	certs     []*x509.Certificate
}

// Single is what an answer says of one certificate.
type Single struct {
	Status                 ca.OCSPStatus
	At                     time.Time // of the revocation
	Reason                 ca.Reason
	ThisUpdate, NextUpdate time.Time // NextUpdate is zero if it does not say
	ArchiveCutoff          time.Time // zero: none

	hash              crypto.Hash // 0: not known here
	nameHash, keyHash []byte
	serial            *big.Int
}

// Signer is what is kept of who signed an answer: a certificate is several
// kilobytes in memory, and a cache holds many answers of one signer.
type Signer struct {
	Name                string // common name
	NotBefore, NotAfter time.Time
}

// signedBy notes who signed, and lets go of what was needed to find out.
func (a *Answer) signedBy(cert *x509.Certificate) {
	a.Signer = Signer{cert.Subject.CommonName, cert.NotBefore, cert.NotAfter}
	a.tbs, a.signature, a.certs = nil, nil, nil
}

// OCSP reads an OCSPResponse. It is not x/crypto/ocsp, which takes the first
// certificate in an answer for the signer's (and so refuses answers that carry
// their CA's too), knows no RSA-PSS and no nonce.
func OCSP(der []byte) (*Answer, error) {
	if len(der) > maxOCSPAnswer {
		return nil, fmt.Errorf("it has %d octets, which is no OCSP response", len(der))
	}
	in := cryptobyte.String(der)
	var response, wrapped, typed, basic cryptobyte.String
	var oid asn1.ObjectIdentifier
	var status int
	if !in.ReadASN1(&response, cbasn1.SEQUENCE) || !in.Empty() || !response.ReadASN1Enum(&status) {
		return nil, errForm
	}
	if status != 0 {
		return nil, ErrorStatus(status)
	}
	if !response.ReadASN1(&wrapped, explicit(0)) || !response.Empty() ||
		!wrapped.ReadASN1(&typed, cbasn1.SEQUENCE) || !wrapped.Empty() ||
		!typed.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidBasicOCSP) ||
		!typed.ReadASN1(&basic, cbasn1.OCTET_STRING) || !typed.Empty() {
		return nil, errForm
	}
	a := &Answer{Octets: len(der)}
	return a, a.readBasic(basic)
}

func explicit(n uint8) cbasn1.Tag { return cbasn1.Tag(n).ContextSpecific().Constructed() }

// readBasic reads BasicOCSPResponse.
func (a *Answer) readBasic(in cryptobyte.String) error {
	var body, tbs, algorithm, wrapped, certs cryptobyte.String
	var signature asn1.BitString
	var hasCerts bool
	if !in.ReadASN1(&body, cbasn1.SEQUENCE) || !in.Empty() ||
		!body.ReadASN1Element(&tbs, cbasn1.SEQUENCE) ||
		!body.ReadASN1Element(&algorithm, cbasn1.SEQUENCE) ||
		!body.ReadASN1BitString(&signature) ||
		!body.ReadOptionalASN1(&wrapped, &hasCerts, explicit(0)) || !body.Empty() {
		return errForm
	}
	if hasCerts && (!wrapped.ReadASN1(&certs, cbasn1.SEQUENCE) || !wrapped.Empty()) {
		return errForm
	}
	var err error
	if a.algorithm, err = signatureAlgorithm(algorithm); err != nil {
		return err
	}
	a.tbs, a.signature = bytes.Clone(tbs), signature.RightAlign()
	for !certs.Empty() {
		var der cryptobyte.String
		if len(a.certs) == maxOCSPCerts || !certs.ReadASN1Element(&der, cbasn1.SEQUENCE) {
			return errForm
		}
		// One that this program cannot read is not the signer's; another may be.
		if cert, err := x509.ParseCertificate(der); err == nil {
			a.certs = append(a.certs, cert)
		}
	}
	return a.readData(tbs)
}

// readData reads ResponseData.
func (a *Answer) readData(tbs cryptobyte.String) error {
	var data, version, name, list cryptobyte.String
	var by cbasn1.Tag
	var hasVersion bool
	if !tbs.ReadASN1(&data, cbasn1.SEQUENCE) ||
		!data.ReadOptionalASN1(&version, &hasVersion, explicit(0)) ||
		hasVersion && !bytes.Equal(version, []byte{2, 1, 0}) {
		return errForm
	}
	// Whoever the responder says to be, its signature shows who it is.
	if !data.ReadAnyASN1(&name, &by) || by != explicit(1) && by != explicit(2) {
		return errForm
	}
	if !data.ReadASN1GeneralizedTime(&a.ProducedAt) || !data.ReadASN1(&list, cbasn1.SEQUENCE) {
		return errForm
	}
	for !list.Empty() {
		if len(a.Singles) == maxOCSPSingles {
			return errForm
		}
		single, err := readSingle(&list)
		if err != nil {
			return err
		}
		a.Singles = append(a.Singles, single)
	}
	err := readExtensions(&data, 1, func(oid asn1.ObjectIdentifier, value cryptobyte.String) bool {
		if oid.Equal(oidNonce) && a.Nonce == nil {
			a.Nonce = append([]byte{}, value...)
			return true
		}
		return false
	})
	if err != nil || !data.Empty() {
		return errors.Join(err, whether(!data.Empty(), errForm))
	}
	return nil
}

func whether(is bool, err error) error {
	if is {
		return err
	}
	return nil
}

// readExtensions reads Extensions under an explicit tag, if there are any. Each
// is offered to take; a critical one that it does not take is refused.
func readExtensions(in *cryptobyte.String, tag uint8, take func(asn1.ObjectIdentifier, cryptobyte.String) bool) error {
	var wrapped, list cryptobyte.String
	var present bool
	if !in.ReadOptionalASN1(&wrapped, &present, explicit(tag)) {
		return errForm
	}
	if present && (!wrapped.ReadASN1(&list, cbasn1.SEQUENCE) || !wrapped.Empty()) {
		return errForm
	}
	for !list.Empty() {
		var ext, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		var critical bool
		if !list.ReadASN1(&ext, cbasn1.SEQUENCE) || !ext.ReadASN1ObjectIdentifier(&oid) ||
			ext.PeekASN1Tag(cbasn1.BOOLEAN) && !ext.ReadASN1Boolean(&critical) ||
			!ext.ReadASN1(&value, cbasn1.OCTET_STRING) || !ext.Empty() {
			return errForm
		}
		if !take(oid, value) && critical {
			return fmt.Errorf("critical extension %v is not known", oid)
		}
	}
	return nil
}

// readSingle reads a SingleResponse.
func readSingle(list *cryptobyte.String) (Single, error) {
	s := Single{serial: new(big.Int)}
	var body, id, algorithm, name, key cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !list.ReadASN1(&body, cbasn1.SEQUENCE) || !body.ReadASN1(&id, cbasn1.SEQUENCE) ||
		!id.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&oid) ||
		!id.ReadASN1(&name, cbasn1.OCTET_STRING) || !id.ReadASN1(&key, cbasn1.OCTET_STRING) ||
		!id.ReadASN1Integer(s.serial) || !id.Empty() {
		return s, errForm
	}
	s.nameHash, s.keyHash = bytes.Clone(name), bytes.Clone(key)
	switch {
	case oid.Equal(oidHashSHA1):
		s.hash = crypto.SHA1
	case oid.Equal(oidHashSHA256):
		s.hash = crypto.SHA256
	}
	if !s.readStatus(&body) || !body.ReadASN1GeneralizedTime(&s.ThisUpdate) {
		return s, errForm
	}
	var next cryptobyte.String
	var hasNext bool
	if !body.ReadOptionalASN1(&next, &hasNext, explicit(0)) ||
		hasNext && (!next.ReadASN1GeneralizedTime(&s.NextUpdate) || !next.Empty()) {
		return s, errForm
	}
	wrong := false
	err := readExtensions(&body, 1, func(oid asn1.ObjectIdentifier, value cryptobyte.String) bool {
		if !oid.Equal(oidArchiveCutoff) {
			return false
		}
		wrong = !value.ReadASN1GeneralizedTime(&s.ArchiveCutoff) || !value.Empty()
		return true
	})
	return s, errors.Join(err, whether(wrong || !body.Empty(), errForm))
}

// readStatus reads CertStatus.
func (s *Single) readStatus(in *cryptobyte.String) bool {
	var body cryptobyte.String
	switch {
	case in.PeekASN1Tag(cbasn1.Tag(0).ContextSpecific()):
		s.Status = ca.OCSPGood
		return in.ReadASN1(&body, cbasn1.Tag(0).ContextSpecific()) && body.Empty()
	case in.PeekASN1Tag(cbasn1.Tag(2).ContextSpecific()):
		s.Status = ca.OCSPUnknown
		return in.ReadASN1(&body, cbasn1.Tag(2).ContextSpecific()) && body.Empty()
	}
	s.Status = ca.OCSPRevoked
	var reason cryptobyte.String
	var hasReason bool
	var code int
	if !in.ReadASN1(&body, explicit(1)) || !body.ReadASN1GeneralizedTime(&s.At) ||
		!body.ReadOptionalASN1(&reason, &hasReason, explicit(0)) || !body.Empty() ||
		hasReason && (!reason.ReadASN1Enum(&code) || !reason.Empty()) {
		return false
	}
	s.Reason = ca.Reason(code)
	return true
}
