package main

import (
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // to change rows behind everybody's back

	"sigill/internal/adminclient/admintest"
	"sigill/internal/auditor"
	"sigill/internal/auditor/finding"
	"sigill/internal/keys"
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

// follow is a look of the auditor with a state of his own. Times that logs may be apart
// are nothing: what is tampered with here is so for ever.
func (a *audited) follow(t *testing.T, state string, more ...string) outcome {
	t.Helper()
	d := *a.desk
	d.t = t
	return d.as(a.åsa, "", append(append([]string{"audit", "follow", "--json", "--grace", "1ns", "--state", state}, a.known...), more...)...)
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
	for _, c := range []struct {
		name string
		rows []string
		want []string // among what is found
	}{
		{"deleted row", []string{`DELETE FROM event_personal WHERE event IN (SELECT seq FROM events WHERE number = 30)`, `DELETE FROM events WHERE number = 30`}, []string{"entry.unshown"}},
		{"changed row", []string{`UPDATE events SET body = CAST(replace(CAST(body AS TEXT), 'passport', 'national') AS BLOB) WHERE number = (SELECT MIN(number) FROM events WHERE act = 'card.handedout')`}, []string{"entry.unshown"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.serve(t, a.copied(t, a.pristine, c.rows...))
			got := kinds(t, a.follow(t, filepath.Join(t.TempDir(), "state")))
			for _, want := range c.want {
				if !slices.Contains(got, want) {
					t.Errorf("found %v, not %s", got, want)
				}
			}
		})
	}
	_ = keys.PersonHSA3
}

func (a *audited) nothing(t *testing.T) {
	a.serve(t, a.copied(t, a.pristine))
	state := filepath.Join(t.TempDir(), "state")
	for range 2 {
		o := a.follow(t, state)
		t.Log(o.out, o.err)
		if got := kinds(t, o); len(got) > 0 {
			t.Errorf("found %v: %s", got, o.out)
		}
	}
}
