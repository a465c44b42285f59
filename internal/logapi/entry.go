package logapi

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"golang.org/x/crypto/cryptobyte"
	asn "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/der"
	"sigill/internal/store"
	"sigill/internal/translog"
)

var oidSCTList = asn1.ObjectIdentifier(ctx509.OIDExtensionCTSCT)

// entry makes the entry of a recorded certificate anew, as RFC 6962, 4.6 has it, and
// refuses one that is not the leaf in the tree.
func (s *Service) entry(c *store.LoggedCertificate, leaf tlog.Hash) (ct.LeafEntry, error) {
	chain := s.Chain(c.Issuer)
	if len(chain) == 0 {
		return ct.LeafEntry{}, fmt.Errorf("certificate %s: its issuing CA %s is not known here", c.Serial, c.Issuer)
	}
	tbs, err := withoutSCTs(c.TBS)
	if err != nil {
		return ct.LeafEntry{}, fmt.Errorf("certificate %s: %w: %w", c.Serial, err, errBroken)
	}
	input, err := leafInput(chain[0], tbs, time.UnixMilli(c.Milliseconds).UTC())
	if err != nil {
		return ct.LeafEntry{}, fmt.Errorf("certificate %s: %w", c.Serial, err)
	}
	if tlog.RecordHash(input) != leaf {
		return ct.LeafEntry{}, fmt.Errorf("certificate %s has another leaf: %w", c.Serial, errBroken)
	}
	extra, err := extraData(c.DER, tbs, chain)
	if err != nil {
		return ct.LeafEntry{}, fmt.Errorf("certificate %s: %w", c.Serial, err)
	}
	return ct.LeafEntry{LeafInput: input, ExtraData: extra}, nil
}

// withoutSCTs takes the promises of logs off what was to be signed. What was taken over
// from a copy of the log has none.
func withoutSCTs(tbs []byte) ([]byte, error) {
	parts, err := der.ParseTBS(tbs)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(parts.Extensions, func(e der.Extension) bool { return e.ID.Equal(oidSCTList) }) {
		return tbs, nil
	}
	return der.RemoveExtension(tbs, oidSCTList)
}

// leafInput is the MerkleTreeLeaf (RFC 6962, 3.4) of a certificate that was logged
// before it was signed.
func leafInput(issuer *x509.Certificate, tbs []byte, at time.Time) ([]byte, error) {
	p := ca.PreCert{IssuerKeyHash: sha256.Sum256(issuer.RawSubjectPublicKeyInfo), TBS: tbs}
	b, err := tls.Marshal(*translog.Leaf(p, at))
	if err != nil {
		return nil, fmt.Errorf("encoding its leaf: %w", err)
	}
	return b, nil
}

// extraData is the PrecertChainEntry (RFC 6962, 3.1) beside a leaf. No pre-certificate
// was ever signed; what stands in its place is the certificate itself, or, where none
// was released, its content without a signature, which nobody can take for a certificate.
func extraData(final, tbs []byte, chain []*x509.Certificate) ([]byte, error) {
	e := ct.PrecertChainEntry{PreCertificate: ct.ASN1Cert{Data: final}}
	if len(final) == 0 {
		bare, err := unsigned(tbs)
		if err != nil {
			return nil, err
		}
		e.PreCertificate.Data = bare
	}
	for _, c := range chain {
		e.CertificateChain = append(e.CertificateChain, ct.ASN1Cert{Data: c.Raw})
	}
	b, err := tls.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding its chain: %w", err)
	}
	return b, nil
}

// unsigned returns the form of a certificate over tbs, with a signature of no bits.
func unsigned(tbs []byte) ([]byte, error) {
	parts, err := der.ParseTBS(tbs)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(asn.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(parts.Algorithm)
		b.AddASN1BitString(nil)
	})
	return b.Bytes()
}
