// Package mode knows under which conditions the service works right now: a
// planned outage that an operator announced, a disk that is nearly full. It owns
// the file by which an outage is announced, the watch over free space and the
// space that is kept in reserve for revoking, and asks [policy.MayWork] what each
// condition allows.
//
// It must not know requests, orders or the database: an outage can be announced
// while the database does not work, and a full disk is noticed by its errors. Its
// central rule is that whatever happens, taking back stays possible: what cannot
// be read is taken as the stricter condition.
package mode

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sigill/ca"
	"sigill/policy"
)

const (
	// lookEvery is how often the announcement and the disk are looked at: what
	// an operator says is heard within a second.
	lookEvery = 500 * time.Millisecond
	// fullFor is how long a write that found no room keeps issuing stopped,
	// however much room there seems to be: a quota and a disk at another
	// machine are not seen here. After it the next write tells.
	fullFor = 30 * time.Second
)

// Config is what a Keeper needs. All fields but Failing, Ended, Restored, Clock, Record,
// Disk.Paths and Disk.Reserve must be set.
type Config struct {
	// Dir is the installation's directory, where outages are announced.
	Dir  string
	Disk Disk
	// Full reports whether an error of the store says that there is no room.
	Full func(error) bool
	// Failing returns the issuing CAs whose keys do not sign; nil: none ever.
	Failing func() []ca.IssuerID
	// Ended returns the issuing CAs that issue nothing any more; nil: none.
	Ended func() []ca.IssuerID
	// Restored reports whether the database is, or may be, older than what was told
	// outside of it; nil: it never is.
	Restored func() bool
	// Clock returns the modes that the clock is a reason for; nil: none ever.
	Clock func() []policy.Mode
	// Record makes an outage's beginning or end an event; nil: not recorded.
	// What it does not manage it is asked to do again. It may be asked twice for
	// the same when the process dies in between.
	Record func(ctx context.Context, act Act, n Notice) error
	Log    *slog.Logger
	Now    func() time.Time
}

// Act is what became of an outage.
type Act string

// Acts.
const (
	Begun Act = "begun"
	Ended Act = "ended"
)

// Keeper knows the modes in effect. It is safe for concurrent use; Look and Run
// are one goroutine's.
type Keeper struct {
	config Config

	mu       sync.Mutex
	notice   Notice
	low      bool
	fullTill time.Time // issuing stays stopped until then
	free     uint64    // at the last look, where it was least
	known    bool      // free was read
	held     bool      // the reserve is there

	// Of Look's goroutine.
	recorded string // the last line of the record file that is true
	kept     string // the line that is on the disk

	told sync.Mutex
	said map[string]string // guarded by told
}

// New returns a Keeper that has not looked yet.
func New(c Config) (*Keeper, error) {
	if c.Dir == "" || c.Full == nil || c.Log == nil || c.Now == nil || c.Disk.Free == nil {
		return nil, errors.New("mode: directory, disk, log or clock is missing")
	}
	if err := c.Disk.check(); err != nil {
		return nil, err
	}
	if c.Failing == nil {
		c.Failing = func() []ca.IssuerID { return nil }
	}
	if c.Clock == nil {
		c.Clock = func() []policy.Mode { return nil }
	}
	if c.Ended == nil {
		c.Ended = func() []ca.IssuerID { return nil }
	}
	if c.Restored == nil {
		c.Restored = func() bool { return false }
	}
	k := &Keeper{config: c, said: map[string]string{}}
	k.held = c.Disk.Reserve != nil && c.Disk.Reserve.Held()
	k.recorded = readRecorded(c.Dir)
	k.kept = k.recorded
	return k, nil
}

// Run looks again and again until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			k.Look(ctx)
		}
	}
}

// Look looks once at the announcement and at the disk. What goes wrong is
// logged, once until it changes.
func (k *Keeper) Look(ctx context.Context) {
	k.lookAtNotice(ctx)
	k.lookAtDisk()
}

func (k *Keeper) lookAtNotice(ctx context.Context) {
	n, err := ReadNotice(k.config.Dir)
	k.say("reading the announcement of an outage", err)
	if err != nil {
		// Somebody meant to announce something. Until it can be read issuing
		// stops, as an outage without words.
		n = Notice{ID: "unreadable", Begun: k.config.Now()}
	}
	k.mu.Lock()
	if was := k.notice; was.Active() != n.Active() || was.ID != n.ID {
		k.config.Log.Warn("planned outage", "active", n.Active(), "id", n.ID, "until", n.Until)
	}
	k.notice = n
	k.mu.Unlock()
	if err == nil {
		k.record(ctx, n)
	}
}

// record makes events of what was announced since the last one that was made.
func (k *Keeper) record(ctx context.Context, n Notice) {
	act := Begun
	if !n.Active() {
		act = Ended
	}
	line := string(act) + " " + n.ID
	if n.ID == "" || k.config.Record == nil {
		return
	}
	if line != k.recorded {
		if act == Ended && k.recorded != string(Begun)+" "+n.ID {
			// Begun and ended between two looks, or while nobody served.
			if !k.recordOne(ctx, Begun, n) {
				return
			}
		}
		if !k.recordOne(ctx, act, n) {
			return
		}
	}
	if k.kept != k.recorded {
		err := writeRecorded(k.config.Dir, k.recorded)
		k.say("keeping what was recorded of an outage", err)
		if err == nil {
			k.kept = k.recorded
		}
	}
}

func (k *Keeper) recordOne(ctx context.Context, act Act, n Notice) bool {
	err := k.config.Record(ctx, act, n)
	k.say("recording an outage", err)
	if err == nil {
		k.recorded = string(act) + " " + n.ID
	}
	return err == nil
}

// say logs an error of something that is done again and again, when it comes and
// when it changes.
func (k *Keeper) say(what string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	k.told.Lock()
	defer k.told.Unlock()
	if k.said[what] != text && err != nil {
		k.config.Log.Error(what, "err", err)
	}
	k.said[what] = text
}

// Outage returns the announcement of the planned outage that is in effect.
func (k *Keeper) Outage() (Notice, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.notice, k.notice.Active()
}

// conditions are the modes in effect that concern everybody, the strictest
// first.
func (k *Keeper) conditions() []policy.Mode {
	var out []policy.Mode
	if k.config.Restored() {
		out = append(out, policy.ModeRestored)
	}
	clock := k.config.Clock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.low {
		out = append(out, policy.ModeDiskLow)
	}
	out = append(out, clock...)
	if k.notice.Active() {
		out = append(out, policy.ModeOutage)
	}
	return out
}

// Modes returns the modes in effect, the strictest first; normal if there is no
// other.
func (k *Keeper) Modes() []policy.Mode {
	out := k.conditions()
	if len(k.config.Ended()) > 0 {
		out = append(out, policy.ModeIssuerEnded)
	}
	if len(k.config.Failing()) > 0 {
		out = append(out, policy.ModeSignerDown)
	}
	if len(out) == 0 {
		out = append(out, policy.ModeNormal)
	}
	return out
}

// MayWork decides whether work may be done under all conditions that concern
// everybody. That a CA's key does not sign is asked where it is known which CA is
// meant.
func (k *Keeper) MayWork(w policy.Work) policy.Decision {
	for _, m := range k.conditions() {
		if d := policy.MayWork(m, w); !d.Allow {
			return d
		}
	}
	return policy.MayWork(policy.ModeNormal, w)
}

// MayIssue is the gate of downloads: it decides whether anything may be issued.
func (k *Keeper) MayIssue(ca.IssuerID) policy.Decision { return k.MayWork(policy.WorkIssue) }

// Space tells what the last look at the disk found: the bytes that are free
// where they are fewest, and whether the reserve is there.
func (k *Keeper) Space() (free uint64, reserve bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.free, k.held
}
