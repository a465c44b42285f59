package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigill/orders/register"
)

// openLite makes a database file and opens it.
func openLite(t testing.TB, pragmas ...string) (*DB, Config) {
	t.Helper()
	cfg := Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "å #1?.db")}
	if err := Create(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	cfg.pragmas = pragmas
	db, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("Close: %v", err)
		}
	})
	cfg.pragmas = nil
	return db, cfg
}

// row is the row that member i writes: a table without references.
func row(i int) register.Idempotency {
	return register.Idempotency{Caller: "per_1", Operation: "test", Key: fmt.Sprint(i), Result: "r", At: time.UnixMicro(1)}
}

// kept opens the database anew and returns which members' rows are durable.
func kept(t *testing.T, db *DB, cfg Config) map[int]bool {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	again, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	found := make(map[int]bool)
	err = again.view(context.Background(), func(tx *tx) error {
		for i := range members {
			_, err := tx.Idempotency("per_1", "test", fmt.Sprint(i))
			found[i] = err == nil
		}
		if _, err := tx.Idempotency("per_1", "test", fmt.Sprint(outside)); err == nil {
			t.Error("a row was written outside of the transaction")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

const (
	members = 64
	culprit = 20
	// outside is a row that is written after a statement has failed.
	outside = 2000
)

// waiting returns when n members wait for the baton.
func (g *group) waiting(n int) {
	for {
		g.mu.Lock()
		l := len(g.queue)
		g.mu.Unlock()
		if l == n {
			return
		}
		runtime.Gosched()
	}
}

// together runs one Update for each member, in one group and in order: the first
// holds the baton until all others wait for it.
func together(db *DB, ctxOf func(int) context.Context, fn func(int, *tx) error, queued func()) (errs [members]error, panics [members]any) {
	g := db.engine.(*lite).group
	var wg sync.WaitGroup
	begun, full := make(chan struct{}), make(chan struct{})
	for i := range members {
		if i > 0 {
			g.waiting(i - 1)
		}
		wg.Go(func() {
			defer func() { panics[i] = recover() }()
			once := false
			errs[i] = errors.New("left its goroutine")
			errs[i] = db.update(ctxOf(i), func(tx *tx) error {
				if i == 0 && !once {
					once = true
					close(begun)
					<-full
				}
				return fn(i, tx)
			})
		})
		if i == 0 {
			<-begun
		}
	}
	g.waiting(members - 1)
	if queued != nil {
		queued()
	}
	close(full)
	wg.Wait()
	return errs, panics
}

func background(int) context.Context { return context.Background() }

var errOwn = errors.New("the closure's own error")

func TestGroupIsolatesItsMembers(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	fill := func(tx *tx) error {
		for j := range 12 {
			r := row(1000 + j)
			r.Result = big
			if err := tx.InsertIdempotency(r); err != nil {
				return err
			}
		}
		return nil
	}
	for name, c := range map[string]struct {
		pragmas []string
		fn      func(*DB, *tx) error
		broken  bool // the fault takes the whole SQLite transaction with it
	}{
		"error":  {fn: func(*DB, *tx) error { return errOwn }},
		"panic":  {fn: func(*DB, *tx) error { panic(errOwn) }},
		"goexit": {fn: func(*DB, *tx) error { runtime.Goexit(); return nil }},
		"unique": {fn: func(_ *DB, tx *tx) error {
			_, err := tx.exec("x", `INSERT INTO idempotency_keys SELECT * FROM idempotency_keys`)
			return err
		}},
		"check": {fn: func(_ *DB, tx *tx) error {
			_, err := tx.exec("x", `UPDATE idempotency_keys SET request = 1`)
			return err
		}},
		"foreign key": {fn: func(_ *DB, tx *tx) error {
			return tx.InsertGrant(register.Grant{Person: "per_x", Organisation: "org_x", Role: "reader", GrantedAt: time.UnixMicro(1)})
		}},
		"swallowed": {fn: func(_ *DB, tx *tx) error {
			tx.exec("x", `INSERT INTO idempotency_keys SELECT * FROM idempotency_keys`)
			return nil
		}},
		"disk full":      {pragmas: []string{"max_page_count(400)"}, fn: func(_ *DB, tx *tx) error { return fill(tx) }, broken: true},
		"full swallowed": {pragmas: []string{"max_page_count(400)"}, fn: func(_ *DB, tx *tx) error { fill(tx); tx.InsertIdempotency(row(outside)); return nil }, broken: true},
		"cancelled write": {fn: func(db *DB, tx *tx) error {
			ctx, done := onceItSpills(t, db)
			defer done()
			// Only an interrupt ends this statement.
			_, err := tx.run.exec(ctx, `INSERT INTO idempotency_keys WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
				SELECT 'per_2', 'endless', CAST(i AS TEXT), zeroblob(32), hex(zeroblob(10000)), 1 FROM n`, nil)
			return err
		}, broken: true},
		"connection lost": {fn: func(db *DB, tx *tx) error {
			db.engine.(*lite).group.s.discard()
			return tx.InsertIdempotency(row(outside))
		}, broken: true},
		"input/output error": {fn: func(db *DB, tx *tx) error {
			readOnlyLog(t, db)
			return fill(tx) // more than the cache holds, so that it is spilled to the log
		}, broken: true},
	} {
		t.Run(name, func(t *testing.T) {
			db, cfg := openLite(t, c.pragmas...)
			errs, panics := together(db, background, func(i int, tx *tx) error {
				if err := tx.InsertIdempotency(row(i)); err != nil {
					return err
				}
				if i == culprit {
					return c.fn(db, tx)
				}
				return nil
			}, nil)
			if broken := db.Stats().Reruns > 0; broken != c.broken {
				t.Errorf("group broken = %v, want %v", broken, c.broken)
			}
			durable := kept(t, db, cfg)
			for i := range members {
				failed := errs[i] != nil || panics[i] != nil
				if failed != (i == culprit) {
					t.Errorf("member %d: error %v, panic %v", i, errs[i], panics[i])
				}
				if durable[i] == (i == culprit) {
					t.Errorf("member %d: durable = %v", i, durable[i])
				}
			}
			if name == "panic" && panics[culprit] != errOwn {
				t.Errorf("panic = %v, want %v", panics[culprit], errOwn)
			}
			if name == "error" && errs[culprit] != errOwn {
				t.Errorf("error = %v, want %v", errs[culprit], errOwn)
			}
			if s := db.Stats(); !c.broken && s.Commits != 1 {
				t.Errorf("%d commits, want one for all", s.Commits)
			} else if s.Updates != members-1 || s.Failed != 1 || s.Rows != members-1 {
				t.Errorf("stats = %+v", s)
			}
		})
	}
}

// onceItSpills returns a context that ends when a statement writes more than the cache
// holds, so that it is spilled to the log: who is cancelled then is cancelled while it
// writes, however slow the machine is. Call done afterwards.
func onceItSpills(t *testing.T, db *DB) (ctx context.Context, done func()) {
	t.Helper()
	var path string
	if err := db.engine.(*lite).pool.QueryRow(`SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&path); err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Error(err)
			return math.MaxInt64
		}
		return info.Size()
	}
	before := size()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		for ctx.Err() == nil && size() < before+1<<20 {
			time.Sleep(time.Millisecond)
		}
	})
	return ctx, func() { cancel(); wg.Wait() }
}

// readOnlyLog puts a file that cannot be written in the place of the write-ahead
// log in this process's table of open files, until the connection is closed.
func readOnlyLog(t *testing.T, db *DB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err != nil || !strings.HasSuffix(to, ".db-wal") {
			continue
		}
		var num int
		fmt.Sscan(fd.Name(), &num)
		if err := dup(int(null.Fd()), num); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n == 0 {
		t.Fatal("no write-ahead log is open")
	}
}

// No result, not even a refusal, may be told before the commit: the refusal may
// rest on what another member wrote.
func TestGroupTellsNothingBeforeItsCommit(t *testing.T) {
	db, cfg := openLite(t)
	var told atomic.Int32
	errFailed := errors.New("the disk is gone")
	db.engine.(*lite).beforeCommit = func(n int) error {
		for range 100 {
			runtime.Gosched()
		}
		if n != members || told.Load() != 0 {
			t.Errorf("%d members at the commit, %d of them told, want %d and 0", n, told.Load(), members)
		}
		return errFailed
	}
	errs, panics := together(db, background, func(i int, tx *tx) error {
		if i == culprit {
			return errOwn
		}
		return tx.InsertIdempotency(row(i))
	}, nil)
	told.Add(1)
	for i := range members {
		if !errors.Is(errs[i], ErrOutcomeUnknown) || !errors.Is(errs[i], errFailed) || panics[i] != nil {
			t.Errorf("member %d: %v", i, errs[i])
		}
	}
	db.engine.(*lite).beforeCommit = nil
	for i, ok := range kept(t, db, cfg) {
		if ok {
			t.Errorf("member %d is durable", i)
		}
	}
}

// A commit that fails for real: the log cannot be written. The writer must be
// usable after it.
func TestCommitFails(t *testing.T) {
	db, cfg := openLite(t)
	errs, _ := together(db, background, func(i int, tx *tx) error {
		if i == culprit {
			readOnlyLog(t, db)
		}
		return tx.InsertIdempotency(row(i))
	}, nil)
	for i := range members {
		if !errors.Is(errs[i], ErrOutcomeUnknown) {
			t.Errorf("member %d: %v", i, errs[i])
		}
	}
	if err := db.update(t.Context(), func(tx *tx) error { return tx.InsertIdempotency(row(7)) }); err != nil {
		t.Fatalf("after the failed commit: %v", err)
	}
	for i, ok := range kept(t, db, cfg) {
		if ok != (i == 7) {
			t.Errorf("member %d: durable = %v", i, ok)
		}
	}
}

func TestCancelledBeforeItsTurn(t *testing.T) {
	db, cfg := openLite(t)
	ctx, cancel := context.WithCancel(context.Background())
	var ran atomic.Bool
	errs, _ := together(db, func(i int) context.Context {
		if i == culprit || i == members-1 {
			return ctx
		}
		return context.Background()
	}, func(i int, tx *tx) error {
		if i == culprit {
			ran.Store(true)
		}
		return tx.InsertIdempotency(row(i))
	}, func() {
		cancel()
		db.engine.(*lite).waiting(members - 3)
	})
	if ran.Load() {
		t.Error("a cancelled closure ran")
	}
	durable := kept(t, db, cfg)
	for i := range members {
		cancelled := i == culprit || i == members-1
		if errors.Is(errs[i], context.Canceled) != cancelled || durable[i] == cancelled {
			t.Errorf("member %d: error %v, durable %v", i, errs[i], durable[i])
		}
	}
}

// A context that ends while its closure runs changes nothing.
func TestCancelledInItsTurn(t *testing.T) {
	db, cfg := openLite(t)
	ctx, cancel := context.WithCancel(context.Background())
	errs, _ := together(db, func(int) context.Context { return ctx }, func(i int, tx *tx) error {
		if i == members-1 {
			cancel()
		}
		return tx.InsertIdempotency(row(i))
	}, nil)
	durable := kept(t, db, cfg)
	for i := range members {
		if errs[i] != nil || !durable[i] {
			t.Errorf("member %d: error %v, durable %v", i, errs[i], durable[i])
		}
	}
}

// Who is cancelled when the baton is already on its way must pass it on.
func TestCancelledAtItsTurn(t *testing.T) {
	db, _ := openLite(t)
	for range 200 {
		ctx, cancel := context.WithCancel(context.Background())
		together := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				<-together
				c := context.Background()
				if i%2 == 1 {
					c = ctx
				}
				if err := db.update(c, func(tx *tx) error { return nil }); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		wg.Go(func() { <-together; cancel() })
		close(together)
		wg.Wait()
	}
}

func TestClosed(t *testing.T) {
	db, _ := openLite(t)
	if err := db.view(t.Context(), func(*tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.update(t.Context(), func(*tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Update = %v", err)
	}
	if err := db.view(t.Context(), func(*tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("View = %v", err)
	}
	if err := db.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("Close = %v", err)
	}
}

func BenchmarkUpdate64(b *testing.B) {
	for _, rows := range []int{1, 4, 12} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			db, _ := openLite(b)
			var next atomic.Int64
			before := db.Stats()
			var wg sync.WaitGroup
			b.ResetTimer()
			for range 64 {
				wg.Go(func() {
					for {
						n := next.Add(1)
						if n > int64(b.N) {
							return
						}
						err := db.update(context.Background(), func(tx *tx) error {
							for j := range rows {
								r := row(int(n))
								r.Operation = fmt.Sprint(j)
								if err := tx.InsertIdempotency(r); err != nil {
									return err
								}
							}
							return nil
						})
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			s := db.Stats()
			b.ReportMetric(float64(s.Rows-before.Rows)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(s.Updates-before.Updates)/float64(s.Commits-before.Commits), "updates/commit")
			if bytes, err := db.Written(context.Background()); err == nil {
				b.ReportMetric(float64(bytes)/float64(b.N), "B-written/op")
			}
		})
	}
}
