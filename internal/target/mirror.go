package target

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"sigill/ca"
)

// Defaults of a Mirror.
const (
	DefaultInterval = 500 * time.Millisecond // between two looks at what is public here
	DefaultRecheck  = 10 * time.Minute       // until it is asked again whether the target still has it
	DefaultPauseMin = time.Second            // after a first failure
	DefaultPauseMax = time.Minute            // after many
	atOnce          = 8                      // objects of one target
	// What can be lost of a target that does not answer is asked again sooner than an object that
	// was refused: it costs one request, and everything waits for it.
	downPauseMax = 10 * time.Second
	// downAfter failures in a row to reach the target are taken for an outage of it.
	downAfter = 3
)

// Mirror keeps one target up with the public directory. A failing object keeps no other
// back, and a failing target no other mirror. It deletes nothing: lists of closed
// partitions stay. Its methods may be called concurrently; Run runs once.
type Mirror struct {
	Name string
	// Dir is the local public directory, whose files are replaced by renaming.
	Dir    string
	Target Target
	// Issuers are the certificates of all CAs: nothing is put, and nothing replaced, that
	// does not verify under them.
	Issuers map[ca.IssuerID]*x509.Certificate
	Now     func() time.Time
	Log     *slog.Logger
	// Interval, Recheck, PauseMin and PauseMax default to the constants above.
	Interval, Recheck, PauseMin, PauseMax time.Duration

	mu      sync.Mutex
	objects map[string]*object // guarded by mu, as is the rest
	started time.Time          // of the first look
	checked bool               // Target.Check was nil since the target was last down
	outage  trouble            // of the target as a whole
	row     int                // failures to reach it, one after the other
	failed  int64
}

// stamp is one state of a local file. Files are replaced and never written over.
type stamp struct {
	modified time.Time
	size     int64
}

// object is what is known of one key.
type object struct {
	local   stamp
	synced  stamp     // that was found or put at the target
	version Version   // that the target then had
	looked  time.Time // when the target was last asked
	ahead   bool      // the target has a newer one than local
	behind  time.Time // since when the target lacks what is here; zero: it does not
	busy    bool
	trouble trouble
}

// trouble is a last error and when it is tried again.
type trouble struct {
	err       error
	tries     int
	at, until time.Time
}

// after is the trouble after one more failure at now. The pause is drawn, so that what
// failed together does not come back together.
func (t trouble) after(err error, now time.Time, least, most time.Duration) trouble {
	pause := least << min(t.tries, 20)
	if pause > most || pause <= 0 {
		pause = most
	}
	pause = pause/2 + rand.N(pause/2+1)
	return trouble{err: err, tries: t.tries + 1, at: now, until: now.Add(pause)}
}

// Check reports what is missing in a Mirror.
func (m *Mirror) Check() error {
	if m.Name == "" || m.Dir == "" || m.Target == nil || len(m.Issuers) == 0 || m.Now == nil || m.Log == nil {
		return fmt.Errorf("mirror %q: name, directory, target, issuers, clock or log is missing", m.Name)
	}
	return nil
}

// Run mirrors until ctx ends and what is under way has ended. What is due then is left to
// Drain.
func (m *Mirror) Run(ctx context.Context) {
	t := time.NewTicker(orDefault(m.Interval, DefaultInterval))
	defer t.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, atOnce)
	for {
		m.begin(ctx, &wg, slots)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Drain tries everything that is due once more, whatever it waits for, and returns what the
// target then still lacks as an error. Run must have returned.
func (m *Mirror) Drain(ctx context.Context) error {
	m.mu.Lock()
	m.outage.until, m.row = time.Time{}, 0
	for _, o := range m.objects {
		o.trouble.until = time.Time{}
	}
	m.mu.Unlock()
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for m.begin(ctx, &wg, slots) {
		// Wait for a free slot rather than for all of them: one slow object keeps none back.
		select {
		case slots <- struct{}{}:
			<-slots
		case <-ctx.Done():
		}
	}
	wg.Wait()
	s := m.Status()
	if s.Behind == 0 {
		return nil
	}
	return fmt.Errorf("target %s lacks %d objects: %w", m.Name, s.Behind, s.Err)
}

// begin looks at what is public here and begins with what is due, as far as there are free
// slots. It reports whether more was due than could be begun.
func (m *Mirror) begin(ctx context.Context, wg *sync.WaitGroup, slots chan struct{}) (more bool) {
	if ctx.Err() != nil {
		return false
	}
	now := m.Now()
	local, err := m.scan()
	if err != nil {
		m.Log.Error("mirror: reading the public directory", "target", m.Name, "err", err)
		return false
	}
	due := m.due(local, now)
	if len(due) == 0 || !m.usable(ctx, now) {
		return false
	}
	for _, key := range due {
		select {
		case slots <- struct{}{}:
		default:
			return true
		}
		m.mu.Lock()
		o := m.objects[key]
		down := now.Before(m.outage.until)
		if !down {
			o.busy = true
		}
		m.mu.Unlock()
		if down { // since the others were begun
			<-slots
			return false
		}
		wg.Go(func() {
			defer func() { <-slots }()
			m.one(ctx, key)
		})
	}
	return false
}

// scan reads what is public here.
func (m *Mirror) scan() (map[string]stamp, error) {
	root, err := os.OpenRoot(m.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	out := map[string]stamp{}
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // replaced or removed since it was listed
		}
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && name != "aia" && name != "crl" && path.Dir(name) != "crl" {
			return fs.SkipDir
		}
		if _, _, ok := kind(name); !ok || !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err == nil {
			out[name] = stamp{info.ModTime(), info.Size()}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	return out, err
}

// due takes over what scan has found and returns what is to be done now, what the target
// lacks longest first.
func (m *Mirror) due(local map[string]stamp, now time.Time) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.objects == nil {
		m.objects, m.started = map[string]*object{}, now
	}
	for key := range m.objects {
		if _, ok := local[key]; !ok && !m.objects[key].busy {
			delete(m.objects, key) // not public here any more; there it stays
		}
	}
	var due []string
	for key, is := range local {
		o := m.objects[key]
		if o == nil {
			o = &object{}
			m.objects[key] = o
		}
		if o.local != is {
			o.local, o.ahead = is, false
			if !o.looked.IsZero() && o.synced != (stamp{}) && o.behind.IsZero() {
				o.trouble = trouble{} // of another content
			}
		}
		current := o.synced == is || o.ahead
		if !current && o.behind.IsZero() {
			o.behind = is.modified
			if o.looked.IsZero() && o.behind.Before(m.started) {
				o.behind = m.started // perhaps the target has it: nobody has looked yet
			}
		}
		if o.busy || now.Before(o.trouble.until) || current && now.Sub(o.looked) < orDefault(m.Recheck, DefaultRecheck) {
			continue
		}
		due = append(due, key)
	}
	slices.SortFunc(due, func(a, b string) int {
		x, y := m.objects[a], m.objects[b]
		// What is behind goes before what is only looked at again.
		if x.behind.IsZero() != y.behind.IsZero() {
			if x.behind.IsZero() {
				return 1
			}
			return -1
		}
		if c := x.behind.Compare(y.behind); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	return due
}

// usable reports whether the target as a whole may be used now.
func (m *Mirror) usable(ctx context.Context, now time.Time) bool {
	m.mu.Lock()
	checked, waits := m.checked, now.Before(m.outage.until)
	m.mu.Unlock()
	if checked || waits {
		return checked && !waits
	}
	ctx, cancel := context.WithTimeout(ctx, objectTime)
	defer cancel()
	err := m.Target.Check(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.down(err, m.Now())
		return false
	}
	if m.outage.err != nil {
		m.Log.Info("mirror: the target is back", "target", m.Name)
	}
	m.checked, m.outage, m.row = true, trouble{}, 0
	for _, o := range m.objects { // what failed because of the outage need not wait longer
		if errors.Is(o.trouble.err, ErrUnavailable) {
			o.trouble.until = time.Time{}
		}
	}
	return true
}

// down notes an outage. m.mu is held.
func (m *Mirror) down(err error, now time.Time) {
	m.failed++
	if m.outage.err == nil || m.outage.err.Error() != err.Error() {
		m.Log.Error("mirror: the target cannot be used", "target", m.Name, "err", err)
	}
	most := min(orDefault(m.PauseMax, DefaultPauseMax), downPauseMax)
	m.outage = m.outage.after(err, now, orDefault(m.PauseMin, DefaultPauseMin), most)
	m.checked = false
}

func orDefault(d, standard time.Duration) time.Duration {
	if d == 0 {
		return standard
	}
	return d
}
