package revocation

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"time"

	"sigill/ca"
	"sigill/revocation/read"
)

// ocspAt asks at an address, or takes what is kept of an earlier question.
func (j *judgement) ocspAt(address string, t target) (finding, error) {
	var held kept
	if !j.v.Nonce {
		held, _ = j.v.Cache.get(t.key("ocsp"))
	}
	if held.answer != nil && j.fresh(held.fetched) {
		if f, err := j.useOCSP(held.answer, t, &Exchange{Kind: FromCache}, nil); err == nil {
			return f, nil
		}
	}
	x := &Exchange{Kind: FromOCSP}
	answer, err := j.askOCSP(address, t, x)
	if err == nil {
		var f finding
		if f, err = j.useOCSP(answer, t, x, outrun(answer, held, t)); err == nil {
			j.v.Cache.keep(answer, t, j.now)
			return f, nil
		}
	} else {
		x.Error = err.Error()
		j.tell(x, "OCSP for %s: no answer: %v", t.name(), err)
	}
	if held.answer != nil {
		if f, err := j.useOCSP(held.answer, t, &Exchange{Kind: FromCache}, nil); err == nil {
			return f, nil
		}
	}
	return finding{}, err
}

// outrun says that what was answered is older than what is kept.
func outrun(answer *read.Answer, held kept, t target) error {
	if held.answer != nil && newest(answer, t) < newest(held.answer, t) {
		return failed(outdated, "an answer with a later thisUpdate has been seen: an older one was put in its place")
	}
	return nil
}

// askOCSP asks by GET (RFC 6960, A.1), first by SHA-256, which RFC 5019bis wants,
// and where the responder does not know the question so, by SHA-1.
func (j *judgement) askOCSP(address string, t target, x *Exchange) (*read.Answer, error) {
	var err error
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA1} {
		var nonce, request []byte
		if j.v.Nonce {
			nonce = read.NewNonce()
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

// stapled judges an answer that came along. Who shows it chose it, perhaps among
// several that he recorded: it is measured by what is kept, and where a nonce is
// demanded it can only harm him.
func (j *judgement) stapled(der []byte, t target) (finding, error) {
	x := &Exchange{Kind: FromStapled, Octets: len(der)}
	answer, err := read.OCSP(der)
	if err == nil {
		err = j.checkOCSP(answer, t, nil)
	}
	if err != nil {
		x.Error = err.Error()
		j.tell(x, "OCSP for %s, as presented: no answer: %v", t.name(), err)
		return finding{}, err
	}
	held, _ := j.v.Cache.get(t.key("ocsp"))
	doubt := outrun(answer, held, t)
	if j.v.Nonce {
		doubt = failed(passedOver, "a nonce is demanded, which what came along cannot repeat")
	}
	f, err := j.useOCSP(answer, t, x, doubt)
	if err == nil && doubt == nil && (held.answer == nil || newest(answer, t) > newest(held.answer, t)) {
		// As fetched never: the responder is asked all the same by who gets no staple.
		j.v.Cache.keep(answer, t, time.Time{})
	}
	return f, err
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

// useOCSP reads a verified answer, of which doubt says what is known against it.
func (j *judgement) useOCSP(a *read.Answer, t target, x *Exchange, doubt error) (finding, error) {
	s, err := a.Of(t.cert, t.issuer)
	if err != nil {
		return j.told(x, t, finding{}, err, nil)
	}
	x.ThisUpdate, x.NextUpdate, x.ProducedAt, x.Signer = s.ThisUpdate, s.NextUpdate, a.ProducedAt, a.Signer.Name
	x.Octets = a.Octets
	if doubt == nil {
		doubt = j.ocspInForce(a, s)
	}
	f := finding{status: Unknown, cause: CauseNotIssued}
	switch s.Status {
	case ca.OCSPGood:
		f.status, f.cause = Good, CauseGood
	case ca.OCSPRevoked:
		f = finding{status: Revoked, cause: CauseRevoked, reason: s.Reason, at: s.At}
	}
	return j.told(x, t, f, doubt, s.Forgets(t.cert))
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
	// What is kept may outlive the certificate of who signed it. This comes first: of
	// what is merely old, "revoked" counts, and with the key any date can be written.
	if j.now.Before(a.Signer.NotBefore.Add(-j.v.Skew)) || j.now.After(a.Signer.NotAfter.Add(j.v.Skew)) {
		return failed(unbelievable, "the signer's certificate is valid from %s to %s", stamp(a.Signer.NotBefore), stamp(a.Signer.NotAfter))
	}
	if a.ProducedAt.After(j.now.Add(j.v.Skew)) {
		return failed(unbelievable, "it was made at %s, which has not come", stamp(a.ProducedAt))
	}
	if err := j.inForce(s.ThisUpdate, s.NextUpdate); err != nil {
		return err
	}
	return j.tooOld(s.ThisUpdate)
}

// newest is the thisUpdate of what an answer says of t, in seconds.
func newest(a *read.Answer, t target) int64 {
	s, err := a.Of(t.cert, t.issuer)
	if err != nil {
		return 0
	}
	return s.ThisUpdate.Unix()
}
