package revocation

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca"
)

// nonceLength is what RFC 9654, 2.1, has clients send.
const nonceLength = 32

// errNotAbout is a true answer to another question.
var errNotAbout = errors.New("the answer is about another certificate")

// ocspRequest encodes the question for one certificate (RFC 6960, 4.1.1).
func ocspRequest(t target, hash crypto.Hash, nonce []byte) ([]byte, error) {
	name, key, err := issuerHashes(t.issuer, hash)
	if err != nil {
		return nil, err
	}
	oid := oidHashSHA256
	if hash == crypto.SHA1 {
		oid = oidHashSHA1
	}
	var b cryptobyte.Builder
	sequence := func(b *cryptobyte.Builder, fn func(*cryptobyte.Builder)) { b.AddASN1(cbasn1.SEQUENCE, fn) }
	certID := func(b *cryptobyte.Builder) {
		sequence(b, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid)
			b.AddASN1NULL()
		})
		b.AddASN1OctetString(name)
		b.AddASN1OctetString(key)
		b.AddASN1BigInt(t.cert.SerialNumber)
	}
	extensions := func(b *cryptobyte.Builder) {
		sequence(b, func(b *cryptobyte.Builder) {
			sequence(b, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidNonce)
				b.AddASN1OctetString(nonce)
			})
		})
	}
	sequence(&b, func(b *cryptobyte.Builder) { // OCSPRequest
		sequence(b, func(b *cryptobyte.Builder) { // TBSRequest
			sequence(b, func(b *cryptobyte.Builder) { // requestList
				sequence(b, func(b *cryptobyte.Builder) { sequence(b, certID) })
			})
			if nonce != nil {
				b.AddASN1(explicit(2), extensions)
			}
		})
	})
	return b.Bytes()
}

// newNonce returns the value of a nonce extension: an OCTET STRING in the
// extension's own (RFC 9654, 2.1).
func newNonce() []byte {
	random := make([]byte, nonceLength)
	rand.Read(random) // never fails
	return append([]byte{0x04, nonceLength}, random...)
}

// ocspAt asks at an address, or takes what is kept of an earlier question.
func (j *judgement) ocspAt(address string, t target) (finding, error) {
	key := "ocsp " + issuerKey(t.issuer) + t.cert.SerialNumber.String()
	var held kept
	if !j.v.Nonce {
		held, _ = j.v.Cache.get(key)
	}
	if held.answer != nil && j.fresh(held.fetched) {
		if f, err := j.useOCSP(held.answer, t, &Exchange{Kind: FromCache}); err == nil {
			return f, nil
		}
	}
	x := &Exchange{Kind: FromOCSP}
	answer, err := j.askOCSP(address, t, x)
	if err == nil && held.answer != nil && answer.newest(t) < held.answer.newest(t) {
		err = failed(unbelievable, "an answer with a later thisUpdate has been seen: an older one was put in its place")
	}
	if err == nil {
		var f finding
		if f, err = j.useOCSP(answer, t, x); err == nil {
			j.v.Cache.put(key, kept{answer: answer, fetched: j.now, octets: answer.octets})
			return f, nil
		}
		return f, err
	}
	x.Error = err.Error()
	j.tell(x, "OCSP for %s: no answer: %v", t.name(), err)
	if held.answer != nil {
		if f, err := j.useOCSP(held.answer, t, &Exchange{Kind: FromCache}); err == nil {
			return f, nil
		}
	}
	return finding{}, err
}

// askOCSP asks by GET (RFC 6960, A.1), first by SHA-256, which RFC 5019bis wants,
// and where the responder does not know the question so, by SHA-1.
func (j *judgement) askOCSP(address string, t target, x *Exchange) (*ocspAnswer, error) {
	var err error
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA1} {
		var nonce, request []byte
		if j.v.Nonce {
			nonce = newNonce()
		}
		if request, err = ocspRequest(t, hash, nonce); err != nil {
			return nil, err
		}
		at := strings.TrimSuffix(address, "/") + "/" + url.QueryEscape(base64.StdEncoding.EncodeToString(request))
		der, took, failure := j.get(j.ctx, at)
		x.Address, x.Octets, x.Took = address, len(der), x.Took+took
		if failure != nil {
			return nil, failure
		}
		var answer *ocspAnswer
		if answer, err = readOCSP(der); err == nil {
			if err = j.checkOCSP(answer, t, nonce); err == nil {
				return answer, nil
			}
		}
		status, ok := errors.AsType[ocspError](err)
		if ok {
			err = failed(unreachable, "%w", err)
		}
		if !errors.Is(err, errNotAbout) && status != ocspError(ca.OCSPMalformedRequest) && status != ocspError(ca.OCSPUnauthorized) {
			break
		}
	}
	return nil, err
}

// stapled judges an answer that came along.
func (j *judgement) stapled(der []byte, t target) (finding, error) {
	x := &Exchange{Kind: FromStapled, Octets: len(der)}
	answer, err := readOCSP(der)
	if err == nil {
		err = j.checkOCSP(answer, t, nil)
	}
	if err == nil {
		return j.useOCSP(answer, t, x)
	}
	x.Error = err.Error()
	j.tell(x, "OCSP for %s, as presented: no answer: %v", t.name(), err)
	return finding{}, err
}

// checkOCSP verifies an answer: its signer, that it is about t, its nonce.
func (j *judgement) checkOCSP(a *ocspAnswer, t target, nonce []byte) error {
	if !a.about(t.cert, t.issuer) {
		return errNotAbout
	}
	if err := a.verify(t.issuer); err != nil {
		return err
	}
	if nonce != nil && !bytes.Equal(a.nonce, nonce) {
		return errors.New("the answer does not repeat the nonce: it may be an old one")
	}
	return nil
}

// useOCSP reads a verified answer.
func (j *judgement) useOCSP(a *ocspAnswer, t target, x *Exchange) (finding, error) {
	s, err := a.single(t)
	if err == nil {
		x.ThisUpdate, x.NextUpdate, x.ProducedAt, x.Signer = s.thisUpdate, s.nextUpdate, a.producedAt, a.signer.name
		x.Octets = a.octets
		err = j.ocspInForce(a, s)
	}
	f := finding{status: s.status, reason: s.reason, at: s.at, source: x.Kind}
	switch s.status {
	case Good:
	case Revoked:
		f.cause = CauseRevoked
	default:
		f.cause = CauseNotIssued
	}
	if err == nil {
		j.tell(x, "OCSP for %s%s: %s", t.name(), where(x.Kind), f.word())
		f, err = j.then(t, f, s.covers(t))
	} else {
		x.Error = err.Error()
		j.tell(x, "OCSP for %s%s: no answer: %v", t.name(), where(x.Kind), err)
	}
	return f, err
}

// word tells a finding.
func (f finding) word() string {
	return Verification{Status: f.status, Reason: f.reason, At: f.at}.String()
}

func where(s Source) string {
	switch s {
	case FromStapled:
		return ", as presented"
	case FromCache:
		return ", as kept from an earlier question"
	}
	return ""
}

// ocspInForce checks the times of an answer.
func (j *judgement) ocspInForce(a *ocspAnswer, s ocspSingle) error {
	if err := j.inForce(s.thisUpdate, s.nextUpdate); err != nil {
		return err
	}
	// What is kept may outlive the certificate of who signed it.
	if j.now.Before(a.signer.notBefore.Add(-j.v.Skew)) || j.now.After(a.signer.notAfter.Add(j.v.Skew)) {
		return failed(unbelievable, "the signer's certificate is valid from %s to %s", stamp(a.signer.notBefore), stamp(a.signer.notAfter))
	}
	if a.producedAt.After(j.now.Add(j.v.Skew)) {
		return failed(unbelievable, "it was made at %s, which has not come", stamp(a.producedAt))
	}
	if age := j.now.Sub(s.thisUpdate); j.v.MaxAge > 0 && age > j.v.MaxAge+j.v.Skew {
		return failed(stale, "its thisUpdate %s is %s ago, more than the %s that are accepted", stamp(s.thisUpdate), age.Round(time.Second), j.v.MaxAge)
	}
	return nil
}

// covers says why "good" tells nothing of an expired certificate: a responder may
// have forgotten its revocation, unless it says how far back it keeps them (RFC
// 6960, 4.4.4).
func (s ocspSingle) covers(t target) error {
	if !t.cert.NotAfter.Before(s.thisUpdate) {
		return nil
	}
	if s.archiveCutoff.IsZero() {
		return errors.New("the certificate has expired since, and the answer does not say how long revocations are kept (archive cutoff)")
	}
	if t.cert.NotAfter.Before(s.archiveCutoff) {
		return fmt.Errorf("the certificate expired before %s, since when revocations are kept", stamp(s.archiveCutoff))
	}
	return nil
}

// about reports whether the answer has something on cert.
func (a *ocspAnswer) about(cert, issuer *x509.Certificate) bool {
	for i := range a.singles {
		if a.singles[i].about(cert, issuer) {
			return true
		}
	}
	return false
}

// single returns what the answer says of a certificate. Two different things are
// nothing.
func (a *ocspAnswer) single(t target) (ocspSingle, error) {
	var found *ocspSingle
	for i := range a.singles {
		s := &a.singles[i]
		if !s.about(t.cert, t.issuer) {
			continue
		}
		if found != nil && (found.status != s.status || !found.thisUpdate.Equal(s.thisUpdate) || !found.nextUpdate.Equal(s.nextUpdate)) {
			return ocspSingle{}, errors.New("the answer says two things of the certificate")
		}
		found = s
	}
	if found == nil {
		return ocspSingle{}, errNotAbout
	}
	return *found, nil
}

// newest is the thisUpdate of what is said of a certificate, in seconds.
func (a *ocspAnswer) newest(t target) int64 {
	s, err := a.single(t)
	if err != nil {
		return 0
	}
	return s.thisUpdate.Unix()
}

// verify finds who signed: the issuer itself, or one to whom it delegated this by
// a certificate among those in the answer (RFC 6960, 4.2.2.2). Any certificate of the
// issuer without that purpose would let every holder vouch for himself.
func (a *ocspAnswer) verify(issuer *x509.Certificate) error {
	err := issuer.CheckSignature(a.algorithm, a.tbs, a.signature)
	if err == nil {
		a.signedBy(issuer)
		return nil
	}
	why := fmt.Errorf("it is not signed by %q: %w", issuer.Subject.CommonName, err)
	for _, cert := range a.certs {
		if cert.Equal(issuer) {
			continue
		}
		// Before the signature under its key: a stranger's key may be as large as it likes.
		if err := ca.CheckOCSPSigner(issuer, cert); err != nil {
			why = err
			continue
		}
		if err := cert.CheckSignature(a.algorithm, a.tbs, a.signature); err != nil {
			why = fmt.Errorf("it is not signed by %q: %w", cert.Subject.CommonName, err)
			continue
		}
		if len(cert.UnhandledCriticalExtensions) > 0 {
			return fmt.Errorf("the signer's certificate has the critical extension %v, which is not known", asn1.ObjectIdentifier(cert.UnhandledCriticalExtensions[0]))
		}
		a.signedBy(cert)
		return nil
	}
	return why
}
