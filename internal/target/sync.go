package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

const (
	// objectTime is how long one object may take, before what its size needs.
	objectTime = 30 * time.Second
	// leastSpeed of a target that is still taken for one that works, octets/s.
	leastSpeed = 256 << 10
	// contests is how often one object is compared again because another publisher was
	// faster, before it waits like any other failure.
	contests = 5
)

// one brings one object to the target and notes what came of it.
func (m *Mirror) one(ctx context.Context, key string) {
	m.mu.Lock()
	known := *m.objects[key]
	m.mu.Unlock()
	is, version, rel, err := m.sync(ctx, key, known)
	now := m.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.objects[key]
	o.busy = false
	if err != nil {
		if ctx.Err() == nil {
			m.note(key, o, err, now)
		}
		return
	}
	m.row = 0
	if rel == ahead && !o.ahead {
		m.Log.Info("mirror: another publisher is ahead", "target", m.Name, "object", key)
	}
	if o.trouble.err != nil {
		m.Log.Info("mirror: done after failures", "target", m.Name, "object", key, "tries", o.trouble.tries)
	}
	o.version, o.looked, o.behind, o.trouble = version, now, time.Time{}, trouble{}
	if o.ahead = rel == ahead && o.local == is; rel != ahead {
		o.synced = is
	}
}

// note records a failure. m.mu is held.
func (m *Mirror) note(key string, o *object, err error, now time.Time) {
	m.failed++
	if o.trouble.err == nil || o.trouble.err.Error() != err.Error() {
		m.Log.Error("mirror", "target", m.Name, "object", key, "err", err)
	}
	o.looked = now
	o.trouble = o.trouble.after(err, now, orDefault(m.PauseMin, DefaultPauseMin), orDefault(m.PauseMax, DefaultPauseMax))
	if o.synced == o.local && o.behind.IsZero() { // it was there, and what is there now is not known
		o.synced, o.behind = stamp{}, now
	}
	if !errors.Is(err, ErrUnavailable) {
		m.row = 0
		return
	}
	if m.row++; m.row >= downAfter {
		m.down(err, now)
	}
}

// sync compares what is here with what the target has, and puts it there if it follows.
func (m *Mirror) sync(ctx context.Context, key string, known object) (stamp, Version, relation, error) {
	f, is, err := m.open(key)
	if err != nil {
		return is, "", 0, err
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(ctx, timeFor(is.size))
	defer cancel()
	if known.synced == is {
		// Only asked again whether it is still there: nobody needs to read it for that.
		if there, err := m.Target.Look(ctx, key); err == nil && there.Version == known.version {
			return is, there.Version, same, nil
		}
	}
	here, err := m.readHere(f, key)
	if err != nil {
		return is, "", 0, err
	}
	_, mediaType, _ := kind(key)
	for range contests {
		old, rel, err := m.look(ctx, key, here)
		if errors.Is(err, ErrChanged) {
			continue
		}
		if err != nil || rel != newer {
			return is, old, rel, err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return is, "", 0, err
		}
		put, err := m.Target.Put(ctx, key, Content{Body: f, Size: here.size, SHA256: here.sha256, Type: mediaType}, old)
		if !errors.Is(err, ErrChanged) {
			return is, put, newer, err
		}
	}
	return is, "", 0, fmt.Errorf("another publisher was faster %d times: %w", contests, ErrChanged)
}

func timeFor(size int64) time.Duration {
	return objectTime + time.Duration(size/leastSpeed)*time.Second
}

// readHere reads the local object: what is damaged here goes nowhere.
func (m *Mirror) readHere(f io.Reader, key string) (head, error) {
	issuer, _, _ := kind(key)
	cert := m.Issuers[issuer]
	if cert == nil {
		return head{}, fmt.Errorf("%s is in the public directory, and no CA is called %s", key, issuer)
	}
	here, err := readHead(f, key, cert)
	if err != nil {
		return head{}, fmt.Errorf("what is public here is damaged, and stays here: %w", err)
	}
	return here, nil
}

// look relates what is here to what the target has now. ErrChanged: it changed meanwhile.
func (m *Mirror) look(ctx context.Context, key string, here head) (Version, relation, error) {
	there, err := m.Target.Look(ctx, key)
	switch {
	case errors.Is(err, ErrNone):
		return "", newer, nil
	case err != nil:
		return "", 0, err
	case there.SHA256 == here.sha256:
		return there.Version, same, nil
	}
	rel, err := m.relate(ctx, key, here, there)
	return there.Version, rel, err
}

// relate reads what the target has, of which Look has said looked, and compares it.
//
// Not every store reads an object and the name of its version in one step. What is put
// replaces the version that Look saw before the object was opened, so that what was compared
// is that one or a later one, and never an older; and if it is not that one still, what
// is noted beside it may be of another.
func (m *Mirror) relate(ctx context.Context, key string, here head, looked Present) (relation, error) {
	body, present, err := m.Target.Open(ctx, key)
	if errors.Is(err, ErrNone) || err == nil && present != looked {
		err = errors.Join(ErrChanged, err)
	}
	if body != nil {
		defer body.Close()
	}
	if err != nil {
		return 0, err
	}
	issuer, _, _ := kind(key)
	there, err := readHead(&source{r: body}, key, m.Issuers[issuer])
	if cause := (*failedRead)(nil); errors.As(err, &cause) {
		return 0, fmt.Errorf("reading what the target has: %w", err) // it did not come whole
	}
	if err != nil {
		return 0, refuse("what the target has is damaged or another's, and relying parties may have believed it; look why, then move it away: %v", err)
	}
	if present.SHA256 != [32]byte{} && present.SHA256 != there.sha256 {
		return 0, refuse("what the target has is not what was put: its hash is %x, noted beside it is %x", there.sha256, present.SHA256)
	}
	return compare(here, there)
}

// source tells an object that cannot be read from one that is wrong: only the second is
// anybody's fault.
type source struct{ r io.Reader }

type failedRead struct{ err error }

func (e *failedRead) Error() string   { return e.err.Error() }
func (e *failedRead) Unwrap() []error { return []error{e.err, ErrUnavailable} }

func (s *source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && err != io.EOF {
		err = &failedRead{err}
	}
	return n, err
}

// open opens the local file. A publisher that replaces it meanwhile does not matter: what
// was opened is compared and put as it is.
func (m *Mirror) open(key string) (*os.File, stamp, error) {
	f, err := os.Open(filepath.Join(m.Dir, filepath.FromSlash(key)))
	if err != nil {
		return nil, stamp{}, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, stamp{}, err
	}
	return f, stamp{info.ModTime(), info.Size()}, nil
}

// Status is how a target stands.
type Status struct {
	Name string
	// Lag is the age of the oldest object that is public here and not there. After a start,
	// what nobody has compared yet counts from the start.
	Lag     time.Duration
	Behind  int // objects that are public here and not there
	Refused int // of these, how many may not replace what the target has
	Ahead   int // objects of which the target has a newer one, another publisher's
	Objects int
	Failed  int64  // tries that failed since the start
	Err     error  // the last one that still matters; nil: none
	Object  string // that it is about; empty: the target as a whole
	At      time.Time
}

// Status returns how the target stands now.
func (m *Mirror) Status() Status {
	now := m.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Status{Name: m.Name, Objects: len(m.objects), Failed: m.failed, Err: m.outage.err, At: m.outage.at}
	for key, o := range m.objects {
		if o.ahead {
			s.Ahead++
		}
		if o.behind.IsZero() {
			continue
		}
		s.Behind++
		s.Lag = max(s.Lag, now.Sub(o.behind))
		if r := (*Refusal)(nil); errors.As(o.trouble.err, &r) {
			s.Refused++
		}
		if o.trouble.err != nil && m.outage.err == nil && (s.Err == nil || o.trouble.at.After(s.At)) {
			s.Err, s.At, s.Object = o.trouble.err, o.trouble.at, key
		}
	}
	return s
}
