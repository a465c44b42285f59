package store

import (
	"context"
	"database/sql"
	"fmt"

	"sigill/ca"
	"sigill/orders/issue"
	"sigill/policy"
)

// LoggedCertificate is what the database has of an entry of the certificate log.
type LoggedCertificate struct {
	Serial       ca.Serial
	Issuer       ca.IssuerID
	Milliseconds int64  // since 1970 UTC, of the promise
	TBS          []byte // what was to be signed, with its SCTs; empty: erased
	DER          []byte // the certificate; empty: none was released, or it was erased
}

// LoggedCertificates returns up to limit entries of the certificate log from index first
// on, in order. It ends where a number is missing.
func (db *DB) LoggedCertificates(ctx context.Context, first int64, limit int) ([]LoggedCertificate, error) {
	var out []LoggedCertificate
	err := db.view(ctx, func(t *tx) error {
		out = nil
		next := first + 1
		return t.each("reading logged certificates", `SELECT l.number, i.serial, i.issuer, l.at, i.tbs, c.der
			FROM log_leaves l JOIN intents i ON i.serial = l.serial LEFT JOIN certificates c ON c.serial = l.serial
			WHERE l.number > $1 ORDER BY l.number LIMIT $2`, []any{first, int64(limit)}, func(rows *sql.Rows) error {
			var c LoggedCertificate
			var number int64
			err := rows.Scan(&number, intoOctets(c.Serial[:]), str(&c.Issuer), &c.Milliseconds, &c.TBS, &c.DER)
			if number == next {
				out, next = append(out, c), next+1
			}
			return err
		})
	})
	return out, err
}

// LoggedActs returns the bodies of up to limit events from index first on (the event of
// number first+1), in order. An empty one was erased. It ends where a number is missing.
func (db *DB) LoggedActs(ctx context.Context, first int64, limit int) ([][]byte, error) {
	var out [][]byte
	err := db.view(ctx, func(t *tx) error {
		out = nil
		next := first + 1
		return t.each("reading logged acts", `SELECT number, body FROM events WHERE number > $1 ORDER BY number LIMIT $2`,
			[]any{first, int64(limit)}, func(rows *sql.Rows) error {
				var number int64
				var body []byte
				err := rows.Scan(&number, &body)
				if number == next {
					out, next = append(out, body), next+1
				}
				return err
			})
	})
	return out, err
}

// Evidence is what an order rests on, as it was signed. What is empty was erased.
type Evidence struct {
	Order      []byte // the document
	Statements []SignedStatement
}

// SignedStatement is a statement with the certificate whose key signed it.
type SignedStatement struct {
	Content     []byte
	Signature   []byte
	Certificate []byte // DER
}

// Evidence returns the document of an order and the statements about it, oldest first.
// It returns issue.ErrNotFound if there is no such order.
func (db *DB) Evidence(ctx context.Context, order policy.OrderID) (*Evidence, error) {
	var out *Evidence
	err := db.view(ctx, func(t *tx) error {
		o, err := t.Order(order)
		if err != nil {
			return err
		}
		out = &Evidence{Order: o.Bytes}
		return t.each("reading evidence of order", `SELECT s.content, s.signature, c.der
			FROM statements s LEFT JOIN certificates c ON c.fingerprint = s.certificate
			WHERE s.subject = $1 ORDER BY s.at, s.id`, []any{string(order)}, func(rows *sql.Rows) error {
			var s SignedStatement
			err := rows.Scan(&s.Content, &s.Signature, &s.Certificate)
			out.Statements = append(out.Statements, s)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// SignedStatement returns a statement, or issue.ErrNotFound.
func (db *DB) SignedStatement(ctx context.Context, id policy.StatementID) (*SignedStatement, error) {
	var out *SignedStatement
	err := db.view(ctx, func(t *tx) error {
		out = &SignedStatement{}
		found, err := t.one("reading statement", `SELECT s.content, s.signature, c.der
			FROM statements s LEFT JOIN certificates c ON c.fingerprint = s.certificate
			WHERE s.id = $1`, []any{string(id)}, &out.Content, &out.Signature, &out.Certificate)
		if err == nil && !found {
			err = fmt.Errorf("statement: %w", issue.ErrNotFound)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
