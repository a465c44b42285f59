package policy

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Identifiers. Random ones carry their type as a prefix, so that one can't be
// taken for another in a log or on the phone.
type (
	OrganisationID string // "org_…"
	PersonID       string // "per_…"
	OrderID        string // "ord_…"
	DownloadID     string // "dl_…"
	StatementID    string // "st_…"
	EventID        string // "evt_…"
)

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns prefix, "_" and 120 random bits in 24 characters.
func NewID(prefix string) string {
	var b [15]byte
	rand.Read(b[:])
	return prefix + "_" + idEncoding.EncodeToString(b[:])
}

// Salt is 128 random bits in hexadecimal: a member of what the log of acts names by
// its hash alone. Without it, whoever has the acts could go on guessing what stood in
// an order or a plan that was erased, and see when he is right; there are few names
// and numbers in the world. It stands in those bytes only, and goes with them.
type Salt string

var salt = regexp.MustCompile(`^[0-9a-f]{32}$`)

// NewSalt draws a salt.
func NewSalt() Salt {
	var b [16]byte
	rand.Read(b[:])
	return Salt(hex.EncodeToString(b[:]))
}

// OK reports whether s has the form of a salt, or is empty: what was made before
// there were salts has none.
func (s Salt) OK() bool { return s == "" || salt.MatchString(string(s)) }

// CardNumber is the number printed on a card and carried in the extension
// 1.2.752.34.2.1: 19 digits beginning with 9752 (9, ISO 3166 752 for Sweden).
type CardNumber string

var cardNumber = regexp.MustCompile(`^9752[0-9]{15}$`)

// ParseCardNumber checks the form of a card number. Whether the last digit is a
// check digit is not known, so it is not checked.
func ParseCardNumber(s string) (CardNumber, error) {
	if !cardNumber.MatchString(s) {
		return "", fmt.Errorf("a card number has 19 digits and begins with 9752")
	}
	return CardNumber(s), nil
}

// HSAID identifies an employee in the health care directory: SE, the ten-digit
// organisation number of the directory's owner, a hyphen, letters and digits.
type HSAID string

var hsaID = regexp.MustCompile(`^SE[0-9]{10}-[A-Za-z0-9]+$`)

// ParseHSAID checks the form of an HSA-id (at most 31 characters).
func ParseHSAID(s string) (HSAID, error) {
	if len(s) > 31 || !hsaID.MatchString(s) {
		return "", fmt.Errorf("an HSA-id is SE, ten digits, a hyphen and letters or digits, at most 31 characters")
	}
	return HSAID(s), nil
}

// PersonNumber is a personnummer or samordningsnummer in twelve digits,
// YYYYMMDDNNNC. It is personal data: String masks it.
type PersonNumber string

// String returns the number with its last four digits masked, for logs.
func (n PersonNumber) String() string {
	if len(n) != 12 {
		return "(no number)"
	}
	return string(n[:8]) + "-****"
}

// Digits returns the twelve digits.
func (n PersonNumber) Digits() string { return string(n) }

// ParsePersonNumber reads twelve digits (a hyphen before the last four is
// allowed) and checks date and check digit. A samordningsnummer has 60 added to
// its day.
func ParsePersonNumber(s string) (PersonNumber, NumberKind, error) {
	if len(s) == 13 && s[8] == '-' {
		s = s[:8] + s[9:]
	}
	bad := fmt.Errorf("a personnummer has twelve digits, YYYYMMDDNNNN, with a valid date and check digit")
	if len(s) != 12 || strings.Trim(s, "0123456789") != "" {
		return "", "", bad
	}
	kind, day := Personnummer, s[6:8]
	if day > "60" {
		kind = Samordningsnummer
		day = string([]byte{day[0] - 6, day[1]})
	}
	if _, err := time.Parse("20060102", s[:6]+day); err != nil {
		return "", "", bad
	}
	sum := 0
	for i, c := range s[2:] {
		d := int(c - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	if sum%10 != 0 {
		return "", "", bad
	}
	return PersonNumber(s), kind, nil
}

// Born returns the date of birth in the number.
func (n PersonNumber) Born() time.Time {
	if len(n) != 12 {
		return time.Time{}
	}
	day := string(n[6:8])
	if day > "60" {
		day = string([]byte{day[0] - 6, day[1]})
	}
	t, _ := time.Parse("20060102", string(n[:6])+day)
	return t
}

// NumberKind tells what a PersonNumber is.
type NumberKind string

const (
	Personnummer      NumberKind = "personnummer"
	Samordningsnummer NumberKind = "samordningsnummer"
)

// IDKind is the identifier that an eID carries in subject serialNumber.
type IDKind string

const (
	ByHSAID        IDKind = "hsa-id"
	ByPersonNumber IDKind = "person-id"
)

// LoA is a level of assurance: 2 or 3. Transport, officer and technical
// certificates have none (0).
type LoA int

// Slot is a place for a key on a card, with a PIN of its own.
type Slot string

const (
	Authentication Slot = "authentication"
	Signing        Slot = "signing"
	Transport      Slot = "transport"
)

// CardKind is ordinary or reserve.
type CardKind string

const (
	Ordinary CardKind = "ordinary"
	Reserve  CardKind = "reserve"
)

// CardState is the stored state of a card.
type CardState string

const (
	CardOrdered  CardState = "ordered"
	CardSent     CardState = "sent"
	CardActive   CardState = "active"
	CardLocked   CardState = "locked"
	CardBlocked  CardState = "blocked"
	CardScrapped CardState = "scrapped"
	CardExpired  CardState = "expired"
)

// cardMoves is the life of a card. Blocked, scrapped and expired are final.
var cardMoves = map[CardState][]CardState{
	CardOrdered: {CardSent, CardScrapped, CardExpired},
	CardSent:    {CardActive, CardBlocked, CardScrapped, CardExpired},
	CardActive:  {CardLocked, CardBlocked, CardScrapped, CardExpired},
	CardLocked:  {CardActive, CardBlocked, CardScrapped, CardExpired},
}

// CanMove reports whether a card may go from one state to another.
func (s CardState) CanMove(to CardState) bool { return slices.Contains(cardMoves[s], to) }

// OrderType says why an eID is ordered.
type OrderType string

const (
	OrderOrdinary OrderType = "ordinary"
	OrderReserve3 OrderType = "reserve-loa3"
	OrderReserve2 OrderType = "reserve-loa2"
	OrderExtra    OrderType = "extra"
	OrderUpdate   OrderType = "update"
	OrderRenewal  OrderType = "renewal"
)

// OrderState is the stored state of an order. Offered and downloading are
// derived: an approved order of an active card, and one with an open download.
type OrderState string

const (
	OrderPlaced    OrderState = "placed"
	OrderApproved  OrderState = "approved"
	OrderInstalled OrderState = "installed"
	OrderWithdrawn OrderState = "withdrawn"
	OrderRefused   OrderState = "refused"
	OrderExpired   OrderState = "expired"
)

var orderMoves = map[OrderState][]OrderState{
	OrderPlaced:   {OrderApproved, OrderWithdrawn, OrderRefused, OrderExpired},
	OrderApproved: {OrderInstalled, OrderWithdrawn, OrderExpired},
}

// CanMove reports whether an order may go from one state to another.
func (s OrderState) CanMove(to OrderState) bool { return slices.Contains(orderMoves[s], to) }

// DownloadState is the stored state of a download.
type DownloadState string

const (
	DownloadPlanned   DownloadState = "planned"
	DownloadInstalled DownloadState = "installed"
	DownloadAbandoned DownloadState = "abandoned"
	DownloadLapsed    DownloadState = "lapsed"
)

var downloadMoves = map[DownloadState][]DownloadState{
	DownloadPlanned: {DownloadInstalled, DownloadAbandoned, DownloadLapsed},
}

// CanMove reports whether a download may go from one state to another.
func (s DownloadState) CanMove(to DownloadState) bool { return slices.Contains(downloadMoves[s], to) }

// ItemState is the stored state of one certificate of a download.
type ItemState string

const (
	ItemPlanned   ItemState = "planned"
	ItemIntended  ItemState = "intended"
	ItemSigned    ItemState = "signed"
	ItemInstalled ItemState = "installed"
)

// itemMoves: an intended item falls back to planned when its intent is
// abandoned, and a new serial is drawn; a signed one never falls back.
var itemMoves = map[ItemState][]ItemState{
	ItemPlanned:  {ItemIntended},
	ItemIntended: {ItemSigned, ItemPlanned},
	ItemSigned:   {ItemInstalled},
}

// CanMove reports whether an item may go from one state to another.
func (s ItemState) CanMove(to ItemState) bool { return slices.Contains(itemMoves[s], to) }

// Role is what a person may do for an organisation and the branches below it.
type Role string

const (
	// RoleAdministrator orders, approves, hands out and revokes.
	RoleAdministrator Role = "administrator"
	// RoleReserve orders reserve cards at LoA2 only.
	RoleReserve Role = "reserve-administrator"
	// RoleReader sees orders and cards and changes nothing.
	RoleReader Role = "reader"
	// RoleAuditor reads both logs of the installation and what orders rest on, and
	// changes nothing. It is given at organisations without parent.
	RoleAuditor Role = "auditor"
)

// Provenance is what is known of where a key was made.
type Provenance string

const (
	Attested     Provenance = "attested"
	Personalised Provenance = "personalised"
	Session      Provenance = "session"
)
