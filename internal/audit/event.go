// Package audit tells afterwards what was done. An [Event] is appended in the
// transaction of the act it tells, unnumbered; the [Sequencer], the only writer
// of the chain, numbers and chains committed events. The chain covers
// commitments to personal fields, never the fields, so that retention can erase
// them and the chain still verifies.
//
// It knows neither what an order is nor how rows are stored.
package audit

import "time"

// Field is a named value of an event.
type Field struct{ Name, Value string }

// Event is one act as the domain tells it.
type Event struct {
	ID  string    // "evt_…", random or by EventID; set by who appends
	At  time.Time // UTC, microseconds
	Act string    // "order.placed", "certificate.revoked"; a closed list in Acts
	By  string    // person id, "officer:…", or "system"
	// Public fields are identifiers, states, rules: what is no personal data.
	Public []Field
	// Personal fields are committed to in the chain and kept beside it.
	Personal []Field
}

// Recorder appends events inside a transaction. Append MUST write the sealed
// event and its personal fields in the transaction it belongs to, and MUST fail with
// ErrTaken, and the transaction with it, if an event with the same id is there.
type Recorder interface {
	Append(Event) error
}
