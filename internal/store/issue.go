package store

import (
	"database/sql"
	"fmt"
	"time"

	"sigill/ca"
	"sigill/orders/issue"
	"sigill/policy"
)

// missing turns the answer of one into the error of the records' interfaces.
func missing(found bool, err error) error {
	if err == nil && !found {
		return issue.ErrNotFound
	}
	return err
}

// changedOne turns the answer of exec into an error: a write that must change one
// row and changed none has lost to another.
func changedOne(what string, n int64, err error) error {
	if err == nil && n == 0 {
		return fmt.Errorf("%s: %w", what, issue.ErrConflict)
	}
	return err
}

const bindingColumns = `slot, card, person, organisation, id_kind, loa, order_id, download, provenance`

func bindingArgs(b *issue.Binding) []any {
	return []any{text(b.Slot), text(b.Card), text(b.Person), text(b.Organisation), text(b.IDKind),
		number(int(b.LoA)), text(b.Order), text(b.Download), text(b.Provenance)}
}

func bindingDest(b *issue.Binding) []any {
	return []any{str(&b.Slot), str(&b.Card), str(&b.Person), str(&b.Organisation), str(&b.IDKind),
		intoInt{(*int)(&b.LoA)}, str(&b.Order), str(&b.Download), str(&b.Provenance)}
}

const intentColumns = `serial, issuer, partition, profile, not_before, not_after, key_fingerprint, tbs, ` +
	bindingColumns + `, state, owner, deadline, recorded_at`

func intentDest(in *issue.Intent) []any {
	d := []any{intoOctets(in.Serial[:]), str(&in.Issuer), &in.Partition, str(&in.Profile),
		intoTime{&in.NotBefore}, intoTime{&in.NotAfter}, intoOctets(in.Key[:]), &in.TBS}
	d = append(d, bindingDest(&in.Binding)...)
	return append(d, str(&in.State), &in.Owner, intoTime{&in.Deadline}, intoTime{&in.RecordedAt})
}

// InsertIntent implements issue.Intents. An intent that is inserted settled, as
// a copy from elsewhere would be, has no time of settling and is refused.
func (t *tx) InsertIntent(in *issue.Intent) error {
	args := []any{serial(in.Serial), string(in.Issuer), int64(in.Partition), string(in.Profile),
		at(in.NotBefore), at(in.NotAfter), hash(in.Key), in.TBS}
	args = append(args, bindingArgs(&in.Binding)...)
	args = append(args, string(in.State), in.Owner, at(in.Deadline), at(in.RecordedAt))
	n, err := t.exec("inserting intent", `INSERT INTO intents (`+intentColumns+`) VALUES
		($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
		ON CONFLICT DO NOTHING`, args...)
	if err := changedOne("inserting intent", n, err); err != nil || in.Leaf.IsZero() {
		return err
	}
	return t.insertLeaf(in.Serial, in.Leaf)
}

// Intent implements issue.Intents.
func (t *tx) Intent(s ca.Serial) (*issue.Intent, error) {
	in := new(issue.Intent)
	err := missing(t.one("reading intent", `SELECT `+intentColumns+` FROM intents WHERE serial = $1`,
		[]any{s[:]}, intentDest(in)...))
	if err != nil {
		return nil, err
	}
	return in, nil
}

// SettleIntent implements issue.Intents.
func (t *tx) SettleIntent(s ca.Serial, owner string, state issue.IntentState, when time.Time) error {
	n, err := t.exec("settling intent", `UPDATE intents SET state = $1, settled_at = $2
		WHERE serial = $3 AND owner = $4 AND state = 'open'`, string(state), at(when), s[:], owner)
	return changedOne("settling intent", n, err)
}

// OpenIntents implements issue.Intents.
func (t *tx) OpenIntents(limit int) ([]*issue.Intent, error) {
	return list(t, "reading open intents", `SELECT `+intentColumns+` FROM intents
		WHERE state = 'open' ORDER BY recorded_at LIMIT $1`, []any{int64(limit)}, intentDest)
}

// CountIntents implements issue.Intents.
func (t *tx) CountIntents(card policy.CardNumber, download policy.DownloadID, slot policy.Slot, since time.Time) (int, error) {
	var n int
	var err error
	if download == "" {
		_, err = t.one("counting intents", `SELECT count(*) FROM intents WHERE card = $1 AND recorded_at >= $2`,
			[]any{string(card), since.UnixMicro()}, &n)
	} else {
		_, err = t.one("counting intents", `SELECT count(*) FROM intents
			WHERE card = $1 AND recorded_at >= $2 AND download = $3 AND slot = $4`,
			[]any{string(card), since.UnixMicro(), string(download), string(slot)}, &n)
	}
	return n, err
}

const certificateColumns = `fingerprint, serial, issuer, partition, profile, not_before, not_after, key_fingerprint, der, ` +
	bindingColumns + `, stored_at`

func certificateDest(c *issue.Certificate) []any {
	d := []any{intoOctets(c.Fingerprint[:]), intoOctets(c.Serial[:]), str(&c.Issuer), &c.Partition, str(&c.Profile),
		intoTime{&c.NotBefore}, intoTime{&c.NotAfter}, intoOctets(c.Key[:]), &c.DER}
	d = append(d, bindingDest(&c.Binding)...)
	return append(d, intoTime{&c.StoredAt})
}

// InsertCertificate implements issue.Certificates.
func (t *tx) InsertCertificate(c *issue.Certificate) error {
	args := []any{hash(c.Fingerprint), serial(c.Serial), string(c.Issuer), int64(c.Partition), string(c.Profile),
		at(c.NotBefore), at(c.NotAfter), hash(c.Key), c.DER}
	args = append(args, bindingArgs(&c.Binding)...)
	args = append(args, at(c.StoredAt))
	n, err := t.exec("inserting certificate", `INSERT INTO certificates (`+certificateColumns+`) VALUES
		($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
		ON CONFLICT DO NOTHING`, args...)
	return changedOne("inserting certificate", n, err)
}

// Certificate implements issue.Certificates.
func (t *tx) Certificate(f ca.Fingerprint) (*issue.Certificate, error) {
	return t.certificate(`SELECT `+certificateColumns+` FROM certificates WHERE fingerprint = $1`, f[:])
}

// CertificateBySerial implements issue.Certificates.
func (t *tx) CertificateBySerial(s ca.Serial) (*issue.Certificate, error) {
	return t.certificate(`SELECT `+certificateColumns+` FROM certificates WHERE serial = $1`, s[:])
}

func (t *tx) certificate(query string, key []byte) (*issue.Certificate, error) {
	c := new(issue.Certificate)
	if err := missing(t.one("reading certificate", query, []any{key}, certificateDest(c)...)); err != nil {
		return nil, err
	}
	return c, nil
}

// CertificatesOfCard implements issue.Certificates.
func (t *tx) CertificatesOfCard(card policy.CardNumber) ([]*issue.Certificate, error) {
	return list(t, "reading certificates of card", `SELECT `+certificateColumns+` FROM certificates
		WHERE card = $1 ORDER BY stored_at, serial`, []any{string(card)}, certificateDest)
}

const standingColumns = `certificate, card, organisation, id_kind, slot, kind, since`

func standingDest(s *issue.Standing) []any {
	return []any{intoOctets(s.Certificate[:]), str(&s.Card), str(&s.Organisation), str(&s.IDKind),
		str(&s.Slot), str(&s.Kind), intoTime{&s.Since}}
}

// PutStanding implements issue.Standings.
func (t *tx) PutStanding(s issue.Standing) error {
	n, err := t.exec("putting standing", `INSERT INTO standings (`+standingColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		hash(s.Certificate), text(s.Card), text(s.Organisation), text(s.IDKind), text(s.Slot), text(s.Kind), at(s.Since))
	return changedOne("putting standing", n, err)
}

// DropStanding implements issue.Standings.
func (t *tx) DropStanding(f ca.Fingerprint) error {
	n, err := t.exec("dropping standing", `DELETE FROM standings WHERE certificate = $1`, f[:])
	return changedOne("dropping standing", n, err)
}

// Standing implements issue.Standings.
func (t *tx) Standing(f ca.Fingerprint) (*issue.Standing, error) {
	s := new(issue.Standing)
	err := missing(t.one("reading standing", `SELECT `+standingColumns+` FROM standings WHERE certificate = $1`,
		[]any{f[:]}, standingDest(s)...))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// StandingsOfCard implements issue.Standings.
func (t *tx) StandingsOfCard(card policy.CardNumber) ([]issue.Standing, error) {
	found, err := list(t, "reading standings of card", `SELECT `+standingColumns+` FROM standings
		WHERE card = $1 ORDER BY slot, kind, since`, []any{string(card)}, standingDest)
	return values(found), err
}

// KeySeen implements issue.Keys.
func (t *tx) KeySeen(f ca.KeyFingerprint) (*issue.KeySeen, error) {
	k := &issue.KeySeen{Fingerprint: f}
	err := missing(t.one("reading key", `SELECT card, download, slot, verdict, seen_at FROM keys_seen WHERE fingerprint = $1`,
		[]any{f[:]}, str(&k.Card), str(&k.Download), str(&k.Slot), &k.Verdict, intoTime{&k.SeenAt}))
	if err != nil {
		return nil, err
	}
	return k, nil
}

// MarkKey implements issue.Keys.
func (t *tx) MarkKey(k issue.KeySeen) error {
	n, err := t.exec("marking key", `INSERT INTO keys_seen (fingerprint, card, download, slot, verdict, seen_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		hash(k.Fingerprint), text(k.Card), text(k.Download), text(k.Slot), k.Verdict, at(k.SeenAt))
	return changedOne("marking key", n, err)
}

// list reads all rows of a query; dest says where the columns of one go.
func list[T any](t *tx, what, query string, args []any, dest func(*T) []any) ([]*T, error) {
	var out []*T
	err := t.each(what, query, args, func(r *sql.Rows) error {
		v := new(T)
		if err := r.Scan(dest(v)...); err != nil {
			return err
		}
		out = append(out, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func values[T any](list []*T) []T {
	var out []T
	for _, v := range list {
		out = append(out, *v)
	}
	return out
}
