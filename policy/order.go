package policy

import (
	"time"

	"sigill/ca"
)

// OrderFacts is what is known when an order is placed, read in one transaction.
type OrderFacts struct {
	Now    time.Time
	Type   OrderType
	IDKind IDKind
	LoA    LoA

	CardKind    CardKind
	CardState   CardState
	CardExpires time.Time
	OwnCard     bool // the ordering organisation owns the card
	HolderAgree bool // the person is the card's holder
	Identity    string

	NumberKind NumberKind
	Born       time.Time
	Assigned   bool
	Ends       time.Time // of the assignment; zero: no end known

	CallerIsPerson bool
	HasCurrent     bool // a current eID stands at (card, organisation, kind)
	OpenSame       bool // such an order is open already
	// EIDs are the eIDs that the card would carry with this one: those that
	// stand and those that are ordered; MaxEIDs is what its product can.
	EIDs           int
	MaxEIDs        int
	NotAfter       time.Time
	IssuerNotAfter time.Time
}

// minimum age for a level of assurance.
var minimumAge = map[LoA]int{3: 18, 2: 15}

// PlaceOrder decides whether an order may be placed.
func PlaceOrder(f OrderFacts) Decision {
	if f.CallerIsPerson {
		return Refuse(OrderSelf, "ordering for oneself")
	}
	if !f.HolderAgree {
		return Refuse(OrderHolder, "card number and person do not go together")
	}
	if f.CardState != CardActive {
		return Refuse(CardStateRule, "card is %s", f.CardState)
	}
	if d := orderType(f); !d.Allow {
		return d
	}
	if d := orderIdentity(f); !d.Allow {
		return d
	}
	if !f.Assigned || (!f.Ends.IsZero() && !f.Now.Before(f.Ends)) {
		return Refuse(OrderAssignment, "no assignment in the organisation now")
	}
	if f.OpenSame {
		return Refuse(OrderDuplicate, "an order of this type is open for the card")
	}
	// What replaces an eID takes no further place, whatever is known of the
	// product by now: nobody is to be left without his eID for a number in a list.
	if f.EIDs > f.MaxEIDs && !f.HasCurrent {
		return Refuse(OrderCardFull, "the card carries at most %d eIDs", f.MaxEIDs)
	}
	return orderValidity(f)
}

func orderType(f OrderFacts) Decision {
	switch f.Type {
	case OrderOrdinary:
		if f.CardKind != Ordinary || !f.OwnCard {
			return Refuse(OrderTypeRule, "an ordinary eID goes to an ordinary card of the own organisation")
		}
	case OrderReserve3, OrderReserve2:
		if f.CardKind != Reserve {
			return Refuse(OrderTypeRule, "a reserve eID goes to a reserve card")
		}
		if (f.Type == OrderReserve2) != (f.LoA == 2) {
			return Refuse(OrderTypeRule, "order type and level of assurance differ")
		}
	case OrderExtra:
		if f.OwnCard {
			return Refuse(OrderTypeRule, "an extra eID comes from another organisation than the card's")
		}
	case OrderUpdate, OrderRenewal:
		if !f.HasCurrent {
			return Refuse(OrderUpdateNothing, "no current eID of this organisation and kind on the card")
		}
	default:
		return Refuse(OrderTypeRule, "unknown order type")
	}
	if (f.Type == OrderOrdinary || f.Type == OrderExtra) && f.HasCurrent {
		return Refuse(OrderTypeRule, "the card has such an eID: order an update or a renewal")
	}
	if f.LoA != 2 && f.LoA != 3 {
		return Refuse(OrderTypeRule, "level of assurance is 2 or 3")
	}
	if f.IDKind != ByHSAID && f.IDKind != ByPersonNumber {
		return Refuse(OrderTypeRule, "identifier kind is hsa-id or person-id")
	}
	return Allowed
}

func orderIdentity(f OrderFacts) Decision {
	if f.LoA == 3 && f.NumberKind != Personnummer {
		return Refuse(OrderIdentity, "level 3 needs a personnummer")
	}
	if f.Now.Before(f.Born.AddDate(minimumAge[f.LoA], 0, 0)) {
		return Refuse(OrderIdentity, "younger than %d years", minimumAge[f.LoA])
	}
	return Allowed
}

func orderValidity(f OrderFacts) Decision {
	switch {
	case !f.NotAfter.After(f.Now):
		return Refuse(OrderValidity, "ends before it begins")
	case f.NotAfter.After(f.CardExpires):
		return Refuse(OrderValidity, "ends after the card")
	case !f.Ends.IsZero() && f.NotAfter.After(f.Ends):
		return Refuse(OrderValidity, "ends after the assignment")
	case f.NotAfter.After(f.IssuerNotAfter):
		return Refuse(OrderValidity, "ends after the issuing CA")
	}
	return Allowed
}

// RequiredSignatures is the number of different administrators whose statements
// must stand behind an order that is carried out with a log-in at level login.
//
// Four eyes where identity is established. An update or renewal that the holder
// fetches with a current LoA3 eID on the same card needs one: card and PIN are
// the second party, so that still nobody alone obtains an eID in another's name.
func RequiredSignatures(t OrderType, loa, login LoA) int {
	if loa < 3 {
		return 1
	}
	if (t == OrderUpdate || t == OrderRenewal) && login >= 3 {
		return 1
	}
	return 2
}

// ApproveFacts is what is known when an order is approved.
type ApproveFacts struct {
	Now            time.Time
	State          OrderState
	ExpiresAt      time.Time
	CallerIsPerson bool // the approver is who receives the eID
	CallerPlaced   bool
	CallerApproved bool // already
	Installed      bool
}

// ApproveOrder decides whether an order may be approved.
func ApproveOrder(f ApproveFacts) Decision {
	switch {
	case f.CallerIsPerson:
		return Refuse(OrderSelf, "approving for oneself")
	case f.CallerPlaced:
		return Refuse(OrderApprover, "the same person placed the order")
	case f.CallerApproved:
		return Refuse(OrderApprover, "the same person approved already")
	case f.State != OrderPlaced && f.State != OrderApproved:
		return Refuse(OrderStateRule, "order is %s", f.State)
	case !f.Now.Before(f.ExpiresAt):
		return Refuse(OrderExpiredRule, "order was open until %s", f.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return Allowed
}

// ContentFacts is what a certificate's content is made of.
type ContentFacts struct {
	Country      string
	Organisation string
	GivenName    string
	Surname      string
	HSAID        HSAID
	Number       PersonNumber
	Email        string
	UPN          string
	SID          string
	Card         CardNumber
	Type         OrderType
	IDKind       IDKind
	LoA          LoA
}

// OIDs maps a routine ("ordinary/3") to the policy OIDs that tell it. Every
// routine needs an entry.
type OIDs map[string][]string

// Routine is the key of OIDs for an order. Updates and renewals keep the
// routine of the card they are for.
func Routine(card CardKind, t OrderType, loa LoA) string {
	kind := "ordinary"
	if card == Reserve || t == OrderReserve2 || t == OrderReserve3 {
		kind = "reserve"
	}
	return kind + "/" + string(rune('0'+loa))
}

// ContentOf returns the content of an authentication certificate. The order of
// fields and their bytes are the directory's: nothing is changed or guessed.
func ContentOf(f ContentFacts, oids []string) ca.Content {
	c := ca.Content{
		Country:      f.Country,
		Organisation: f.Organisation,
		CommonName:   f.GivenName + " " + f.Surname,
		Surname:      f.Surname,
		GivenName:    f.GivenName,
		SerialNumber: string(f.HSAID),
		CardNumber:   string(f.Card),
		Email:        f.Email,
		UPN:          f.UPN,
		SID:          f.SID,
		PolicyOIDs:   oids,
	}
	if f.IDKind == ByPersonNumber {
		c.SerialNumber = f.Number.Digits()
	}
	return c
}

// DifferentField names the first field in which ordered content differs from
// what the directory gives now, or "".
func DifferentField(ordered, now ca.Content) string {
	for _, f := range []struct{ name, a, b string }{
		{"organisation", ordered.Organisation, now.Organisation},
		{"commonName", ordered.CommonName, now.CommonName},
		{"surname", ordered.Surname, now.Surname},
		{"givenName", ordered.GivenName, now.GivenName},
		{"serialNumber", ordered.SerialNumber, now.SerialNumber},
		{"cardNumber", ordered.CardNumber, now.CardNumber},
		{"email", ordered.Email, now.Email},
		{"upn", ordered.UPN, now.UPN},
		{"sid", ordered.SID, now.SID},
		{"country", ordered.Country, now.Country},
	} {
		if f.a != f.b {
			return f.name
		}
	}
	return ""
}
