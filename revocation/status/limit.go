package status

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

// Gate bounds how much is read and signed at once: a hit costs nothing of either,
// and who asks for serials that nobody has would otherwise have all of both.
//
// So many are inside; a few wait, in the order in which they came and not for long;
// everybody else is told to try later at once.
type Gate struct {
	places  chan struct{}
	queue   int64
	waiting atomic.Int64
}

// longestWait is how long a client is kept waiting for its turn; many of them give
// up after a second or two.
const longestWait = 500 * time.Millisecond

// NewGate returns a gate with places inside and queue places to wait before it.
func NewGate(places, queue int) *Gate {
	return &Gate{places: make(chan struct{}, places), queue: int64(queue)}
}

// try enters if there is a place for which nobody waits.
func (g *Gate) try() bool {
	if g == nil {
		return true
	}
	select {
	case g.places <- struct{}{}:
		return true
	default:
		return false
	}
}

// enter reports whether the caller is inside, and must then leave.
func (g *Gate) enter(ctx context.Context) bool {
	if g.try() {
		return true
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.queue {
		return false
	}
	timer := time.NewTimer(longestWait)
	defer timer.Stop()
	select {
	case g.places <- struct{}{}: // whoever waits longest is let in
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func (g *Gate) leave() {
	if g != nil {
		<-g.places
	}
}

// Addresses bounds how often each client is told unknown: such an answer costs a
// signature and is kept nowhere. An IPv6 client has a /64 to take addresses from, so
// that is what is counted. What is remembered is bounded; who has more networks than
// are remembered is bounded by the [Gate] alone.
type Addresses struct {
	known *otter.Cache[netip.Prefix, *rate.Limiter]
	limit rate.Limit
	burst int
}

// remembered addresses take some 4 MB.
const remembered = 10_000

// NewAddresses allows each address perSecond unknown answers in the long run and
// burst of them at once.
func NewAddresses(perSecond float64, burst int) (*Addresses, error) {
	known, err := otter.New(&otter.Options[netip.Prefix, *rate.Limiter]{MaximumSize: remembered})
	if err != nil {
		return nil, err
	}
	return &Addresses{known: known, limit: rate.Limit(perSecond), burst: burst}, nil
}

// network is what is counted as one client; the zero value for what is no address.
func network(from string) netip.Prefix {
	at, err := netip.ParseAddrPort(from)
	if err != nil {
		return netip.Prefix{}
	}
	ip := at.Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}

// Allow counts an answer of another kind that costs as much as unknown does, from the
// same allowance, and reports false if it is one too many. from is a remote address.
func (a *Addresses) Allow(from string, now time.Time) bool { return a.allow(from, now) }

// spent reports whether a client has had all it may have at the moment.
func (a *Addresses) spent(from string, now time.Time) bool {
	if a == nil {
		return false
	}
	l, ok := a.known.GetIfPresent(network(from))
	return ok && l.TokensAt(now) < 1
}

// allow counts one unknown answer, and reports false if it is one too many.
func (a *Addresses) allow(from string, now time.Time) bool {
	if a == nil {
		return true
	}
	l, _ := a.known.ComputeIfAbsent(network(from), func() (*rate.Limiter, bool) {
		return rate.NewLimiter(a.limit, a.burst), false
	})
	return l.AllowN(now, 1)
}
