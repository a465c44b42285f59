package target

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
)

// Comparison is what Compare found.
type Comparison struct {
	Same, Behind, Ahead int
	// Wrong are objects that cannot be compared or may not be replaced, with why.
	Wrong map[string]error
}

// Compare compares everything that is public here with what the target has, and changes
// nothing. The error is that nothing could be compared; it needs no Run and no Now.
func (m *Mirror) Compare(ctx context.Context) (Comparison, error) {
	local, err := m.scan()
	if err != nil {
		return Comparison{}, err
	}
	c := Comparison{Wrong: map[string]error{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for key, is := range local {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, timeFor(is.size))
			defer cancel()
			rel, err := m.compareOne(ctx, key)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				c.Wrong[key] = err
			case rel == same:
				c.Same++
			case rel == ahead:
				c.Ahead++
			default:
				c.Behind++
			}
		})
	}
	wg.Wait()
	for key, err := range c.Wrong {
		if !errors.Is(err, ErrUnavailable) || len(c.Wrong) < len(local) {
			return c, nil
		}
		return c, fmt.Errorf("%s: %w", key, err)
	}
	return c, nil
}

func (m *Mirror) compareOne(ctx context.Context, key string) (relation, error) {
	f, _, err := m.open(key)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	here, err := m.readHere(f, key)
	if err != nil {
		return 0, err
	}
	_, rel, err := m.look(ctx, key, here)
	return rel, err
}

// Number returns the number of the list that the target has under key, nil if it has
// none. A target that has just not answered is not asked.
func (m *Mirror) Number(ctx context.Context, key string) (*big.Int, error) {
	issuer, _, _ := kind(key)
	cert := m.Issuers[issuer]
	if cert == nil || strings.HasSuffix(key, ".cer") {
		return nil, fmt.Errorf("%s is no list of a CA that is known", key)
	}
	m.mu.Lock()
	waits, because := m.Now().Before(m.outage.until), m.outage.err
	m.mu.Unlock()
	if waits {
		return nil, because
	}
	body, _, err := m.Target.Open(ctx, key)
	if errors.Is(err, ErrNone) {
		return nil, nil
	}
	if err != nil {
		m.mu.Lock()
		m.down(err, m.Now())
		m.mu.Unlock()
		return nil, err
	}
	defer body.Close()
	h, err := readHead(body, key, cert)
	if err != nil {
		return nil, err
	}
	return h.list.Number, nil
}
