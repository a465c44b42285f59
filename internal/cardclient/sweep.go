package cardclient

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"

	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

// ErrSweepOpen: a download is open that may need what is on the card.
var ErrSweepOpen = errors.New("a download is open: finish or abandon it first")

// Kinds of leftovers.
const (
	LeftKey         = "key"         // a key pair, or half of one, without a certificate
	LeftCertificate = "certificate" // a certificate without its key
	LeftDead        = "dead"        // replaced or revoked
	LeftNameless    = "nameless"    // objects without an id
)

// Leftover is what an interrupted run left on the card, and nobody needs.
type Leftover struct {
	Kind  string
	ID    []byte // nil: LeftNameless
	Slot  policy.Slot
	Count int // of objects; more than one for LeftNameless only
}

// Sweep finds what interrupted runs left on the card and takes it off if approve
// says so. It touches nothing that this program did not write, no key whose
// certificate the server has as current or pending (a current one is written to
// the card again instead), and nothing at all while a download is open.
func (c *Client) Sweep(ctx context.Context, approve func([]Leftover) (bool, error)) (*Result, error) {
	r, err := c.start(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { r.session.Close() }()
	if r.me.Open != nil && r.me.Open.State != string(policy.DownloadInstalled) {
		return nil, ErrSweepOpen
	}
	result := &Result{Card: r.me.Card}
	r.repair(ctx, result, true)
	all, err := r.leftoversOn(ctx)
	if err != nil || len(all) == 0 {
		return result, err
	}
	if yes, err := approve(all); err != nil || !yes {
		return result, errors.Join(err, ErrDeclined)
	}
	r.drop(ctx, all, result, true)
	return result, nil
}

// sweep is Sweep as a part of another run, with nothing open: where a code would
// have to be asked for it leaves things as they are.
func (r *run) sweep(ctx context.Context, result *Result) {
	r.repair(ctx, result, false)
	all, err := r.leftoversOn(ctx)
	if err != nil {
		result.keep(Kept{Err: err})
		return
	}
	all = slices.DeleteFunc(all, func(l Leftover) bool { return l.Kind == LeftDead }) // tidied already
	r.drop(ctx, all, result, false)
}

// leftoversOn finds what may be swept. Only what was on the card before the server
// said that nothing is open: another program may have begun since.
func (r *run) leftoversOn(ctx context.Context) ([]Leftover, error) {
	objects, err := r.Card.Objects(ctx)
	if err != nil {
		return nil, err
	}
	n := needsOf(r.me, objects)
	var all []Leftover
	for _, o := range objects {
		if !o.Made() || o.Slot == policy.Transport || string(o.ID) == string(r.session.identity.ID) ||
			!slices.ContainsFunc(r.before, func(id []byte) bool { return string(id) == string(o.ID) }) {
			continue
		}
		if kind := n.kind(o); kind != "" {
			all = append(all, Leftover{Kind: kind, ID: o.ID, Slot: o.Slot, Count: 1})
		}
	}
	if m, ok := r.Card.(token.Mender); ok {
		count, err := m.Nameless(ctx, false)
		if err != nil {
			return nil, err
		}
		if count > 0 {
			all = append(all, Leftover{Kind: LeftNameless, Count: count})
		}
	}
	return all, nil
}

// drop takes leftovers off the card. ask: the signing PIN may be asked for.
func (r *run) drop(ctx context.Context, all []Leftover, result *Result, ask bool) {
	for _, l := range all {
		var err error
		if l.Kind == LeftNameless {
			l.Count, err = r.Card.(token.Mender).Nameless(ctx, true)
		} else {
			err = r.delete(ctx, token.Object{ID: l.ID, Slot: l.Slot}, ask)
		}
		if err != nil {
			result.keep(Kept{ID: l.ID, Slot: l.Slot, Err: err})
			continue
		}
		result.gone(l.ID)
		result.Swept += l.Count
	}
}

// needs is what the server has of a card: what must stay on it, and what is dead.
type needs struct {
	certificates []*x509.Certificate // current and pending
	stay, dead   map[string]bool     // fingerprints
	// elsewhere: each key that is needed is on the card under an object that
	// tells its public key; so an object that does not is none of them.
	elsewhere bool
}

func needsOf(me *wire.Me, objects []token.Object) needs {
	n := needs{stay: map[string]bool{}, dead: map[string]bool{}, elsewhere: true}
	for _, e := range me.EIDs {
		for _, c := range e.Certificates {
			switch c.State {
			case "superseded", "revoked":
				n.dead[c.Fingerprint] = c.Profile != string(policy.Transport)
			case "current", "pending":
				n.stay[c.Fingerprint] = true
				cert, err := x509.ParseCertificate(c.DER)
				if err != nil {
					n.elsewhere = false
					continue
				}
				n.certificates = append(n.certificates, cert)
				n.elsewhere = n.elsewhere && slices.ContainsFunc(objects, func(o token.Object) bool { return o.HasKey && token.SameKey(o.Public, cert.PublicKey) })
			}
		}
	}
	return n
}

// kind says what kind of leftover an object of this program is, or nothing.
func (n needs) kind(o token.Object) string {
	for _, cert := range n.certificates {
		if token.SameKey(o.Public, cert.PublicKey) {
			return ""
		}
	}
	if o.Certificate != nil {
		fp := fingerprint(o.Certificate)
		switch {
		case n.stay[fp]:
			return ""
		case n.dead[fp]:
			return LeftDead
		case !o.HasKey:
			return LeftCertificate
		}
		return "" // whole, and of another server perhaps
	}
	if o.HasKey && o.Public == nil && !n.elsewhere {
		return "" // it may be the key of a current certificate
	}
	return LeftKey
}
