package publish

import (
	"fmt"
	"time"

	"sigill/revocation"
)

// Health is how the lists stood at the end of a pass.
type Health struct {
	At time.Time // when the pass ended; zero: none has
	// Behind is since when a partition lacks a revocation that has its number;
	// zero: none does.
	Behind time.Time
	// Ends is when the first of the lists ends that this process publishes; zero:
	// it publishes none.
	Ends time.Time
	// Half is when the first of them has passed half of its life, at which a new
	// one was due.
	Half time.Time
	// Stuck is since when a list that is due could not be published, whatever the reason;
	// zero: none is. What is public in its place may be something that relying parties
	// refuse.
	Stuck time.Time
	// Trouble is the last error of each list that could not be published.
	Trouble []error
}

// Health returns how the lists stood at the end of the last pass. It does not wait
// for one that is under way.
func (p *Publisher) Health() Health {
	if h := p.health.Load(); h != nil {
		return *h
	}
	return Health{}
}

// Worry tells in words why an operator must look at now, "" if there is no reason:
// relying parties refuse every certificate once its list has ended.
func (h Health) Worry(now time.Time) string {
	const grace = time.Minute
	switch {
	case h.At.IsZero(): // a start looks before it serves
	case now.Sub(h.At) > grace:
		return fmt.Sprintf("lists were last looked at %v ago", now.Sub(h.At).Truncate(time.Second))
	case !h.Behind.IsZero() && now.Sub(h.Behind) > grace:
		return fmt.Sprintf("a list has lacked a revocation for %v: %v", now.Sub(h.Behind).Truncate(time.Second), h.Trouble)
	case !h.Half.IsZero() && now.Sub(h.Half) > 10*grace:
		return fmt.Sprintf("a list was due at half of its life, %v ago, and ends at %v: %v", now.Sub(h.Half).Truncate(time.Second), h.Ends, h.Trouble)
	case !h.Stuck.IsZero() && now.Sub(h.Stuck) > 2*grace:
		return fmt.Sprintf("a list could not be published for %v: %v", now.Sub(h.Stuck).Truncate(time.Second), h.Trouble)
	}
	return ""
}

// noteHealth takes down how the lists stand. The caller holds p.mu.
func (p *Publisher) noteHealth(now time.Time) {
	h := Health{At: now}
	behind := map[revocation.List]time.Time{}
	if p.stood == nil || p.known == nil { // it does not lead, and publishes none
		p.stood = map[revocation.List]revocation.Publication{}
	}
	for i := range p.Scopes {
		list := p.Scopes[i].list()
		if t, ok := p.pause[list]; ok {
			h.Trouble = append(h.Trouble, t.err)
			h.Stuck = earliest(h.Stuck, t.since)
		}
		if st := p.known[list]; st != nil {
			p.stood[list] = st.published // what could not be published is forgotten, and stands all the same
		}
		last, ok := p.stood[list]
		if p.known != nil && p.dirty[list] > last.Through && list.Partition != revocation.Whole {
			behind[list] = p.since(list, now)
		}
		if !ok || last.Number == 0 {
			continue
		}
		if last.NextUpdate.Equal(Endless) {
			continue
		}
		half := last.ThisUpdate.Add(last.NextUpdate.Sub(last.ThisUpdate) / 2)
		h.Ends, h.Half = earliest(h.Ends, last.NextUpdate), earliest(h.Half, half)
	}
	for _, t := range behind {
		h.Behind = earliest(h.Behind, t)
	}
	p.behind = behind
	p.health.Store(&h)
}

// since is since when a list lacks something.
func (p *Publisher) since(list revocation.List, now time.Time) time.Time {
	if t, ok := p.behind[list]; ok && !t.After(now) {
		return t
	}
	return now
}

// earliest is the earlier of two times that are set.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
