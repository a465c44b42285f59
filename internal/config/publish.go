package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
)

// Publish says where else what is public is put.
type Publish struct {
	Targets map[string]Target `yaml:"targets" json:"targets"`
}

// Target is one such place: a directory or an object store.
type Target struct {
	Directory string `yaml:"directory" json:"directory,omitempty"`
	S3        *S3    `yaml:"s3" json:"s3,omitempty"`
}

// S3 is an S3-compatible object store. Its secrets are not here, only where they are.
type S3 struct {
	Endpoint    string `yaml:"endpoint" json:"endpoint"`
	Bucket      string `yaml:"bucket" json:"bucket"`
	Prefix      string `yaml:"prefix" json:"prefix"`
	Region      string `yaml:"region" json:"region"`
	Credentials string `yaml:"credentials" json:"credentials"`
}

// targetName is what a target may be called: it stands in metrics.
var targetName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// credentialSource is where secrets may come from. A secret written there by mistake is
// not one, and the error must not show it.
var credentialSource = regexp.MustCompile(`^(?:file:.+|credential:[A-Za-z0-9._-]+|env:[A-Za-z_][A-Za-z0-9_]*(?:,[A-Za-z_][A-Za-z0-9_]*){1,2})$`)

func (c *Config) checkPublish() error {
	places := map[string]string{}
	for name, t := range c.Publish.Targets {
		if !targetName.MatchString(name) || len(name) > 40 {
			return fmt.Errorf("publish.targets: %q is not a name of lower-case letters, digits and hyphens", name)
		}
		if err := c.checkTarget(t); err != nil {
			return fmt.Errorf("publish.targets.%s: %w", name, err)
		}
		place := filepath.Clean(t.Directory)
		if t.S3 != nil {
			place = t.S3.Endpoint + " " + t.S3.Bucket + " " + strings.Trim(t.S3.Prefix, "/")
		}
		if other, taken := places[place]; taken {
			return fmt.Errorf("publish.targets: %s and %s are the same place", min(name, other), max(name, other))
		}
		places[place] = name
	}
	return nil
}

func (c *Config) checkTarget(t Target) error {
	if (t.Directory == "") == (t.S3 == nil) {
		return errors.New("it is either a directory or s3")
	}
	if t.S3 == nil {
		if !filepath.IsAbs(t.Directory) {
			return fmt.Errorf("directory %q is not an absolute path", t.Directory)
		}
		return nil
	}
	u, err := url.Parse(t.S3.Endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return errors.New("s3.endpoint is not https://host[:port]")
	}
	if u.Scheme == "http" && c.Environment == Production {
		return errors.New("s3.endpoint: in production only https, as nothing else tells whether the store itself answers")
	}
	if t.S3.Bucket == "" {
		return errors.New("s3.bucket must be set")
	}
	if !credentialSource.MatchString(t.S3.Credentials) {
		return errors.New("s3.credentials says where they are: file:PATH, credential:NAME or env:ACCESS,SECRET; the credentials themselves never stand in this file")
	}
	return nil
}
