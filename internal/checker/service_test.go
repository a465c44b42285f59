package checker

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/revtest"
)

const (
	partitions = 3
	perList    = 25
	name       = string(revtest.Person)
)

// service is a status service that is as it should be, and of which a test then breaks
// one thing. It is asked at another address than its certificates name, as a mirror is.
type service struct {
	t    *testing.T
	root *revtest.Authority
	ca   *revtest.Authority
	base string

	mu      sync.Mutex
	clock   time.Time
	files   map[string][]byte
	revoked map[ca.Serial]crl.Revoked
	good    map[ca.Serial]bool
	lists   [partitions][]crl.Revoked
	leaves  []*x509.Certificate // one good of each partition, one revoked
	signer  *ca.Responder
	numbers int64
	asked   int // requests so far

	// instead answers in the place of the service if it returns true.
	instead func(w http.ResponseWriter, r *http.Request) bool
	// answer changes what OCSP will say.
	answer func(a *ca.OCSPAnswer)
	// body changes what was answered.
	body func(path string, b []byte) []byte
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{t: t, clock: revtest.Start, files: map[string][]byte{}, revoked: map[ca.Serial]crl.Revoked{}, good: map[ca.Serial]bool{}}
	s.root = revtest.NewAuthority(t, revtest.Root, nil)
	s.ca = revtest.NewAuthority(t, revtest.Person, s.root)
	s.signer = s.ca.Responder(t)
	s.files["/aia/root.cer"], s.files["/aia/"+name+".cer"] = s.root.Cert.Raw, s.ca.Cert.Raw
	for p := range partitions {
		for range perList {
			s.revoke(p, ca.NewSerial(), ca.Superseded)
		}
		serial := ca.NewSerial()
		s.good[serial] = true
		s.leaves = append(s.leaves, s.ca.Leaf(t, serial.Int(), p))
	}
	serial := ca.NewSerial()
	s.revoke(1, serial, ca.KeyCompromise)
	s.leaves = append(s.leaves, s.ca.Leaf(t, serial.Int(), 1))
	s.publish()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.base = server.URL
	return s
}

func (s *service) revoke(partition int, serial ca.Serial, reason ca.Reason) {
	e := crl.Revoked{Serial: serial, At: s.clock.Add(-time.Hour), Reason: reason}
	s.revoked[serial] = e
	s.lists[partition] = append(s.lists[partition], e)
}

// publish signs all lists anew at the clock.
func (s *service) publish() {
	s.numbers++
	s.put("/crl/root/0.crl", s.root, crl.List{Number: s.numbers, ThisUpdate: s.clock, NextUpdate: s.clock.AddDate(1, 0, 0)})
	var all []crl.Revoked
	for p := range s.lists {
		s.partition(p, func(*crl.List) {})
		all = append(all, s.lists[p]...)
	}
	s.put("/crl/"+name+"/full.crl", s.ca, crl.List{Number: s.numbers, ThisUpdate: s.clock.Add(-5 * time.Minute), NextUpdate: s.clock.Add(24 * time.Hour), Entries: all})
}

// partition signs the list of a partition, changed by change.
func (s *service) partition(p int, change func(*crl.List)) {
	list := crl.List{Number: s.numbers, ThisUpdate: s.clock.Add(-5 * time.Minute), NextUpdate: s.clock.Add(24 * time.Hour),
		DistributionPoint: revtest.URLOf(revtest.Person, p), Entries: s.lists[p]}
	change(&list)
	s.put(fmt.Sprintf("/crl/%s/%d.crl", name, p), s.ca, list)
}

func (s *service) put(path string, a *revtest.Authority, list crl.List) {
	s.t.Helper()
	list.Entries = slices.Clone(list.Entries)
	slices.SortFunc(list.Entries, func(a, b crl.Revoked) int { return bytes.Compare(a.Serial[:], b.Serial[:]) })
	s.files[path] = a.CRL(s.t, list)
}

// change changes the service between or during rounds.
func (s *service) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *service) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	w.Header().Set("Date", s.clock.UTC().Format(http.TimeFormat))
	if s.instead != nil && s.instead(w, r) {
		return
	}
	path := r.URL.EscapedPath()
	if text, ok := strings.CutPrefix(path, "/ocsp"); ok {
		s.serveOCSP(w, r, text)
		return
	}
	body, ok := s.files[path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if s.body != nil {
		body = s.body(path, body)
	}
	w.Header().Set("Content-Type", typeCRL)
	if strings.HasSuffix(path, ".cer") {
		w.Header().Set("Content-Type", typeCertificate)
	}
	w.Header().Set("Cache-Control", "public, max-age=60")
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, body[len(body)-8:])) // of the signature
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func (s *service) serveOCSP(w http.ResponseWriter, r *http.Request, text string) {
	request, err := io.ReadAll(r.Body)
	if r.Method == http.MethodGet {
		text, _ = url.PathUnescape(strings.TrimPrefix(text, "/"))
		request, err = base64.StdEncoding.DecodeString(text)
	}
	if err != nil {
		s.t.Error(err)
		return
	}
	asked, err := ca.ParseOCSPRequest(request)
	if err != nil {
		s.t.Errorf("%x: %v", request, err)
		return
	}
	a := ca.OCSPAnswer{ProducedAt: s.clock, ThisUpdate: s.clock.Add(-5 * time.Minute), NextUpdate: s.clock.Add(time.Hour), Nonce: asked.Nonce}
	for _, id := range asked.CertIDs {
		single := ca.OCSPSingle{ID: id}
		serial, _ := ca.SerialOf(id.Serial)
		if e, ok := s.revoked[serial]; ok {
			single.Status, single.At, single.Reason = ca.OCSPRevoked, e.At, e.Reason
		} else if s.good[serial] {
			single.Status = ca.OCSPGood
		}
		a.Singles = append(a.Singles, single)
	}
	if s.answer != nil {
		s.answer(&a)
	}
	der, _, err := s.signer.SignOCSP(a)
	if err != nil {
		s.t.Error(err)
		return
	}
	if s.body != nil {
		der = s.body("/ocsp", der)
	}
	w.Header().Set("Content-Type", typeOCSP)
	if a.Singles[0].Status == ca.OCSPUnknown {
		w.Header().Set("Cache-Control", "no-store")
	} else {
		w.Header().Set("Cache-Control", "public, max-age=60")
	}
	w.Write(der)
}

// checker returns one that knows the CAs and the certificates.
func (s *service) checker(change func(*Config)) *Checker {
	s.t.Helper()
	c := Config{Authorities: []Authority{{Certificate: s.root.Cert}, {Certificate: s.ca.Cert}}, Base: s.base, Certificates: s.leaves,
		Partitions: partitions, Rate: 10_000, Now: s.now}
	change(&c)
	k, err := New(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

func (s *service) round(k *Checker) *Report {
	s.t.Helper()
	r, err := k.Round(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// codes are the findings' grades and codes, each once.
func codes(r *Report) string {
	var out []string
	for _, f := range r.Findings {
		if text := string(f.Grade) + " " + string(f.Code); !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, ", ")
}

// wantCodes fails the test unless exactly these kinds of findings are in a report.
func wantCodes(t *testing.T, r *Report, want string) {
	t.Helper()
	if got := codes(r); got != want {
		t.Errorf("found: %s\nwant:  %s\n%s", got, want, r)
	}
}

func serialOfCert(cert *x509.Certificate) *big.Int { return cert.SerialNumber }
