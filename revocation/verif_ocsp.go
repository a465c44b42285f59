package revocation

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"sigill/ca"
	"sigill/revocation/read"
)

// nonceLength is what RFC 9654, 2.1, has clients send.
const nonceLength = 32

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
	if err == nil && held.answer != nil && newest(answer, t) < newest(held.answer, t) {
		err = failed(unbelievable, "an answer with a later thisUpdate has been seen: an older one was put in its place")
	}
	if err == nil {
		var f finding
		if f, err = j.useOCSP(answer, t, x); err == nil {
			j.v.Cache.put(key, kept{answer: answer, fetched: j.now, octets: answer.Octets})
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
func (j *judgement) askOCSP(address string, t target, x *Exchange) (*read.Answer, error) {
	var err error
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA1} {
		var nonce, request []byte
		if j.v.Nonce {
			nonce = newNonce()
		}
		if request, err = read.Request(t.cert, t.issuer, hash, nonce); err != nil {
			return nil, err
		}
		at := strings.TrimSuffix(address, "/") + "/" + url.QueryEscape(base64.StdEncoding.EncodeToString(request))
		der, took, failure := j.get(j.ctx, at)
		x.Address, x.Octets, x.Took = address, len(der), x.Took+took
		if failure != nil {
			return nil, failure
		}
		var answer *read.Answer
		if answer, err = read.OCSP(der); err == nil {
			if err = j.checkOCSP(answer, t, nonce); err == nil {
				return answer, nil
			}
		}
		status, ok := errors.AsType[read.ErrorStatus](err)
		if ok {
			err = failed(unreachable, "%w", err)
		}
		if !errors.Is(err, read.ErrNotAbout) && status != read.ErrorStatus(ca.OCSPMalformedRequest) && status != read.ErrorStatus(ca.OCSPUnauthorized) {
			break
		}
	}
	return nil, err
}

// stapled judges an answer that came along.
func (j *judgement) stapled(der []byte, t target) (finding, error) {
	x := &Exchange{Kind: FromStapled, Octets: len(der)}
	answer, err := read.OCSP(der)
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
func (j *judgement) checkOCSP(a *read.Answer, t target, nonce []byte) error {
	if !a.About(t.cert, t.issuer) {
		return read.ErrNotAbout
	}
	if err := a.Verify(t.issuer); err != nil {
		return err
	}
	if nonce != nil && !bytes.Equal(a.Nonce, nonce) {
		return errors.New("the answer does not repeat the nonce: it may be an old one")
	}
	return nil
}

// useOCSP reads a verified answer.
func (j *judgement) useOCSP(a *read.Answer, t target, x *Exchange) (finding, error) {
	s, err := a.Of(t.cert, t.issuer)
	if err == nil {
		x.ThisUpdate, x.NextUpdate, x.ProducedAt, x.Signer = s.ThisUpdate, s.NextUpdate, a.ProducedAt, a.Signer.Name
		x.Octets = a.Octets
		err = j.ocspInForce(a, s)
	}
	f := finding{status: Unknown, cause: CauseNotIssued, source: x.Kind}
	switch s.Status {
	case ca.OCSPGood:
		f.status, f.cause = Good, CauseGood
	case ca.OCSPRevoked:
		f = finding{status: Revoked, cause: CauseRevoked, reason: s.Reason, at: s.At, source: x.Kind}
	}
	if err == nil {
		j.tell(x, "OCSP for %s%s: %s", t.name(), where(x.Kind), f.word())
		f, err = j.then(t, f, archived(s, t))
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
func (j *judgement) ocspInForce(a *read.Answer, s read.Single) error {
	if err := j.inForce(s.ThisUpdate, s.NextUpdate); err != nil {
		return err
	}
	// What is kept may outlive the certificate of who signed it.
	if j.now.Before(a.Signer.NotBefore.Add(-j.v.Skew)) || j.now.After(a.Signer.NotAfter.Add(j.v.Skew)) {
		return failed(unbelievable, "the signer's certificate is valid from %s to %s", stamp(a.Signer.NotBefore), stamp(a.Signer.NotAfter))
	}
	if a.ProducedAt.After(j.now.Add(j.v.Skew)) {
		return failed(unbelievable, "it was made at %s, which has not come", stamp(a.ProducedAt))
	}
	if age := j.now.Sub(s.ThisUpdate); j.v.MaxAge > 0 && age > j.v.MaxAge+j.v.Skew {
		return failed(stale, "its thisUpdate %s is %s ago, more than the %s that are accepted", stamp(s.ThisUpdate), age.Round(time.Second), j.v.MaxAge)
	}
	return nil
}

// archived says why "good" tells nothing of an expired certificate: a responder may
// have forgotten its revocation, unless it says how far back it keeps them (RFC
// 6960, 4.4.4).
func archived(s read.Single, t target) error {
	if !t.cert.NotAfter.Before(s.ThisUpdate) {
		return nil
	}
	if s.ArchiveCutoff.IsZero() {
		return errors.New("the certificate has expired since, and the answer does not say how long revocations are kept (archive cutoff)")
	}
	if t.cert.NotAfter.Before(s.ArchiveCutoff) {
		return fmt.Errorf("the certificate expired before %s, since when revocations are kept", stamp(s.ArchiveCutoff))
	}
	return nil
}

// newest is the thisUpdate of what an answer says of t, in seconds.
func newest(a *read.Answer, t target) int64 {
	s, err := a.Of(t.cert, t.issuer)
	if err != nil {
		return 0
	}
	return s.ThisUpdate.Unix()
}
