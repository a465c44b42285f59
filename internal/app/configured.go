package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"sigill/internal/audit"
	"sigill/internal/config"
	"sigill/internal/mode"
	"sigill/orders/issue"
)

// recordConfiguration makes an event of the configuration, and of each profile, that
// is not the one of its name that was recorded last: what an auditor derives a
// certificate from is what was in force when it was made, and not what somebody says
// later. It is called before the first certificate of a start. Going back to an older
// one is recorded again.
func (a *App) recordConfiguration(ctx context.Context) error {
	own, err := a.Config.Recorded()
	if err != nil {
		return err
	}
	documents := map[string][]byte{config.File: own}
	for name, text := range a.profiles {
		documents["profiles/"+string(name)+".yaml"] = text
	}
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		if err := a.recordDocument(ctx, name, documents[name]); err != nil {
			return fmt.Errorf("recording %s: %w", name, err)
		}
	}
	return nil
}

// recordDocument records a document if it is another than the last of its name.
func (a *App) recordDocument(ctx context.Context, name string, text []byte) error {
	sum := sha256.Sum256(text)
	fields, err := parts(text)
	if err != nil {
		return err
	}
	fields = append([]audit.Field{issue.F("name", name), issue.F("sha256", hex.EncodeToString(sum[:]))}, fields...)
	for {
		last, is, err := a.lastDocument(ctx, name)
		if err != nil || is == hex.EncodeToString(sum[:]) {
			return err
		}
		e := issue.NewEvent(audit.ConfigurationLoaded, a.now(), "system", fields...)
		e.ID = documentID(name, last+1)
		err = mode.Watch(a.Modes, a.DB.Issue()).Update(ctx, func(tx *issue.Tx) error { return tx.Events.Append(e) })
		if !errors.Is(err, audit.ErrTaken) {
			return err
		}
		// Another process that starts was first: it may have recorded the same.
	}
}

// documentID names the n-th document of a name, so that the last one is found without
// a table of its own.
func documentID(name string, n int64) string {
	return audit.EventID(audit.ConfigurationLoaded, name, strconv.FormatInt(n, 10))
}

// lastDocument returns how many documents of a name were recorded and the SHA-256 of
// the last. They are numbered without gaps, so that a search in halves finds it.
func (a *App) lastDocument(ctx context.Context, name string) (n int64, sum string, err error) {
	err = a.DB.Audit().View(ctx, func(tx *audit.Tx) error {
		n, sum = 0, ""
		there := func(i int64) (bool, error) {
			_, _, err := tx.Event(documentID(name, i))
			if errors.Is(err, audit.ErrNotFound) {
				return false, nil
			}
			return err == nil, err
		}
		above := int64(1)
		for ; ; above *= 2 {
			if ok, err := there(above); err != nil {
				return err
			} else if !ok {
				break
			}
			n = above
		}
		for above-n > 1 {
			middle := n + (above-n)/2
			ok, err := there(middle)
			if err != nil {
				return err
			}
			if ok {
				n = middle
			} else {
				above = middle
			}
		}
		if n == 0 {
			return nil
		}
		r, _, err := tx.Event(documentID(name, n))
		if err != nil {
			return err
		}
		// One that cannot be read is not the one that is recorded now.
		if b, err := audit.ParseBody(r.Body); err == nil {
			for _, f := range b.Public {
				if f.Name == "sha256" {
					sum = f.Value
				}
			}
		}
		return nil
	})
	return n, sum, err
}

// parts divides a text into fields that an event takes.
func parts(text []byte) ([]audit.Field, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not UTF-8")
	}
	var out []audit.Field
	for len(text) > 0 {
		end := min(len(text), audit.MaxValue)
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end--
		}
		if len(out) == audit.MaxDocument {
			return nil, fmt.Errorf("it has more than %d octets", audit.MaxDocument*audit.MaxValue)
		}
		out = append(out, audit.Field{Name: "doc-" + strconv.Itoa(len(out)+1), Value: string(text[:end])})
		text = text[end:]
	}
	return out, nil
}
