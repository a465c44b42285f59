package cardclient_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/card"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/internal/wire"
	"sigill/policy"
)

const number = "9752000000000000017"

// fake is a server that keeps the contract of the card protocol for one card
// with one order, and nothing else. What a client must not do it answers with a
// problem, and notes.
type fake struct {
	ca  *tokentest.Authority
	url string

	mu       sync.Mutex
	roots    *x509.CertPool
	accepted map[string]string // fingerprint → profile, that may log in
	offers   []wire.Offer
	download *wire.Download
	plan     policy.Plan
	removes  []string
	eids     []wire.EID
	keys     map[string]bool // public keys that were refused or certified
	issued   int
	removed  []string
	blocked  bool
	min      string
	signing  bool                                                           // the plan adds a signing certificate too
	fault    func(w http.ResponseWriter, r *http.Request, step string) bool // true: answered
	lost     map[string]int                                                 // answers to lose, by step
	edit     func(*wire.Download)                                           // what a bad server does to a download
	conns    map[string]int                                                 // requests by connection and step
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{ca: tokentest.NewAuthority(t, "TEST CA"), accepted: map[string]string{}, keys: map[string]bool{},
		offers: []wire.Offer{{Order: "ord_1", Organisation: "Region Öst"}}, lost: map[string]int{}, conns: map[string]int{}}
	mux := http.NewServeMux()
	handle := func(pattern, step string, fn func(*http.Request, string) (any, *wire.Problem)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { f.serve(w, r, step, fn) })
	}
	handle("GET /card/v1/me", "me", f.me)
	handle("POST /card/v1/downloads", "begin", f.begin)
	handle("POST /card/v1/downloads/dl_1/items/{slot}", "submit", f.submit)
	handle("POST /card/v1/downloads/dl_1/items/{slot}/challenge", "challenge", f.challenge)
	handle("POST /card/v1/downloads/dl_1/confirm", "confirm", f.confirm)
	handle("POST /card/v1/downloads/dl_1/removed", "removed", f.remove)
	handle("POST /card/v1/downloads/dl_1/abandon", "abandon", f.abandon)
	handle("POST /card/v1/block", "block", f.block)
	s := httptest.NewUnstartedServer(mux)
	cert, pool := serverCertificate(t, "127.0.0.1")
	f.roots = pool
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // the cut connections are meant
	s.StartTLS()
	t.Cleanup(s.Close)
	f.url = s.URL
	return f
}

// serverCertificate makes a certificate for an address, under a root of its own.
func serverCertificate(t *testing.T, address string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	root := tokentest.NewAuthority(t, "TEST Function CA")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: address}, IPAddresses: []net.IP{net.ParseIP(address)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, root.Certificate, key.Public(), root.Key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root.Certificate)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request, step string, fn func(*http.Request, string) (any, *wire.Problem)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns[r.RemoteAddr+" "+step]++
	if f.fault != nil && f.fault(w, r, step) {
		return
	}
	body, problem := any(nil), refuse(401, "login.none")
	if len(r.TLS.PeerCertificates) > 0 && !r.TLS.DidResume {
		body, problem = fn(r, fingerprint(r.TLS.PeerCertificates[0].Raw))
	}
	if f.lost[step] > 0 {
		f.lost[step]--
		panic(http.ErrAbortHandler) // done, and the answer lost
	}
	if problem != nil {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(problem.Status)
		json.NewEncoder(w).Encode(problem)
		return
	}
	json.NewEncoder(w).Encode(body)
}

func refuse(status int, rule string) *wire.Problem {
	return &wire.Problem{Title: "refused", Status: status, Rule: rule, Next: "Ask the desk."}
}

func fingerprint(der []byte) string { return ca.FingerprintOf(der).String() }

func decode(r *http.Request, v any) bool {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	return d.Decode(v) == nil
}

func (f *fake) me(r *http.Request, as string) (any, *wire.Problem) {
	profile := f.accepted[as]
	if profile == "" || f.blocked {
		return nil, refuse(403, "login.unknown")
	}
	me := wire.Me{Card: number, CardState: "active", Name: "Åsa Öberg", LoggedInWith: profile, EIDs: f.eids, Offers: f.offers, MinClient: f.min}
	if me.EIDs == nil && len(f.removes) > 0 {
		me.EIDs = []wire.EID{{State: "current"}}
		for _, fp := range f.removes {
			me.EIDs[0].Certificates = append(me.EIDs[0].Certificates, wire.Certificate{Fingerprint: fp, State: "current", Slot: "authentication"})
		}
	}
	if f.download != nil && f.download.State == "planned" {
		me.Open = f.download
	}
	return me, nil
}

func (f *fake) begin(r *http.Request, as string) (any, *wire.Problem) {
	var b wire.Begin
	if f.accepted[as] == "" || !decode(r, &b) || b.Order != "ord_1" && b.Order != "ord_2" && !b.Signing {
		return nil, refuse(400, "request.form")
	}
	if f.download == nil || f.download.State == "abandoned" {
		f.newDownload(b.Order, as)
	}
	d := *f.download
	d.Items = append([]wire.Item{}, d.Items...)
	if f.edit != nil {
		f.edit(&d)
	}
	return d, nil
}

func (f *fake) newDownload(order, as string) {
	add := policy.Addition{Slot: policy.Authentication, Profile: "authentication", NotAfter: time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second),
		Content: ca.Content{CommonName: "Åsa Öberg", CardNumber: number}, Algorithms: []string{"P-256", "RSA"}}
	f.plan = policy.Plan{Version: 1, Download: "dl_1", Order: policy.OrderID(order), Card: number, Holder: "per_1", Login: as,
		Adds: []policy.Addition{add}, Removes: []policy.Removal{}}
	if f.signing {
		add.Slot = policy.Signing
		f.plan.Adds = append(f.plan.Adds, add)
	}
	for _, fp := range f.removes {
		f.plan.Removes = append(f.plan.Removes, policy.Removal{Fingerprint: fp, Slot: policy.Authentication})
	}
	b, hash := f.plan.Bytes()
	f.download = &wire.Download{ID: "dl_1", Order: order, State: "planned", Plan: b, PlanHash: hex.EncodeToString(hash[:])}
	for _, a := range f.plan.Adds {
		it := wire.Item{Slot: string(a.Slot), State: "planned"}
		fresh(&it)
		f.download.Items = append(f.download.Items, it)
	}
}

func fresh(it *wire.Item) {
	it.Challenge = make([]byte, 32)
	rand.Read(it.Challenge)
	it.ChallengeExpires = time.Now().Add(10 * time.Minute)
}

func (f *fake) item(r *http.Request) *wire.Item {
	for i := range f.download.Items {
		if f.download.Items[i].Slot == r.PathValue("slot") {
			return &f.download.Items[i]
		}
	}
	return nil
}

func (f *fake) challenge(r *http.Request, as string) (any, *wire.Problem) {
	it := f.item(r)
	if it == nil || it.State != "planned" {
		return nil, refuse(409, "download.state")
	}
	fresh(it)
	return *it, nil
}

func (f *fake) submit(r *http.Request, as string) (any, *wire.Problem) {
	var b wire.Submit
	it := f.item(r)
	if !decode(r, &b) || it == nil || f.accepted[as] == "" || f.blocked {
		return nil, refuse(400, "request.form")
	}
	req, err := card.ParseRequest(b.CSR)
	if err != nil {
		return nil, refuse(422, "key.proof")
	}
	spki, _ := x509.MarshalPKIXPublicKey(req.PublicKey)
	if it.State == "signed" {
		if cert, _ := x509.ParseCertificate(it.Certificate); token.SameKey(req.PublicKey, cert.PublicKey) {
			return *it, nil // the same key again: an answer was lost
		}
		return nil, refuse(409, "download.state")
	}
	if it.State == "intended" { // an interrupted attempt is given up
		it.State, it.Challenge = "planned", nil
		return nil, refuse(409, "download.challenge")
	}
	login, _ := ca.ParseFingerprint(as)
	planHash := sha256.Sum256(f.download.Plan)
	want := card.Binding{Download: "dl_1", Slot: it.Slot, Card: number, Login: login, PlanHash: planHash, Challenge: [32]byte(it.Challenge)}.Digest()
	switch {
	case req.Digest != want:
		return nil, refuse(422, "download.binding")
	case time.Now().After(it.ChallengeExpires):
		return nil, refuse(409, "download.challenge")
	case f.keys[string(spki)]:
		return nil, refuse(422, "key.seen")
	}
	f.keys[string(spki)] = true
	der, err := f.ca.Make(req.PublicKey, policy.Slot(it.Slot), number)
	if err != nil {
		return nil, refuse(500, "")
	}
	f.issued++
	it.State, it.Certificate, it.Issuer = "signed", der, f.ca.Certificate.Raw
	return *it, nil
}

func (f *fake) confirm(r *http.Request, as string) (any, *wire.Problem) {
	var b wire.Confirm
	if !decode(r, &b) || b.PlanHash != f.download.PlanHash || len(b.ReadBack) != len(f.download.Items) || f.blocked {
		return nil, refuse(422, "download.evidence")
	}
	for _, it := range f.download.Items {
		fp := fingerprint(it.Certificate)
		if b.ReadBack[it.Slot] != fp || it.Slot == "authentication" && as != fp {
			return nil, refuse(422, "download.evidence")
		}
	}
	if n := f.conns[r.RemoteAddr+" me"] + f.conns[r.RemoteAddr+" begin"] + f.conns[r.RemoteAddr+" submit"]; n > 0 {
		return nil, refuse(422, "download.evidence") // not a fresh handshake
	}
	for _, fp := range f.removes {
		delete(f.accepted, fp)
		f.eids = []wire.EID{{Certificates: []wire.Certificate{{Fingerprint: fp, State: "superseded", Profile: "authentication"}}}}
	}
	f.accepted[as] = "authentication"
	f.download.State, f.download.Remove, f.offers = "installed", f.removes, nil
	return *f.download, nil
}

func (f *fake) remove(r *http.Request, as string) (any, *wire.Problem) {
	var b wire.Removed
	if !decode(r, &b) || f.download.State != "installed" || f.accepted[as] == "" {
		return nil, refuse(409, "download.state")
	}
	f.removed = b.Fingerprints
	return struct{}{}, nil
}

func (f *fake) abandon(r *http.Request, as string) (any, *wire.Problem) {
	if f.download == nil || f.download.State != "planned" {
		return nil, refuse(409, "download.state")
	}
	f.download.State = "abandoned"
	return *f.download, nil
}

func (f *fake) block(r *http.Request, as string) (any, *wire.Problem) {
	var b map[string]string
	if !decode(r, &b) || b["reason"] != "lost" || len(b) != 1 {
		return nil, refuse(400, "request.form")
	}
	f.blocked = true
	return struct{}{}, nil
}

// holder is a UI that says yes or no and remembers.
type holder struct {
	no    bool
	asked int
	plan  policy.Plan
	steps []string
}

func (h *holder) Approve(_ context.Context, _ *wire.Me, p policy.Plan) (bool, error) {
	h.asked++
	h.plan = p
	return !h.no, nil
}

func (h *holder) Progress(step string, slot policy.Slot) {
	h.steps = append(h.steps, fmt.Sprint(step, slot))
}

// certified puts a key with its certificate on the card and lets the server
// accept it.
func (f *fake) certified(t *testing.T, c token.Card, slot policy.Slot) (id []byte, fp string) {
	t.Helper()
	id, err := c.GenerateKey(t.Context(), slot, token.P256)
	if err != nil {
		t.Fatal(err)
	}
	key, err := c.Signer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	der := f.ca.Issue(t, key.Public(), slot, number)
	if err := c.WriteCertificate(t.Context(), id, der); err != nil {
		t.Fatal(err)
	}
	f.accepted[fingerprint(der)] = string(slot)
	return id, fingerprint(der)
}

// has reports whether the card holds a certificate.
func has(t *testing.T, c token.Card, fp string) bool {
	t.Helper()
	all, err := c.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if o.Certificate != nil && fingerprint(o.Certificate) == fp && o.HasKey {
			return true
		}
	}
	return false
}

func count(t *testing.T, c token.Card) int {
	t.Helper()
	all, err := c.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
