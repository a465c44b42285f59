package mode

import (
	"context"
	"errors"
	"fmt"
)

// Disk says which file systems must not fill up, and from when on what is left is
// kept for taking back.
type Disk struct {
	// Paths lie on the file systems that are watched.
	Paths []string
	// Free returns the bytes that this process may still write at a path.
	Free func(path string) (uint64, error)
	// StopBelow is the free space below which only taking back goes on. Work
	// goes on again an eighth above it, so that the mode does not flicker.
	StopBelow uint64
	// Reserve is space that is taken beforehand, on the database's file system,
	// and given back when free space falls below its own size: others who fill
	// the disk to the last octet leave that much. Nil: none.
	Reserve     Reserve
	ReserveSize uint64
}

// Reserve is space that is held.
type Reserve interface {
	// Held reports whether it is there, whole.
	Held() bool
	// Make takes it; when it returns nil the space is really allocated.
	Make() error
	// Release gives it back; it is no error if it was not there.
	Release() error
}

func (d Disk) check() error {
	if d.Reserve != nil && (d.ReserveSize == 0 || d.StopBelow < 2*d.ReserveSize) {
		// Making it must not by itself bring the space below where work stops.
		return errors.New("mode: the disk's mark must be at least twice the reserve")
	}
	return nil
}

// resume is from where on work goes on again.
func (d Disk) resume() uint64 { return d.StopBelow + d.StopBelow/8 }

// Relieve gives the reserve back where its own size is not free, and reports whether
// it did: for a start, whose database cannot even be opened on a full disk. After that
// a [Keeper] sees to it.
func (d Disk) Relieve() (bool, error) {
	if d.Reserve == nil {
		return false, nil
	}
	free, err := least(d)
	if err != nil || free >= d.ReserveSize {
		return false, err
	}
	held := d.Reserve.Held()
	return held, d.Reserve.Release() // one of another size is room too
}

// lookAtDisk reads the free space, decides, and sees to the reserve.
func (k *Keeper) lookAtDisk() {
	free, err := least(k.config.Disk)
	k.say("reading the free space", err)
	if !k.weigh(free, err == nil) {
		return
	}
	// Not under the lock: it takes a while, and requests ask meanwhile.
	err = k.config.Disk.Reserve.Make()
	k.say("taking the reserve of space", err)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held = err == nil; k.held && k.low {
		k.release() // a write found no room meanwhile
	}
}

// weigh decides by the free space, gives the reserve back where its own size is
// not free, and reports whether it is to be taken again.
func (k *Keeper) weigh(free uint64, known bool) (take bool) {
	d := k.config.Disk
	k.mu.Lock()
	defer k.mu.Unlock()
	if known {
		k.free, k.known = free, true
	}
	if !k.known && !k.low {
		return false
	}
	switch full := k.config.Now().Before(k.fullTill); {
	case k.known && k.free < d.StopBelow:
		k.stop("free space below the mark")
	case k.low && !full && (!k.known || k.free >= d.resume()):
		k.low = false
		k.config.Log.Warn("there is room again: work goes on", "free", k.free)
	}
	if d.Reserve == nil || !k.known {
		return false
	}
	if k.held && k.free < d.ReserveSize {
		k.release()
	}
	return !k.held && !k.low && k.free >= d.resume()+2*d.ReserveSize
}

// stop keeps what room there is for taking back. Called with mu held.
func (k *Keeper) stop(why string) {
	if !k.low {
		k.config.Log.Error("hardly room to write: only revoking goes on", "why", why, "free", k.free, "paths", k.config.Disk.Paths)
	}
	k.low = true
}

// release gives the reserve back. Called with mu held.
func (k *Keeper) release() {
	err := k.config.Disk.Reserve.Release()
	k.say("giving the reserve of space back", err)
	if err == nil {
		k.held = false
		k.config.Log.Error("the reserve of space was given back, so that revocations can be written", "octets", k.config.Disk.ReserveSize)
	}
}

// least returns the free space where it is least.
func least(d Disk) (uint64, error) {
	min := ^uint64(0)
	for _, path := range d.Paths {
		free, err := d.Free(path)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		if free < min {
			min = free
		}
	}
	return min, nil
}

// Saw looks at an error of the store. One that says that there is no room stops
// issuing at once and gives the reserve back: the next write may be a revocation.
func (k *Keeper) Saw(err error) {
	if err == nil || !k.config.Full(err) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stop("a write found no room")
	k.fullTill = k.config.Now().Add(fullFor)
	if k.held {
		k.release()
	}
}

// store is what the domain's packages ask of a store.
type store[T any] interface {
	Update(ctx context.Context, fn func(*T) error) error
	View(ctx context.Context, fn func(*T) error) error
}

// Watched is a store whose errors a Keeper sees.
type Watched[T any] struct {
	next store[T]
	saw  func(error)
}

// Watch lets k see the errors of a store.
func Watch[T any](k *Keeper, next store[T]) Watched[T] { return Watched[T]{next, k.Saw} }

// Update is the store's.
func (w Watched[T]) Update(ctx context.Context, fn func(*T) error) error {
	err := w.next.Update(ctx, fn)
	w.saw(err)
	return err
}

// View is the store's.
func (w Watched[T]) View(ctx context.Context, fn func(*T) error) error {
	err := w.next.View(ctx, fn)
	w.saw(err)
	return err
}
