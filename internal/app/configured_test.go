package app

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sigill/internal/audit"
	"sigill/internal/config"
)

// recorded returns the documents that the chain of acts holds, in its order, and at
// which place of it each is and the first certificate.
func recorded(t *testing.T, dir string) (names, documents []string, places []int, certificate int) {
	t.Helper()
	certificate = -1
	for i, r := range events(t, dir) {
		if r.Act == audit.IntentRecorded && certificate < 0 {
			certificate = i
		}
		if r.Act != audit.ConfigurationLoaded {
			continue
		}
		b, err := audit.ParseBody(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for j, f := range b.Public[2:] {
			if f.Name != "doc-"+strconv.Itoa(j+1) {
				t.Fatalf("field %s at %d", f.Name, j)
			}
			text += f.Value
		}
		names, documents, places = append(names, b.Public[0].Value), append(documents, text), append(places, i)
	}
	return
}

// The configuration and each profile are in the chain before the first certificate,
// again when they have changed, and again when somebody goes back.
func TestConfigurationIsRecorded(t *testing.T) {
	dir := make1(t, "")
	serve := func() { t.Helper(); serving(t, dir, func(Addresses) {}) }
	serve()
	names, documents, places, certificate := recorded(t, dir)
	files, err := filepath.Glob(filepath.Join(dir, "profiles", "*.yaml"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d profiles, %v", len(files), err)
	}
	if len(names) != len(files)+1 {
		t.Fatalf("recorded are %q", names)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.Index(names, "profiles/"+filepath.Base(file))
		if i < 0 || documents[i] != string(text) {
			t.Errorf("%s is not recorded as it is", file)
		}
	}
	if i := slices.Index(names, config.File); i < 0 {
		t.Error("the configuration is not recorded")
	} else if c, err := config.Parse([]byte(documents[i])); err != nil || c.Partitions != 2 {
		t.Errorf("the configuration is recorded as\n%s", documents[i])
	}
	if last := slices.Max(places); certificate < last {
		t.Errorf("the first certificate is act %d, and configuration act %d", certificate, last)
	}

	for _, r := range events(t, dir) {
		if r.Act == audit.Initialised && !strings.Contains(string(r.Body), `{"name":"environment","value":"test"}`) {
			t.Errorf("the beginning is told as %s", r.Body)
		}
	}

	serve()
	if again, _, _, _ := recorded(t, dir); len(again) != len(names) {
		t.Errorf("a start with what there was recorded %q", again[len(names):])
	}
	file := filepath.Join(dir, "profiles", "server.yaml")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for n, text := range [][]byte{append(bytes.Clone(old), "# å\n"...), old, append(bytes.Clone(old), "# ö\n"...)} {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		serve()
		now, docs, _, _ := recorded(t, dir)
		if len(now) != len(names)+n+1 || now[len(now)-1] != "profiles/server.yaml" || docs[len(docs)-1] != string(text) {
			t.Fatalf("change %d: recorded are %q", n+1, now[len(names):])
		}
	}
}

// Processes that start together on one database record a document once.
func TestConfigurationIsRecordedOnce(t *testing.T) {
	a, err := open(t, make1(t, ""), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for n, text := range []string{"one", "two", "three", "one"} {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := a.recordDocument(context.Background(), "test", []byte(text)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got, _, err := a.lastDocument(t.Context(), "test"); err != nil || got != int64(n+1) {
			t.Fatalf("%d documents are recorded, want %d, %v", got, n+1, err)
		}
	}
}

func TestPartsOfADocument(t *testing.T) {
	for _, text := range []string{"a", strings.Repeat("a", audit.MaxValue), strings.Repeat("å", audit.MaxValue), "a" + strings.Repeat("\U0001F512", audit.MaxValue),
		strings.Repeat("a", audit.MaxDocument*audit.MaxValue)} {
		fields, err := parts([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		whole := ""
		for i, f := range fields {
			if f.Name != "doc-"+strconv.Itoa(i+1) || f.Value == "" || len(f.Value) > audit.MaxValue {
				t.Fatalf("part %s of %d octets", f.Name, len(f.Value))
			}
			whole += f.Value
		}
		if whole != text {
			t.Errorf("%d octets came back as %d", len(text), len(whole))
		}
	}
	for name, text := range map[string]string{"too long": strings.Repeat("a", audit.MaxDocument*audit.MaxValue+1), "not UTF-8": "\xff"} {
		if _, err := parts([]byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
