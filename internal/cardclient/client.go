// Package cardclient is the holder's side of the card protocol: it logs in with
// a card, fetches an order to it, and reports a card lost.
//
// Its central rule: nothing is deleted from the card before the server has
// answered that the old certificate is revoked, and the server answers that only
// to the new certificate. Every step may be cut off, by a pulled card or a lost
// answer, and [Client.Fetch] run again goes on from there. It decides nothing
// that the server decides; it does compute the plan's hash itself, show the plan
// to the holder, and execute that plan and no other.
package cardclient

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

var (
	// ErrNoCertificate: no certificate with its key on the card can log in.
	ErrNoCertificate = errors.New("there is no certificate on the card to log in with")
	// ErrNothing: no order waits for this card.
	ErrNothing = errors.New("there is nothing to fetch for this card")
	// ErrDeclined: the holder said no to the plan.
	ErrDeclined = errors.New("the plan was declined: nothing was changed")
	// ErrClientTooOld: the server serves newer clients only.
	ErrClientTooOld = errors.New("this program is too old for the server")
	// ErrPlan: what the server sent is not the plan it names, or not for this
	// card and log-in.
	ErrPlan = errors.New("the server's plan is not what it says")
	// ErrCertificate: the server's certificate is not for this key or plan.
	ErrCertificate = errors.New("the server's certificate does not fit")
	// ErrReadBack: the card gave back another certificate than was written.
	ErrReadBack = errors.New("the card does not give back what was written to it")
	// ErrWrite: the certificate could not be written to the card.
	ErrWrite = errors.New("the certificate cannot be written to the card")
	// ErrKeyElsewhere: a certificate waits whose key is not on this card.
	ErrKeyElsewhere = errors.New("the key that was certified is not on this card: abandon the download and begin anew")
	// ErrOtherOpen: another order is being fetched to this card.
	ErrOtherOpen = errors.New("the download of another order is open: finish or abandon it first")
	// ErrOtherCard: the card in the reader is not the one that logged in.
	ErrOtherCard = errors.New("the card in the reader is not the one that the server knows")
	// ErrNoneOpen: there is no open download to abandon.
	ErrNoneOpen = errors.New("no download is open for this card")
	// ErrNoSigning: none of the card's eIDs may have a signing certificate.
	ErrNoSigning = errors.New("no eID on this card may have a signing certificate")
	// ErrNoSuchEID: the eID that was named is not one of them.
	ErrNoSuchEID = errors.New("no such eID on this card")
	// ErrSigningPIN: the signing PIN failed in the middle of a download that
	// replaces both certificates of an eID.
	ErrSigningPIN = errors.New("the signing certificate cannot be made: abandon this, then fetch without it")
	// ErrEnded: the download was ended meanwhile, and the new certificate with
	// it; what was there before is untouched.
	ErrEnded = errors.New("the download was ended meanwhile, and its certificate revoked")
	// ErrStillSigning: the server has not yet given up an interrupted attempt.
	ErrStillSigning = errors.New("an interrupted attempt is still under way at the server")
)

// ChooseError says that several orders wait and one must be named.
type ChooseError struct{ Offers []wire.Offer }

func (e *ChooseError) Error() string {
	return fmt.Sprintf("%d orders wait for this card: name one of them", len(e.Offers))
}

// ChooseEIDError says that several eIDs may have a signing certificate and one
// must be named.
type ChooseEIDError struct{ EIDs []SigningEID }

func (e *ChooseEIDError) Error() string {
	return fmt.Sprintf("%d eIDs may have a signing certificate: name one of them", len(e.EIDs))
}

// Steps of a run, in their order; "generated" to "read-back" once for each
// certificate.
const (
	StepBegin     = "begin"     // a download is open, its plan verified and approved
	StepGenerated = "generated" // the key is on the card
	StepSubmitted = "submitted" // the certificate is here
	StepWritten   = "written"   // the certificate is on the card
	StepReadBack  = "read-back" // and was read back from it
	StepConfirmed = "confirmed" // the new one is current, the old one revoked
	StepRemoved   = "removed"   // the old objects are off the card
	// StepSignsAgain is told before a signing key signs another request: the
	// server gave a new challenge, and what answered the old one is worth
	// nothing.
	StepSignsAgain = "signs-again"
)

// UI is the holder's face of a run.
type UI interface {
	// Approve shows the plan and asks whether it shall be carried out.
	Approve(ctx context.Context, me *wire.Me, plan policy.Plan) (bool, error)
	// Progress tells that a step is done; slot is empty where none is meant.
	Progress(step string, slot policy.Slot)
}

// Client works with one card and one server. Fields are set before its first
// use. It runs one operation at a time.
type Client struct {
	Server   string         // "https://card.example:8444"
	Roots    *x509.CertPool // that the server's certificate must lead to; nil: the system's
	Card     token.Card
	Version  string // of this program, "1.2.0"
	Language string // for the server's texts, "sv" or "en"
	// LoginWith is the id of the object to log in with; nil: chosen.
	LoginWith []byte
	// EID names the eID that FetchSigning is for: its organisation, or the
	// serial or the object's id (hexadecimal) of its authentication
	// certificate. Empty: the only one that may have a signing certificate.
	EID string
	// WithoutSigning: what Fetch begins leaves out the signing certificate of
	// the eID that it replaces, and never asks for the signing PIN.
	WithoutSigning bool
	// SigningDone is called when the signing PIN is not needed any more. Nil:
	// nothing.
	SigningDone func()
	Now         func() time.Time // nil: time.Now
	// After is called after each step; an error ends the run there, as a
	// pulled card would. Nil: nothing.
	After func(step string) error
	// Wait is how a pause between two tries is made. Nil: a timer.
	Wait func(ctx context.Context, d time.Duration) error
	// Transport, if set, carries requests in place of TLS (see
	// [cardhttp.Config]).
	Transport func(cert *x509.Certificate, key crypto.Signer) http.RoundTripper

	// requests are what keys on the card have signed here, by what they are
	// bound to: sent again as they are when an answer was lost.
	requests map[signedRequest][]byte
	// made are the keys that were made here and have signed nothing yet.
	made map[string]bool
}

func (c *Client) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}

// Me asks the server who logs in with this card. The zero Identity chooses one
// as [Client.Login] does.
func (c *Client) Me(ctx context.Context, as Identity) (*wire.Me, error) {
	s, me, err := c.login(ctx, as)
	if err != nil {
		return nil, err
	}
	s.Close()
	return me, nil
}

// ReportLost reports the card as lost: it is blocked, everything on it revoked,
// and that can't be undone. The card proves nothing any more then: the receipt comes
// with the answer or not at all.
func (c *Client) ReportLost(ctx context.Context) (*wire.Done, error) {
	s, _, err := c.login(ctx, Identity{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	done := &wire.Done{}
	return done, s.post(ctx, map[string]string{"reason": "lost"}, done, "block")
}

// Abandon gives up the open download: its pending certificates are revoked, and
// the order can be fetched again. It returns the id of the download.
func (c *Client) Abandon(ctx context.Context) (string, error) {
	s, me, err := c.login(ctx, Identity{})
	if err != nil {
		return "", err
	}
	defer s.Close()
	if me.Open == nil {
		return "", ErrNoneOpen
	}
	return me.Open.ID, c.abandon(ctx, s, me.Open)
}

// abandon ends d at the server and then removes what it put on the card.
func (c *Client) abandon(ctx context.Context, s *session, d *wire.Download) error {
	if err := s.post(ctx, struct{}{}, nil, "downloads", d.ID, "abandon"); err != nil {
		return err
	}
	dead := map[string]bool{}
	for _, it := range d.Items {
		if it.Certificate != nil {
			dead[fingerprint(it.Certificate)] = true
		}
	}
	r := &run{Client: c, session: s}
	r.remove(ctx, dead, &Result{}, false)
	return nil
}
