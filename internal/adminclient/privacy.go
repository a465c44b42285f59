package adminclient

import (
	"context"

	"sigill/internal/statement"
	"sigill/internal/wire"
	"sigill/orders/privacy"
	"sigill/policy"
)

// ExportPerson returns everything that is held about a person. org is at or above every
// organisation that employs the person.
func (c *Client) ExportPerson(ctx context.Context, org, person string) (*wire.PersonExport, error) {
	return retried(ctx, c, func(l *login) (*wire.PersonExport, error) {
		return post[wire.PersonExport](ctx, l, path("people", person, "export"), wire.ExportPerson{Organisation: org})
	})
}

// ErasureDocument returns the document that has a person erased and the statement that
// two administrators of the organisation sign over it.
func ErasureDocument(org, person string) (document []byte, st statement.Statement, err error) {
	return stating(privacy.Erasure{Act: statement.ActErase, Organisation: policy.OrganisationID(org), Person: policy.PersonID(person)},
		statement.Statement{Act: statement.ActErase, Subject: person, For: person},
		func(b []byte) error { _, err := privacy.ParseErasure(b); return err })
}

// ErasePerson hands in a stated erasure and returns what stays. The statement of the
// client's own card stands first.
func (c *Client) ErasePerson(ctx context.Context, person string, document []byte, statements []wire.Statement) (*wire.PersonErased, error) {
	return retried(ctx, c, func(l *login) (*wire.PersonErased, error) {
		return post[wire.PersonErased](ctx, l, path("people", person, "erase"), wire.Stated{Document: document, Statements: statements})
	})
}
