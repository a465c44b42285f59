package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/internal/app"
	"sigill/internal/config"
	"sigill/internal/keys"
)

// servedOnce makes an installation that was served for a moment, on free ports.
func servedOnce(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "d")
	s := config.Defaults()
	s.Status, s.Card, s.Ops = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	if _, err := app.Init(t.Context(), app.InitOptions{Dir: dir, Settings: s, Log: slog.New(slog.DiscardHandler), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	serveOnce(t, dir)
	return dir
}

func serveOnce(t *testing.T, dir string) {
	t.Helper()
	a, err := app.Open(t.Context(), dir, app.Options{Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	ctx, stop := context.WithCancel(t.Context())
	if err := a.Serve(ctx, func(app.Addresses) { stop() }); err != nil {
		t.Fatal(err)
	}
}

// TestCloseCommand: a CA is closed for ever, its last lists are demanded only when
// nothing could need another, and doctor says what is closed.
func TestCloseCommand(t *testing.T) {
	dir := servedOnce(t)
	run := func(args ...string) outcome { return program(t, "", append(args, "--dir", dir)...) }
	if got := decoded[closed](t, run("--json", "ca", "close", "card-v1")); got.Closed || got.Valid != 0 || got.Issuer != keys.CardCA {
		t.Errorf("would = %+v", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "closed.json")); err == nil {
		t.Error("telling what would be done did it")
	}
	first := decoded[closed](t, run("--json", "ca", "close", "card-v1", "--yes"))
	if !first.Closed || first.LastCRL != nil {
		t.Errorf("closed = %+v", first)
	}
	if again := decoded[closed](t, run("--json", "ca", "close", "card-v1", "--last-crl", "--yes")); !again.At.Equal(*first.At) || again.LastCRL == nil {
		t.Errorf("last lists demanded = %+v", again)
	}
	for name, c := range map[string]struct {
		out  outcome
		code int
		want string
	}{
		"again":         {run("ca", "close", "card-v1", "--last-crl", "--yes"), 0, "Closed already"},
		"the listener":  {run("ca", "close", "function-v1", "--yes"), 1, "listener"},
		"officers live": {run("ca", "close", "function-v1", "--last-crl"), 1, "neither expired nor revoked"},
		"told":          {run("ca", "close", "function-v1"), 0, "have not expired"},
		"unknown":       {run("ca", "close", "card-v9", "--yes"), 2, "card-v1, function-v1"},
		"doctor":        {run("doctor"), 0, "card-v1 is closed since"},
	} {
		if text := c.out.out + c.out.err; c.out.code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s", name, c.out.code, c.code, c.want, text)
		}
	}
}

// TestSignerCommands: signers are listed, one is named and revoked by the next
// process that serves.
func TestSignerCommands(t *testing.T) {
	dir := servedOnce(t)
	run := func(args ...string) outcome { return program(t, "", append(args, "--dir", dir)...) }
	list := decoded[[]signerLine](t, run("--json", "ca", "signers"))
	if len(list) != 5 || list[0].Revoked != nil {
		t.Fatalf("signers = %+v", list)
	}
	serial := list[0].Serial
	if got := decoded[requested](t, run("--json", "ca", "revoke-signer", serial)); got.Requested || got.Issuer != list[0].Issuer {
		t.Errorf("would = %+v", got)
	}
	serveOnce(t, dir)
	if list := decoded[[]signerLine](t, run("--json", "ca", "signers")); len(list) != 10 || list[0].Revoked != nil {
		t.Errorf("telling what would be done did it: %+v", list)
	}
	if got := decoded[requested](t, run("--json", "ca", "revoke-signer", serial, "--yes")); !got.Requested {
		t.Errorf("requested = %+v", got)
	}
	serveOnce(t, dir)
	revoked := 0
	for _, s := range decoded[[]signerLine](t, run("--json", "ca", "signers")) {
		if s.Revoked != nil {
			revoked++
			if s.Serial != serial {
				t.Errorf("%s is revoked", s.Serial)
			}
		}
	}
	if revoked != 1 {
		t.Errorf("%d are revoked", revoked)
	}
	if o := run("ca", "revoke-signer", serial, "--yes"); o.code != 0 || !strings.Contains(o.out, "revoked already") {
		t.Errorf("again: %+v", o)
	}
	if o := run("ca", "revoke-signer", "400000000000000000000000000000ff", "--yes"); o.code != 1 || !strings.Contains(o.err, "no OCSP signer") {
		t.Errorf("a stranger: %+v", o)
	}
	if o := run("ca", "revoke-signer", "xyz", "--yes"); o.code != 2 {
		t.Errorf("no serial: %+v", o)
	}
}

// TestInitSize: the number of partitions follows the size, or what is said instead.
func TestInitSize(t *testing.T) {
	for _, c := range []struct {
		args []string
		want int
	}{
		{nil, 1},
		{[]string{"--size", "small"}, 1},
		{[]string{"--size", "large"}, 256},
		{[]string{"--size", "large", "--partitions", "3"}, 3},
	} {
		dir := filepath.Join(t.TempDir(), "d")
		if o := program(t, "", append([]string{"init", "--dir", dir}, c.args...)...); o.code != 0 {
			t.Fatalf("%v: %+v", c.args, o)
		}
		cfg, err := config.Load(dir)
		if err != nil || cfg.Partitions != c.want {
			t.Errorf("%v: %+v, %v, want %d", c.args, cfg, err, c.want)
		}
	}
	if o := program(t, "", "init", "--dir", filepath.Join(t.TempDir(), "d"), "--size", "huge"); o.code != 2 {
		t.Errorf("huge: %+v", o)
	}
}
