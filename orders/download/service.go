package download

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/orders"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// Service carries downloads out. It is safe for concurrent use.
type Service struct {
	issue.Config
	Store    Store
	Register *register.Service
	Orders   *orders.Service
	// Keys are the keys that cards may make.
	Keys policy.KeyRules
	// Provenance is the weakest evidence of a key's origin accepted for a
	// level of assurance; a level without an entry is not issued.
	Provenance map[policy.LoA]policy.Provenance
	// PendingTTL is how long a released certificate may wait for its
	// confirmation.
	PendingTTL time.Duration
	// Dead reports whether the process that owns an intent is gone.
	Dead func(owner string) bool
	// Gate is asked before anything new is begun or recorded; nil: open.
	Gate Gate
	// Together is how many certificates of a mass revocation share a transaction;
	// 0: Together.
	Together int

	breaker  breaker
	massBell bell
}

const (
	// challengeTTL is how long a challenge may be answered.
	challengeTTL = 10 * time.Minute
	// lapseAfter is how long a download without an intent stays open, so that
	// an unattended desk does not block the card.
	lapseAfter = 15 * time.Minute
	day        = 24 * time.Hour
)

// State is a download with all that its card needs to go on.
type State struct {
	Download *Download
	Items    []*Item
	// Certificates are the released ones, by slot.
	Certificates map[policy.Slot]*issue.Certificate
	// Remove are the certificates to delete from the card: those of the plan
	// once the download is installed.
	Remove []ca.Fingerprint
}

// Item returns the item of a slot, or nil.
func (st *State) Item(slot policy.Slot) *Item {
	for _, it := range st.Items {
		if it.Slot == slot {
			return it
		}
	}
	return nil
}

// Cause is why a download is begun: an order, or the holder's own wish for a
// signing certificate.
type Cause struct {
	// Order names the order; empty: a signing certificate for the eID that is
	// logged in with.
	Order policy.OrderID
	// WithoutSigning: the signing certificate of the eID that the order
	// replaces is not replaced along, because its PIN is not at hand.
	WithoutSigning bool
}

// Begin opens a download and plans it, in one transaction. Calling it again for
// the same cause returns the open download.
func (s *Service) Begin(ctx context.Context, c register.Caller, cause Cause) (*State, error) {
	var st *State
	err := s.Store.Update(ctx, func(tx *Tx) error {
		var err error
		st, err = s.begin(tx, c, cause)
		return err
	})
	if errors.Is(err, issue.ErrConflict) { // another client with the same card was first
		err = policy.Refuse(policy.DownloadOpen, "another download of this card is open").Err()
	}
	return st, s.keep(ctx, err, c, "", issue.F("order", string(cause.Order)))
}

func (s *Service) begin(tx *Tx, c register.Caller, cause Cause) (*State, error) {
	now := s.now()
	card, err := tx.Card(c.Card)
	if err != nil {
		return nil, err
	}
	open, items, err := tx.OpenDownloadOfCard(c.Card)
	switch {
	case err == nil && s.lapsed(open, items, now):
		if err := s.end(tx, card, open, items, policy.DownloadLapsed, "system"); err != nil {
			return nil, err
		}
	case err == nil && sameCause(open, items, c, cause):
		return s.state(tx, open, items)
	case err == nil:
		return nil, policy.Refuse(policy.DownloadOpen, "another download of this card is open").Err()
	case !errors.Is(err, issue.ErrNotFound):
		return nil, err
	}
	plan, err := s.plan(tx, c, card, cause)
	if err != nil {
		return nil, err
	}
	if err := s.mayBegin(plan.Adds); err != nil {
		return nil, err
	}
	// All of the plan or nothing: a limit that is met between two certificates
	// would leave the first one waiting, good to relying parties, for a day.
	ofCard, err := tx.CountIntents(c.Card, "", "", now.Add(-day))
	if err != nil {
		return nil, err
	}
	if err := policy.MayIntend(0, ofCard+len(plan.Adds)-1).Err(); err != nil {
		return nil, err
	}
	return s.open(tx, c, card, cause, plan)
}

// sameCause reports whether an open download is the one that is asked for.
func sameCause(d *Download, items []*Item, c register.Caller, cause Cause) bool {
	if d.Holder != c.Person || d.Order != cause.Order {
		return false
	}
	if cause.Order == "" { // of one eID and not another's
		return d.Login == c.Certificate
	}
	return !cause.WithoutSigning || (&State{Items: items}).Item(policy.Signing) == nil
}

// plan decides what the download does.
func (s *Service) plan(tx *Tx, c register.Caller, card *register.Card, cause Cause) (policy.Plan, error) {
	var plan policy.Plan
	var decision policy.Decision
	if cause.Order == "" {
		facts, err := s.signingFacts(tx, c, card)
		if err != nil {
			return plan, err
		}
		plan, decision = policy.MakeSigningPlan(facts)
	} else {
		facts, err := s.planFacts(tx, c, card, cause)
		if err != nil {
			return plan, err
		}
		plan, decision = policy.MakePlan(facts)
	}
	return plan, decision.Err()
}

// open writes the download that a plan describes.
func (s *Service) open(tx *Tx, c register.Caller, card *register.Card, cause Cause, plan policy.Plan) (*State, error) {
	now := s.now()
	d := &Download{ID: plan.Download, Card: c.Card, Order: cause.Order, Holder: plan.Holder, Login: c.Certificate,
		State: policy.DownloadPlanned, CreatedAt: now}
	d.Plan, d.PlanHash = plan.Bytes()
	var items []*Item
	for _, add := range plan.Adds {
		it := &Item{Download: d.ID, Slot: add.Slot, State: policy.ItemPlanned}
		challenge(it, now)
		items = append(items, it)
	}
	if err := tx.InsertDownload(d, items); err != nil {
		return nil, err
	}
	if c.Profile == policy.ProfileTransport { // armed for one download: this one
		card.ArmedFor = d.ID
		if err := tx.PutCard(card); err != nil {
			return nil, err
		}
	}
	err := tx.Events.Append(issue.NewEvent(audit.DownloadBegun, now, c.Name(), issue.F("download", string(d.ID)),
		issue.F("order", string(d.Order)), issue.F("card", string(c.Card)), issue.F("plan", hex.EncodeToString(d.PlanHash[:])),
		issue.F("login", c.Certificate.String())))
	return &State{Download: d, Items: items}, err
}

// challenge gives an item a fresh challenge.
func challenge(it *Item, now time.Time) {
	rand.Read(it.Challenge[:])
	it.ChallengeExpires = now.Add(challengeTTL)
}

func (s *Service) now() time.Time { return s.Now().UTC().Truncate(time.Microsecond) }

// Show returns a download to the card it is for.
func (s *Service) Show(ctx context.Context, c register.Caller, id policy.DownloadID) (*State, error) {
	var st *State
	err := s.Store.View(ctx, func(tx *Tx) error {
		d, items, err := s.own(tx, c, id)
		if err != nil {
			return err
		}
		st, err = s.state(tx, d, items)
		return err
	})
	return st, s.keep(ctx, err, c, id)
}

// own returns a download of the card that is logged in; any other does not
// exist for it.
func (s *Service) own(tx *Tx, c register.Caller, id policy.DownloadID) (*Download, []*Item, error) {
	d, items, err := tx.Download(id)
	if errors.Is(err, issue.ErrNotFound) || err == nil && (d.Card != c.Card || d.Holder != c.Person) {
		return nil, nil, policy.Refuse(policy.DownloadCard, "no such download for the card that is logged in").Err()
	}
	if err == nil && sha256.Sum256(d.Plan) != d.PlanHash {
		return nil, nil, policy.Refuse(policy.DownloadPlan, "the stored plan is not the one that was approved").Err()
	}
	return d, items, err
}

// state adds the released certificates and what is to be removed.
func (s *Service) state(tx *Tx, d *Download, items []*Item) (*State, error) {
	st := &State{Download: d, Items: items, Certificates: map[policy.Slot]*issue.Certificate{}}
	for _, it := range items {
		if it.Certificate.IsZero() {
			continue
		}
		cert, err := tx.Certificate(it.Certificate)
		if err != nil {
			return nil, err
		}
		st.Certificates[it.Slot] = cert
	}
	if d.State != policy.DownloadInstalled {
		return st, nil
	}
	plan, err := planOf(d)
	if err != nil {
		return nil, err
	}
	for _, r := range plan.Removes {
		fp, err := ca.ParseFingerprint(r.Fingerprint)
		if err != nil {
			return nil, fmt.Errorf("stored plan of %s: %w", d.ID, err)
		}
		st.Remove = append(st.Remove, fp)
	}
	return st, nil
}

// Challenge gives a planned item a fresh challenge.
func (s *Service) Challenge(ctx context.Context, c register.Caller, id policy.DownloadID, slot policy.Slot) (*State, error) {
	var st *State
	err := s.Store.Update(ctx, func(tx *Tx) error {
		d, items, err := s.own(tx, c, id)
		if err != nil {
			return err
		}
		if st, err = s.state(tx, d, items); err != nil {
			return err
		}
		it := st.Item(slot)
		if d.State != policy.DownloadPlanned || it == nil || it.State != policy.ItemPlanned {
			return policy.Refuse(policy.DownloadStateRule, "download is %s", d.State).Err()
		}
		challenge(it, s.now())
		return tx.PutItem(it)
	})
	return st, s.keep(ctx, err, c, id)
}
