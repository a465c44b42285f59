package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigill/internal/wire"
)

// actsLog returns --log for the log of acts, with its public key in a file.
func (d *desk) actsLog() string {
	d.t.Helper()
	shown := decoded[map[string]struct{ Origin, PublicKey string }](d.t, program(d.t, "", "log", "show", "--dir", d.Dir, "--json"))
	return shown["acts"].Origin + "=" + d.file("acts.pem", shown["acts"].PublicKey)
}

// kept runs a noun that leaves a receipt, and returns where it was kept.
func (d *desk) kept(who card, answers string, args ...string) (outcome, string) {
	d.t.Helper()
	path := filepath.Join(d.t.TempDir(), "receipt.json")
	got := d.as(who, answers, append(args, "--receipt", path)...)
	if got.code != 0 || !strings.Contains(got.err, " of the log, verified\n") {
		d.t.Fatalf("%v: %+v", args, got)
	}
	return got, path
}

// receipts has acts done whose receipts are kept, and judges them as somebody who has
// nothing but the log's public key.
func (d *desk) receipts(karin, lars, holder card, serial string) {
	t := d.t
	log := d.actsLog()
	verify := func(path string, more ...string) outcome {
		return program(t, "", append([]string{"audit", "verify-receipt", path, "--log", log}, more...)...)
	}
	got, placed := d.kept(karin, "y\n", "order", "place", "--hsa-id", "SE2321000016-A4O2", "--to", holder.number, "--json")
	o := decoded[wire.Order](t, got)
	_, approved := d.kept(lars, "ja\n", "order", "approve", o.ID)
	_, revoked := d.kept(karin, "y\n", "cert", "revoke", serial, "--reason", "privilegeWithdrawn")
	for path, want := range map[string][]string{placed: {"An eID was ordered to a card.", "order.placed", o.ID, holder.number},
		approved: {"An order of an eID was approved.", o.ID}, revoked: {"A certificate was revoked.", serial, "privilegeWithdrawn"}} {
		got := verify(path)
		for _, text := range append(want, "done by", "number ", "nobody: the log's word alone") {
			if got.code != 0 || !strings.Contains(got.out, text) {
				t.Errorf("%q is not told: %+v", text, got)
			}
		}
	}
	proved := decoded[provedAct](t, verify(placed, "--status", d.Status, "--json"))
	if proved.Fields["order"] != o.ID || proved.Later == nil || proved.Later.Size < proved.Under.Size || proved.Number < 1 || proved.Number > proved.Under.Size {
		t.Errorf("and still there: %+v", proved)
	}
	if got := program(t, "", "audit", "verify-receipt", "-", "--log", log); got.code != exitFailed {
		t.Errorf("nothing: %+v", got)
	}
	again := decoded[wire.Receipt](t, d.as(karin, "", "receipt", proved.Event))
	if !strings.Contains(again.Act, o.ID) {
		t.Errorf("asked for again: %+v", again)
	}
	if got := d.as(lars, "", "receipt", proved.Event); got.code != exitFailed || !strings.Contains(got.err, "finns inte") {
		t.Errorf("somebody else's: %+v", got)
	}
	d.falseReceipts(placed, log, verify)
}

// falseReceipts changes a receipt, and what it is judged by.
func (d *desk) falseReceipts(placed, log string, verify func(string, ...string) outcome) {
	t := d.t
	text, err := os.ReadFile(placed)
	if err != nil {
		t.Fatal(err)
	}
	var r wire.Receipt
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	written := func(r wire.Receipt) string {
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return d.file("changed.json", string(text))
	}
	hostile := r
	hostile.Act = "\x1b[2J\x1b]0;verified\a\u009b31m" + r.Act
	for name, path := range map[string]string{
		"the act":   written(wire.Receipt{Act: strings.Replace(r.Act, "order.placed", "order.approved", 1), Proof: r.Proof}),
		"a field":   written(wire.Receipt{Act: strings.Replace(r.Act, `"loa","value":"3"`, `"loa","value":"2"`, 1), Proof: r.Proof}),
		"the place": written(wire.Receipt{Act: r.Act, Proof: strings.Replace(r.Proof, "\nindex ", "\nindex 1", 1)}),
		"the words": written(hostile),
		"all of it": d.file("none.json", "\x1b[2J"),
	} {
		got := verify(path)
		if got.code != exitFailed || got.out != "" {
			t.Errorf("%s was changed: %+v", name, got)
		}
		if strings.ContainsAny(got.err, "\x1b\a\u009b") {
			t.Errorf("%s was changed, and what is told steers the terminal: %q", name, got.err)
		}
	}
	shown := decoded[map[string]struct{ Origin, PublicKey string }](t, program(t, "", "log", "show", "--dir", d.Dir, "--json"))
	other := shown["acts"].Origin + "=" + d.file("other.pem", shown["certificates"].PublicKey)
	for _, c := range []struct {
		code int
		args []string
	}{
		{exitFailed, []string{placed, "--log", other}},
		{exitUsage, []string{placed}},
		{exitUsage, []string{placed, "--log", "nothing"}},
		{exitUsage, []string{"--log", log}},
		{exitUsage, []string{placed, "--log", log, "--witness", "nobody"}},
		{exitFailed, []string{placed, "--log", log, "--witness", "w.example+a0d1b0c5+BAAA"}},
	} {
		if got := program(t, "", append([]string{"audit", "verify-receipt"}, c.args...)...); got.code == 0 || c.code == exitUsage && got.code != exitUsage {
			t.Errorf("%v: %+v", c.args, got)
		}
	}
	d.against(placed, verify)
}

// against holds a receipt against the checkpoint that everybody is shown.
func (d *desk) against(placed string, verify func(string, ...string) outcome) {
	t := d.t
	resp, err := http.Get(d.Status + "/log/acts/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	note, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := verify(placed, "--checkpoint", d.file("checkpoint", string(note))); got.code != exitFailed || !strings.Contains(got.err, "another size") {
		t.Errorf("a later checkpoint alone: %+v", got)
	}
	if got := verify(placed, "--checkpoint", d.file("checkpoint", "nothing")); got.code != exitFailed {
		t.Errorf("no checkpoint: %+v", got)
	}
}

// What is wrong with a receipt is told, and fails; the log that is believed is named
// rightly or not at all.
func TestReceiptOfSomethingElseIsNoticed(t *testing.T) {
	for _, r := range []wire.Receipted{
		{Receipt: &wire.Receipt{}}, {Receipt: &wire.Receipt{Act: "{}", Proof: "c2sp.org/tlog-proof@v1\n"}},
	} {
		s := &session{globals: &globals{ctx: t.Context(), stderr: io.Discard}, flags: serverFlags{Dir: t.TempDir()}}
		if err := (receiptFlags{}).keep(s, r, didTo("card.blocked", "card", "9752000000000000017")); err == nil || !strings.Contains(err.Error(), "WRONG") {
			t.Errorf("%+v: %v", r, err)
		}
	}
	var told strings.Builder
	s := &session{globals: &globals{ctx: t.Context(), stderr: &told}, flags: serverFlags{Dir: t.TempDir()}}
	later := wire.Receipted{ReceiptLater: &wire.ReceiptLater{Event: "evt_a\x1b[2J"}}
	if err := (receiptFlags{}).keep(s, later, did{}); err != nil || !strings.Contains(told.String(), "sigill receipt evt_a") || strings.Contains(told.String(), "\x1b") {
		t.Errorf("later: %v, %q", err, told.String())
	}
}
