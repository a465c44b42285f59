package process

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"time"

	"sigill/ca"
	"sigill/internal/app"
	"sigill/internal/bench/figure"
	"sigill/internal/bench/population"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
	"sigill/revocation"
)

// Order is what a process is told to do.
type Order struct {
	// Revoke are serials to revoke as an administrator does, AtOnce at once.
	Revoke []ca.Serial `json:"revoke,omitempty"`
	AtOnce int         `json:"atOnce,omitempty"`
	// AsList revokes them by one list, which two administrators state; the time is
	// that from the approval until all are revoked.
	AsList bool `json:"asList,omitempty"`
	// Issue issues so many technical certificates, which Revoke then revokes
	// without anybody's right being asked for.
	Issue int `json:"issue,omitempty"`
	// Listed waits until so many entries stand in the lists of all partitions.
	Listed int `json:"listed,omitempty"`
	// Sign answers requests in this process for so long, on all cores.
	Sign     time.Duration `json:"sign,omitempty"`
	Requests [][]byte      `json:"requests,omitempty"`
}

// Outcome is what became of it.
type Outcome struct {
	Took  time.Duration   `json:"took"`
	Times []time.Duration `json:"times,omitempty"`
	Count int             `json:"count"`
	// Serials are those that were issued.
	Serials []ca.Serial `json:"serials,omitempty"`
	// Bare is how many bare signatures a second the same cores make, or the
	// nanoseconds that the hash of a list takes.
	Bare float64 `json:"bare,omitempty"`
	// Of lists: the first of a process, memory at the most, length.
	First  time.Duration `json:"first,omitempty"`
	Peak   int64         `json:"peak,omitempty"`
	Octets int64         `json:"octets,omitempty"`
	Error  string        `json:"error,omitempty"`
}

// Revoker revokes in the service's process, by the act that administrators call over
// the API.
type Revoker struct {
	a      *app.App
	dir    string
	caller register.Caller
	issued map[ca.Serial]*issue.Certificate
}

// NewRevoker revokes in an installation that is open in this process. Its methods are
// for one goroutine.
func NewRevoker(a *app.App, dir string) *Revoker { return &Revoker{a: a, dir: dir} }

func (r *Revoker) do(ctx context.Context, q Order) (o Outcome) {
	var err error
	began := time.Now()
	switch {
	case q.Issue > 0:
		o.Serials, err = r.issue(ctx, q.Issue)
	case q.Listed > 0:
		o.Count, err = r.listed(ctx, q.Listed)
	case q.AsList:
		o.Times, err = r.asList(ctx, q.Revoke)
		o.Count = len(q.Revoke)
	default:
		o.Times, err = r.Revoke(ctx, q)
		o.Count = len(o.Times)
	}
	o.Took = time.Since(began)
	if q.AsList && err == nil {
		o.Took = o.Times[0]
	}
	if err != nil {
		o.Error = err.Error()
	}
	return o
}

// Revoke revokes what q names and returns what each took.
func (r *Revoker) Revoke(ctx context.Context, q Order) ([]time.Duration, error) {
	if r.caller.Person == "" && r.issued == nil {
		p, err := population.Open(r.dir)
		if err != nil {
			return nil, err
		}
		r.caller = register.Caller{Person: p.Administrators[0], Organisation: p.Organisation, IDKind: policy.ByHSAID, LoA: 3,
			Profile: policy.ProfileAuthentication}
	}
	times := make([]time.Duration, len(q.Revoke))
	return times, figure.Each(len(q.Revoke), max(q.AtOnce, 1), func(i int) error {
		began := time.Now()
		err := r.one(ctx, q.Revoke[i])
		times[i] = time.Since(began)
		if err != nil {
			return fmt.Errorf("revoking %s: %w", q.Revoke[i], err)
		}
		return nil
	})
}

// one revokes one certificate, by the act of an administrator where there is one.
func (r *Revoker) one(ctx context.Context, s ca.Serial) error {
	cert, ours := r.issued[s]
	if !ours {
		_, err := r.a.Downloads.Revoke(ctx, r.caller, s, ca.CessationOfOperation)
		return err
	}
	return r.a.DB.Issue().Update(ctx, func(tx *issue.Tx) error {
		_, err := issue.Revoke(tx, cert, ca.CessationOfOperation, "eid.revoked", "system", time.Now())
		return err
	})
}

// issue issues n technical certificates.
func (r *Revoker) issue(ctx context.Context, n int) (serials []ca.Serial, err error) {
	r.issued = map[ca.Serial]*issue.Certificate{}
	for i := range n {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		cert, err := r.a.Issue.Issue(ctx, population.Issuer, ca.Request{Profile: policy.ProfileOCSP, PublicKey: key.Public(), NotBefore: now.Add(-register.Backdate),
			NotAfter: now.Add(24 * time.Hour), Content: ca.Content{Country: "SE", CommonName: fmt.Sprintf("Technical %d", i)}}, issue.Binding{}, nil)
		if err != nil {
			return nil, err
		}
		serials = append(serials, cert.Serial)
		r.issued[cert.Serial] = cert
	}
	return serials, nil
}

// listed waits until the published lists of all partitions have n entries together.
func (r *Revoker) listed(ctx context.Context, n int) (count int, err error) {
	issuer, err := r.a.Issuers.Issuer(population.Issuer)
	if err != nil {
		return 0, err
	}
	for {
		err := r.a.DB.Revocation().View(ctx, func(tx *revocation.Tx) error {
			count = 0
			for partition := range issuer.Partitions() {
				p, err := tx.NewestPublication(population.Issuer, revocation.List{Issuer: population.Issuer, Partition: partition}.Scope(), revocation.Published)
				if err != nil {
					return err
				}
				count += p.Entries
			}
			return nil
		})
		if err != nil || count >= n {
			return count, err
		}
		select {
		case <-ctx.Done():
			return count, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}
