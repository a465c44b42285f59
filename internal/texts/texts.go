// Package texts owns the words in which refusals and problems are told to
// people, in Swedish and English: for each key a title (what happened) and what
// to do next. A key is a rule of docs/POLICY.md or the last part of a problem
// type ("not-found").
//
// It knows neither when something is refused nor how it is shown.
package texts

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed texts.yaml
var source []byte

// Languages are the languages of the catalogue; the first is the default.
func Languages() []string { return []string{"sv", "en"} }

// fallback is shown for a key that the catalogue lacks, so that a person is
// never left without a word; a test holds that no rule needs it.
const fallback = "internal"

// Text is what is told of one key in one language.
type Text struct {
	Title string `yaml:"title"` // what happened, one sentence without a full stop
	Next  string `yaml:"next"`  // what to do next, whole sentences
}

// Catalogue holds the texts. It is immutable, so all may use it at once.
type Catalogue struct {
	texts map[string]map[string]Text // key, language
}

// Load reads the catalogue that is built into the program.
func Load() (*Catalogue, error) { return parse(source) }

// parse reads a catalogue and refuses one with unknown or missing parts.
func parse(data []byte) (*Catalogue, error) {
	c := &Catalogue{}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true) // a title with a slip in its name would be an empty one
	if err := dec.Decode(&c.texts); err != nil {
		return nil, fmt.Errorf("texts: %w", err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("texts: more than one document")
	}
	for key, byLanguage := range c.texts {
		if len(byLanguage) != len(Languages()) {
			return nil, fmt.Errorf("texts: %s has %d languages, want %v", key, len(byLanguage), Languages())
		}
		for _, lang := range Languages() {
			if t := byLanguage[lang]; t.Title == "" || t.Next == "" {
				return nil, fmt.Errorf("texts: %s has no title or no next step in %s", key, lang)
			}
		}
	}
	if _, ok := c.texts[fallback]; !ok {
		return nil, fmt.Errorf("texts: there is no %s", fallback)
	}
	return c, nil
}

// Title tells what happened. An unknown language gets the default one, an
// unknown key the text of an error inside the service.
func (c *Catalogue) Title(lang, key string) string { return c.text(lang, key).Title }

// Next tells what to do next; see Title for what is unknown.
func (c *Catalogue) Next(lang, key string) string { return c.text(lang, key).Next }

// Has reports whether the catalogue has texts for key.
func (c *Catalogue) Has(key string) bool { _, ok := c.texts[key]; return ok }

// Keys returns all keys in order.
func (c *Catalogue) Keys() []string { return slices.Sorted(maps.Keys(c.texts)) }

func (c *Catalogue) text(lang, key string) Text {
	byLanguage, ok := c.texts[key]
	if !ok {
		byLanguage = c.texts[fallback]
	}
	if t, ok := byLanguage[lang]; ok {
		return t
	}
	return byLanguage[Languages()[0]]
}

// Language picks a language by an Accept-Language header (RFC 9110, 12.5.4): the
// first range whose primary tag the catalogue has. Weights are not compared:
// browsers send ranges by preference. Nothing that fits, and a header longer
// than any browser's, means the default.
func Language(accept string) string {
	if len(accept) > 512 {
		return Languages()[0]
	}
	for part := range strings.SplitSeq(accept, ",") {
		tag, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		if slices.Contains(Languages(), primary) {
			return primary
		}
	}
	return Languages()[0]
}
