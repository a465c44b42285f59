package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"sigill/ca"
)

// Plan says exactly which certificates a download adds and which it removes and
// revokes. Its bytes are stored; their SHA-256 is what the holder approves, what
// every CSR is bound to and what confirm must name.
type Plan struct {
	Version  int        `json:"version"`        // 1
	Salt     Salt       `json:"salt,omitempty"` // empty in plans of before
	Download DownloadID `json:"download"`
	Order    OrderID    `json:"order"`
	// OrderHash is the SHA-256 of the order's bytes, hexadecimal.
	OrderHash string     `json:"orderHash"`
	Card      CardNumber `json:"card"`
	Holder    PersonID   `json:"holder"`
	// Login is the fingerprint of the certificate that logged in.
	Login string `json:"login"`
	// EID is the fingerprint of the authentication certificate for which its
	// holder asked for a signing certificate; then Order is the one that made
	// that eID, and nobody ordered anything. Empty: the order is the cause.
	EID     string     `json:"eid,omitempty"`
	Adds    []Addition `json:"adds"`
	Removes []Removal  `json:"removes"`
	// PendingUntil is until when the new certificate may wait for its
	// confirmation; until then both the old and the new one are good to
	// relying parties, after it the new one is revoked.
	PendingUntil time.Time `json:"pendingUntil"`
}

// Addition is a certificate that will be made.
type Addition struct {
	Slot         Slot           `json:"slot"`
	Profile      ca.ProfileName `json:"profile"`
	Issuer       ca.IssuerID    `json:"issuer"`
	Organisation OrganisationID `json:"organisation"`
	IDKind       IDKind         `json:"idKind"`
	LoA          LoA            `json:"loa"`
	NotAfter     time.Time      `json:"notAfter"`
	Content      ca.Content     `json:"content"`
	Algorithms   []string       `json:"algorithms"` // allowed key algorithms, the first preferred
	Provenance   Provenance     `json:"provenance"` // the weakest that is accepted
}

// Equal reports whether a and b ask for the same certificate.
func (a Addition) Equal(b Addition) bool {
	return a.Slot == b.Slot && a.Profile == b.Profile && a.Issuer == b.Issuer && a.Organisation == b.Organisation &&
		a.IDKind == b.IDKind && a.LoA == b.LoA && a.NotAfter.Equal(b.NotAfter) && a.Content.Equal(b.Content) &&
		slices.Equal(a.Algorithms, b.Algorithms) && a.Provenance == b.Provenance
}

// Removal is a certificate that will be revoked as superseded when the download
// is confirmed, and then deleted from the card.
type Removal struct {
	Issuer      ca.IssuerID `json:"issuer"`
	Serial      string      `json:"serial"`
	Fingerprint string      `json:"fingerprint"`
	Slot        Slot        `json:"slot"`
	NotAfter    time.Time   `json:"notAfter"`
	Action      string      `json:"action"` // "revoke and delete"
	Reason      string      `json:"reason"` // "superseded"
	// FetchAnew: nothing in this download replaces it, and the holder may fetch
	// a new one afterwards (a signing certificate whose organisation allows it).
	FetchAnew bool `json:"fetchAnew,omitempty"`
}

// Organisation returns the organisation whose eID the plan is about.
func (p Plan) Organisation() OrganisationID {
	if len(p.Adds) == 0 {
		return ""
	}
	return p.Adds[0].Organisation
}

// Addition returns the addition for a slot.
func (p Plan) Addition(slot Slot) (Addition, bool) {
	for _, a := range p.Adds {
		if a.Slot == slot {
			return a, true
		}
	}
	return Addition{}, false
}

// Bytes returns the plan's canonical JSON and its SHA-256.
func (p Plan) Bytes() ([]byte, [32]byte) {
	b, err := json.Marshal(p)
	if err != nil { // no field can fail: strings, numbers, times of this century
		panic(err)
	}
	return b, sha256.Sum256(b)
}

// ParsePlan reads a plan and refuses unknown members and other encodings.
func ParsePlan(b []byte) (Plan, error) {
	var p Plan
	if len(b) > 64<<10 {
		return p, fmt.Errorf("plan of more than 64 KiB")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return p, fmt.Errorf("plan: %w", err)
	}
	if p.Version != 1 {
		return p, fmt.Errorf("plan: version %d is not known", p.Version)
	}
	if !p.Salt.OK() {
		return p, fmt.Errorf("plan: its salt is not 32 hexadecimal digits")
	}
	if again, _ := p.Bytes(); !bytes.Equal(again, b) {
		return p, fmt.Errorf("plan is not in canonical form")
	}
	return p, nil
}

// Standing is a certificate that stands as current on the card.
type Standing struct {
	Organisation OrganisationID
	IDKind       IDKind
	Slot         Slot
	Issuer       ca.IssuerID
	Serial       ca.Serial
	Fingerprint  ca.Fingerprint
	NotAfter     time.Time
}

// PlanFacts is what is known when a download begins, read in one transaction.
type PlanFacts struct {
	Now      time.Time
	Salt     Salt // drawn for this plan
	Download DownloadID

	Card        CardNumber
	CardState   CardState
	CardExpires time.Time
	Holder      PersonID

	Login      ca.Fingerprint
	LoginLoA   LoA // 0 for a transport certificate
	LoginCard  CardNumber
	LoginOther bool // the log-in is not the holder's own

	Order        OrderID
	OrderHash    [32]byte
	OrderType    OrderType
	OrderState   OrderState
	OrderExpires time.Time
	OrderCard    CardNumber
	OrderPerson  PersonID
	Identity     string // identity check recorded in the order
	Signatures   int    // valid statements of different current administrators

	Addition     Addition   // as ordered
	ContentNow   ca.Content // as the directory gives it now
	Assigned     bool
	Standings    []Standing
	PendingUntil time.Time

	// SigningAllowed: the ordering organisation lets its people have signing
	// certificates.
	SigningAllowed bool
	// WithoutSigning: the holder does not want a signing certificate replaced
	// now, because its PIN is not at hand.
	WithoutSigning bool
}

// MakePlan decides whether a download may begin and says what it does.
func MakePlan(f PlanFacts) (Plan, Decision) {
	if d := planAllowed(f); !d.Allow {
		return Plan{}, d
	}
	p := Plan{
		Version: 1, Salt: f.Salt, Download: f.Download,
		Order: f.Order, OrderHash: fmt.Sprintf("%x", f.OrderHash),
		Card: f.Card, Holder: f.Holder, Login: f.Login.String(),
		Adds:         []Addition{f.Addition},
		Removes:      []Removal{},
		PendingUntil: f.PendingUntil.UTC().Truncate(time.Second),
	}
	add := f.Addition
	for _, st := range f.Standings {
		if st.Slot == Signing && st.at(add) && f.SigningAllowed && !f.WithoutSigning {
			p.Adds = append(p.Adds, add.Signing())
		}
	}
	for _, st := range f.Standings {
		if !st.at(add) {
			continue // never touches another organisation's eID, nor another kind
		}
		r := removal(st)
		r.FetchAnew = st.Slot == Signing && len(p.Adds) == 1 && f.SigningAllowed
		p.Removes = append(p.Removes, r)
	}
	return p, Allowed
}

// at reports whether a certificate stands where an addition will.
func (st Standing) at(a Addition) bool {
	return st.Organisation == a.Organisation && st.IDKind == a.IDKind && st.Slot != Transport
}

func removal(st Standing) Removal {
	return Removal{Issuer: st.Issuer, Serial: st.Serial.String(), Fingerprint: st.Fingerprint.String(),
		Slot: st.Slot, NotAfter: st.NotAfter.UTC(), Action: "revoke and delete", Reason: ca.Superseded.String()}
}

// Signing returns the signing certificate of the same eID.
func (a Addition) Signing() Addition {
	a.Slot, a.Profile = Signing, ProfileSigning
	return a
}

func planAllowed(f PlanFacts) Decision {
	switch {
	case f.LoginCard != f.OrderCard || f.Card != f.OrderCard:
		return Refuse(DownloadCard, "logged in with another card")
	case f.LoginOther || f.OrderPerson != f.Holder:
		return Refuse(OrderHolder, "order, card and log-in do not name one person")
	case f.CardState != CardActive || !f.Now.Before(f.CardExpires):
		return Refuse(CardStateRule, "card is %s", f.CardState)
	case f.OrderState == OrderPlaced:
		return Refuse(OrderApprovals, "the order waits for an approval")
	case f.OrderState != OrderApproved:
		return Refuse(OrderStateRule, "order is %s", f.OrderState)
	case !f.Now.Before(f.OrderExpires):
		return Refuse(OrderExpiredRule, "order was open until %s", f.OrderExpires.UTC().Format(time.RFC3339))
	case !f.Assigned:
		return Refuse(OrderAssignment, "no assignment in the organisation now")
	}
	if d := LoginCarries(f.Addition.LoA, f.LoginLoA, f.Identity); !d.Allow {
		return d
	}
	if need := RequiredSignatures(f.OrderType, f.Addition.LoA, f.LoginLoA); f.Signatures < need {
		return Refuse(OrderApprovals, "%d of %d signatures", f.Signatures, need)
	}
	if field := DifferentField(f.Addition.Content, f.ContentNow); field != "" {
		return Refuse(OrderContent, "the directory has changed: %s", field)
	}
	if !f.Addition.NotAfter.After(f.Now) {
		return Refuse(OrderValidity, "ends before it begins")
	}
	return Allowed
}

// LoginCarries decides whether a log-in suffices for a level of assurance: at
// least the same level, or an identity check recorded for this very card and
// signed with the order.
func LoginCarries(want, login LoA, identity string) Decision {
	if login >= want || identity != "" {
		return Allowed
	}
	return Refuse(LoginLoA, "level %d cannot be issued to a log-in at level %d", want, login)
}

// HoldFacts is what record, store and confirm read again in their own
// transaction: everything that may have changed since the plan.
type HoldFacts struct {
	Now          time.Time
	CardState    CardState
	CardExpires  time.Time
	SameHolder   bool
	OrderState   OrderState
	OrderExpires time.Time
	SameOrder    bool // the order's bytes are those of the plan
	LoginRevoked bool
	// LoginStands: the log-in certificate stands as current and, where it is a
	// transport certificate, is armed for this download. Looked at up to
	// record: an armed time that runs out later stops nothing released.
	LoginStands bool
	UpToRecord  bool
	Assigned    bool // looked at up to record
	// ContentField is the field in which the directory differs from the order;
	// looked at up to record.
	ContentField string
	Signatures   int // still in force; looked at up to record
	Required     int

	// Own: the holder asked for a signing certificate by himself. Then the
	// order is the one that made the eID, installed long ago.
	Own bool
	// EIDStands: that eID's authentication certificate is current.
	EIDStands bool
	// AddsSigning and SigningAllowed: the plan has a signing certificate, and
	// the organisation still lets its people have one; looked at up to record.
	AddsSigning    bool
	SigningAllowed bool
}

// order is the state that the plan's order must be in.
func (f HoldFacts) order() OrderState {
	if f.Own {
		return OrderInstalled
	}
	return OrderApproved
}

// StillHolds decides whether what a plan was made from still holds.
func StillHolds(f HoldFacts) Decision {
	switch {
	case f.CardState != CardActive || !f.Now.Before(f.CardExpires):
		return Refuse(CardStateRule, "card is %s", f.CardState)
	case !f.SameHolder:
		return Refuse(OrderHolder, "the card's holder is another")
	case f.OrderState != f.order() || !f.SameOrder:
		return Refuse(OrderStateRule, "order is %s", f.OrderState)
	case f.LoginRevoked:
		return Refuse(LoginRevoked, "the certificate that began this download is revoked")
	case f.Own && !f.EIDStands:
		return Refuse(SigningEID, "the eID that it belongs to is not current any more")
	}
	if !f.UpToRecord {
		return Allowed
	}
	switch {
	case f.AddsSigning && !f.SigningAllowed:
		return Refuse(SigningOff, "the organisation has switched signing certificates off")
	case !f.Own && !f.Now.Before(f.OrderExpires):
		return Refuse(OrderExpiredRule, "order was open until %s", f.OrderExpires.UTC().Format(time.RFC3339))
	case !f.LoginStands:
		return Refuse(DownloadChanged, "the log-in that began this download no longer stands")
	case !f.Assigned:
		return Refuse(OrderAssignment, "no assignment in the organisation now")
	case f.ContentField != "":
		return Refuse(OrderContent, "the directory has changed: %s", f.ContentField)
	case f.Signatures < f.Required:
		return Refuse(OrderApprovals, "%d of %d signatures still in force", f.Signatures, f.Required)
	}
	return Allowed
}

// Limits on intents: each one is a CRL entry for years if it comes to nothing.
const (
	IntentsPerSlot = 5  // a slot and download
	IntentsPerCard = 10 // a card and 24 hours
)

// MayIntend decides whether another intent may be recorded.
func MayIntend(ofSlot, ofCard int) Decision {
	if ofSlot >= IntentsPerSlot || ofCard >= IntentsPerCard {
		return Refuse(IntentLimit, "%d for this download, %d for this card today", ofSlot, ofCard)
	}
	return Allowed
}

// provenanceRank orders what is known of a key's origin.
var provenanceRank = map[Provenance]int{Session: 1, Personalised: 2, Attested: 3}

// AdmitProvenance decides whether what is known of a key's origin suffices. A
// key known only from the session of a registered card may be a copyable one
// that malware on the holder's computer made.
func AdmitProvenance(have, need Provenance) Decision {
	if provenanceRank[have] == 0 || provenanceRank[have] < provenanceRank[need] {
		return Refuse(KeyProvenance, "%s where %s is needed", have, need)
	}
	return Allowed
}
