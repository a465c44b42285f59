package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"sigill/internal/checkpoint"
)

// Log says where the heads of the logs are kept.
type Log struct {
	Keep      map[string]Target `yaml:"keep" json:"keep"`
	Witnesses []Witness         `yaml:"witnesses" json:"witnesses"`
}

// Witness is somebody else's service that cosigns heads.
type Witness struct {
	URL string `yaml:"url" json:"url"`
	Key string `yaml:"key" json:"key"` // vkey: name+hash+key
}

// Kept reports whether any place keeps heads.
func (l *Log) Kept() bool { return len(l.Keep)+len(l.Witnesses) > 0 }

func (c *Config) checkLog() error {
	names, places := map[string]bool{}, map[string]string{}
	for name, t := range c.Log.Keep {
		if !targetName.MatchString(name) || len(name) > 40 {
			return fmt.Errorf("log.keep: %q is not a name of lower-case letters, digits and hyphens", name)
		}
		if err := c.checkTarget(t); err != nil {
			return fmt.Errorf("log.keep.%s: %w", name, err)
		}
		place := filepath.Clean(t.Directory)
		if t.S3 != nil {
			place = t.S3.Endpoint + " " + t.S3.Bucket + " " + strings.Trim(t.S3.Prefix, "/")
		}
		if other, taken := places[place]; taken {
			return fmt.Errorf("log.keep: %s and %s are the same place", min(name, other), max(name, other))
		}
		places[place], names[name] = name, true
	}
	for i, w := range c.Log.Witnesses {
		key, err := checkpoint.NewWitness(w.Key)
		if err != nil {
			return fmt.Errorf("log.witnesses: number %d: %w", i+1, err)
		}
		if names[key.Name()] {
			return fmt.Errorf("log.witnesses: there are two places called %s", key.Name())
		}
		names[key.Name()] = true
		if err := c.checkWitnessURL(w.URL); err != nil {
			return fmt.Errorf("log.witnesses: %s: %w", key.Name(), err)
		}
	}
	return nil
}

func (c *Config) checkWitnessURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("url is not https://host[:port][/path]")
	}
	return nil
}
