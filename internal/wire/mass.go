package wire

import "time"

// MassOrder is the body of POST /api/v1/organisations/{org}/revocations: the
// document that is stated, the list whose SHA-256 is in it, and the caller's
// statement. The list has one serial (32 hexadecimal digits) or card number a line,
// ascending, each once, each line ended by a newline.
type MassOrder struct {
	Document   []byte      `json:"document"`
	List       string      `json:"list"`
	Statements []Statement `json:"statements"`
}

// Mass is a mass revocation.
type Mass struct {
	ID           string     `json:"id"`
	Organisation string     `json:"organisation"`
	State        string     `json:"state"` // ordered, approved (and being worked through), finished
	Reason       string     `json:"reason"`
	Kind         string     `json:"kind"` // serials, cards
	Entries      int        `json:"entries"`
	Document     []byte     `json:"document"` // what is stated
	OrderedBy    string     `json:"orderedBy"`
	OrderedAt    time.Time  `json:"orderedAt"`
	ApprovedBy   string     `json:"approvedBy,omitempty"`
	ApprovedAt   *time.Time `json:"approvedAt,omitempty"`
	Done         int        `json:"done"`    // entries worked through
	Revoked      int        `json:"revoked"` // certificates
	Failed       int        `json:"failed"`  // entries that wait to be tried again
	FinishedAt   *time.Time `json:"finishedAt,omitempty"`
	Receipted               // of the order or the approval, in its answer
}

// Masses answers GET /api/v1/organisations/{org}/revocations?after=&limit=.
type Masses struct {
	Revocations []Mass `json:"revocations"`
}

// MassList answers GET /api/v1/revocations/{id}/list.
type MassList struct {
	List string `json:"list"`
}
