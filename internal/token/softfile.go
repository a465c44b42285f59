package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"sigill/internal/durable"
	"sigill/policy"
)

const (
	softFormat = "sigill-soft-card-v1"
	// softExtension is what a directory is searched for.
	softExtension = ".card"
	maxSoftFile   = 1 << 20
)

// image is the content of a soft card.
type image struct {
	Format  string              `json:"format"`
	Note    string              `json:"note"`
	Number  string              `json:"number"`
	Product string              `json:"product,omitempty"`
	Label   string              `json:"label,omitempty"`
	Serial  string              `json:"serial"`
	PINs    map[string]*pinArea `json:"pins,omitempty"` // "1", "2"; none: a card in memory, keys unsealed
	Objects []*softObject       `json:"objects"`
}

// softObject is a key pair with or without its certificate.
type softObject struct {
	ID          []byte      `json:"id"`
	Slot        policy.Slot `json:"slot"`
	Label       string      `json:"label"`
	Public      []byte      `json:"public"` // PKIX
	Key         []byte      `json:"key"`    // PKCS #8, sealed under its PIN
	Certificate []byte      `json:"certificate,omitempty"`
}

func (im *image) find(id []byte) *softObject {
	for _, o := range im.Objects {
		if bytes.Equal(o.ID, id) {
			return o
		}
	}
	return nil
}

// softStore keeps an image: in a file, or in memory if path is empty. Several
// processes may have one file open; each change reads the file anew under a
// lock on its directory.
type softStore struct {
	path string
	mu   sync.Mutex
	mem  image // of a card in memory
}

// view calls fn with the image as it is now; fn must not change or keep it.
func (s *softStore) view(fn func(*image) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path == "" {
		return fn(&s.mem)
	}
	im, err := readImage(s.path)
	if err != nil {
		return err
	}
	return fn(im)
}

// update calls fn and keeps what it made of the image if it returns nil, durably
// once update has returned.
func (s *softStore) update(fn func(*image) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path == "" {
		return fn(&s.mem)
	}
	unlock, err := durable.LockDir(filepath.Dir(s.path))
	if err != nil {
		return fmt.Errorf("soft card: %w", err)
	}
	defer unlock()
	im, err := readImage(s.path)
	if err != nil {
		return err
	}
	if err := fn(im); err != nil {
		return err
	}
	return writeImage(s.path, im)
}

// readImage refuses a file that others than its owner may read: who reads it
// can try all PINs.
func readImage(path string) (*image, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("soft card %s: %w", path, ErrNoCard)
	}
	if err != nil {
		return nil, fmt.Errorf("soft card: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("soft card: %w", err)
	}
	if err := checkMode(path, info.Mode()); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSoftFile+1))
	if err != nil {
		return nil, fmt.Errorf("soft card: %w", err)
	}
	im, err := parseImage(b)
	if err != nil {
		return nil, fmt.Errorf("soft card %s: %w", path, err)
	}
	return im, nil
}

func parseImage(b []byte) (*image, error) {
	if len(b) > maxSoftFile {
		return nil, errors.New("larger than 1 MiB")
	}
	var im image
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&im); err != nil {
		return nil, err
	}
	if im.Format != softFormat || im.PINs["1"] == nil {
		return nil, fmt.Errorf("not a card file of format %s", softFormat)
	}
	for name, area := range im.PINs {
		if area == nil || area.Left < 0 || area.Left > maxTries {
			return nil, fmt.Errorf("PIN %s: malformed", name)
		}
	}
	for _, o := range im.Objects {
		if o == nil || len(o.ID) == 0 {
			return nil, errors.New("object without id")
		}
	}
	return &im, nil
}

// writeImage replaces path atomically and durably: a card that loses its power
// in the middle has the old content or the new one.
func writeImage(path string, im *image) error {
	b, err := json.MarshalIndent(im, "", " ")
	if err != nil {
		return fmt.Errorf("soft card: %w", err)
	}
	if err := durable.WriteFile(path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("soft card: %w", err)
	}
	return nil
}

// softPath resolves a directory to the one card file in it.
func softPath(path string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("soft card %s: %w", path, ErrNoCard)
	}
	if err != nil {
		return "", fmt.Errorf("soft card: %w", err)
	}
	if !info.IsDir() {
		return path, nil
	}
	found, err := filepath.Glob(filepath.Join(path, "*"+softExtension))
	if err != nil {
		return "", fmt.Errorf("soft card: %w", err)
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("soft card: no file *%s in %s: %w", softExtension, path, ErrNoCard)
	case 1:
		return found[0], nil
	default:
		return "", fmt.Errorf("soft card: %d files *%s in %s: name one of them", len(found), softExtension, path)
	}
}
