package rederive

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"sigill/ca"
	"sigill/internal/checkpoint"
	"sigill/internal/lint"
	"sigill/internal/profiles"
)

// History is what certificates are judged by, as it changed with time. It does not change
// while it is used.
type History struct {
	given      ca.Profiles // if there are any, they are those of all times
	byName     map[string][]dated
	statusURL  map[string]bool // every one that there was
	partitions map[int]bool
}

// dated is a profile from a time on.
type dated struct {
	from    time.Time
	profile *ca.Profile
}

// NewHistory returns one that knows nothing yet. given are profiles that hold at all
// times; nil: those that are added, each from its time on.
func NewHistory(given ca.Profiles) *History {
	return &History{given: given, byName: map[string][]dated{}, statusURL: map[string]bool{}, partitions: map[int]bool{}}
}

// Add takes a configuration in that the log of acts recorded. Documents come in the
// order of the log.
func (b *History) Add(from time.Time, text []byte) {
	if p, err := profiles.Parse(text); err == nil {
		b.byName[string(p.Name())] = append(b.byName[string(p.Name())], dated{from, p})
		return
	}
	var settings struct {
		StatusURL  string `yaml:"status_url"`
		Partitions int    `yaml:"partitions"`
	}
	if yaml.Unmarshal(text, &settings) != nil { // of a configuration only these two matter here
		return
	}
	if u, err := url.Parse(settings.StatusURL); err == nil && u.Host != "" {
		b.statusURL[strings.TrimRight(settings.StatusURL, "/")] = true
	}
	if settings.Partitions > 0 {
		b.partitions[settings.Partitions] = true
	}
}

// Profile returns the profile of that name at a time; nil: none is known. What was issued before the first
// one was recorded (an installation's own first certificates) is held against the first.
func (b *History) Profile(name string, at time.Time) *ca.Profile {
	if len(b.given) > 0 {
		return b.given[ca.ProfileName(name)]
	}
	all := b.byName[name]
	if len(all) == 0 {
		return nil
	}
	found := all[0].profile
	for _, d := range all {
		if !d.from.After(at) {
			found = d.profile
		}
	}
	return found
}

// Rules returns what certificates are judged by, lints among it.
func (b *History) Rules(issuers *Issuers, log *checkpoint.Log) (*Rules, error) {
	out := &Rules{Issuers: issuers, Log: log, Profile: b.Profile, Partitions: slices.Sorted(maps.Keys(b.partitions))}
	if len(b.statusURL) == 1 {
		for out.StatusURL = range b.statusURL {
		}
	}
	levels, transport := map[string]bool{}, ""
	all := slices.Collect(maps.Values(b.given))
	for _, list := range b.byName {
		for _, d := range list {
			all = append(all, d.profile)
		}
	}
	for _, p := range all {
		for _, oid := range p.Assurance() {
			levels[oid] = true
		}
		if use := p.Config().ExtendedKeyUsage; p.Name() == "transport" && len(use) == 1 {
			transport = use[0]
		}
	}
	if len(levels) == 0 {
		return out, nil // nothing is known to lint by
	}
	l, err := lint.New(lint.Config{LoAPolicies: slices.Sorted(maps.Keys(levels)), TransportEKU: transport})
	if err != nil {
		return nil, err
	}
	out.Linter = l
	return out, nil
}
