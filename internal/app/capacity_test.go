package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/internal/audit"
	"sigill/internal/config"
	"sigill/internal/mode"
	"sigill/internal/store"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// until asks a listener until what it says is as wanted.
func until(t *testing.T, address string, wanted func(status int, body string) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		status, body := get(t, address)
		if wanted(status, body) {
			return
		}
	}
	status, body := get(t, address)
	t.Fatalf("%s stays at %d: %s", address, status, body)
}

// TestServedOutage: a running service hears of an outage by the file, tells
// operators, makes events of it once, and knows it after a start too.
func TestServedOutage(t *testing.T) {
	dir := make1(t, "")
	n := mode.Notice{Begun: time.Now(), Until: time.Now().Add(time.Hour), ReasonSV: "Databasen flyttas.", ReasonEN: "The database is moved.", By: "operator"}
	serving(t, dir, func(at Addresses) {
		var r readiness
		_, body := get(t, at.Ops+"/readyz")
		if err := json.Unmarshal([]byte(body), &r); err != nil || r.State != "ready" || len(r.Modes) != 1 || r.Modes[0] != policy.ModeNormal {
			t.Errorf("readyz: %s", body)
		}
		if _, err := mode.Begin(dir, n); err != nil {
			t.Fatal(err)
		}
		until(t, at.Ops+"/readyz", func(status int, body string) bool {
			return status == http.StatusOK && strings.Contains(body, `"modes":["outage"]`) && strings.Contains(body, "The database is moved.")
		})
		_, metrics := get(t, at.Ops+"/metrics")
		for _, want := range []string{`sigill_mode{mode="outage"} 1`, `sigill_mode{mode="normal"} 0`, `sigill_mode{mode="disk-low"} 0`, `sigill_disk_reserve 1`,
			`sigill_lane_inside{lane="priority"} 0`, `sigill_lane_refused_total{lane="ordinary"} 0`, `sigill_signer_failing{issuer="card-v1"} 0`} {
			if !strings.Contains(metrics, want) {
				t.Errorf("metrics lack %s", want)
			}
		}
		if strings.Contains(metrics, "sigill_outage_until_seconds 0\n") {
			t.Error("metrics do not tell until when")
		}
	})
	serving(t, dir, func(at Addresses) {
		if _, body := get(t, at.Ops+"/readyz"); !strings.Contains(body, `"outage"`) {
			t.Errorf("after a start: %s", body)
		}
		if _, err := mode.End(dir, time.Now()); err != nil {
			t.Fatal(err)
		}
		until(t, at.Ops+"/readyz", func(_ int, body string) bool { return strings.Contains(body, `"modes":["normal"]`) })
		until(t, at.Ops+"/metrics", func(int, string) bool {
			_, err := os.Stat(filepath.Join(dir, "outage.recorded"))
			return err == nil
		})
	})
	serving(t, dir, func(Addresses) {})
	var got []string
	for _, r := range events(t, dir) {
		if strings.HasPrefix(r.Act, "outage.") {
			got = append(got, r.Act+" by "+r.By)
			if !strings.Contains(string(r.Body), "The database is moved.") {
				t.Errorf("the event does not tell why: %s", r.Body)
			}
		}
	}
	if want := "outage.begun by operator, outage.ended by operator"; strings.Join(got, ", ") != want {
		t.Errorf("events %v, want %s", got, want)
	}
}

// events reads the whole chain.
func events(t *testing.T, dir string) (out []audit.Record) {
	t.Helper()
	cfg, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), store.Config{URL: cfg.DatabaseURL()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Audit().View(t.Context(), func(tx *audit.Tx) error {
		out, _, err = tx.Linked(0, 10_000)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestStartBelowTheMark: the service starts, tells that it only takes back, and
// serves status.
func TestStartBelowTheMark(t *testing.T) {
	dir := make1(t, "")
	file := filepath.Join(dir, config.File)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	much := strings.Replace(string(text), "stop_issuing_below: 64MiB", "stop_issuing_below: 4000000GiB", 1)
	if err := os.WriteFile(file, []byte(much), 0o600); err != nil {
		t.Fatal(err)
	}
	serving(t, dir, func(at Addresses) {
		if status, body := get(t, at.Ops+"/readyz"); status != http.StatusOK || !strings.Contains(body, `"modes":["disk-low"]`) {
			t.Errorf("readyz: %d %s", status, body)
		}
	})
}

// TestPrecedence: an organisation with priority and the branches below it, nobody
// else; what cannot be read has none and is asked again.
func TestPrecedence(t *testing.T) {
	a, err := open(t, make1(t, ""), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	now := time.Now().UTC().Truncate(time.Microsecond)
	err = a.DB.Register().Update(t.Context(), func(tx *register.Tx) error {
		for _, o := range []register.Organisation{{ID: "org_a", Number: "1111111111"}, {ID: "org_a1", Number: "2222222222", Parent: "org_a"},
			{ID: "org_a2", Number: "3333333333", Parent: "org_a1"}, {ID: "org_b", Number: "4444444444"}, {ID: "org_b1", Number: "5555555555", Parent: "org_b"}} {
			o.Name, o.CreatedAt = "Region", now
			if err := tx.InsertOrganisation(&o); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	broken, failures, reads := false, 0, 0
	p := precedence{numbers: []string{"1111111111", "5555555555"}, failed: func(error) { failures++ },
		view: func(ctx context.Context, fn func(*register.Tx) error) error {
			reads++
			if broken {
				return errors.New("broken")
			}
			return a.DB.Register().View(ctx, fn)
		}}
	broken = true
	if p.has(t.Context(), "org_a") || failures != 1 {
		t.Errorf("it has priority although nothing could be read; %d failures", failures)
	}
	broken = false
	for range 2 {
		for id, want := range map[policy.OrganisationID]bool{"org_a": true, "org_a1": true, "org_a2": true, "org_b": false, "org_b1": true, "org_none": false, "": false} {
			if got := p.has(t.Context(), id); got != want {
				t.Errorf("%q: %t", id, got)
			}
		}
	}
	if reads != 7 {
		t.Errorf("%d reads", reads)
	}
	if none := (&precedence{}); none.has(t.Context(), "org_a") {
		t.Error("without a list somebody has priority")
	}
}

// TestLaneOfConfiguration: as many places as configured, or by the cores.
func TestLaneOfConfiguration(t *testing.T) {
	a, err := open(t, make1(t, ""), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if st := a.Lane.Stats(); st.Places < placesPerCore || st.Reserved != 0 {
		t.Errorf("%+v", st)
	}
	a.Config.Capacity.IssuingAtOnce, a.Config.Capacity.Reserved = 5, 2
	if err := a.lane(); err != nil {
		t.Fatal(err)
	}
	if st := a.Lane.Stats(); st.Places != 5 || st.Reserved != 2 {
		t.Errorf("%+v", st)
	}
	ran := false
	if err := a.turn(t.Context(), register.Caller{Organisation: "org_a"}, func() error { ran = true; return issue.ErrState }); !errors.Is(err, issue.ErrState) || !ran {
		t.Errorf("turn: %v, ran %t", err, ran)
	}
}

// TestDoctorTellsConditions: an outage that goes on, and room that is missing.
func TestDoctorTellsConditions(t *testing.T) {
	cfg, err := config.Load(make1(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	said := func(now time.Time) (out string) {
		conditionFindings(cfg, now, func(g Grade, area, format string, args ...any) {
			out += fmt.Sprintf("%s %s "+format+"\n", append([]any{g, area}, args...)...)
		})
		return out
	}
	cfg.Disk.StopIssuingBelow = config.MiB
	if got := said(time.Now()); !strings.HasPrefix(got, "green disk ") || strings.Contains(got, "outage") {
		t.Errorf("in order: %s", got)
	}
	cfg.Disk.StopIssuingBelow = 1 << 62
	if _, err := mode.Begin(cfg.Dir, mode.Notice{Begun: time.Now(), Until: time.Now().Add(time.Hour), ReasonSV: "a", ReasonEN: "a"}); err != nil {
		t.Fatal(err)
	}
	if got := said(time.Now()); !strings.Contains(got, "yellow outage") || !strings.Contains(got, "red disk") || strings.Contains(got, "was expected") {
		t.Errorf("an outage and no room: %s", got)
	}
	if got := said(time.Now().Add(2 * time.Hour)); !strings.Contains(got, "was expected to be over") {
		t.Errorf("later: %s", got)
	}
	if err := os.WriteFile(cfg.Path("outage.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := said(time.Now()); !strings.Contains(got, "red outage") {
		t.Errorf("unreadable: %s", got)
	}
}
