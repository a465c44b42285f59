package store

import (
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
	s := <-r.sessions
	if err := s.discard(); err != nil {
		t.Fatal(err)
	}
	r.sessions <- s
	if read() == nil {
		t.Fatal("read by a connection that is closed: the test shows nothing")
	}
	if err := read(); err != nil {
		t.Errorf("after a broken connection: %v", err)
	}
}
