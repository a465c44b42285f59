package main

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

// Who waits is told at what it is, though a step takes long, and nothing if nothing does.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		g := &globals{stderr: &out}
		at, end := g.waiting()
		time.Sleep(3 * time.Second)
		at("rows", 2, 9)
		time.Sleep(4 * time.Second)
		at("chain", 0, 0)
		time.Sleep(2 * time.Second)
		end()
		if want := "rows (3 of 9), 4 s …\nrows (3 of 9), 6 s …\nchain, 8 s …\n"; out.String() != want {
			t.Errorf("told %q, want %q", out.String(), want)
		}
	})
}
