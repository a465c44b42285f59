package app

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/internal/audit"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/tiles"
	"sigill/internal/translog"

	_ "modernc.org/sqlite"
)

// tamper changes the database of an installation behind its back.
func tamper(t *testing.T, dir, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "sigill.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}

// grades returns the worst grade of an area and what is said of it.
func grades(t *testing.T, dir, area string) (worst Grade, said string) {
	t.Helper()
	findings, err := Doctor(t.Context(), dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	worst = Green
	for _, f := range findings {
		if f.Area != area {
			continue
		}
		said += f.Text + "\n"
		if f.Grade == Red || f.Grade == Yellow && worst == Green {
			worst = f.Grade
		}
	}
	return worst, said
}

func TestDoctorLogs(t *testing.T) {
	dir := make1(t, "")
	serving(t, dir, func(Addresses) {})
	// TEST: promises prove nothing against who reads both keys, and it is said.
	if worst, said := grades(t, dir, "logs"); worst != Yellow || !strings.Contains(said, "promises (SCTs) prove nothing") {
		t.Errorf("untouched: %s\n%s", worst, said)
	}
	tamper(t, dir, `UPDATE log_tiles SET hashes = (SELECT leaf FROM log_leaves LIMIT 1) WHERE log = 'acts'`)
	if worst, said := grades(t, dir, "logs"); worst != Red {
		t.Errorf("a changed tree: %s\n%s", worst, said)
	}
}

// The logs' keys are opened by a passphrase of their own, and are what they were.
func TestLogKeysAtStart(t *testing.T) {
	for _, test := range []struct {
		name, want string
		spoil      func(t *testing.T, dir string)
	}{
		{"passphrase of the issuing keys", "passphrase", func(t *testing.T, dir string) {
			text, err := os.ReadFile(filepath.Join(dir, "secrets", "passphrase"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "secrets", "log-passphrase"), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"key of the other log", "not that of its public key", func(t *testing.T, dir string) {
			text, err := os.ReadFile(filepath.Join(dir, "logs", "acts.key"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "logs", "certificates.key"), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"readable by others", "others", func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "logs", "acts.key"), 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"no logs", "sigill log init", func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "logs")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) { refusesStart(t, test.spoil, time.Now, test.want) })
	}
}

// An installation of before there were logs gets them once, and what was done before is
// in the log of acts.
func TestLogsOfAnOlderInstallation(t *testing.T) {
	dir := make1(t, "")
	for _, gone := range []string{"logs", filepath.Join("secrets", "log-passphrase")} {
		if err := os.RemoveAll(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
	}
	for _, query := range []string{`DELETE FROM log_tiles`, `DELETE FROM log_heads`, `DELETE FROM log_leaves`} {
		tamper(t, dir, query)
	}
	cfg, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateLogs(t.Context(), cfg, keys.LogsPlan{}); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateLogs(t.Context(), cfg, keys.LogsPlan{}); err == nil {
		t.Error("the logs were made twice")
	}
	a, err := open(t, dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Sequencer.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	var acts, numbered int64
	err = a.DB.Translog().View(t.Context(), func(tx *translog.Tx) (err error) {
		acts, err = tiles.Size(tx, audit.ActTree)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = a.DB.Audit().View(t.Context(), func(tx *audit.Tx) error {
		head, err := tx.HeadLink()
		if err == nil {
			numbered = head.Number
		}
		return err
	})
	if err != nil || acts == 0 || acts != numbered {
		t.Errorf("%d acts in the tree of %d: %v", acts, numbered, err)
	}
	if head, err := a.Logs.Head(t.Context(), audit.ActTree); err != nil || head.Size != acts {
		t.Errorf("head of %d: %v", head.Size, err)
	}
}
