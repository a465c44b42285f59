package translog_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/store/storetest"
	"sigill/internal/translog"
	"sigill/internal/world/worldtest"
)

// watched is a store that tells of each read that begins.
type watched struct {
	translog.Store
	began func(context.Context)
}

func (w *watched) View(ctx context.Context, fn func(*translog.Tx) error) error {
	w.began(ctx)
	return w.Store.View(ctx, fn)
}

// waiter is the key of who waits in a context.
type waiter struct{}

// receiptsOf returns logs over a scene whose passes and reads the test sees.
func receiptsOf(t *testing.T, s *worldtest.Scene, pass func(next func(context.Context) (int, error)) (int, error), began func(context.Context)) *translog.Service {
	t.Helper()
	q := &audit.Sequencer{Store: s.Store.Audit()}
	c := translog.Config{Store: &watched{Store: s.Store.Translog(), began: began}, Now: s.Now,
		Pass: func(context.Context) (int, error) { return pass(q.Pass) }}
	for name, to := range map[string]*translog.Keyed{"certificates": &c.Certificates, "acts": &c.Acts} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		log, err := checkpoint.NewLog("receipts.test/log/"+name, key.Public())
		if err != nil {
			t.Fatal(err)
		}
		*to = translog.Keyed{Log: log, Signer: key}
	}
	logs, err := translog.New(c)
	if err != nil {
		t.Fatal(err)
	}
	q.Grown, q.Heads = logs.Grown, logs.Heads
	return logs
}

// However many wait at once, two passes serve them all: the one that the first began, and
// one for those who came while it ran.
func TestReceiptsSharePasses(t *testing.T) {
	const waiting = 24
	s := worldtest.New(t)
	event := audit.EventID(audit.OrderPlaced, string(s.Ordered(s.Person(), "ordinary")))
	all, passes, arrived := make(chan struct{}), atomic.Int64{}, atomic.Int64{}
	var here [waiting]sync.Once
	logs := receiptsOf(t, s, func(next func(context.Context) (int, error)) (int, error) {
		passes.Add(1)
		<-all // nobody's wait begins after the first pass has ended
		return next(t.Context())
	}, func(ctx context.Context) {
		if i, ok := ctx.Value(waiter{}).(int); ok {
			here[i].Do(func() {
				if arrived.Add(1) == waiting {
					close(all)
				}
			})
		}
	})
	var wg sync.WaitGroup
	for i := range waiting {
		wg.Go(func() {
			if r, err := logs.Receipt(context.WithValue(t.Context(), waiter{}, i), event); err != nil || len(r.Act) == 0 {
				t.Errorf("receipt: %v", err)
			}
		})
	}
	wg.Wait()
	if n := passes.Load(); n > 2 {
		t.Errorf("%d passes for %d who waited together", n, waiting)
	}
}

// Who can't have a receipt soon is told so, and not kept waiting for it.
func TestReceiptIsNotWaitedForInVain(t *testing.T) {
	s := worldtest.New(t)
	event := audit.EventID(audit.OrderPlaced, string(s.Ordered(s.Person(), "ordinary")))
	broken, held := errors.New("no head can be signed"), false
	logs := receiptsOf(t, s, func(next func(context.Context) (int, error)) (int, error) {
		if held {
			return 0, nil
		}
		return 0, broken
	}, func(context.Context) {})
	if body, err := logs.Act(t.Context(), event); err != nil || len(body) == 0 {
		t.Errorf("the act that is not numbered yet: %v", err)
	}
	for _, held = range []bool{false, true} {
		_, err := logs.Receipt(t.Context(), event)
		if !errors.Is(err, translog.ErrNotYet) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, broken) == held {
			t.Errorf("held %t: %v", held, err)
		}
	}
	if _, err := logs.Act(t.Context(), "evt_nothing"); !errors.Is(err, translog.ErrNotFound) {
		t.Errorf("no act: %v", err)
	}
}

// scripted is a wait in which it is time to look so many times, and which then is over.
// The first wait of all passes.
type scripted struct{ looks int }

func (w *scripted) Next(baton chan<- struct{}, _ <-chan struct{}) (translog.Woken, error) {
	if w.looks < 0 {
		w.looks = 0
		baton <- struct{}{}
		return translog.Passes, nil
	}
	if w.looks == 0 {
		return 0, errors.New("over")
	}
	w.looks--
	return translog.Looks, nil
}

func (*scripted) Stop() {}

// Who waits does not read the store again and again while a pass is under way that will
// tell, but now and then all the same: it may hang. When no pass is under way, every look
// reads: another process may have numbered what is waited for.
func TestLooksWhileAPassIsUnderWay(t *testing.T) {
	const looks = 25
	db := storetest.SQLite(t)
	var reads atomic.Int64
	begun, end := make(chan struct{}), make(chan struct{})
	waits := make(chan int, 4)
	s, err := translog.New(translog.Config{Now: time.Now, Acts: newKeyed(t, "acts"), Certificates: newKeyed(t, "certificates"),
		Store: &watched{Store: db.Translog(), began: func(context.Context) { reads.Add(1) }},
		Pass:  func(context.Context) (int, error) { close(begun); <-end; return 0, errors.New("the log is gone") },
		Wait:  func(context.Context) translog.Waiter { return &scripted{<-waits} }})
	if err != nil {
		t.Fatal(err)
	}
	await := func(n byte) error { return s.Await(t.Context(), ca.LogLeaf{Hash: tlog.RecordHash([]byte{n})}) }
	waits <- -1
	var hangs sync.WaitGroup
	hangs.Go(func() {
		if await(1) == nil {
			t.Error("a leaf that is nowhere is in the log")
		}
	})
	<-begun
	waits <- looks
	if await(2) == nil {
		t.Error("a leaf that is nowhere is in the log")
	}
	if n := reads.Load(); n != looks/10 {
		t.Errorf("%d reads at %d looks beside a pass", n, looks)
	}
	close(end)
	hangs.Wait()
	reads.Store(0)
	waits <- looks
	if await(3) == nil {
		t.Error("a leaf that is nowhere is in the log")
	}
	if n := reads.Load(); n != looks {
		t.Errorf("%d reads at %d looks while nobody passes", n, looks)
	}
}
