// Package download carries an order out: plan, keys, intents, certificates,
// evidence, installed. It is the only writer of downloads, and it ends what must
// end with a card, a person or an assignment. Its central rule, docs/ISSUANCE.md,
// is that the old eID dies only after proof that the new one lives, and that
// order, new certificate, superseding and revocation are one fact.
//
// Every transaction from record on re-reads card, holder, order and log-in
// certificate and refuses if one no longer holds.
package download

import (
	"fmt"
	"time"

	"sigill/ca"
	"sigill/orders"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// Download is one run that carries out an order, or a holder's own request for
// a signing certificate (Order empty).
type Download struct {
	ID        policy.DownloadID
	Card      policy.CardNumber
	Order     policy.OrderID
	Holder    policy.PersonID
	Login     ca.Fingerprint // certificate that logged in when it began
	State     policy.DownloadState
	Plan      []byte // canonical JSON of policy.Plan
	PlanHash  [32]byte
	CreatedAt time.Time
	EndedAt   time.Time // zero: open
	CleanedAt time.Time // when the client reported the old objects gone; zero: not yet
	Version   int64     // compare-and-swap
}

// planOf reads the plan of a download and refuses one that is not its own.
func planOf(d *Download) (policy.Plan, error) {
	p, err := policy.ParsePlan(d.Plan)
	if err != nil {
		return p, fmt.Errorf("stored plan of %s: %w", d.ID, err)
	}
	if p.Download != d.ID || p.Card != d.Card || p.Login != d.Login.String() || (d.Order == "") != (p.EID != "") ||
		d.Order != "" && p.Order != d.Order || p.EID != "" && p.EID != p.Login {
		return p, policy.Refuse(policy.DownloadPlan, "the stored plan is another download's").Err()
	}
	return p, nil
}

// Item is one certificate of a download.
type Item struct {
	Download         policy.DownloadID
	Slot             policy.Slot
	State            policy.ItemState
	Challenge        [32]byte
	ChallengeExpires time.Time
	Serial           ca.Serial      // of its intent; zero while planned
	Certificate      ca.Fingerprint // zero before signed
	Version          int64          // compare-and-swap
}

// Downloads is the table of downloads and their items.
type Downloads interface {
	// InsertDownload returns issue.ErrConflict if the card has an open one.
	InsertDownload(*Download, []*Item) error
	// Download returns issue.ErrNotFound.
	Download(policy.DownloadID) (*Download, []*Item, error)
	// OpenDownloadOfCard returns issue.ErrNotFound if there is none.
	OpenDownloadOfCard(policy.CardNumber) (*Download, []*Item, error)
	// UncleanedOfCard returns the newest installed download of a card whose old
	// objects were not reported gone; issue.ErrNotFound if there is none.
	UncleanedOfCard(policy.CardNumber) (*Download, []*Item, error)
	// PutDownload and PutItem write if Version is still the stored one and
	// raise it; otherwise issue.ErrConflict.
	PutDownload(*Download) error
	PutItem(*Item) error
}

// Due finds what time alone ends.
type Due interface {
	// OpenDownloadsBefore returns open downloads begun before t, oldest first.
	OpenDownloadsBefore(t time.Time, limit int) ([]*Download, error)
	// OrdersExpiredAt returns open orders whose ExpiresAt is not after t.
	OrdersExpiredAt(t time.Time, limit int) ([]*orders.Order, error)
}

// Tx is the view of a transaction that this package works in.
type Tx struct {
	orders.Tx
	Downloads
	Due
	Masses
	Bulk
}

// issue and register return the views that the packages below work in.
func (tx *Tx) issue() *issue.Tx       { return &tx.Tx.Tx.Tx }
func (tx *Tx) register() *register.Tx { return &tx.Tx.Tx }
