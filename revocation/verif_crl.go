package revocation

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca"
)

// crlIndex is a list that was verified under its issuer's key: what it says of
// itself, and its entries, to be looked up without the list.
type crlIndex struct {
	head   *ca.CRLHead
	issuer string // common name of who signed
	lines  []crlLine
	long   map[string]crlLine // serials that RFC 5280 would not allow
}

// maxShort is the length in octets of the content of a serial's INTEGER that
// RFC 5280, 4.1.2.2, allows, and one for a zero that many write before 20 octets.
const maxShort = 21

// crlLine is one entry in 32 octets: lists of other issuers can have a million.
type crlLine struct {
	serial [maxShort]byte // content of the INTEGER in DER, zeros after it
	length uint8
	reason uint8
	at     int64 // Unix seconds
}

func compareLines(a, b crlLine) int {
	if a.length != b.length {
		return int(a.length) - int(b.length)
	}
	return bytes.Compare(a.serial[:], b.serial[:])
}

// readCRL reads a list and verifies its signature under issuer.
func readCRL(der []byte, issuer *x509.Certificate) (*crlIndex, error) {
	r, err := ca.NewCRLReader(bytes.NewReader(der), issuer)
	if err != nil {
		return nil, err
	}
	x := &crlIndex{issuer: issuer.Subject.CommonName, long: map[string]crlLine{}}
	for r.Next() {
		e := r.Entry()
		line := crlLine{reason: uint8(e.Reason), at: e.At.Unix()}
		if serial := r.Serial(); len(serial) > maxShort {
			x.long[string(serial)] = line
		} else {
			line.length = uint8(copy(line.serial[:], serial))
			x.lines = append(x.lines, line)
		}
	}
	if x.head, err = r.Finish(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(x.lines, compareLines)
	return x, x.usable()
}

// usable says why a list that its issuer signed cannot be used (RFC 5280, 5.2,
// 5.3, 6.3.3).
func (x *crlIndex) usable() error {
	h := x.head
	switch {
	case h.Number == nil:
		return failed(unbelievable, "the list has no number")
	case h.DeltaBase != nil:
		return failed(unsupported, "it is a delta list, which tells changes only")
	case len(h.UnknownCritical) > 0:
		return failed(unbelievable, "critical extension %v of the list is not known", h.UnknownCritical[0])
	case h.CriticalEntries > 0:
		return failed(unbelievable, "%d entries have critical extensions that are not known", h.CriticalEntries)
	case !h.Scope.Present:
		return nil
	case !h.Scope.Critical:
		return failed(unbelievable, "its issuing distribution point is not critical, so that others overlook it")
	case h.Scope.Indirect:
		return failed(unsupported, "it is an indirect list, with entries of other issuers")
	case h.Scope.OnlySomeReasons:
		return failed(unsupported, "it lists some reasons only, and so never shows that a certificate is good")
	case h.Scope.OnlyAttributes:
		return failed(unsupported, "it is for attribute certificates")
	case len(h.Scope.URIs) == 0 && h.Scope.OtherNames:
		return failed(unsupported, "it is for a place that is not an address")
	case !h.Scope.OnlyUserCerts && !h.Scope.OnlyCACerts && len(h.Scope.URIs) == 0:
		return failed(unbelievable, "its issuing distribution point is empty")
	}
	return nil
}

// scope is the issuing distribution point in words, the same for each list of a scope.
func (x *crlIndex) scope() string {
	s := x.head.Scope
	words := slices.Clone(s.URIs)
	if s.OnlyUserCerts {
		words = append(words, "holders' certificates only")
	}
	if s.OnlyCACerts {
		words = append(words, "CA certificates only")
	}
	if len(words) == 0 {
		return "all certificates"
	}
	return strings.Join(words, ", ")
}

// covers says why the list does not tell the status of a certificate with these
// distribution points. The list of another partition is signed by the same key;
// only this address tells that it is the one that would name the certificate.
func (x *crlIndex) covers(t target, points []string) error {
	s := x.head.Scope
	isCA := t.cert.BasicConstraintsValid && t.cert.IsCA
	switch {
	case s.OnlyUserCerts && isCA:
		return failed(unbelievable, "the list is for holders' certificates only")
	case s.OnlyCACerts && !isCA:
		return failed(unbelievable, "the list is for CA certificates only")
	case len(s.URIs) > 0 && !slices.ContainsFunc(s.URIs, func(uri string) bool { return slices.Contains(points, uri) }):
		return failed(unbelievable, "the list is for %s, which the certificate does not name", strings.Join(s.URIs, ", "))
	}
	return nil
}

// lookup returns the entry of a serial. Of two, the earlier: since then the certificate is revoked.
func (x *crlIndex) lookup(serial *big.Int) (crlLine, bool) {
	content := integerContent(serial)
	if len(content) > maxShort {
		line, ok := x.long[string(content)]
		return line, ok
	}
	var want crlLine
	want.length = uint8(copy(want.serial[:], content))
	i, found := slices.BinarySearchFunc(x.lines, want, compareLines)
	if !found {
		return crlLine{}, false
	}
	first := x.lines[i]
	for _, line := range x.lines[i:] {
		if compareLines(line, want) != 0 {
			break
		}
		if line.at < first.at {
			first = line
		}
	}
	return first, true
}

// integerContent is the content of n's INTEGER in DER.
func integerContent(n *big.Int) []byte {
	var b cryptobyte.Builder
	b.AddASN1BigInt(n)
	in := cryptobyte.String(b.BytesOrPanic())
	var content cryptobyte.String
	in.ReadASN1(&content, cbasn1.INTEGER)
	return content
}

// octets is about what the index takes in memory.
func (x *crlIndex) octets() int { return 32*cap(x.lines) + 128*len(x.long) + 1024 }

// crlAt takes the list at an address, or what is kept of it.
func (j *judgement) crlAt(address string, t target, points []string) (finding, error) {
	key := "crl " + issuerKey(t.issuer) + address
	held, _ := j.v.Cache.get(key)
	if held.list != nil && j.fresh(held.fetched) {
		if f, err := j.useCRL(held.list, t, points, &Exchange{Kind: FromCache, Address: address}); err == nil {
			return f, nil
		}
	}
	x := &Exchange{Kind: FromCRL}
	list, err := j.fetchCRL(key, address, t, x)
	if err == nil {
		return j.useCRL(list, t, points, x)
	}
	x.Error = err.Error()
	j.tell(x, "CRL for %s: none: %v", t.name(), err)
	if held.list != nil {
		if f, err := j.useCRL(held.list, t, points, &Exchange{Kind: FromCache, Address: address}); err == nil {
			return f, nil
		}
	}
	return finding{}, err
}

// fetched is a list as one of those who wanted it got it.
type fetched struct {
	list   *crlIndex
	took   time.Duration
	octets int
}

// fetchCRL fetches, verifies and keeps a list. Those who want the same list at
// the same time wait for one of them: at the end of a list everybody comes at once.
func (j *judgement) fetchCRL(key, address string, t target, x *Exchange) (*crlIndex, error) {
	var got fetched
	var err error
	if j.v.Cache == nil {
		got, err = j.loadCRL(j.ctx, key, address, t)
	} else {
		got, err = j.together(key, func() (fetched, error) {
			// Whoever came first may leave; the others still want the list.
			return j.loadCRL(context.WithoutCancel(j.ctx), key, address, t)
		})
	}
	x.Address, x.Took, x.Octets = address, got.took, got.octets
	return got.list, err
}

func (j *judgement) loadCRL(ctx context.Context, key, address string, t target) (fetched, error) {
	var got fetched
	der, took, err := j.get(ctx, address)
	got.took, got.octets = took, len(der)
	if err != nil {
		return got, err
	}
	list, err := readCRL(der, t.issuer)
	if err != nil {
		return got, err
	}
	if err := j.inForce(list.head.ThisUpdate, list.head.NextUpdate); err != nil {
		return got, err
	}
	if err := j.v.Cache.admit(issuerKey(t.issuer)+list.scope(), list.head.Number, list.head.ThisUpdate); err != nil {
		return got, failed(unbelievable, "%w", err)
	}
	j.v.Cache.put(key, kept{list: list, fetched: j.now, octets: list.octets()})
	got.list = list
	return got, nil
}

// together runs load once for all who ask at the same time. Each waits no longer
// than its own context lets it.
func (j *judgement) together(key string, load func() (fetched, error)) (fetched, error) {
	type outcome struct {
		got fetched
		err error
	}
	done := j.v.Cache.flights.DoChan(key, func() (any, error) {
		got, err := load()
		return outcome{got, err}, nil
	})
	select {
	case o := <-done:
		out := o.Val.(outcome)
		return out.got, out.err
	case <-j.ctx.Done():
		return fetched{}, failed(unreachable, "%w", j.ctx.Err())
	}
}

// listOf reports whether a list that was presented bears the name of issuer. One
// that does not is about other certificates, which is no fault.
func listOf(der []byte, issuer *x509.Certificate) bool {
	in := cryptobyte.String(der)
	var list, tbs, name cryptobyte.String
	if !in.ReadASN1(&list, cbasn1.SEQUENCE) || !list.ReadASN1(&tbs, cbasn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(cbasn1.INTEGER) || !tbs.SkipASN1(cbasn1.SEQUENCE) || !tbs.ReadASN1Element(&name, cbasn1.SEQUENCE) {
		return true // what cannot be read is told of
	}
	return bytes.Equal(name, issuer.RawSubject)
}

// listAtHand judges by a list that was presented.
func (j *judgement) listAtHand(der []byte, t target, points []string) (finding, error) {
	x := &Exchange{Kind: FromCRL, Octets: len(der)}
	list, err := readCRL(der, t.issuer)
	if err == nil {
		err = j.inForce(list.head.ThisUpdate, list.head.NextUpdate)
	}
	if err == nil {
		return j.useCRL(list, t, points, x)
	}
	x.Error = err.Error()
	j.tell(x, "CRL at hand for %s: none: %v", t.name(), err)
	return finding{}, err
}

// useCRL looks a certificate up in a verified list.
func (j *judgement) useCRL(list *crlIndex, t target, points []string, x *Exchange) (finding, error) {
	h := list.head
	x.ThisUpdate, x.NextUpdate, x.Signer, x.Number, x.Scope = h.ThisUpdate, h.NextUpdate, list.issuer, h.Number.String(), list.scope()
	x.Entries, x.Octets = h.Entries, int(h.Size)
	err := list.covers(t, points)
	if err == nil {
		err = j.inForce(h.ThisUpdate, h.NextUpdate)
	}
	if err != nil {
		x.Error = err.Error()
		j.tell(x, "CRL for %s%s: none: %v", t.name(), where(x.Kind), err)
		return finding{}, err
	}
	f := finding{status: Good, source: x.Kind}
	if line, listed := list.lookup(t.cert.SerialNumber); listed {
		f = finding{status: Revoked, reason: ca.Reason(line.reason), at: time.Unix(line.at, 0).UTC(), cause: CauseRevoked, source: x.Kind}
	}
	j.tell(x, "CRL for %s%s: %s", t.name(), where(x.Kind), f.word())
	var expired error
	if t.cert.NotAfter.Before(h.ThisUpdate) {
		expired = errors.New("the certificate has expired since, and lists leave out what has expired")
	}
	return j.then(t, f, expired)
}

var oidDistributionPoints = asn1.ObjectIdentifier{2, 5, 29, 31}

// distributionPoints returns the addresses where cert says that all of its
// possible revocations are listed by its issuer. A point for some reasons only,
// or with the list of another issuer, is left out: it would show half.
// crypto/x509 reads the addresses and not what is said beside them.
func distributionPoints(cert *x509.Certificate) ([]string, error) {
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(oidDistributionPoints) {
			continue
		}
		points, left, ok := readDistributionPoints(ext.Value)
		if !ok {
			return nil, failed(unbelievable, "its CRL distribution points cannot be read")
		}
		if left > 0 && len(points) == 0 {
			return nil, failed(unsupported, "its CRL distribution points name no address, some reasons only, or another issuer's list")
		}
		return points, nil
	}
	return nil, nil
}

// readDistributionPoints reads CRLDistributionPoints (RFC 5280, 4.2.1.13): the
// addresses, and how many points were left out.
func readDistributionPoints(value []byte) (uris []string, left int, ok bool) {
	in := cryptobyte.String(value)
	var list cryptobyte.String
	if !in.ReadASN1(&list, cbasn1.SEQUENCE) || !in.Empty() || list.Empty() {
		return nil, 0, false
	}
	for !list.Empty() {
		var point, name, full, part cryptobyte.String
		var hasName, some, other bool
		if !list.ReadASN1(&point, cbasn1.SEQUENCE) ||
			!point.ReadOptionalASN1(&name, &hasName, explicit(0)) ||
			!point.ReadOptionalASN1(&part, &some, cbasn1.Tag(1).ContextSpecific()) ||
			!point.ReadOptionalASN1(&part, &other, explicit(2)) || !point.Empty() {
			return nil, 0, false
		}
		if some || other || !hasName || !name.PeekASN1Tag(explicit(0)) {
			left++
			continue
		}
		if !name.ReadASN1(&full, explicit(0)) || !name.Empty() {
			return nil, 0, false
		}
		before := len(uris)
		for !full.Empty() {
			var general cryptobyte.String
			var tag cbasn1.Tag
			if !full.ReadAnyASN1(&general, &tag) {
				return nil, 0, false
			}
			if tag == cbasn1.Tag(6).ContextSpecific() {
				uris = append(uris, string(general))
			}
		}
		if len(uris) == before {
			left++
		}
	}
	return uris, left, true
}
