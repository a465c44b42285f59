package wire

import "time"

// ExportPerson is the body of POST /api/v1/people/{id}/export.
type ExportPerson struct {
	Organisation string `json:"organisation"`
}

// PersonExport answers it: everything that is held about a person.
type PersonExport struct {
	ID          string           `json:"id"`
	Number      string           `json:"number"`
	NumberKind  string           `json:"numberKind"`
	GivenName   string           `json:"givenName"`
	Surname     string           `json:"surname"`
	CreatedAt   time.Time        `json:"createdAt"`
	Assignments []HeldAssignment `json:"assignments"`
	Roles       []HeldRole       `json:"roles"`
	Cards       []HeldCard       `json:"cards"`
	Events      []HeldEvent      `json:"events"`
	More        bool             `json:"more,omitempty"` // there are older events
}

// HeldAssignment is an assignment, in force or ended.
type HeldAssignment struct {
	Organisation string    `json:"organisation"`
	HSAID        string    `json:"hsaId"`
	Email        string    `json:"email,omitempty"`
	UPN          string    `json:"upn,omitempty"`
	SID          string    `json:"sid,omitempty"`
	EndsAt       time.Time `json:"endsAt,omitzero"`
	UpdatedAt    time.Time `json:"updatedAt"`
}

// HeldRole is a role, in force or ended.
type HeldRole struct {
	Organisation string    `json:"organisation"`
	Role         string    `json:"role"`
	GrantedAt    time.Time `json:"grantedAt"`
	EndedAt      time.Time `json:"endedAt,omitzero"`
}

// HeldCard is a card with all that belongs to it.
type HeldCard struct {
	Number       string            `json:"number"`
	Product      string            `json:"product"`
	Kind         string            `json:"kind"`
	Organisation string            `json:"organisation"`
	State        string            `json:"state"`
	ExpiresAt    time.Time         `json:"expiresAt"`
	Identity     string            `json:"identity,omitempty"` // the document that was seen at hand-out
	Certificates []HeldCertificate `json:"certificates"`
	Orders       []HeldOrder       `json:"orders"`
	Downloads    []HeldDownload    `json:"downloads"`
}

// HeldCertificate is a certificate; without its octets where retention took them.
type HeldCertificate struct {
	Serial      string          `json:"serial"`
	Fingerprint string          `json:"fingerprint"`
	Issuer      string          `json:"issuer"`
	Profile     string          `json:"profile"`
	NotBefore   time.Time       `json:"notBefore"`
	NotAfter    time.Time       `json:"notAfter"`
	RevokedAt   time.Time       `json:"revokedAt,omitzero"`
	DER         []byte          `json:"der,omitempty"`
	Statements  []HeldStatement `json:"statements,omitempty"` // that were signed with it
}

// HeldStatement is what somebody signed.
type HeldStatement struct {
	ID      string    `json:"id"`
	Act     string    `json:"act"`
	Subject string    `json:"subject"`
	At      time.Time `json:"at"`
	Content string    `json:"content,omitempty"`
}

// HeldOrder is an order, with its document as it was signed.
type HeldOrder struct {
	ID           string    `json:"id"`
	Type         string    `json:"type"`
	Organisation string    `json:"organisation"`
	State        string    `json:"state"`
	PlacedAt     time.Time `json:"placedAt"`
	Document     string    `json:"document,omitempty"`
}

// HeldDownload is a download, with its plan.
type HeldDownload struct {
	ID        string    `json:"id"`
	Order     string    `json:"order,omitempty"`
	State     string    `json:"state"`
	CreatedAt time.Time `json:"createdAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	Plan      string    `json:"plan,omitempty"`
}

// HeldEvent is an act about the person, or by him. Body is what the log covers of it;
// empty where retention took it.
type HeldEvent struct {
	ID       string            `json:"id"`
	At       time.Time         `json:"at"`
	Act      string            `json:"act"`
	About    bool              `json:"about"` // else the person did it
	Body     string            `json:"body,omitempty"`
	Personal map[string]string `json:"personal,omitempty"`
}

// PersonErased answers POST /api/v1/people/{id}/erase.
type PersonErased struct {
	Person   string    `json:"person"`
	ErasedAt time.Time `json:"erasedAt"`
	// Assignments were deleted, with name, number and addresses; Events lost their
	// personal values. 0: they were before.
	Assignments int    `json:"assignments"`
	Events      int64  `json:"events"`
	Kept        []Kept `json:"kept"`
}

// Kept is something that stays of a person who was erased.
type Kept struct {
	What  string    `json:"what"` // certificates, orders, downloads, statements, log-ins and refusals
	Count int       `json:"count"`
	Until time.Time `json:"until,omitzero"` // absent: see Why
	// Why: duty (ten years after the card has expired), signed (as long as what was
	// signed with his certificates), course (eighteen months).
	Why string `json:"why"`
}
