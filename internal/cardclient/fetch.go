package cardclient

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"sigill/internal/cardhttp"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

// Result tells what a run did.
type Result struct {
	Card     string
	Download string // empty: only leftovers were removed
	Order    string // empty: a signing certificate that the holder asked for
	Resumed  bool   // an interrupted download was gone on with
	// Installed are the certificates that are now current.
	Installed []Installed
	// Removed are the fingerprints of certificates taken off the card.
	Removed []string
	// Kept are objects that are worth nothing any more and are still on the
	// card; the next run tries again.
	Kept []Kept
	// Repaired are the fingerprints of current certificates that were written
	// to the card again.
	Repaired []string
	// Swept is how many remains of interrupted runs were taken off the card.
	Swept int
	// Receipted proves the confirmation, as far as the server gives receipts. It was
	// not looked at.
	Receipted wire.Receipted
}

// Installed is a certificate that a run put on the card.
type Installed struct {
	Slot        policy.Slot
	Serial      string
	Fingerprint string
	NotAfter    time.Time
	ID          []byte // of the object on the card
}

// run is one download on its way.
type run struct {
	*Client
	ui       UI
	session  *session // as whoever began the download
	me       *wire.Me
	before   [][]byte // ids on the card before the server said what is open
	download *wire.Download
	plan     policy.Plan
	hash     [32]byte
	resumed  bool
	done     []Installed
	// unlocked: the signing PIN was right in this run. denied: it failed, and
	// is not presented again, because each time costs a try.
	unlocked bool
	denied   error
}

// Fetch carries out an order: the one named, or the only one that waits. Run
// again after an interruption it goes on with the open download, whatever that
// was begun for. What earlier runs left on the card and the server says is
// superseded or revoked is removed first.
func (c *Client) Fetch(ctx context.Context, order string, ui UI) (*Result, error) {
	r, err := c.start(ctx, ui)
	if err != nil {
		return nil, err
	}
	defer func() { r.session.Close() }()
	result := &Result{Card: r.me.Card}
	if open := r.me.Open; open != nil && open.State == string(policy.DownloadInstalled) {
		if err := r.finish(ctx, result); err != nil {
			return nil, err
		}
		if order != "" && order == open.Order || order == "" && len(r.me.Offers) == 0 {
			return result, nil
		}
		r.me.Open, r.download, r.done, r.resumed = nil, nil, nil, false
	}
	r.leftovers(ctx, result)
	why, err := r.choose(order)
	if err != nil {
		if errors.Is(err, ErrNothing) && len(result.Removed)+len(result.Repaired)+result.Swept > 0 {
			return result, nil
		}
		return nil, err
	}
	return result, r.carryOut(ctx, why, result)
}

// start logs in and reads what is on the card. The card is read before the server
// is asked: a key that is on it while nothing is open belongs to no download that
// another program may begin a moment later. It is read after the PIN was given,
// because private keys are not seen before.
func (c *Client) start(ctx context.Context, ui UI) (*run, error) {
	r := &run{Client: c, ui: ui}
	var err error
	r.session, r.me, err = c.loginAfter(ctx, Identity{}, func() error {
		objects, err := c.Card.Objects(ctx)
		if err != nil {
			return err
		}
		r.before = nil
		for _, o := range objects {
			r.before = append(r.before, o.ID)
		}
		return nil
	})
	return r, err
}

// leftovers takes off the card what no open download can need. That it fails
// hinders nothing.
func (r *run) leftovers(ctx context.Context, result *Result) {
	if r.me.Open != nil {
		return
	}
	r.tidy(ctx, result)
	r.sweep(ctx, result)
}

// carryOut brings a download to its end: begun or gone on with, its certificates
// made, confirmed, the replaced ones removed.
func (r *run) carryOut(ctx context.Context, why cause, result *Result) error {
	if err := r.begin(ctx, why); err != nil {
		return err
	}
	if r.download.State == string(policy.DownloadPlanned) {
		if err := r.install(ctx); err != nil {
			return err
		}
	}
	return r.end(ctx, result)
}

// end cleans up after a download that is installed, and tells what it did. From
// here on nothing is an error that the holder must care for: the new certificate
// is current.
func (r *run) end(ctx context.Context, result *Result) error {
	if err := r.clean(ctx, result); err != nil {
		return err
	}
	r.me.Open = nil
	r.leftovers(ctx, result)
	result.Download, result.Order, result.Resumed = r.download.ID, r.download.Order, r.resumed
	result.Installed, result.Receipted = r.done, r.receipted(ctx)
	return nil
}

// receipted returns the receipt of the confirmation, and asks for it once more if it did
// not come with that. Nothing depends on it.
func (r *run) receipted(ctx context.Context) wire.Receipted {
	got := r.download.Receipted
	if got.ReceiptLater == nil {
		return got
	}
	var late wire.Receipt
	if err := r.session.get(ctx, &late, "receipts", got.ReceiptLater.Event); err != nil {
		return got
	}
	return wire.Receipted{Receipt: &late}
}

// finish ends a download whose confirmation arrived although its answer did not,
// or whose clean-up was cut off: what the server says is revoked goes, and the
// server is told.
func (r *run) finish(ctx context.Context, result *Result) error {
	r.download, r.resumed = r.me.Open, true
	if err := r.checkPlan(ctx, causeOf(r.download)); err != nil {
		return err
	}
	for _, add := range r.plan.Adds {
		cert, err := x509.ParseCertificate(r.item(add.Slot).Certificate)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCertificate, err)
		}
		id, err := r.keyOf(ctx, cert.Raw)
		if errors.Is(err, ErrKeyElsewhere) {
			continue // deleted from the card since
		} else if err != nil {
			return err
		}
		r.done = append(r.done, installed(add.Slot, cert, id))
	}
	// The receipt was in the answer that got lost.
	var now wire.Download
	if err := r.session.get(ctx, &now, "downloads", r.download.ID); err == nil {
		r.download.Receipted = now.Receipted
	}
	return r.end(ctx, result)
}

func installed(slot policy.Slot, cert *x509.Certificate, id []byte) Installed {
	return Installed{Slot: slot, Serial: serialOf(cert), Fingerprint: fingerprint(cert.Raw),
		NotAfter: cert.NotAfter, ID: id}
}

func serialOf(cert *x509.Certificate) string { return fmt.Sprintf("%032x", cert.SerialNumber) }

// after tells that a step is done, and lets a test stop there.
func (r *run) after(step string, slot policy.Slot) error {
	r.ui.Progress(step, slot)
	if r.After == nil {
		return nil
	}
	return r.After(step)
}

// choose returns what to fetch.
func (r *run) choose(order string) (cause, error) {
	if open := r.me.Open; open != nil {
		if order != "" && order != open.Order {
			return cause{}, fmt.Errorf("%w: %s", ErrOtherOpen, open.Order)
		}
		r.resumed = true
		return causeOf(open), nil
	}
	switch {
	case order != "":
		return cause{order: order}, nil
	case len(r.me.Offers) == 0:
		return cause{}, ErrNothing
	case len(r.me.Offers) > 1:
		return cause{}, &ChooseError{Offers: r.me.Offers}
	}
	return cause{order: r.me.Offers[0].Order}, nil
}

// begin opens the download or takes the open one, verifies its plan and asks
// the holder.
func (r *run) begin(ctx context.Context, why cause) error {
	if err := r.open(ctx, why); err != nil {
		return err
	}
	if err := r.checkPlan(ctx, why); err != nil {
		return err
	}
	if r.download.State != string(policy.DownloadPlanned) {
		return nil // installed: what is left is removing, which was approved
	}
	if err := r.asBeginner(ctx); err != nil {
		return err
	}
	yes, err := r.ui.Approve(ctx, r.me, r.plan)
	if err != nil {
		return err
	}
	if !yes {
		// Given up at once, so that the order is not taken until it lapses;
		// unless a certificate waits already, which only the holder's own
		// word may revoke.
		if !r.resumed {
			return errors.Join(ErrDeclined, r.abandon(ctx, r.session, r.download))
		}
		return ErrDeclined
	}
	return r.after(StepBegin, "")
}

// open begins a download. For one that is open already the server is asked too: it
// answers with that one, or ends it, if its time was over, and begins another.
func (r *run) open(ctx context.Context, why cause) error {
	was := r.me.Open
	if was != nil && why.signing { // only the eID's own certificate may ask
		r.download = was
		if err := r.checkPlan(ctx, why); err != nil {
			return err
		}
		if err := r.asBeginner(ctx); err != nil {
			return err
		}
	}
	r.download = &wire.Download{}
	b := wire.Begin{Order: why.order, Signing: why.signing, WithoutSigning: !why.signing && r.WithoutSigning}
	if err := r.session.post(ctx, b, r.download, "downloads"); err != nil {
		return err
	}
	if was == nil || was.ID == r.download.ID {
		return nil
	}
	r.resumed = false
	var now wire.Me // what was pending is dead by now
	if err := r.session.get(ctx, &now, "me"); err != nil {
		return err
	}
	r.me = &now
	return nil
}

// asBeginner makes sure that the session is the one the plan names: a request
// is bound to the certificate that began the download.
func (r *run) asBeginner(ctx context.Context) error {
	if fingerprint(r.session.identity.Certificate.Raw) == r.plan.Login {
		return nil
	}
	if !r.resumed {
		return fmt.Errorf("%w: it names another log-in", ErrPlan)
	}
	all, err := r.Identities(ctx)
	if err != nil {
		return err
	}
	for _, i := range all {
		if fingerprint(i.Certificate.Raw) != r.plan.Login {
			continue
		}
		s, err := r.Client.session(ctx, i)
		if err != nil {
			return err
		}
		r.session.Close()
		r.session = s
		return nil
	}
	return fmt.Errorf("the certificate that began the download is not on this card: %w", ErrKeyElsewhere)
}

// install makes every certificate of the plan and confirms them.
func (r *run) install(ctx context.Context) error {
	for _, add := range r.plan.Adds {
		err := r.make(ctx, add)
		if add.Slot == policy.Signing {
			r.unlocked = err == nil
			if err != nil && len(r.plan.Adds) > 1 && pinFailed(err) {
				err = fmt.Errorf("%w: %w", ErrSigningPIN, err)
			}
		}
		if err != nil {
			return fmt.Errorf("%s certificate: %w", add.Slot, err)
		}
	}
	return r.confirm(ctx)
}

// pinFailed reports whether a PIN was wrong or is locked.
func pinFailed(err error) bool {
	_, wrong := errors.AsType[token.ErrPIN](err)
	return wrong || errors.Is(err, token.ErrPINLocked)
}

// confirm tells the server, over a full handshake with the new certificate,
// what was read back from the card. From its answer on the new one is current
// and the old ones are revoked. A lost answer is asked for again.
func (r *run) confirm(ctx context.Context) error {
	as := r.session.identity
	body := wire.Confirm{PlanHash: hex.EncodeToString(r.hash[:]), ReadBack: map[string]string{}}
	for _, in := range r.done {
		body.ReadBack[string(in.Slot)] = in.Fingerprint
		if in.Slot == policy.Authentication {
			cert, err := readCertificate(ctx, r.Card, in.ID)
			if err != nil {
				return err
			}
			as = Identity{ID: in.ID, Slot: in.Slot, Certificate: cert}
		}
	}
	s, err := r.Client.session(ctx, as)
	if err != nil {
		return err
	}
	r.session.Close()
	r.session = s
	var answer wire.Download
	if err := s.post(ctx, body, &answer, "downloads", r.download.ID, "confirm"); err != nil {
		p, ok := errors.AsType[*wire.Problem](err)
		if ok && p.Rule == string(policy.LoginRevoked) && r.item(policy.Authentication) != nil {
			// Of the new one, which nobody has used yet: the server has given
			// it up. Said so, it would sound as if the holder's eID were gone.
			return fmt.Errorf("%w: %w", ErrEnded, err)
		}
		return err
	}
	if answer.ID != r.download.ID || answer.State != string(policy.DownloadInstalled) {
		return fmt.Errorf("%w: confirmed, but the download is %s", cardhttp.ErrAnswer, answer.State)
	}
	r.download = &answer
	return r.after(StepConfirmed, "")
}
