package lint

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"time"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3/lint"
	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca/crl"
)

// crlSources are the rules that bind lists.
var crlSources = lint.SourceList{lint.RFC5280, lint.Community}

// crlExcluded are lints of these sources that must not decide, each with its
// reason.
var crlExcluded = []string{
	// It wants every revocation to be at thisUpdate or before, which RFC 5280
	// nowhere says. thisUpdate is set back, because there are relying parties
	// whose clocks are slow, and a revocation is listed within a second of it: the
	// newest entries are later than thisUpdate on purpose. That none is later than
	// nextUpdate is our own lint.
	"e_crl_revocation_time_after_this_update",
}

// publicCRLLints filters zlint's registry once.
func publicCRLLints() ([]*lint.RevocationListLint, error) {
	registry, err := lint.GlobalRegistry().Filter(lint.FilterOptions{IncludeSources: crlSources, ExcludeNames: crlExcluded})
	if err != nil {
		return nil, fmt.Errorf("lint: filtering zlint's registry: %w", err)
	}
	lints := registry.RevocationListLints().Lints()
	if len(lints) < 11 {
		return nil, fmt.Errorf("lint: only %d public lints of CRLs are registered", len(lints))
	}
	return lints, nil
}

// LintCRL judges the certificate revocation list der. It returns nil, or a
// *[ca.LintError] with what was found, of each kind once.
//
// It does not look at the signature, so that a list need not be judged as a whole
// each time it is issued: one with the same head and only the entries that are
// new has everything that has not been judged before, and costs as much as there
// is new.
func (l *Linter) LintCRL(der []byte) error {
	var f findings
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		f.add("sigill_crl_parse", "crypto/x509 refuses the list")
		return f.err()
	}
	l.publicCRL(&f, list)
	lintCRLStrict(&f, der)
	lintCRLHead(&f, list)
	lintCRLTimeForms(&f, list)
	lintCRLExtensions(&f, list)
	lintCRLEntries(&f, list)
	return f.err()
}

// publicCRL parses the list with zlint's own parser, lets the two agree, and
// runs the public lints. Warnings count too: the one there is, a written out
// reason unspecified, is refused by RFC 5280 with SHOULD NOT.
func (l *Linter) publicCRL(f *findings, list *x509.RevocationList) {
	second, err := zx509.ParseRevocationList(list.Raw)
	if err != nil {
		f.add("sigill_crl_second_parser", "zcrypto refuses the list")
		return
	}
	if !sameCRL(list, second) {
		f.add("sigill_crl_second_parser", "the two parsers disagree")
	}
	config := lint.NewEmptyConfig()
	for _, each := range l.crlLints {
		if result := each.Execute(second, config); result.Status >= lint.Warn {
			f.add(each.Name, "%s (%s)", each.Description, each.Citation)
		}
	}
}

func sameCRL(a *x509.RevocationList, b *zx509.RevocationList) bool {
	if !bytes.Equal(a.RawTBSRevocationList, b.RawTBSRevocationList) || !bytes.Equal(a.RawIssuer, b.RawIssuer) ||
		!a.ThisUpdate.Equal(b.ThisUpdate) || !a.NextUpdate.Equal(b.NextUpdate) ||
		len(a.RevokedCertificateEntries) != len(b.RevokedCertificates) || len(a.Extensions) != len(b.Extensions) {
		return false
	}
	for i, e := range a.RevokedCertificateEntries {
		other := b.RevokedCertificates[i]
		reason := 0
		if other.ReasonCode != nil {
			reason = *other.ReasonCode
		}
		if e.SerialNumber.Cmp(other.SerialNumber) != 0 || !e.RevocationTime.Equal(other.RevocationTime) || e.ReasonCode != reason || len(e.Extensions) != len(other.Extensions) {
			return false
		}
	}
	for i, ext := range a.Extensions {
		if other := b.Extensions[i]; ext.Id.String() != other.Id.String() || ext.Critical != other.Critical || !bytes.Equal(ext.Value, other.Value) {
			return false
		}
	}
	return true
}

// lintCRLStrict has the list read by a reader that knows DER and no mercy: both
// others pass over what follows an element, over criticality FALSE, over bits
// after the signature.
func lintCRLStrict(f *findings, der []byte) {
	r, err := crl.NewReader(bytes.NewReader(der), nil)
	if err == nil {
		_, err = r.Finish()
	}
	if err != nil {
		f.add("sigill_crl_der", "the strict reader refuses the list")
	}
}

func lintCRLHead(f *findings, list *x509.RevocationList) {
	if len(list.Issuer.Names) == 0 {
		f.add("sigill_crl_issuer", "the list names no issuer")
	}
	if !list.NextUpdate.After(list.ThisUpdate) {
		f.add("sigill_crl_next_update", "nextUpdate is missing or not after thisUpdate")
	}
	switch list.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.PureEd25519:
	default:
		f.add("sigill_crl_algorithm", "signature algorithm %v is not for lists of ours", list.SignatureAlgorithm)
	}
}

// lintCRLTimeForms: UTCTime until 2049, GeneralizedTime from 2050 on (RFC 5280,
// 5.1.2.4 to 5.1.2.6). No parser asks for it, and some relying parties do.
func lintCRLTimeForms(f *findings, list *x509.RevocationList) {
	wrong := func(in *cryptobyte.String, at time.Time) bool {
		want := casn1.UTCTime
		if at.Year() >= 2050 || at.Year() < 1950 {
			want = casn1.GeneralizedTime
		}
		var element cryptobyte.String
		var tag casn1.Tag
		return !in.ReadAnyASN1(&element, &tag) || tag != want
	}
	in := cryptobyte.String(list.RawTBSRevocationList)
	ok := in.ReadASN1(&in, casn1.SEQUENCE) && in.SkipASN1(casn1.INTEGER) && in.SkipASN1(casn1.SEQUENCE) && in.SkipASN1(casn1.SEQUENCE)
	if !ok || wrong(&in, list.ThisUpdate) || !list.NextUpdate.IsZero() && wrong(&in, list.NextUpdate) {
		f.add("sigill_crl_time_form", "thisUpdate or nextUpdate is in the other form of time")
	}
	for i, e := range list.RevokedCertificateEntries {
		entry := cryptobyte.String(e.Raw)
		if !entry.ReadASN1(&entry, casn1.SEQUENCE) || !entry.SkipASN1(casn1.INTEGER) || wrong(&entry, e.RevocationTime) {
			f.add("sigill_crl_time_form", "the time of entry %d is in the other form", i)
			return
		}
	}
}

// The extensions that a list of ours has: the first two always.
var (
	oidCRLKeyID       = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidCRLNumber      = asn1.ObjectIdentifier{2, 5, 29, 20}
	oidCRLScope       = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidCRLNextPublish = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 21, 4}
	oidCRLDelta       = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidCRLReason      = asn1.ObjectIdentifier{2, 5, 29, 21}
)

func lintCRLExtensions(f *findings, list *x509.RevocationList) {
	find := func(id asn1.ObjectIdentifier) *pkix.Extension {
		if i := slices.IndexFunc(list.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(id) }); i >= 0 {
			return &list.Extensions[i]
		}
		return nil
	}
	// [0] keyIdentifier and nothing else: naming the issuer's certificate by its
	// serial as well would tie the list to one of several certificates of the key.
	if e := find(oidCRLKeyID); e == nil || e.Critical || !isKeyID(e.Value) {
		f.add("sigill_crl_authority_key_identifier", "it is missing, critical, or more than a key identifier")
	}
	if e := find(oidCRLNumber); e == nil || e.Critical || !isCRLNumber(e.Value) {
		f.add("sigill_crl_number", "it is missing, critical, less than 1 or longer than 20 octets")
	}
	if e := find(oidCRLScope); e != nil && (!e.Critical || !isOnePoint(e.Value)) {
		f.add("sigill_crl_issuing_distribution_point", "it is not critical or not one http address and nothing else")
	}
	if e := find(oidCRLNextPublish); e != nil && (e.Critical || !isTimeBetween(e.Value, list.ThisUpdate, list.NextUpdate)) {
		f.add("sigill_crl_next_publish", "it is critical or no time between thisUpdate and nextUpdate")
	}
	if find(oidCRLDelta) != nil {
		f.add("sigill_crl_delta", "the list is a delta, which this system does not issue")
	}
	known := []asn1.ObjectIdentifier{oidCRLKeyID, oidCRLNumber, oidCRLScope, oidCRLNextPublish, oidCRLDelta}
	for _, e := range list.Extensions {
		if !slices.ContainsFunc(known, e.Id.Equal) {
			f.add("sigill_crl_extension", "extension %v is not one of ours", e.Id)
			return
		}
	}
}

func isKeyID(value cryptobyte.String) bool {
	var body, id cryptobyte.String
	return value.ReadASN1(&body, casn1.SEQUENCE) && value.Empty() &&
		body.ReadASN1(&id, casn1.Tag(0).ContextSpecific()) && body.Empty() && len(id) > 0
}

func isCRLNumber(value cryptobyte.String) bool {
	var n big.Int
	return value.ReadASN1Integer(&n) && value.Empty() && n.Sign() > 0 && n.BitLen() < 8*20
}

// isOnePoint: distributionPoint [0] { fullName [0] { uniformResourceIdentifier
// [6] } }, without any of the flags that would make it cover less.
func isOnePoint(value cryptobyte.String) bool {
	context0 := casn1.Tag(0).ContextSpecific().Constructed()
	var body, point, names, address cryptobyte.String
	if !value.ReadASN1(&body, casn1.SEQUENCE) || !value.Empty() || !body.ReadASN1(&point, context0) || !body.Empty() ||
		!point.ReadASN1(&names, context0) || !point.Empty() ||
		!names.ReadASN1(&address, casn1.Tag(6).ContextSpecific()) || !names.Empty() {
		return false
	}
	u, err := url.Parse(string(address))
	// https would need the status of another certificate first.
	return err == nil && u.Scheme == "http" && u.Host != "" && u.User == nil && u.Fragment == "" && u.String() == string(address)
}

func isTimeBetween(value cryptobyte.String, from, to time.Time) bool {
	var at time.Time
	if value.PeekASN1Tag(casn1.UTCTime) {
		if !value.ReadASN1UTCTime(&at) {
			return false
		}
	} else if !value.ReadASN1GeneralizedTime(&at) || at.Year() < 2050 {
		return false
	}
	return value.Empty() && !at.Before(from) && !at.After(to)
}

// crlReasons are the reasons that an entry may state: 0 is stated by silence, 6
// and 8 are for revocations that end, 7 is nothing, 10 is for attribute authorities.
var crlReasons = []int{1, 2, 3, 4, 5, 9}

// lintCRLEntries reports each kind of mistake once, with the number of the entry
// and not its serial.
func lintCRLEntries(f *findings, list *x509.RevocationList) {
	seen := map[string]bool{}
	once := func(name, format string, args ...any) {
		if !seen[name] {
			seen[name] = true
			f.add(name, format, args...)
		}
	}
	var last *big.Int
	for i, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Sign() <= 0 || e.SerialNumber.BitLen() >= 8*20 {
			once("sigill_crl_entry_serial", "the serial of entry %d is not positive or longer than 20 octets", i)
		}
		if last != nil && last.Cmp(e.SerialNumber) >= 0 {
			once("sigill_crl_entry_order", "entry %d is not after the one before it", i)
		}
		last = e.SerialNumber
		if e.RevocationTime.After(list.NextUpdate) {
			once("sigill_crl_entry_time", "entry %d is revoked after the list's end", i)
		}
		for n, ext := range e.Extensions {
			if n > 0 || ext.Critical || !ext.Id.Equal(oidCRLReason) {
				once("sigill_crl_entry_extension", "entry %d has an extension that is critical or not the reason", i)
			} else if !slices.Contains(crlReasons, e.ReasonCode) {
				once("sigill_crl_entry_reason", "entry %d states reason %d", i, e.ReasonCode)
			}
		}
	}
}
