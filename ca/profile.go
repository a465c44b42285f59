package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ProfileConfig is a profile as it is written down. [NewProfile] checks it.
type ProfileConfig struct {
	// Name is what requests and issuers call the profile: lower-case letters,
	// digits and hyphens.
	Name        ProfileName `yaml:"name"`
	Description string      `yaml:"description"`
	// Kind is "end-entity" or "ca".
	Kind ProfileKind `yaml:"kind"`
	// Mandate is "order" if signed statements must stand behind each
	// certificate, "none" if not.
	Mandate MandateRule `yaml:"mandate"`
	// MaxValidity is the longest time from notBefore to notAfter.
	MaxValidity Period `yaml:"max_validity"`
	// Keys are the subject keys that may be certified.
	Keys KeyRules `yaml:"keys"`
	// KeyUsage are the bits of RFC 5280, 4.2.1.3, always critical.
	KeyUsage []string `yaml:"key_usage"`
	// ExtendedKeyUsage are names (clientAuth, serverAuth, OCSPSigning,
	// documentSigning) or dotted OIDs. smartcardLogon can't be listed: it
	// follows the UPN.
	ExtendedKeyUsage []string `yaml:"extended_key_usage,omitempty"`
	// Content tells which fields a certificate has.
	Content ContentRules `yaml:"content"`
	// CommonNameIsCardNumber demands that CN is the card number.
	CommonNameIsCardNumber bool `yaml:"common_name_is_card_number,omitempty"`
	// Assurance maps a routine and its level of assurance ("ordinary/3") to the
	// policy OID that tells it. If it is not empty, each certificate has exactly
	// one of them.
	Assurance map[string]string `yaml:"assurance,omitempty"`
	// Policies are further policy OIDs that a certificate may have.
	Policies []string `yaml:"policies,omitempty"`
	// CRL, OCSP and CAIssuers switch on the CRL distribution point, the OCSP
	// address and the issuer's address.
	CRL       bool `yaml:"crl"`
	OCSP      bool `yaml:"ocsp"`
	CAIssuers bool `yaml:"ca_issuers"`
	// OCSPNoCheck adds id-pkix-ocsp-nocheck (RFC 6960, 4.2.2.2.1).
	OCSPNoCheck bool `yaml:"ocsp_nocheck,omitempty"`
	// PathLength of a CA: how many CAs may stand below it.
	PathLength *int `yaml:"path_length,omitempty"`
}

// ProfileKind tells end entities from CAs.
type ProfileKind string

const (
	EndEntity ProfileKind = "end-entity"
	CAKind    ProfileKind = "ca"
)

// MandateRule tells what must stand behind a certificate.
type MandateRule string

const (
	// MandateOrder demands a [Mandate] over the very content.
	MandateOrder MandateRule = "order"
	// MandateNone is for certificates that nobody's identity hangs on.
	MandateNone MandateRule = "none"
)

// KeyRules are the keys that may be certified.
type KeyRules struct {
	Curves []string `yaml:"curves,omitempty"`  // "P-256", "P-384"
	RSAMin int      `yaml:"rsa_min,omitempty"` // bits; 0: no RSA
	RSAMax int      `yaml:"rsa_max,omitempty"`
}

// FieldRule tells whether a field of [Content] stands in a certificate.
type FieldRule string

const (
	Required FieldRule = "required"
	Optional FieldRule = "optional"
	// Omitted: the order may name it, this certificate does not carry it.
	Omitted FieldRule = "omitted"
	// Refused: a request that has it is refused. It is the zero value's meaning.
	Refused FieldRule = "refused"
)

// ContentRules has one rule for each field of [Content]; no rule means refused.
type ContentRules struct {
	Country      FieldRule `yaml:"country,omitempty"`
	Organisation FieldRule `yaml:"organisation,omitempty"`
	CommonName   FieldRule `yaml:"common_name,omitempty"`
	Surname      FieldRule `yaml:"surname,omitempty"`
	GivenName    FieldRule `yaml:"given_name,omitempty"`
	SerialNumber FieldRule `yaml:"serial_number,omitempty"`
	CardNumber   FieldRule `yaml:"card_number,omitempty"`
	Email        FieldRule `yaml:"email,omitempty"`
	UPN          FieldRule `yaml:"upn,omitempty"`
	SID          FieldRule `yaml:"sid,omitempty"`
	DNSNames     FieldRule `yaml:"dns_names,omitempty"`
}

func (r ContentRules) all() []FieldRule {
	return []FieldRule{r.Country, r.Organisation, r.CommonName, r.Surname, r.GivenName, r.SerialNumber,
		r.CardNumber, r.Email, r.UPN, r.SID, r.DNSNames}
}

// Period is a length of time written in days ("1826d") or as Go writes
// durations ("12h").
type Period time.Duration

// MarshalText writes whole days as days.
func (p Period) MarshalText() ([]byte, error) {
	d := time.Duration(p)
	if day := 24 * time.Hour; d%day == 0 {
		return []byte(strconv.Itoa(int(d/day)) + "d"), nil
	}
	return []byte(d.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (p *Period) UnmarshalText(text []byte) error {
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is not a number of days", text)
		}
		*p = Period(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	d, err := time.ParseDuration(string(text))
	*p = Period(d)
	return err
}

// Profile is a checked profile. It is immutable and safe for concurrent use.
type Profile struct {
	config    ProfileConfig
	keyUsage  x509.KeyUsage
	extended  []asn1.ObjectIdentifier
	assurance map[string]bool // OIDs that tell a level
	policies  map[string]x509.OID
}

// Profiles are the profiles of a CA by name.
type Profiles map[ProfileName]*Profile

var (
	slug     = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	routine  = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*/[0-9]$`)
	keyUsage = map[string]x509.KeyUsage{
		"digitalSignature":  x509.KeyUsageDigitalSignature,
		"contentCommitment": x509.KeyUsageContentCommitment,
		"keyCertSign":       x509.KeyUsageCertSign,
		"cRLSign":           x509.KeyUsageCRLSign,
	}
	extendedKeyUsage = map[string]asn1.ObjectIdentifier{
		"serverAuth":      {1, 3, 6, 1, 5, 5, 7, 3, 1},
		"clientAuth":      {1, 3, 6, 1, 5, 5, 7, 3, 2},
		"OCSPSigning":     {1, 3, 6, 1, 5, 5, 7, 3, 9},
		"documentSigning": {1, 3, 6, 1, 5, 5, 7, 3, 36}, // RFC 9336
	}
	oidAnyEKU         = asn1.ObjectIdentifier{2, 5, 29, 37, 0}
	oidSmartcardLogon = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 2}
)

// NewProfile checks a profile once, so that nothing has to be checked later.
func NewProfile(c ProfileConfig) (*Profile, error) {
	p := &Profile{config: c.clone(), assurance: map[string]bool{}, policies: map[string]x509.OID{}}
	for _, check := range []func() error{p.checkNames, p.checkKeys, p.checkUsage, p.checkPolicies, p.checkKind} {
		if err := check(); err != nil {
			return nil, fmt.Errorf("profile %q: %w", c.Name, err)
		}
	}
	return p, nil
}

func (c ProfileConfig) clone() ProfileConfig {
	c.Keys.Curves = slices.Clone(c.Keys.Curves)
	c.KeyUsage = slices.Clone(c.KeyUsage)
	c.ExtendedKeyUsage = slices.Clone(c.ExtendedKeyUsage)
	c.Policies = slices.Clone(c.Policies)
	c.Assurance = maps.Clone(c.Assurance)
	if c.PathLength != nil {
		n := *c.PathLength
		c.PathLength = &n
	}
	return c
}

func (p *Profile) checkNames() error {
	c := &p.config
	switch {
	case len(c.Name) > 40 || !slug.MatchString(string(c.Name)):
		return fmt.Errorf("name is not lower-case letters, digits and hyphens, at most 40")
	case c.Mandate != MandateOrder && c.Mandate != MandateNone:
		return fmt.Errorf("mandate %q is not order or none", c.Mandate)
	case c.MaxValidity < Period(time.Hour) || c.MaxValidity > Period(40*366*24*time.Hour):
		return fmt.Errorf("max_validity is not between an hour and forty years")
	case c.CommonNameIsCardNumber && (c.Content.CommonName != Required || c.Content.CardNumber != Required):
		return fmt.Errorf("common_name_is_card_number needs both required")
	}
	for _, r := range c.Content.all() {
		if !slices.Contains([]FieldRule{Required, Optional, Omitted, Refused, ""}, r) {
			return fmt.Errorf("content rule %q is not required, optional, omitted or refused", r)
		}
	}
	return nil
}

func (p *Profile) checkKeys() error {
	k := p.config.Keys
	for _, c := range k.Curves {
		if c != "P-256" && c != "P-384" {
			return fmt.Errorf("keys: curve %q is not P-256 or P-384", c)
		}
	}
	// TS 119 312: shorter moduli than 2048 are no longer to be issued; longer
	// ones than 4096 no card makes and each costs verifiers dear.
	if k.RSAMin != 0 || k.RSAMax != 0 {
		if k.RSAMin < 2048 || k.RSAMax > 4096 || k.RSAMin > k.RSAMax {
			return fmt.Errorf("keys: rsa_min and rsa_max are not between 2048 and 4096")
		}
	} else if len(k.Curves) == 0 {
		return fmt.Errorf("keys: none is allowed")
	}
	return nil
}

func (p *Profile) checkUsage() error {
	for _, name := range p.config.KeyUsage {
		bit, ok := keyUsage[name]
		if !ok {
			return fmt.Errorf("key_usage %q is unknown", name)
		}
		p.keyUsage |= bit
	}
	for _, name := range p.config.ExtendedKeyUsage {
		id, ok := extendedKeyUsage[name]
		if !ok {
			var err error
			if id, err = parseOID(name); err != nil {
				return fmt.Errorf("extended_key_usage: %w", err)
			}
		}
		switch {
		case id.Equal(oidSmartcardLogon):
			return fmt.Errorf("extended_key_usage: smartcardLogon follows the UPN and can't be listed")
		case id.Equal(oidAnyEKU):
			return fmt.Errorf("extended_key_usage: anyExtendedKeyUsage limits nothing")
		case slices.ContainsFunc(p.extended, id.Equal):
			return fmt.Errorf("extended_key_usage: %s stands twice", name)
		}
		p.extended = append(p.extended, id)
	}
	return nil
}

func (p *Profile) checkPolicies() error {
	add := func(text string) error {
		id, err := x509.ParseOID(text)
		if err != nil || id.String() != text {
			return fmt.Errorf("policy %q is not a dotted OID", text)
		}
		if text == "2.5.29.32.0" {
			return fmt.Errorf("policy anyPolicy says nothing of a certificate")
		}
		if _, ok := p.policies[text]; ok {
			return fmt.Errorf("policy %s stands twice", text)
		}
		p.policies[text] = id
		return nil
	}
	for _, level := range slices.Sorted(maps.Keys(p.config.Assurance)) {
		if !routine.MatchString(level) {
			return fmt.Errorf("assurance %q is not of the form routine/level", level)
		}
		if err := add(p.config.Assurance[level]); err != nil {
			return err
		}
		p.assurance[p.config.Assurance[level]] = true
	}
	for _, text := range p.config.Policies {
		if err := add(text); err != nil {
			return err
		}
	}
	return nil
}

func (p *Profile) checkKind() error {
	const caBits = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	c := &p.config
	switch c.Kind {
	case CAKind:
		// RFC 5280, 4.2.1.9: a CA that signs CRLs needs both bits; no other use
		// of the key belongs beside them.
		if p.keyUsage != caBits {
			return fmt.Errorf("a CA has key_usage keyCertSign and cRLSign, nothing else")
		}
		if c.PathLength == nil || *c.PathLength < 0 || *c.PathLength > 3 {
			return fmt.Errorf("a CA has a path_length of 0 to 3")
		}
		if len(c.ExtendedKeyUsage) > 0 || c.OCSPNoCheck || c.Mandate != MandateNone {
			return fmt.Errorf("a CA has no extended_key_usage, ocsp_nocheck or mandate")
		}
		r := c.Content
		if r.Country != Required || r.Organisation != Required || r.CommonName != Required {
			return fmt.Errorf("a CA has country, organisation and common_name")
		}
	case EndEntity:
		// One use a key (EN 319 412-2, 4.3.2): a log-in can then never be taken
		// for a signature on a document.
		if p.keyUsage != x509.KeyUsageDigitalSignature && p.keyUsage != x509.KeyUsageContentCommitment {
			return fmt.Errorf("an end entity has key_usage digitalSignature or contentCommitment, one of them")
		}
		if c.PathLength != nil {
			return fmt.Errorf("an end entity has no path_length")
		}
		// A verifier takes a missing extension for "every purpose".
		if len(p.extended) == 0 {
			return fmt.Errorf("an end entity has an extended_key_usage")
		}
		if carried(c.Content.UPN) && !slices.ContainsFunc(p.extended, extendedKeyUsage["clientAuth"].Equal) {
			return fmt.Errorf("a UPN, and with it smartcardLogon, belongs to clientAuth only")
		}
		if c.Content.CommonName != Required {
			return fmt.Errorf("an end entity has a common_name")
		}
	default:
		return fmt.Errorf("kind %q is not end-entity or ca", c.Kind)
	}
	return nil
}

func carried(r FieldRule) bool { return r == Required || r == Optional }

func parseOID(text string) (asn1.ObjectIdentifier, error) {
	var id asn1.ObjectIdentifier
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.ParseInt(part, 10, 32)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is not a dotted OID", text)
		}
		id = append(id, int(n))
	}
	if len(id) < 2 || id[0] > 2 || id[0] < 2 && id[1] > 39 || id.String() != text {
		return nil, fmt.Errorf("%q is not a dotted OID", text)
	}
	return id, nil
}

// Name returns the profile's name.
func (p *Profile) Name() ProfileName { return p.config.Name }

// Config returns a copy of what the profile was made of.
func (p *Profile) Config() ProfileConfig { return p.config.clone() }

// Mandate tells what must stand behind a certificate of this profile.
func (p *Profile) Mandate() MandateRule { return p.config.Mandate }

// MaxValidity returns the longest time from notBefore to notAfter.
func (p *Profile) MaxValidity() time.Duration { return time.Duration(p.config.MaxValidity) }

// IsCA reports whether the profile is a CA's.
func (p *Profile) IsCA() bool { return p.config.Kind == CAKind }

// AssurancePolicy returns the policy OID, dotted, that tells a routine and its
// level of assurance ("ordinary/3"), and false if the profile has none for it.
func (p *Profile) AssurancePolicy(routine string) (string, bool) {
	oid, ok := p.config.Assurance[routine]
	return oid, ok
}

// Assurance returns all of them.
func (p *Profile) Assurance() map[string]string { return maps.Clone(p.config.Assurance) }

// CheckKey returns a [*RequestError] if the profile does not certify key. It
// looks at kind and size only; weak keys are the business of key admission.
func (p *Profile) CheckKey(key crypto.PublicKey) error {
	k := p.config.Keys
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if key == nil || key.Curve == nil || !slices.Contains(k.Curves, key.Curve.Params().Name) {
			return refuse("key", "its curve is not in the profile")
		}
		if _, err := key.ECDH(); err != nil {
			return refuse("key", "its point is not on the curve")
		}
	case *rsa.PublicKey:
		if key == nil || key.N == nil || key.N.BitLen() < k.RSAMin || key.N.BitLen() > k.RSAMax {
			return refuse("key", "its RSA modulus has a length that is not in the profile")
		}
		// TS 119 312: 2^16 < e < 2^256; crypto/rsa keeps e in an int.
		if key.E <= 1<<16 || key.E%2 == 0 {
			return refuse("key", "its RSA exponent is even or below 65537")
		}
	default:
		return refuse("key", fmt.Sprintf("keys of type %T are not certified", key))
	}
	return nil
}
