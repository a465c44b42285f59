package rederive

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/certificate-transparency-go/asn1"
	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sigill/ca"
)

// Extensions (RFC 5280, 4.2, unless said), dotted.
const (
	extSubjectKeyID     = "2.5.29.14"
	extKeyUsage         = "2.5.29.15"
	extAltName          = "2.5.29.17"
	extBasicConstraints = "2.5.29.19"
	extCRLPoints        = "2.5.29.31"
	extPolicies         = "2.5.29.32"
	extAuthorityKeyID   = "2.5.29.35"
	extPurposes         = "2.5.29.37"
	extAuthorityInfo    = "1.3.6.1.5.5.7.1.1"
	extNoCheck          = "1.3.6.1.5.5.7.48.1.5"
	extCardNumber       = "1.2.752.34.2.1"
	extSID              = "1.3.6.1.4.1.311.25.2"
)

const smartcardLogon = "1.3.6.1.4.1.311.20.2.2"

// purposes are the names that profiles give to extended key usages.
var purposes = map[string]string{"serverAuth": "1.3.6.1.5.5.7.3.1", "clientAuth": "1.3.6.1.5.5.7.3.2",
	"OCSPSigning": "1.3.6.1.5.5.7.3.9", "documentSigning": "1.3.6.1.5.5.7.3.36"}

// usages are bit strings of key usage as they must stand, whole.
var usages = map[string][]byte{"digitalSignature": {0x03, 0x02, 0x07, 0x80}, "contentCommitment": {0x03, 0x02, 0x06, 0x40}}

// checkProfile judges what the log has against the profile of its time.
func (c *check) checkProfile() {
	if c.profile.Kind != ca.EndEntity {
		c.find(Claim, "its profile is a CA's")
		return
	}
	if c.profile.Mandate == ca.MandateOrder && c.order == nil {
		c.find(Order, "its profile demands an order, and there is none")
	}
	c.checkValidity()
	c.checkKey()
	c.checkSubject()
	upn := c.checkNames()
	c.checkExtensions()
	c.checkUsage(upn)
	c.checkPolicies()
	c.checkAddresses()
	c.checkOrder()
}

// maxBackdate is how long before the log's promise a certificate may begin: clocks of
// hospitals are slow, and nobody is to be given a past.
const maxBackdate = time.Hour

func (c *check) checkValidity() {
	life := c.tbs.NotAfter.Sub(c.tbs.NotBefore)
	switch {
	case life <= 0:
		c.find(Validity, "it ends before it begins")
	case life > time.Duration(c.profile.MaxValidity):
		c.find(Validity, "it lives longer than its profile allows")
	}
	if c.issuer != nil && c.tbs.NotAfter.After(c.issuer.cert.NotAfter) {
		c.find(Validity, "it outlives its issuer")
	}
	if d := c.entry.Time.Sub(c.tbs.NotBefore); d < -maxSkew || d > maxBackdate {
		c.find(Validity, "it begins at another time than it was logged")
	}
}

func (c *check) checkKey() {
	k := c.profile.Keys
	switch key := c.tbs.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if !slices.Contains(k.Curves, key.Curve.Params().Name) {
			c.find(Key, "its curve is not in the profile")
		}
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < k.RSAMin || n > k.RSAMax {
			c.find(Key, "its length is not in the profile")
		}
	}
	// RFC 7093, 2, method 1.
	in := cryptobyte.String(c.tbs.RawSubjectPublicKeyInfo)
	var body cryptobyte.String
	var bits []byte
	if in.ReadASN1(&body, casn1.SEQUENCE) && body.SkipASN1(casn1.SEQUENCE) && body.ReadASN1BitStringAsBytes(&bits) {
		if sum := sha256.Sum256(bits); !bytes.Equal(sum[:20], c.tbs.SubjectKeyId) {
			c.find(Key, "its subject key identifier is not that of its key")
		}
	}
	if c.issuer != nil && !bytes.Equal(c.tbs.AuthorityKeyId, c.issuer.cert.SubjectKeyId) {
		c.find(Key, "its authority key identifier is not that of its issuer")
	}
	if c.issuer != nil && !bytes.Equal(c.tbs.RawIssuer, c.issuer.cert.RawSubject) {
		c.find(Forged, "it names another issuer than the log")
	}
}

func (c *check) extension(id string) []byte {
	for _, e := range c.tbs.Extensions {
		if e.Id.String() == id {
			return e.Value
		}
	}
	return nil
}

// checkExtensions compares which extensions there are, and their criticality.
func (c *check) checkExtensions() {
	p := c.profile
	want := map[string]bool{extSubjectKeyID: false, extKeyUsage: true, extAuthorityKeyID: false, extPurposes: false}
	optional := map[string]bool{extAltName: true, extCardNumber: true, extSID: true, extPolicies: true} // judged with what they hold
	for id, on := range map[string]bool{extCRLPoints: p.CRL, extAuthorityInfo: p.OCSP || p.CAIssuers, extNoCheck: p.OCSPNoCheck} {
		if on {
			want[id] = false
		}
	}
	seen := map[string]bool{}
	for _, e := range c.tbs.Extensions {
		id := e.Id.String()
		critical, wanted := want[id]
		switch {
		case seen[id]:
			c.find(Extensions, "extension %s stands twice", id)
		case id == extBasicConstraints:
			if c.tbs.IsCA {
				c.find(Usage, "it is a CA's")
			}
		case !wanted && !optional[id]:
			c.find(Extensions, "extension %s is not the profile's", id)
		case e.Critical != critical:
			c.find(Extensions, "extension %s has the wrong criticality", id)
		}
		seen[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if !seen[id] {
			c.find(Extensions, "extension %s is missing", id)
		}
	}
}

func (c *check) checkUsage(upn bool) {
	var want []byte
	if len(c.profile.KeyUsage) == 1 {
		want = usages[c.profile.KeyUsage[0]]
	}
	if want == nil || !bytes.Equal(c.extension(extKeyUsage), want) {
		c.find(Usage, "its key usage is not the profile's")
	}
	expected := []string{}
	for _, name := range c.profile.ExtendedKeyUsage {
		if oid, ok := purposes[name]; ok {
			name = oid
		}
		expected = append(expected, name)
	}
	if upn {
		expected = append(expected, smartcardLogon)
	}
	var got []string
	in, list := cryptobyte.String(c.extension(extPurposes)), cryptobyte.String(nil)
	ok := in.ReadASN1(&list, casn1.SEQUENCE) && in.Empty()
	for ok && !list.Empty() {
		var raw cryptobyte.String
		var oid asn1.ObjectIdentifier
		if ok = list.ReadASN1Element(&raw, casn1.OBJECT_IDENTIFIER); ok {
			_, err := asn1.Unmarshal(raw, &oid)
			ok = err == nil
			got = append(got, oid.String())
		}
	}
	slices.Sort(got)
	slices.Sort(expected)
	if !ok || !slices.Equal(got, expected) {
		c.find(Usage, "its purposes are not the profile's")
	}
}

// policies returns the policy OIDs, dotted.
func (c *check) policies() []string {
	out := []string{}
	for _, oid := range c.tbs.PolicyIdentifiers {
		out = append(out, oid.String())
	}
	return out
}

func (c *check) checkPolicies() {
	levels := map[string]string{} // OID: routine
	for routine, oid := range c.profile.Assurance {
		levels[oid] = routine
	}
	found := 0
	for _, oid := range c.policies() {
		routine, level := levels[oid]
		if !level && !slices.Contains(c.profile.Policies, oid) {
			c.find(Policies, "policy %s is not in the profile", oid)
		}
		if !level {
			continue
		}
		found++
		if _, n, _ := strings.Cut(routine, "/"); c.order != nil && n != strconv.Itoa(c.order.LoA) {
			c.find(Policies, "it claims another level of assurance than was ordered")
		}
	}
	if len(levels) > 0 && found != 1 {
		c.find(Policies, "it states %d levels of assurance, not one", found)
	}
}

// checkAddresses compares where status and the issuer are said to be: all below one
// address, under the issuer's name, in the partition that its serial falls in.
func (c *check) checkAddresses() {
	base := c.StatusURL
	under := func(what string, on bool, is []string, path func(string) bool) string {
		if !on {
			if len(is) > 0 {
				c.find(Addresses, "it names %s, and its profile does not", what)
			}
			return ""
		}
		if len(is) != 1 {
			c.find(Addresses, "it names %s %d times, not once", what, len(is))
			return ""
		}
		at := strings.LastIndex(is[0], "/crl/")
		for _, mark := range []string{"/aia/", "/ocsp"} {
			at = max(at, strings.LastIndex(is[0], mark))
		}
		if at < 0 || base != "" && is[0][:at] != base || !strings.HasPrefix(is[0], "http://") || !path(is[0][at:]) {
			c.find(Addresses, "it names %s at another address than it must", what)
		} else {
			base = is[0][:at]
		}
		return is[0]
	}
	name := c.said.Issuer
	c.CRL = under("a CRL", c.profile.CRL, c.tbs.CRLDistributionPoints, c.partition)
	under("an OCSP responder", c.profile.OCSP, c.tbs.OCSPServer, func(p string) bool { return p == "/ocsp" })
	under("its issuer's certificate", c.profile.CAIssuers, c.tbs.IssuingCertificateURL, func(p string) bool { return p == "/aia/"+name+".cer" })
}

// partition reports whether a path is that of the list in which the serial would be.
func (c *check) partition(path string) bool {
	text, ok := strings.CutPrefix(path, "/crl/"+c.said.Issuer+"/")
	n, err := strconv.Atoi(strings.TrimSuffix(text, ".crl"))
	if !ok || err != nil || n < 0 || path != fmt.Sprintf("/crl/%s/%d.crl", c.said.Issuer, n) {
		return false
	}
	if len(c.Partitions) == 0 {
		return n < 1<<16
	}
	serial, ok := ca.SerialOf(c.tbs.SerialNumber)
	low := binary.BigEndian.Uint64(serial[8:])
	return ok && slices.ContainsFunc(c.Partitions, func(all int) bool { return all > 0 && uint64(n) == low%uint64(all) })
}
