package status

import "sync"

// putsAtOnce is for how many certificates answers are put at the same time. An object
// store takes three requests of some milliseconds for each, a disk two of its own:
// one after the other, a pass over millions would not end while its answers live.
const putsAtOnce = 16

// flight is numbered work, of which so much is done at once. One goroutine adds and
// lands.
type flight struct {
	places chan struct{}
	under  sync.WaitGroup

	mu     sync.Mutex
	failed int // the lowest number that failed
	err    error
}

func newFlight() *flight { return &flight{places: make(chan struct{}, putsAtOnce)} }

// add begins number n as soon as there is a place, unless something has failed: then
// it returns that error. Numbers rise.
func (f *flight) add(n int, do func() error) error {
	f.places <- struct{}{}
	f.mu.Lock()
	err := f.err
	f.mu.Unlock()
	if err != nil {
		<-f.places
		return err
	}
	f.under.Go(func() {
		defer func() { <-f.places }()
		if err := do(); err != nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.err == nil || n < f.failed {
				f.failed, f.err = n, err
			}
		}
	})
	return nil
}

// land waits for all that was added below n, and returns up to which number everything
// was done, and why not up to n.
func (f *flight) land(n int) (int, error) {
	f.under.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.failed, f.err
	}
	return n, nil
}

// landed is for where nothing is under way.
func landed() error { return nil }
