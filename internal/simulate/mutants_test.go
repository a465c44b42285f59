package simulate

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/service"
	"sigill/internal/wire"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
	"sigill/revocation"
)

// altered is a store whose transactions are seen through change.
type altered[T any] struct {
	transactions[T]
	change func(*T)
}

// Update implements the stores of the services.
func (a altered[T]) Update(ctx context.Context, fn func(*T) error) error {
	return a.transactions.Update(ctx, func(tx *T) error {
		seen := *tx
		a.change(&seen)
		return fn(&seen)
	})
}

// View implements the stores of the services.
func (a altered[T]) View(ctx context.Context, fn func(*T) error) error {
	return a.transactions.View(ctx, func(tx *T) error {
		seen := *tx
		a.change(&seen)
		return fn(&seen)
	})
}

// downloads plants a mistake in the store of downloads.
func downloads(change func(*download.Tx)) Options {
	return Options{Stores: func(all service.Stores) service.Stores {
		all.Downloads = altered[download.Tx]{all.Downloads, change}
		return all
	}}
}

// often lets some faults strike often, and no others.
func often(o Options, faults ...Fault) Options {
	o.Rates = map[Fault]float64{}
	for _, f := range faults {
		o.Rates[f] = .1
	}
	return o
}

// forgetful is a ledger that does not write some entries.
type forgetful struct {
	revocation.Ledger
	forgets func(revocation.Entry) bool
}

func (l forgetful) InsertRevocation(e revocation.Entry) error {
	if l.forgets(e) {
		return nil
	}
	return l.Ledger.InsertRevocation(e)
}

func forgetting(which func(revocation.Entry) bool) Options {
	return downloads(func(tx *download.Tx) { tx.Revocations = forgetful{tx.Revocations, which} })
}

// blind finds no open intents.
type blind struct{ issue.Intents }

func (blind) OpenIntents(int) ([]*issue.Intent, error) { return nil, nil }

// careless records something else than what is signed.
type careless struct{ issue.Intents }

func (c careless) InsertIntent(in *issue.Intent) error {
	other := *in
	other.TBS = slices.Concat(in.TBS, []byte{0})
	return c.Intents.InsertIntent(&other)
}

// hasty lets a certificate stand as current where nothing stands yet, without
// waiting for its confirmation.
type hasty struct{ issue.Standings }

func (h hasty) PutStanding(st issue.Standing) error {
	if st.Kind == issue.Pending {
		st.Kind = issue.Current
		if err := h.Standings.PutStanding(st); !errors.Is(err, issue.ErrConflict) {
			return err
		}
		st.Kind = issue.Pending
	}
	return h.Standings.PutStanding(st)
}

// endless never writes that a download has ended without success.
type endless struct{ download.Downloads }

func (e endless) PutDownload(d *download.Download) error {
	if d.State == policy.DownloadAbandoned {
		return nil
	}
	return e.Downloads.PutDownload(d)
}

// silent does not record refusals.
type silent struct{ audit.Recorder }

func (r silent) Append(e audit.Event) error {
	if e.Act == audit.RequestRefused || e.Act == audit.LoginRefused {
		return nil
	}
	return r.Recorder.Append(e)
}

// boastful says of some transactions that they are committed which are not.
type boastful struct {
	download.Store
	n *int
}

var errBoast = errors.New("not really")

func (b boastful) Update(ctx context.Context, fn func(*download.Tx) error) error {
	*b.n++
	lie := *b.n%7 == 0
	err := b.Store.Update(ctx, func(tx *download.Tx) error {
		if err := fn(tx); err != nil || !lie {
			return err
		}
		return errBoast
	})
	if errors.Is(err, errBoast) {
		return nil
	}
	return err
}

// partial does not show the publisher that intents were abandoned.
type partial struct{ revocation.Entries }

func (p partial) NumberedEntries(after int64, limit int) ([]revocation.Numbered, error) {
	list, err := p.Entries.NumberedEntries(after, limit)
	return slices.DeleteFunc(list, func(e revocation.Numbered) bool { return e.Rule == "intent.abandoned" }), err
}

func (p partial) Lines(list revocation.List, since time.Time, yield func([]byte) error) error {
	return p.EntriesIn(list, since, time.Time{}, func(e revocation.Entry) error {
		if e.Rule == "intent.abandoned" {
			return nil
		}
		return yield(e.Line)
	})
}

// slander tells a card that its current certificates are revoked.
func slander(route string, body []byte) []byte {
	var me wire.Me
	if route != "me" || json.Unmarshal(body, &me) != nil {
		return body
	}
	for i := range me.EIDs {
		for j := range me.EIDs[i].Certificates {
			me.EIDs[i].Certificates[j].State = string(download.StateRevoked)
		}
	}
	out, err := json.Marshal(me)
	if err != nil {
		return body
	}
	return out
}

// mistake is one that is planted, and what the simulation says of it.
type mistake struct {
	name    string
	plant   Options
	noticed string
}

// TestPlantedMistakes: what the simulation looks for, it finds. Each mistake is
// planted in a service that is otherwise as it is, and must be noticed, for the
// right reason, within as many schedules as a run of seconds makes.
func TestPlantedMistakes(t *testing.T) {
	const enough = 60
	b := NewBase(t)
	boasts := 0
	mistakes := []mistake{
		{"superseding is left out", forgetting(func(e revocation.Entry) bool { return e.Reason == ca.Superseded }), `certificate\.stray|revoked false, current false`},
		{"recovery revokes nothing", often(forgetting(func(e revocation.Entry) bool { return e.Rule == "intent.abandoned" }), SignLost), `intent\.abandoned|revoked false`},
		{"blocking revokes nothing", often(forgetting(func(e revocation.Entry) bool { return e.Rule == "card.blocked" }), AdminBlocks), `blocked and has \d+ certificate that is good`},
		{"recovery is switched off", downloads(func(tx *download.Tx) { tx.Intents = blind{tx.Intents} }), `open after recovery`},
		{"what is recorded is not what is signed", downloads(func(tx *download.Tx) { tx.Intents = careless{tx.Intents} }), `what the database does not know`},
		{"a certificate is current without confirmation", downloads(func(tx *download.Tx) { tx.Standings = hasty{tx.Standings} }), `never presented itself`},
		{"what is blocked goes on", often(downloads(func(tx *download.Tx) { tx.Downloads = endless{tx.Downloads} }), AdminBlocks, HolderSlow, CardPulledAfter),
			`the card is blocked and has 1 open download`},
		{"refusals are not recorded", Options{Stores: func(all service.Stores) service.Stores {
			all.Register = altered[register.Tx]{all.Register, func(tx *register.Tx) { tx.Events = silent{tx.Events} }}
			return all
		}}, `refusals by .* were told and`},
		{"commits are lies", Options{Stores: func(all service.Stores) service.Stores {
			boasts = 0
			all.Downloads = boastful{all.Downloads, &boasts}
			return all
		}}, `.`},
		{"the list leaves revocations out", often(Options{Ledger: func(l revocation.Store) revocation.Store {
			return altered[revocation.Tx]{l, func(tx *revocation.Tx) { tx.Entries = partial{tx.Entries} }}
		}}, SignLost), `the CRL lists it: false|publishing without any fault`},
		{"the client is told that what is current is revoked", often(Options{Answer: slander}), `the client deletes the key of a current certificate`},
	}
	for _, c := range append(mistakes, logMistakes(t, b)...) {
		t.Run(c.name, func(t *testing.T) {
			for seed := uint64(1); seed <= enough; seed++ {
				r, err := b.Run(seed, c.plant)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				// One mistake is noticed in several ways; wanted is this one.
				if r.Violation == "" || !regexp.MustCompile(c.noticed).MatchString(r.Violation) {
					continue
				}
				again, err := b.Run(seed, c.plant)
				if err != nil || again.Hash != r.Hash || again.Step != r.Step || again.Violation != r.Violation {
					t.Errorf("seed %d: the second time it is %q at step %d, %v", seed, again.Violation, again.Step, err)
				}
				t.Logf("schedule %d, step %d: %s", seed, r.Step, r.Violation)
				return
			}
			t.Errorf("not noticed in %d schedules", enough)
		})
	}
}

// TestOwnersTakenForDead: a process that takes every other for dead, itself too,
// wastes serials and does no harm. Whose intent was given up under its hands loses
// the guard.
func TestOwnersTakenForDead(t *testing.T) {
	b := NewBase(t)
	o := often(Options{Wire: func(c *service.Config) { c.Dead = func(string) bool { return true } }}, SignSlow, NetTwice, NetDelayed)
	given := 0
	for seed := uint64(1); seed <= 20; seed++ {
		r, err := b.Run(seed, o)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := r.Error(); err != nil {
			t.Fatal(err)
		}
		given += r.Ends["signed too late"]
	}
	if given == 0 {
		t.Error("no intent was given up while it was being signed")
	}
}
