package bench

import (
	"context"
	"fmt"
	"time"

	"sigill/internal/audit"
	"sigill/internal/bench/figure"
	"sigill/internal/store"
	"sigill/internal/world"
	"sigill/orders/issue"
	"sigill/policy"
)

// downloads: every holder has a current eID and an approved renewal; 64 at once
// carry theirs out, from log-in to the report that the old objects are gone. The same
// without a certificate log, before and after, tells what the log costs.
func downloads(ctx context.Context, c Config, emit func(Figure)) error {
	n := c.Many(1000)
	before, err := rate(ctx, c, n, withoutLog)
	if err != nil {
		return err
	}
	logged, err := downloadsLogged(ctx, c, n, emit)
	if err != nil {
		return err
	}
	after, err := rate(ctx, c, n, withoutLog)
	if err != nil {
		return err
	}
	without := (before + after) / 2
	emit(Figure{Name: "downloads_log_share", Value: logged / without, Unit: "of 1", Ceiling: 1, Ratio: logged / without,
		Note: fmt.Sprintf("speed of downloads with the certificate log, %.0f/s, as a share of that without, %.0f and %.0f/s before and after it, %d each", logged, before, after, n)})
	return nil
}

// rate is how many downloads a second a new installation makes.
func rate(ctx context.Context, c Config, n int, change ...func(*world.Config)) (float64, error) {
	r, err := newRig(ctx, c, n, nil, change...)
	if err != nil {
		return 0, err
	}
	defer r.close()
	orders, err := r.renewals(ctx, n)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	err = figure.Each(n, holdersAtOnce, func(i int) error { return r.Fetch(ctx, r.holders[i], orders[i]) })
	return float64(n) / time.Since(began).Seconds(), err
}

func downloadsLogged(ctx context.Context, c Config, n int, emit func(Figure)) (float64, error) {
	r, err := newRig(ctx, c, n, nil)
	if err != nil {
		return 0, err
	}
	defer r.close()
	orders, err := r.renewals(ctx, n)
	if err != nil {
		return 0, err
	}
	c.Progress("%d downloads", n)
	before, written, err := counters(ctx, r.db)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := figure.Each(n, holdersAtOnce, func(i int) error { return r.Fetch(ctx, r.holders[i], orders[i]) }); err != nil {
		return 0, err
	}
	took := time.Since(began)
	after, writtenAfter, err := counters(ctx, r.db)
	if err != nil {
		return 0, err
	}
	per := func(v int64) float64 { return float64(v) / float64(n) }
	updates, rows := per(after.Updates-before.Updates), per(after.Rows-before.Rows)
	c.Progress("the writer alone: %d transactions a download, %.0f rows each", int(updates+0.5), rows/updates)
	ceiling, err := writerCeiling(ctx, r.db, n, int(updates+0.5), int(rows/updates+0.5))
	if err != nil {
		return 0, err
	}
	value := float64(n) / took.Seconds()
	emit(Figure{Name: "downloads", Value: value, Unit: "1/s", Ceiling: ceiling, Ratio: value / ceiling,
		Note: fmt.Sprintf("%d downloads, %d at once, SQLite synchronous=FULL; certificate log on; per download %.1f transactions, %.2f commits, %.1f rows, %.0f statements, %.1f kB written ahead; ceiling: the same transactions and rows as bare inserts of events",
			n, holdersAtOnce, updates, per(after.Commits-before.Commits), rows, per(after.Statements-before.Statements), per(writtenAfter-written)/1000)})
	return value, nil
}

func counters(ctx context.Context, db *store.DB) (store.Stats, int64, error) {
	written, err := db.Written(ctx)
	return db.Stats(), written, err
}

// renewals orders a renewal for each of the first n holders.
func (r *rig) renewals(ctx context.Context, n int) ([]policy.OrderID, error) {
	orders := make([]policy.OrderID, n)
	return orders, figure.Each(n, holdersAtOnce, func(i int) error {
		id, err := r.Order(ctx, r.holders[i], policy.OrderRenewal)
		orders[i] = id
		return err
	})
}

// writerCeiling is how many downloads a second the writer could commit if they
// were nothing but rows: the same number of transactions, from as many callers,
// each inserting the same number of rows.
func writerCeiling(ctx context.Context, db *store.DB, n, updates, rows int) (float64, error) {
	began := time.Now()
	err := figure.Each(n, holdersAtOnce, func(int) error {
		for range updates {
			if err := insertEvents(ctx, db, rows); err != nil {
				return err
			}
		}
		return nil
	})
	return float64(n) / time.Since(began).Seconds(), err
}

func insertEvents(ctx context.Context, db *store.DB, rows int) error {
	return db.Issue().Update(ctx, func(tx *issue.Tx) error {
		for range rows {
			ev := issue.NewEvent(audit.OrderExpired, time.Now(), "system", issue.F("order", "ord_0"), issue.F("card", "0"))
			if err := tx.Events.Append(ev); err != nil {
				return err
			}
		}
		return nil
	})
}

// downloadAlone: one download after the other, nothing else going on.
func downloadAlone(ctx context.Context, c Config, emit func(Figure)) error {
	n := c.Many(200)
	r, err := newRig(ctx, c, n, nil)
	if err != nil {
		return err
	}
	defer r.close()
	orders, err := r.renewals(ctx, n)
	if err != nil {
		return err
	}
	before := r.db.Stats()
	times := make([]time.Duration, n)
	for i := range n {
		began := time.Now()
		if err := r.Fetch(ctx, r.holders[i], orders[i]); err != nil {
			return err
		}
		times[i] = time.Since(began)
	}
	after := r.db.Stats()
	updates := int(float64(after.Updates-before.Updates)/float64(n) + 0.5)
	bare := make([]time.Duration, n)
	for i := range n {
		began := time.Now()
		for range updates {
			if err := insertEvents(ctx, r.db, 1); err != nil {
				return err
			}
		}
		bare[i] = time.Since(began)
	}
	value, ceiling := figure.Percentile(times, 0.99), figure.Percentile(bare, 0.99)
	emit(Figure{Name: "download_p99_ms", Value: value, Unit: "ms", Ceiling: ceiling, Ratio: ceiling / value,
		Note: fmt.Sprintf("%d downloads, one after the other, the card's own key and signatures included; median %.1f ms; ceiling: %d durable commits of one row, p99", n, figure.Percentile(times, 0.5), updates)})
	return nil
}
