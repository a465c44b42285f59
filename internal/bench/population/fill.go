package population

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/audit"
	"sigill/internal/mode"
	"sigill/orders/issue"
	"sigill/policy"
)

// maker is one Make under way.
type maker struct {
	Options
	p    *Population
	made time.Time // when the installation was
	rows int64
}

const (
	// perCert and perRevoked are octets of the database with its indices, as
	// measured, and a tenth more: for asking beforehand whether there is room.
	perCert    = 3000
	perRevoked = 1600
	// chunk is how many certificates are made by one worker in one go.
	chunk = 500
	// lookEvery is which certificates are examined like really issued ones.
	lookEvery = 5000
)

// room refuses what would fill the disk.
func room(o Options) error {
	free, err := mode.Free(filepath.Dir(filepath.Clean(o.Dir)))
	if err != nil {
		return nil // it is not known here
	}
	if need := uint64(o.Certs)*perCert + uint64(o.Revoked)*perRevoked; need > free {
		return fmt.Errorf("%d certificates need about %d MB, %d MB are free", o.Certs, need/1e6, free/1e6)
	}
	return nil
}

// holders is how many people there are: each has at most one current certificate,
// and with them belong the revoked ones that came before.
func (m *maker) holders() int {
	return max(m.Certs-m.Revoked, (m.Revoked+9)/10, 1)
}

// revokedBefore is how many of the first i certificates are revoked: they are
// spread evenly.
func (m *maker) revokedBefore(i int) int { return int(int64(i) * int64(m.Revoked) / int64(m.Certs)) }

// fill writes the rows.
func (m *maker) fill(ctx context.Context) (err error) {
	f, err := openFoundry(ctx, m.Dir, m.made)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	w, err := openWriter(ctx, m.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	indices, err := w.dropIndices(ctx)
	if err != nil {
		return err
	}
	if err := w.conn.QueryRowContext(ctx, `SELECT coalesce(max(rowid), 0) + 1 FROM certificates`).Scan(&m.p.First); err != nil {
		return err
	}
	if err := m.people(ctx, w); err != nil {
		return err
	}
	if err := m.certificates(ctx, w, f); err != nil {
		return err
	}
	if err := m.administrators(ctx, w, f); err != nil {
		return err
	}
	for i, index := range indices {
		m.Progress(Progress{Step: fmt.Sprintf("index %d of %d", i+1, len(indices))})
		if err := w.do(ctx, index); err != nil {
			return err
		}
	}
	for _, t := range w.tables {
		m.rows += t.rows
	}
	m.Progress(Progress{Step: "making it durable"})
	return errors.Join(w.finish(ctx), sync(filepath.Join(m.Dir, "sigill.db")))
}

// dropIndices drops those that are cheaper made at once in the end, and returns
// the statements that make them again, word for word.
func (w *writer) dropIndices(ctx context.Context) (again []string, err error) {
	rows, err := w.conn.QueryContext(ctx, `SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL
		AND tbl_name IN ('persons', 'cards', 'intents', 'certificates', 'standings', 'revocations', 'events') ORDER BY name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var names []string
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return nil, err
		}
		names, again = append(names, name), append(again, text)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := w.do(ctx, `DROP INDEX `+name); err != nil {
			return nil, err
		}
	}
	return again, nil
}

// inTransaction runs fn and commits.
func (w *writer) inTransaction(ctx context.Context, fn func() error) error {
	if err := w.do(ctx, `BEGIN`); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	return w.do(ctx, `COMMIT`)
}

// people writes persons and their cards.
func (m *maker) people(ctx context.Context, w *writer) error {
	persons, err := w.table(ctx, "persons", "id, number, number_kind, given_name, surname, protected, created_at")
	if err != nil {
		return err
	}
	cards, err := w.table(ctx, "cards", "number, product, kind, organisation, state, holder, expires_at, version")
	if err != nil {
		return err
	}
	n := m.holders()
	tell := m.step("holders and cards", n)
	created, expires := m.made.UnixMicro(), m.made.Add(2*validity).UnixMicro()
	return w.inTransaction(ctx, func() error {
		for i := range n {
			if err := persons.add(ctx, personID(i), personNumber(i), string(policy.Personnummer), "Åsa", "Öström", int64(0), created); err != nil {
				return err
			}
			err := cards.add(ctx, cardNumber(i), "7XX", string(policy.Ordinary), string(m.p.Organisation), "active", personID(i), expires, int64(1))
			if err != nil {
				return err
			}
			if i%10_000 == 0 {
				tell(i)
			}
		}
		return nil
	})
}

// cast is a chunk of certificates, or why there is none.
type cast struct {
	certs []certificate
	err   error
}

// certificates casts on all cores and writes what was cast, in order.
func (m *maker) certificates(ctx context.Context, w *writer, f *foundry) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := make(chan chan cast, 2*runtime.GOMAXPROCS(0))
	go func() {
		defer close(queue)
		for from := 0; from < m.Certs; from += chunk {
			done := make(chan cast, 1)
			select {
			case queue <- done:
			case <-ctx.Done():
				return
			}
			go func() { certs, err := m.cast(f, from, min(from+chunk, m.Certs)); done <- cast{certs, err} }()
		}
	}()
	t, err := m.tables(ctx, w)
	if err != nil {
		return err
	}
	tell := m.step("certificates", m.Certs)
	return w.inTransaction(ctx, func() error {
		done := 0
		for next := range queue {
			c := <-next
			if c.err != nil {
				return c.err
			}
			for i := range c.certs {
				if err := t.write(ctx, m, done, &c.certs[i]); err != nil {
					return err
				}
				done++
			}
			m.p.Certificate = len(c.certs[0].der)
			tell(done)
		}
		return ctx.Err()
	})
}

// cast makes the certificates from index from to below to.
func (m *maker) cast(f *foundry, from, to int) ([]certificate, error) {
	certs := make([]certificate, 0, to-from)
	n := m.holders()
	for i := from; i < to; i++ {
		holder := i - m.revokedBefore(i)
		if m.isRevoked(i) {
			holder = m.revokedBefore(i) % n
		}
		c, err := f.make(holder, m.issuedAt(i))
		if err != nil {
			return nil, err
		}
		if i%lookEvery == 0 {
			if err := f.look(&c); err != nil {
				return nil, fmt.Errorf("certificate %d: %w", i, err)
			}
		}
		certs = append(certs, c)
	}
	return certs, nil
}

func (m *maker) isRevoked(i int) bool { return m.revokedBefore(i+1) > m.revokedBefore(i) }

// issuedAt spreads the certificates over the past, the last ones a day ago.
func (m *maker) issuedAt(i int) time.Time {
	return m.made.Add(time.Duration(float64(past-24*time.Hour) * float64(i) / float64(m.Certs)))
}

// tables are those that a certificate has rows in.
type tables struct {
	intents, certificates, standings, events, revocations *table
}

const bound = "slot, card, person, organisation, id_kind, loa, provenance"

func (m *maker) tables(ctx context.Context, w *writer) (t tables, err error) {
	for _, each := range []struct {
		to            **table
		name, columns string
	}{
		{&t.intents, "intents", "serial, issuer, partition, profile, not_before, not_after, key_fingerprint, tbs, " + bound + ", state, owner, deadline, recorded_at, settled_at"},
		{&t.certificates, "certificates", "fingerprint, serial, issuer, partition, profile, not_before, not_after, key_fingerprint, der, " + bound + ", stored_at"},
		{&t.standings, "standings", "certificate, card, organisation, id_kind, slot, kind, since"},
		{&t.events, "events", "id, at, act, by_who, body, leaf"},
		{&t.revocations, "revocations", "serial, version, issuer, partition, not_after, at, reason, rule, event, line"},
	} {
		if *each.to, err = w.table(ctx, each.name, each.columns); err != nil {
			return t, err
		}
	}
	return t, nil
}

const (
	// owner is who signed: a process that is long gone.
	owner = "proc_population"
	// delay is from the intent to the certificate.
	delay = 10 * time.Millisecond
)

// write writes the rows of certificate i.
func (t *tables) write(ctx context.Context, m *maker, i int, c *certificate) error {
	issued := m.issuedAt(i)
	if err := t.release(ctx, m, issued, personID(c.holder), c); err != nil {
		return err
	}
	if m.isRevoked(i) {
		return t.revoke(ctx, m, m.revokedBefore(i), issued, c)
	}
	return t.stand(ctx, m, issued, c)
}

// stand lets a certificate stand as current.
func (t *tables) stand(ctx context.Context, m *maker, issued time.Time, c *certificate) error {
	return t.standings.add(ctx, c.fingerprint[:], cardNumber(c.holder), string(m.p.Organisation), string(policy.ByHSAID), string(policy.Authentication),
		string(issue.Current), issued.Add(delay).UnixMicro())
}

// release writes the rows of a person's certificate that every one has.
func (t *tables) release(ctx context.Context, m *maker, issued time.Time, person string, c *certificate) error {
	binding := []any{string(policy.Authentication), cardNumber(c.holder), person, string(m.p.Organisation), string(policy.ByHSAID), int64(3), string(policy.Session)}
	intent := append([]any{c.serial[:], string(Issuer), int64(c.partition), string(policy.ProfileAuthentication), c.notBefore.UnixMicro(), c.notAfter.UnixMicro(),
		c.key[:], c.tbs}, binding...)
	intent = append(intent, string(issue.IntentSigned), owner, issued.Add(time.Minute).UnixMicro(), issued.UnixMicro(), issued.Add(delay).UnixMicro())
	stored := append([]any{c.fingerprint[:], c.serial[:], string(Issuer), int64(c.partition), string(policy.ProfileAuthentication), c.notBefore.UnixMicro(),
		c.notAfter.UnixMicro(), c.key[:], c.der}, binding...)
	stored = append(stored, issued.Add(delay).UnixMicro())
	if err := t.intents.add(ctx, intent...); err != nil {
		return err
	}
	return t.certificates.add(ctx, stored...)
}

// why are the reasons of ten revocations in a row: most certificates were
// replaced by later ones.
var why = [10]struct {
	reason ca.Reason
	rule   string
	act    string
}{
	{ca.Superseded, "confirm.superseded", audit.CertificateSuperseded}, {ca.Superseded, "confirm.superseded", audit.CertificateSuperseded},
	{ca.Superseded, "confirm.superseded", audit.CertificateSuperseded}, {ca.Superseded, "confirm.superseded", audit.CertificateSuperseded},
	{ca.Superseded, "confirm.superseded", audit.CertificateSuperseded}, {ca.Superseded, "confirm.superseded", audit.CertificateSuperseded},
	{ca.Superseded, "confirm.superseded", audit.CertificateSuperseded}, {ca.AffiliationChanged, "person.ended", audit.CertificateRevoked},
	{ca.CessationOfOperation, "eid.revoked", audit.CertificateRevoked}, {ca.KeyCompromise, "card.blocked", audit.CertificateRevoked},
}

// revoke writes the n-th revocation with its event.
func (t *tables) revoke(ctx context.Context, m *maker, n int, issued time.Time, c *certificate) error {
	w := why[n%len(why)]
	at := issued.Add(m.Now.Sub(issued) / 2)
	event := issue.NewEvent(w.act, at, string(m.p.Administrators[n%2]), issue.F("serial", c.serial.String()), issue.F("issuer", string(Issuer)),
		issue.F("reason", w.reason.String()), issue.F("rule", w.rule), issue.F("partition", strconv.Itoa(c.partition)),
		issue.F("card", cardNumber(c.holder)), issue.F("download", ""))
	record, err := audit.Seal(event)
	if err != nil {
		return err
	}
	if err := t.events.add(ctx, record.ID, record.At.UnixMicro(), record.Act, record.By, record.Body, record.Leaf[:]); err != nil {
		return err
	}
	at = at.UTC().Truncate(time.Second) // CRL and OCSP have no fractions
	line, err := crl.EncodeRevoked(crl.Revoked{Serial: c.serial, At: at, Reason: w.reason})
	if err != nil {
		return err
	}
	return t.revocations.add(ctx, c.serial[:], int64(1), string(Issuer), int64(c.partition), c.notAfter.UnixMicro(), at.UnixMicro(),
		int64(w.reason), w.rule, record.ID, line)
}
