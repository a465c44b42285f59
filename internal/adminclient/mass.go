package adminclient

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"sigill/internal/cardhttp"
	"sigill/internal/statement"
	"sigill/internal/wire"
	"sigill/orders/download"
	"sigill/policy"
)

// MassList makes the canonical list of a text with one serial or card number a line:
// sorted, each once. Empty lines and what follows a # are left out, capitals made
// small. The error names the line of the text that is none.
func MassList(kind string, text []byte) (list []byte, entries int, err error) {
	var found []string
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.ToLower(strings.TrimSpace(line)); line == "" {
			continue
		}
		if _, err := download.ParseMassList(download.MassKind(kind), []byte(line+"\n")); err != nil {
			return nil, 0, fmt.Errorf("line %d: %q is not what a list of %s has", number, line, kind)
		}
		found = append(found, line)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if len(found) == 0 {
		return nil, 0, fmt.Errorf("there is nothing in the list")
	}
	if len(found) > download.MaxMass {
		return nil, 0, fmt.Errorf("%d entries, more than the %d that a list may have", len(found), download.MaxMass)
	}
	return []byte(strings.Join(found, "\n") + "\n"), len(found), nil
}

// MassDocument returns the document by which many certificates are revoked by a list
// of [MassList], under a new id, and the statement that two administrators sign.
func MassDocument(org, kind, reason string, list []byte) (document []byte, st statement.Statement, err error) {
	entries, err := download.ParseMassList(download.MassKind(kind), list)
	if err != nil {
		return nil, st, err
	}
	o := download.MassOrder{Act: statement.ActRevoke, Revocation: download.MassID(policy.NewID("mrv")), Organisation: policy.OrganisationID(org),
		Reason: reason, Kind: download.MassKind(kind), Entries: len(entries), List: fmt.Sprintf("%x", sha256.Sum256(list))}
	if document, err = json.Marshal(o); err != nil {
		return nil, st, err
	}
	st, err = massStatement(document)
	return document, st, err
}

func massStatement(document []byte) (st statement.Statement, err error) {
	o, _, err := download.ParseMassOrder(document)
	return statement.Statement{Act: statement.ActRevoke, Subject: string(o.Revocation), Content: sha256.Sum256(document)}, err
}

// MassApproval returns the statement that approves a mass revocation: over the
// document that was ordered, of the list that was ordered with it. The error is
// [ErrDocument] if the server shows something else of it than that document says.
func MassApproval(m *wire.Mass, list []byte) (st statement.Statement, err error) {
	o, _, err := download.ParseMassOrder(m.Document)
	if err != nil {
		return st, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	entries, err := download.ParseMassList(o.Kind, list)
	if err != nil {
		return st, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if string(o.Revocation) != m.ID || string(o.Organisation) != m.Organisation || o.Reason != m.Reason || string(o.Kind) != m.Kind || o.Entries != m.Entries ||
		len(entries) != o.Entries || fmt.Sprintf("%x", sha256.Sum256(list)) != o.List {
		return st, fmt.Errorf("%w: the mass revocation is shown as another", ErrDocument)
	}
	return massStatement(m.Document)
}

// OrderMass orders a mass revocation, with the caller's statement.
func (c *Client) OrderMass(ctx context.Context, org string, document, list []byte, statements []wire.Statement) (*wire.Mass, error) {
	return retried(ctx, c, func(l *login) (*wire.Mass, error) {
		return send[wire.Mass](ctx, l, cardhttp.Request{Method: "POST", Path: path("organisations", org, "revocations"),
			JSON: wire.MassOrder{Document: document, List: string(list), Statements: statements}, Timeout: importTimeout})
	})
}

// ApproveMass approves a mass revocation, with the caller's statement.
func (c *Client) ApproveMass(ctx context.Context, id string, statements []wire.Statement) (*wire.Mass, error) {
	return retried(ctx, c, func(l *login) (*wire.Mass, error) {
		return post[wire.Mass](ctx, l, path("revocations", id, "approve"), wire.Stated{Statements: statements})
	})
}

// Mass returns a mass revocation.
func (c *Client) Mass(ctx context.Context, id string) (*wire.Mass, error) {
	return retried(ctx, c, func(l *login) (*wire.Mass, error) {
		return get[wire.Mass](ctx, l, path("revocations", id), nil)
	})
}

// MassList returns the list of a mass revocation.
func (c *Client) MassList(ctx context.Context, id string) ([]byte, error) {
	v, err := retried(ctx, c, func(l *login) (*wire.MassList, error) {
		return get[wire.MassList](ctx, l, path("revocations", id, "list"), nil)
	})
	if err != nil {
		return nil, err
	}
	return []byte(v.List), nil
}

// Masses returns a page of an organisation's mass revocations, by id.
func (c *Client) Masses(ctx context.Context, org, after string, limit int) (*wire.Masses, error) {
	return retried(ctx, c, func(l *login) (*wire.Masses, error) {
		return get[wire.Masses](ctx, l, path("organisations", org, "revocations"), page(limit, "after", after))
	})
}
