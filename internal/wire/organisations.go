package wire

import "time"

// Organisation is a customer, or a branch of one.
type Organisation struct {
	ID             string    `json:"id"`
	Number         string    `json:"number"`
	Name           string    `json:"name"`
	Parent         string    `json:"parent,omitempty"` // empty: a customer
	SigningAllowed bool      `json:"signingAllowed"`
	CreatedAt      time.Time `json:"createdAt"`
}

// Organisations answers GET /api/v1/organisations?after=&limit=.
type Organisations struct {
	Organisations []Organisation `json:"organisations"`
}

// Role is a role in force and who has it. Name is empty for a person with
// protected identity.
type Role struct {
	Person       string    `json:"person"`
	Name         string    `json:"name,omitempty"`
	Organisation string    `json:"organisation"`
	Role         string    `json:"role"`
	GrantedAt    time.Time `json:"grantedAt"`
	Statement    string    `json:"statement,omitempty"` // by which it was given; empty: at the founding
}

// Roles answers GET and POST /api/v1/organisations/{org}/roles.
type Roles struct {
	Roles []Role `json:"roles"`
}

// EndRole is the body of POST /api/v1/organisations/{org}/roles/end.
type EndRole struct {
	Person string `json:"person"`
	Role   string `json:"role"`
}

// RoleEnded answers it. Ended is false if no such role was in force.
type RoleEnded struct {
	Ended bool `json:"ended"`
}
