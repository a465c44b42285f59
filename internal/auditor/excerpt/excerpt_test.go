package excerpt_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/internal/auditor"
	"sigill/internal/auditor/auditortest"
	"sigill/internal/auditor/excerpt"
)

func scene(t *testing.T) *auditortest.Scene {
	s := auditortest.Founded(t)
	for range 120 {
		s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
	}
	s.Sign()
	return s
}

func TestExportAndVerify(t *testing.T) {
	s := scene(t)
	s.Bodies[301] = nil // erased
	log := s.Logs[auditor.Acts]
	for _, c := range []struct{ from, to int64 }{{0, 1}, {0, log.Size}, {1, 2}, {255, 257}, {256, 512}, {300, 303}, {log.Size - 1, log.Size}, {500, log.Size}} {
		dir := filepath.Join(t.TempDir(), "excerpt")
		sum, err := excerpt.Export(t.Context(), auditortest.Source{Scene: s}, log.Log, excerpt.Bound{Index: c.from}, excerpt.Bound{Index: c.to}, dir)
		if err != nil {
			t.Fatalf("%d to %d: %v", c.from, c.to, err)
		}
		erased := int64(0)
		if c.from <= 301 && 301 < c.to {
			erased = 1
		}
		if sum.From != c.from || sum.To != c.to || sum.Erased != erased || sum.Size != log.Size || sum.First.IsZero() || sum.First.After(sum.Last) {
			t.Errorf("%d to %d: %+v", c.from, c.to, sum)
		}
	}
}

func TestExportByTime(t *testing.T) {
	s := auditortest.Founded(t)
	before := int64(len(s.Bodies))
	s.Tick(time.Hour)
	from := s.Now
	for range 100 {
		s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
	}
	s.Tick(time.Second)
	to, after := s.Now, int64(len(s.Bodies))
	s.Tick(time.Hour)
	s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
	s.Sign()
	for i := range before {
		s.Bodies[i] = nil // what is erased has no time
	}
	dir := filepath.Join(t.TempDir(), "excerpt")
	sum, err := excerpt.Export(t.Context(), auditortest.Source{Scene: s}, s.Logs[auditor.Acts].Log, excerpt.Bound{Time: from}, excerpt.Bound{Time: to}, dir)
	if err != nil || sum.From > before || sum.To != after {
		t.Errorf("%+v, %v; want %d to %d", sum, err, before, after)
	}
	if _, err := excerpt.Export(t.Context(), auditortest.Source{Scene: s}, s.Logs[auditor.Acts].Log, excerpt.Bound{Time: s.Now.Add(time.Hour)},
		excerpt.Bound{Time: s.Now.Add(2 * time.Hour)}, filepath.Join(t.TempDir(), "excerpt")); err == nil {
		t.Error("a period without acts was exported")
	}
}

func TestVerifyExportRefuses(t *testing.T) {
	s := scene(t)
	log := s.Logs[auditor.Acts].Log
	edit := func(name string, change func([]byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := change(bytes.Clone(text))
			if bytes.Equal(changed, text) {
				t.Fatal("nothing was changed")
			}
			if err := os.WriteFile(path, changed, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	lines := func(change func([][]byte) [][]byte) func(t *testing.T, dir string) {
		return edit("acts.jsonl", func(text []byte) []byte {
			all := change(bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")))
			return append(bytes.Join(all, []byte("\n")), '\n')
		})
	}
	for name, tamper := range map[string]func(*testing.T, string){
		"act changed":  edit("acts.jsonl", func(b []byte) []byte { return bytes.Replace(b, []byte("ordinary"), []byte("renewals"), 1) }),
		"act left out": lines(func(l [][]byte) [][]byte { return l[1:] }),
		"act put in":   lines(func(l [][]byte) [][]byte { return append(l, l[0]) }),
		"acts swapped": lines(func(l [][]byte) [][]byte { l[0], l[1] = l[1], l[0]; return l }),
		"erased instead": lines(func(l [][]byte) [][]byte {
			l[0] = []byte(`{"erased":"` + strings.Repeat("00", 32) + `"}`)
			return l
		}),
		"shifted":    edit("excerpt.json", func(b []byte) []byte { return bytes.Replace(b, []byte(`"from": 300`), []byte(`"from": 301`), 1) }),
		"hash":       edit("excerpt.json", func(b []byte) []byte { i := bytes.LastIndexByte(b, '0'); b[i] = '1'; return b }),
		"checkpoint": edit("checkpoint", func(b []byte) []byte { return bytes.Replace(b, []byte("\n"), []byte("x\n"), 1) }),
		"no acts":    func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "acts.jsonl")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "excerpt")
			if _, err := excerpt.Export(t.Context(), auditortest.Source{Scene: s}, log, excerpt.Bound{Index: 300}, excerpt.Bound{Index: 340}, dir); err != nil {
				t.Fatal(err)
			}
			if _, err := excerpt.Verify(dir, log, nil); err != nil {
				t.Fatal(err)
			}
			tamper(t, dir)
			if sum, err := excerpt.Verify(dir, log, nil); err == nil {
				t.Errorf("verified: %+v", sum)
			}
		})
	}
	dir := filepath.Join(t.TempDir(), "excerpt")
	if _, err := excerpt.Export(t.Context(), auditortest.Source{Scene: s}, log, excerpt.Bound{Index: 300}, excerpt.Bound{Index: 340}, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := excerpt.Verify(dir, auditortest.New(t).Logs[auditor.Acts].Log, nil); err == nil {
		t.Error("verified with another log's key")
	}
}

// A service that shows other acts than it has signed gets no excerpt out of it.
func TestExportOfWhatWasNotSigned(t *testing.T) {
	s := scene(t)
	s.Bodies[310] = s.Bodies[309]
	if sum, err := excerpt.Export(t.Context(), auditortest.Source{Scene: s}, s.Logs[auditor.Acts].Log, excerpt.Bound{Index: 300}, excerpt.Bound{Index: 340},
		filepath.Join(t.TempDir(), "excerpt")); err == nil {
		t.Errorf("exported: %+v", sum)
	}
}
