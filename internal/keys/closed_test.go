package keys

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigill/ca"
)

// TestCloseIssuer: a CA is closed once, its last lists are demanded once, and
// neither is forgotten.
func TestCloseIssuer(t *testing.T) {
	h := create(t)
	if all, err := h.Closings(); err != nil || len(all) != 0 {
		t.Fatalf("closings of a new hierarchy = %v, %v", all, err)
	}
	first := Closing{Issuer: PersonHSA2, At: at, By: "anna"}
	if _, err := h.CloseIssuer(first); err != nil {
		t.Fatal(err)
	}
	if got, err := h.CloseIssuer(Closing{Issuer: PersonHSA2, At: at.Add(day), By: "bo"}); !errors.Is(err, ErrClosed) || got != first {
		t.Errorf("again = %+v, %v", got, err)
	}
	if _, err := h.CloseIssuer(Closing{Issuer: CardCA, At: at.Add(time.Hour), By: "bo"}); err != nil {
		t.Fatal(err)
	}
	demanded := first
	demanded.LastCRL = at.Add(2 * day)
	if got, err := h.CloseIssuer(Closing{Issuer: PersonHSA2, At: at.Add(2 * day), LastCRL: at.Add(2 * day), By: "bo"}); err != nil || got != demanded {
		t.Errorf("last lists demanded = %+v, %v", got, err)
	}
	if got, err := h.CloseIssuer(Closing{Issuer: PersonHSA2, At: at.Add(3 * day), LastCRL: at.Add(3 * day)}); !errors.Is(err, ErrClosed) || got != demanded {
		t.Errorf("demanded again = %+v, %v", got, err)
	}
	all, err := h.Closings()
	if err != nil || len(all) != 2 || all[PersonHSA2] != demanded || all[CardCA].By != "bo" {
		t.Errorf("closings = %+v, %v", all, err)
	}
	for _, id := range []Closing{{Issuer: FunctionCA, At: at}, {Issuer: RootID, At: at}, {Issuer: "nobody", At: at}} {
		if _, err := h.CloseIssuer(id); err == nil {
			t.Errorf("%s was closed", id.Issuer)
		}
	}
}

// TestCloseAtOnce: of commands that close different CAs at the same time, none is undone.
func TestCloseAtOnce(t *testing.T) {
	h := create(t)
	all := []ca.IssuerID{PersonHSA2, PersonHSA3, CardCA}
	for round := range 20 {
		if err := os.RemoveAll(h.closedPath()); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for _, id := range all {
			wg.Go(func() {
				if _, err := h.CloseIssuer(Closing{Issuer: id, At: at, By: "anna"}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got, err := h.Closings(); err != nil || len(got) != len(all) {
			t.Fatalf("round %d: %d of %d are closed: %v", round, len(got), len(all), err)
		}
	}
}

func TestClosingsAreReadStrictly(t *testing.T) {
	h := create(t)
	for name, text := range map[string]string{
		"misspelt":     `{"closd": [{"issuer": "card-v1", "at": "2026-01-01T00:00:00Z", "by": "x"}]}`,
		"unknown":      `{"closed": [{"issuer": "card-v9", "at": "2026-01-01T00:00:00Z", "by": "x"}]}`,
		"without time": `{"closed": [{"issuer": "card-v1", "by": "x"}]}`,
		"twice":        `{"closed": [{"issuer": "card-v1", "at": "2026-01-01T00:00:00Z", "by": "x"}, {"issuer": "card-v1", "at": "2026-01-01T00:00:00Z", "by": "x"}]}`,
		"empty":        ``,
	} {
		if err := os.WriteFile(filepath.Join(h.Dir, closedFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if all, err := h.Closings(); err == nil {
			t.Errorf("%s: %v", name, all)
		}
		if _, err := h.CloseIssuer(Closing{Issuer: CardCA, At: at}); err == nil || strings.Contains(err.Error(), "closed already") {
			t.Errorf("%s: written over: %v", name, err)
		}
	}
}

func FuzzParseClosings(f *testing.F) {
	h := &Hierarchy{Issuers: []CA{{ID: CardCA}}}
	f.Add([]byte(`{"closed": [{"issuer": "card-v1", "at": "2026-01-01T00:00:00Z", "by": "x"}]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := h.parseClosings(text)
		for id, c := range all {
			if err != nil || id != CardCA || c.Issuer != id || c.At.IsZero() {
				t.Errorf("%v: %+v, %v", id, c, err)
			}
		}
	})
}
