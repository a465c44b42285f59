package target

import (
	"context"
	"errors"
	"fmt"
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
