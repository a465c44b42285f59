package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sigill/ca"
	"sigill/internal/durable"
	"sigill/internal/strictjson"
)

// closedFile says which issuing CAs were closed. It is a file beside the index and
// no row: a database that was restored from an older copy must not open a CA again.
const closedFile = "closed.json"

// ErrClosed is returned for an issuing CA that is closed already.
var ErrClosed = errors.New("closed already")

// Closing says that an issuing CA issues nothing any more.
type Closing struct {
	Issuer ca.IssuerID `json:"issuer"`
	At     time.Time   `json:"at"`
	By     string      `json:"by"` // account of who closed it
	// LastCRL is when its last CRLs were demanded as soon as none of its
	// certificates is both valid and not revoked; zero: when all have expired.
	LastCRL time.Time `json:"lastCrl,omitzero"`
}

type closings struct {
	Closed []Closing `json:"closed"`
}

// Closings returns what was closed, by issuing CA. It is read anew each time: a
// command writes it while another process serves.
func (h *Hierarchy) Closings() (map[ca.IssuerID]Closing, error) {
	text, err := os.ReadFile(h.closedPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return h.parseClosings(text)
}

// parseClosings reads the file strictly: what is meant to stop issuing must not
// be passed over because it is misspelt.
func (h *Hierarchy) parseClosings(text []byte) (map[ca.IssuerID]Closing, error) {
	var in closings
	if err := strictjson.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("%s: %w", closedFile, err)
	}
	out := map[ca.IssuerID]Closing{}
	for _, c := range in.Closed {
		_, known := h.Issuer(c.Issuer)
		_, twice := out[c.Issuer]
		if !known || twice || c.At.IsZero() {
			return nil, fmt.Errorf("%s: %q is no issuing CA of this hierarchy, stands there twice, or without a time", closedFile, c.Issuer)
		}
		out[c.Issuer] = c
	}
	return out, nil
}

func (h *Hierarchy) closedPath() string { return filepath.Join(h.Dir, closedFile) }

// CloseIssuer closes an issuing CA for ever, or, if it is closed, demands its last
// CRLs; what stands there keeps its time. It returns what stands there then, and
// [ErrClosed] if nothing had to change.
func (h *Hierarchy) CloseIssuer(c Closing) (Closing, error) {
	if _, ok := h.Issuer(c.Issuer); !ok {
		return Closing{}, fmt.Errorf("no issuing CA %q in %s", c.Issuer, h.Dir)
	}
	// The listener for cards has its certificate from it, and there is no other.
	if c.Issuer == FunctionCA {
		return Closing{}, fmt.Errorf("%s certifies the service's own listener: without it nobody could revoke anything", c.Issuer)
	}
	// Another command must not write in between: a CA would be open again.
	unlock, err := durable.LockDir(h.Dir)
	if err != nil {
		return Closing{}, err
	}
	defer unlock()
	all, err := h.Closings()
	if err != nil {
		return Closing{}, err
	}
	c.At, c.LastCRL = c.At.UTC().Truncate(time.Second), c.LastCRL.UTC().Truncate(time.Second)
	if old, closed := all[c.Issuer]; closed {
		if c.LastCRL.IsZero() || !old.LastCRL.IsZero() {
			return old, ErrClosed
		}
		old.LastCRL = c.LastCRL
		c = old
	}
	if all == nil {
		all = map[ca.IssuerID]Closing{}
	}
	all[c.Issuer] = c
	out := closings{}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		out.Closed = append(out.Closed, all[id])
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return Closing{}, err
	}
	return c, durable.WriteFile(h.closedPath(), append(text, '\n'), 0o644)
}
