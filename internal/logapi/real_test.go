package logapi_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/client"
	"github.com/google/certificate-transparency-go/jsonclient"
	merkle "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/api"
	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/logapi"
	"sigill/internal/peers"
	"sigill/internal/responder"
	"sigill/internal/store"
	"sigill/internal/texts"
	"sigill/internal/wire"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders/register"
	"sigill/policy"
)

func TestMain(m *testing.M) { os.Exit(worldtest.Main(m)) }

// installation is a service with logs that has issued certificates, with both its
// listeners.
type installation struct {
	*worldtest.Scene
	card    *httptest.Server // mutual TLS
	public  *httptest.Server
	reads   *logapi.Service
	auditor *world.Holder
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

func install(t *testing.T) *installation {
	t.Helper()
	in := &installation{Scene: worldtest.New(t, worldtest.Logged)}
	in.auditor = in.Holder()
	if err := in.GrantRole(t.Context(), in.auditor, in.Org, policy.RoleAuditor); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	var roots []*x509.Certificate
	for _, issuer := range in.Issuers {
		roots = append(roots, issuer.Certificate())
	}
	in.reads = must[*logapi.Service](t)(logapi.New(logapi.Config{Trees: in.Logs.Reader, Entries: in.Store, Certificates: in.Logs.Reader.Certificates, Log: quiet,
		Roots: roots, Chain: func(id ca.IssuerID) []*x509.Certificate {
			issuer, err := in.Issuers.Issuer(id)
			if err != nil {
				return nil
			}
			return []*x509.Certificate{issuer.Certificate()} // self-signed in a world
		}}))
	in.card = httptest.NewUnstartedServer(api.New(api.Config{Register: in.Register, Orders: in.Orders, Downloads: in.Downloads, Texts: must[*texts.Catalogue](t)(texts.Load()),
		Log: quiet, MinClient: "0.1", Unknown: store.ErrOutcomeUnknown, Logs: in.reads}))
	in.card.TLS = api.TLS(&tls.Config{})
	in.card.StartTLS()
	t.Cleanup(in.card.Close)
	h := must[*responder.Handler](t)(responder.New(responder.Config{OCSP: noOCSP{}, Dir: t.TempDir(), Logs: logapi.NewPublic(in.Logs.Reader, nil, in.Now, quiet), Now: in.Now, Log: quiet}))
	in.public = httptest.NewServer(h)
	t.Cleanup(in.public.Close)
	in.settle()
	return in
}

// noOCSP answers nothing: only the logs are asked here.
type noOCSP struct{ responder.Answerer }

// settle numbers what was done and signs it.
func (in *installation) settle() {
	in.T.Helper()
	if err := in.Sequencer.CatchUp(in.T.Context()); err != nil {
		in.T.Fatal(err)
	}
	if err := in.Logs.Heads(in.T.Context()); err != nil {
		in.T.Fatal(err)
	}
}

// client is one with a certificate; none: without.
func (in *installation) client(key crypto.Signer, der []byte) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(in.card.Certificate())
	c := &tls.Config{RootCAs: roots, ServerName: "example.com"}
	if der != nil {
		c.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	}
	transport := &http.Transport{TLSClientConfig: c}
	in.T.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (in *installation) as(h *world.Holder) *http.Client {
	return in.client(h.CurrentKey(), h.CertificateOf())
}

// fetch asks for an address and returns status, headers and body.
func (in *installation) fetch(c *http.Client, address string) (int, http.Header, []byte) {
	in.T.Helper()
	req := must[*http.Request](in.T)(http.NewRequestWithContext(in.T.Context(), "GET", address, nil))
	res, err := c.Do(req)
	if err != nil {
		in.T.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode, res.Header, must[[]byte](in.T)(io.ReadAll(res.Body))
}

// ctClient is certificate-transparency-go's own client with a key to verify by.
func (in *installation) ctClient(key []byte) *client.LogClient {
	in.T.Helper()
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: key}))
	return must[*client.LogClient](in.T)(client.New(in.card.URL+"/log/certificates", in.as(in.auditor), jsonclient.Options{PublicKey: text}))
}

// The client that others read certificate logs with reads this one, over mutual TLS, from
// a service that issued; and what it gets is verified by code that made none of it.
func TestCTClient(t *testing.T) {
	in := install(t)
	ctx := t.Context()
	if _, err := in.ctClient(in.Logs.Reader.Acts.SPKI()).GetSTH(ctx); err == nil {
		t.Error("a tree head verifies by the key of another log")
	}
	c := in.ctClient(in.Logs.Reader.Certificates.SPKI())
	before := must[*ct.SignedTreeHead](t)(c.GetSTH(ctx))
	for range 3 {
		in.Holder()
	}
	in.settle()
	after := must[*ct.SignedTreeHead](t)(c.GetSTH(ctx))
	if n := in.Rows("certificates", "true"); int(after.TreeSize) < n || before.TreeSize == 0 || after.TreeSize <= before.TreeSize || n < 10 {
		t.Fatalf("trees of %d and %d leaves, %d certificates", before.TreeSize, after.TreeSize, n)
	}
	proof := must[[][]byte](t)(c.GetSTHConsistency(ctx, before.TreeSize, after.TreeSize))
	if err := merkle.VerifyConsistency(rfc6962.DefaultHasher, before.TreeSize, after.TreeSize, proof, before.SHA256RootHash[:], after.SHA256RootHash[:]); err != nil {
		t.Error(err)
	}
	if len(must[[]ct.ASN1Cert](t)(c.GetAcceptedRoots(ctx))) != len(in.Issuers) {
		t.Error("other roots")
	}
	entries := must[[]ct.LogEntry](t)(c.GetEntries(ctx, 0, int64(after.TreeSize)+50))
	if len(entries) != int(after.TreeSize) {
		t.Fatalf("%d entries of %d", len(entries), after.TreeSize)
	}
	for i, e := range entries {
		in.inTree(c, after, int64(i), e)
	}
	if _, err := c.GetProofByHash(ctx, make([]byte, 32), after.TreeSize); statusOf(err) != http.StatusNotFound {
		t.Errorf("a leaf that is not there: %v", err)
	}
	_, err := c.GetSTHConsistency(ctx, 1, after.TreeSize+1)
	var told struct {
		Message string `json:"error_message"`
		Type    string `json:"type"`
	}
	if problem, ok := err.(jsonclient.RspError); !ok || problem.StatusCode != 400 || json.Unmarshal(problem.Body, &told) != nil || told.Message == "" || told.Type != "urn:sigill:problem:refused" {
		t.Errorf("a tree that is not there yet: %v, %+v", err, told)
	}
}

func statusOf(err error) int {
	if problem, ok := err.(jsonclient.RspError); ok {
		return problem.StatusCode
	}
	return 0
}

// inTree holds that an entry is in the tree of a head by both ways to prove it, and is the
// certificate that the database has under its serial.
func (in *installation) inTree(c *client.LogClient, head *ct.SignedTreeHead, index int64, e ct.LogEntry) {
	t := in.T
	t.Helper()
	leaf := must[[32]byte](t)(ct.LeafHashForLeaf(&e.Leaf))
	p := must[*ct.GetProofByHashResponse](t)(c.GetProofByHash(t.Context(), leaf[:], head.TreeSize))
	if err := merkle.VerifyInclusion(rfc6962.DefaultHasher, uint64(p.LeafIndex), head.TreeSize, leaf[:], p.AuditPath, head.SHA256RootHash[:]); err != nil || p.LeafIndex != index {
		t.Errorf("entry %d at %d: %v", index, p.LeafIndex, err)
	}
	whole := must[*ct.GetEntryAndProofResponse](t)(c.GetEntryAndProof(t.Context(), uint64(index), head.TreeSize))
	if err := merkle.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), head.TreeSize, rfc6962.DefaultHasher.HashLeaf(whole.LeafInput), whole.AuditPath, head.SHA256RootHash[:]); err != nil {
		t.Errorf("entry %d with its proof: %v", index, err)
	}
	serial, _ := ca.SerialOf(e.Precert.TBSCertificate.SerialNumber)
	fp := ca.FingerprintOf(e.Precert.Submitted.Data)
	if n := in.Rows("certificates", "serial = ? AND fingerprint = ?", serial[:], fp[:]); n != 1 {
		t.Errorf("entry %d is of %s, and the certificate beside it is another", index, serial)
	}
	final := must[*x509.Certificate](t)(x509.ParseCertificate(e.Precert.Submitted.Data))
	if issuer := must[*x509.Certificate](t)(x509.ParseCertificate(e.Chain[0].Data)); final.CheckSignatureFrom(issuer) != nil || sha256.Sum256(issuer.RawSubjectPublicKeyInfo) != e.Precert.IssuerKeyHash {
		t.Errorf("entry %d does not verify under its chain", index)
	}
}

// The scanner of certificate-transparency-go, as they build it, walks the whole log.
func TestCTScanner(t *testing.T) {
	program := peers.Need(t, peers.CTScan)
	in := install(t)
	// It has no client certificate: that is the way's part.
	to := must[*url.URL](t)(url.Parse(in.card.URL))
	way := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, Transport: in.as(in.auditor).Transport}
	plain := httptest.NewServer(way)
	t.Cleanup(plain.Close)
	dump := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "--log_uri", plain.URL+"/log/certificates", "--dump_dir", dump, "--batch_size", "7", "--parallel_fetch", "3")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	head := must[*ct.SignedTreeHead](t)(in.ctClient(in.Logs.Reader.Certificates.SPKI()).GetSTH(t.Context()))
	found := must[[]string](t)(filepath.Glob(filepath.Join(dump, "precert-*-precert.der")))
	if len(found) != int(head.TreeSize) {
		t.Fatalf("it found %d of %d entries:\n%s", len(found), head.TreeSize, out)
	}
	for _, name := range found {
		fp := ca.FingerprintOf(must[[]byte](t)(os.ReadFile(name)))
		if in.Rows("certificates", "fingerprint = ?", fp[:]) != 1 {
			t.Errorf("%s is no certificate of ours", filepath.Base(name))
		}
	}
	if n := strings.Count(string(out), "Process precert at index"); n != len(found) || strings.Contains(string(out), "unparsed") {
		t.Errorf("it could read %d of %d:\n%s", n, len(found), out)
	}
}

// addresses are those of everything that auditors read.
func (in *installation) addresses() []string {
	in.T.Helper()
	order := in.orderOf(in.auditor)
	return []string{"acts/checkpoint", "acts/tile/0/000.p/1", "acts/tile/entries/000.p/2", "certificates/checkpoint", "certificates/tile/0/000.p/1",
		"certificates/ct/v1/get-sth", "certificates/ct/v1/get-sth-consistency?first=1&second=2", "certificates/ct/v1/get-entries?start=0&end=1",
		"certificates/ct/v1/get-entry-and-proof?leaf_index=0&tree_size=1", "certificates/ct/v1/get-roots", "evidence/" + order}
}

func (in *installation) orderOf(h *world.Holder) string { return string(h.Certificate().Order) }

// Who may read: an auditor of the organisation at the top, with a card that is good, and
// nobody else. Who may not is told the same of what is there and of what is not.
func TestWhoReads(t *testing.T) {
	in := install(t)
	ctx := t.Context()
	branch := must[*register.Organisation](t)(in.CreateBranch(ctx, "Grenen", in.Org))
	below := in.Holder()
	if err := in.GrantRole(ctx, below, branch.ID, policy.RoleAdministrator); err != nil {
		t.Fatal(err)
	}
	in.Exec(`INSERT INTO grants (person, organisation, role, granted_at) VALUES (?, ?, 'auditor', 1)`, string(below.Person), string(branch.ID)) // by hand: the service refuses
	holder, blocked, lost := in.Holder(), in.Holder(), in.Holder()
	for _, h := range []*world.Holder{blocked, lost} {
		if err := in.GrantRole(ctx, h, in.Org, policy.RoleAuditor); err != nil {
			t.Fatal(err)
		}
	}
	in.settle()
	admin := must[register.Caller](t)(in.Login(ctx, in.Admins[0]))
	if _, err := in.Downloads.Revoke(ctx, admin, blocked.Certificate().Serial, ca.KeyCompromise); err != nil {
		t.Fatal(err)
	}
	if ended, err := in.Register.EndRole(ctx, admin, in.Org, lost.Person, policy.RoleAuditor); err != nil || !ended {
		t.Fatalf("EndRole = %t, %v", ended, err)
	}
	addresses := append(in.addresses(), "nothing", "acts/nothing", "evidence/ord_none")
	for name, x := range map[string]struct {
		c    *http.Client
		want int
		kind string
	}{
		"no certificate":            {in.client(nil, nil), 401, "no-certificate"},
		"a holder":                  {in.as(holder), 404, "not-found"},
		"an administrator":          {in.as(in.Admins[0]), 404, "not-found"},
		"an auditor of a branch":    {in.as(below), 404, "not-found"},
		"one who was an auditor":    {in.as(lost), 404, "not-found"},
		"an auditor's revoked card": {in.as(blocked), 401, "refused"},
		"a certificate of nobody":   {in.stranger(), 401, "refused"},
	} {
		for _, path := range addresses {
			status, header, body := in.fetch(x.c, in.card.URL+"/log/"+path)
			var p wire.Problem
			if err := json.Unmarshal(body, &p); err != nil || status != x.want || p.Type != "urn:sigill:problem:"+x.kind || header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %s: %d %s %v", name, path, status, body, err)
			}
		}
	}
	for _, path := range in.addresses() {
		if status, _, body := in.fetch(in.as(in.auditor), in.card.URL+"/log/"+path); status != 200 {
			t.Errorf("an auditor: %s: %d %s", path, status, body)
		}
	}
}

// stranger has a certificate that looks like a card's.
func (in *installation) stranger() *http.Client {
	in.T.Helper()
	key := must[*ecdsa.PrivateKey](in.T)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	like := must[*x509.Certificate](in.T)(x509.ParseCertificate(in.auditor.CertificateOf()))
	like.PublicKey = key.Public()
	return in.client(key, must[[]byte](in.T)(x509.CreateCertificate(rand.Reader, like, like, key.Public(), key)))
}

// Tiles over HTTPS are what x/mod's reader verifies against the checkpoint, whatever it
// is asked for; the acts in a bundle are the leaves.
func TestTilesOverTLS(t *testing.T) {
	in := install(t)
	for in.Rows("events", "true") <= 300 { // a tile has room for 256
		in.Holder()
	}
	in.settle()
	c := in.as(in.auditor)
	for tree, log := range map[string]*checkpoint.Log{"acts": in.Logs.Reader.Acts, "certificates": in.Logs.Reader.Certificates} {
		_, _, note := in.fetch(c, in.card.URL+"/log/"+tree+"/checkpoint")
		head, err := log.Open(note)
		if err != nil {
			t.Fatal(err)
		}
		reader := tlog.TileHashReader(tlog.Tree{N: head.Size, Hash: head.Root}, &tilesOverTLS{in, c, tree})
		var indexes []int64
		for i := range head.Size {
			indexes = append(indexes, tlog.StoredHashIndex(0, i))
		}
		leaves, err := reader.ReadHashes(indexes)
		if err != nil {
			t.Fatalf("%s: %v", tree, err)
		}
		if tree != "acts" {
			continue
		}
		if head.Size <= 256 {
			t.Fatalf("only %d acts", head.Size)
		}
		status, _, bundle := in.fetch(c, in.card.URL+"/log/acts/tile/entries/000")
		for i := range 256 {
			n := int(binary.BigEndian.Uint16(bundle))
			body := bundle[2 : 2+n]
			if _, err := audit.ParseBody(body); err != nil || tlog.RecordHash(body) != leaves[i] {
				t.Fatalf("act %d: %v: %s", i, err, body)
			}
			bundle = bundle[2+n:]
		}
		if status != 200 || len(bundle) > 0 {
			t.Errorf("%d octets behind the bundle", len(bundle))
		}
	}
}

type tilesOverTLS struct {
	in   *installation
	c    *http.Client
	tree string
}

func (o *tilesOverTLS) Height() int { return 8 }

func (o *tilesOverTLS) ReadTiles(want []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range want {
		status, header, body := o.in.fetch(o.c, o.in.card.URL+"/log/"+o.tree+"/"+strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		if status != 200 || header.Get("Content-Type") != "application/octet-stream" {
			return nil, fmt.Errorf("%s: %d %s", tile.Path(), status, body)
		}
		out = append(out, body)
	}
	return out, nil
}

func (o *tilesOverTLS) SaveTiles([]tlog.Tile, [][]byte) {}
