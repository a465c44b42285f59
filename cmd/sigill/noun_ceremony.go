package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"sigill/internal/adminclient"
	"sigill/internal/wire"
	"sigill/orders/register"
	"sigill/policy"
)

type ceremonyCmd struct {
	Found ceremonyFoundCmd `cmd:"" help:"Two officers found the first organisation and name its first two administrators."`
}

type ceremonyFoundCmd struct {
	serverFlags
	yesFlag
	Officer1 string `name:"officer1" required:"" placeholder:"CARD" help:"Card of the first officer."`
	Officer2 string `name:"officer2" required:"" placeholder:"CARD" help:"Card of the second officer."`
	Keep     string `placeholder:"FILE" help:"Write the founding, as it will be signed, into this file first. If it must be done again, give that file as FILE."`
	File     string `arg:"" help:"The founding, JSON; - reads it from the standard input."`
}

// Help implements kong.HelpProvider.
func (ceremonyFoundCmd) Help() string {
	return `The founding names an organisation and exactly two administrators:

  {"organisation": {"number": "2321000016", "name": "Region Österbyggd"},
   "administrators": [
     {"personnummer": "197511192390", "givenName": "Karin", "surname": "Öst", "hsaId": "SE2321000016-0001"},
     {"personnummer": "…", "givenName": "…", "surname": "…", "hsaId": "…", "email": "…", "upn": "…"}]}

  sigill ceremony found founding.json \
    --officer1 soft:sigill-data/officers/officer-1.json \
    --officer2 soft:sigill-data/officers/officer-2.json

A salt is added to what they sign ("salt", 32 hexadecimal digits, unless the file has one), so
that nobody who reads the log of acts can find out by guessing whom the founding names. --keep
writes the document as it will be signed: who has that file can prove later what was founded. It
is for both officers to keep, or to let be; the service does not have it.

Both officers read it and give their PINs. Afterwards the officers take in and
hand out the administrators' two cards (card import, card handout --second) and
order their eIDs (order place, order approve). When both can log in, the
officers' cards are worth nothing any more.`
}

func (c *ceremonyFoundCmd) Run(g *globals) error {
	s, err := c.open(g)
	if err != nil {
		return err
	}
	return errors.Join(c.found(s), s.close())
}

func (c *ceremonyFoundCmd) found(s *session) error {
	b, err := readInput(s.globals, c.File)
	if err != nil {
		return err
	}
	document, f, err := canonicalFounding(b)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("Found the organisation %s (%s), for ever, with these administrators:\n", clean(f.Organisation.Name), f.Organisation.Number)
	rows := [][]string{{"  personnummer", "name", "HSA-id", "e-mail", "UPN"}}
	for _, a := range f.Administrators {
		rows = append(rows, []string{"  " + a.Number, a.GivenName + " " + a.Surname, a.HSAID, a.Email, a.UPN})
	}
	if err := s.confirm(c.yesFlag, text+table(rows...)); err != nil {
		return err
	}
	// Before anybody signs: were it done again after a lost answer, another salt would be
	// drawn, and what is kept would not be what was signed.
	if err := keepFounding(c.Keep, document); err != nil {
		return fmt.Errorf("keeping the founding, before anything was signed: %w", err)
	}
	var first *adminclient.Client
	var statements []wire.Statement
	for _, card := range []string{c.Officer1, c.Officer2} {
		officer, err := s.client(card)
		if err != nil {
			return err
		}
		st, err := officer.Sign(s.ctx, adminclient.FoundStatement(document))
		if err != nil {
			return fmt.Errorf("%s: %w", clean(card), err)
		}
		if first == nil {
			first = officer
		}
		statements = append(statements, st)
	}
	cer, err := first.Found(s.ctx, document, statements)
	if err != nil {
		return err
	}
	text = facts("organisation", cer.Organisation)
	for _, id := range cer.Administrators {
		text += facts("administrator", id)
	}
	return s.print(cer, "Founded.\n"+text)
}

// canonicalFounding reads a founding as people write it and returns the bytes
// that are signed.
func canonicalFounding(b []byte) ([]byte, register.Founding, error) {
	var f register.Founding
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, f, fmt.Errorf("founding: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, f, errors.New("founding: something follows the document")
	}
	if f.Salt == "" {
		f.Salt = policy.NewSalt()
	}
	document, err := json.Marshal(f)
	if err != nil {
		return nil, f, err
	}
	_, _, err = register.ParseFounding(document)
	return document, f, err
}

// keepFounding writes what is to be signed, for its owner alone: it has names and numbers.
func keepFounding(path string, document []byte) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(document)
	return errors.Join(err, f.Sync(), f.Close())
}
