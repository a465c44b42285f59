package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigill/internal/adminclient/admintest"
	"sigill/internal/retention"
	"sigill/internal/wire"
)

func TestPersonIsToldAndErased(t *testing.T) {
	d := &desk{admintest.Start(t), t}
	one, two := d.officer(1), d.officer(2)
	org := d.found(one, two)
	bootstrap := []string{"--org", org, "--second", "soft:" + two.path}
	karin := d.issue("9752000000000000301", "SE2321000016-K7B1", one, two, bootstrap)
	lars := d.issue("9752000000000000302", "SE2321000016-L3A9", one, two, bootstrap)
	d.persons(karin)
	holder := d.issue("9752000000000000303", "SE2321000016-A4O2", karin, lars, nil)

	held := decoded[wire.PersonExport](t, d.as(karin, "", "person", "export", "SE2321000016-A4O2"))
	if held.Surname == "" || len(held.Number) != 12 || len(held.Assignments) != 1 || len(held.Cards) != 1 || len(held.Cards[0].Orders) != 1 ||
		!strings.Contains(held.Cards[0].Orders[0].Document, held.Surname) || len(held.Events) == 0 {
		t.Errorf("told: %+v", held)
	}
	file := filepath.Join(t.TempDir(), "held.json")
	if got := d.as(karin, "", "person", "export", held.ID, "--out", file); got.code != 0 || got.out != "" {
		t.Errorf("to a file: %+v", got)
	}
	text, err := os.ReadFile(file)
	info, statErr := os.Stat(file)
	if err != nil || statErr != nil || info.Mode().Perm() != 0o600 || json.Unmarshal(text, new(wire.PersonExport)) != nil {
		t.Errorf("the file: %v, %v, %v", err, statErr, info)
	}
	if got := d.as(karin, "", "person", "export", held.ID, "--out", file); got.code != exitFailed {
		t.Errorf("over a file: %+v", got)
	}
	if got := d.as(holder, "", "person", "export", held.ID, "--org", org); got.code != exitFailed {
		t.Errorf("the holder himself: %+v", got)
	}

	both := karin
	both.more = []string{lars.pin}
	erase := []string{"person", "erase", held.ID, "--second", "soft:" + lars.path}
	if got := d.as(karin, "", "person", "erase", held.ID); got.code != exitUsage {
		t.Errorf("alone: %+v", got)
	}
	if got := d.as(both, "n\n", erase...); got.code != exitFailed || !strings.Contains(got.err, "Nothing was done") {
		t.Errorf("declined: %+v", got)
	}
	if got := d.as(both, "y\n", erase...); got.code != exitFailed || !strings.Contains(got.err, "person.active") || !strings.Contains(got.err, "an active card") {
		t.Errorf("who can act: %+v", got)
	}
	if got := d.as(karin, "", "card", "block", "9752000000000000303", "--reason", "lost", "--yes"); got.code != 0 {
		t.Fatalf("block: %+v", got)
	}
	if got := d.as(both, "y\n", erase...); got.code != 0 || !strings.Contains(got.out, "Gone: name, number") || !strings.Contains(got.out, "1 orders, until ") {
		t.Errorf("erased: %+v", got)
	}
	if got := d.as(karin, "", "person", "list"); got.code != 0 || strings.Contains(got.out, held.Surname) || strings.Contains(got.out, held.Number) {
		t.Errorf("listed: %+v", got)
	}
	if got := d.as(karin, "", "person", "export", held.ID); got.code != exitFailed {
		t.Errorf("told after it: %+v", got)
	}
	d.persons(karin) // the directory has him still, and he is somebody new
	again := decoded[wire.PersonExport](t, d.as(karin, "", "person", "export", "SE2321000016-A4O2"))
	if again.ID == held.ID || again.Number != held.Number || len(again.Cards) != 0 {
		t.Errorf("taken in again: %+v", again)
	}

	if got := program(t, "", "retention", "--dry-run", "--dir", d.Dir); got.code != 0 || !strings.Contains(got.out, "access") {
		t.Errorf("what is due: %+v", got)
	}
	for _, l := range decoded[retention.Report](t, program(t, "", "retention", "--dir", d.Dir, "--json")) {
		if l.Count != 0 {
			t.Errorf("due on the first day: %+v", l)
		}
	}
	if got := program(t, "", "retention", "run", "--dir", d.Dir); got.code != exitFailed {
		t.Errorf("beside who serves: %+v", got)
	}
	if got := program(t, "", "audit", "verify", "--dir", d.Dir); got.code != 0 {
		t.Errorf("verify: %+v", got)
	}
}
