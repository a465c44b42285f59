package crl

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
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Head is what a list says of itself, and what it was found to be.
type Head struct {
	RawIssuer  []byte // Name in DER
	ThisUpdate time.Time
	NextUpdate time.Time // zero: the list does not say
	// Number is nil if there is none. It is never negative and has at most 20
	// octets (RFC 5280, 5.2.3).
	Number         *big.Int
	AuthorityKeyID []byte // nil: none
	// DistributionPoint is the address that the list is for: the only name of an
	// issuing distribution point that is critical and says nothing else. Of any
	// other, Scope tells.
	DistributionPoint string
	Scope             Scope
	NextPublish       time.Time // Microsoft's Next CRL Publish; zero: none
	// DeltaBase is the number of the list that this one is a delta to; nil: the
	// list is complete for its scope.
	DeltaBase *big.Int
	// UnknownCritical are critical extensions of the list that are not
	// understood here. RFC 5280, 5.2: such a list can't be used to tell that a
	// certificate is good.
	UnknownCritical []asn1.ObjectIdentifier
	// CriticalEntries is how many entries have a critical extension that is not
	// understood here. If there is one, the list can't be used (RFC 5280, 5.3).
	CriticalEntries int
	Entries         int
	// Sorted says that all serials are positive and strictly increasing, as in
	// every list of this system; no other list needs to be.
	Sorted bool
	Size   int64    // of the whole list, in octets
	SHA256 [32]byte // of the whole list
}

// Scope is an issuing distribution point (RFC 5280, 5.2.5). A list that has
// one is about some of its issuer's certificates only.
type Scope struct {
	Present, Critical bool
	URIs              []string // of its full name
	OtherNames        bool     // it has names that are no URIs, or a relative name
	OnlyUserCerts     bool
	OnlyCACerts       bool
	OnlyAttributes    bool // attribute certificates
	OnlySomeReasons   bool
	Indirect          bool // entries may be about other issuers' certificates
}

// readExtensions reads crlExtensions, [0] EXPLICIT; the memory is kept.
func (h *Head) readExtensions(explicit []byte) error {
	in := cryptobyte.String(explicit)
	var outer, list cryptobyte.String
	if !in.ReadASN1(&outer, tagContext0Structured) || !in.Empty() ||
		!outer.ReadASN1(&list, cryptobyteasn1.SEQUENCE) || !outer.Empty() || list.Empty() {
		return errors.New("the extensions are not one filled SEQUENCE")
	}
	seen := map[string]bool{}
	for !list.Empty() {
		var body, value cryptobyte.String
		var id asn1.ObjectIdentifier
		critical := false
		if !list.ReadASN1(&body, cryptobyteasn1.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&id) {
			return errors.New("an extension has no identifier")
		}
		// DER leaves the default FALSE out, so only TRUE can stand here.
		if body.PeekASN1Tag(cryptobyteasn1.BOOLEAN) && (!body.ReadASN1Boolean(&critical) || !critical) {
			return fmt.Errorf("extension %v has a criticality that is not DER", id)
		}
		if !body.ReadASN1(&value, cryptobyteasn1.OCTET_STRING) || !body.Empty() {
			return fmt.Errorf("extension %v has no value", id)
		}
		if seen[id.String()] {
			return fmt.Errorf("extension %v stands twice", id)
		}
		seen[id.String()] = true
		if !h.readExtension(id, critical, value) {
			return fmt.Errorf("extension %v is not as RFC 5280 wants it", id)
		}
	}
	return nil
}

func (h *Head) readExtension(id asn1.ObjectIdentifier, critical bool, value cryptobyte.String) bool {
	switch id.String() {
	case "2.5.29.20": // cRLNumber
		return readNumber(value, &h.Number)
	case "2.5.29.27": // deltaCRLIndicator
		return readNumber(value, &h.DeltaBase)
	case "2.5.29.28": // issuingDistributionPoint
		h.Scope = Scope{Present: true, Critical: critical}
		if !h.Scope.read(value) {
			return false
		}
		s := h.Scope
		if critical && len(s.URIs) == 1 && !s.OtherNames && !s.OnlyUserCerts && !s.OnlyCACerts && !s.OnlyAttributes && !s.OnlySomeReasons && !s.Indirect {
			h.DistributionPoint = s.URIs[0]
		}
		return true
	case "2.5.29.35": // authorityKeyIdentifier
		return !critical && readKeyID(value, &h.AuthorityKeyID)
	case "1.3.6.1.4.1.311.21.4": // Next CRL Publish
		var body cryptobyte.String
		var tag cryptobyteasn1.Tag
		if !value.ReadAnyASN1(&body, &tag) || !value.Empty() {
			return false
		}
		at, ok := parseClock(byte(tag), body)
		if ok {
			h.NextPublish = at.time()
		}
		return ok
	}
	if critical {
		h.UnknownCritical = append(h.UnknownCritical, id)
	}
	return true
}

// readNumber reads a number of lists: not negative, 20 octets at most.
func readNumber(value cryptobyte.String, number **big.Int) bool {
	n := new(big.Int)
	if !value.ReadASN1Integer(n) || !value.Empty() || n.Sign() < 0 || n.BitLen() > 159 {
		return false
	}
	*number = n
	return true
}

// readKeyID reads the key identifier of an AuthorityKeyIdentifier (RFC 5280,
// 4.2.1.1), which may name the issuer's certificate besides or instead.
func readKeyID(value cryptobyte.String, id *[]byte) bool {
	var body, key cryptobyte.String
	var present bool
	if !value.ReadASN1(&body, cryptobyteasn1.SEQUENCE) || !value.Empty() || !body.ReadOptionalASN1(&key, &present, tagContext0) {
		return false
	}
	if present {
		*id = bytes.Clone(key)
	}
	return body.SkipOptionalASN1(tagContext1Structured) && body.SkipOptionalASN1(cryptobyteasn1.Tag(2).ContextSpecific()) && body.Empty()
}

func (s *Scope) read(value cryptobyte.String) bool {
	var body, point, names cryptobyte.String
	var present bool
	if !value.ReadASN1(&body, cryptobyteasn1.SEQUENCE) || !value.Empty() || !body.ReadOptionalASN1(&point, &present, tagContext0Structured) {
		return false
	}
	if present {
		if point.PeekASN1Tag(tagContext1Structured) { // nameRelativeToCRLIssuer
			s.OtherNames = true
			if !point.SkipASN1(tagContext1Structured) {
				return false
			}
		} else if !point.ReadASN1(&names, tagContext0Structured) || names.Empty() {
			return false
		}
		if !point.Empty() {
			return false
		}
	}
	for !names.Empty() {
		var name cryptobyte.String
		var tag cryptobyteasn1.Tag
		if !names.ReadAnyASN1(&name, &tag) {
			return false
		}
		if tag == tagContext6 && len(name) > 0 {
			s.URIs = append(s.URIs, string(name))
		} else {
			s.OtherNames = true
		}
	}
	for tag, flag := range []*bool{1: &s.OnlyUserCerts, 2: &s.OnlyCACerts, 3: &s.OnlySomeReasons, 4: &s.Indirect, 5: &s.OnlyAttributes} {
		if flag == nil {
			continue
		}
		var content cryptobyte.String
		if !body.ReadOptionalASN1(&content, flag, cryptobyteasn1.Tag(tag).ContextSpecific()) {
			return false
		}
		// Of BOOLEANs DER leaves the default FALSE out; 3 is a BIT STRING.
		if *flag && tag != 3 && !bytes.Equal(content, []byte{0xff}) {
			return false
		}
	}
	return body.Empty()
}

// signatureAlgorithm is an AlgorithmIdentifier of a signature.
type signatureAlgorithm struct {
	family x509.PublicKeyAlgorithm
	hash   crypto.Hash // 0: Ed25519
	pss    bool
}

// parseAlgorithm reads an AlgorithmIdentifier with the parameters that RFC 4055,
// 5758 and 8410 want, to the octet. SHA-1 is not known: what it signs can be
// forged.
func parseAlgorithm(der []byte) (signatureAlgorithm, error) {
	in := cryptobyte.String(der)
	var body cryptobyte.String
	var id asn1.ObjectIdentifier
	if !in.ReadASN1(&body, cryptobyteasn1.SEQUENCE) || !in.Empty() || !body.ReadASN1ObjectIdentifier(&id) {
		return signatureAlgorithm{}, errors.New("the signature algorithm is not one in DER")
	}
	null := bytes.Equal(body, []byte{5, 0})
	switch name := id.String(); {
	case name == "1.2.840.10045.4.3.2" && body.Empty():
		return signatureAlgorithm{family: x509.ECDSA, hash: crypto.SHA256}, nil
	case name == "1.2.840.10045.4.3.3" && body.Empty():
		return signatureAlgorithm{family: x509.ECDSA, hash: crypto.SHA384}, nil
	case name == "1.2.840.10045.4.3.4" && body.Empty():
		return signatureAlgorithm{family: x509.ECDSA, hash: crypto.SHA512}, nil
	case name == "1.2.840.113549.1.1.11" && null:
		return signatureAlgorithm{family: x509.RSA, hash: crypto.SHA256}, nil
	case name == "1.2.840.113549.1.1.12" && null:
		return signatureAlgorithm{family: x509.RSA, hash: crypto.SHA384}, nil
	case name == "1.2.840.113549.1.1.13" && null:
		return signatureAlgorithm{family: x509.RSA, hash: crypto.SHA512}, nil
	case name == "1.3.101.112" && body.Empty():
		return signatureAlgorithm{family: x509.Ed25519}, nil
	case name == "1.2.840.113549.1.1.10":
		if hash := parsePSS(body); hash != 0 {
			return signatureAlgorithm{family: x509.RSA, hash: hash, pss: true}, nil
		}
	}
	return signatureAlgorithm{}, fmt.Errorf("signature algorithm %v with these parameters is not supported", id)
}

// parsePSS reads RSASSA-PSS-params (RFC 4055, 3.1) and returns the hash if it is
// used for everything and the salt is as long, which is all that is in use; else 0.
func parsePSS(params cryptobyte.String) crypto.Hash {
	for octet, hash := range map[byte]crypto.Hash{1: crypto.SHA256, 2: crypto.SHA384, 3: crypto.SHA512} {
		sha := []byte{0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, octet, 5, 0}
		mgf1 := append([]byte{0x30, 0x1a, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8}, sha...)
		want := append([]byte{0x30, 0x34, 0xa0, 0x0f}, sha...)
		want = append(append(want, 0xa1, 0x1c), mgf1...)
		want = append(want, 0xa2, 3, 2, 1, byte(hash.Size()))
		if bytes.Equal(params, want) {
			return hash
		}
	}
	return 0
}
