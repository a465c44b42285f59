package download_test

import (
	"fmt"
	"testing"
	"time"

	"sigill/internal/world/worldtest"
	"sigill/policy"
)

// A download that was given up leaves the order where it was.
func TestAbandonedDownloadCanBeFetchedAgain(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	id := s.Ordered(h, policy.OrderRenewal)
	st, err := s.Begin(ctx, h, id)
	if err != nil {
		t.Fatal(err)
	}
	if st, err = s.Submit(ctx, h, st); err != nil {
		t.Fatal(err)
	}
	c, err := s.Login(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Downloads.Abandon(ctx, c, st.Download.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Downloads.Abandon(ctx, c, st.Download.ID); err != nil {
		t.Errorf("again: %v", err)
	}
	_, err = s.Register.Login(ctx, h.NextDER(), true)
	s.Refused(err, policy.LoginRevoked)
	h.Forget()
	if err := s.Fetch(ctx, h, id); err != nil {
		t.Fatal(err)
	}
	s.Sound()
	s.Truth()
}

// What is not gone on with ends by itself: without an intent after fifteen
// minutes, with a pending certificate after a day, an order after its time.
func TestTimeEndsWhatWaits(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	due := func() int {
		t.Helper()
		n, err := s.Downloads.EndDue(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s.Sound()
		return n
	}
	idle, waiting := s.Holder(), s.Holder()
	ofIdle, ofWaiting := s.Ordered(idle, policy.OrderRenewal), s.Ordered(waiting, policy.OrderRenewal)
	if _, err := s.Begin(ctx, idle, ofIdle); err != nil {
		t.Fatal(err)
	}
	st, err := s.Begin(ctx, waiting, ofWaiting)
	if err != nil {
		t.Fatal(err)
	}
	if st, err = s.Submit(ctx, waiting, st); err != nil {
		t.Fatal(err)
	}
	s.Pass(14 * time.Minute)
	if n := due(); n != 0 {
		t.Errorf("%d ended after 14 minutes", n)
	}
	s.Pass(time.Minute)
	if n := due(); n != 1 || s.Rows("downloads", "card = ? AND state = 'lapsed'", string(idle.Card)) != 1 {
		t.Errorf("%d ended after 15 minutes", n)
	}
	s.Pass(23*time.Hour + 44*time.Minute)
	if n := due(); n != 0 {
		t.Errorf("%d ended before a day", n)
	}
	s.Pass(time.Minute)
	s.Refused(s.Confirm(ctx, waiting, st), policy.DownloadStateRule)
	if n := due(); n != 1 {
		t.Errorf("%d ended after a day", n)
	}
	_, err = s.Register.Login(ctx, waiting.NextDER(), true)
	s.Refused(err, policy.LoginRevoked)
	if s.Working(waiting) != 1 || s.Working(idle) != 1 {
		t.Error("an old eID is gone with a download that came to nothing")
	}
	waiting.Forget()
	if err := s.Fetch(ctx, waiting, ofWaiting); err != nil {
		t.Errorf("fetching after it lapsed: %v", err)
	}
	s.Pass(90 * 24 * time.Hour)
	_, err = s.Begin(ctx, idle, ofIdle)
	s.Refused(err, policy.OrderExpiredRule)
	if n := due(); n != 1 || s.Rows("orders", "id = ? AND state = 'expired'", string(ofIdle)) != 1 {
		t.Errorf("%d ended after ninety days", n)
	}
	_, err = s.Begin(ctx, idle, ofIdle)
	s.Refused(err, policy.OrderStateRule)
	s.Truth()
}

// However many certificates wait for their confirmation, they hide nothing behind
// them that is due.
func TestManyWaitingHideNothing(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	waiting, idle := s.Holder(), s.Holder()
	st, err := s.Begin(ctx, waiting, s.Ordered(waiting, policy.OrderRenewal))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Submit(ctx, waiting, st); err != nil {
		t.Fatal(err)
	}
	copies := "BEGIN;"
	for i := range 250 { // of card, download and item: as if as many holders waited
		copies += fmt.Sprintf(`
			CREATE TEMP TABLE c AS SELECT * FROM cards WHERE number = '%[2]s'; UPDATE c SET number = '97529%014[1]d'; INSERT INTO cards SELECT * FROM c; DROP TABLE c;
			CREATE TEMP TABLE d AS SELECT * FROM downloads WHERE id = '%[3]s'; UPDATE d SET id = 'dl_%[1]d', card = '97529%014[1]d'; INSERT INTO downloads SELECT * FROM d; DROP TABLE d;
			CREATE TEMP TABLE i AS SELECT * FROM items WHERE download = '%[3]s'; UPDATE i SET download = 'dl_%[1]d'; INSERT INTO items SELECT * FROM i; DROP TABLE i;`,
			i, waiting.Card, st.Download.ID)
	}
	s.Exec(copies + "COMMIT; UPDATE orders SET version = version")
	s.Pass(time.Second)
	if _, err := s.Begin(ctx, idle, s.Ordered(idle, policy.OrderRenewal)); err != nil {
		t.Fatal(err)
	}
	s.Pass(16 * time.Minute)
	if n, err := s.Downloads.EndDue(ctx); err != nil || n != 1 || s.Rows("downloads", "card = ? AND state = 'lapsed'", string(idle.Card)) != 1 {
		t.Errorf("%d ended, %v", n, err)
	}
}

// A download that lapsed is cleared away by who begins the next, without waiting
// for the clock's own round.
func TestBeginClearsALapsedDownload(t *testing.T) {
	s := worldtest.New(t)
	h := s.Holder()
	id := s.Ordered(h, policy.OrderRenewal)
	st, err := s.Begin(t.Context(), h, id)
	if err != nil {
		t.Fatal(err)
	}
	s.Pass(15 * time.Minute)
	if err := s.Fetch(t.Context(), h, id); err != nil {
		t.Fatal(err)
	}
	if n := s.Rows("downloads", "id = ? AND state = 'lapsed'", string(st.Download.ID)); n != 1 {
		t.Error("the first download did not lapse")
	}
	s.Sound()
}
