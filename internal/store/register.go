package store

import (
	"time"

	"sigill/orders/register"
	"sigill/policy"
)

const organisationColumns = `id, number, name, parent, signing_allowed, created_at`

func organisationDest(o *register.Organisation) []any {
	return []any{str(&o.ID), &o.Number, &o.Name, str(&o.Parent), intoFlag{&o.SigningAllowed}, intoTime{&o.CreatedAt}}
}

func (t *tx) organisation(query, key string) (*register.Organisation, error) {
	o := new(register.Organisation)
	if err := missing(t.one("reading organisation", query, []any{key}, organisationDest(o)...)); err != nil {
		return nil, err
	}
	return o, nil
}

// Organisation implements register.Organisations.
func (t *tx) Organisation(id policy.OrganisationID) (*register.Organisation, error) {
	return t.organisation(`SELECT `+organisationColumns+` FROM organisations WHERE id = $1`, string(id))
}

// OrganisationByNumber implements register.Organisations.
func (t *tx) OrganisationByNumber(number string) (*register.Organisation, error) {
	return t.organisation(`SELECT `+organisationColumns+` FROM organisations WHERE number = $1`, number)
}

// InsertOrganisation implements register.Organisations.
func (t *tx) InsertOrganisation(o *register.Organisation) error {
	n, err := t.exec("inserting organisation", `INSERT INTO organisations (`+organisationColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		text(o.ID), text(o.Number), o.Name, text(o.Parent), flag(o.SigningAllowed), at(o.CreatedAt))
	return changedOne("inserting organisation", n, err)
}

// SetSigningAllowed implements register.Organisations. It is guarded by the state
// that it leaves, so that of two who turn the switch the same way one is told.
func (t *tx) SetSigningAllowed(id policy.OrganisationID, allowed bool) error {
	n, err := t.exec("setting signing switch", `UPDATE organisations SET signing_allowed = $1
		WHERE id = $2 AND signing_allowed <> $3`, flag(allowed), string(id), flag(allowed))
	return changedOne("setting signing switch", n, err)
}

// ListOrganisations implements register.Organisations, in the order of ids.
func (t *tx) ListOrganisations(after policy.OrganisationID, limit int) ([]*register.Organisation, error) {
	return list(t, "listing organisations", `SELECT `+organisationColumns+` FROM organisations
		WHERE id > $1 ORDER BY id LIMIT $2`, []any{string(after), int64(limit)}, organisationDest)
}

// InsertGrant implements register.Grants. issue.ErrConflict: it is in force.
func (t *tx) InsertGrant(g register.Grant) error {
	n, err := t.exec("inserting grant", `INSERT INTO grants (person, organisation, role, statement, granted_at, ended_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		text(g.Person), text(g.Organisation), text(g.Role), text(g.Statement), at(g.GrantedAt), at(g.EndedAt))
	return changedOne("inserting grant", n, err)
}

// EndGrant implements register.Grants. issue.ErrNotFound: it is not in force.
func (t *tx) EndGrant(p policy.PersonID, o policy.OrganisationID, r policy.Role, when time.Time) error {
	n, err := t.exec("ending grant", `UPDATE grants SET ended_at = $1
		WHERE person = $2 AND organisation = $3 AND role = $4 AND ended_at IS NULL`,
		at(when), string(p), string(o), string(r))
	return missing(n > 0, err)
}

const grantColumns = `person, organisation, role, statement, granted_at, ended_at`

func grantDest(g *register.Grant) []any {
	return []any{str(&g.Person), str(&g.Organisation), str(&g.Role), str(&g.Statement), intoTime{&g.GrantedAt}, intoTime{&g.EndedAt}}
}

// GrantsOf implements register.Grants.
func (t *tx) GrantsOf(p policy.PersonID) ([]register.Grant, error) {
	found, err := list(t, "reading grants of person", `SELECT `+grantColumns+` FROM grants
		WHERE person = $1 AND ended_at IS NULL ORDER BY organisation, role`, []any{string(p)}, grantDest)
	return values(found), err
}

// GrantsFor implements register.Grants: the grants that name this organisation;
// those above it in the tree are for the caller to ask for.
func (t *tx) GrantsFor(o policy.OrganisationID) ([]register.Grant, error) {
	found, err := list(t, "reading grants for organisation", `SELECT `+grantColumns+` FROM grants
		WHERE organisation = $1 AND ended_at IS NULL ORDER BY person, role`, []any{string(o)}, grantDest)
	return values(found), err
}

// Ceremony implements register.Ceremonies.
func (t *tx) Ceremony() (*register.Ceremony, error) {
	c := new(register.Ceremony)
	err := missing(t.one("reading ceremony", `SELECT officer_1, officer_2, officer_name_1, officer_name_2,
		organisation, administrator_1, administrator_2, closed_at FROM ceremony WHERE id = 1`, nil,
		intoOctets(c.Officers[0][:]), intoOctets(c.Officers[1][:]), &c.OfficerNames[0], &c.OfficerNames[1],
		str(&c.Organisation), str(&c.Administrators[0]), str(&c.Administrators[1]), intoTime{&c.ClosedAt}))
	if err != nil {
		return nil, err
	}
	return c, nil
}

// PutCeremony implements register.Ceremonies.
func (t *tx) PutCeremony(c *register.Ceremony) error {
	_, err := t.exec("putting ceremony", `INSERT INTO ceremony (id, officer_1, officer_2, officer_name_1, officer_name_2,
			organisation, administrator_1, administrator_2, closed_at)
		VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (id) DO UPDATE SET officer_1 = excluded.officer_1, officer_2 = excluded.officer_2,
			officer_name_1 = excluded.officer_name_1, officer_name_2 = excluded.officer_name_2,
			organisation = excluded.organisation, administrator_1 = excluded.administrator_1,
			administrator_2 = excluded.administrator_2, closed_at = excluded.closed_at`,
		hash(c.Officers[0]), hash(c.Officers[1]), c.OfficerNames[0], c.OfficerNames[1],
		text(c.Organisation), text(c.Administrators[0]), text(c.Administrators[1]), at(c.ClosedAt))
	return err
}

// Idempotency implements register.Idempotencies.
func (t *tx) Idempotency(caller, operation, key string) (*register.Idempotency, error) {
	i := &register.Idempotency{Caller: caller, Operation: operation, Key: key}
	err := missing(t.one("reading idempotency key", `SELECT request, result, at FROM idempotency_keys
		WHERE caller = $1 AND operation = $2 AND key = $3`, []any{caller, operation, key},
		intoOctets(i.Request[:]), &i.Result, intoTime{&i.At}))
	if err != nil {
		return nil, err
	}
	return i, nil
}

// InsertIdempotency implements register.Idempotencies. issue.ErrConflict: the
// key is taken.
func (t *tx) InsertIdempotency(i register.Idempotency) error {
	n, err := t.exec("inserting idempotency key", `INSERT INTO idempotency_keys (caller, operation, key, request, result, at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		i.Caller, i.Operation, i.Key, i.Request[:], i.Result, at(i.At))
	return changedOne("inserting idempotency key", n, err)
}

const statementColumns = `id, act, subject, by_person, certificate, content, signature, at`

func statementDest(s *register.Statement) []any {
	return []any{str(&s.ID), &s.Act, &s.Subject, str(&s.By), intoOctets(s.Certificate[:]), &s.Content, &s.Signature, intoTime{&s.At}}
}

// InsertStatement implements register.Statements.
func (t *tx) InsertStatement(s *register.Statement) error {
	n, err := t.exec("inserting statement", `INSERT INTO statements (`+statementColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		text(s.ID), text(s.Act), text(s.Subject), text(s.By), hash(s.Certificate), s.Content, s.Signature, at(s.At))
	return changedOne("inserting statement", n, err)
}

// StatementsAbout implements register.Statements.
func (t *tx) StatementsAbout(subject string) ([]*register.Statement, error) {
	return list(t, "reading statements", `SELECT `+statementColumns+` FROM statements
		WHERE subject = $1 ORDER BY at, id`, []any{subject}, statementDest)
}
