package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/audit"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

func TestCreateOpenMigrate(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		ctx := t.Context()
		refused := func(want string) {
			t.Helper()
			db, err := Open(ctx, cfg)
			if err == nil {
				db.Close()
				t.Fatalf("Open succeeded, want an error with %q", want)
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("Open = %v, want an error with %q", err, want)
			}
		}
		change := func(statement string) {
			t.Helper()
			d, where, err := parse(cfg.URL)
			if err != nil {
				t.Fatal(err)
			}
			pool, err := d.connect(where, false)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			if _, err := pool.ExecContext(ctx, statement); err != nil {
				t.Fatal(err)
			}
		}
		refused("run sigill init")
		if _, _, err := Migrate(ctx, cfg); err == nil {
			t.Error("Migrate of no database succeeded")
		}
		if err := Create(ctx, cfg); err != nil {
			t.Fatal(err)
		}
		if err := Create(ctx, cfg); err == nil {
			t.Error("Create over a database succeeded")
		}
		db, err := Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		known, err := migrations(db.dialect)
		if err != nil {
			t.Fatal(err)
		}
		db.Close()
		newest := known[len(known)-1].version
		from, to, err := Migrate(ctx, cfg)
		if err != nil || from != newest || to != newest {
			t.Errorf("Migrate of a new database = %d, %d, %v, want nothing done at %d", from, to, err, newest)
		}

		change(`INSERT INTO schema_migrations (version, checksum) VALUES (99, 'x')`)
		refused("schema version 99, which this program does not know")
		if _, _, err := Migrate(ctx, cfg); err == nil {
			t.Error("Migrate of a newer database succeeded")
		}
		change(`DELETE FROM schema_migrations WHERE version = 99`)
		change(`UPDATE schema_migrations SET checksum = 'x' WHERE version = 1`)
		refused("is not the one of this program")
		change(`DELETE FROM schema_migrations WHERE version > 0`)
		refused("run sigill migrate")
	})
}

// A database of the first release is brought to the newest schema, and what it
// holds is kept.
func TestMigrateFromTheFirst(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		ctx := t.Context()
		if err := Create(ctx, cfg); err != nil {
			t.Fatal(err)
		}
		d, where, err := parse(cfg.URL)
		if err != nil {
			t.Fatal(err)
		}
		pool, err := d.connect(where, false)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		for _, undo := range []string{`DROP TABLE log_places`, `DELETE FROM schema_migrations WHERE version = 9`, `DROP TABLE mass_lists`, `DROP TABLE mass_revocations`, `DELETE FROM schema_migrations WHERE version = 8`, `DROP TABLE event_people`, `DROP TABLE erasures`, `ALTER TABLE persons DROP COLUMN erased_at`,
			`DROP INDEX cards_kept`, `ALTER TABLE cards DROP COLUMN erased_at`, `DROP INDEX orders_of_card`, `DROP INDEX downloads_of_card`,
			`DROP INDEX grants_of_person`, `DROP INDEX statements_of_certificate`, `DROP INDEX statements_kept`, `DELETE FROM schema_migrations WHERE version = 7`,
			oldRoles[d.name], `DELETE FROM schema_migrations WHERE version = 6`,
			`DROP TABLE log_leaves`, `DROP TABLE log_tiles`, `DROP TABLE log_heads`, `DELETE FROM schema_migrations WHERE version = 5`,
			`DROP TABLE list_copies`, `DROP TABLE tails`, `DELETE FROM schema_migrations WHERE version = 4`,
			`DROP INDEX revocations_by_end`, `ALTER TABLE revocations DROP COLUMN line`, `ALTER TABLE publications DROP COLUMN kept_from`,
			`DELETE FROM schema_migrations WHERE version = 3`, `DROP TABLE queued_revocations`, `DROP TABLE incident_certificates`, `DROP TABLE incidents`,
			`DROP TABLE blocked_keys`, `DROP INDEX certificates_of_key`, `DELETE FROM schema_migrations WHERE version = 2`,
			`INSERT INTO keys_seen (fingerprint, verdict, seen_at) SELECT ` + map[string]string{"sqlite": "zeroblob(32)", "postgres": "decode(repeat('00', 32), 'hex')"}[d.name] + `, 'admitted', 1`} {
			if _, err := pool.ExecContext(ctx, undo); err != nil {
				t.Fatalf("%s: %v", undo, err)
			}
		}
		old := revokedBefore(t, pool)
		toldBefore(t, pool)
		grantedBefore(t, pool)
		if db, err := Open(ctx, cfg); err == nil {
			db.Close()
			t.Error("an older database was opened")
		}
		from, to, err := Migrate(ctx, cfg)
		if err != nil || from != 1 || to < 2 {
			t.Fatalf("Migrate = %d, %d, %v", from, to, err)
		}
		db, err := Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.view(ctx, func(tx *tx) error { _, err := tx.KeySeen([32]byte{}); return err }); err != nil {
			t.Errorf("what the database held: %v", err)
		}
		if err := db.view(ctx, func(tx *tx) error { _, err := tx.QueuedOpen(1); return err }); err != nil {
			t.Errorf("the new tables: %v", err)
		}
		grantsKept(t, db)
		peopleFound(t, db)
		for _, r := range old {
			want, err := crl.EncodeRevoked(r)
			if err != nil {
				t.Fatal(err)
			}
			err = db.view(ctx, func(tx *tx) error {
				e, _, err := tx.Revocation(r.Serial)
				if !slices.Equal(e.Line, want) {
					t.Errorf("line of %v is %x, want %x", r, e.Line, want)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
}

// oldRoles is the table of grants as the first release made it.
var oldRoles = map[string]string{
	"sqlite": `DROP TABLE grants; CREATE TABLE grants (person TEXT NOT NULL REFERENCES persons (id), organisation TEXT NOT NULL REFERENCES organisations (id),
		role TEXT NOT NULL CHECK (role IN ('administrator', 'reserve-administrator', 'reader')), statement TEXT, granted_at INTEGER NOT NULL, ended_at INTEGER) STRICT;
		CREATE UNIQUE INDEX grants_in_force ON grants (person, organisation, role) WHERE ended_at IS NULL;
		CREATE INDEX grants_of_organisation ON grants (organisation, person) WHERE ended_at IS NULL;`,
	"postgres": `DROP TABLE grants; CREATE TABLE grants (person TEXT COLLATE "C" NOT NULL REFERENCES persons (id), organisation TEXT COLLATE "C" NOT NULL REFERENCES organisations (id),
		role TEXT COLLATE "C" NOT NULL CHECK (role IN ('administrator', 'reserve-administrator', 'reader')), statement TEXT COLLATE "C", granted_at BIGINT NOT NULL, ended_at BIGINT);
		CREATE UNIQUE INDEX grants_in_force ON grants (person, organisation, role) WHERE ended_at IS NULL;
		CREATE INDEX grants_of_organisation ON grants (organisation, person) WHERE ended_at IS NULL;`,
}

// grantedBefore writes a role that ended and was given again, before there were auditors.
func grantedBefore(t *testing.T, pool *sql.DB) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO organisations (id, number, name, signing_allowed, created_at) VALUES ('org_a', '5560000001', 'A', 0, 1)`,
		`INSERT INTO persons (id, number, number_kind, given_name, surname, protected, created_at) VALUES ('per_a', '197001019990', 'personnummer', 'A', 'B', 0, 1)`,
		`INSERT INTO grants (person, organisation, role, statement, granted_at, ended_at) VALUES ('per_a', 'org_a', 'reader', 'st_1', 1, 2)`,
		`INSERT INTO grants (person, organisation, role, granted_at) VALUES ('per_a', 'org_a', 'reader', 3)`,
	} {
		if _, err := pool.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// grantsKept looks for what grantedBefore wrote, and for the index over it.
func grantsKept(t *testing.T, db *DB) {
	t.Helper()
	err := db.update(t.Context(), func(tx *tx) error {
		found, err := tx.GrantsOf("per_a")
		if err != nil || len(found) != 1 || found[0].Statement != "" || found[0].GrantedAt != time.UnixMicro(3).UTC() {
			t.Errorf("grants in force are %+v, %v", found, err)
		}
		var n int64
		if _, err := tx.one("counting", `SELECT count(*) FROM grants WHERE statement = 'st_1' AND ended_at = 2`, nil, &n); err != nil || n != 1 {
			t.Errorf("%d ended grants, %v", n, err)
		}
		if err := tx.InsertGrant(found[0]); !errors.Is(err, issue.ErrConflict) {
			t.Errorf("the same role again: %v, want a conflict", err)
		}
		found[0].Role = policy.RoleAuditor
		return tx.InsertGrant(found[0])
	})
	if err != nil {
		t.Errorf("a role that is new: %v", err)
	}
	err = db.update(t.Context(), func(tx *tx) error {
		return tx.InsertGrant(register.Grant{Person: "per_a", Organisation: "org_a", Role: "emperor", GrantedAt: time.UnixMicro(4)})
	})
	if err == nil {
		t.Error("a role that is in no list was stored")
	}
}

// toldBefore writes events as programs did that did not note whom they are about.
func toldBefore(t *testing.T, pool *sql.DB) {
	t.Helper()
	for i, e := range []audit.Event{
		{Act: audit.PersonImported, By: "per_admin", Public: []audit.Field{{Name: "person", Value: "per_a"}, {Name: "organisation", Value: "org_a"}, {Name: "result", Value: "created"}}, Personal: imported()},
		{Act: audit.RequestRefused, By: "per_a", Public: []audit.Field{{Name: "rule", Value: "role.missing"}}, Personal: []audit.Field{{Name: "detail", Value: "x"}}},
		{Act: audit.CardBlocked, By: "per_a", Public: []audit.Field{{Name: "card", Value: "9"}, {Name: "report", Value: "lost"}}},
	} {
		e.ID, e.At = fmt.Sprintf("evt_%d", i), time.UnixMicro(1)
		r, err := audit.Seal(e)
		if err != nil {
			t.Fatal(err)
		}
		seq := int64(0)
		err = pool.QueryRowContext(t.Context(), `INSERT INTO events (id, at, act, by_who, body, leaf) VALUES ($1, 1, $2, $3, $4, $5) RETURNING seq`,
			r.ID, r.Act, r.By, r.Body, r.Leaf[:]).Scan(&seq)
		for j, p := range r.Personal {
			if err == nil {
				_, err = pool.ExecContext(t.Context(), `INSERT INTO event_personal (event, position, name, value, salt) VALUES ($1, $2, $3, $4, $5)`, seq, j, p.Name, p.Value, p.Salt[:])
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// imported are the personal fields of an import.
func imported() (fields []audit.Field) {
	for _, name := range []string{"number", "givenName", "surname", "hsaId", "email", "upn", "sid", "protected", "endsAt"} {
		fields = append(fields, audit.Field{Name: name, Value: name})
	}
	return fields
}

// peopleFound looks for whom the events of toldBefore are about.
func peopleFound(t *testing.T, db *DB) {
	t.Helper()
	var got []string
	err := db.view(t.Context(), func(tx *tx) error {
		return tx.each("people", `SELECT e.id, p.person, p.about FROM event_people p JOIN events e ON e.seq = p.event ORDER BY e.id, p.person`, nil, func(r *sql.Rows) error {
			var id, person string
			var about int
			err := r.Scan(&id, &person, &about)
			got = append(got, fmt.Sprint(id, " ", person, " ", about))
			return err
		})
	})
	if want := []string{"evt_0 per_a 1", "evt_0 per_admin 0", "evt_1 per_a 0"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("events are about %q, %v, want %q", got, err, want)
	}
}

// revokedBefore writes revocations as programs did that kept no lines.
func revokedBefore(t *testing.T, pool *sql.DB) (all []crl.Revoked) {
	t.Helper()
	for i, at := range []time.Time{time.Date(2026, 3, 4, 5, 6, 7, 890_000_000, time.UTC), time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)} {
		for _, reason := range []ca.Reason{ca.Unspecified, ca.KeyCompromise, ca.CACompromise, ca.AffiliationChanged, ca.Superseded, ca.CessationOfOperation, ca.PrivilegeWithdrawn} {
			r := crl.Revoked{Serial: ca.NewSerial(), At: at, Reason: reason}
			_, err := pool.ExecContext(t.Context(), `INSERT INTO revocations (serial, version, issuer, partition, not_after, at, reason, event) VALUES ($1, 1, 'i', 0, $2, $3, $4, $5)`,
				r.Serial[:], at.UnixMicro(), at.UnixMicro(), int64(reason), fmt.Sprintf("evt_%d_%d", i, reason))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
	}
	return all
}

func TestURL(t *testing.T) {
	for _, url := range []string{"", "sqlite:", "/tmp/x.db", "mysql://secret@x/y"} {
		_, err := Open(t.Context(), Config{URL: url})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q) = %v", url, err)
		}
	}
}

func TestDatabaseFileIsPrivate(t *testing.T) {
	db, cfg := openLite(t)
	if err := db.update(t.Context(), func(tx *tx) error { return tx.InsertIdempotency(row(1)) }); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		st, err := os.Stat(strings.TrimPrefix(cfg.URL, "sqlite:") + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != 0o600 {
			t.Errorf("mode of the database%s = %v", suffix, st.Mode())
		}
	}
}

// The two folders of migrations differ in how columns are written, not in what
// they are: the statements of this package run on both.
func TestMigrationsAgree(t *testing.T) {
	lite, err := fs.ReadDir(files, "migrations/sqlite")
	if err != nil {
		t.Fatal(err)
	}
	post, err := fs.ReadDir(files, "migrations/postgres")
	if err != nil {
		t.Fatal(err)
	}
	if len(lite) != len(post) {
		t.Fatalf("%d migrations for SQLite, %d for PostgreSQL", len(lite), len(post))
	}
	identity := regexp.MustCompile(`INTEGER PRIMARY KEY NOT NULL,`)
	words := strings.NewReplacer("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,", "IDENTITY,", "BIGINT PRIMARY KEY NOT NULL CHECK", "INTEGER PRIMARY KEY NOT NULL CHECK",
		"BIGINT", "INTEGER", "BYTEA", "BLOB", ` COLLATE "C"`, "", ") STRICT, WITHOUT ROWID;", ");", ") STRICT;", ");")
	// What writes or reads octets differs in how; what it writes TestMigrateFromTheFirst
	// compares.
	octets := regexp.MustCompile(`(?s)(UPDATE revocations SET line =|INSERT INTO event_people).*?;`)
	for i := range lite {
		if lite[i].Name() != post[i].Name() {
			t.Fatalf("migration %s for SQLite is %s for PostgreSQL", lite[i].Name(), post[i].Name())
		}
		a, _ := fs.ReadFile(files, "migrations/sqlite/"+lite[i].Name())
		b, _ := fs.ReadFile(files, "migrations/postgres/"+post[i].Name())
		a, b = octets.ReplaceAll(a, nil), octets.ReplaceAll(b, nil)
		left := strings.Split(words.Replace(identity.ReplaceAllString(string(a), "IDENTITY,")), "\n")
		right := strings.Split(words.Replace(string(b)), "\n")
		for j := range min(len(left), len(right)) {
			if left[j] != right[j] {
				t.Errorf("%s:%d:\n\tSQLite     %s\n\tPostgreSQL %s", lite[i].Name(), j+1, left[j], right[j])
			}
		}
		if len(left) != len(right) {
			t.Errorf("%s: %d lines for SQLite, %d for PostgreSQL", lite[i].Name(), len(left), len(right))
		}
	}
}
