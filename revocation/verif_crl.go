package revocation

import (
	"context"
	"errors"
	"time"

	"sigill/revocation/read"
)

// crlAt takes the list at an address, or what is kept of it.
func (j *judgement) crlAt(address string, t target, points []string) (finding, error) {
	key := "crl " + issuerKey(t.issuer) + address
	held, _ := j.v.Cache.get(key)
	if held.list != nil && j.fresh(held.fetched) {
		if f, err := j.useCRL(held.list, t, points, &Exchange{Kind: FromCache, Address: address}); err == nil {
			return f, nil
		}
	}
	x := &Exchange{Kind: FromCRL}
	list, err := j.fetchCRL(key, address, t, x)
	if err == nil {
		var f finding
		if f, err = j.useCRL(list, t, points, x); err == nil {
			return f, nil
		}
	} else {
		x.Error = err.Error()
		j.tell(x, "CRL for %s: none: %v", t.name(), err)
	}
	if held.list != nil {
		if f, err := j.useCRL(held.list, t, points, &Exchange{Kind: FromCache, Address: address}); err == nil {
			return f, nil
		}
	}
	return finding{}, err
}

// fetched is a list as one of those who wanted it got it.
type fetched struct {
	list   *read.List
	took   time.Duration
	octets int
}

// fetchCRL fetches, verifies and keeps a list. Those who want the same list at
// the same time wait for one of them: at the end of a list everybody comes at once.
func (j *judgement) fetchCRL(key, address string, t target, x *Exchange) (*read.List, error) {
	var got fetched
	var err error
	if j.v.Cache == nil {
		got, err = j.loadCRL(j.ctx, key, address, t)
	} else {
		got, err = j.together(key, func() (fetched, error) {
			// Who looked into the cache just before it was filled need not fetch again.
			if k, _ := j.v.Cache.get(key); k.list != nil && j.fresh(k.fetched) && j.inForce(k.list.Head.ThisUpdate, k.list.Head.NextUpdate) == nil {
				return fetched{list: k.list}, nil
			}
			// Whoever came first may leave; the others still want the list.
			return j.loadCRL(context.WithoutCancel(j.ctx), key, address, t)
		})
	}
	x.Address, x.Took, x.Octets = address, got.took, got.octets
	return got.list, err
}

// loadCRL returns what is verified, and keeps what is to be believed.
func (j *judgement) loadCRL(ctx context.Context, key, address string, t target) (fetched, error) {
	var got fetched
	der, took, err := j.get(ctx, address)
	got.took, got.octets = took, len(der)
	if err != nil {
		return got, err
	}
	list, err := read.CRL(der, t.issuer)
	if err != nil {
		return got, err
	}
	if j.current(list, t) == nil {
		j.v.Cache.put(key, kept{list: list, fetched: j.now, octets: list.Octets()})
	}
	got.list = list
	return got, nil
}

// current says why a list is not to be believed now: its time, or that a newer one
// of its scope has been seen.
func (j *judgement) current(list *read.List, t target) error {
	h := list.Head
	if err := j.inForce(h.ThisUpdate, h.NextUpdate); err != nil {
		return err
	}
	if err := j.v.Cache.admit(issuerKey(t.issuer)+list.Scope(), h.Number, h.ThisUpdate); err != nil {
		return failed(outdated, "%w", err)
	}
	return nil
}

// together runs load once for all who ask at the same time. Each waits no longer
// than its own context lets it.
func (j *judgement) together(key string, load func() (fetched, error)) (fetched, error) {
	type outcome struct {
		got fetched
		err error
	}
	done := j.v.Cache.flights.DoChan(key, func() (any, error) {
		got, err := load()
		return outcome{got, err}, nil
	})
	select {
	case o := <-done:
		out := o.Val.(outcome)
		return out.got, out.err
	case <-j.ctx.Done():
		return fetched{}, failed(unreachable, "%w", j.ctx.Err())
	}
}

// listAtHand judges by a list that was presented.
func (j *judgement) listAtHand(der []byte, t target, points []string) (finding, error) {
	x := &Exchange{Kind: FromCRL, Octets: len(der)}
	list, err := read.CRL(der, t.issuer)
	if err == nil {
		return j.useCRL(list, t, points, x)
	}
	x.Error = err.Error()
	j.tell(x, "CRL at hand for %s: none: %v", t.name(), err)
	return finding{}, err
}

// useCRL looks a certificate up in a verified list.
func (j *judgement) useCRL(list *read.List, t target, points []string, x *Exchange) (finding, error) {
	h := list.Head
	x.ThisUpdate, x.NextUpdate, x.Signer, x.Number, x.Scope = h.ThisUpdate, h.NextUpdate, list.Issuer, h.Number.String(), list.Scope()
	x.Entries, x.Octets = h.Entries, int(h.Size)
	err := list.Covers(t.cert, points)
	if err != nil {
		return j.told(x, t, finding{}, err, nil)
	}
	doubt := j.current(list, t)
	if doubt == nil && len(t.cert.OCSPServer) > 0 {
		doubt = j.tooOld(h.ThisUpdate)
	}
	f := finding{status: Good}
	if at, reason, listed := list.Lookup(t.cert.SerialNumber); listed {
		f = finding{status: Revoked, reason: reason, at: at, cause: CauseRevoked}
	}
	var expired error
	if t.cert.NotAfter.Before(h.ThisUpdate) {
		expired = errors.New("the certificate has expired since, and lists leave out what has expired")
	}
	return j.told(x, t, f, doubt, expired)
}
