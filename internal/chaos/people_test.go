//go:build unix && cgo

package chaos

import (
	"fmt"
	"os"
	"path/filepath"

	"sigill/internal/stage"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/policy"
)

// PINs of the cards.
const (
	pin1 = "314159"
	pin2 = "271828"
)

// holder makes a person with a card that was handed out. It belongs to the test's
// goroutine, and nothing is killed meanwhile.
func (c *chaos) holder(k kind) *life {
	c.t.Helper()
	c.people++
	n := c.people
	h := &stage.Holder{Number: personNumber(n), Given: "Maj-Britt", Surname: "Ångström", HSAID: fmt.Sprintf("SE2321000016-K%04d", n),
		Email: fmt.Sprintf("maj-britt.%d@region.example", n), UPN: fmt.Sprintf("majb%d@ad.region.example", n), Card: fmt.Sprintf("97522789001%08d", n)}
	l := &life{Holder: h, pins: pin1 + "\n" + pin2 + "\n"}
	c.blank(k, l)
	c.Directory("created", h)
	card := c.insert(l)
	c.Personalise(stage.Blank{Number: h.Card, Card: card, Algorithm: token.P256})
	c.Must(card.Close())
	c.HandOut(h)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lives = append(c.lives, l)
	return l
}

// blank makes the holder's empty card. Each card of tokens is in a SoftHSM of its
// own, as cards are in readers: one process at a time works with it.
func (c *chaos) blank(k kind, l *life) {
	c.t.Helper()
	number := l.Holder.Card
	if k == hard {
		hsm := tokentest.StartSoftHSM(c.t)
		one, two := "PIN1 "+number, "PIN2 "+number
		hsm.NewToken(c.t, one, pin1)
		hsm.NewToken(c.t, two, pin2)
		l.card, l.hsm = hsm.URI(one, two), hsm.Config
		return
	}
	path := filepath.Join(c.Dir, "cards", number+".json")
	c.Must(os.MkdirAll(filepath.Dir(path), 0o700))
	c.Must(token.CreateSoft(path, token.SoftConfig{Number: number, Product: "7XX", PIN1: pin1, PIN2: pin2}))
	l.card = "soft:" + path
}

// insert opens a card in the test's own process; by its goroutine only, because
// the library for tokens reads the environment.
func (c *chaos) insert(l *life) token.Card {
	c.t.Helper()
	if l.hsm != "" {
		c.t.Setenv("SOFTHSM2_CONF", l.hsm)
	}
	card, err := token.Open(c.t.Context(), l.card, l.pin())
	c.Must(err)
	return card
}

// personNumber returns the n-th of many personal identity numbers.
func personNumber(n int) string {
	base := fmt.Sprintf("19%02d%02d%02d%03d", 30+n/28/12%60, 1+n/28%12, 1+n%28, 100+n/28/12/60)
	for d := range 10 {
		if p, _, err := policy.ParsePersonNumber(fmt.Sprintf("%s%d", base, d)); err == nil {
			return p.Digits()
		}
	}
	return base
}
