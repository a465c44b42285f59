package logapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"log/slog"
	"math/big"
	"testing"
	"time"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/der"
	"sigill/internal/store"
	"sigill/internal/tiles"
	"sigill/internal/translog"
	"sigill/orders/issue"
	"sigill/policy"
)

// memory is an installation's two logs in memory.
type memory struct {
	t     testing.TB
	tiles tiles.Memory
	heads map[tiles.Name]translog.Signed
	index map[tlog.Hash]int64 // of certificates

	certificates []store.LoggedCertificate
	acts         [][]byte
	evidence     map[policy.OrderID]*store.Evidence

	logs map[tiles.Name]*checkpoint.Log
	keys map[tiles.Name]*ecdsa.PrivateKey

	root, issuer       *x509.Certificate
	rootKey, issuerKey *ecdsa.PrivateKey
	said               *slog.Logger
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newMemory(t testing.TB) *memory {
	t.Helper()
	m := &memory{t: t, tiles: tiles.Memory{}, heads: map[tiles.Name]translog.Signed{}, index: map[tlog.Hash]int64{},
		evidence: map[policy.OrderID]*store.Evidence{}, logs: map[tiles.Name]*checkpoint.Log{}, keys: map[tiles.Name]*ecdsa.PrivateKey{},
		said: slog.New(slog.DiscardHandler)}
	for _, tree := range []tiles.Name{audit.ActTree, audit.CertificateTree} {
		m.keys[tree] = newKey(t)
		m.logs[tree] = must[*checkpoint.Log](t)(checkpoint.NewLog("test.example/log/"+string(tree), m.keys[tree].Public()))
	}
	m.rootKey, m.issuerKey = newKey(t), newKey(t)
	authority := func(n int64, name string) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Unix(1, 0), NotAfter: time.Unix(1<<32, 0),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	}
	root := authority(1, "Root")
	m.root = must[*x509.Certificate](t)(x509.ParseCertificate(must[[]byte](t)(x509.CreateCertificate(rand.Reader, root, root, m.rootKey.Public(), m.rootKey))))
	m.issuer = must[*x509.Certificate](t)(x509.ParseCertificate(must[[]byte](t)(x509.CreateCertificate(rand.Reader, authority(2, "Issuer"), m.root, m.issuerKey.Public(), m.rootKey))))
	m.sign()
	return m
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

// service is who answers from it.
func (m *memory) service() *Service {
	m.t.Helper()
	return must[*Service](m.t)(New(Config{Trees: m, Entries: m, Certificates: m.logs[audit.CertificateTree], Log: m.said,
		Chain: func(id ca.IssuerID) []*x509.Certificate {
			if id != "issuer" {
				return nil
			}
			return []*x509.Certificate{m.issuer, m.root}
		}, Roots: []*x509.Certificate{m.root}}))
}

// add puts certificates and acts into the trees without signing them.
func (m *memory) add(certificates, acts int) {
	m.t.Helper()
	for range certificates {
		c, leaf := m.certificate()
		m.index[leaf] = int64(len(m.certificates))
		m.certificates = append(m.certificates, c)
		must[int64](m.t)(tiles.Append(m.tiles, audit.CertificateTree, []tlog.Hash{leaf}))
	}
	for range acts {
		body := fmt.Appendf(nil, `{"id":"evt_%d"}`, len(m.acts))
		leaf := tlog.Hash(audit.LeafHash(body))
		m.acts = append(m.acts, body)
		must[int64](m.t)(tiles.Append(m.tiles, audit.ActTree, []tlog.Hash{leaf}))
	}
}

// sign signs both trees as they are.
func (m *memory) sign() {
	m.t.Helper()
	for tree, log := range m.logs {
		size := must[int64](m.t)(tiles.Size(m.tiles, tree))
		root := must[tlog.Hash](m.t)(tiles.Root(m.tiles, tree, size))
		text := must[[]byte](m.t)(log.Sign(m.keys[tree], size, root, time.Unix(1_800_000_000+size, 0)))
		m.heads[tree] = translog.Signed{Checkpoint: must[checkpoint.Checkpoint](m.t)(log.Open(text)), Note: text}
	}
}

// certificate makes one of the issuer, with an SCT list that is none: what is in it does
// not matter to who takes it out.
func (m *memory) certificate() (store.LoggedCertificate, tlog.Hash) {
	m.t.Helper()
	c := store.LoggedCertificate{Serial: ca.NewSerial(), Issuer: "issuer", Milliseconds: 1_790_000_000_000 + int64(len(m.certificates))}
	template := &x509.Certificate{SerialNumber: c.Serial.Int(), Subject: pkix.Name{CommonName: fmt.Sprintf("Holder %d", len(m.certificates))},
		NotBefore: time.Unix(1_790_000_000, 0), NotAfter: time.Unix(1_890_000_000, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier(oidSCTList), Value: []byte{4, 1, byte(len(m.certificates))}}}}
	c.DER = must[[]byte](m.t)(x509.CreateCertificate(rand.Reader, template, m.issuer, m.issuerKey.Public(), m.issuerKey))
	c.TBS = must[*der.Parsed](m.t)(der.Parse(c.DER)).TBS
	tbs := must[[]byte](m.t)(der.RemoveExtension(c.TBS, oidSCTList))
	return c, handmadeLeaf(sha256.Sum256(m.issuer.RawSubjectPublicKeyInfo), tbs, c.Milliseconds)
}

// handmadeLeaf writes RFC 6962, 3.4 octet by octet, so that what is tested is not
// compared with itself.
func handmadeLeaf(issuer [32]byte, tbs []byte, milliseconds int64) tlog.Hash {
	b := []byte{0, 0} // v1, timestamped_entry
	for shift := 56; shift >= 0; shift -= 8 {
		b = append(b, byte(milliseconds>>shift))
	}
	b = append(b, 0, 1) // precert_entry
	b = append(b, issuer[:]...)
	b = append(b, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
	b = append(b, tbs...)
	return tlog.RecordHash(append(b, 0, 0)) // no extensions
}

func (m *memory) Head(_ context.Context, tree tiles.Name) (translog.Signed, error) {
	return m.heads[tree], nil
}

func (m *memory) Tile(_ context.Context, tree tiles.Name, level int, n int64, width int) ([]byte, error) {
	octets, err := m.tiles.Tile(tree, level, n)
	if err != nil || len(octets) < width*tlog.HashSize {
		return nil, fmt.Errorf("tile %d/%d: %w", level, n, translog.ErrNotFound)
	}
	return octets[:width*tlog.HashSize], nil
}

func (m *memory) Inclusion(_ context.Context, tree tiles.Name, index, size int64) ([]tlog.Hash, error) {
	return tiles.Inclusion(m.tiles, tree, index, size)
}

func (m *memory) Consistency(_ context.Context, tree tiles.Name, before, after int64) ([]tlog.Hash, error) {
	return tiles.Consistency(m.tiles, tree, before, after)
}

func (m *memory) IndexOf(_ context.Context, leaf tlog.Hash) (int64, error) {
	i, ok := m.index[leaf]
	if !ok {
		return 0, translog.ErrNotFound
	}
	return i, nil
}

func (m *memory) LoggedCertificates(_ context.Context, first int64, limit int) ([]store.LoggedCertificate, error) {
	return part(m.certificates, first, limit), nil
}

func (m *memory) LoggedActs(_ context.Context, first int64, limit int) ([][]byte, error) {
	return part(m.acts, first, limit), nil
}

func part[T any](list []T, first int64, limit int) []T {
	from := min(first, int64(len(list)))
	return list[from:min(from+int64(limit), int64(len(list)))]
}

func (m *memory) Evidence(_ context.Context, order policy.OrderID) (*store.Evidence, error) {
	e, ok := m.evidence[order]
	if !ok {
		return nil, issue.ErrNotFound
	}
	return e, nil
}

func (m *memory) SignedStatement(_ context.Context, id policy.StatementID) (*store.SignedStatement, error) {
	e, ok := m.evidence[policy.OrderID(id)]
	if !ok {
		return nil, issue.ErrNotFound
	}
	return &e.Statements[0], nil
}

func (m *memory) ActIndex(_ context.Context, event string) (int64, error) {
	var i int64
	if _, err := fmt.Sscanf(event, "evt_%d", &i); err != nil || i >= int64(len(m.acts)) {
		return 0, translog.ErrNotFound
	}
	return i, nil
}

func (m *memory) Proof(_ context.Context, tree tiles.Name, index int64) ([]byte, error) {
	head := m.heads[tree]
	if index >= head.Size {
		return nil, translog.ErrNotFound
	}
	hashes, err := tiles.Inclusion(m.tiles, tree, index, head.Size)
	if err != nil {
		return nil, err
	}
	p := proof.TLogProof{Index: uint64(index), Checkpoint: head.Note}
	for _, h := range hashes {
		p.Hashes = append(p.Hashes, h)
	}
	return p.Marshal(), nil
}
