package config

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
)

// Time says whom to ask for the time.
type Time struct {
	Sources []string `yaml:"sources" json:"sources"` // host or host:port
}

// maxSources are asked at once.
const maxSources = 8

var hostName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?$`)

// checkTime refuses what can't be asked for the time.
func (c *Config) checkTime() error {
	if len(c.Time.Sources) > maxSources {
		return fmt.Errorf("time.sources has %d servers, and may have %d", len(c.Time.Sources), maxSources)
	}
	for i, s := range c.Time.Sources {
		if err := checkSource(s); err != nil {
			return fmt.Errorf("time.sources: %w", err)
		}
		for _, other := range c.Time.Sources[:i] {
			if strings.EqualFold(s, other) {
				return fmt.Errorf("time.sources: %s is there twice: it would count twice", s)
			}
		}
	}
	return nil
}

func checkSource(s string) error {
	host, port := s, "123"
	if strings.Contains(s, "[") || strings.Count(s, ":") == 1 {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return fmt.Errorf("%q is not host or host:port", s)
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q has no port from 1 to 65535", s)
	}
	if net.ParseIP(host) == nil && !hostName.MatchString(host) {
		return fmt.Errorf("%q is not host or host:port", s)
	}
	return nil
}
