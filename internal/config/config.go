// Package config owns sigill.yaml: the keys, their meaning, their defaults and
// what can't be right. It opens nothing and knows no service.
package config

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"go.yaml.in/yaml/v3"

	"sigill/policy"
)

// File is the configuration's name in an installation's directory.
const File = "sigill.yaml"

// Environments.
const (
	Test       = "test"
	Production = "production"
)

// Config is a checked configuration. Its keys are told in template.yaml, which
// `sigill config` prints.
type Config struct {
	Dir string `yaml:"-"` // where sigill.yaml is

	Environment  string `yaml:"environment"`
	Organisation string `yaml:"organisation"`
	Database     string `yaml:"database"`
	Listen       Listen `yaml:"listen"`
	// StatusURL stands in certificates for their life.
	StatusURL  string            `yaml:"status_url"`
	Hosts      []string          `yaml:"hosts"`
	Passphrase string            `yaml:"passphrase"`
	Partitions int               `yaml:"partitions"`
	Provenance map[int]string    `yaml:"key_provenance"`
	Bureaus    map[string]string `yaml:"bureaus"`
	Download   Download          `yaml:"download"`
	CRL        CRL               `yaml:"crl"`
	OCSP       OCSP              `yaml:"ocsp"`
}

// Listen are the listeners' addresses.
type Listen struct {
	Status string `yaml:"status"`
	Card   string `yaml:"card"`
	Ops    string `yaml:"ops"`
}

// Download are the times of orders and downloads.
type Download struct {
	PendingTTL Duration `yaml:"pending_ttl"`
	ArmedFor   Duration `yaml:"armed_for"`
	OrderOpen  Duration `yaml:"order_open"`
	Validity   Duration `yaml:"validity"`
}

// CRL are the times of CRLs.
type CRL struct {
	Lifetime Duration `yaml:"lifetime"`
}

// OCSP are the times of OCSP answers.
type OCSP struct {
	Validity Duration `yaml:"validity"`
}

// Duration is a length of time, "90d" or as Go writes it, "2h".
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	if days, ok := strings.CutSuffix(string(b), "d"); ok {
		v, err := time.ParseDuration(days + "h")
		*d = Duration(24 * v)
		return err
	}
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

//go:embed template.yaml
var source string

// Settings fill in the template of a new installation.
type Settings struct {
	Environment  string
	Organisation string
	Status       string // listen addresses
	Card         string
	Ops          string
	StatusURL    string
	Hosts        []string
	Passphrase   string
	Partitions   int
	Database     string
	// Bureaus: name and file of the public key.
	Bureaus map[string]string
}

// Defaults are the settings of an installation on one machine.
func Defaults() Settings {
	return Settings{Environment: Test, Organisation: "Sigill", Status: "127.0.0.1:8080", Card: "127.0.0.1:8444", Ops: "127.0.0.1:9090",
		StatusURL: "http://127.0.0.1:8080", Hosts: []string{"localhost", "127.0.0.1"}, Passphrase: "file", Partitions: 8, Database: "sqlite:sigill.db"}
}

// Text returns sigill.yaml with comments for the settings.
func (s Settings) Text() ([]byte, error) {
	t, err := template.New(File).Funcs(template.FuncMap{"yaml": scalar}).Parse(source)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, s); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// scalar writes a value as YAML, quoted where it must be.
func scalar(v any) (string, error) {
	b, err := yaml.Marshal(v)
	return strings.TrimSpace(string(b)), err
}

// Load reads and checks the configuration in dir.
func Load(dir string) (*Config, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(abs, File))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s has no %s: make an installation with `sigill init --dir %s`", dir, File, dir)
	} else if err != nil {
		return nil, err
	}
	c, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, File), err)
	}
	c.Dir = abs
	return c, nil
}

// Parse reads and checks a configuration; unknown keys are errors.
func Parse(b []byte) (*Config, error) {
	var c Config
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return &c, c.check()
}

func (c *Config) check() error {
	if c.Environment != Test && c.Environment != Production {
		return fmt.Errorf("environment is %q or %q", Test, Production)
	}
	u, err := url.Parse(c.StatusURL)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return errors.New("status_url is an address http://host[:port]: relying parties fetch status over http (RFC 5280, 4.2.1.13)")
	}
	if c.Database == "" || len(c.Hosts) == 0 || c.Partitions < 1 {
		return errors.New("database, hosts and partitions must be set")
	}
	switch {
	case c.Passphrase != "file" && c.Passphrase != "credential" && c.Passphrase != "prompt":
		return errors.New("passphrase is file, credential or prompt")
	case c.Passphrase == "file" && c.Environment != Test:
		return errors.New("passphrase: file is for TEST installations only")
	}
	for loa, p := range c.Provenance {
		if loa != 2 && loa != 3 {
			return fmt.Errorf("key_provenance: no level %d", loa)
		}
		switch policy.Provenance(p) {
		case policy.Session, policy.Personalised, policy.Attested:
		default:
			return fmt.Errorf("key_provenance: %q is not attested, personalised or session", p)
		}
	}
	for name, d := range map[string]Duration{"pending_ttl": c.Download.PendingTTL, "armed_for": c.Download.ArmedFor,
		"order_open": c.Download.OrderOpen, "validity": c.Download.Validity, "crl.lifetime": c.CRL.Lifetime, "ocsp.validity": c.OCSP.Validity} {
		if d <= 0 {
			return fmt.Errorf("%s must be longer than nothing", name)
		}
	}
	return nil
}

// DatabaseURL returns the store's URL; a relative SQLite path is made one below
// the installation's directory.
func (c *Config) DatabaseURL() string {
	path, ok := strings.CutPrefix(c.Database, "sqlite:")
	if !ok || filepath.IsAbs(path) {
		return c.Database
	}
	return "sqlite:" + filepath.Join(c.Dir, path)
}

// Path returns a path below the installation's directory.
func (c *Config) Path(elem ...string) string {
	return filepath.Join(append([]string{c.Dir}, elem...)...)
}
