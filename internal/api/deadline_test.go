package api_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// timed is a writer that keeps the deadlines which are set on its connection.
type timed struct {
	*httptest.ResponseRecorder
	read, write []time.Time
}

func (w *timed) SetReadDeadline(t time.Time) error  { w.read = append(w.read, t); return nil }
func (w *timed) SetWriteDeadline(t time.Time) error { w.write = append(w.write, t); return nil }

// A file of thousands of cards has longer than other requests, and only of a
// caller who has logged in.
func TestTimeForFiles(t *testing.T) {
	s := serve(t)
	known, err := x509.ParseCertificate(s.Admins[0].CertificateOf())
	if err != nil {
		t.Fatal(err)
	}
	org := "/api/v1/organisations/" + string(s.Org)
	for _, c := range []struct {
		method, path string
		as           *x509.Certificate
		status, set  int
	}{
		{"POST", org + "/people", known, 400, 1},
		{"POST", org + "/deliveries", known, 400, 1},
		{"POST", org + "/people", s.http.Certificate(), 401, 0},
		{"POST", org + "/deliveries", nil, 401, 0},
		{"GET", org + "/people", known, 200, 0},
		{"POST", "/api/v1/orders", known, 400, 0},
		{"GET", "/card/v1/me", known, 200, 0},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader("no file"))
		r.Header.Set("Content-Type", mediaOf(c.path))
		r.TLS = &tls.ConnectionState{}
		if c.as != nil {
			r.TLS.PeerCertificates = []*x509.Certificate{c.as}
		}
		w := &timed{ResponseRecorder: httptest.NewRecorder()}
		before := time.Now()
		s.http.Config.Handler.ServeHTTP(w, r)
		if w.Code != c.status || len(w.read) != c.set || len(w.write) != c.set {
			t.Errorf("%s %s: status %d, deadlines %v and %v", c.method, c.path, w.Code, w.read, w.write)
			continue
		}
		for _, at := range append(w.read, w.write...) {
			if d := at.Sub(before); d < 5*time.Minute || d > time.Hour {
				t.Errorf("%s %s: %v", c.method, c.path, d)
			}
		}
	}
}
