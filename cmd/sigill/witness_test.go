package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/checkpoint"
	"sigill/internal/witness"
)

// grownLog is a log that signs trees of records "0", "1", ….
type grownLog struct {
	*checkpoint.Log
	key    *ecdsa.PrivateKey
	hashes []tlog.Hash
}

func (l *grownLog) ReadHashes(at []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range at {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

func (l *grownLog) note(t *testing.T, size int64) []byte {
	t.Helper()
	root, err := tlog.TreeHash(size, l)
	if err != nil {
		t.Fatal(err)
	}
	text, err := l.Sign(l.key, size, root, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (l *grownLog) prove(_ context.Context, old, new int64) ([]tlog.Hash, error) {
	return tlog.ProveTree(new, old, l)
}

func newGrownLog(t *testing.T, origin string) (*grownLog, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := &grownLog{key: key}
	if l.Log, err = checkpoint.NewLog(origin, key.Public()); err != nil {
		t.Fatal(err)
	}
	for i := range int64(200) {
		more, err := tlog.StoredHashes(i, fmt.Append(nil, i), l)
		if err != nil {
			t.Fatal(err)
		}
		l.hashes = append(l.hashes, more...)
	}
	return l, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: l.SPKI()})
}

// served is a witness that runs as a process of its own.
type served struct {
	*exec.Cmd
	client *witness.Client
	errors bytes.Buffer
}

func serveWitness(t *testing.T, args ...string) *served {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &served{Cmd: exec.CommandContext(t.Context(), self, append([]string{"--json", "witness", "serve", "--listen", "127.0.0.1:0"}, args...)...)}
	s.Env = append(os.Environ(), asProgram+"=1")
	s.Stderr = &s.errors
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		s.Wait()
		t.Fatalf("%v: %s", err, &s.errors)
	}
	var at struct{ Address, Name, Key string }
	if err := json.Unmarshal(line, &at); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	key, err := checkpoint.NewWitness(at.Key)
	if err != nil || key.Name() != at.Name {
		t.Fatalf("%s: %v", line, err)
	}
	if s.client, err = witness.NewClient(at.Address, key); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestWitnessIsKilled: the program, killed and started again, knows what it has signed.
func TestWitnessIsKilled(t *testing.T) {
	dir := t.TempDir()
	acts, actsKey := newGrownLog(t, "ca.example/log/acts")
	certificates, certificatesKey := newGrownLog(t, "ca.example/log/certificates")
	for name, text := range map[string][]byte{"acts.pem": actsKey, "certificates.pem": certificatesKey,
		"logs": []byte("# ours\n\nca.example/log/certificates certificates.pem # beside this file\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	home := filepath.Join(dir, "witness")
	made := decoded[madeWitness](t, program(t, "", "--json", "witness", "init", "--dir", home, "--name", "w.example"))
	if again := program(t, "", "witness", "init", "--dir", home, "--name", "w.example"); again.code != exitFailed || !strings.Contains(again.err, "exists already") {
		t.Errorf("made again: %+v", again)
	}
	if shown := program(t, "", "witness", "show", "--dir", home); shown.out != made.Key+"\n" {
		t.Errorf("shown: %+v, and made was %s", shown, made.Key)
	}
	args := []string{"--dir", home, "--log", "ca.example/log/acts=" + filepath.Join(dir, "acts.pem"), "--logs", filepath.Join(dir, "logs")}

	s := serveWitness(t, args...)
	if s.client.Witness().String() != made.Key {
		t.Errorf("%s serves, and %s was made", s.client.Witness(), made.Key)
	}
	for _, l := range []*grownLog{acts, certificates} {
		if _, err := s.client.Add(t.Context(), l.Log, 0, nil, l.note(t, 7)); err != nil {
			t.Fatal(err)
		}
	}
	if other := program(t, "", append([]string{"witness", "serve"}, args...)...); other.code != exitFailed || !strings.Contains(other.err, "in use") {
		t.Errorf("a second one: %+v", other)
	}
	if err := s.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.Wait()

	s = serveWitness(t, args...)
	if _, err := s.client.Add(t.Context(), acts.Log, 0, nil, acts.note(t, 5)); err == nil || !strings.Contains(err.Error(), "cosigned a tree of 7") {
		t.Errorf("it has forgotten: %v", err)
	}
	note := acts.note(t, 12)
	lines, err := s.client.Submit(t.Context(), acts.Log, 0, 0, note, acts.prove)
	if err != nil {
		t.Fatal(err)
	}
	if _, seen, err := acts.Witnessed(append(note, lines...), []checkpoint.Witness{s.client.Witness()}); err != nil || len(seen) != 1 {
		t.Errorf("%v, %v", seen, err)
	}
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.Wait(); err != nil {
		t.Errorf("ended with %v: %s", err, &s.errors)
	}
	for line := range strings.Lines(s.errors.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("the log is not JSON: %s", line)
		}
	}
}

// TestWitnessNeverForgetsWhatItSigned kills the program while it cosigns one tree after
// the other. Started again it is never behind a cosignature that somebody has got.
func TestWitnessNeverForgetsWhatItSigned(t *testing.T) {
	dir := t.TempDir()
	l, key := newGrownLog(t, "ca.example/log/acts")
	if err := os.WriteFile(filepath.Join(dir, "acts.pem"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "witness")
	decoded[madeWitness](t, program(t, "", "--json", "witness", "init", "--dir", home, "--name", "w.example"))
	signed := int64(0)
	for round := range 5 {
		s := serveWitness(t, "--dir", home, "--log", "ca.example/log/acts="+filepath.Join(dir, "acts.pem"))
		at := int64(0)
		_, err := s.client.Add(t.Context(), l.Log, 0, nil, l.note(t, 1))
		if conflict, ok := errors.AsType[*witness.ConflictError](err); ok {
			at = conflict.Size
		} else if err == nil {
			at = 1
		} else {
			t.Fatal(err)
		}
		if at < signed || at > signed+1 {
			t.Fatalf("round %d: the witness is at %d, and %d was signed", round, at, signed)
		}
		told := make(chan int64)
		go func() {
			defer close(told)
			for size := at + 1; size <= 200; size++ {
				if _, err := s.client.Submit(t.Context(), l.Log, size-1, 0, l.note(t, size), l.prove); err != nil {
					return // killed
				}
				told <- size
			}
		}()
		for size := range told {
			signed = size
			if size == at+int64(3+5*round) {
				if err := s.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.Wait()
	}
	if signed < 5*3 || signed == 200 {
		t.Errorf("%d trees were signed", signed)
	}
}

func TestWitnessWrongUse(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "logs")
	home := filepath.Join(dir, "witness")
	decoded[madeWitness](t, program(t, "", "--json", "witness", "init", "--dir", home, "--name", "w.example"))
	for _, test := range []struct {
		list string
		args []string
		code int
		want string
	}{
		{"", nil, exitUsage, "--log"},
		{"# none\n", []string{"--logs", file}, exitUsage, "--log"},
		{"a b c\n", []string{"--logs", file}, exitFailed, "line 1"},
		{"\na/log\n", []string{"--logs", file}, exitFailed, "line 2"},
		{"a/log x\na/log y\n", []string{"--logs", file}, exitFailed, "twice"},
		{"a/log nothing.pem\n", []string{"--logs", file}, exitFailed, "nothing.pem"},
		{"a/log logs\n", []string{"--logs", file}, exitFailed, "PEM"},
	} {
		if err := os.WriteFile(file, []byte(test.list), 0o600); err != nil {
			t.Fatal(err)
		}
		o := program(t, "", append([]string{"witness", "serve", "--dir", home}, test.args...)...)
		if o.code != test.code || !strings.Contains(o.err, test.want) || o.out != "" {
			t.Errorf("%q: %+v", test.list, o)
		}
	}
	if o := program(t, "", "witness", "init", "--dir", filepath.Join(dir, "other"), "--name", "a b"); o.code != exitFailed || !strings.Contains(o.err, "no spaces") {
		t.Errorf("%+v", o)
	}
	if _, err := os.Stat(filepath.Join(dir, "other")); !os.IsNotExist(err) {
		t.Errorf("something was made: %v", err)
	}
}
