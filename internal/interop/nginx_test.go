//go:build unix

package interop

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/internal/stage"
)

// nginx is a web server for holders of cards, with one socket for each way in
// which it looks at revocation.
type nginx struct {
	*stage.Service
	in    *installation
	dir   string // the sockets are here
	roots *x509.CertPool
}

// nginxWays are the directives of each way.
var nginxWays = map[string]string{
	"none":     "",
	"leaf":     "ssl_ocsp leaf;",
	"on":       "ssl_ocsp on;",
	"named":    "ssl_ocsp leaf; ssl_ocsp_responder {ocsp};",
	"crl":      "ssl_crl {work}/crls.pem;",
	"both":     "ssl_ocsp leaf; ssl_crl {work}/crls.pem;",
	"one-list": "ssl_crl {work}/crl-root.pem;",
	"full":     "ssl_crl {work}/full.pem;",
	"dead":     "ssl_crl {work}/dead.pem;", // the issuing CA is revoked
}

const nginxConfig = `daemon off;
worker_processes 1;
pid %[1]s/pid;
error_log stderr info;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	ssl_certificate %[1]s/server.pem;
	ssl_certificate_key %[1]s/server.pem;
	ssl_client_certificate %[2]s/chain.pem;
	ssl_verify_client on;
	ssl_verify_depth 2;
%[3]s}
`

const nginxServer = `	server {
		listen unix:%s/%s ssl;
		server_name cards.example;
		%s
		location / { return 200 "$ssl_client_verify $ssl_client_serial"; }
	}
`

// needNginx finds nginx where Debian has it, which may be in root's PATH only.
func needNginx(t *testing.T) string {
	t.Helper()
	const debian = "/usr/sbin/nginx"
	if _, err := os.Stat(debian); err == nil {
		return debian
	}
	return stage.Need(t, "nginx", "nginx-light")
}

// startNginx starts nginx in a directory of its own until the test ends. Its
// sockets have names, not ports, so that nobody else can take them. What it is
// started by may be empty.
func (in *installation) startNginx(t *testing.T, by string) *nginx {
	t.Helper()
	path := needNginx(t)
	dir, err := os.MkdirTemp("", "nginx") // the name of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	n := &nginx{in: in, dir: dir, roots: x509.NewCertPool()}
	n.certify(t)
	fill := strings.NewReplacer("{ocsp}", in.leaves[good].OCSPServer[0], "{work}", in.work)
	servers := ""
	for way, directives := range nginxWays {
		servers += fmt.Sprintf(nginxServer, dir, way, fill.Replace(directives))
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, in.work, servers), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append(strings.Fields(by), path, "-p", dir, "-e", "stderr", "-c", config)
	n.Service = stage.Start(t, args[0], args[1:]...)
	n.ready(t)
	return n
}

// certify gives the server a certificate.
func (n *nginx) certify(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cards.example"}, DNSNames: []string{"cards.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	n.roots.AppendCertsFromPEM(text)
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	if err := os.WriteFile(filepath.Join(n.dir, "server.pem"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// ready waits until nginx listens at every way.
func (n *nginx) ready(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stage.Patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for way := range nginxWays { // one after the other comes to be
		for {
			c, err := net.Dial("unix", filepath.Join(n.dir, way))
			if err == nil {
				c.Close()
				break
			}
			select {
			case <-ctx.Done():
				t.Fatalf("nginx does not listen: %v\n%s", err, n.Log())
			case <-tick.C:
			}
		}
	}
}

// knock asks for a page with a holder's card, and returns what nginx answers and
// what it logs meanwhile.
func (n *nginx) knock(t *testing.T, way, name string) (code int, body, log string) {
	t.Helper()
	l := n.in.leaves[name]
	before := len(n.Log())
	client := &http.Client{Timeout: stage.Patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(n.dir, way))
		},
		TLSClientConfig: &tls.Config{RootCAs: n.roots,
			Certificates: []tls.Certificate{{Certificate: [][]byte{l.Raw, n.in.issuer.Raw}, PrivateKey: l.key, Leaf: l.Certificate}}},
	}}
	resp, err := client.Get("https://cards.example/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), n.Log()[before:]
}

// What nginx logs of those whom it does not let in.
const (
	nginxByOCSP  = "client SSL certificate verify error: certificate revoked"
	nginxByList  = "client SSL certificate verify error: (23:certificate revoked)"
	nginxUnknown = "client SSL certificate verify error: certificate status unknown"
	nginxNobody  = "client SSL certificate verify error: certificate status request failed"
)

// door is what happens at one way with one card.
type door struct {
	way, card string
	log       string // "": let in
}

func (n *nginx) doors(t *testing.T, doors []door) {
	for _, d := range doors {
		t.Run(d.way+" "+d.card, func(t *testing.T) {
			code, body, log := n.knock(t, d.way, d.card)
			want, says := http.StatusOK, fmt.Sprintf("SUCCESS %032X", n.in.leaves[d.card].SerialNumber)
			if d.log != "" {
				want, says = http.StatusBadRequest, "The SSL certificate error"
			}
			if code != want || !strings.Contains(body, says) || !strings.Contains(log, d.log) {
				t.Errorf("nginx answered %d %s\nwant %d %q\nand logged: %s\nwant %q", code, body, want, says, log, d.log)
			}
		})
	}
}

// nginx lets in who has a good eID, and refuses who has a revoked one.
func TestNginxLetsIn(t *testing.T) {
	needNginx(t)
	in := served(t)
	n := in.startNginx(t, "")
	asked := in.since()
	n.doors(t, []door{
		{"none", good, ""}, {"none", superseded, ""}, {"none", stolen, ""}, {"none", forged, ""}, // does not look
		{"crl", good, ""}, {"crl", superseded, nginxByList}, {"crl", stolen, nginxByList}, {"crl", forged, ""}, // in no list
		{"full", good, ""}, {"full", superseded, nginxByList}, {"full", stolen, nginxByList}, {"dead", good, nginxByList},
		{"one-list", good, "(3:unable to get certificate CRL)"},
	})
	if got := asked(); len(got) != 0 {
		t.Errorf("nginx was to ask nginxNobody, and asked %v", got)
	}
	n.doors(t, []door{
		{"leaf", good, ""}, {"leaf", superseded, nginxByOCSP}, {"leaf", stolen, nginxByOCSP}, {"leaf", forged, nginxUnknown},
		{"named", good, ""}, {"named", stolen, nginxByOCSP}, {"named", forged, nginxUnknown},
		{"both", good, ""}, {"both", stolen, nginxByList}, {"both", forged, nginxUnknown},
		// The issuing CA's certificate names no responder: its status is in the root's CRL.
		{"on", good, "no OCSP responder URL in certificate"},
	})
	stage.Says(t, "what nginx asked", strings.Join(asked(), "\n"), "/ocsp")
	t.Run("responder down", func(t *testing.T) {
		in.down(t)
		n.doors(t, []door{
			{"leaf", good, nginxNobody}, {"leaf", stolen, nginxNobody}, {"named", good, nginxNobody}, {"both", good, nginxNobody},
			{"crl", good, ""}, {"crl", stolen, nginxByList}, // it has the lists
		})
	})
}
