package witness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/checkpoint"
	"sigill/internal/durable"
)

// Files and directories of a witness.
const (
	keyFile     = "witness.key"
	headsDir    = "heads"    // one note for each log: the largest tree seen
	evidenceDir = "evidence" // what logs signed and should not have
)

// Init makes a witness of that name in dir: a new key, a memory of nothing. It
// overwrites nothing: a key that was there is an error.
func Init(dir, name string) (checkpoint.Witness, error) {
	skey, err := checkpoint.GenerateCosigner(name)
	if err != nil {
		return checkpoint.Witness{}, err
	}
	for _, d := range []string{dir, filepath.Join(dir, headsDir), filepath.Join(dir, evidenceDir)} {
		if err := durable.MkdirAll(d, 0o700); err != nil {
			return checkpoint.Witness{}, err
		}
	}
	lock, err := lockDir(dir)
	if err != nil {
		return checkpoint.Witness{}, err
	}
	defer lock.Close()
	path := filepath.Join(dir, keyFile)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return checkpoint.Witness{}, fmt.Errorf("%s exists already: a witness keeps its key as long as it lives", path)
	}
	if err := durable.WriteFile(path, []byte(skey+"\n"), 0o600); err != nil {
		return checkpoint.Witness{}, err
	}
	return ReadWitness(dir)
}

// ReadWitness returns the witness in dir as others believe it.
func ReadWitness(dir string) (checkpoint.Witness, error) {
	s, err := readKey(dir)
	if err != nil {
		return checkpoint.Witness{}, err
	}
	return s.Witness(), nil
}

// readKey reads the key, which nobody else may read.
func readKey(dir string) (*checkpoint.Cosigner, error) {
	path := filepath.Join(dir, keyFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no witness in %s: make one with sigill witness init", dir)
	} else if err != nil {
		return nil, err
	}
	if mode := info.Mode(); !mode.IsRegular() || mode.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read or written by others than its owner (mode %04o): chmod 600 %s", path, mode.Perm(), path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := checkpoint.NewCosigner(strings.TrimSuffix(string(text), "\n"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// head is what the witness remembers of one log.
type head struct {
	log  *checkpoint.Log
	file string
	// turn is held by who looks and changes: between the look and the change nobody
	// else may cosign, or the memory could go back.
	turn chan struct{}

	checkpoint.Checkpoint        // the largest tree seen; of size 0 if none was
	note                  []byte // as the log signed it; nil if none was
	// sure is false after a write that failed, when the file may hold either.
	sure bool
}

// nameOf is the name of a log in names of files.
func nameOf(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:16])
}

// remember reads what is remembered of a log.
func remember(dir string, log *checkpoint.Log) (*head, error) {
	h := &head{log: log, file: filepath.Join(dir, headsDir, nameOf(log.Origin())+".note"), turn: make(chan struct{}, 1)}
	return h, h.load()
}

// load reads the file. What cannot be read, or is not what the log signed, is an error
// and never an empty memory: a witness that has forgotten would sign another history. So
// is what goes back behind what this process has seen.
func (h *head) load() error {
	text, err := os.ReadFile(h.file)
	if errors.Is(err, fs.ErrNotExist) && h.note == nil {
		h.Checkpoint = checkpoint.Checkpoint{Origin: h.log.Origin(), Root: checkpoint.EmptyRoot()}
		h.note, h.sure = nil, true
		return nil
	} else if err != nil {
		return err
	}
	c, err := h.log.Open(text)
	if err != nil {
		return fmt.Errorf("what is remembered in %s: %w", h.file, err)
	}
	if c.Size < h.Size {
		return fmt.Errorf("%s has gone back from %d to %d", h.file, h.Size, c.Size)
	}
	h.Checkpoint, h.note, h.sure = c, text, true
	return nil
}

// take waits for the head's turn and sees that what is in memory is what is on disk.
func (h *head) take(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if h.sure {
		return nil
	}
	if err := h.load(); err != nil {
		h.give()
		return err
	}
	h.sure = false // it was read, and may not be durable
	return nil
}

func (h *head) give() { <-h.turn }

// grow remembers a larger tree, or the same again where the disk was in doubt, durably.
func (h *head) grow(c checkpoint.Checkpoint, note []byte) error {
	if h.sure && h.note != nil && c.Size == h.Size {
		return nil
	}
	bare, err := h.log.Bare(note)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(h.file, bare, 0o600); err != nil {
		h.sure = false
		return err
	}
	h.Checkpoint, h.note, h.sure = c, bare, true
	return nil
}

// Kinds of evidence. A fork needs the log's key; what is unproved, anybody can make of a
// checkpoint that they have read and a wrong proof.
const (
	kindFork     = "fork"
	kindUnproved = "unproved"
)

// evidence is what is kept of a checkpoint that was refused.
type evidence struct {
	Kind      string      `json:"kind"`
	Log       string      `json:"log"`
	Key       []byte      `json:"key"` // the log's SubjectPublicKeyInfo
	At        time.Time   `json:"at"`
	Kept      string      `json:"kept"`      // the note that this witness cosigned last
	Submitted string      `json:"submitted"` // the note that does not agree
	Proof     []tlog.Hash `json:"proof,omitempty"`
}

// maxEvidence bounds the files of one kind and log. A fork is proved by the first.
const maxEvidence = 100

// keepEvidence writes a refused checkpoint to a file, once, and returns its name; "" if
// there are enough.
func keepEvidence(dir string, e evidence, c checkpoint.Checkpoint) (string, error) {
	dir = filepath.Join(dir, evidenceDir)
	prefix := e.Kind + "-" + nameOf(e.Log) + "-"
	file := filepath.Join(dir, fmt.Sprintf("%s%d-%s.json", prefix, c.Size, hex.EncodeToString(c.Root[:8])))
	if _, err := os.Lstat(file); err == nil {
		return file, nil
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	n := 0
	for _, entry := range all {
		if strings.HasPrefix(entry.Name(), prefix) {
			n++
		}
	}
	if n >= maxEvidence {
		return "", nil
	}
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return "", err
	}
	return file, durable.WriteFile(file, append(text, '\n'), 0o600)
}
