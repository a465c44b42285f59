package store

import (
	"errors"
	"strings"
	"testing"

	"sigill/ca"
)

// A connection that broke fails one reading and is replaced.
func TestStatusReaderReconnects(t *testing.T) {
	db, _ := openLite(t)
	r, err := db.StatusReader(1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	read := func() error {
		_, _, err := r.Status(t.Context(), "issuer", ca.Serial{1})
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	s, err := r.sessions.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.discard(); err != nil {
		t.Fatal(err)
	}
	r.sessions.give(s)
	if read() == nil {
		t.Fatal("read by a connection that is closed: the test shows nothing")
	}
	if err := read(); err != nil {
		t.Errorf("after a broken connection: %v", err)
	}
}

// A reading is by the serial in both tables: SQLite would otherwise go through all that
// an issuer has revoked for each.
func TestStatusReadsBySerial(t *testing.T) {
	db, _ := openLite(t)
	lite, ok := db.engine.(*lite)
	if !ok {
		t.Fatalf("%T", db.engine)
	}
	rows, err := lite.pool.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+goodStatus, make([]byte, 16), "issuer")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	searches := 0
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(detail, "SCAN") && detail != "SCAN CONSTANT ROW" {
			t.Errorf("goes through a table: %s", detail)
		}
		if strings.HasPrefix(detail, "SEARCH") {
			searches++
			if !strings.Contains(detail, "(serial=?)") {
				t.Errorf("not by the serial: %s", detail)
			}
		}
	}
	if err := rows.Err(); err != nil || searches != 2 {
		t.Errorf("%d searches, %v", searches, err)
	}
}

// The connection that was used last is used next, and a reader that was closed twice
// says so.
func TestStatusSessionsLastFirst(t *testing.T) {
	p := newStatusSessions(3)
	take := func() *statusSession {
		t.Helper()
		s, err := p.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b := new(statusSession), new(statusSession)
	for range 3 {
		if s := take(); s != nil {
			t.Fatal("connected before it was needed")
		}
	}
	p.give(a)
	p.give(b)
	p.give(nil)
	if s := take(); s != nil {
		t.Error("not the last one")
	}
	if s := take(); s != b {
		t.Error("not the last but one")
	}
	if s := take(); s != a {
		t.Error("not the first one")
	}
	for range 3 {
		p.give(nil)
	}
	if err := p.close(); err != nil {
		t.Fatal(err)
	}
	if err := p.close(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := p.take(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("taken after close: %v", err)
	}
}
