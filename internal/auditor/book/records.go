package book

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"
)

// None stands for a place in a log that something does not have.
const None = -1

// Last is behind every place in a log.
const Last = math.MaxInt64

// Certificate is what both logs have said of a serial so far. Hashes, fingerprints and
// serials are lower-case hexadecimal; numbers are indices in the log of acts, but Leaf.
type Certificate struct {
	Serial       string
	Issuer       string
	Profile      string
	Card         string
	Person       string // whom the order is for
	Organisation string
	Order        string
	Download     string
	Key          string
	Kind, LoA    string
	Slot         string
	Hash         string // of its leaf, as its intent says; without an intent, as the log has it
	Intent       int64
	IntentAt     int64
	Leaf         int64 // in the log of certificates
	Issued       int64
	IssuedAt     int64
	Fingerprint  string
	Judged       bool // the signed certificate was derived anew
	Ended        int64
	EndedAt      int64
	Reason       string
	Abandoned    bool
	CRL          string
	NotAfter     int64
}

const certificateColumns = `serial, issuer, profile, card, person, organisation, ord, download, key, kind, loa, slot, hash, intent, intent_at,
	leaf, issued, issued_at, fingerprint, judged, ended, ended_at, reason, abandoned, crl, not_after`

// octets reads hexadecimal; what is none is kept as it is, so that nothing that a log
// said is lost or taken for something else.
func octets(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil || hex.EncodeToString(b) != text {
		return append([]byte{'?'}, text...)
	}
	return b
}

func text(b []byte) string {
	if len(b) > 0 && b[0] == '?' && len(b) != 16 && len(b) != 32 {
		return string(b[1:])
	}
	return hex.EncodeToString(b)
}

func scanCertificate(scan func(...any) error) (*Certificate, error) {
	c := &Certificate{}
	var serial, key, hash, fingerprint []byte
	err := scan(&serial, &c.Issuer, &c.Profile, &c.Card, &c.Person, &c.Organisation, &c.Order, &c.Download, &key, &c.Kind, &c.LoA, &c.Slot, &hash,
		&c.Intent, &c.IntentAt, &c.Leaf, &c.Issued, &c.IssuedAt, &fingerprint, &c.Judged, &c.Ended, &c.EndedAt, &c.Reason, &c.Abandoned, &c.CRL, &c.NotAfter)
	c.Serial, c.Key, c.Hash, c.Fingerprint = text(serial), text(key), text(hash), text(fingerprint)
	return c, err
}

// Certificate returns what is known of a serial, or ErrNotFound.
func (t *Tx) Certificate(serial string) (*Certificate, error) {
	return t.certificate(`serial = ?`, octets(serial))
}

// CertificateOf returns the certificate with a fingerprint, or ErrNotFound.
func (t *Tx) CertificateOf(fingerprint string) (*Certificate, error) {
	if fingerprint == "" {
		return nil, ErrNotFound
	}
	return t.certificate(`length(fingerprint) > 0 AND fingerprint = ?`, octets(fingerprint))
}

func (t *Tx) certificate(where string, arg any) (found *Certificate, err error) {
	err = t.all(`SELECT `+certificateColumns+` FROM certificates WHERE `+where+` LIMIT 1`, []any{arg}, func(scan func(...any) error) error {
		found, err = scanCertificate(scan)
		return err
	})
	if err == nil && found == nil {
		err = ErrNotFound
	}
	return found, err
}

// OfCard returns what is known of a card's certificates.
func (t *Tx) OfCard(card string) ([]*Certificate, error) {
	if card == "" {
		return nil, nil
	}
	var out []*Certificate
	err := t.all(`SELECT `+certificateColumns+` FROM certificates WHERE card <> '' AND card = ?`, []any{card}, func(scan func(...any) error) error {
		c, err := scanCertificate(scan)
		out = append(out, c)
		return err
	})
	return out, err
}

// PutCertificate writes what is known of a serial.
func (t *Tx) PutCertificate(c *Certificate) error {
	_, err := t.exec(`INSERT OR REPLACE INTO certificates (`+certificateColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
		octets(c.Serial), c.Issuer, c.Profile, c.Card, c.Person, c.Organisation, c.Order, c.Download, octets(c.Key), c.Kind, c.LoA, c.Slot, octets(c.Hash),
		c.Intent, c.IntentAt, c.Leaf, c.Issued, c.IssuedAt, octets(c.Fingerprint), c.Judged, c.Ended, c.EndedAt, c.Reason, c.Abandoned, c.CRL, c.NotAfter)
	return err
}

// CRLs returns the distribution points of certificates that were ended and have not
// expired at a time.
func (t *Tx) CRLs(at int64) (out []string, err error) {
	err = t.all(`SELECT DISTINCT crl FROM certificates WHERE ended >= 0 AND crl <> '' AND not_after > ?`, []any{at}, func(scan func(...any) error) error {
		var s string
		err := scan(&s)
		out = append(out, s)
		return err
	})
	return out, err
}

// Ended is a certificate that an act, Number, has ended.
type Ended struct {
	Serial, Card string
	Number, At   int64
}

// EndedOn calls fn for every certificate of a distribution point that was ended and
// has not expired at a time, in the order of serials. It reads an index alone: there may be
// as many as a list has.
func (t *Tx) EndedOn(crl string, at int64, fn func(Ended) error) error {
	return t.all(`SELECT serial, ended, ended_at, card FROM certificates WHERE ended >= 0 AND crl <> '' AND crl = ? AND not_after > ? ORDER BY serial`, []any{crl, at},
		func(scan func(...any) error) error {
			var e Ended
			var serial []byte
			if err := scan(&serial, &e.Number, &e.At, &e.Card); err != nil {
				return err
			}
			e.Serial = text(serial)
			return fn(e)
		})
}

// EndedAfter returns up to limit certificates that acts with greater indices than after
// have ended, up to last, that have an address and have not expired at a time, in the order
// of these acts.
func (t *Tx) EndedAfter(after, last, at int64, limit int) (out []*Certificate, err error) {
	err = t.all(`SELECT `+certificateColumns+` FROM certificates WHERE ended >= 0 AND crl <> '' AND ended > ? AND ended <= ? AND not_after > ? ORDER BY ended LIMIT ?`,
		[]any{after, last, at, limit}, func(scan func(...any) error) error {
			c, err := scanCertificate(scan)
			out = append(out, c)
			return err
		})
	return out, err
}

// EndedBetween counts them.
func (t *Tx) EndedBetween(after, last, at int64) (n int64, err error) {
	err = t.one(`SELECT COUNT(*) FROM certificates WHERE ended >= 0 AND crl <> '' AND ended > ? AND ended <= ? AND not_after > ?`, []any{after, last, at}, &n)
	return n, err
}

// Count returns how many serials are known.
func (t *Tx) Count() (n int64, err error) {
	err = t.one(`SELECT COUNT(*) FROM certificates`, nil, &n)
	return n, err
}

// KeyUse is the first use of a key that the logs told of.
type KeyUse struct{ Serial, Card, Download, Slot string }

// Key remembers the use of a key and returns the first one.
func (t *Tx) Key(key string, use KeyUse) (first KeyUse, err error) {
	k := octets(key)
	if _, err := t.exec(`INSERT INTO keys (key, serial, card, download, slot) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, k, octets(use.Serial),
		use.Card, use.Download, use.Slot); err != nil {
		return first, err
	}
	var serial []byte
	err = t.one(`SELECT serial, card, download, slot FROM keys WHERE key = ?`, []any{k}, &serial, &first.Card, &first.Download, &first.Slot)
	first.Serial = text(serial)
	return first, err
}

// Order is what the log of acts says of an order.
type Order struct {
	ID           string
	Placed       int64
	At           int64
	Type         string
	Organisation string
	Card         string
	Person       string
	Kind, LoA    string
	Document     string // SHA-256
}

// Order returns an order, or ErrNotFound.
func (t *Tx) Order(id string) (*Order, error) {
	o := &Order{ID: id}
	var document []byte
	err := t.one(`SELECT placed, at, type, organisation, card, person, kind, loa, document FROM orders WHERE id = ?`, []any{id},
		&o.Placed, &o.At, &o.Type, &o.Organisation, &o.Card, &o.Person, &o.Kind, &o.LoA, &document)
	o.Document = text(document)
	return o, err
}

// PutOrder keeps a new order; false: there is one of that id.
func (t *Tx) PutOrder(o *Order) (bool, error) {
	n, err := t.exec(`INSERT INTO orders (id, placed, at, type, organisation, card, person, kind, loa, document) VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`,
		o.ID, o.Placed, o.At, o.Type, o.Organisation, o.Card, o.Person, o.Kind, o.LoA, octets(o.Document))
	return n == 1, err
}

// CardsOf returns the cards for which a person's orders are.
func (t *Tx) CardsOf(person string) (out []string, err error) {
	err = t.all(`SELECT DISTINCT card FROM orders WHERE person = ?`, []any{person}, func(scan func(...any) error) error {
		var s string
		err := scan(&s)
		out = append(out, s)
		return err
	})
	return out, err
}

// Approval is an act that a statement stands behind: placing or approving an order.
type Approval struct {
	Order       string
	Signed      string // SHA-256 of the statement's content
	Certificate string // fingerprint of the signer's
	Act         string
	Number      int64
	At          int64
}

// PutApproval keeps one.
func (t *Tx) PutApproval(a Approval) error {
	_, err := t.exec(`INSERT INTO approvals (ord, signed, certificate, act, number, at) VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING`,
		a.Order, octets(a.Signed), octets(a.Certificate), a.Act, a.Number, a.At)
	return err
}

// Approvals returns those of an order, in the order of the log.
func (t *Tx) Approvals(order string) (out []Approval, err error) {
	err = t.all(`SELECT ord, signed, certificate, act, number, at FROM approvals WHERE ord = ? ORDER BY number`, []any{order}, func(scan func(...any) error) error {
		var a Approval
		var signed, certificate []byte
		err := scan(&a.Order, &signed, &certificate, &a.Act, &a.Number, &a.At)
		a.Signed, a.Certificate = text(signed), text(certificate)
		out = append(out, a)
		return err
	})
	return out, err
}

// Download is what the log of acts says of one.
type Download struct {
	ID, Order, Card, Login string
	Begun                  int64
	State                  string
}

// Download returns one, or ErrNotFound.
func (t *Tx) Download(id string) (*Download, error) {
	d := &Download{ID: id}
	var login []byte
	err := t.one(`SELECT ord, card, login, begun, state FROM downloads WHERE id = ?`, []any{id}, &d.Order, &d.Card, &login, &d.Begun, &d.State)
	d.Login = text(login)
	return d, err
}

// PutDownload keeps what is known of one.
func (t *Tx) PutDownload(d *Download) error {
	_, err := t.exec(`INSERT OR REPLACE INTO downloads (id, ord, card, login, begun, state) VALUES (?,?,?,?,?,?)`, d.ID, d.Order, d.Card, octets(d.Login), d.Begun, d.State)
	return err
}

// Grant gives a role, from an act on.
func (t *Tx) Grant(person, organisation, role string, since int64) error {
	_, err := t.exec(`INSERT INTO roles (person, organisation, role, since, until) VALUES (?,?,?,?,-1)`, person, organisation, role, since)
	return err
}

// EndGrant ends one.
func (t *Tx) EndGrant(person, organisation, role string, until int64) error {
	_, err := t.exec(`UPDATE roles SET until = ? WHERE person = ? AND organisation = ? AND role = ? AND until < 0`, until, person, organisation, role)
	return err
}

// Held reports whether a person had a role in an organisation at an act.
func (t *Tx) Held(person, organisation, role string, number int64) (bool, error) {
	var n int
	err := t.one(`SELECT COUNT(*) FROM roles WHERE person = ? AND organisation = ? AND role = ? AND since <= ? AND (until < 0 OR until > ?)`,
		[]any{person, organisation, role, number, number}, &n)
	return n > 0, err
}

// Granted returns how many roles were given until an act.
func (t *Tx) Granted(number int64) (n int64, err error) {
	err = t.one(`SELECT COUNT(*) FROM roles WHERE since <= ?`, []any{number}, &n)
	return n, err
}

// PutOrganisation keeps below which one an organisation is; "": below none.
func (t *Tx) PutOrganisation(id, parent string) error {
	_, err := t.exec(`INSERT OR REPLACE INTO organisations (id, parent) VALUES (?, ?)`, id, parent)
	return err
}

// Parent returns the organisation above one, or ErrNotFound.
func (t *Tx) Parent(id string) (parent string, err error) {
	err = t.one(`SELECT parent FROM organisations WHERE id = ?`, []any{id}, &parent)
	return parent, err
}

// errTooMany stops a walk that would not end.
var errTooMany = errors.New("too many")

// Document is a configuration that the log of acts recorded.
type Document struct {
	Name   string
	At     int64
	Number int64
	Text   []byte
}

// PutDocument keeps one.
func (t *Tx) PutDocument(d Document) error {
	_, err := t.exec(`INSERT OR REPLACE INTO documents (name, at, number, text) VALUES (?,?,?,?)`, d.Name, d.At, d.Number, d.Text)
	return err
}

// Documents returns all, in the order of the log.
func (t *Tx) Documents() (out []Document, err error) {
	err = t.all(`SELECT name, at, number, text FROM documents ORDER BY number`, nil, func(scan func(...any) error) error {
		var d Document
		if err := scan(&d.Name, &d.At, &d.Number, &d.Text); err != nil {
			return err
		}
		if out = append(out, d); len(out) > 1<<16 {
			return fmt.Errorf("configurations: %w", errTooMany)
		}
		return nil
	})
	return out, err
}

// Micro and Moment write times as the book keeps them: microseconds since 1970, UTC.
func Micro(t time.Time) int64 { return t.UnixMicro() }

// Moment is the other way round.
func Moment(at int64) time.Time { return time.UnixMicro(at).UTC() }
