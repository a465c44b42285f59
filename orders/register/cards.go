package register

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/orders/issue"
	"sigill/policy"
)

// HandOver is the document that an administrator states when a card is handed
// out, or armed again at the desk. Its canonical form is encoding/json's.
type HandOver struct {
	Act    string            `json:"act"` // "card.handout" or "card.arm"
	Card   policy.CardNumber `json:"card"`
	Person policy.PersonID   `json:"person"`
	// Identity is the kind of identity document that was seen.
	Identity string `json:"identity"`
}

// identities are the documents that level 3 may rest on.
var identities = map[string]bool{"passport": true, "national-id-card": true, "driving-licence": true, "sis-card": true, "tax-agency-id": true}

// Identities returns the identity documents that are accepted.
func Identities() []string {
	return []string{"passport", "national-id-card", "driving-licence", "sis-card", "tax-agency-id"}
}

// ParseHandOver reads a HandOver and refuses every form but the canonical one.
func ParseHandOver(b []byte) (HandOver, error) {
	var h HandOver
	if err := json.Unmarshal(b, &h); err != nil {
		return h, policy.Refuse(policy.RequestForm, "hand-over: %s", err).Err()
	}
	if again, _ := json.Marshal(h); string(again) != string(b) {
		return h, policy.Refuse(policy.RequestForm, "hand-over is not in canonical form").Err()
	}
	if h.Act != statement.ActHandOut && h.Act != statement.ActArm {
		return h, policy.Refuse(policy.RequestForm, "hand-over of unknown act").Err()
	}
	if !identities[h.Identity] {
		return h, policy.Refuse(policy.CardIdentity, "identity document must be one of %v", Identities()).Err()
	}
	return h, nil
}

// HandOver carries out a stated hand-over: a hand-out makes a sent card active
// and fixes its holder for ever; either arms the transport certificate for one
// download and a short time.
func (s *Service) HandOver(ctx context.Context, c Caller, document []byte, signed []Signed) (*Card, error) {
	var card *Card
	h, err := ParseHandOver(document)
	if err == nil {
		err = s.Store.Update(ctx, func(tx *Tx) error {
			var err error
			card, err = s.handOver(tx, c, h, HashOf(document), signed)
			return err
		})
	}
	return card, s.Keep(ctx, err, c.Name(), issue.F("card", string(h.Card)))
}

func (s *Service) handOver(tx *Tx, c Caller, h HandOver, hash [32]byte, signed []Signed) (*Card, error) {
	now := s.Now().UTC().Truncate(time.Microsecond)
	card, err := tx.Card(h.Card)
	if errors.Is(err, issue.ErrNotFound) {
		return nil, policy.Refuse(policy.RoleMissing, "no such card").Err()
	} else if err != nil {
		return nil, err
	}
	if err := MayFor(tx, c, card.Organisation); err != nil {
		return nil, err
	}
	if c.Officer > 0 {
		if err := FirstAdministrator(tx, h.Person); err != nil {
			return nil, err
		}
	}
	if c.Person != "" && c.Person == h.Person {
		return nil, policy.Refuse(policy.CardSelf, "one's own card").Err()
	}
	a, err := tx.Assignment(h.Person, card.Organisation)
	if errors.Is(err, issue.ErrNotFound) || err == nil && !a.EndsAt.IsZero() && !now.Before(a.EndsAt) {
		return nil, policy.Refuse(policy.OrderAssignment, "no assignment in the card's organisation").Err()
	} else if err != nil {
		return nil, err
	}
	if again, err := Replayed(tx, string(h.Card), signed); err != nil || again {
		return card, err
	}
	if h.Act == statement.ActHandOut {
		if card.State != policy.CardSent {
			return nil, policy.Refuse(policy.CardStateRule, "card is %s", card.State).Err()
		}
	}
	if err := fitToHandOver(card, h, now); err != nil {
		return nil, err
	}
	if c.Officer == 0 && (len(signed) == 0 || signed[0].Certificate != c.Certificate) {
		// Otherwise the statement of whoever gets the card would do, handed in
		// by a colleague: nobody hands out his own.
		return nil, policy.Refuse(policy.StatementSignature, "signed with another card than the one logged in with").Err()
	}
	stated, err := s.State(tx, now, Expect{Act: h.Act, Subject: string(h.Card), For: h.Person, Card: h.Card, Content: hash,
		Organisation: card.Organisation, Officers: c.Officer > 0, Need: needFor(c, h.Act)}, signed)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(stated, func(st Stated) bool { return st.By == string(h.Person) }) {
		return nil, policy.Refuse(policy.CardSelf, "one's own card").Err()
	}
	// ArmedFor stays: a download that is open keeps what it was armed for.
	card.State, card.Holder, card.Identity = policy.CardActive, h.Person, h.Identity
	card.ArmedUntil = now.Add(s.ArmedFor)
	if err := tx.PutCard(card); err != nil {
		return nil, err
	}
	return card, tx.Events.Append(handedOver(c, h, hash, stated, now))
}

// handedOver is the event of a hand-over. A card is handed out once, and armed as
// often as its holder needs it.
func handedOver(c Caller, h HandOver, hash [32]byte, stated []Stated, now time.Time) audit.Event {
	e := issue.NewEvent(audit.CardArmed, now, c.Name(), append(Told(stated), issue.F("card", string(h.Card)),
		issue.F("person", string(h.Person)), issue.F("identity", h.Identity), issue.F("document", hex.EncodeToString(hash[:])))...)
	if h.Act == statement.ActHandOut {
		e.Act, e.ID = audit.CardHandedOut, audit.EventID(audit.CardHandedOut, string(h.Card))
	}
	return e
}

// needFor: a card is armed again only by two. At hand-out the holder was just
// fixed; later, one administrator could otherwise arm a card that lies at the
// desk and fetch an order of his own to it.
func needFor(c Caller, act string) int {
	if act == statement.ActArm {
		return 2
	}
	return need(c)
}

func fitToHandOver(card *Card, h HandOver, now time.Time) error {
	switch {
	case !now.Before(card.ExpiresAt):
		return policy.Refuse(policy.CardStateRule, "card has expired").Err()
	case h.Act == statement.ActArm && card.Holder != h.Person:
		return policy.Refuse(policy.OrderHolder, "card number and person do not go together").Err()
	case h.Act == statement.ActHandOut && card.Holder != "" && card.Holder != h.Person:
		return policy.Refuse(policy.OrderHolder, "the card has a holder, for ever").Err()
	case card.State != policy.CardActive && !card.State.CanMove(policy.CardActive), card.State == policy.CardLocked:
		return policy.Refuse(policy.CardStateRule, "card is %s", card.State).Err()
	case h.Act == statement.ActArm && card.State != policy.CardActive:
		return policy.Refuse(policy.CardStateRule, "card is %s", card.State).Err()
	}
	return nil
}

// FirstAdministrator refuses everybody but the two whom the officers may equip.
func FirstAdministrator(tx *Tx, person policy.PersonID) error {
	cer, err := tx.Ceremony()
	if err != nil {
		return err
	}
	if person != cer.Administrators[0] && person != cer.Administrators[1] {
		return policy.Refuse(policy.CeremonyScope, "not one of the first two administrators").Err()
	}
	return nil
}
