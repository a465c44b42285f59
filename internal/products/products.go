// Package products holds what is known of kinds of cards, as data. It checks the
// data and decides nothing: what follows from it is policy's.
package products

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"

	"sigill/policy"
)

//go:embed products.yaml
var file []byte

// maxPlaces bounds the places that a product can have: no card has more, and a
// slip of the finger would let orders through that no card can take.
const maxPlaces = 32

// Default returns the products that this program knows.
func Default() (policy.Products, error) { return Parse(file) }

// Parse reads products: YAML, strictly. It refuses unknown keys, words that are
// not of the lists, and a product that has no place for a second key beside the
// first.
func Parse(text []byte) (policy.Products, error) {
	type entry struct {
		Replaces string `yaml:"replaces"`
		Keys     struct {
			Authentication int `yaml:"authentication"`
			Signing        int `yaml:"signing"`
		} `yaml:"keys"`
		PIN2 string `yaml:"pin2"`
	}
	var entries map[string]entry
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&entries); err != nil {
		return nil, fmt.Errorf("products: %w", err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("products: a second document follows")
	}
	all := policy.Products{}
	for code, e := range entries {
		p := policy.Product{Code: code, Replaces: policy.Replacing(e.Replaces), PIN2: policy.PIN2(e.PIN2),
			AuthenticationKeys: e.Keys.Authentication, SigningKeys: e.Keys.Signing}
		if err := p.Check(); err != nil {
			return nil, fmt.Errorf("product %s: %w", code, err)
		}
		if max(p.AuthenticationKeys, p.SigningKeys) > maxPlaces {
			return nil, fmt.Errorf("product %s: more than %d places", code, maxPlaces)
		}
		all[code] = p
	}
	if len(all) == 0 {
		return nil, errors.New("products: there are none")
	}
	return all, nil
}
