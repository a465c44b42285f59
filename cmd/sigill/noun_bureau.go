package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sigill/internal/bureau"
	"sigill/policy"
)

type bureauCmd struct {
	Cards bureauCardsCmd `cmd:"" help:"Make cards of software and the signed delivery file that registers them."`
	Load  bureauLoadCmd  `cmd:"" help:"Write transport certificates to cards of software."`
}

type bureauCardsCmd struct {
	Key     string   `required:"" placeholder:"FILE" help:"The bureau's key (PEM). It is made if the file does not exist, with FILE.pub beside it."`
	Dir     string   `required:"" placeholder:"DIR" help:"Where cards, PINs and delivery file go."`
	Product string   `default:"7XX" help:"Product code: none, 6XX, 7XX, 473 or 573."`
	Kind    string   `default:"ordinary" enum:"ordinary,reserve" help:"ordinary or reserve."`
	Years   int      `default:"5" help:"How long the cards are valid."`
	Numbers []string `arg:"" name:"number" help:"Card numbers: 19 digits, 9752…"`
}

// Help implements kong.HelpProvider.
func (bureauCardsCmd) Help() string {
	return `For TEST installations, in place of a real bureau. The public key must stand in
sigill.yaml under bureaus before the service is started:

  sigill bureau cards 9752278900000000015 9752278900000000023 \
    --key bureau/key.pem --dir cards
  sigill card import cards/delivery.csv --signature cards/delivery.csv.sig \
    --bureau test --out transport …
  sigill bureau load cards transport

Each card's PINs are drawn and kept beside it in NUMBER.pins, PIN1 and PIN2 on a
line each, as --pin-fd reads them.`
}

func (c *bureauCardsCmd) Run(g *globals) error {
	b, made, err := c.bureau()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	delivery := filepath.Join(c.Dir, "delivery.csv")
	if _, err := os.Stat(delivery); err == nil {
		return fmt.Errorf("%s exists: choose another directory for the next delivery", delivery)
	}
	var cards []bureau.Card
	for _, text := range c.Numbers {
		number, err := policy.ParseCardNumber(text)
		if err != nil {
			return usageError{fmt.Sprintf("%s: %s", text, err)}
		}
		card := bureau.Card{Path: filepath.Join(c.Dir, text+".json"), Number: string(number), Product: c.Product, Kind: c.Kind,
			Expires: time.Now().AddDate(c.Years, 0, 0)}
		if card.PIN1, card.PIN2, err = drawPINs(filepath.Join(c.Dir, text+".pins")); err != nil {
			return err
		}
		cards = append(cards, card)
	}
	file, signature, err := b.Make(g.ctx, cards)
	if err != nil {
		return err
	}
	err = errors.Join(os.WriteFile(delivery, file, 0o644),
		os.WriteFile(delivery+".sig", []byte(base64.StdEncoding.EncodeToString(signature)+"\n"), 0o644))
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%d cards in %s; delivery file %s, signature %s.sig\n", len(cards), c.Dir, delivery, delivery)
	if made {
		text += fmt.Sprintf("New bureau key %s. Copy %s.pub into the installation and name it in sigill.yaml:\n\n  bureaus:\n    test: %s.pub\n\n", c.Key, c.Key, filepath.Base(c.Key))
	}
	text += fmt.Sprintf("Next: sigill card import %s --signature %s.sig --bureau NAME --out DIR --identity YOURS\n", delivery, delivery)
	return g.print(map[string]any{"cards": len(cards), "delivery": delivery, "signature": delivery + ".sig", "newKey": made}, text)
}

// bureau loads the key, or makes it.
func (c *bureauCardsCmd) bureau() (b *bureau.Bureau, made bool, err error) {
	text, err := os.ReadFile(c.Key)
	if err == nil {
		b, err = bureau.Load(text)
		return b, false, err
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	if b, err = bureau.New(); err != nil {
		return nil, false, err
	}
	private, err := b.PrivatePEM()
	if err != nil {
		return nil, false, err
	}
	public, err := b.PublicPEM()
	if err != nil {
		return nil, false, err
	}
	if err := os.MkdirAll(filepath.Dir(c.Key), 0o755); err != nil {
		return nil, false, err
	}
	return b, true, errors.Join(os.WriteFile(c.Key, private, 0o600), os.WriteFile(c.Key+".pub", public, 0o644))
}

// drawPINs draws two PINs and writes them to a new file.
func drawPINs(path string) (pin1, pin2 string, err error) {
	var pins [2]string
	for i := range pins {
		n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
		if err != nil {
			return "", "", err
		}
		pins[i] = fmt.Sprintf("%06d", n)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", "", err
	}
	_, err = fmt.Fprintf(f, "%s\n%s\n", pins[0], pins[1])
	return pins[0], pins[1], errors.Join(err, f.Close())
}

type bureauLoadCmd struct {
	Cards     string `arg:"" type:"existingdir" help:"Directory with the cards, as bureau cards made it."`
	Transport string `arg:"" type:"existingdir" help:"Directory with the transport certificates, NUMBER.pem, as card import --out wrote them."`
}

func (c *bureauLoadCmd) Run(g *globals) error {
	found, err := filepath.Glob(filepath.Join(c.Transport, "*.pem"))
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("no certificates NUMBER.pem in %s: have them made with sigill card import --out", c.Transport)
	}
	for _, name := range found {
		if err := c.load(g, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return g.print(map[string]int{"cards": len(found)}, fmt.Sprintf("%d cards have their transport certificate. They can be handed out.\n", len(found)))
}

func (c *bureauLoadCmd) load(g *globals, name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return errors.New("not a certificate in PEM")
	}
	number := strings.TrimSuffix(filepath.Base(name), ".pem")
	pins, err := os.ReadFile(filepath.Join(c.Cards, number+".pins"))
	if err != nil {
		return err
	}
	pin1, _, _ := bytes.Cut(pins, []byte("\n"))
	return bureau.Write(g.ctx, filepath.Join(c.Cards, number+".json"), bureau.PINs(string(pin1), ""), block.Bytes)
}
