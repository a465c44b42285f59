package download

import "context"

// Store runs transactions. Update runs fn in one serializable transaction and
// commits if fn returns nil. It MAY call fn more than once, so fn MUST have no
// effect but through its Tx and MUST NOT touch what it captured before it
// returns for the last time; fn does no I/O and begins no other transaction.
// When Update returns nil, the transaction is durable. When it returns fn's own
// error, nothing was written. When it returns any other error, the transaction
// may still have been committed: read the state again. Cancelling ctx before fn
// runs ends the wait; once fn runs it is not interrupted.
//
// View runs fn in a read-only snapshot.
type Store interface {
	Update(ctx context.Context, fn func(*Tx) error) error
	View(ctx context.Context, fn func(*Tx) error) error
}
