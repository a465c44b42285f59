package keys

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"sigill/ca"
)

// Plan says what hierarchy is to be made.
type Plan struct {
	Dir          string
	Environment  Environment
	Country      string // two letters
	Organisation string
	// StatusURL is where relying parties find CRLs and certificates: plain http,
	// without a slash at the end. It stands in certificates for their life.
	StatusURL string
	Root      CAPlan
	Issuers   []CAPlan
	// Profiles has those of CA certificates, RootProfile and IssuingProfile.
	Profiles ca.Profiles
	// At is the time of creation; certificates begin ten minutes earlier, for
	// relying parties whose clocks are slow.
	At time.Time
	// RootPassphrase protects the root's key, Passphrase all others.
	RootPassphrase Passphrase
	Passphrase     Passphrase
	// Lint judges each certificate before anything is written.
	Lint func(der []byte, profile ca.ProfileName) error
}

// CAPlan is one CA to be.
type CAPlan struct {
	ID   ca.IssuerID
	Name string // common name without the environment
	Key  Algorithm
	// KeyURI names the key if it is to be made in a token. A soft key gets a
	// file of its own.
	KeyURI string
	// Lifetime of the certificate.
	Lifetime time.Duration
	// AnyPolicy puts anyPolicy into the certificate: without policies of its
	// own, a CA certificate leaves the certificates below it without valid
	// policies (RFC 5280, 6.1.3 d). Only CAs that vouch for a level of
	// assurance have it.
	AnyPolicy bool
}

// Profiles of the two kinds of CA certificates.
const (
	RootProfile    ca.ProfileName = "root-ca"
	IssuingProfile ca.ProfileName = "issuing-ca"
)

// IDs of the issuing CAs of the default hierarchy: one for each kind of
// identifier and level of assurance, because relying parties read the level off
// the CA; one for what cards carry before they have an eID; one for servers,
// officers and other functions.
const (
	PersonHSA3 ca.IssuerID = "person-hsa-id-3-v1"
	PersonHSA2 ca.IssuerID = "person-hsa-id-2-v1"
	PersonID3  ca.IssuerID = "person-id-3-v1"
	CardCA     ca.IssuerID = "card-v1"
	FunctionCA ca.IssuerID = "function-v1"
)

const (
	year     = 365 * 24 * time.Hour
	backdate = 10 * time.Minute
)

// DefaultPlan returns the plan of the default hierarchy. The caller sets
// passphrases, profiles and lint.
func DefaultPlan(env Environment, dir, statusURL, organisation string, at time.Time) Plan {
	issuer := func(id ca.IssuerID, name string, anyPolicy bool) CAPlan {
		return CAPlan{ID: id, Name: name, Key: P256, Lifetime: 10 * year, AnyPolicy: anyPolicy}
	}
	return Plan{
		Dir: dir, Environment: env, Country: "SE", Organisation: organisation, StatusURL: statusURL, At: at,
		Root: CAPlan{ID: RootID, Name: "Sigill Root CA v1", Key: P384, Lifetime: 20 * year},
		Issuers: []CAPlan{
			issuer(PersonHSA3, "Sigill Person HSA-id 3 CA v1", true),
			issuer(PersonHSA2, "Sigill Person HSA-id 2 CA v1", true),
			issuer(PersonID3, "Sigill Person ID 3 CA v1", true),
			issuer(CardCA, "Sigill Card CA v1", false),
			issuer(FunctionCA, "Sigill Function CA v1", false),
		},
	}
}

// check refuses a plan that would fail half way, or make what must not be.
func (p *Plan) check() error {
	status, err := url.Parse(p.StatusURL)
	switch {
	case p.Dir == "":
		return errors.New("no directory")
	case p.Environment != Production && p.Environment != Test:
		return fmt.Errorf("unknown environment %q", p.Environment)
	case len(p.Country) != 2 || strings.Trim(p.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "":
		return errors.New("the country is not two capital letters")
	case p.Organisation == "":
		return errors.New("no organisation")
	case err != nil || status.Scheme != "http" || status.Host == "" || strings.HasSuffix(p.StatusURL, "/") || status.RawQuery != "" || status.Fragment != "":
		return errors.New("the status address is not http://host[:port][/path] without a slash at the end")
	case p.At.IsZero():
		return errors.New("no time of creation")
	case p.Lint == nil:
		return errors.New("no linter")
	case p.Profiles[RootProfile] == nil || p.Profiles[IssuingProfile] == nil:
		return fmt.Errorf("the profiles %s and %s are not both there", RootProfile, IssuingProfile)
	case p.Root.ID != RootID:
		return fmt.Errorf("the root is not called %q", RootID)
	case len(p.Issuers) == 0:
		return errors.New("no issuing CA")
	}
	ids, names := map[ca.IssuerID]bool{}, map[string]bool{}
	for _, each := range append([]CAPlan{p.Root}, p.Issuers...) {
		switch {
		case !slug.MatchString(string(each.ID)) || len(each.ID) > 60:
			return fmt.Errorf("%q is not lower-case letters, digits and hyphens", each.ID)
		case ids[each.ID] || names[each.Name]:
			return fmt.Errorf("%s: its id or name stands twice", each.ID)
		case each.Name == "":
			return fmt.Errorf("%s: no name", each.ID)
		// The environment is added here. A name that brings its own could make
		// a production CA that looks like TEST, or the reverse.
		case strings.Contains(strings.ToUpper(each.Name), "TEST"):
			return fmt.Errorf("%s: the environment is put into the name by itself", each.ID)
		case each.Lifetime <= 0 || each.Lifetime > p.Root.Lifetime:
			return fmt.Errorf("%s: its life is not longer than nothing and at most the root's", each.ID)
		case each.KeyURI == "" && !p.passphrase(each).strong():
			return fmt.Errorf("%s: a passphrase for a key has at least %d characters", each.ID, minPassphrase)
		}
		ids[each.ID], names[each.Name] = true, true
	}
	return nil
}

// template returns a new template of a CA certificate. Its makers write into it.
func (p *Plan) template(authority CAPlan) (*x509.Certificate, error) {
	request := ca.CARequest{
		Content: ca.Content{
			Country: p.Country, Organisation: p.Organisation, CommonName: p.Environment.name(authority.Name),
		},
		NotBefore: p.At.UTC().Truncate(time.Second).Add(-backdate),
	}
	request.NotAfter = request.NotBefore.Add(authority.Lifetime)
	profile := p.Profiles[RootProfile]
	if authority.ID != RootID {
		profile = p.Profiles[IssuingProfile]
		request.CRLURL = p.StatusURL + "/crl/" + string(RootID) + "/0.crl"
		request.IssuerURL = p.StatusURL + "/aia/" + string(RootID) + ".cer"
	}
	t, err := ca.CATemplate(profile, request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", authority.ID, err)
	}
	if authority.AnyPolicy {
		anyPolicy, err := x509.OIDFromInts([]uint64{2, 5, 29, 32, 0})
		if err != nil {
			return nil, err
		}
		t.Policies = []x509.OID{anyPolicy}
	}
	return t, nil
}
