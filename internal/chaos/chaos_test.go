//go:build unix && cgo

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sigill/internal/stage"
	"sigill/internal/store/pgtest"
	"sigill/internal/token/tokentest"
)

var (
	programs   = stage.Programs{Root: "../.."}
	postgreSQL pgtest.Shared
)

func TestMain(m *testing.M) {
	code := programs.Main(m)
	postgreSQL.Stop()
	os.Exit(code)
}

// fewestKills are those of a run that nobody asked more of, on each database.
const fewestKills = 26

// TestKilledAtAnyMoment kills `sigill serve` in the middle of requests, on SQLite
// and on PostgreSQL, while holders fetch eIDs to soft cards and to PKCS #11 tokens
// with the real sigill-card, and looks at what is true in the end.
//
// SIGILL_SEED repeats what was drawn (not when processes ran), SIGILL_CHAOS_KILLS
// is how often to kill, both databases together, SIGILL_CHAOS_DB is sqlite or
// postgres for one of them alone.
func TestKilledAtAnyMoment(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SIGILL_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SIGILL_SEED: %v", err)
		}
	}
	t.Logf("SIGILL_SEED=%d", seed)
	which := os.Getenv("SIGILL_CHAOS_DB")
	tokentest.StartSoftHSM(t) // where it is missing nothing is begun
	for _, db := range []struct {
		name string
		url  func(*testing.T) string
	}{
		{"sqlite", func(*testing.T) string { return "" }},
		{"postgres", func(t *testing.T) string { return postgreSQL.URL(t) }},
	} {
		if which != "" && which != "both" && which != db.name {
			continue
		}
		kills := fewestKills
		if text := os.Getenv("SIGILL_CHAOS_KILLS"); text != "" {
			var err error
			if kills, err = strconv.Atoi(text); err != nil {
				t.Fatalf("SIGILL_CHAOS_KILLS: %v", err)
			}
			if which != db.name {
				kills = (kills + 1) / 2
			}
		}
		t.Run(db.name, func(t *testing.T) {
			c := begin(t, db.url(t), seed)
			c.carryOn(kills)
			c.truth()
		})
	}
}

// kind of a client's cards.
type kind string

const (
	soft kind = "soft"
	hard kind = "hard" // on a token
)

// clients are who fetches at once.
func (c *chaos) clients() []*client {
	return []*client{
		{c, soft, c.byProgram, false}, {c, soft, c.byProgram, false}, {c, soft, c.byProgram, true},
		{c, hard, c.byProgram, false}, {c, hard, c.byProgram, true},
		{c, soft, c.byClockAhead, false},
	}
}

// chaos is one installation and all who work with it.
type chaos struct {
	*stage.Played
	t           *testing.T
	cardProgram string
	server      *server
	db          *database
	logs        *logs
	rand        *rand.Rand // of the test's goroutine
	people      int
	asks        chan ask
	over        chan struct{} // closed when enough was killed
	hits        *histogram

	mu       sync.Mutex
	lives    []*life        // guarded by mu
	failures map[string]int // guarded by mu: what holders were told
}

// ask is a client that waits for a holder with a fresh card.
type ask struct {
	kind kind
	to   chan *life
}

// begin plays the demo and serves what it leaves.
func begin(t *testing.T, url string, seed uint64) *chaos {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "demo")
	args := []string{"demo", "--dir", dir}
	if url != "" {
		args = append(args, "--database", url)
	}
	stage.Run(t, stage.Command(programs.Sigill(t), args...)).Want(t, 0, "sigill demo")
	c := &chaos{Played: stage.Opened(t, dir), t: t, cardProgram: programs.Card(t), rand: rand.New(rand.NewPCG(seed, 0)),
		asks: make(chan ask), over: make(chan struct{}), failures: map[string]int{}, hits: newHistogram()}
	c.server = newServer(programs.Sigill(t), dir, seed)
	t.Cleanup(c.server.end)
	c.Must(c.server.start())
	me, err := c.Admins[0].WhoAmI(t.Context())
	c.Must(err)
	c.Org = me.Roles[0].Organisation
	c.db = openDatabase(t, dir, url)
	c.logs = openLogs(c)
	c.logs.look(c)
	return c
}

// next waits for a holder with a fresh card. Cards are made while nothing is
// killed.
func (c *chaos) next(ctx context.Context, k kind) (*life, error) {
	a := ask{k, make(chan *life, 1)}
	select {
	case c.asks <- a:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case l := <-a.to:
		return l, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *chaos) isOver() bool {
	select {
	case <-c.over:
		return true
	default:
		return false
	}
}

// carryOn kills the server until it was killed inside a request often enough, and
// in every step; then lets everybody come to an end.
func (c *chaos) carryOn(kills int) {
	c.t.Helper()
	ctx, cancel := context.WithCancelCause(c.t.Context())
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, client := range c.clients() {
		wg.Go(func() {
			if err := client.live(ctx); err != nil {
				cancel(err) // the first failure is the one to tell
			}
		})
	}
	began := time.Now()
	for most := 3*kills + 60; ctx.Err() == nil && !c.hits.enough(kills); {
		if c.hits.kills >= most {
			all, _ := c.hits.missing()
			c.t.Errorf("not hit in %d kills: %q", c.hits.kills, all)
			break
		}
		c.killOnce(ctx)
	}
	close(c.over)
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	for serving := true; serving; {
		select {
		case a := <-c.asks:
			a.to <- c.holder(a.kind)
		case <-ended:
			serving = false
		}
	}
	text := fmt.Sprintf("%s: %d kills in %.0f seconds\n%s", c.t.Name(), c.hits.kills, time.Since(began).Seconds(), c.hits) + c.said()
	c.t.Log(text)
	if err := context.Cause(ctx); err != nil {
		c.t.Fatal(err)
	}
}

// killOnce aims at a step, and brings the server back when it was hit.
func (c *chaos) killOnce(ctx context.Context) {
	place := c.hits.choose(c.rand)
	fired := c.server.aimAt(place)
	// Not a time in which anything is expected: long enough for a client that
	// does something else to come to this step, if it does at all.
	seldom := time.NewTimer(3 * time.Second)
	defer seldom.Stop()
	select {
	case <-fired:
		c.afterKill(place)
	case a := <-c.asks:
		if !c.server.lower() {
			c.afterKill(place)
		}
		a.to <- c.holder(a.kind)
	case <-seldom.C:
		if !c.server.lower() {
			c.afterKill(place)
		}
	case <-ctx.Done():
		if !c.server.lower() {
			c.afterKill(place)
		}
	}
}

// afterKill notes where the server was hit and starts it again.
func (c *chaos) afterKill(aimed string) {
	inside, err := c.server.dead()
	c.Must(err)
	c.hits.kills++
	counted := map[string]bool{}
	for _, r := range inside {
		names := []string{r.step}
		if r.step == "submit" {
			names = append(names, c.db.fate(c.t, r))
		}
		for _, name := range names {
			counted[name] = true
		}
	}
	c.hits.add(counted)
	c.server.learn(aimed, counted)
	if c.hits.kills%50 == 0 {
		c.t.Logf("after %d kills:\n%s", c.hits.kills, c.hits)
	}
	if c.rand.IntN(8) == 0 {
		killed, err := c.server.startKilled()
		c.Must(err)
		if killed {
			c.hits.starting++
		}
	}
	c.Must(c.server.start())
	c.logs.look(c)
}

// said tells what holders were told when a run came to nothing, and what the
// server logged as wrong.
func (c *chaos) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for text, n := range c.failures {
		fmt.Fprintf(&b, "told %d times: %s\n", n, text)
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	for _, l := range c.server.wrong {
		fmt.Fprintf(&b, "the server logged %s\n", l)
	}
	return b.String()
}
