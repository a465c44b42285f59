package revocation

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigill/ca"
	"sigill/revocation/read"
)

// target is a certificate whose status is asked for.
type target struct {
	cert, issuer *x509.Certificate
	leaf         bool
}

// name names it in steps: a CA by its name, the certificate by its serial alone,
// because its name is a person's.
func (t target) name() string {
	if t.leaf {
		return fmt.Sprintf("the certificate, serial %x", t.cert.SerialNumber)
	}
	return fmt.Sprintf("%q, serial %x", t.cert.Subject.CommonName, t.cert.SerialNumber)
}

// finding is what was found of one certificate.
type finding struct {
	status Status
	reason ca.Reason
	at     time.Time
	cause  Cause
	source Source
	soft   string // why it passed although nothing was told; "" if something was
}

// final reports whether f is a revocation that is never taken back: any but a hold,
// and what lists of changes say of its end (RFC 5280, 5.3.1).
func (f finding) final() bool {
	const hold, lifted = ca.Reason(6), ca.Reason(8)
	return f.status == Revoked && f.reason != hold && f.reason != lifted
}

// failureKind says what an attempt that told nothing is worth.
type failureKind int

// unbelievable is the zero kind: what was not classed never lets anything pass.
const (
	unbelievable failureKind = iota
	unreachable              // nobody answered, or with an unsigned error
	stale                    // believed, and past its time
	outdated                 // believed, and a newer one has been seen
	passedOver               // not looked for: it weighs nothing
)

// failure is an attempt that told nothing.
type failure struct {
	kind failureKind
	err  error
}

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

func failed(kind failureKind, format string, args ...any) error {
	return failure{kind, fmt.Errorf(format, args...)}
}

func kindOf(err error) failureKind {
	if f, ok := errors.AsType[failure](err); ok {
		return f.kind
	}
	return unbelievable
}

// one judges the status of a certificate as its issuer tells it.
func (j *judgement) one(t target) finding {
	key := issuerKey(t.issuer) + string(t.cert.Raw)
	if f, ok := j.memo[key]; ok {
		return f
	}
	f := j.ask(t)
	j.memo[key] = f
	return f
}

// attempt is one way to a status. It tells its step itself.
type attempt func() (finding, error)

// ask takes one way after the other until one tells something.
func (j *judgement) ask(t target) finding {
	var failures []error
	for _, try := range j.attempts(t, &failures) {
		f, err := try()
		if err == nil {
			return f
		}
		failures = append(failures, err)
	}
	return j.nobody(t, failures)
}

// attempts lists the ways, in the order in which they are taken: what came along,
// OCSP, lists at hand, lists to fetch.
func (j *judgement) attempts(t target, failures *[]error) []attempt {
	var list []attempt
	if j.v.Sources != CRLOnly {
		for _, der := range j.presented.OCSP {
			if answer, err := read.OCSP(der); err != nil || answer.About(t.cert, t.issuer) || !j.known(answer) {
				list = append(list, func() (finding, error) { return j.stapled(der, t) })
			}
		}
		for _, address := range t.cert.OCSPServer {
			list = append(list, func() (finding, error) { return j.ocspAt(address, t) })
		}
	}
	if j.v.Sources == OCSPOnly && (t.leaf || len(t.cert.OCSPServer) > 0) {
		return list
	}
	points, err := read.DistributionPoints(t.cert)
	if err != nil {
		j.say("CRL for %s: %v", t.name(), err)
		*failures = append(*failures, err)
	}
	for _, der := range j.presented.CRLs {
		if read.Names(der, t.issuer) {
			list = append(list, func() (finding, error) { return j.listAtHand(der, t, points) })
		}
	}
	for _, address := range points {
		list = append(list, func() (finding, error) { return j.crlAt(address, t, points) })
	}
	return list
}

// known reports whether an answer is about some certificate that was presented:
// then it is no answer about this one, and no fault either.
func (j *judgement) known(a *read.Answer) bool {
	certs := append([]*x509.Certificate{j.presented.Certificate}, j.presented.Issuers...)
	for _, cert := range certs {
		for i := range a.Singles {
			if a.Singles[i].Names(cert) {
				return true
			}
		}
	}
	return false
}

// nobody decides when no way told anything.
func (j *judgement) nobody(t target, failures []error) finding {
	if f, ok := j.v.Cache.revoked(t); ok {
		j.say("status of %s: nobody tells it now; it was told before: %s, which is never taken back", t.name(), f.word())
		f, _ = j.then(t, f, nil)
		return f
	}
	failures = slices.DeleteFunc(failures, func(err error) bool { return kindOf(err) == passedOver })
	cause, passes := CauseNoAddress, len(failures) > 0
	var why []string
	for _, err := range failures {
		switch kindOf(err) {
		case unreachable:
			passes = passes && j.v.Open.Unreachable
			cause = max(cause, CauseUnreachable)
		case stale:
			passes = passes && j.v.Open.Stale
			cause = max(cause, CauseStale)
		default:
			passes = false
			if errors.Is(err, read.ErrUnsupported) {
				cause = max(cause, CauseUnsupported)
				break
			}
			cause = max(cause, CauseUnbelievable)
		}
		why = append(why, err.Error())
	}
	if passes {
		j.say("status of %s: nobody tells it, and it passes because this verifier is set to let it", t.name())
		return finding{status: Good, cause: CauseSoft, soft: fmt.Sprintf("the status of %s could not be had: %s", t.name(), strings.Join(why, "; "))}
	}
	j.say("status of %s: nobody tells it, so the certificate is not trusted", t.name())
	return finding{status: Unknown, cause: cause}
}

// get fetches from an address, and tells how long it took.
func (j *judgement) get(ctx context.Context, address string) ([]byte, time.Duration, error) {
	if !strings.HasPrefix(address, "http://") && !strings.HasPrefix(address, "https://") {
		return nil, 0, fmt.Errorf("%s is not an http address, %w", address, read.ErrUnsupported)
	}
	if j.v.Fetch == nil {
		return nil, 0, failed(unreachable, "nothing is fetched here")
	}
	timeout := j.v.Timeout
	if timeout <= 0 {
		timeout = fetchTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	der, err := j.v.Fetch(ctx, address)
	took := time.Since(start)
	switch {
	case errors.Is(err, ErrUnread):
		return nil, took, failed(unbelievable, "%w", err)
	case err != nil:
		return nil, took, failed(unreachable, "%w", err)
	}
	return der, took, nil
}

// fresh reports whether what was fetched then serves without asking again.
func (j *judgement) fresh(fetched time.Time) bool {
	keep := j.v.Keep
	if keep <= 0 {
		keep = DefaultKeep
	}
	age := j.now.Sub(fetched)
	return age >= 0 && age < keep
}

// inForce checks the validity of an answer or a list. One without an end would
// be in force for ever, whoever replays it.
func (j *judgement) inForce(thisUpdate, nextUpdate time.Time) error {
	switch {
	case thisUpdate.After(j.now.Add(j.v.Skew)):
		return failed(unbelievable, "its thisUpdate %s has not come: its clock is ahead of ours by %s or more", stamp(thisUpdate), thisUpdate.Sub(j.now).Round(time.Second))
	case nextUpdate.IsZero():
		return failed(unbelievable, "it has no nextUpdate")
	case !j.now.Add(-j.v.Skew).Before(nextUpdate):
		return failed(stale, "its nextUpdate %s has passed", stamp(nextUpdate))
	}
	return nil
}

// tooOld checks the age of what tells the status of a certificate that names a
// responder, which a demanded age is about.
func (j *judgement) tooOld(thisUpdate time.Time) error {
	if age := j.now.Sub(thisUpdate); j.v.MaxAge > 0 && age > j.v.MaxAge+j.v.Skew {
		return failed(stale, "its thisUpdate %s is %s ago, more than the %s that are accepted", stamp(thisUpdate), age.Round(time.Second), j.v.MaxAge)
	}
	return nil
}

// told ends an attempt: a verified answer or list says f of t, and doubt is what
// keeps it from being believed. That it is old undoes no revocation, and no later
// "good" does: what is revoked stays so. Whoever throws the issuer's "revoked" away
// because it is old asks somebody else, who may be a thief with an older "good". Of
// whom an ended signer's key accuses, or a time to come, nothing is known.
func (j *judgement) told(x *Exchange, t target, f finding, doubt, covers error) (finding, error) {
	what := "OCSP"
	if x.Number != "" {
		what = "CRL"
	}
	f.source = x.Kind
	switch {
	case doubt == nil:
		j.tell(x, "%s for %s%s: %s", what, t.name(), where(x.Kind), f.word())
	case f.final() && kindOf(doubt) != unbelievable:
		j.tell(x, "%s for %s%s: %s; that stands, though %v", what, t.name(), where(x.Kind), f.word(), doubt)
	default:
		x.Error = doubt.Error()
		j.tell(x, "%s for %s%s: no answer: %v", what, t.name(), where(x.Kind), doubt)
		return finding{}, doubt
	}
	if f.final() {
		j.v.Cache.remember(t, f)
	} else if before, ok := j.v.Cache.revoked(t); ok {
		j.say("status of %s: it was told before: %s, which is never taken back", t.name(), before.word())
		f = before
	}
	return j.then(t, f, covers)
}

// then reads what is said now of a certificate for what it tells of the time that
// was asked of. A revocation is never taken back, so that "not revoked" holds for
// all the time before; and what was revoked later was not yet revoked then.
func (j *judgement) then(t target, f finding, covers error) (finding, error) {
	if !j.past {
		return f, nil
	}
	switch {
	case f.status == Good && covers != nil:
		j.say("as of %s: that proves nothing of %s: %v", stamp(j.at), t.name(), covers)
		return f, failed(unbelievable, "it says nothing of %s: %w", stamp(j.at), covers)
	case f.status == Good:
		j.say("as of %s: %s was not revoked then, because it is not revoked now (a hold that was lifted since would not be seen)", stamp(j.at), t.name())
	case f.status == Revoked && !f.at.After(j.at):
		j.say("as of %s: %s had been revoked, at %s", stamp(j.at), t.name(), stamp(f.at))
	case f.status == Revoked && !t.leaf && (f.reason == ca.KeyCompromise || f.reason == ca.CACompromise):
		j.say("as of %s: %s was revoked later, because its key was stolen: with the key one can make certificates that look older, so this proves nothing of then", stamp(j.at), t.name())
		f.status, f.cause = Unknown, CausePast
	case f.status == Revoked:
		j.say("as of %s: %s was not revoked before %s; that no use before it was a thief's is not proved by this, nor when it was used", stamp(j.at), t.name(), stamp(f.at))
		f = finding{status: Good, source: f.source}
	}
	return f, nil
}
