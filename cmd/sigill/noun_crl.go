package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/revocation"
)

type crlCmd struct {
	Show crlShowCmd `cmd:"" help:"Show a revocation list."`
}

type crlShowCmd struct {
	Issuer string `placeholder:"FILE" help:"Certificate of the CA: the list's signature is checked under it."`
	Source string `arg:"" help:"FILE or http://… address of the list, DER or PEM."`
}

// Help implements kong.HelpProvider.
func (crlShowCmd) Help() string {
	return `  sigill crl show http://127.0.0.1:8080/crl/person-hsa-id-3-v1/0.crl
  sigill crl show 0.crl --issuer person-ca.pem --json`
}

// shownCRL is a list in JSON.
type shownCRL struct {
	Issuer     string       `json:"issuer"`
	Number     string       `json:"number"`
	ThisUpdate time.Time    `json:"thisUpdate"`
	NextUpdate time.Time    `json:"nextUpdate"`
	Scope      string       `json:"scope,omitempty"` // address of the issuing distribution point
	Signature  string       `json:"signature"`       // "verified" or "not checked"
	Entries    []shownEntry `json:"entries"`
}

type shownEntry struct {
	Serial string    `json:"serial"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

func (c *crlShowCmd) Run(g *globals) error {
	var b []byte
	var err error
	if strings.HasPrefix(c.Source, "http://") || strings.HasPrefix(c.Source, "https://") {
		b, err = fetch(g.ctx, c.Source)
	} else {
		b, err = readInput(g, c.Source)
	}
	if err != nil {
		return err
	}
	if block, _ := pem.Decode(b); block != nil {
		b = block.Bytes
	}
	list, err := x509.ParseRevocationList(b)
	if err != nil {
		return fmt.Errorf("%s is no revocation list: %w", clean(c.Source), err)
	}
	shown, err := c.show(list)
	if err != nil {
		return err
	}
	return g.print(shown, shown.text())
}

func (c *crlShowCmd) show(list *x509.RevocationList) (*shownCRL, error) {
	scope, err := crl.IssuingDistributionPoint(list)
	if err != nil {
		return nil, err
	}
	shown := &shownCRL{Issuer: list.Issuer.String(), ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate, Scope: scope,
		Signature: "not checked", Entries: []shownEntry{}}
	if list.Number != nil {
		shown.Number = list.Number.String()
	}
	if c.Issuer != "" {
		certs, err := readCertificates(c.Issuer)
		if err != nil {
			return nil, err
		}
		if err := list.CheckSignatureFrom(certs[0]); err != nil {
			return nil, fmt.Errorf("the list is not signed by %s: %w", clean(certs[0].Subject.CommonName), err)
		}
		shown.Signature = "verified"
	}
	for _, e := range list.RevokedCertificateEntries {
		shown.Entries = append(shown.Entries, shownEntry{fmt.Sprintf("%032x", e.SerialNumber), e.RevocationTime, ca.Reason(e.ReasonCode).String()})
	}
	return shown, nil
}

func (l *shownCRL) text() string {
	head := facts("issuer", l.Issuer, "number", l.Number, "this update", moment(l.ThisUpdate), "next update", moment(l.NextUpdate),
		"scope", l.Scope, "signature", l.Signature, "entries", fmt.Sprint(len(l.Entries)))
	if len(l.Entries) == 0 {
		return head
	}
	lines := [][]string{{"serial", "revoked", "reason"}}
	for _, e := range l.Entries {
		lines = append(lines, []string{e.Serial, moment(e.At), e.Reason})
	}
	return head + table(lines...)
}

// fetchTimeout bounds a request to a status service.
const fetchTimeout = 15 * time.Second

// fetch returns what GET of an address returns. It follows no redirect: a
// certificate names the address, and nobody else does.
func fetch(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", address, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", address, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxInput+1))
	if err == nil && len(b) > maxInput {
		err = fmt.Errorf("%s answered more than %d MiB: %w", address, maxInput>>20, revocation.ErrUnread)
	}
	return b, err
}
