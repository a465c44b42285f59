package store

import (
	"errors"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
)

const (
	// sqliteFull is SQLITE_FULL: no room for the log or the database.
	sqliteFull = 13
	// sqliteShmSize is SQLITE_IOERR_SHMSIZE: no room for the log's index, which
	// is a file of its own.
	sqliteShmSize = 10 | 19<<8
	// diskFull is PostgreSQL's disk_full.
	diskFull = "53100"
)

// IsFull reports whether an error of a transaction says that there was no room to
// write it. Nothing of it was written, unless it is [ErrOutcomeUnknown] too.
func IsFull(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()&0xff == sqliteFull || e.Code() == sqliteShmSize
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == diskFull
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
