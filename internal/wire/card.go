// Package wire holds the JSON documents that client and server exchange, and
// nothing else. Binary values are base64 (standard, padded) by encoding/json's
// rule for []byte; times are RFC 3339 UTC; serials and hashes lower-case hex.
package wire

import "time"

// Problem is an error as a document (RFC 9457).
type Problem struct {
	Type   string `json:"type"`   // "urn:sigill:problem:refused"; API
	Title  string `json:"title"`  // in the language asked for
	Status int    `json:"status"` // HTTP status
	Detail string `json:"detail,omitempty"`
	Rule   string `json:"rule,omitempty"` // of docs/POLICY.md
	Next   string `json:"next,omitempty"` // what to do now
	// Request names the request in the server's log.
	Request string `json:"request,omitempty"`
	// ErrorMessage is for clients of certificate logs (RFC 6962, 4).
	ErrorMessage string `json:"error_message,omitempty"`
}

func (p *Problem) Error() string {
	s := p.Title
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	if p.Rule != "" {
		s += " [" + p.Rule + "]"
	}
	if p.Next != "" {
		s += ". " + p.Next
	}
	return s
}

// Certificate is a certificate as people and cards see it.
type Certificate struct {
	Serial      string    `json:"serial"`
	Fingerprint string    `json:"fingerprint"`
	Issuer      string    `json:"issuer"`
	Profile     string    `json:"profile"`
	Slot        string    `json:"slot,omitempty"`
	State       string    `json:"state"` // pending, current, superseded, revoked, expired
	NotBefore   time.Time `json:"notBefore"`
	NotAfter    time.Time `json:"notAfter"`
	// Reason and RevokedAt are as OCSP tells them, of one that is revoked or superseded.
	Reason    string    `json:"reason,omitempty"`
	RevokedAt time.Time `json:"revokedAt,omitzero"`
	DER       []byte    `json:"der,omitempty"`
	Receipted           // of its revocation, in the answer to that
}

// EID is an eID on a card.
type EID struct {
	Organisation string `json:"organisation"` // its name
	IDKind       string `json:"idKind"`
	LoA          int    `json:"loa"`
	Identifier   string `json:"identifier"` // HSA-id, or masked number
	State        string `json:"state"`
	// SigningAllowed: the holder may fetch a signing certificate for it.
	SigningAllowed bool          `json:"signingAllowed"`
	Certificates   []Certificate `json:"certificates"`
}

// Offer is an order that can be fetched to this card ("SITHS eID som du kan hämta").
type Offer struct {
	Order        string    `json:"order"`
	Type         string    `json:"type"`
	Organisation string    `json:"organisation"`
	IDKind       string    `json:"idKind"`
	LoA          int       `json:"loa"`
	ExpiresAt    time.Time `json:"expiresAt"`
}

// Me answers GET /card/v1/me: who has logged in with which card.
type Me struct {
	Card      string `json:"card"`
	CardState string `json:"cardState"`
	Product   string `json:"product"`
	// PIN2 tells what the signing PIN of this product is: "letter", a code of
	// its own in the PIN letter; "pin1", the same as the security code until the
	// holder changes it; "unknown".
	PIN2         string    `json:"pin2"`
	CardExpires  time.Time `json:"cardExpires"`
	Name         string    `json:"name"`
	LoggedInWith string    `json:"loggedInWith"` // profile of the log-in certificate
	LoA          int       `json:"loa"`
	EIDs         []EID     `json:"eids"`
	Offers       []Offer   `json:"offers"`
	// Open is the open download of this card or, if there is none, an installed
	// one of which the card has not reported the old objects gone.
	Open      *Download `json:"open,omitempty"`
	MinClient string    `json:"minClient"` // lowest client version served
	// Notice tells what the service does not do right now; absent: it does all.
	Notice *Notice `json:"notice,omitempty"`
}

// Notice tells what the service does not do right now, in the language that was
// asked for.
type Notice struct {
	Rule  string `json:"rule"` // by which it is refused: service.outage, service.revoke-only
	Title string `json:"title"`
	Text  string `json:"text,omitempty"` // why, as it was announced
	Next  string `json:"next"`
	// Until is when it is expected to be over, if that is known.
	Until time.Time `json:"until,omitzero"`
}

// Begin is the body of POST /card/v1/downloads: an order is fetched, or a signing
// certificate for the eID that is logged in with. Calling it again for the cause
// whose download is open returns that download.
type Begin struct {
	Order   string `json:"order,omitempty"`
	Signing bool   `json:"signing,omitempty"`
	// WithoutSigning, with an order: the signing certificate of the eID that is
	// replaced goes, and no new one comes in this download.
	WithoutSigning bool `json:"withoutSigning,omitempty"`
}

// Download is a download as the card sees it.
type Download struct {
	ID    string `json:"id"`
	Order string `json:"order"` // empty: a signing certificate that the holder asked for
	State string `json:"state"` // planned, installed, abandoned, lapsed
	// Plan is the exact plan (canonical JSON of policy.Plan). The client shows
	// it and computes PlanHash = SHA-256(Plan) itself.
	Plan     []byte `json:"plan"`
	PlanHash string `json:"planHash"`
	Items    []Item `json:"items"`
	// Remove lists the fingerprints of certificates that the client deletes
	// from the card; empty until the download is installed.
	Remove []string `json:"remove"`
	// Receipted is of the confirmation, once the download is installed.
	Receipted
}

// Item is one certificate of a download.
type Item struct {
	Slot             string    `json:"slot"`
	State            string    `json:"state"` // planned, intended, signed, installed
	Challenge        []byte    `json:"challenge,omitempty"`
	ChallengeExpires time.Time `json:"challengeExpires,omitzero"`
	// Certificate is the released certificate, DER, once signed; Issuer is the
	// certificate of its CA.
	Certificate []byte `json:"certificate,omitempty"`
	Issuer      []byte `json:"issuer,omitempty"`
}

// Submit is the body of POST /card/v1/downloads/{id}/items/{slot}: a PKCS#10
// request in DER that carries the binding attribute.
type Submit struct {
	CSR []byte `json:"csr"`
}

// Confirm is the body of POST /card/v1/downloads/{id}/confirm, sent over a full
// handshake with the new authentication certificate. ReadBack maps slot to the
// SHA-256 of the certificate as read back from the card.
type Confirm struct {
	PlanHash string            `json:"planHash"`
	ReadBack map[string]string `json:"readBack"`
}

// Removed is the body of POST /card/v1/downloads/{id}/removed: the fingerprints
// of the certificates that are gone from the card.
type Removed struct {
	Fingerprints []string `json:"fingerprints"`
}
