package cardclient

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"sigill/ca"
	"sigill/internal/cardhttp"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

// Result tells what a run did.
type Result struct {
	Card     string
	Download string // empty: only leftovers were removed
	Order    string
	Resumed  bool // an interrupted download was gone on with
	// Installed are the certificates that are now current.
	Installed []Installed
	// Removed are the fingerprints of certificates taken off the card.
	Removed []string
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
	download *wire.Download
	plan     policy.Plan
	hash     [32]byte
	resumed  bool
	done     []Installed
}

// Fetch carries out an order: the one named, or the only one that waits. Run
// again after an interruption it goes on with the open download. What earlier
// runs left on the card and the server says is superseded or revoked is removed
// first.
func (c *Client) Fetch(ctx context.Context, order string, ui UI) (*Result, error) {
	s, me, err := c.login(ctx, Identity{})
	if err != nil {
		return nil, err
	}
	r := &run{Client: c, ui: ui, session: s, me: me}
	defer func() { r.session.Close() }()
	result := &Result{Card: me.Card}
	if open := me.Open; open != nil && open.State == string(policy.DownloadInstalled) {
		if err := r.finish(ctx, result); err != nil {
			return nil, err
		}
		if order == open.Order || order == "" && len(me.Offers) == 0 {
			return result, nil
		}
		me.Open, r.download, r.done, r.resumed = nil, nil, nil, false
	}
	if me.Open == nil {
		if result.Removed, err = c.tidy(ctx, me, s.identity); err != nil {
			return nil, err
		}
	}
	order, err = r.choose(order)
	if err != nil {
		if errors.Is(err, ErrNothing) && len(result.Removed) > 0 {
			return result, nil
		}
		return nil, err
	}
	if err := r.begin(ctx, order); err != nil {
		return nil, err
	}
	if r.download.State == string(policy.DownloadPlanned) {
		if err := r.install(ctx); err != nil {
			return nil, err
		}
	}
	removed, err := r.clean(ctx)
	if err != nil {
		return nil, err
	}
	result.Download, result.Order, result.Resumed = r.download.ID, r.download.Order, r.resumed
	result.Installed, result.Removed = r.done, append(result.Removed, removed...)
	return result, nil
}

// finish ends a download whose confirmation arrived although its answer did not,
// or whose clean-up was cut off: what the server says is revoked goes, and the
// server is told.
func (r *run) finish(ctx context.Context, result *Result) error {
	r.download, r.resumed = r.me.Open, true
	if err := r.checkPlan(r.download.Order); err != nil {
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
		r.done = append(r.done, Installed{Slot: add.Slot, Serial: fmt.Sprintf("%032x", cert.SerialNumber),
			Fingerprint: fingerprint(cert.Raw), NotAfter: cert.NotAfter, ID: id})
	}
	removed, err := r.clean(ctx)
	if err != nil {
		return err
	}
	result.Download, result.Order, result.Resumed = r.download.ID, r.download.Order, true
	result.Installed, result.Removed = r.done, append(result.Removed, removed...)
	return nil
}

// after tells that a step is done, and lets a test stop there.
func (r *run) after(step string, slot policy.Slot) error {
	r.ui.Progress(step, slot)
	if r.After == nil {
		return nil
	}
	return r.After(step)
}

// choose returns the order to fetch.
func (r *run) choose(order string) (string, error) {
	if open := r.me.Open; open != nil {
		if order != "" && order != open.Order {
			return "", fmt.Errorf("%w: %s", ErrOtherOpen, open.Order)
		}
		r.resumed = true
		return open.Order, nil
	}
	switch {
	case order != "":
		return order, nil
	case len(r.me.Offers) == 0:
		return "", ErrNothing
	case len(r.me.Offers) > 1:
		return "", &ChooseError{Offers: r.me.Offers}
	}
	return r.me.Offers[0].Order, nil
}

// begin opens the download or takes the open one, verifies its plan and asks
// the holder.
func (r *run) begin(ctx context.Context, order string) error {
	r.download = r.me.Open
	if r.download == nil {
		r.download = &wire.Download{}
		if err := r.session.post(ctx, wire.Begin{Order: order}, r.download, "downloads"); err != nil {
			return err
		}
	}
	if err := r.checkPlan(order); err != nil {
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

// checkPlan verifies that the plan is what its hash says and is for this card,
// order and download: what is shown is what is executed.
func (r *run) checkPlan(order string) error {
	d := r.download
	if d.State != string(policy.DownloadPlanned) && d.State != string(policy.DownloadInstalled) {
		return fmt.Errorf("%w: download %s is %s", ErrPlan, d.ID, d.State)
	}
	r.hash = sha256.Sum256(d.Plan)
	if hex.EncodeToString(r.hash[:]) != d.PlanHash {
		return fmt.Errorf("%w: its hash is another", ErrPlan)
	}
	var err error
	if r.plan, err = policy.ParsePlan(d.Plan); err != nil {
		return fmt.Errorf("%w: %w", ErrPlan, err)
	}
	p := r.plan
	switch {
	case string(p.Download) != d.ID || string(p.Order) != d.Order || d.Order != order:
		return fmt.Errorf("%w: it is for another download or order", ErrPlan)
	case string(p.Card) != r.me.Card:
		return fmt.Errorf("%w: it is for another card", ErrPlan)
	case len(p.Adds) == 0 || len(p.Adds) != len(d.Items):
		return fmt.Errorf("%w: it adds %d certificates, the download has %d", ErrPlan, len(p.Adds), len(d.Items))
	}
	for _, add := range p.Adds {
		if r.item(add.Slot) == nil {
			return fmt.Errorf("%w: the download has no %s certificate", ErrPlan, add.Slot)
		}
	}
	return nil
}

func (r *run) item(slot policy.Slot) *wire.Item {
	i := slices.IndexFunc(r.download.Items, func(it wire.Item) bool { return it.Slot == string(slot) })
	if i < 0 {
		return nil
	}
	return &r.download.Items[i]
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
		if err := r.make(ctx, add); err != nil {
			return fmt.Errorf("%s certificate: %w", add.Slot, err)
		}
	}
	return r.confirm(ctx)
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
		return err
	}
	if answer.ID != r.download.ID || answer.State != string(policy.DownloadInstalled) {
		return fmt.Errorf("%w: confirmed, but the download is %s", cardhttp.ErrAnswer, answer.State)
	}
	r.download = &answer
	return r.after(StepConfirmed, "")
}

// clean removes from the card what the plan said and the server now says is
// revoked, and reports it.
func (r *run) clean(ctx context.Context) ([]string, error) {
	planned := map[string]bool{}
	for _, rm := range r.plan.Removes {
		planned[rm.Fingerprint] = true
	}
	gone := map[string]bool{}
	for _, f := range r.download.Remove {
		if !planned[f] {
			return nil, fmt.Errorf("%w: the server wants a certificate removed that the plan does not name", ErrPlan)
		}
		gone[f] = true
	}
	removed, err := r.remove(ctx, gone, r.session.identity)
	if err != nil {
		return nil, err
	}
	if err := r.after(StepRemoved, ""); err != nil {
		return nil, err
	}
	// All of them are off the card now, those of an earlier run too.
	report := wire.Removed{Fingerprints: append([]string{}, r.download.Remove...)}
	return removed, r.session.post(ctx, report, nil, "downloads", r.download.ID, "removed")
}

// tidy removes what interrupted runs left on the card: certificates that the
// server says were superseded or revoked.
func (c *Client) tidy(ctx context.Context, me *wire.Me, self Identity) ([]string, error) {
	dead := map[string]bool{}
	for _, e := range me.EIDs {
		for _, cert := range e.Certificates {
			if (cert.State == "superseded" || cert.State == "revoked") && cert.Profile != string(policy.Transport) {
				dead[cert.Fingerprint] = true
			}
		}
	}
	return c.remove(ctx, dead, self)
}

// remove deletes the objects with the certificates of the set, never the one
// that is logged in with.
func (c *Client) remove(ctx context.Context, set map[string]bool, self Identity) ([]string, error) {
	if len(set) == 0 {
		return nil, nil
	}
	objects, err := c.Card.Objects(ctx)
	if err != nil {
		return nil, err
	}
	var removed []string
	for _, o := range objects {
		if o.Certificate == nil {
			continue
		}
		f := ca.FingerprintOf(o.Certificate).String()
		if !set[f] || string(o.ID) == string(self.ID) {
			continue
		}
		if err := c.Card.Delete(ctx, o.ID); err != nil && !errors.Is(err, token.ErrNotFound) {
			return removed, fmt.Errorf("removing the old certificate from the card: %w", err)
		}
		removed = append(removed, f)
	}
	return removed, nil
}
