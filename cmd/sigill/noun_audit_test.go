package main

import (
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to change rows behind everybody's back

	"sigill/internal/adminclient/admintest"
	"sigill/internal/audit"
	"sigill/internal/auditor"
	"sigill/internal/auditor/excerpt"
	"sigill/internal/auditor/finding"
	"sigill/policy"
)

// audited is an installation with a holder who is its auditor, and what an auditor has
// of it: keys, CA certificates, and copies of its directory as tests like them.
type audited struct {
	*desk
	karin, lars, åsa card
	logs             []string // --log …
	known            []string // and --issuer
	pristine         string   // the directory as it was when all was well
}

func auditedInstallation(t *testing.T) *audited {
	t.Helper()
	d := &desk{admintest.Start(t), t}
	one, two := d.officer(1), d.officer(2)
	org := d.found(one, two)
	bootstrap := []string{"--org", org, "--second", "soft:" + two.path}
	a := &audited{desk: d}
	a.karin = d.issue("9752000000000000301", "SE2321000016-K7B1", one, two, bootstrap)
	a.lars = d.issue("9752000000000000302", "SE2321000016-L3A9", one, two, bootstrap)
	d.persons(a.karin)
	a.åsa = d.issue("9752000000000000303", "SE2321000016-A4O2", a.karin, a.lars, nil)
	both := a.karin
	both.more = []string{a.lars.pin}
	if got := d.as(both, "", "role", "grant", "--person", "SE2321000016-A4O2", "--role", "auditor", "--yes", "--second", "soft:"+a.lars.path); got.code != 0 {
		t.Fatalf("auditor: %+v", got)
	}
	type key struct{ Origin, PublicKey string }
	for name, k := range decoded[map[string]key](t, program(t, "", "log", "show", "--dir", d.Dir, "--json")) {
		a.logs = append(a.logs, "--log", k.Origin+"="+d.file(name+".pem", k.PublicKey))
	}
	a.known = append([]string{"--issuer", filepath.Dir(d.RootFile)}, a.logs...)
	d.Stop(t)
	a.pristine = d.Dir
	return a
}

// copied puts a copy of the installation in a directory of its own, with rows changed.
func (a *audited) copied(t *testing.T, from string, rows ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "installation")
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		to := filepath.Join(dir, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.MkdirAll(to, info.Mode().Perm())
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) == 0 {
		return dir
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "sigill.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, row := range rows {
		if r, err := db.Exec(row); err != nil {
			t.Fatalf("%s: %v", row, err)
		} else if n, err := r.RowsAffected(); n == 0 || err != nil {
			t.Fatalf("%s changed nothing: %v", row, err)
		}
	}
	return dir
}

// serve puts an installation in place of the one that is served.
func (a *audited) serve(t *testing.T, dir string) {
	t.Helper()
	a.Again(t, dir)
	a.Dir = dir
	t.Cleanup(func() { a.Stop(t) })
}

// follow is a look of the auditor with a state of his own.
func (a *audited) follow(t *testing.T, state string, more ...string) outcome {
	t.Helper()
	d := *a.desk
	d.t = t
	return d.as(a.åsa, "", append(append([]string{"audit", "follow", "--json", "--state", state}, a.known...), more...)...)
}

// kinds returns what a look found that is no note.
func kinds(t *testing.T, o outcome) []string {
	t.Helper()
	code := o.code
	if code == exitFailed {
		o.code = 0 // findings are printed all the same
	}
	r := decoded[auditor.Report](t, o)
	var out []string
	for _, f := range r.Findings {
		if f.Severity != finding.Note {
			out = append(out, string(f.Kind))
		}
	}
	slices.Sort(out)
	if out = slices.Compact(out); (code == exitFailed) != (len(out) > 0) {
		t.Errorf("exit %d with findings %v: %s", code, r.Findings, o.err)
	}
	return out
}

func TestAuditor(t *testing.T) {
	a := auditedInstallation(t)
	t.Run("nothing is wrong", a.nothing)
	t.Run("tampering with rows", a.rows)
	t.Run("another history", a.histories)
	t.Run("keys", a.keys)
	t.Run("witnessed", a.witnessed)
	t.Run("period", a.period)
}

func (a *audited) nothing(t *testing.T) {
	a.serve(t, a.copied(t, a.pristine))
	state := filepath.Join(t.TempDir(), "state")
	for range 2 {
		o := a.follow(t, state)
		if got := kinds(t, o); len(got) > 0 {
			t.Errorf("found %v: %s", got, o.out)
		}
	}
	r := decoded[auditor.Report](t, a.follow(t, filepath.Join(t.TempDir(), "state"), "--no-public"))
	if r.Rederived < 8 || len(r.Logs) != 2 {
		t.Errorf("%d certificates derived anew, logs %v", r.Rederived, r.Logs)
	}
	// Everybody may watch the checkpoints.
	watched := decoded[auditor.Report](t, program(t, "", append([]string{"audit", "follow", "--json", "--dir", a.pristine, "--state", filepath.Join(t.TempDir(), "state")}, a.known...)...))
	if len(watched.Logs) != 2 || !watched.Logs[0].Public || watched.Logs[0].Size == 0 {
		t.Errorf("watched %+v", watched)
	}
	if got := program(t, "", "audit", "findings", "--state", state); got.code != 0 || !strings.HasPrefix(got.out, "0 findings, of ") {
		t.Errorf("findings: %+v", got)
	}
	d := *a.desk
	d.t = t
	got := d.as(a.karin, "", append([]string{"audit", "follow", "--state", filepath.Join(t.TempDir(), "state")}, a.known...)...)
	if got.code != exitFailed || !strings.Contains(got.err, "role auditor") {
		t.Errorf("an administrator who is no auditor: %+v", got)
	}
	if got := d.as(a.åsa, "", append([]string{"audit", "follow", "--state", state, "--issuer", filepath.Dir(a.RootFile)}, a.logs[:2]...)...); got.code != exitUsage {
		t.Errorf("one log alone: %+v", got)
	}
}

// Rows that somebody changed who can write the database, while the service is what it
// is: it shows nothing that it has not signed.
func (a *audited) rows(t *testing.T) {
	swap := []string{`UPDATE events SET number = 1000000 WHERE number = 30`, `UPDATE events SET number = 30 WHERE number = 31`, `UPDATE events SET number = 31 WHERE number = 1000000`}
	approval := `act = 'order.approve' AND by_person IS NOT NULL`
	for _, c := range []struct {
		name string
		rows []string
		want []string // among what is found
	}{
		{"deleted row", []string{`DELETE FROM event_personal WHERE event IN (SELECT seq FROM events WHERE number = 30)`, `DELETE FROM events WHERE number = 30`}, []string{"entry.unshown"}},
		{"changed row", []string{`UPDATE events SET body = CAST(replace(CAST(body AS TEXT), 'passport', 'national') AS BLOB)
			WHERE number = (SELECT MIN(number) FROM events WHERE act = 'card.handedout')`}, []string{"entry.unshown"}},
		{"reordered rows", swap, []string{"entry.unshown"}},
		{"changed certificate", []string{`UPDATE intents SET tbs = unhex(substr(hex(tbs), 1, 120) || '41' || substr(hex(tbs), 123))
			WHERE serial = (SELECT serial FROM log_leaves WHERE number = 12)`}, []string{"entry.unshown"}},
		{"deleted leaf", []string{`DELETE FROM log_leaves WHERE number = 12`}, []string{"entry.unshown"}},
		{"reordered leaves", []string{`UPDATE log_leaves SET number = 1000000 WHERE number = 12`, `UPDATE log_leaves SET number = 12 WHERE number = 13`,
			`UPDATE log_leaves SET number = 13 WHERE number = 1000000`}, []string{"entry.unshown"}},
		{"erased body", []string{`UPDATE events SET body = x'' WHERE number = 30`}, []string{"entry.erased"}},
		{"forged approval row", []string{`UPDATE statements SET signature = (SELECT signature FROM statements WHERE act = 'order.place' LIMIT 1) WHERE ` + approval},
			[]string{"approval.forged", "order.unapproved"}},
		{"invented approval row", []string{`INSERT INTO statements (id, act, subject, by_person, certificate, content, signature, at) SELECT 'stm_invented', act, subject, by_person, certificate,
			CAST(replace(CAST(content AS TEXT), 'at: 2', 'at: 1') AS BLOB), signature, at FROM statements WHERE ` + approval}, []string{"approval.forged"}},
		{"deleted approval row", []string{`DELETE FROM statements WHERE ` + approval}, []string{"order.evidence", "order.unapproved"}},
		{"changed order", []string{`UPDATE orders SET bytes = CAST(replace(CAST(bytes AS TEXT), 'Region', 'Landet') AS BLOB)`}, []string{"order.evidence"}},
		{"invented role", a.roleRow(t, "statement", "st_invented"), []string{"role.unproven"}},
		{"another role than was signed", a.roleRow(t, "role", "administrator"), []string{"role.unproven"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.serve(t, a.copied(t, a.pristine, c.rows...))
			got := kinds(t, a.follow(t, filepath.Join(t.TempDir(), "state"), "--grace", "1ns")) // nothing will come that sets it right
			for _, want := range c.want {
				if !slices.Contains(got, want) {
					t.Errorf("found %v, not %s", got, want)
				}
			}
		})
	}
}

// roleRow is the row of an act that gives a role as the last such act does, but for one
// field. The service numbers it and puts it in the log when it starts.
func (a *audited) roleRow(t *testing.T, name, value string) []string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(a.copied(t, a.pristine), "sigill.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var text []byte
	if err := db.QueryRow(`SELECT body FROM events WHERE act = 'role.granted' ORDER BY number DESC LIMIT 1`).Scan(&text); err != nil {
		t.Fatal(err)
	}
	body, err := audit.ParseBody(text)
	if err != nil {
		t.Fatal(err)
	}
	e := audit.Event{ID: policy.NewID("evt"), At: time.Now(), Act: body.Act, By: body.By, Public: body.Public}
	for i, f := range e.Public {
		if f.Name == name {
			e.Public[i].Value = value
		}
	}
	r, err := audit.Seal(e)
	if err != nil {
		t.Fatal(err)
	}
	return []string{fmt.Sprintf(`INSERT INTO events (id, at, act, by_who, body, leaf) VALUES ('%s', %d, '%s', '%s', x'%x', x'%x')`, r.ID, r.At.UnixMicro(), r.Act, r.By, r.Body, r.Leaf)}
}

// changed makes the installation that is served another one than its copies.
func (a *audited) changed(t *testing.T, times int) {
	t.Helper()
	d := *a.desk
	d.t = t
	for i := range times {
		csv := fmt.Sprintf("personnummer,givenName,surname,hsaId,email,upn,sid,endsAt,protected\n198001042384,Åsa,Öström,SE2321000016-A4O2,asa%d@region.example,,,,\n", time.Now().UnixNano()+int64(i))
		if got := d.as(a.karin, "", "person", "import", d.file("people.csv", csv)); got.code != 0 {
			t.Fatalf("import: %+v", got)
		}
	}
}

// Logs that are rolled back, and logs of which two auditors see two.
func (a *audited) histories(t *testing.T) {
	one, other := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "state")
	a.serve(t, a.copied(t, a.pristine))
	a.changed(t, 12)
	if got := kinds(t, a.follow(t, one)); len(got) > 0 {
		t.Fatalf("found %v", got)
	}
	ahead := a.Dir
	a.serve(t, a.copied(t, a.pristine)) // restored from a backup, whole
	for range 2 {
		// One log is smaller; the other has as many entries as before, and other ones.
		if got := kinds(t, a.follow(t, one)); !slices.Equal(got, []string{"log.forked", "log.rolledback"}) {
			t.Errorf("rolled back: found %v", got)
		}
	}
	if got := kinds(t, a.follow(t, other)); len(got) > 0 {
		t.Fatalf("found %v", got)
	}
	compare := func(x, y string) outcome {
		return program(t, "", append([]string{"audit", "compare", x, y}, a.logs...)...)
	}
	for _, args := range [][2]string{{one, other}, {other, one}, {one, filepath.Join(other, "acts.checkpoint")}} {
		if got := compare(args[0], args[1]); got.code != exitFailed || !strings.Contains(got.out, "log of acts: FORK") {
			t.Errorf("two histories: %+v", got)
		}
	}
	if got := compare(one, filepath.Join(one, "acts.checkpoint")); got.code != 0 || !strings.Contains(got.out, "one history") {
		t.Errorf("one history: %+v", got)
	}
	if got := compare(filepath.Join(one, "acts.checkpoint"), filepath.Join(other, "acts.checkpoint")); got.code != exitFailed || !strings.Contains(got.out, "cannot be told") {
		t.Errorf("two notes: %+v", got)
	}
	a.changed(t, 30) // the restored one grows past what was seen
	if got := kinds(t, a.follow(t, one)); !slices.Equal(got, []string{"log.forked"}) {
		t.Errorf("forked: found %v", got)
	}
	if got := program(t, "", "audit", "findings", "--state", one); got.code != exitFailed || !strings.Contains(got.out, "log.forked") || !strings.Contains(got.out, "log.rolledback") {
		t.Errorf("findings: %+v", got)
	}
	a.serve(t, ahead) // the right one again
	if got := kinds(t, a.follow(t, one)); len(got) > 0 {
		t.Errorf("found %v", got)
	}
}

func (a *audited) period(t *testing.T) {
	a.serve(t, a.copied(t, a.pristine))
	d := *a.desk
	d.t = t
	out := filepath.Join(t.TempDir(), "period")
	export := append([]string{"audit", "export", "--from", "20", "--to", "2999-01-01", "--out", out, "--json"}, a.logs...)
	if sum := decoded[excerpt.Summary](t, d.as(a.åsa, "", export...)); sum.From != 20 || sum.To != sum.Size || sum.To < 60 {
		t.Errorf("exported %+v", sum)
	}
	a.Stop(t) // it is verified without anybody
	if got := program(t, "", append([]string{"audit", "verify-export", out}, a.logs...)...); got.code != 0 || !strings.HasPrefix(got.out, "verified") {
		t.Errorf("verify-export: %+v", got)
	}
	path := filepath.Join(out, "acts.jsonl")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), "passport", "national", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := program(t, "", append([]string{"audit", "verify-export", out}, a.logs...)...); got.code != exitFailed {
		t.Errorf("verify-export of what was changed: %+v", got)
	}
}
