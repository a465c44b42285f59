package policy

import (
	"fmt"
	"time"

	"sigill/ca"
)

// Signing certificates, which holders fetch by themselves.
const (
	// SigningOff: the organisation has not decided that its people may have
	// signing certificates. A signature binds whom it is made for; an
	// organisation that takes no such documents wants none in its name.
	SigningOff Rule = "signing.off"
	// SigningEID: a signing certificate is fetched with the authentication
	// certificate of the very eID it belongs to, while that is current. With
	// another log-in, one who knows the PIN of one eID would get a signature
	// in another's name or at a higher level.
	SigningEID Rule = "signing.eid"
)

// SigningFacts is what is known when a holder asks for a signing certificate,
// read in one transaction.
type SigningFacts struct {
	Now      time.Time
	Salt     Salt // drawn for this plan
	Download DownloadID

	Card        CardNumber
	CardState   CardState
	CardExpires time.Time
	Holder      PersonID

	// Login is the certificate that logged in: that of the eID.
	Login        ca.Fingerprint
	LoginProfile ca.ProfileName
	LoginStands  bool // it stands as current
	LoginCard    CardNumber
	LoginOther   bool // the log-in is not the holder's own

	// Order is the order that made the eID; its signatures, when it was made,
	// vouched for the content that both its certificates carry.
	Order      OrderID
	OrderHash  [32]byte
	OrderState OrderState
	Signatures int
	Required   int

	SigningAllowed bool
	Addition       Addition
	ContentNow     ca.Content // as the directory gives it now
	Assigned       bool
	Standings      []Standing
	PendingUntil   time.Time
}

// MakeSigningPlan decides whether a holder may fetch a signing certificate and
// says what that does: one is added, and one that the eID has is replaced.
func MakeSigningPlan(f SigningFacts) (Plan, Decision) {
	if d := signingAllowed(f); !d.Allow {
		return Plan{}, d
	}
	p := Plan{
		Version: 1, Salt: f.Salt, Download: f.Download,
		Order: f.Order, OrderHash: fmt.Sprintf("%x", f.OrderHash),
		Card: f.Card, Holder: f.Holder, Login: f.Login.String(), EID: f.Login.String(),
		Adds:         []Addition{f.Addition.Signing()},
		Removes:      []Removal{},
		PendingUntil: f.PendingUntil.UTC().Truncate(time.Second),
	}
	for _, st := range f.Standings {
		if st.Slot == Signing && st.at(f.Addition) {
			p.Removes = append(p.Removes, removal(st))
		}
	}
	return p, Allowed
}

func signingAllowed(f SigningFacts) Decision {
	switch {
	case f.LoginProfile != ProfileAuthentication || !f.LoginStands || f.Login.IsZero():
		return Refuse(SigningEID, "logged in with something else than a current eID")
	case f.LoginCard != f.Card:
		return Refuse(DownloadCard, "logged in with another card")
	case f.LoginOther:
		return Refuse(OrderHolder, "card and log-in do not name one person")
	case f.CardState != CardActive || !f.Now.Before(f.CardExpires):
		return Refuse(CardStateRule, "card is %s", f.CardState)
	case !f.SigningAllowed:
		return Refuse(SigningOff, "the organisation does not allow signing certificates")
	case f.OrderState != OrderInstalled:
		return Refuse(OrderStateRule, "order is %s", f.OrderState)
	case f.Signatures < f.Required:
		return Refuse(OrderApprovals, "%d of %d signatures behind the eID", f.Signatures, f.Required)
	case !f.Assigned:
		return Refuse(OrderAssignment, "no assignment in the organisation now")
	}
	if field := DifferentField(f.Addition.Content, f.ContentNow); field != "" {
		return Refuse(OrderContent, "the directory has changed: %s", field)
	}
	if !f.Addition.NotAfter.After(f.Now) {
		return Refuse(OrderValidity, "ends before it begins")
	}
	return Allowed
}
