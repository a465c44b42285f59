package keep

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"sigill/internal/tiles"
)

// standing is how a place stands. Who asks holds asking and is alone with had and
// remembered; the rest is guarded by the Keeper's mu.
type standing struct {
	Place
	asking     chan struct{}
	had        map[tiles.Name]int64 // what this process knows that it has had
	remembered map[tiles.Name]int64 // what the memory knows, as this process has read or written it

	verdict State // Unasked, Trusted, Restored or Forked
	why     error // of the verdict
	err     error // of the last try
	brought map[tiles.Name]int64
	behind  time.Time // since when it lacks a head; zero: it does not
	failed  int64
	tries   int  // that failed in a row
	fresh   bool // it is new, and so is everything else: hardly anything was done here, and nothing is remembered
}

// newborn is how many leaves a log has at most that may never have been brought anywhere:
// what making an installation leaves in it, and somewhat more.
const newborn = 64

func newStanding(p Place) *standing {
	return &standing{Place: p, asking: make(chan struct{}, 1), verdict: Unasked,
		had: map[tiles.Name]int64{}, remembered: map[tiles.Name]int64{}, brought: map[tiles.Name]int64{}}
}

// due reports whether a place is to be asked: it has not all, or has not said that all is
// well.
func (k *Keeper) due(ctx context.Context, p *standing) bool {
	heads, err := k.newest(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil || p.verdict != Trusted || p.tries > 0 {
		return true
	}
	for _, h := range heads {
		if size, ok := p.brought[h.Tree]; h.Note != nil && (!ok || size < h.Checkpoint.Size) {
			return true
		}
	}
	return false
}

// ask brings the newest heads to a place, if that is no answer to its own question, and
// notes what the place says.
func (k *Keeper) ask(ctx context.Context, p *standing) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	select {
	case p.asking <- struct{}{}:
		defer func() { <-p.asking }()
	case <-ctx.Done():
		return // who asks now notes what comes of it
	}
	began := k.config.Now()
	heads, err := k.newest(ctx)
	if err != nil {
		k.note(p, nil, err, began)
		return
	}
	k.mu.Lock()
	settled := p.verdict == Trusted && !errors.Is(p.err, ErrForgotten)
	k.mu.Unlock()
	if !settled {
		fresh, err := k.meet(ctx, p, heads)
		switch {
		case fresh:
			k.change(func() { p.note(nil, err, began) })
			k.begin(ctx, p)
			return
		case err != nil:
			k.note(p, nil, err, began)
			return
		}
	}
	brought, err := k.bring(ctx, p, heads)
	k.note(p, brought, err, began)
}

// meet finds out what a place has seen before anything is brought to it: a place that was
// given a head by a restored database would later seem to have had no more. It returns
// nil if the place can tell; fresh: it cannot, and neither does anybody here know of
// anything that it could tell.
func (k *Keeper) meet(ctx context.Context, p *standing, heads []Head) (fresh bool, err error) {
	remembered, err := k.config.Memory.Remembered(ctx)
	if err != nil {
		return false, fmt.Errorf("reading what places have had: %w", err)
	}
	if !maps.Equal(p.remembered, remembered[p.Name()]) {
		// Somebody has accepted what the place has, or knows more than this process did.
		clear(p.had)
		p.remembered = map[tiles.Name]int64{}
		maps.Copy(p.remembered, remembered[p.Name()])
	}
	seen, err := Seen(ctx, p, heads)
	if err != nil {
		return false, err
	}
	for tree, size := range p.had {
		if seen[tree] < size {
			return false, forgot(tree, size, seen[tree])
		}
	}
	err = Judge(seen, remembered[p.Name()])
	if err == nil || !errors.Is(err, ErrNew) {
		maps.Copy(p.had, seen)
		return false, err
	}
	if k.vouched(p) {
		return false, k.remember(ctx, p, seen)
	}
	fresh = len(remembered) == 0
	for _, h := range heads {
		fresh = fresh && h.Checkpoint.Size <= newborn
	}
	return fresh, err
}

// Seen asks a place how much it has seen of each log.
func Seen(ctx context.Context, p Place, heads []Head) (map[tiles.Name]int64, error) {
	seen := map[tiles.Name]int64{}
	var errs []error
	for _, h := range heads {
		size, err := p.Seen(ctx, h)
		seen[h.Tree] = size
		errs = append(errs, err)
	}
	return seen, errors.Join(errs...)
}

// Judge returns nil if a place that has seen so much can tell whether the database is
// old, after what is remembered of it, [ErrForgotten] or [ErrNew].
func Judge(seen, remembered map[tiles.Name]int64) error {
	known := len(remembered) > 0
	for tree, size := range remembered {
		if seen[tree] < size {
			return forgot(tree, size, seen[tree])
		}
	}
	for _, size := range seen {
		known = known || size > 0
	}
	if !known {
		return ErrNew
	}
	return nil
}

func forgot(tree tiles.Name, had, has int64) error {
	return fmt.Errorf("log of %s: it had %d leaves, and has %d: %w", tree, had, has, ErrForgotten)
}

// vouched reports whether another place has told that the database is not old, so that a
// new one may begin with what is here.
func (k *Keeper) vouched(p *standing) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, other := range k.places {
		if other != p && other.verdict == Trusted {
			return k.state == Trusted
		}
	}
	return false
}

// begin lets a fresh installation begin: hardly anything was done by this database, nothing
// was ever brought anywhere, and every place has answered that it has nothing. That the
// places may begin with nothing is remembered before anything else is done.
func (k *Keeper) begin(ctx context.Context, p *standing) {
	k.mu.Lock()
	p.fresh = p.verdict == Unasked
	all := true
	for _, each := range k.places {
		all = all && each.fresh
	}
	k.mu.Unlock()
	if !all {
		return
	}
	nothing := map[tiles.Name]int64{}
	heads, err := k.newest(ctx)
	for _, h := range heads {
		nothing[h.Tree] = 0
	}
	for _, each := range k.places {
		if err == nil {
			err = k.config.Memory.Remember(ctx, each.Name(), nothing)
		}
	}
	if err != nil {
		k.config.Log.Error("remembering that the places are new", "err", err)
		return
	}
	k.change(func() {
		for _, each := range k.places {
			if each.fresh {
				each.note(nil, nil, time.Time{})
			}
		}
	})
}

// bring has a place keep the heads that are signed.
func (k *Keeper) bring(ctx context.Context, p *standing, heads []Head) (map[tiles.Name]int64, error) {
	brought := map[tiles.Name]int64{}
	var errs []error
	for _, h := range heads {
		if h.Note == nil {
			continue
		}
		lines, err := k.bringOne(ctx, p, h)
		if err == nil {
			brought[h.Tree] = h.Checkpoint.Size
			p.had[h.Tree] = max(p.had[h.Tree], h.Checkpoint.Size)
			if len(lines) > 0 && k.config.Cosigned != nil {
				err = k.config.Cosigned(ctx, h, lines)
			}
		}
		errs = append(errs, err)
	}
	if err := k.remember(ctx, p, p.had); err != nil {
		// The place has it all the same, and is asked again.
		k.config.Log.Warn("remembering what a place has", "place", p.Name(), "err", err)
	}
	return brought, errors.Join(errs...)
}

func (k *Keeper) bringOne(ctx context.Context, p *standing, h Head) ([]byte, error) {
	least := p.had[h.Tree]
	if least > h.Checkpoint.Size {
		// The own head went back beneath this process, or was read before another's.
		size, err := h.Size(ctx)
		if err == nil && least > size {
			err = &AheadError{Tree: h.Tree, Own: size, Kept: least}
		}
		if err != nil {
			return nil, err
		}
		return nil, errAgain
	}
	return p.Bring(ctx, h, least)
}

// remember adds to the memory what a place has, where it was not known, or is twice as
// much as was: to tell a place that has forgotten from one that is new, no more is needed.
func (k *Keeper) remember(ctx context.Context, p *standing, has map[tiles.Name]int64) error {
	news := map[tiles.Name]int64{}
	for tree, size := range has {
		if was, ok := p.remembered[tree]; !ok || size > 2*was {
			news[tree] = size
		}
	}
	if len(news) == 0 {
		return nil
	}
	if err := k.config.Memory.Remember(ctx, p.Name(), news); err != nil {
		return err
	}
	maps.Copy(p.remembered, news)
	return nil
}

// note keeps what became of asking a place, and tells of it.
func (k *Keeper) note(p *standing, brought map[tiles.Name]int64, err error, began time.Time) {
	var fresh bool
	k.change(func() { fresh = p.note(brought, err, began) })
	if fresh && err != nil {
		k.config.Log.Error("keeping the heads of the logs", "place", p.Name(), "err", err)
	}
}

// change does something under k.mu and tells what became of the state by it.
func (k *Keeper) change(do func()) {
	k.mu.Lock()
	do()
	was, is := k.state, k.decided()
	k.state = is
	why := k.why()
	k.mu.Unlock()
	if is != was && k.config.Changed != nil {
		k.config.Changed(was, is, why)
	}
}

// note reports whether the error is another one than before. What a place said before
// stands until it says something else: one that told of more and then falls silent, or
// forgets, has not taken it back. The Keeper's mu is held.
func (p *standing) note(brought map[tiles.Name]int64, err error, began time.Time) (fresh bool) {
	maps.Copy(p.brought, brought)
	fresh = p.err == nil || err == nil || p.err.Error() != err.Error()
	p.err, p.fresh = err, false
	switch {
	case errors.Is(err, ErrForked):
		p.verdict, p.why = Forked, err
	case errors.Is(err, ErrAhead):
		p.verdict, p.why = Restored, err
	case err == nil:
		p.verdict, p.why = Trusted, nil
	}
	if err == nil {
		p.behind, p.tries = time.Time{}, 0
		return fresh
	}
	p.failed++
	p.tries++
	if p.behind.IsZero() {
		p.behind = began
	}
	return fresh
}

// Found is told what this process has itself seen of the own logs since it began:
// [Restored] where they went back beneath it, [Forked] where they are others now, and
// [Trusted] where they continue all that it has seen.
func (k *Keeper) Found(is State, why error) {
	k.change(func() { k.own, k.ownWhy = is, why })
}

// decided derives the state from what the places have said, and from what this process
// has seen. k.mu is held.
func (k *Keeper) decided() State {
	is := Unasked
	switch {
	case k.own.Held():
		is = k.own
	case len(k.places) == 0:
		is = Alone
	}
	for _, p := range k.places {
		switch {
		case p.verdict == Forked || is == Forked:
			is = Forked
		case p.verdict == Restored || is == Restored:
			is = Restored
		case p.verdict == Trusted:
			is = Trusted
		}
	}
	return is
}

// Status is how a place stands.
type Status struct {
	Name   string
	State  State         // what it said last
	Lag    time.Duration // since when it has not taken the newest head
	Failed int64         // tries since the start
	Err    error         // of the last try
}

// Statuses returns how the places stand now.
func (k *Keeper) Statuses() []Status {
	now := k.config.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []Status
	for _, p := range k.places {
		s := Status{Name: p.Name(), State: p.verdict, Failed: p.failed, Err: p.err}
		if !p.behind.IsZero() {
			s.Lag = max(0, now.Sub(p.behind))
		}
		out = append(out, s)
	}
	return out
}
