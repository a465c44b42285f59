package main

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/internal/app"
	"sigill/internal/config"
)

// TestOutageCommands begins, shows and ends an outage of an installation that
// nobody serves, whose database does not work.
func TestOutageCommands(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if _, err := app.Init(t.Context(), app.InitOptions{Dir: dir, Settings: config.Defaults(), Log: slog.New(slog.DiscardHandler), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"outage show", 0, "No outage"},
		{"outage end", 1, "no outage is in effect"},
		{"outage begin --until=1h --reason-sv=Flytt", 2, "--reason-en"},
		{"outage begin --until=yesterday --reason-sv=Flytt --reason-en=Move", 2, "--until"},
		{"outage begin --until=-1h --reason-sv=Flytt --reason-en=Move", 2, "ahead"},
		{"outage begin --until=2020-01-01T00:00:00Z --reason-sv=Flytt --reason-en=Move", 2, "ahead"},
		{"outage begin --until=1h --reason-sv=Flytt --reason-en=Move", 0, "revoking, confirming and status go on"},
		{"outage show", 0, "sv: Flytt\n  en: Move"},
		{"--json outage show", 0, `"reasonSv":"Flytt"`},
		{"outage begin --until=2h --reason-sv=Mer --reason-en=More", 0, "begins"},
		{"outage end", 0, "is over"},
		{"outage show", 0, "over since"},
		{"outage end", 1, "no outage is in effect"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append(strings.Fields(c.args), "--dir", dir), nil, &out, &errs)
		if text := out.String() + errs.String(); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("sigill %s: exit %d, want %d and %q:\n%s", c.args, code, c.code, c.want, text)
		}
	}
	var errs bytes.Buffer
	if code := run(t.Context(), []string{"outage", "begin", "--until=1h", "--reason-sv=a", "--reason-en=b", "--dir", t.TempDir()}, nil, new(bytes.Buffer), &errs); code != 1 ||
		!strings.Contains(errs.String(), "sigill.yaml") {
		t.Errorf("where there is no installation: exit %d, %s", code, errs.String())
	}
}

func TestParseUntil(t *testing.T) {
	zone := time.FixedZone("", 2*60*60)
	now := time.Date(2026, 5, 1, 8, 0, 0, 0, zone)
	for text, want := range map[string]string{"90m": "2026-05-01T09:30:00+02:00", "2026-05-01 18:00": "2026-05-01T18:00:00+02:00", "2026-05-01T18:00:00Z": "2026-05-01T18:00:00Z"} {
		if got, err := parseUntil(text, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %s, %v", text, got.Format(time.RFC3339), err)
		}
	}
}
