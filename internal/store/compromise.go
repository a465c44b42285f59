package store

import (
	"time"

	"sigill/ca"
	"sigill/orders/issue"
	"sigill/policy"
)

// BlockKey implements issue.Compromises.
func (t *tx) BlockKey(k issue.BlockedKey) error {
	n, err := t.exec("blocking key", `INSERT INTO blocked_keys (fingerprint, cause, by_who, at) VALUES ($1, $2, $3, $4)
		ON CONFLICT DO NOTHING`, hash(k.Fingerprint), k.Cause, k.By, at(k.At))
	return changedOne("blocking key", n, err)
}

// BlockedKey implements issue.Compromises.
func (t *tx) BlockedKey(f ca.KeyFingerprint) (*issue.BlockedKey, error) {
	k := &issue.BlockedKey{Fingerprint: f}
	err := missing(t.one("reading blocked key", `SELECT cause, by_who, at FROM blocked_keys WHERE fingerprint = $1`,
		[]any{f[:]}, &k.Cause, &k.By, intoTime{&k.At}))
	if err != nil {
		return nil, err
	}
	return k, nil
}

const incidentColumns = `id, kind, fingerprint, card, proved_on, login, download, at`

func incidentDest(i *issue.Incident) []any {
	return []any{str(&i.ID), &i.Kind, intoOctets(i.Fingerprint[:]), str(&i.Card), str(&i.ProvedOn), intoOctets(i.Login[:]),
		str(&i.Download), intoTime{&i.At}}
}

// InsertIncident implements issue.Compromises.
func (t *tx) InsertIncident(i *issue.Incident, involved []issue.Involved) error {
	n, err := t.exec("inserting incident", `INSERT INTO incidents (`+incidentColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		text(i.ID), i.Kind, hash(i.Fingerprint), text(i.Card), text(i.ProvedOn), hash(i.Login), text(i.Download), at(i.At))
	if err := changedOne("inserting incident", n, err); err != nil {
		return err
	}
	for _, v := range involved {
		n, err := t.exec("inserting certificate of incident", `INSERT INTO incident_certificates (incident, certificate, role)
			VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, text(i.ID), hash(v.Certificate), v.Role)
		if err := changedOne("inserting certificate of incident", n, err); err != nil {
			return err
		}
	}
	return nil
}

// Incident implements issue.Compromises.
func (t *tx) Incident(id issue.IncidentID) (*issue.Incident, []issue.Involved, error) {
	i, err := t.incident(`SELECT `+incidentColumns+` FROM incidents WHERE id = $1`, string(id))
	if err != nil {
		return nil, nil, err
	}
	involved, err := list(t, "reading certificates of incident", `SELECT certificate, role FROM incident_certificates
		WHERE incident = $1 ORDER BY certificate`, []any{string(id)},
		func(v *issue.Involved) []any { return []any{intoOctets(v.Certificate[:]), &v.Role} })
	return i, values(involved), err
}

// IncidentOf implements issue.Compromises.
func (t *tx) IncidentOf(key ca.KeyFingerprint, provedOn policy.CardNumber) (*issue.Incident, error) {
	return t.incident(`SELECT `+incidentColumns+` FROM incidents WHERE fingerprint = $1 AND proved_on = $2`, key[:], string(provedOn))
}

func (t *tx) incident(query string, args ...any) (*issue.Incident, error) {
	i := new(issue.Incident)
	if err := missing(t.one("reading incident", query, args, incidentDest(i)...)); err != nil {
		return nil, err
	}
	return i, nil
}

// IncidentsOfOrganisation implements issue.Compromises.
func (t *tx) IncidentsOfOrganisation(org policy.OrganisationID, after issue.IncidentID, limit int) ([]*issue.Incident, error) {
	return list(t, "reading incidents", `SELECT `+incidentColumns+` FROM incidents i WHERE i.id > $1 AND (
			EXISTS (SELECT 1 FROM cards k WHERE k.number IN (i.card, i.proved_on) AND k.organisation = $2)
			OR EXISTS (SELECT 1 FROM incident_certificates v JOIN certificates c ON c.fingerprint = v.certificate
				WHERE v.incident = i.id AND c.organisation = $2))
		ORDER BY i.id LIMIT $3`, []any{string(after), string(org), int64(limit)}, incidentDest)
}

const queuedColumns = `certificate, fingerprint, by_who, queued_at, done_at`

func queuedDest(q *issue.Queued) []any {
	return []any{intoOctets(q.Certificate[:]), intoOctets(q.Fingerprint[:]), &q.By, intoTime{&q.QueuedAt}, intoTime{&q.DoneAt}}
}

// Queue implements issue.RevocationQueue.
func (t *tx) Queue(q issue.Queued) error {
	n, err := t.exec("queueing revocation", `INSERT INTO queued_revocations (`+queuedColumns+`)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		hash(q.Certificate), hash(q.Fingerprint), q.By, at(q.QueuedAt), at(q.DoneAt))
	return changedOne("queueing revocation", n, err)
}

// Queued implements issue.RevocationQueue.
func (t *tx) Queued(f ca.Fingerprint) (*issue.Queued, error) {
	q := new(issue.Queued)
	err := missing(t.one("reading queued revocation", `SELECT `+queuedColumns+` FROM queued_revocations WHERE certificate = $1`,
		[]any{f[:]}, queuedDest(q)...))
	if err != nil {
		return nil, err
	}
	return q, nil
}

// QueuedOpen implements issue.RevocationQueue.
func (t *tx) QueuedOpen(limit int) ([]*issue.Queued, error) {
	return list(t, "reading queued revocations", `SELECT `+queuedColumns+` FROM queued_revocations
		WHERE done_at IS NULL ORDER BY queued_at, certificate LIMIT $1`, []any{int64(limit)}, queuedDest)
}

// SettleQueued implements issue.RevocationQueue.
func (t *tx) SettleQueued(f ca.Fingerprint, when time.Time) error {
	n, err := t.exec("settling queued revocation", `UPDATE queued_revocations SET done_at = $1
		WHERE certificate = $2 AND done_at IS NULL`, at(when), f[:])
	return changedOne("settling queued revocation", n, err)
}

// CertificatesOfKey implements issue.Population.
func (t *tx) CertificatesOfKey(f ca.KeyFingerprint) ([]*issue.Certificate, error) {
	return list(t, "reading certificates of key", `SELECT `+certificateColumns+` FROM certificates
		WHERE key_fingerprint = $1 ORDER BY stored_at, serial`, []any{f[:]}, certificateDest)
}

// CertificatesAfter implements issue.Population.
func (t *tx) CertificatesAfter(after ca.Fingerprint, limit int) ([]*issue.Certificate, error) {
	return list(t, "reading certificates", `SELECT `+certificateColumns+` FROM certificates
		WHERE fingerprint > $1 ORDER BY fingerprint LIMIT $2`, []any{after[:], int64(limit)}, certificateDest)
}
