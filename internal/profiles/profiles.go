// Package profiles owns the written form of certificate profiles: one YAML file
// each, with the built-in ones as defaults. It decodes strictly and leaves every
// rule to ca.NewProfile; it knows nothing of keys or issuers.
package profiles

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"sigill/ca"
)

//go:embed *.yaml
var defaults embed.FS

// Default returns the built-in profiles.
func Default() (ca.Profiles, error) {
	profiles, _, err := load(defaults)
	return profiles, err
}

// Load reads every *.yaml of a directory. A file whose name is not its profile's
// is refused, so that two files can't describe one profile.
func Load(dir string) (ca.Profiles, error) {
	profiles, _, err := LoadTexts(dir)
	return profiles, err
}

// LoadTexts is Load; it returns the files' octets too, as they were read.
func LoadTexts(dir string) (ca.Profiles, map[ca.ProfileName][]byte, error) {
	profiles, texts, err := load(os.DirFS(dir))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", dir, err)
	}
	return profiles, texts, nil
}

// WriteDefaults writes the built-in profiles, comments and all, into dir, which
// must exist. It refuses to overwrite a file.
func WriteDefaults(dir string) error {
	names, err := fs.Glob(defaults, "*.yaml")
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := fs.ReadFile(defaults, name)
		if err != nil {
			return err
		}
		if err := writeNew(filepath.Join(dir, name), text); err != nil {
			return fmt.Errorf("writing profile: %w", err)
		}
	}
	return nil
}

func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

func load(files fs.FS) (ca.Profiles, map[ca.ProfileName][]byte, error) {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, nil, err
	}
	if len(names) == 0 {
		return nil, nil, errors.New("no profiles (*.yaml)")
	}
	profiles, texts := ca.Profiles{}, map[ca.ProfileName][]byte{}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, nil, err
		}
		p, err := Parse(text)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		if string(p.Name()) != strings.TrimSuffix(name, ".yaml") {
			return nil, nil, fmt.Errorf("%s: holds the profile %q", name, p.Name())
		}
		profiles[p.Name()], texts[p.Name()] = p, text
	}
	return profiles, texts, nil
}

// Parse reads one profile. Unknown and repeated keys are errors: a rule that is
// misspelt would otherwise not be there, and nobody would notice.
func Parse(text []byte) (*ca.Profile, error) {
	var c ca.ProfileConfig
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		return nil, err
	}
	if err := d.Decode(new(yaml.Node)); err != io.EOF {
		return nil, errors.New("more than one YAML document")
	}
	return ca.NewProfile(c)
}
