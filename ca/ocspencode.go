package ca

import (
	"errors"
	"time"
)

// What follows writes an OCSP answer forward into one buffer, with the length of
// each part known before it is begun: an answer is signed for every certificate that
// somebody asks about, and a builder that moves what it has written costs as much as
// the signature.

// Parts of an answer that never change.
const (
	derBasicOID   = "\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01" // id-pkix-ocsp-basic
	derNonceOID   = "\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x02" // id-pkix-ocsp-nonce
	derSuccessful = "\x0a\x01\x00"
	// singleExtensions up to the time of the archive cutoff.
	derArchiveCutoff = "\xa1\x22\x30\x20\x30\x1e\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x06\x04\x11"
)

// Tags.
const (
	derSequence    = 0x30
	derOctets      = 0x04
	derBits        = 0x03
	derTime        = 0x18 // GeneralizedTime
	derContext0    = 0xa0
	derContext1    = 0xa1
	derContext2    = 0xa2
	derTimeSize    = 17 // with tag and length
	derArchiveSize = len(derArchiveCutoff) + derTimeSize
)

// elementSize is the size of an element with n octets of content.
func elementSize(n int) int {
	switch {
	case n < 1<<7:
		return n + 2
	case n < 1<<8:
		return n + 3
	case n < 1<<16:
		return n + 4
	}
	return n + 5
}

// beginElement appends tag and length of an element with n octets of content, n
// below 2²⁴.
func beginElement(b []byte, tag byte, n int) []byte {
	switch {
	case n < 1<<7:
		return append(b, tag, byte(n))
	case n < 1<<8:
		return append(b, tag, 0x81, byte(n))
	case n < 1<<16:
		return append(b, tag, 0x82, byte(n>>8), byte(n))
	}
	return append(b, tag, 0x83, byte(n>>16), byte(n>>8), byte(n))
}

// appendOCSPTime appends a GeneralizedTime without fractions (RFC 5019, 2.2.4).
func appendOCSPTime(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(append(b, derTime, derTimeSize-2), "20060102150405Z")
}

var errOCSPTime = errors.New("a time is not in the years 1 to 9999")

func isTime(t time.Time) bool { y := t.UTC().Year(); return y >= 1 && y <= 9999 }

// responseData returns ResponseData in DER (RFC 6960, 4.2.1).
func (r *Responder) responseData(a *OCSPAnswer) ([]byte, error) {
	ok := isTime(a.ProducedAt) && isTime(a.ThisUpdate) && isTime(a.NextUpdate)
	list := 0
	for i := range a.Singles {
		s := &a.Singles[i]
		ok = ok && (s.Status != OCSPRevoked || isTime(s.At)) && (s.ArchiveCutoff.IsZero() || isTime(s.ArchiveCutoff))
		list += elementSize(s.size())
	}
	if !ok {
		return nil, errOCSPTime
	}
	nonce := 0 // the extension's content
	body := elementSize(elementSize(len(r.keyID))) + derTimeSize + elementSize(list)
	if a.Nonce != nil {
		nonce = len(derNonceOID) + elementSize(len(a.Nonce))
		body += elementSize(elementSize(elementSize(nonce)))
	}
	b := beginElement(make([]byte, 0, elementSize(body)), derSequence, body)
	b = beginElement(b, derContext2, elementSize(len(r.keyID))) // byKey
	b = append(beginElement(b, derOctets, len(r.keyID)), r.keyID[:]...)
	b = appendOCSPTime(b, a.ProducedAt)
	b = beginElement(b, derSequence, list)
	for i := range a.Singles {
		b = a.Singles[i].append(b, a.ThisUpdate, a.NextUpdate)
	}
	if a.Nonce != nil {
		b = beginElement(b, derContext1, elementSize(elementSize(nonce)))
		b = beginElement(b, derSequence, elementSize(nonce))
		b = append(beginElement(b, derSequence, nonce), derNonceOID...)
		b = append(beginElement(b, derOctets, len(a.Nonce)), a.Nonce...)
	}
	return b, nil
}

// revokedSize is the size of RevokedInfo's content.
func (s *OCSPSingle) revokedSize() int {
	if s.Reason == Unspecified {
		return derTimeSize
	}
	return derTimeSize + 5
}

// size is the size of a SingleResponse's content.
func (s *OCSPSingle) size() int {
	n := len(s.ID.Raw) + 2 + derTimeSize + elementSize(derTimeSize)
	if s.Status == OCSPRevoked {
		n += s.revokedSize()
	}
	if !s.ArchiveCutoff.IsZero() {
		n += derArchiveSize
	}
	return n
}

// append appends the SingleResponse.
func (s *OCSPSingle) append(b []byte, thisUpdate, nextUpdate time.Time) []byte {
	b = append(beginElement(b, derSequence, s.size()), s.ID.Raw...)
	switch s.Status {
	case OCSPGood:
		b = append(b, 0x80, 0)
	case OCSPRevoked:
		b = appendOCSPTime(beginElement(b, derContext1, s.revokedSize()), s.At)
		if s.Reason != Unspecified { // RFC 5280, 5.3.1: left out then
			b = append(b, derContext0, 3, 0x0a, 1, byte(s.Reason))
		}
	default:
		b = append(b, 0x82, 0)
	}
	b = appendOCSPTime(b, thisUpdate)
	b = appendOCSPTime(beginElement(b, derContext0, derTimeSize), nextUpdate)
	if !s.ArchiveCutoff.IsZero() {
		b = appendOCSPTime(append(b, derArchiveCutoff...), s.ArchiveCutoff)
	}
	return b
}

// certificateEnding is the last part of each BasicOCSPResponse of a signer: its
// certificate, without which no relying party could verify the answer.
func certificateEnding(cert []byte) []byte {
	b := beginElement(nil, derContext0, elementSize(len(cert)))
	return append(beginElement(b, derSequence, len(cert)), cert...)
}

// wrap returns OCSPResponse with its BasicOCSPResponse.
func (r *Responder) wrap(tbs, signature []byte) []byte {
	basic := len(tbs) + len(r.algorithm) + elementSize(1+len(signature)) + len(r.ending)
	octets := elementSize(basic)
	inner := len(derBasicOID) + elementSize(octets)
	whole := len(derSuccessful) + elementSize(elementSize(inner))
	b := beginElement(make([]byte, 0, elementSize(whole)), derSequence, whole)
	b = append(b, derSuccessful...)
	b = beginElement(b, derContext0, elementSize(inner))
	b = append(beginElement(b, derSequence, inner), derBasicOID...)
	b = beginElement(b, derOctets, octets)
	b = beginElement(b, derSequence, basic)
	b = append(b, tbs...)
	b = append(b, r.algorithm...)
	b = append(beginElement(b, derBits, 1+len(signature)), 0)
	b = append(b, signature...)
	return append(b, r.ending...)
}
