package cardclient_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/api"
	"sigill/internal/cardclient"
	"sigill/internal/store"
	"sigill/internal/texts"
	"sigill/internal/token"
	"sigill/internal/world"
	"sigill/internal/world/fault"
	"sigill/internal/world/worldtest"
	"sigill/orders"
	"sigill/policy"
)

const (
	pin1 = "123456"
	pin2 = "654321"
)

// desk is a card at a reader, with the real card server over a world behind it.
type desk struct {
	*worldtest.Scene
	holder *world.Holder
	card   *reader
	ui     *holder
	net    *wire1
	serves atomic.Pointer[http.Handler]
	url    string
	roots  *x509.CertPool
	min    string
	// least is how many working eIDs the holder must have after each request.
	least int
}

// Soft is the card itself: of software, or on tokens.
type Soft interface {
	token.Card
	token.Mender
}

// reader is a card that holds a transport key beside its own, counts what its
// keys sign, and fails where a test says.
type reader struct {
	Soft
	transport *world.Holder

	mu     sync.Mutex
	signed map[string]int               // by slot and id
	fail   func(op string, n int) error // before the n-th operation that touches the card
	ops    int
	lies   bool // gives back other octets than were written
}

const transportID = "transport"

func (r *reader) touch(op string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops++
	if r.fail != nil {
		return r.fail(op, r.ops)
	}
	return nil
}

func (r *reader) Objects(ctx context.Context) ([]token.Object, error) {
	if err := r.touch("objects"); err != nil {
		return nil, err
	}
	all, err := r.Soft.Objects(ctx)
	if err != nil {
		return nil, err
	}
	return append(all, token.Object{ID: []byte(transportID), Slot: policy.Transport, Label: "bureau", HasKey: true,
		Certificate: r.transport.TransportDER(), Public: r.transport.TransportKey().Public()}), nil
}

func (r *reader) GenerateKey(ctx context.Context, slot policy.Slot, a token.Algorithm) ([]byte, error) {
	if err := r.touch("generate"); err != nil {
		return nil, err
	}
	return r.Soft.GenerateKey(ctx, slot, a)
}

func (r *reader) WriteCertificate(ctx context.Context, id, der []byte) error {
	if err := r.touch("write"); err != nil {
		return err
	}
	return r.Soft.WriteCertificate(ctx, id, der)
}

func (r *reader) ReadCertificate(ctx context.Context, id []byte) ([]byte, error) {
	if err := r.touch("read"); err != nil {
		return nil, err
	}
	der, err := r.Soft.ReadCertificate(ctx, id)
	if err == nil && r.lies {
		der[len(der)-1] ^= 1
	}
	return der, err
}

func (r *reader) Delete(ctx context.Context, id []byte) error {
	if err := r.touch("delete"); err != nil {
		return err
	}
	return r.Soft.Delete(ctx, id)
}

func (r *reader) Signer(ctx context.Context, id []byte) (crypto.Signer, error) {
	if err := r.touch("signer"); err != nil {
		return nil, err
	}
	if string(id) == transportID {
		return r.transport.TransportKey(), nil
	}
	all, err := r.Soft.Objects(ctx)
	if err != nil {
		return nil, err
	}
	key, err := r.Soft.Signer(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, o := range all {
		if string(o.ID) == string(id) {
			return counted{key, r, string(o.Slot), string(id)}, nil
		}
	}
	return nil, token.ErrNotFound
}

// counted counts signatures.
type counted struct {
	crypto.Signer
	r        *reader
	slot, id string
}

func (c counted) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if err := c.r.touch("sign " + c.slot); err != nil {
		return nil, err
	}
	c.r.mu.Lock()
	c.r.signed[c.slot+" "+c.id]++
	c.r.mu.Unlock()
	return c.Signer.Sign(rand, digest, opts)
}

// signatures are how many the keys of a slot ever made, key by key.
func (r *reader) signatures(slot policy.Slot) (all []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, n := range r.signed {
		if strings.HasPrefix(name, string(slot)+" ") {
			all = append(all, n)
		}
	}
	return all
}

// wire1 is the network between them: it loses requests and answers.
type wire1 struct {
	mu      sync.Mutex
	request map[string]int // to lose, by step; less than 0: all
	answer  map[string]int
	during  func(step string) // called before a request is served
	after   func(step string) // and after it, before its answer is sent
	steps   []string
	agents  string
	// cutAt cuts the network at the n-th request: before it is served, or
	// after it.
	cutAt, seen int
	cutAnswer   bool
}

// stepOf names a request as the tests do.
func stepOf(r *http.Request) string {
	path := strings.TrimPrefix(r.URL.Path, "/card/v1/")
	switch {
	case path == "downloads":
		return "begin"
	case strings.HasSuffix(path, "/challenge"):
		return "challenge"
	case strings.Contains(path, "/items/"):
		return "submit " + path[strings.LastIndex(path, "/")+1:]
	case strings.HasPrefix(path, "downloads/"):
		if i := strings.LastIndex(path, "/"); i > len("downloads") {
			return path[i+1:]
		}
		return "show"
	}
	return path
}

func (n *wire1) lose(m map[string]int, step string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m[step] == 0 {
		return false
	}
	m[step]--
	return true
}

// cut reports whether the network is cut: for the request, or for its answer.
func (n *wire1) cut() (request, answer bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen++
	if n.cutAt == 0 || n.seen < n.cutAt {
		return false, false
	}
	first := n.seen == n.cutAt && n.cutAnswer
	return !first, first
}

// lives asserts that the holder has a working eID.
func (d *desk) lives(step string) {
	if n := d.Working(d.holder); n < d.least {
		d.T.Errorf("after %s the holder has %d working eIDs, had %d", step, n, d.least)
	}
}

// newDesk makes a person with a card that was handed out and has no eID yet; the
// organisation allows signing certificates.
func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{Scene: worldtest.New(t), card: &reader{}, net: &wire1{request: map[string]int{}, answer: map[string]int{}}, min: "0.1.0"}
	if err := d.SetSigning(t.Context(), d.Org, true); err != nil {
		t.Fatal(err)
	}
	d.start(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		step := stepOf(r)
		d.net.mu.Lock()
		d.net.steps = append(d.net.steps, step)
		d.net.agents = r.UserAgent()
		during := d.net.during
		d.net.mu.Unlock()
		request, answer := d.net.cut()
		if request || d.net.lose(d.net.request, step) {
			panic(http.ErrAbortHandler)
		}
		defer d.lives(step)
		if during != nil {
			during(step)
		}
		if answer || d.net.lose(d.net.answer, step) {
			(*d.serves.Load()).ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		(*d.serves.Load()).ServeHTTP(w, r)
		d.net.mu.Lock()
		after := d.net.after
		d.net.mu.Unlock()
		if after != nil {
			after(step)
		}
	}))
	server.TLS = api.TLS(&tls.Config{})
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	d.roots = x509.NewCertPool()
	d.roots.AddCert(server.Certificate())
	d.url = server.URL
	return d.newcomer(t)
}

// newcomer is another person with another card at the same desk: making the desk
// costs more than most of what is tested at it.
func (d *desk) newcomer(t *testing.T) *desk {
	t.Helper()
	d.T, d.least = t, 0
	d.Faults.Clear()
	d.holder, d.ui = d.Person(), &holder{}
	soft, err := token.NewMemory(token.SoftConfig{Number: string(d.holder.Card), Product: "7XX"})
	if err != nil {
		t.Fatal(err)
	}
	d.card = &reader{Soft: soft, transport: d.holder, signed: map[string]int{}}
	d.net.mu.Lock()
	d.net.steps = nil
	d.net.mu.Unlock()
	d.calm()
	return d
}

// program is a client that was just started: it remembers nothing.
func (d *desk) program() *cardclient.Client {
	return &cardclient.Client{Server: d.url, Roots: d.roots, Card: d.card, Version: "0.1.0", Language: "sv", Now: d.Now,
		Wait: func(ctx context.Context, _ time.Duration) error {
			// The server's own recovery, which runs all the time.
			if _, err := d.Downloads.Recover(ctx); err != nil && !errors.Is(err, fault.ErrInjected) {
				return err
			}
			return ctx.Err()
		}}
}

// start starts the server, again if it was running.
func (d *desk) start(t testing.TB) {
	t.Helper()
	catalogue, err := texts.Load()
	if err != nil {
		t.Fatal(err)
	}
	h := api.New(api.Config{Register: d.Register, Orders: d.Orders, Downloads: d.Downloads, Texts: catalogue,
		IssuerCertificate: func(id string) []byte {
			i, err := d.Issuers.Issuer(ca.IssuerID(id))
			if err != nil {
				return nil
			}
			return i.Certificate().Raw
		},
		Log: slog.New(slog.DiscardHandler), MinClient: d.min, Unknown: store.ErrOutcomeUnknown})
	d.serves.Store(&h)
}

// restart is a server that was killed and started again.
func (d *desk) restart(t testing.TB) {
	t.Helper()
	d.Faults.Clear()
	if err := d.Restart(); err != nil {
		t.Fatal(err)
	}
	d.start(t)
}

// fetch runs `sigill-card fetch` as a new process.
func (d *desk) fetch(order ...policy.OrderID) (*cardclient.Result, error) {
	return d.program().Fetch(d.T.Context(), strings.Join(orderNames(order), ""), d.ui)
}

func orderNames(ids []policy.OrderID) (names []string) {
	for _, id := range ids {
		names = append(names, string(id))
	}
	return names
}

// equipped lets the holder fetch the first eID.
func (d *desk) equipped(t *testing.T) *desk {
	t.Helper()
	d.Ordered(d.holder, policy.OrderOrdinary)
	if _, err := d.fetch(); err != nil {
		t.Fatal(err)
	}
	return d
}

// withSigning lets the holder fetch a signing certificate too.
func (d *desk) withSigning(t *testing.T) *desk {
	t.Helper()
	if _, err := d.program().FetchSigning(t.Context(), d.ui); err != nil {
		t.Fatal(err)
	}
	return d
}

// current counts the certificates of a slot that stand as current.
func (d *desk) current(slot policy.Slot) int {
	return d.Rows("standings", "card = ? AND slot = ? AND kind = 'current'", string(d.holder.Card), string(slot))
}

// onCard counts the whole objects of a slot on the card, and those that are not
// whole.
func (d *desk) onCard(t *testing.T, slot policy.Slot) (whole, rest int) {
	t.Helper()
	all, err := d.card.Soft.Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		switch {
		case o.Slot != slot:
		case o.HasKey && o.Certificate != nil:
			whole++
		default:
			rest++
		}
	}
	return whole, rest
}

// well asserts what must be true when all is done: as many current certificates
// as there should be, on the card too, nothing else on it, and nothing wrong in
// the database.
func (d *desk) well(t *testing.T, authentication, signing int) {
	t.Helper()
	for slot, want := range map[policy.Slot]int{policy.Authentication: authentication, policy.Signing: signing} {
		if n := d.current(slot); n != want {
			t.Errorf("%d %s certificates are current, want %d", n, slot, want)
		}
		if whole, rest := d.onCard(t, slot); whole != want || rest != 0 {
			t.Errorf("%s on the card: %d whole, %d remains, want %d and none", slot, whole, rest, want)
		}
	}
	d.Sound()
	d.Truth()
}

var errKilled = errors.New("killed")

// killedAfter ends runs after a step, the n-th time it comes.
func killedAfter(step string, n int) func(string) error {
	return func(s string) error {
		if s == step {
			if n--; n == 0 {
				return errKilled
			}
		}
		return nil
	}
}

// diesAfter lets the server's process die after the n-th transaction of the next
// request of a step.
func (d *desk) diesAfter(t testing.TB, step string, n int) { d.faulty(t, step, n, fault.DiesAfter) }

// faulty lets the n-th transaction of the next request of a step end in a fault.
func (d *desk) faulty(t testing.TB, step string, n int, f fault.Fault) {
	t.Helper()
	var once sync.Once
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	d.net.during = func(s string) {
		if s == step {
			once.Do(func() { d.Faults.FailUpdate(n, f, func() {}) })
		}
	}
}

// second lets the holder fetch an eID of another organisation beside the first.
func (d *desk) second(t testing.TB, name string, signing bool) policy.OrganisationID {
	t.Helper()
	ctx := t.Context()
	org, err := d.AddOrganisation(ctx, name, d.holder)
	if err != nil {
		t.Fatal(err)
	}
	if signing {
		if err := d.SetSigning(ctx, org, true); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.fetch(d.orderOf(t, org, policy.OrderExtra)); err != nil {
		t.Fatal(err)
	}
	return org
}

// orderOf returns an order of an organisation that waits to be fetched.
func (d *desk) orderOf(t testing.TB, org policy.OrganisationID, kind policy.OrderType) policy.OrderID {
	t.Helper()
	id, err := d.OrderFor(t.Context(), orders.Request{Type: kind, Organisation: org, Number: d.holder.Number, Card: d.holder.Card, IDKind: policy.ByHSAID, LoA: 3})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// renew orders a renewal of an organisation's eID and fetches it.
func (d *desk) renew(t testing.TB, org policy.OrganisationID) error {
	t.Helper()
	_, err := d.fetch(d.orderOf(t, org, policy.OrderRenewal))
	return err
}
