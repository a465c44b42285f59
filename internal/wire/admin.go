package wire

import "time"

// Statement is an act signed by a card: internal/statement's bytes, the
// signature over them, and the fingerprint of the certificate whose key signed.
type Statement struct {
	Content     []byte `json:"content"`
	Signature   []byte `json:"signature"`
	Certificate string `json:"certificate"`
}

// Stated is a document with the statements that stand behind it. Documents are
// canonical JSON; statements name their SHA-256.
type Stated struct {
	Document   []byte      `json:"document,omitempty"`
	Statements []Statement `json:"statements"`
}

// WhoAmI answers GET /api/v1/whoami.
type WhoAmI struct {
	Name         string  `json:"name"` // as statements name the caller: person id or "officer:1"
	DisplayName  string  `json:"displayName,omitempty"`
	Card         string  `json:"card,omitempty"`
	LoA          int     `json:"loa"`
	LoggedInWith string  `json:"loggedInWith"`
	Certificate  string  `json:"certificate"`
	Roles        []Grant `json:"roles"`
}

// Grant is a role in an organisation.
type Grant struct {
	Organisation string `json:"organisation"`
	Role         string `json:"role"`
}

// Ceremony answers the bootstrap.
type Ceremony struct {
	Organisation   string   `json:"organisation"`
	Administrators []string `json:"administrators"` // person ids
}

// Delivery is the body of POST /api/v1/organisations/{org}/deliveries.
type Delivery struct {
	Bureau     string      `json:"bureau"`
	File       []byte      `json:"file"`
	Signature  []byte      `json:"signature"`
	Statements []Statement `json:"statements"` // act card.delivery over the file
}

// Row is the result of one row of a file.
type Row struct {
	Row         int    `json:"row"`
	Key         string `json:"key"`
	Result      string `json:"result"` // created, changed, unchanged, refused
	Rule        string `json:"rule,omitempty"`
	Detail      string `json:"detail,omitempty"`
	Certificate []byte `json:"certificate,omitempty"` // transport certificate, DER
}

// Rows answers an import. Refused counts the rows that were refused.
type Rows struct {
	Rows    []Row `json:"rows"`
	Refused int   `json:"refused"`
}

// Person is a person with the assignment in one organisation.
type Person struct {
	ID        string     `json:"id"`
	Number    string     `json:"number"` // masked
	GivenName string     `json:"givenName"`
	Surname   string     `json:"surname"`
	HSAID     string     `json:"hsaId"`
	Email     string     `json:"email,omitempty"`
	UPN       string     `json:"upn,omitempty"`
	SID       string     `json:"sid,omitempty"`
	EndsAt    *time.Time `json:"endsAt,omitempty"`
}

// People answers GET /api/v1/organisations/{org}/people?prefix=&after=&limit=.
type People struct {
	People []Person `json:"people"`
}

// Card is a card as administrators see it.
type Card struct {
	Number       string     `json:"number"`
	Product      string     `json:"product"`
	Kind         string     `json:"kind"`
	Organisation string     `json:"organisation"`
	State        string     `json:"state"`
	Holder       string     `json:"holder,omitempty"` // person id
	Identity     string     `json:"identity,omitempty"`
	ExpiresAt    time.Time  `json:"expiresAt"`
	ArmedUntil   *time.Time `json:"armedUntil,omitempty"`
	Receipted               // of the hand-out, in its answer
}

// Abandoned answers POST /api/v1/cards/{number}/abandon.
type Abandoned struct {
	Download string `json:"download"`
}

// Cards answers GET /api/v1/organisations/{org}/cards?after=&limit=.
type Cards struct {
	Cards []Card `json:"cards"`
}

// OrderRequest is the body of POST /api/v1/orders/preview. One of PersonNumber
// and HSAID names the person.
type OrderRequest struct {
	Type         string     `json:"type"`
	Organisation string     `json:"organisation"`
	PersonNumber string     `json:"personNumber,omitempty"`
	HSAID        string     `json:"hsaId,omitempty"`
	Card         string     `json:"card"`
	IDKind       string     `json:"idKind"`
	LoA          int        `json:"loa"`
	NotAfter     *time.Time `json:"notAfter,omitempty"`
}

// Preview answers it: the document that the administrator reads and signs.
type Preview struct {
	Document []byte `json:"document"`
}

// Order is an order. Document is what was signed.
type Order struct {
	ID           string    `json:"id"`
	Type         string    `json:"type"`
	Organisation string    `json:"organisation"`
	Person       string    `json:"person"`
	Card         string    `json:"card"`
	IDKind       string    `json:"idKind"`
	LoA          int       `json:"loa"`
	State        string    `json:"state"`
	PlacedBy     string    `json:"placedBy,omitempty"`
	PlacedAt     time.Time `json:"placedAt"`
	ExpiresAt    time.Time `json:"expiresAt"`
	Document     []byte    `json:"document"`
	Receipted              // of the order or the approval, in its answer
}

// Orders answers GET /api/v1/organisations/{org}/orders?state=&before=&limit=.
type Orders struct {
	Orders []Order `json:"orders"`
}

// Block is the body of POST /card/v1/block and of POST /api/v1/cards/{number}/block.
type Block struct {
	Reason string `json:"reason"` // "lost" or "stolen"
}

// Revoke is the body of POST /api/v1/certificates/{serial}/revoke.
type Revoke struct {
	Reason string `json:"reason"` // a name of RFC 5280, 5.3.1
}

// RevokePerson is the body of POST /api/v1/people/{id}/revoke.
type RevokePerson struct {
	Organisation string `json:"organisation"`
	Reason       string `json:"reason"` // a name of RFC 5280, 5.3.1
}

// EndAssignment is the body of POST /api/v1/people/{id}/end-assignment.
type EndAssignment struct {
	Organisation string `json:"organisation"`
}

// Visible is what is added to the answer of an act that revokes where the caller waits
// (?wait=visible): whether everybody who asks is told by now, and if not, who is not.
type Visible struct {
	Visible bool   `json:"visible"`
	Why     string `json:"why,omitempty"`
}
