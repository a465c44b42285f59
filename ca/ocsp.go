package ca

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Tags of RFC 6960.
var (
	tagContext0           = cryptobyteasn1.Tag(0).ContextSpecific()
	tagContext0Structured = tagContext0.Constructed()
	tagContext1Structured = cryptobyteasn1.Tag(1).ContextSpecific().Constructed()
	tagContext2Structured = cryptobyteasn1.Tag(2).ContextSpecific().Constructed()
)

var (
	oidOCSPNonce   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidOCSPNoCheck = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
	oidSHA1        = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256      = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

// Limits of an OCSP request. A request needs about 80 octets a certificate and
// at most 140 for a nonce; what is longer is not a question.
const (
	MaxOCSPRequest = 4096 // octets
	maxOCSPCertIDs = 16   // each costs a read of the database
	maxNonce       = 128  // octets (RFC 9654, 2.1)
)

// OCSPStatus is the status of one certificate in an answer (RFC 6960, 2.2).
type OCSPStatus int

// The zero status is unknown: what was not decided is never good.
const (
	OCSPUnknown OCSPStatus = iota
	OCSPGood
	OCSPRevoked
)

func (s OCSPStatus) String() string {
	switch s {
	case OCSPGood:
		return "good"
	case OCSPRevoked:
		return "revoked"
	}
	return "unknown"
}

// OCSPErrorStatus is the responseStatus of an answer that says nothing of a
// certificate (RFC 6960, 4.2.1).
type OCSPErrorStatus byte

const (
	OCSPMalformedRequest OCSPErrorStatus = 1
	OCSPInternalError    OCSPErrorStatus = 2
	OCSPTryLater         OCSPErrorStatus = 3
	OCSPUnauthorized     OCSPErrorStatus = 6
)

// OCSPError returns the unsigned answer with this status.
func OCSPError(s OCSPErrorStatus) []byte { return []byte{0x30, 0x03, 0x0a, 0x01, byte(s)} }

// CertID names a certificate by its issuer's hashes and its serial.
type CertID struct {
	Hash     crypto.Hash // SHA-1 or SHA-256; 0 for an algorithm that is not known here
	NameHash string      // octets
	KeyHash  string      // octets
	Serial   *big.Int
	// Raw is the DER as the client sent it. The answer repeats it, because
	// clients compare it byte by byte, parameters of the hash included.
	Raw []byte
}

// OCSPRequest is a question of a relying party.
type OCSPRequest struct {
	CertIDs []CertID // one or more
	// Nonce is the value of the nonce extension as it was sent, for the answer
	// to repeat; nil without one.
	Nonce []byte
}

var errOCSPSyntax = errors.New("ocsp request: not an OCSPRequest in DER")

// ParseOCSPRequest reads an OCSPRequest (RFC 6960, 4.1.1). A requestor's name
// and signature are checked for their form and otherwise ignored: status is
// public. A critical extension that is not known is refused.
func ParseOCSPRequest(der []byte) (*OCSPRequest, error) {
	if len(der) > MaxOCSPRequest {
		return nil, fmt.Errorf("ocsp request: %d octets are too many", len(der))
	}
	in := cryptobyte.String(der)
	var request, tbs, list cryptobyte.String
	if !in.ReadASN1(&request, cryptobyteasn1.SEQUENCE) || !in.Empty() ||
		!request.ReadASN1(&tbs, cryptobyteasn1.SEQUENCE) ||
		!request.SkipOptionalASN1(tagContext0Structured) || !request.Empty() { // optionalSignature
		return nil, errOCSPSyntax
	}
	// version is DEFAULT v1 and there is no other; DER leaves a default out, but
	// some clients write it.
	var version cryptobyte.String
	var hasVersion bool
	if !tbs.ReadOptionalASN1(&version, &hasVersion, tagContext0Structured) ||
		hasVersion && !bytes.Equal(version, []byte{2, 1, 0}) ||
		!tbs.SkipOptionalASN1(tagContext1Structured) || // requestorName
		!tbs.ReadASN1(&list, cryptobyteasn1.SEQUENCE) {
		return nil, errOCSPSyntax
	}
	out := &OCSPRequest{}
	if err := out.readCertIDs(list); err != nil {
		return nil, err
	}
	if err := out.readExtensions(&tbs); err != nil {
		return nil, err
	}
	if !tbs.Empty() {
		return nil, errOCSPSyntax
	}
	return out, nil
}

func (r *OCSPRequest) readCertIDs(list cryptobyte.String) error {
	for !list.Empty() {
		if len(r.CertIDs) == maxOCSPCertIDs {
			return fmt.Errorf("ocsp request: more than %d certificates", maxOCSPCertIDs)
		}
		var one, raw cryptobyte.String
		if !list.ReadASN1(&one, cryptobyteasn1.SEQUENCE) ||
			!one.ReadASN1Element(&raw, cryptobyteasn1.SEQUENCE) {
			return errOCSPSyntax
		}
		id, ok := parseCertID(raw)
		if !ok {
			return errOCSPSyntax
		}
		// singleRequestExtensions: none is known here.
		_, err := readOCSPExtensions(&one, tagContext0Structured, nil)
		if err != nil {
			return err
		}
		if !one.Empty() {
			return errOCSPSyntax
		}
		r.CertIDs = append(r.CertIDs, id)
	}
	if len(r.CertIDs) == 0 {
		return errOCSPSyntax
	}
	return nil
}

func parseCertID(raw cryptobyte.String) (CertID, bool) {
	id := CertID{Raw: bytes.Clone(raw), Serial: new(big.Int)}
	var body, algorithm, name, key cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !raw.ReadASN1(&body, cryptobyteasn1.SEQUENCE) || !raw.Empty() ||
		!body.ReadASN1(&algorithm, cryptobyteasn1.SEQUENCE) ||
		!algorithm.ReadASN1ObjectIdentifier(&oid) ||
		!body.ReadASN1(&name, cryptobyteasn1.OCTET_STRING) ||
		!body.ReadASN1(&key, cryptobyteasn1.OCTET_STRING) ||
		!body.ReadASN1Integer(id.Serial) || !body.Empty() {
		return CertID{}, false
	}
	switch {
	case oid.Equal(oidSHA1):
		id.Hash = crypto.SHA1
	case oid.Equal(oidSHA256):
		id.Hash = crypto.SHA256
	}
	if id.Hash != 0 {
		// Parameters are NULL or absent, so that a CertID has two forms and not
		// as many as a client cares to invent.
		if !algorithm.Empty() && !bytes.Equal(algorithm, []byte{5, 0}) ||
			len(name) != id.Hash.Size() || len(key) != id.Hash.Size() {
			return CertID{}, false
		}
	}
	id.NameHash, id.KeyHash = string(name), string(key)
	return id, true
}

func (r *OCSPRequest) readExtensions(tbs *cryptobyte.String) error {
	value, err := readOCSPExtensions(tbs, tagContext2Structured, oidOCSPNonce)
	if err != nil || value == nil {
		return err
	}
	// RFC 9654 puts an OCTET STRING into the extension's; older clients put the
	// nonce there itself. Of a nonce that is neither too short nor too long the
	// form does not matter: it is repeated as it came.
	nonce := cryptobyte.String(value)
	var inner cryptobyte.String
	if !nonce.ReadASN1(&inner, cryptobyteasn1.OCTET_STRING) || !nonce.Empty() {
		inner = value
	}
	if len(inner) < 1 || len(inner) > maxNonce {
		return fmt.Errorf("ocsp request: nonce of %d octets", len(inner))
	}
	r.Nonce = value
	return nil
}

// readOCSPExtensions reads Extensions under an explicit tag, if they are there,
// and returns the value of the extension want, nil if it is absent.
func readOCSPExtensions(in *cryptobyte.String, tag cryptobyteasn1.Tag, want asn1.ObjectIdentifier) ([]byte, error) {
	var wrapped, list cryptobyte.String
	var present bool
	if !in.ReadOptionalASN1(&wrapped, &present, tag) {
		return nil, errOCSPSyntax
	}
	if !present {
		return nil, nil
	}
	if !wrapped.ReadASN1(&list, cryptobyteasn1.SEQUENCE) || !wrapped.Empty() || list.Empty() {
		return nil, errOCSPSyntax
	}
	var found []byte
	for !list.Empty() {
		var ext, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		var critical bool
		if !list.ReadASN1(&ext, cryptobyteasn1.SEQUENCE) ||
			!ext.ReadASN1ObjectIdentifier(&oid) ||
			ext.PeekASN1Tag(cryptobyteasn1.BOOLEAN) && !ext.ReadASN1Boolean(&critical) ||
			!ext.ReadASN1(&value, cryptobyteasn1.OCTET_STRING) || !ext.Empty() {
			return nil, errOCSPSyntax
		}
		switch {
		case want != nil && oid.Equal(want):
			if found != nil {
				return nil, fmt.Errorf("ocsp request: extension %s is there twice", oid)
			}
			found = append([]byte{}, value...)
		case critical:
			return nil, fmt.Errorf("ocsp request: critical extension %s is not known", oid)
		}
	}
	return found, nil
}
