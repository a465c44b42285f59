//go:build unix

package interop

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca/crl"
	"sigill/internal/config"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
)

// everyProfile returns a certificate of each profile that carries the address of
// a CRL, as it was issued in the demo.
func (in *installation) everyProfile(t *testing.T) map[string]*x509.Certificate {
	t.Helper()
	officer, err := token.OpenSoft(filepath.Join(in.dir, "officers", "officer-1.json"), tokentest.PIN("", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer officer.Close()
	objects, err := officer.Objects(t.Context())
	if err != nil || len(objects) != 1 {
		t.Fatalf("the officer's card: %d objects, %v", len(objects), err)
	}
	cert, err := x509.ParseCertificate(objects[0].Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*x509.Certificate{
		"authentication": in.leaves[good].Certificate,
		"signing":        in.certificate("göran-sjöberg-signing"),
		"transport":      in.certificate("göran-sjöberg-transport"),
		"issuing-ca":     in.issuer,
		"officer":        cert,
		"server":         in.serverCertificate(t),
	}
}

// serverCertificate is that of the card listener.
func (in *installation) serverCertificate(t *testing.T) *x509.Certificate {
	t.Helper()
	c, err := config.Load(in.dir)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(in.root)
	conn, err := tls.Dial("tcp", c.Listen.Card, &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// Windows takes a list only if the distribution point in it equals that of the
// certificate byte for byte, follows no https, and fetches the issuer's
// certificate from where the certificate says. It cannot be run here; what it
// insists on can be looked at.
func TestWhatWindowsInsistsOn(t *testing.T) {
	in := served(t)
	for profile, cert := range in.everyProfile(t) {
		t.Run(profile, func(t *testing.T) {
			if n := len(cert.CRLDistributionPoints); n != 1 {
				t.Fatalf("%d CRL addresses", n)
			}
			if n := len(cert.IssuingCertificateURL); n != 1 {
				t.Fatalf("%d addresses of the issuer", n)
			}
			addresses := append(cert.OCSPServer, cert.CRLDistributionPoints[0], cert.IssuingCertificateURL[0])
			if byOCSP := profile != "issuing-ca"; byOCSP != (len(cert.OCSPServer) == 1) {
				t.Errorf("responders: %v", cert.OCSPServer)
			}
			for _, a := range addresses {
				if u, err := url.Parse(a); err != nil || u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || strings.ContainsAny(a, " %\\") {
					t.Errorf("address %q: %v", a, err)
				}
			}
			issuer, err := x509.ParseCertificate(in.get(cert.IssuingCertificateURL[0])) // DER, one certificate
			if err != nil {
				t.Fatalf("%s: %v", cert.IssuingCertificateURL[0], err)
			}
			if err := cert.CheckSignatureFrom(issuer); err != nil {
				t.Errorf("%s: %v", cert.IssuingCertificateURL[0], err)
			}
			list, err := x509.ParseRevocationList(in.get(cert.CRLDistributionPoints[0]))
			if err != nil {
				t.Fatalf("%s: %v", cert.CRLDistributionPoints[0], err)
			}
			if err := list.CheckSignatureFrom(issuer); err != nil {
				t.Errorf("%s: %v", cert.CRLDistributionPoints[0], err)
			}
			equalPoints(t, cert, list)
			if !cert.IsCA {
				announcesNext(t, list)
			}
		})
	}
}

var (
	oidCDP = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidIDP = asn1.ObjectIdentifier{2, 5, 29, 28}
	// szOID_CRL_NEXT_PUBLISH
	oidNextPublish = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 21, 4}
)

// equalPoints compares the one DistributionPoint of a certificate with the
// IssuingDistributionPoint of its list: both are a SEQUENCE of nothing but
// [0] [0] [6] address, so they are the same octets. A list of everything, as the
// root's, has none.
func equalPoints(t *testing.T, cert *x509.Certificate, list *x509.RevocationList) {
	t.Helper()
	var points asn1.RawValue
	for _, e := range cert.Extensions {
		if !e.Id.Equal(oidCDP) {
			continue
		}
		if rest, err := asn1.Unmarshal(e.Value, &points); err != nil || len(rest) > 0 {
			t.Fatalf("CRL distribution points: %v", err)
		}
	}
	for _, e := range list.Extensions {
		if !e.Id.Equal(oidIDP) {
			continue
		}
		if !e.Critical {
			t.Error("the issuing distribution point is not critical")
		}
		if !bytes.Equal(e.Value, points.Bytes) {
			t.Errorf("the certificate has %x\nthe list     %x", points.Bytes, e.Value)
		}
		return
	}
	if !cert.IsCA {
		t.Error("the list has no issuing distribution point")
	}
}

// announcesNext: where it is switched on, a list says when the next one comes, so
// that Windows fetches it before this one has run out.
func announcesNext(t *testing.T, list *x509.RevocationList) {
	t.Helper()
	for _, e := range list.Extensions {
		if !e.Id.Equal(oidNextPublish) {
			continue
		}
		var at time.Time
		if rest, err := asn1.Unmarshal(e.Value, &at); err != nil || len(rest) > 0 || e.Critical {
			t.Fatalf("next CRL publish %x, critical %t: %v", e.Value, e.Critical, err)
		}
		if !at.After(list.ThisUpdate) || !at.Before(list.NextUpdate) {
			t.Errorf("the list of %v until %v says that the next is there at %v", list.ThisUpdate, list.NextUpdate, at)
		}
		return
	}
	t.Error("the list does not say when the next one comes")
}

// request returns an OCSP request for a certificate.
func (in *installation) request(t *testing.T, name string, hash crypto.Hash) []byte {
	t.Helper()
	der, err := ocsp.CreateRequest(in.leaves[name].Certificate, in.issuer, &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Anything that speaks HTTP gets what it asks for at the first address, with the
// media type that it looks for: at the address in certificates, and at the
// listener itself, over IPv6 where there is that.
func TestPlainHTTP(t *testing.T) {
	in := served(t)
	l := in.leaves[good]
	base := strings.TrimSuffix(l.OCSPServer[0], "/ocsp")
	for name, host := range map[string]string{"as certificates say": base, "the listener": in.status} {
		t.Run(name, func(t *testing.T) {
			if name != "as certificates say" && !strings.Contains(host, "[::1]") {
				t.Skip("there is no IPv6 loopback: this is not tested")
			}
			der := in.request(t, good, crypto.SHA1)
			b64 := base64.StdEncoding.EncodeToString(der)
			at := func(address string) string { return host + strings.TrimPrefix(address, base) }
			for _, c := range []struct {
				name, method, address string
				body                  []byte
				kind                  string
			}{
				{"OCSP by POST", http.MethodPost, at(l.OCSPServer[0]), der, "application/ocsp-response"},
				{"OCSP by GET", http.MethodGet, at(l.OCSPServer[0]) + "/" + url.PathEscape(b64), nil, "application/ocsp-response"},
				{"OCSP by GET, not escaped", http.MethodGet, at(l.OCSPServer[0]) + "/" + b64, nil, "application/ocsp-response"},
				{"OCSP by GET, all escaped", http.MethodGet, at(l.OCSPServer[0]) + "/" + url.QueryEscape(b64), nil, "application/ocsp-response"},
				{"partition", http.MethodGet, at(l.CRLDistributionPoints[0]), nil, "application/pkix-crl"},
				{"root's CRL", http.MethodGet, at(in.issuer.CRLDistributionPoints[0]), nil, "application/pkix-crl"},
				{"issuing CA", http.MethodGet, at(l.IssuingCertificateURL[0]), nil, "application/pkix-cert"},
				{"root", http.MethodGet, at(in.issuer.IssuingCertificateURL[0]), nil, "application/pkix-cert"},
			} {
				t.Run(c.name, func(t *testing.T) { fetch(t, c.method, c.address, c.kind, c.body) })
			}
		})
	}
}

// fetch asks once; whatever is not a 200 of this kind, with a length and without
// an encoding, some validator cannot use.
func fetch(t *testing.T, method, address, kind string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/ocsp-request")
	}
	resp, err := plain.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	h := resp.Header
	if resp.StatusCode != http.StatusOK || h.Get("Content-Type") != kind || h.Get("Content-Encoding") != "" || resp.ContentLength != int64(len(got)) || len(got) == 0 {
		t.Errorf("%s %s: %s, %d of %d octets, %v", method, address, resp.Status, len(got), resp.ContentLength, h)
	}
	switch kind {
	case "application/ocsp-response":
		_, err = ocsp.ParseResponse(got, nil)
	case "application/pkix-crl":
		_, err = x509.ParseRevocationList(got)
	default:
		_, err = x509.ParseCertificate(got)
	}
	if err != nil {
		t.Errorf("%s %s: %v", method, address, err)
	}
}

// Old clients, and nginx's own, speak HTTP/1.0, some without saying whom to.
func TestHTTP10(t *testing.T) {
	in := served(t)
	u, err := url.Parse(in.leaves[good].OCSPServer[0])
	if err != nil {
		t.Fatal(err)
	}
	der := in.request(t, good, crypto.SHA1)
	path := u.Path + "/" + url.PathEscape(base64.StdEncoding.EncodeToString(der))
	for name, text := range map[string]string{
		"GET":              "GET " + path + " HTTP/1.0\r\n\r\n",
		"POST":             fmt.Sprintf("POST %s HTTP/1.0\r\nContent-Type: application/ocsp-request\r\nContent-Length: %d\r\n\r\n%s", u.Path, len(der), der),
		"GET with a Host":  "GET " + path + " HTTP/1.0\r\nHost: " + u.Host + "\r\n\r\n",
		"GET as a proxy's": "GET " + u.Scheme + "://" + u.Host + path + " HTTP/1.0\r\nHost: " + u.Host + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", u.Host)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, text); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%s, %v: %s", resp.Status, err, body)
			}
			if r, err := ocsp.ParseResponseForCert(body, in.leaves[good].Certificate, in.issuer); err != nil || r.Status != ocsp.Good {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// Nothing is ever answered by sending the client elsewhere, however the address
// is mistyped.
func TestNoRedirects(t *testing.T) {
	in := served(t)
	base := strings.TrimSuffix(in.leaves[good].OCSPServer[0], "/ocsp")
	for _, path := range []string{"", "/", "//", "/ocsp/", "//ocsp", "/ocsp//abc", "/ocsp/../crl/root/0.crl", "/crl", "/crl/", "/crl/root", "/crl/root/",
		"/crl//root/0.crl", "/crl/root/0.crl/", "/aia/", "/aia/root.cer/", "/aia/../aia/root.cer", "/index.html"} {
		resp, err := plain.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode/100 == 3 || resp.Header.Get("Location") != "" {
			t.Errorf("%q: %s to %q", path, resp.Status, resp.Header.Get("Location"))
		}
	}
}

// Go's own libraries judge: chain, CRL with its scope, OCSP with its signer.
func TestGoJudges(t *testing.T) {
	in := served(t)
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(in.root)
	between.AddCert(in.issuer)
	for name, want := range map[string]struct{ status, reason int }{
		good: {ocsp.Good, 0}, superseded: {ocsp.Revoked, ocsp.Superseded}, stolen: {ocsp.Revoked, ocsp.KeyCompromise}, forged: {ocsp.Unknown, 0},
	} {
		t.Run(name, func(t *testing.T) {
			cert := in.leaves[name].Certificate
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
				t.Error(err)
			}
			for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
				resp, err := plain.Post(cert.OCSPServer[0], "application/ocsp-request", bytes.NewReader(in.request(t, name, hash)))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				r, err := ocsp.ParseResponseForCert(body, cert, in.issuer)
				if err != nil || r.Status != want.status || r.RevocationReason != want.reason {
					t.Errorf("OCSP: %+v, %v, want %+v", r, err, want)
				}
			}
			list, err := x509.ParseRevocationList(in.get(cert.CRLDistributionPoints[0]))
			if err != nil {
				t.Fatal(err)
			}
			if err := list.CheckSignatureFrom(in.issuer); err != nil {
				t.Error(err)
			}
			if point, err := crl.IssuingDistributionPoint(list); err != nil || point != cert.CRLDistributionPoints[0] {
				t.Errorf("the list is for %q, %v", point, err)
			}
			reason := -1
			for _, e := range list.RevokedCertificateEntries {
				if e.SerialNumber.Cmp(cert.SerialNumber) == 0 {
					reason = e.ReasonCode
				}
			}
			if (reason >= 0) != (want.status == ocsp.Revoked) || reason >= 0 && reason != want.reason {
				t.Errorf("the list has reason %d, want %+v", reason, want)
			}
		})
	}
}
