package durable

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// names lists dir, hidden files included.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteFileReplaces(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0.crl")
	for _, test := range []struct {
		data string
		mode fs.FileMode
	}{
		{"first", 0o644},
		{"second, longer than the first", 0o600},
		{"3", 0o666}, // a umask would take bits from this
		{"", 0o644},
	} {
		if err := WriteFile(path, []byte(test.data), test.mode); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != test.data {
			t.Errorf("content = %q, want %q", got, test.data)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != test.mode {
			t.Errorf("mode = %v, want %v", info.Mode().Perm(), test.mode)
		}
		if got := names(t, dir); len(got) != 1 {
			t.Errorf("the directory holds %q, want the file alone", got)
		}
	}
}

// An open reader keeps the bytes that it opened: the file is replaced and never
// written over.
func TestWriteFileLeavesOpenReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := WriteFile(path, []byte("new!"), 0o644); err != nil {
		t.Fatal(err)
	}
	var got [8]byte
	n, _ := f.Read(got[:])
	if string(got[:n]) != "old" {
		t.Errorf("the open file reads %q, want %q", got[:n], "old")
	}
}

func TestWriteFileErrorKeepsTheOld(t *testing.T) {
	dir := t.TempDir()
	if err := WriteFile(filepath.Join(dir, "missing", "f"), nil, 0o644); err == nil {
		t.Error("a missing directory is no error")
	}
	// A directory under the target's name makes the rename fail.
	target := filepath.Join(dir, "f")
	if err := os.MkdirAll(filepath.Join(target, "child"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(target, []byte("x"), 0o644); err == nil {
		t.Error("a directory was replaced by a file")
	}
	if got := names(t, dir); len(got) != 1 || got[0] != "f" {
		t.Errorf("after the error the directory holds %q, want only what was there", got)
	}
}

// Whatever the interleaving, a reader sees one of the versions whole.
func TestWriteFileConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	versions := [][]byte{bytes.Repeat([]byte("a"), 70000), bytes.Repeat([]byte("b"), 50)}
	if err := WriteFile(path, versions[0], 0o644); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, v := range versions {
		wg.Go(func() {
			for range 20 {
				if err := WriteFile(path, v, 0o644); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, versions[0]) && !bytes.Equal(got, versions[1]) {
			t.Fatalf("read %d bytes that nobody wrote", len(got))
		}
	}
	wg.Wait()
}

func TestMkdirAll(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "crl", "person-hsa-id-3-v1")
	for range 2 {
		if err := MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Errorf("stat = %v, %v", info, err)
	}
	file := filepath.Join(root, "f")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		if err := MkdirAll(path, 0o755); err == nil {
			t.Errorf("MkdirAll(%q) = nil though a file is in the way", path)
		}
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"0.crl", ".0.crl.123.tmp", "notes.tmp", ".hidden"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	got := names(t, dir)
	if want := []string{".hidden", "0.crl", "notes.tmp"}; len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("left: %q, want %q", got, want)
	}
	if err := Sweep(filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing directory is no error")
	}
}
