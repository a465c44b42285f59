package cardclient

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"sigill/internal/wire"
	"sigill/policy"
)

// SigningEID is an eID on the card that may have a signing certificate.
type SigningEID struct {
	wire.EID
	// With is its authentication certificate on the card.
	With Identity
	// Serial of that certificate.
	Serial string
}

// FetchSigning fetches a signing certificate for an eID on the card, of the
// holder's own accord: the one that the client's EID names, or the only one whose
// organisation allows it. It replaces the one that the eID has. Run again after an
// interruption it goes on with the open download.
//
// The signing key signs its own request and nothing else: log-in and confirmation
// are the authentication certificate's.
func (c *Client) FetchSigning(ctx context.Context, ui UI) (*Result, error) {
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
		if open.Order == "" {
			return result, nil
		}
		r.me.Open, r.download, r.done, r.resumed = nil, nil, nil, false
	}
	if open := r.me.Open; open != nil {
		if open.Order != "" {
			return nil, fmt.Errorf("%w: %s", ErrOtherOpen, open.Order)
		}
		r.resumed = true
	} else if err := r.asEID(ctx); err != nil {
		return nil, err
	}
	r.leftovers(ctx, result)
	return result, r.carryOut(ctx, cause{signing: true}, result)
}

// SigningEIDs returns the eIDs for which a signing certificate can be fetched with
// this card.
func (c *Client) SigningEIDs(ctx context.Context, me *wire.Me) ([]SigningEID, error) {
	all, err := c.Identities(ctx)
	if err != nil {
		return nil, err
	}
	var may []SigningEID
	for _, e := range me.EIDs {
		if !e.SigningAllowed {
			continue
		}
		for _, cert := range e.Certificates {
			if cert.State != "current" || cert.Slot != string(policy.Authentication) {
				continue
			}
			for _, i := range all {
				if fingerprint(i.Certificate.Raw) == cert.Fingerprint {
					may = append(may, SigningEID{EID: e, With: i, Serial: cert.Serial})
				}
			}
		}
	}
	return may, nil
}

// asEID chooses the eID and logs in with its authentication certificate: that is
// what says for which eID a signing certificate is asked.
func (r *run) asEID(ctx context.Context) error {
	may, err := r.SigningEIDs(ctx, r.me)
	if err != nil {
		return err
	}
	var chosen []SigningEID
	for _, e := range may {
		if r.EID == "" || strings.EqualFold(r.EID, e.Organisation) || strings.EqualFold(r.EID, e.Serial) || strings.EqualFold(r.EID, hex.EncodeToString(e.With.ID)) {
			chosen = append(chosen, e)
		}
	}
	switch {
	case len(may) == 0:
		return r.noSigning()
	case len(chosen) == 0:
		return fmt.Errorf("%w: %s", ErrNoSuchEID, r.EID)
	case len(chosen) > 1:
		return &ChooseEIDError{EIDs: chosen}
	}
	return r.as(ctx, chosen[0].With)
}

// noSigning says why no eID may have a signing certificate, by the rule that the
// server would name.
func (r *run) noSigning() error {
	for _, e := range r.me.EIDs {
		if e.State == "current" && !e.SigningAllowed {
			return fmt.Errorf("%w [%s]", ErrNoSigning, policy.SigningOff)
		}
	}
	return fmt.Errorf("%w [%s]", ErrNoSigning, policy.SigningEID)
}

// as changes the session to another certificate of the card.
func (r *run) as(ctx context.Context, i Identity) error {
	if string(i.Certificate.Raw) == string(r.session.identity.Certificate.Raw) {
		return nil
	}
	s, err := r.Client.session(ctx, i)
	if err != nil {
		return err
	}
	r.session.Close()
	r.session = s
	return nil
}

// signingDone tells that the signing PIN has done its work.
func (r *run) signingDone() {
	if r.SigningDone != nil {
		r.SigningDone()
	}
}

// settled waits until the server has decided what becomes of an interrupted
// attempt. Where the key is for authentication, a request asks it to decide; a key
// for signatures that bind is not used for asking.
func (r *run) settled(ctx context.Context, it *wire.Item) error {
	for try := 1; it.State == string(policy.ItemIntended); try++ {
		if try > maxLooks {
			return ErrStillSigning
		}
		if err := r.pause(ctx, lookPause); err != nil {
			return err
		}
		if err := r.look(ctx, it); err != nil {
			return err
		}
	}
	return nil
}

// look reads an item anew.
func (r *run) look(ctx context.Context, it *wire.Item) error {
	var d wire.Download
	if err := r.session.get(ctx, &d, "downloads", r.download.ID); err != nil {
		return err
	}
	for _, now := range d.Items {
		if now.Slot == it.Slot && d.ID == r.download.ID {
			*it = now
			return nil
		}
	}
	return errors.New("the download has lost an item")
}
