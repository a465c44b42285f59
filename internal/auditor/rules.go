package auditor

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"sigill/ca"
	"sigill/internal/auditor/book"
	"sigill/internal/auditor/rederive"
	"sigill/internal/lint"
	"sigill/internal/profiles"
)

// ruleBook is what certificates are judged by, as it changed with time.
type ruleBook struct {
	given      ca.Profiles // if there are any, they are those of all times
	byName     map[string][]dated
	statusURL  map[string]bool // every one that there was
	partitions map[int]bool
}

// dated is a profile from a time on.
type dated struct {
	from    int64
	profile *ca.Profile
}

func newRuleBook(given ca.Profiles) *ruleBook {
	return &ruleBook{given: given, byName: map[string][]dated{}, statusURL: map[string]bool{}, partitions: map[int]bool{}}
}

// add takes a configuration in that the log of acts recorded. Documents come in the
// order of the log.
func (b *ruleBook) add(d book.Document) {
	if p, err := profiles.Parse(d.Text); err == nil {
		b.byName[string(p.Name())] = append(b.byName[string(p.Name())], dated{d.At, p})
		return
	}
	var settings struct {
		StatusURL  string `yaml:"status_url"`
		Partitions int    `yaml:"partitions"`
	}
	if yaml.Unmarshal(d.Text, &settings) != nil { // of a configuration only these two matter here
		return
	}
	if u, err := url.Parse(settings.StatusURL); err == nil && u.Host != "" {
		b.statusURL[strings.TrimRight(settings.StatusURL, "/")] = true
	}
	if settings.Partitions > 0 {
		b.partitions[settings.Partitions] = true
	}
}

// profile returns the profile of that name at a time. What was issued before the first
// one was recorded (an installation's own first certificates) is held against the first.
func (b *ruleBook) profile(name string, at time.Time) *ca.Profile {
	if len(b.given) > 0 {
		return b.given[ca.ProfileName(name)]
	}
	all := b.byName[name]
	if len(all) == 0 {
		return nil
	}
	found := all[0].profile
	for _, d := range all {
		if d.from <= micro(at) {
			found = d.profile
		}
	}
	return found
}

// rules returns what certificates are judged by.
func (b *ruleBook) rules(a *Auditor) (*rederive.Rules, error) {
	out := &rederive.Rules{Issuers: a.Issuers, Log: a.Logs[Certificates], Profile: b.profile, Partitions: slices.Sorted(maps.Keys(b.partitions))}
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
		if use := p.Config().ExtendedKeyUsage; p.Name() == profileTransport && len(use) == 1 {
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
