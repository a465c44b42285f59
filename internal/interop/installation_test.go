//go:build unix

package interop

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigill/ca"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/stage"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
)

// Names of the certificates that are asked about, which are also their files'.
const (
	good       = "good"       // an eID that is in use
	superseded = "superseded" // the one before it: revoked, superseded
	stolen     = "stolen"     // from a card that was reported lost: revoked, keyCompromise
	// forged is signed by the issuing CA's own key and stands in no database: what
	// somebody makes who stole that key. No CRL can list it.
	forged = "forged"
	// spare is another good eID, which one test revokes.
	spare = "spare"
)

// partitions is how many CRLs the issuing CA of these certificates has.
const partitions = 4

// leaf is a holder's certificate with its key, as the card of software has it.
type leaf struct {
	*x509.Certificate
	key     crypto.Signer
	revoked bool // since this process began
}

// installation is a Sigill that is served, and what relying parties have of it.
type installation struct {
	*gate
	t      testing.TB // ends the installation
	dir    string     // of the installation
	status string     // where the status listener itself is, "http://…"
	root   *x509.Certificate
	issuer *x509.Certificate // of the certificates in leaves
	leaves map[string]*leaf
	// work has, in PEM: root, issuer, chain (both), the leaves by name; crl-root,
	// crl-0 … crl-3 (the issuer's partitions), and crls, all these; crl-full, of
	// everything that the issuer revoked, and full, this with the root's; crl-dead, a
	// list of the root that revokes the issuer, and dead, this with the full one.
	work string
}

// newInstallation plays the demo, serves what it left at another address, and
// puts the gate where the certificates say that the status listener is.
func newInstallation(t testing.TB) *installation {
	in := &installation{t: t, dir: filepath.Join(t.TempDir(), "demo"), work: t.TempDir(), leaves: map[string]*leaf{}}
	stage.Run(t, stage.Command(programs.Sigill(t), "demo", "--dir", in.dir)).Want(t, 0, "sigill demo")
	public := in.move()
	in.forget()
	in.status = in.serve()
	in.gate = newGate(t, public, strings.TrimPrefix(in.status, "http://"))

	in.root = in.certificate("test-sigill-root-ca-v1")
	in.issuer = in.certificate("test-sigill-person-hsa-id-3-ca-v1")
	in.hold(good, "åsa-öström-häggkvist-authentication", "9752278900000000031.json")
	in.hold(superseded, "åsa-öström-häggkvist-authentication-superseded", "9752278900000000031.json.before-update")
	in.hold(stolen, "märta-nyström-authentication", "9752278900000000056.json")
	in.hold(spare, "göran-sjöberg-authentication", stage.ElseCard+".json")
	in.leaves[forged] = in.forge()
	in.write()
	return in
}

func (in *installation) must(err error) {
	in.t.Helper()
	if err != nil {
		in.t.Fatal(err)
	}
}

// move has the status listener listen elsewhere, on IPv6 where there is that, and
// returns where it was: there the certificates go on saying that it is, as they
// do of a service behind a load balancer.
func (in *installation) move() (public string) {
	c, err := config.Load(in.dir)
	in.must(err)
	path := filepath.Join(in.dir, config.File)
	text, err := os.ReadFile(path)
	in.must(err)
	to := "127.0.0.1:0"
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		to = "[::1]:0"
		in.must(l.Close())
	}
	for _, change := range [][2]string{
		{"status: " + c.Listen.Status + "\n", "status: \"" + to + "\"\n"},
		{"announce_next: false\n", "announce_next: true\n"}, // for Windows; nobody else may mind
	} {
		if n := bytes.Count(text, []byte(change[0])); n != 1 {
			in.t.Fatalf("%s has %q %d times", config.File, change[0], n)
		}
		text = bytes.Replace(text, []byte(change[0]), []byte(change[1]), 1)
	}
	in.must(os.WriteFile(path, text, 0o644))
	return c.Listen.Status
}

// forget removes the lists that the demo published. They are issued anew when the
// service starts: the full ones too, which would otherwise be as old as the
// demo's beginning.
func (in *installation) forget() {
	files, err := filepath.Glob(filepath.Join(in.dir, "public", "crl", "*", "*.crl"))
	in.must(err)
	for _, file := range files {
		if filepath.Base(filepath.Dir(file)) != string(keys.RootID) {
			in.must(os.Remove(file))
		}
	}
}

// serve starts `sigill serve` and returns the address of its status listener.
func (in *installation) serve() string {
	s := stage.Start(in.t, programs.Sigill(in.t), "serve", "--dir", in.dir, "--json")
	line, err := bufio.NewReader(s.Out).ReadBytes('\n')
	if err != nil {
		in.t.Fatalf("sigill serve ended before it was ready: %v\n%s", err, s.Log())
	}
	var at struct{ Status string }
	if err := json.Unmarshal(line, &at); err != nil || at.Status == "" {
		in.t.Fatalf("sigill serve said %q: %v", line, err)
	}
	return at.Status
}

// certificate reads one that the demo left.
func (in *installation) certificate(name string) *x509.Certificate {
	text, err := os.ReadFile(filepath.Join(in.dir, "certificates", name+".pem"))
	in.must(err)
	block, _ := pem.Decode(text)
	if block == nil {
		in.t.Fatalf("%s is no PEM", name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	in.must(err)
	return cert
}

// hold takes up a certificate of the demo with its key in a card of software.
func (in *installation) hold(name, file, card string) {
	cert := in.certificate(file)
	path := filepath.Join(in.work, name+".json")
	text, err := os.ReadFile(filepath.Join(in.dir, "cards", card))
	in.must(err)
	in.must(os.WriteFile(path, text, 0o600))
	soft, err := token.OpenSoft(path, tokentest.PIN(stage.SoftPIN, ""))
	in.must(err)
	in.t.Cleanup(func() { soft.Close() })
	ctx := in.t.Context()
	objects, err := soft.Objects(ctx)
	in.must(err)
	for _, o := range objects {
		if !bytes.Equal(o.Certificate, cert.Raw) {
			continue
		}
		key, err := soft.Signer(ctx, o.ID)
		in.must(err)
		in.leaves[name] = &leaf{Certificate: cert, key: key}
		return
	}
	in.t.Fatalf("card %s does not have the certificate %s", card, file)
}

// forge makes a certificate as the thief of the issuing key would: like the good
// one, with a serial that the installation has never seen.
func (in *installation) forge() *leaf {
	h, err := keys.Load(in.dir)
	in.must(err)
	pass, err := keys.FromFile(filepath.Join(in.dir, "secrets", "passphrase"), keys.Test)
	in.must(err)
	issuer, err := h.OpenIssuer(in.t.Context(), keys.PersonHSA3, pass)
	in.must(err)
	defer issuer.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	in.must(err)
	like := *in.leaves[good].Certificate
	like.SerialNumber, like.SubjectKeyId = ca.NewSerial().Int(), []byte("forged")
	like.ExtraExtensions = nil
	der, err := x509.CreateCertificate(rand.Reader, &like, in.issuer, key.Public(), issuer.Signer)
	in.must(err)
	cert, err := x509.ParseCertificate(der)
	in.must(err)
	return &leaf{Certificate: cert, key: key}
}

// write writes the files of a relying party, the CRLs as they are served.
func (in *installation) write() {
	put := func(name, kind string, ders ...[]byte) {
		var text []byte
		for _, der := range ders {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
		}
		in.must(os.WriteFile(filepath.Join(in.work, name+".pem"), text, 0o600))
	}
	const certificate, crl = "CERTIFICATE", "X509 CRL"
	put("root", certificate, in.root.Raw)
	put("issuer", certificate, in.issuer.Raw)
	put("chain", certificate, in.issuer.Raw, in.root.Raw)
	for name, l := range in.leaves {
		put(name, certificate, l.Raw)
		put(name+"-chain", certificate, l.Raw, in.issuer.Raw)
	}
	lists := [][]byte{in.get(in.issuer.CRLDistributionPoints[0])}
	put("crl-root", crl, lists[0])
	for i := range partitions {
		list := in.get(in.partition(i))
		put("crl-"+string(rune('0'+i)), crl, list)
		lists = append(lists, list)
	}
	put("crls", crl, lists...)
	full, dead := in.get(in.full()), in.revokeIssuer()
	put("crl-full", crl, full)
	put("full", crl, lists[0], full)
	put("crl-dead", crl, dead)
	put("dead", crl, dead, full)
}

// partition returns the address of the i-th CRL of the issuer.
func (in *installation) partition(i int) string {
	u, err := url.Parse(in.leaves[good].CRLDistributionPoints[0])
	in.must(err)
	u.Path = u.Path[:strings.LastIndexByte(u.Path, '/')+1] + string(rune('0'+i)) + ".crl"
	return u.String()
}

// full returns the address of the issuer's full list, which no certificate names.
func (in *installation) full() string {
	return strings.Replace(in.partition(0), "/0.crl", "/full.crl", 1)
}

// revokeIssuer returns a list of the root that revokes the issuing CA, as it would
// be signed where the root's key is. It is never served.
func (in *installation) revokeIssuer() []byte {
	elsewhere := filepath.Join(in.work, "elsewhere")
	in.must(os.CopyFS(elsewhere, os.DirFS(in.dir)))
	for _, file := range []string{"secrets/root-passphrase", "root/root.key"} {
		in.must(os.Chmod(filepath.Join(elsewhere, file), 0o600)) // which copying does not keep
	}
	list := filepath.Join(in.work, "dead.crl")
	stage.Run(in.t, stage.Command(programs.Sigill(in.t), "ca", "revoke-ca", filepath.Join(in.dir, "public", "aia", string(keys.PersonHSA3)+".cer"),
		"--reason", "cACompromise", "--dir", elsewhere, "--out", list, "--yes")).Want(in.t, 0, "sigill ca revoke-ca")
	der, err := os.ReadFile(list)
	in.must(err)
	return der
}

// crlOf returns which partition lists a certificate once it is revoked, as its file
// here.
func (in *installation) crlOf(name string) string {
	address := in.leaves[name].CRLDistributionPoints[0]
	for i := range partitions {
		if in.partition(i) == address {
			return "crl-" + string(rune('0'+i)) + ".pem"
		}
	}
	in.t.Fatalf("%s is in no partition: %s", name, address)
	return ""
}

// get is a relying party's plain GET, without redirects.
func (in *installation) get(address string) []byte {
	in.t.Helper()
	resp, err := plain.Get(address)
	in.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	in.must(err)
	if resp.StatusCode != http.StatusOK {
		in.t.Fatalf("%s: %s", address, resp.Status)
	}
	return b
}

// plain is a client as relying parties have it: it follows no redirect and keeps
// no connection.
var plain = &http.Client{
	Timeout:       stage.Patience,
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// run runs a program in the directory of the relying party's files, its texts in
// English and its times in UTC.
func (in *installation) run(t *testing.T, path string, args ...string) stage.Outcome {
	t.Helper()
	cmd := stage.Command(path, args...)
	cmd.Dir, cmd.Env = in.work, append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	return stage.Run(t, cmd)
}

// serialOf writes a serial as certtool does.
func serialOf(l *leaf) string { return fmt.Sprintf("%032x", l.SerialNumber) }

// der downloads what is served at an address into a file.
func (in *installation) der(t *testing.T, address string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "list.crl")
	if err := os.WriteFile(path, in.get(address), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// join writes the files into one.
func (in *installation) join(t *testing.T, to string, files ...string) {
	t.Helper()
	var all []byte
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(in.work, f))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	if err := os.WriteFile(filepath.Join(in.work, to), all, 0o600); err != nil {
		t.Fatal(err)
	}
}
