package revocation

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"sigill/ca"
	"sigill/revocation/logged"
)

// Status is a relying party's judgement of a certificate.
type Status string

// Unknown stands for everything that is not proved: a chain that does not lead
// to an anchor, a demand that is not met, a status that cannot be had. Only Good
// may be trusted.
const (
	Good    Status = "good"
	Revoked Status = "revoked"
	Unknown Status = "unknown"
)

// Source says who told the status of the certificate.
type Source string

// FromCache is an OCSP answer or a list that was fetched for an earlier question.
const (
	FromNobody  Source = ""
	FromOCSP    Source = "ocsp"
	FromStapled Source = "stapled"
	FromCRL     Source = "crl"
	FromCache   Source = "cache"
	FromAIA     Source = "issuer" // of an issuer's certificate, not of a status
	FromLog     Source = "log"    // of a proof, not of a status
)

// Verification is what a Verifier found.
type Verification struct {
	Status Status
	Reason ca.Reason // if revoked
	At     time.Time // of the revocation, if revoked
	// Cause is what decided, for programs; Summary and Next tell it to people.
	Cause Cause
	// Soft: the status of a certificate in the chain could not be had, and the
	// Verifier was told to let it pass then. SoftWhy says what was missing.
	Soft    bool
	SoftWhy string
	Source  Source // of the certificate's own status
	// Log is what transparency logs promise and prove of the certificate, of whatever
	// status, once there is a chain. It decides nothing but what is demanded of it.
	Log logged.Finding
	// Judged is the time that the judgement is about, by our clock unless the
	// question named one.
	Judged time.Time

	// What follows means something only if Status is Good.

	// Anchor is the trusted certificate that the chain leads to, Chain the way
	// to it, the certificate first.
	Anchor *Anchor
	Chain  []*x509.Certificate
	// PolicyOIDs are the certificate's policies as they stand in it; Level is what the
	// anchor's table makes of them, zero if nothing.
	PolicyOIDs []string
	Level      Level
	Identifier Identifier

	// Steps tell what was checked, with what result, in order.
	Steps []Step
}

// Step is one thing that was checked, in words without the holder's name.
type Step struct {
	Text string
	// Exchange is what was asked and answered, nil if nobody was asked.
	Exchange *Exchange
}

func (s Step) String() string { return s.Text }

// Exchange is one question to a status service, or one answer that was held
// already.
type Exchange struct {
	Kind       Source        `json:"kind"`
	Address    string        `json:"address,omitempty"` // empty for what was presented
	Took       time.Duration `json:"took,omitempty"`    // nanoseconds; zero for what was not fetched now
	Octets     int           `json:"octets"`
	ThisUpdate time.Time     `json:"thisUpdate,omitzero"`
	NextUpdate time.Time     `json:"nextUpdate,omitzero"`
	ProducedAt time.Time     `json:"producedAt,omitzero"` // OCSP
	Signer     string        `json:"signer,omitempty"`    // common name of who signed
	Number     string        `json:"number,omitempty"`    // of a CRL
	Scope      string        `json:"scope,omitempty"`     // of a CRL
	Entries    int           `json:"entries,omitempty"`   // of a CRL
	Error      string        `json:"error,omitempty"`     // why it says nothing
}

// ErrUnread is that somebody answered, and that it was not taken for what it is,
// such as its size. It is not that nobody answered, and lets nothing pass.
var ErrUnread = errors.New("what was answered is not read")

// Fetch returns what GET of an address (http) returns, no more than it would
// read of a stranger (else an error that is ErrUnread), and an error for any other
// answer than 200.
type Fetch func(ctx context.Context, url string) ([]byte, error)

// Sources says which ways to a status are taken.
type Sources int

// AllSources is OCSP first, then CRLs. With OCSPOnly the certificate is judged by
// OCSP, and a CA's too unless it names no responder, as CAs below a root that is
// offline do: its list is then the only thing there is.
const (
	AllSources Sources = iota
	OCSPOnly
	CRLOnly
)

// Open says what is let pass although a status could not be had. The zero value
// lets nothing pass. What was fetched and is not believed, and "unknown", never pass.
type Open struct {
	// Unreachable: nobody answered, by no way, with more than an error. Who sits
	// on the network can always bring that about.
	Unreachable bool
	// Stale: what was answered was right and is past its time. It includes that
	// somebody replays an old answer.
	Stale bool
}

// DefaultKeep is how long what was fetched serves without being asked for again,
// unless a Verifier says otherwise: as long as the status service lets caches.
const DefaultKeep = time.Minute

// fetchTimeout bounds one question, unless a Verifier says otherwise.
const fetchTimeout = 15 * time.Second

// maxChains bounds the ways to anchors that are tried.
const maxChains = 8

// Verifier judges certificates as a relying party must: chain, time, what the
// certificate is for, and the status of every certificate below the anchor, by
// OCSP and, where that gives no answer, by CRL. It fails closed unless Open says
// otherwise. Answers and lists are read by other code than what writes them here.
//
// A Verifier is not changed by use. Its methods may be called concurrently if
// Fetch may.
type Verifier struct {
	// Anchors are the certificates that are trusted, each with the meaning of its
	// policies: one's own root, roots or issuing CAs of other organisations.
	Anchors []Anchor
	// Roots are anchors without a table.
	Roots []*x509.Certificate
	// Fetch gets answers and lists; nil: what is presented must do.
	Fetch   Fetch
	Timeout time.Duration // of one question; 0: 15 s
	Now     func() time.Time
	// Skew is how wrong clocks may be.
	Skew time.Duration
	// Demand is what a certificate must be for, beyond being good.
	Demand Demand

	Sources Sources
	Open    Open
	// Nonce has every OCSP request carry a nonce that the answer must repeat. It
	// defeats replay of answers, caches, responders that answer from files, and
	// what came along. Lists carry none: see MaxAge.
	Nonce bool
	// MaxAge is how old, from its thisUpdate, what tells the status of a certificate
	// may be that names a responder, whatever its nextUpdate says: an OCSP answer,
	// and a list in its place, which an attacker on the network could else bring about
	// by keeping answers back; 0: until its nextUpdate. Until then he may show what
	// was so before a revocation. A "revoked" counts however old it is.
	MaxAge time.Duration
	// Cache keeps answers and lists between questions; nil: nothing is kept.
	Cache *Cache
	// Keep is how long what the Cache holds is used without asking again; 0:
	// DefaultKeep. When nobody answers, it is used as long as it is in force.
	Keep time.Duration
	// FetchIssuers has an issuer's certificate that did not come along fetched from
	// where the certificate says that it is. Off unless asked for: anybody can make a
	// certificate with any address in it, and have a service ask there.
	FetchIssuers bool
	// Logs knows transparency logs and their witnesses; nil: none are known, and
	// whatever is demanded of logs is not met.
	Logs *logged.Judge
	// AskLogs has proofs fetched that are not demanded.
	AskLogs bool
}

// Presented is what somebody shows, and with it the question.
type Presented struct {
	Certificate *x509.Certificate
	Issuers     []*x509.Certificate // between it and an anchor, in any order
	OCSP        [][]byte            // answers that came along, as a TLS client staples them
	CRLs        [][]byte            // lists that are at hand, in DER
	Proofs      [][]byte            // of inclusion in a log that came along, as c2sp.org/tlog-proof@v1
	// At asks of a past time; zero: of now. See the steps of the Verification for
	// what today's answers can prove of then.
	At time.Time
}

// Verify judges leaf now, with the issuers that came with it in any order.
func (v *Verifier) Verify(ctx context.Context, leaf *x509.Certificate, issuers ...*x509.Certificate) Verification {
	return v.Judge(ctx, Presented{Certificate: leaf, Issuers: issuers})
}

// Judge judges what is presented.
func (v *Verifier) Judge(ctx context.Context, p Presented) Verification {
	j := &judgement{v: v, ctx: ctx, presented: p, now: v.Now(), memo: map[string]finding{}}
	j.at = j.now
	if !p.At.IsZero() {
		j.at, j.past = p.At, true
	}
	j.result = Verification{Status: Unknown, Judged: j.at, Identifier: IdentifierOf(p.Certificate)}
	for _, oid := range p.Certificate.Policies {
		j.result.PolicyOIDs = append(j.result.PolicyOIDs, oid.String())
	}
	if j.at.After(j.now) {
		return j.end(CauseFuture, "%s is in the future, of which nobody can tell", stamp(j.at))
	}
	if j.past {
		j.say("asked of %s: what is said today is read for what it tells of then", stamp(j.at))
	}
	chains, cause, err := j.chains()
	if err != nil {
		return j.end(cause, "chain: %v", err)
	}
	return j.best(chains)
}

// best judges each chain until one is good. Of others, one that says revoked tells
// most: somebody may be keeping back what the next one lacks to say so too.
func (j *judgement) best(chains []chain) Verification {
	var best Verification
	for i, c := range chains {
		before := j.result
		if len(chains) > 1 {
			j.say("way %d of %d to an anchor:", i+1, len(chains))
		}
		got := j.along(c)
		if got.Status == Good && !got.Soft {
			return got
		}
		if i == 0 || rank(got) > rank(best) {
			best = got
		}
		steps := j.result.Steps
		j.result = before
		j.result.Steps = steps
	}
	best.Steps = j.result.Steps
	return best
}

func rank(r Verification) int {
	switch r.Status {
	case Revoked:
		return 2
	case Good: // and soft
		return 1
	}
	return 0
}

// along judges one chain.
func (j *judgement) along(c chain) Verification {
	r := &j.result
	r.Anchor, r.Chain = c.anchor, c.certs
	j.say("chain: %s", c.describe())
	if cause, err := j.purpose(c); err != nil {
		return j.end(cause, "%v", err)
	}
	j.statuses(c)
	j.logs(c.certs)
	return *r
}

// statuses judges what every certificate's issuer says of it.
func (j *judgement) statuses(c chain) {
	r := &j.result
	// From the anchor down: what a revoked CA says of its certificates is nothing.
	for i := len(c.certs) - 2; i >= 0; i-- {
		f := j.one(target{cert: c.certs[i], issuer: c.certs[i+1], leaf: i == 0})
		if i == 0 {
			r.Source = f.source
		}
		if f.soft != "" {
			r.Soft, r.SoftWhy = true, f.soft
		}
		if f.status != Good {
			r.Status, r.Reason, r.At, r.Cause = f.status, f.reason, f.at, f.cause
			r.Soft, r.SoftWhy = false, ""
			return
		}
	}
	r.Status, r.Cause = Good, CauseGood
	if r.Soft {
		r.Cause = CauseSoft
	}
}

// end ends a judgement that proved nothing.
func (j *judgement) end(cause Cause, format string, args ...any) Verification {
	j.say(format, args...)
	j.result.Status, j.result.Cause = Unknown, cause
	return j.result
}

// judgement is one question under way.
type judgement struct {
	v         *Verifier
	ctx       context.Context
	presented Presented
	now, at   time.Time // our clock; the time asked of
	past      bool
	result    Verification
	memo      map[string]finding // by certificate and issuer's key: chains share certificates
}

func (j *judgement) say(format string, args ...any) { j.tell(nil, format, args...) }

func (j *judgement) tell(x *Exchange, format string, args ...any) {
	j.result.Steps = append(j.result.Steps, Step{Text: fmt.Sprintf(format, args...), Exchange: x})
}

// String tells the status in words.
func (r Verification) String() string {
	if r.Status != Revoked {
		return string(r.Status)
	}
	return fmt.Sprintf("revoked at %s as %v", stamp(r.At), r.Reason)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
