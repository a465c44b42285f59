//go:build unix && cgo

package journey

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/internal/stage"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/internal/wire"
)

const (
	pin1 = "314159"
	pin2 = "271828"
)

func björn() *stage.Holder {
	return &stage.Holder{Number: "198505122385", Given: "Björn-Åke", Surname: "Öhrström Länk", HSAID: "SE2321000016-B7H1",
		Email: "bjorn-ake.ohrstrom@regionen.example", UPN: "bjoohr@ad.region.example", Card: "9752278900000000064"}
}

// hardCard is a card on tokens, as the programs are told of it.
type hardCard struct {
	*played
	hsm    *tokentest.SoftHSM
	uri    string
	labels []string
}

// hard makes a card of two tokens (one for each PIN) or one, has it personalised
// and hands it out.
func (p *played) hard(hsm *tokentest.SoftHSM, h *stage.Holder, algorithm token.Algorithm, labels ...string) *hardCard {
	p.t.Helper()
	for i, label := range labels {
		hsm.NewToken(p.t, label, []string{pin1, pin2}[i])
	}
	c := &hardCard{played: p, hsm: hsm, uri: hsm.URI(labels[0], labels[1:]...), labels: labels}
	p.Directory("created", h)
	open, err := token.Open(p.t.Context(), c.uri, tokentest.PIN(pin1, pin2))
	p.Must(err)
	p.Personalise(stage.Blank{Number: h.Card, Card: open, Algorithm: algorithm})
	p.Must(open.Close())
	p.HandOut(h)
	return c
}

// holderProgram prepares sigill-card with the PINs on descriptor 3.
func (p *played) holderProgram(card, server, pins string, args ...string) *exec.Cmd {
	p.t.Helper()
	cmd, err := p.HolderProgram(programs.Card(p.t), card, server, pins, args...)
	p.Must(err)
	p.t.Cleanup(func() { cmd.ExtraFiles[0].Close() })
	return cmd
}

// run runs sigill-card with the card.
func (c *hardCard) run(args ...string) stage.Outcome {
	c.t.Helper()
	return stage.Run(c.t, c.holderProgram(c.uri, c.Server, pin1+"\n"+pin2+"\n", args...))
}

// read runs sigill-card, which must succeed, and reads its JSON.
func (c *hardCard) read(into any, args ...string) stage.Outcome {
	c.t.Helper()
	o := c.run(append(args, "--json")...).Want(c.t, 0, "sigill-card "+strings.Join(args, " "))
	if err := json.Unmarshal([]byte(o.Out), into); err != nil {
		c.t.Fatalf("sigill-card %s: %v\n%s", strings.Join(args, " "), err, o.Out)
	}
	return o
}

// result is what `sigill-card fetch --json` prints.
type result struct {
	Card, Download, Order string
	Resumed               bool
	Installed             []struct {
		Slot, Serial, Fingerprint string
		NotAfter                  time.Time
	}
	Removed []string
}

// object is one object of `sigill-card list --json`.
type object struct {
	ID, Slot, Label, Serial, Fingerprint, Subject, Issuer string
	HasKey                                                bool
}

// list returns the card's objects in a slot.
func (c *hardCard) list(slot string) (found []object) {
	c.t.Helper()
	var listed struct {
		Number  string
		Objects []object
	}
	c.read(&listed, "list")
	for _, o := range listed.Objects {
		if o.Slot == slot {
			found = append(found, o)
		}
	}
	return found
}

// current returns the certificate that is current, and fails the test unless it
// is exactly one, is the only authentication object on the card, and is logged
// in with.
func (c *hardCard) current() wire.Certificate {
	c.t.Helper()
	var me wire.Me
	c.read(&me, "login")
	var found []wire.Certificate
	for _, e := range me.EIDs {
		for _, cert := range e.Certificates {
			switch cert.State {
			case "current":
				found = append(found, cert)
			case "pending":
				c.t.Errorf("%s is pending", cert.Serial)
			}
		}
	}
	if len(found) != 1 || me.LoggedInWith != "authentication" || me.LoA != 3 || me.Open != nil {
		c.t.Fatalf("not one current eID: %+v", me)
	}
	on := c.list("authentication")
	if len(on) != 1 || on[0].Fingerprint != found[0].Fingerprint || on[0].Serial != found[0].Serial || !on[0].HasKey {
		c.t.Fatalf("on the card is %+v, current is %s", on, found[0].Serial)
	}
	c.onToken(on[0].ID)
	return found[0]
}

// fetch fetches an order and returns what that made.
func (c *hardCard) fetch(order string) result {
	c.t.Helper()
	var r result
	kept := filepath.Join(c.t.TempDir(), "receipt.json")
	o := c.read(&r, "fetch", "--yes", "--receipt", kept)
	if r.Order != order || len(r.Installed) != 1 {
		c.t.Fatalf("fetch: %+v", r)
	}
	for _, step := range []string{"1/7", "2/7", "3/7", "4/7", "5/7", "6/7", "7/7"} {
		if !r.Resumed && strings.Count(o.Err, step) != 1 {
			c.t.Errorf("step %s is not told once:\n%s", step, o.Err)
		}
	}
	c.receipt(kept, r)
	return r
}

// receipt judges what the holder's program has kept, with the log's public key alone.
func (c *hardCard) receipt(kept string, r result) {
	c.t.Helper()
	var logs map[string]struct{ Origin, PublicKey string }
	shown := stage.Run(c.t, stage.Command(programs.Sigill(c.t), "log", "show", "--dir", c.Dir, "--json")).Want(c.t, 0, "sigill log show")
	c.Must(json.Unmarshal([]byte(shown.Out), &logs))
	key := filepath.Join(c.t.TempDir(), "acts.pem")
	c.Must(os.WriteFile(key, []byte(logs["acts"].PublicKey), 0o600))
	o := stage.Run(c.t, stage.Command(programs.Sigill(c.t), "audit", "verify-receipt", kept, "--log", logs["acts"].Origin+"="+key)).Want(c.t, 0, "sigill audit verify-receipt")
	stage.Says(c.t, "the receipt", o.Out, "download.confirmed", r.Download, r.Order, r.Card)
}

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
