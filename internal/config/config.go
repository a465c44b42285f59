// Package config owns sigill.yaml: the keys, their meaning, their defaults and
// what can't be right. It opens nothing and knows no service.
package config

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
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
	Dir string `yaml:"-" json:"-"` // where sigill.yaml is

	Environment  string `yaml:"environment" json:"environment"`
	Organisation string `yaml:"organisation" json:"organisation"`
	Database     string `yaml:"database" json:"database"`
	Listen       Listen `yaml:"listen" json:"listen"`
	// StatusURL stands in certificates for their life.
	StatusURL  string         `yaml:"status_url" json:"status_url"`
	Hosts      []string       `yaml:"hosts" json:"hosts"`
	Passphrase string         `yaml:"passphrase" json:"passphrase"`
	Partitions int            `yaml:"partitions" json:"partitions"`
	Provenance map[int]string `yaml:"key_provenance" json:"key_provenance"`
	// AcceptSessionKeys allows provenance session at level 3 in production.
	AcceptSessionKeys bool              `yaml:"accept_session_keys" json:"accept_session_keys"`
	Bureaus           map[string]string `yaml:"bureaus" json:"bureaus"`
	WeakKeys          WeakKeys          `yaml:"weak_keys" json:"weak_keys"`
	Download          Download          `yaml:"download" json:"download"`
	CRL               CRL               `yaml:"crl" json:"crl"`
	OCSP              OCSP              `yaml:"ocsp" json:"ocsp"`
	Publish           Publish           `yaml:"publish" json:"publish"`
	Log               Log               `yaml:"log" json:"log"`
	Capacity          Capacity          `yaml:"capacity" json:"capacity"`
	Disk              Disk              `yaml:"disk" json:"disk"`
	Time              Time              `yaml:"time" json:"time"`
}

// WeakKeys are files with lists of keys whose private part others can have.
type WeakKeys struct {
	Debian  []string `yaml:"debian" json:"debian"`   // in the form of Debian's openssl-blacklist
	Badkeys []string `yaml:"badkeys" json:"badkeys"` // blocklist.dat of the badkeys project
}

// Listen are the listeners' addresses.
type Listen struct {
	Status string `yaml:"status" json:"status"`
	Card   string `yaml:"card" json:"card"`
	Ops    string `yaml:"ops" json:"ops"`
	// StatusConnections bounds what strangers can hold open at the status listener.
	StatusConnections int `yaml:"status_connections" json:"status_connections"`
}

// defaultConnections take some 300 MB if all are used.
const defaultConnections = 16384

// Download are the times of orders and downloads.
type Download struct {
	PendingTTL Duration `yaml:"pending_ttl" json:"pending_ttl"`
	ArmedFor   Duration `yaml:"armed_for" json:"armed_for"`
	OrderOpen  Duration `yaml:"order_open" json:"order_open"`
	Validity   Duration `yaml:"validity" json:"validity"`
}

// CRL are the times of CRLs.
type CRL struct {
	Lifetime  Duration `yaml:"lifetime" json:"lifetime"`
	FullEvery Duration `yaml:"full_every" json:"full_every"`
	// AnnounceNext writes Next CRL Publish into lists.
	AnnounceNext bool `yaml:"announce_next" json:"announce_next"`
}

// Capacity says how much is issued at once.
type Capacity struct {
	IssuingAtOnce int      `yaml:"issuing_at_once" json:"issuing_at_once"` // 0: by the number of cores
	Wait          Duration `yaml:"wait" json:"wait"`
	Reserved      int      `yaml:"reserved_for_priority" json:"reserved_for_priority"`
	Priority      []string `yaml:"priority" json:"priority"` // numbers of organisations
}

// Disk says what room must be left.
type Disk struct {
	StopIssuingBelow Size `yaml:"stop_issuing_below" json:"stop_issuing_below"`
	Reserve          Size `yaml:"reserve" json:"reserve"`
}

// Size is a number of octets, "512MiB".
type Size uint64

// MiB is 2²⁰ octets.
const MiB Size = 1 << 20

// UnmarshalText reads a size in MiB or GiB.
func (s *Size) UnmarshalText(b []byte) error {
	for unit, octets := range map[string]Size{"MiB": MiB, "GiB": 1024 * MiB} {
		digits, ok := strings.CutSuffix(string(b), unit)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 32)
		*s = Size(n) * octets
		return err
	}
	return fmt.Errorf("%q is not a size as 512MiB or 2GiB", b)
}

// MarshalText writes a size as the configuration does.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String writes a size in MiB.
func (s Size) String() string { return fmt.Sprintf("%dMiB", s/MiB) }

// Duration is a length of time, "90d" or as Go writes it, "2h".
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	if days, ok := strings.CutSuffix(string(b), "d"); ok {
		v, err := time.ParseDuration(days + "h")
		// A length that overflows would come out as another, perhaps allowed one.
		if err == nil && (v > math.MaxInt64/24 || v < math.MinInt64/24) {
			err = fmt.Errorf("%s is longer than times can be", b)
		}
		*d = Duration(24 * v)
		return err
	}
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// MarshalText writes a duration as the configuration does: "90d", "24h", "1h30m".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String writes more than three whole days in days.
func (d Duration) String() string {
	const day = Duration(24 * time.Hour)
	if d > 3*day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := time.Duration(d).String()
	// Go writes 24h0m0s; a zero after a larger unit says nothing.
	if cut, ok := strings.CutSuffix(text, "m0s"); ok {
		text = cut + "m"
	}
	if cut, ok := strings.CutSuffix(text, "h0m"); ok {
		text = cut + "h"
	}
	return text
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
	// AcceptSessionKeys: without it a production installation demands attested
	// keys at level 3.
	AcceptSessionKeys bool
	// Bureaus: name and file of the public key.
	Bureaus map[string]string
}

// Scale is how many certificates an installation is made for.
type Scale string

// Scales.
const (
	Small Scale = "small" // one list for each issuing CA
	Large Scale = "large" // a million certificates
)

// Partitions returns how many partitions the CRL of each issuing CA has at a scale:
// 256 keep each below 200 kB with a million revoked certificates.
func Partitions(s Scale) int {
	if s == Large {
		return 256
	}
	return 1
}

// Defaults are the settings of an installation on one machine.
func Defaults() Settings {
	return Settings{Environment: Test, Organisation: "Sigill", Status: "127.0.0.1:8080", Card: "127.0.0.1:8444", Ops: "127.0.0.1:9090",
		StatusURL: "http://127.0.0.1:8080", Hosts: []string{"localhost", "127.0.0.1"}, Passphrase: "file", Partitions: Partitions(Small), Database: "sqlite:sigill.db"}
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
	// What an older file does not know has the value of a new production one.
	c := Config{Capacity: Capacity{Wait: Duration(20 * time.Second)}, Disk: Disk{StopIssuingBelow: 512 * MiB, Reserve: 64 * MiB},
		OCSP: defaultOCSP(), Listen: Listen{StatusConnections: defaultConnections}}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if c.CRL.FullEvery == 0 {
		c.CRL.FullEvery = min(Duration(time.Hour), c.CRL.Lifetime/2)
	}
	return &c, c.check()
}

func (c *Config) check() error {
	if c.Environment != Test && c.Environment != Production {
		return fmt.Errorf("environment is %q or %q", Test, Production)
	}
	if err := CheckStatusURL(c.StatusURL); err != nil {
		return fmt.Errorf("status_url: %w", err)
	}
	if c.Database == "" || len(c.Hosts) == 0 {
		return errors.New("database and hosts must be set")
	}
	if n := c.Listen.StatusConnections; n < 16 || n > 1<<20 {
		return fmt.Errorf("listen.status_connections is %d, and must be from 16 to 1048576", n)
	}
	if c.Partitions < 1 || c.Partitions > 1<<16 {
		return fmt.Errorf("partitions is %d, and must be from 1 to 65536", c.Partitions)
	}
	switch {
	case c.Passphrase != "file" && c.Passphrase != "credential" && c.Passphrase != "prompt":
		return errors.New("passphrase is file, credential or prompt")
	case c.Passphrase == "file" && c.Environment != Test:
		return errors.New("passphrase: file is for TEST installations only")
	}
	if err := c.checkProvenance(); err != nil {
		return err
	}
	if err := c.checkCapacity(); err != nil {
		return err
	}
	if err := c.checkOCSP(); err != nil {
		return err
	}
	if err := c.checkTime(); err != nil {
		return err
	}
	if err := c.checkPublish(); err != nil {
		return err
	}
	if err := c.checkLog(); err != nil {
		return err
	}
	return c.checkTimes()
}

// organisationNumber is ten digits (lag 1974:174).
var organisationNumber = regexp.MustCompile(`^[0-9]{10}$`)

// checkCapacity holds capacity and disk to the bounds that template.yaml tells.
func (c *Config) checkCapacity() error {
	p := c.Capacity
	switch {
	case p.IssuingAtOnce < 0 || p.IssuingAtOnce > 10_000:
		return fmt.Errorf("capacity.issuing_at_once is %d, and must be from 1 to 10000, or 0", p.IssuingAtOnce)
	case p.Reserved < 0 || p.Reserved > 0 && p.IssuingAtOnce == 0 || p.Reserved > 0 && p.Reserved >= p.IssuingAtOnce:
		return fmt.Errorf("capacity.reserved_for_priority is %d: it is a part of issuing_at_once, which must then be told", p.Reserved)
	case p.Reserved > 0 && len(p.Priority) == 0:
		return errors.New("capacity.reserved_for_priority keeps places for nobody: name who has priority")
	}
	for _, number := range p.Priority {
		if !organisationNumber.MatchString(number) {
			return fmt.Errorf("capacity.priority: %q is not an organisation's number of ten digits; write it in quotes", number)
		}
	}
	d := c.Disk
	switch {
	case d.Reserve != 0 && d.Reserve < MiB || d.Reserve > 4096*MiB:
		return fmt.Errorf("disk.reserve is %s, and must be from 1MiB to 4096MiB, or 0MiB", d.Reserve)
	case d.StopIssuingBelow < 2*d.Reserve || d.StopIssuingBelow < 16*MiB:
		return fmt.Errorf("disk.stop_issuing_below is %s, and must be at least 16MiB and twice the reserve", d.StopIssuingBelow)
	}
	return nil
}

// CheckStatusURL returns an error unless text is an address that relying parties
// could fetch status from: http (https would need a status of its own, RFC 5280,
// 8), a host that is one, a port that can be connected to. What a listener may be
// given, 0.0.0.0 or port 0, would stand in certificates for their life and lead
// nowhere.
func CheckStatusURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("%q is not an address http://host[:port]: relying parties fetch status over http (RFC 5280, 4.2.1.13)", text)
	}
	host := u.Hostname()
	ip, err := netip.ParseAddr(host)
	if host == "" || err == nil && ip.Unmap().IsUnspecified() {
		return fmt.Errorf("%q names no host: it stands in every certificate, and relying parties elsewhere must reach it", text)
	}
	// No port is http's own.
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q has port %s, which nobody can connect to: it stands in every certificate", text, port)
		}
	}
	return nil
}

func (c *Config) checkProvenance() error {
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
	if c.Environment == Production && policy.Provenance(c.Provenance[3]) == policy.Session && !c.AcceptSessionKeys {
		return errors.New("key_provenance: 3: session would issue level 3 in production for keys that nobody has seen in a card; set accept_session_keys: true if that is decided, or demand attested or personalised")
	}
	return nil
}

// checkTimes holds each time to the bounds that template.yaml tells, with why.
func (c *Config) checkTimes() error {
	const day = 24 * time.Hour
	for _, t := range []struct {
		name     string
		is       Duration
		min, max time.Duration
	}{
		{"download.pending_ttl", c.Download.PendingTTL, time.Minute, 72 * time.Hour},
		{"download.armed_for", c.Download.ArmedFor, time.Minute, day},
		{"download.order_open", c.Download.OrderOpen, time.Minute, 366 * day},
		{"download.validity", c.Download.Validity, time.Minute, 1826 * day},
		{"crl.lifetime", c.CRL.Lifetime, time.Hour, 72 * time.Hour},
		{"crl.full_every", c.CRL.FullEvery, time.Minute, time.Duration(c.CRL.Lifetime) / 2},
		{"ocsp.validity", c.OCSP.Validity, time.Minute, 12 * time.Hour},
		{"capacity.wait", c.Capacity.Wait, time.Second, 25 * time.Second},
	} {
		if t.is < Duration(t.min) || t.is > Duration(t.max) {
			return fmt.Errorf("%s is %s, and must be from %s to %s", t.name, t.is, Duration(t.min), Duration(t.max))
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
