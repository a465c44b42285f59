package revocation

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"sigill/revocation/logged"
)

// Level is a level of assurance. The zero Level is none.
type Level struct {
	Number int    // as minimum demands compare it: 2, 3, 4
	Name   string // as the relying party's own language has it, such as an acr value
}

// Anchor is a certificate that is trusted without being asked about: a root, or
// an issuing CA where its root shall not be trusted as a whole.
type Anchor struct {
	Certificate *x509.Certificate
	// Levels tells what a policy OID, dotted, means below this anchor. Each anchor
	// has its own table: an OID is a number that any other CA may write too.
	Levels map[string]Level
}

// Kind is a kind of identifier of a person.
type Kind string

// Kinds; the zero Kind demands none.
const (
	HSAID        Kind = "hsa-id"
	PersonNumber Kind = "person-number" // personnummer or samordningsnummer
	OtherKind    Kind = "other"
)

// Identifier is the serialNumber attribute of a subject.
type Identifier struct {
	Kind  Kind // "" if there is none, or more than one
	Value string
}

// Demand is what a certificate must be for. The zero Demand demands nothing.
type Demand struct {
	MinLevel int
	// Policies: the certificate must name one of these, and no CA above it may be
	// confined to others.
	Policies     []string
	ExtKeyUsages []x509.ExtKeyUsage // all of them, by name
	KeyUsage     x509.KeyUsage      // all of these bits
	Kind         Kind
	Log          logged.Demand // of transparency logs
}

// An HSA-id is SE, the ten digits of the organisation that answers for the
// person's entry, a hyphen, and a part of that organisation's choice.
var (
	hsaIDForm        = regexp.MustCompile(`^SE[0-9]{10}-[0-9A-Za-z]{1,20}$`)
	personNumberForm = regexp.MustCompile(`^(PNOSE-)?(19|20)[0-9]{10}$`) // PNOSE-: EN 319 412-1, 5.1.3
)

var oidSerialNumber = asn1.ObjectIdentifier{2, 5, 4, 5}

// IdentifierOf returns the identifier in cert's subject. A subject with two has
// none: readers would disagree on which it is.
func IdentifierOf(cert *x509.Certificate) Identifier {
	var values []string
	for _, name := range cert.Subject.Names {
		if value, ok := name.Value.(string); ok && name.Type.Equal(oidSerialNumber) {
			values = append(values, value)
		}
	}
	if len(values) != 1 {
		return Identifier{}
	}
	switch v := values[0]; {
	case hsaIDForm.MatchString(v):
		return Identifier{HSAID, v}
	case personNumberForm.MatchString(v):
		return Identifier{PersonNumber, strings.TrimPrefix(v, "PNOSE-")}
	default:
		return Identifier{OtherKind, v}
	}
}

// chain is a way from a certificate to an anchor.
type chain struct {
	certs  []*x509.Certificate
	anchor *Anchor
}

// describe names the CAs; the holder's name is for whoever prints the subject.
func (c chain) describe() string {
	text := fmt.Sprintf("serial %x", c.certs[0].SerialNumber)
	for _, cert := range c.certs[1:] {
		text += fmt.Sprintf(" issued by %q", cert.Subject.CommonName)
	}
	return text + ", which is trusted"
}

// chains returns the ways from the certificate to anchors, all of them valid at
// the time in question or within the skew of it.
func (j *judgement) chains() ([]chain, Cause, error) {
	anchors := slices.Clone(j.v.Anchors)
	for _, root := range j.v.Roots {
		anchors = append(anchors, Anchor{Certificate: root})
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, a := range anchors {
		roots.AddCert(a.Certificate)
	}
	for _, cert := range j.presented.Issuers {
		between.AddCert(cert)
	}
	options := x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if len(j.v.Demand.ExtKeyUsages) > 0 {
		options.KeyUsages = j.v.Demand.ExtKeyUsages
	}
	for _, dotted := range j.v.Demand.Policies {
		oid, err := x509.ParseOID(dotted)
		if err != nil {
			return nil, CausePolicy, fmt.Errorf("demanded policy %q: %w", dotted, err)
		}
		options.CertificatePolicies = append(options.CertificatePolicies, oid)
	}
	found, err := j.within(options)
	for tries := 0; err != nil && tries < maxAIA && j.fetchIssuer(between, tries, err); tries++ {
		found, err = j.within(options)
	}
	if err != nil {
		cause, err := j.chainError(err)
		return nil, cause, err
	}
	// The nearest anchor first: its table is the one that was made for this CA.
	slices.SortStableFunc(found, func(a, b []*x509.Certificate) int { return len(a) - len(b) })
	var out []chain
	for _, certs := range found[:min(len(found), maxChains)] {
		top := certs[len(certs)-1]
		for i := range anchors {
			if anchors[i].Certificate.Equal(top) {
				out = append(out, chain{certs, &anchors[i]})
				break
			}
		}
	}
	return out, causeNone, nil
}

// within builds chains at the time in question, and if something in them has
// just ended or is about to begin, as another clock within the skew sees it.
func (j *judgement) within(options x509.VerifyOptions) ([][]*x509.Certificate, error) {
	options.CurrentTime = j.at
	found, err := j.presented.Certificate.Verify(options)
	if err == nil || j.v.Skew <= 0 {
		return found, err
	}
	for _, skew := range []time.Duration{j.v.Skew, -j.v.Skew} {
		options.CurrentTime = j.at.Add(skew)
		if found, again := j.presented.Certificate.Verify(options); again == nil {
			j.say("clock: the chain is valid at %s, which is within the %s that clocks may be wrong by", stamp(options.CurrentTime), j.v.Skew)
			return found, nil
		}
	}
	return nil, err
}

// maxAIA bounds how many issuers' certificates are fetched for one question.
const maxAIA = 3

// fetchIssuer fetches the certificate that the last one in hand names as its
// issuer's (RFC 5280, 4.2.2.1), and reports whether there is one more now. Whose
// it is is proved by the chain, not by where it came from.
func (j *judgement) fetchIssuer(between *x509.CertPool, tries int, err error) bool {
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); !unknown || !j.v.FetchIssuers {
		return false
	}
	last := j.presented.Certificate
	if tries > 0 {
		last = j.presented.Issuers[len(j.presented.Issuers)-1]
	}
	for _, address := range last.IssuingCertificateURL {
		der, took, err := j.get(j.ctx, address)
		var cert *x509.Certificate
		if err == nil {
			cert, err = x509.ParseCertificate(der)
		}
		x := &Exchange{Kind: FromAIA, Address: address, Took: took, Octets: len(der)}
		if err != nil {
			x.Error = err.Error()
			j.tell(x, "issuer's certificate: none: %v", err)
			continue
		}
		j.tell(x, "issuer's certificate: of %q", cert.Subject.CommonName)
		between.AddCert(cert)
		j.presented.Issuers = append(slices.Clip(j.presented.Issuers), cert)
		return true
	}
	return false
}

// chainError says why there is no chain, without what the certificate holds of a
// person beyond its subject.
func (j *judgement) chainError(err error) (Cause, error) {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		cert := invalid.Cert
		which := "the certificate"
		if cert != nil && !cert.Equal(j.presented.Certificate) {
			which = fmt.Sprintf("the issuer's certificate %q", cert.Subject.CommonName)
		}
		switch invalid.Reason {
		case x509.Expired:
			if j.at.Before(cert.NotBefore) {
				return CauseNotYet, fmt.Errorf("%s is valid from %s, which has not come", which, stamp(cert.NotBefore))
			}
			return CauseExpired, fmt.Errorf("%s was valid until %s", which, stamp(cert.NotAfter))
		case x509.CANotAuthorizedForThisName, x509.CANotAuthorizedForExtKeyUsage, x509.TooManyConstraints, x509.UnconstrainedName, x509.NameConstraintsWithoutSANs:
			return CauseChain, errors.New("a CA in the chain may not issue certificates with these names")
		case x509.IncompatibleUsage:
			return CausePurpose, errors.New("the certificate, or a CA above it, is not for the demanded purpose")
		case x509.TooManyIntermediates:
			return CauseChain, errors.New("a CA has more CAs below it than it may have")
		case x509.NotAuthorizedToSign:
			return CauseChain, fmt.Errorf("%s is not a CA's", which)
		}
		return CauseChain, err
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		text := fmt.Sprintf("nobody who is trusted vouches for the issuer %q", j.presented.Certificate.Issuer.CommonName)
		if at := j.presented.Certificate.IssuingCertificateURL; len(at) > 0 {
			text += fmt.Sprintf(" (the certificate says that the issuer's own is at %s)", at[0])
		}
		return CauseUntrusted, errors.New(text)
	}
	return CauseChain, err
}

// purpose compares the certificate with what is demanded.
func (j *judgement) purpose(c chain) (Cause, error) {
	leaf, demand := c.certs[0], j.v.Demand
	level, err := j.level(c)
	if err != nil {
		return CauseTwoLevels, err
	}
	j.result.Level = level
	if level != (Level{}) {
		j.say("level of assurance: %d %s", level.Number, level.Name)
	}
	if level.Number < demand.MinLevel {
		return CauseLevel, fmt.Errorf("level of assurance: %d is demanded, and below %q the certificate proves %d",
			demand.MinLevel, c.anchor.Certificate.Subject.CommonName, level.Number)
	}
	if len(demand.Policies) > 0 && !slices.ContainsFunc(demand.Policies, func(oid string) bool { return c.holds(oid) }) {
		return CausePolicy, fmt.Errorf("policy: none of %s holds for the certificate", strings.Join(demand.Policies, ", "))
	}
	for _, usage := range demand.ExtKeyUsages {
		if !slices.Contains(leaf.ExtKeyUsage, usage) {
			return CausePurpose, fmt.Errorf("purpose: the certificate does not name %v", usage)
		}
	}
	if leaf.KeyUsage&demand.KeyUsage != demand.KeyUsage {
		return CausePurpose, errors.New("purpose: the key is not for the demanded use")
	}
	if demand.Kind != "" && j.result.Identifier.Kind != demand.Kind {
		return CauseIdentifier, fmt.Errorf("identifier: %s is demanded, and the subject has %s", demand.Kind, j.result.Identifier.Kind.Word())
	}
	return causeNone, nil
}

// Word names the kind for people.
func (k Kind) Word() string {
	if k == "" {
		return "none, or more than one"
	}
	return string(k)
}

// level reads the certificate's policies by the anchor's table. Two levels in one
// certificate are no level: whoever reads the other one is deceived.
func (j *judgement) level(c chain) (Level, error) {
	var level Level
	for _, oid := range j.result.PolicyOIDs {
		is, ok := c.anchor.Levels[oid]
		if !ok {
			continue
		}
		if !c.holds(oid) {
			j.say("policy %s means level %d, but a CA above may not issue under it", oid, is.Number)
			continue
		}
		if level != (Level{}) && level != is {
			return Level{}, fmt.Errorf("level of assurance: the certificate names two, %d and %d", level.Number, is.Number)
		}
		level = is
	}
	return level, nil
}

// anyPolicy stands for all policies in a CA's certificate.
const anyPolicy = "2.5.29.32.0"

// holds reports whether the certificate names the policy itself and no CA between
// it and the anchor is confined to others. Where the CA's certificate names no policies
// at all it confines nothing, unlike in RFC 5280, 6.1: the table is the anchor's,
// and many CAs name none. A policy that a CA maps to another one means something
// else below it.
func (c chain) holds(oid string) bool {
	if !named(c.certs[0], oid) {
		return false
	}
	inhibited := false
	for i := len(c.certs) - 2; i > 0; i-- {
		cert := c.certs[i]
		if len(cert.Policies) > 0 && !named(cert, oid) && (inhibited || !named(cert, anyPolicy)) {
			return false
		}
		for _, m := range cert.PolicyMappings {
			if m.IssuerDomainPolicy.String() == oid || m.SubjectDomainPolicy.String() == oid {
				return false
			}
		}
		inhibited = inhibited || cert.InhibitAnyPolicy > 0 || cert.InhibitAnyPolicyZero
	}
	return true
}

func named(cert *x509.Certificate, oid string) bool {
	return slices.ContainsFunc(cert.Policies, func(is x509.OID) bool { return is.String() == oid })
}
