package api_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/api"
	"sigill/internal/lanes"
	"sigill/internal/mode"
	"sigill/internal/statement"
	"sigill/internal/wire"
	"sigill/internal/world"
	"sigill/orders/register"
	"sigill/policy"
)

// TestEveryRouteHasAClass: a route that nobody thought about would be stopped
// when revoking has to go on, or go on when it must not.
func TestEveryRouteHasAClass(t *testing.T) {
	source, err := os.ReadFile("api.go")
	if err != nil {
		t.Fatal(err)
	}
	works, issue := api.Classes()
	routes := map[string]bool{"/": true}
	for _, m := range regexp.MustCompile(`"((?:GET|POST|PUT|PATCH|DELETE) /[^" ]*)"`).FindAllStringSubmatch(string(source), -1) {
		routes[m[1]] = true
	}
	if len(routes) < 25 {
		t.Fatalf("only %d routes were found", len(routes))
	}
	for r := range routes {
		if _, ok := works[r]; !ok {
			t.Errorf("%s has no class in work.go: is it read, confirm, revoke, change or issue?", r)
		}
	}
	for r, w := range works {
		if !routes[r] {
			t.Errorf("%s has a class and is no route", r)
		}
		if !slices.Contains(policy.Works(), w) {
			t.Errorf("%s: %q", r, w)
		}
		if strings.HasPrefix(r, "GET ") != (w == policy.WorkRead) && r != "/" && r != "POST /api/v1/orders/preview" {
			t.Errorf("%s is %s", r, w)
		}
		// What the words of an address promise.
		if takes := regexp.MustCompile(`/(revoke|block|withdraw|abandon|end-assignment|end)$`).MatchString(r); takes && w != policy.WorkRevoke {
			t.Errorf("%s takes something back, and is %s", r, w)
		}
	}
	slices.Sort(issue)
	if want := []string{"POST /card/v1/downloads", "POST /card/v1/downloads/{id}/items/{slot}"}; !slices.Equal(issue, want) {
		t.Errorf("%v wait for their turn", issue)
	}
	if w := api.ClassOf("POST /of/tomorrow"); w != policy.WorkIssue {
		t.Errorf("a route without class is taken for %s", w)
	}
}

// conditioned is a server whose conditions the test makes.
type conditioned struct {
	*server
	keeper *mode.Keeper
	dir    string
	free   *atomic.Uint64
}

func serveUnder(t *testing.T) *conditioned {
	t.Helper()
	c := &conditioned{dir: t.TempDir(), free: new(atomic.Uint64)}
	c.free.Store(1000)
	var err error
	c.keeper, err = mode.New(mode.Config{Dir: c.dir, Full: func(error) bool { return false }, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Disk: mode.Disk{Paths: []string{c.dir}, Free: func(string) (uint64, error) { return c.free.Load(), nil }, StopBelow: 100}})
	if err != nil {
		t.Fatal(err)
	}
	c.server = serve(t, func(s *server, config *api.Config) {
		config.Conditions = c.keeper
		s.Downloads.Gate = c.keeper.MayIssue
	})
	return c
}

func (c *conditioned) outage() {
	c.t.Helper()
	_, err := mode.Begin(c.dir, mode.Notice{Begun: time.Now(), Until: time.Now().Add(time.Hour), ReasonSV: "Databasen flyttas.", ReasonEN: "The database is moved."})
	if err != nil {
		c.t.Fatal(err)
	}
	c.keeper.Look(c.t.Context())
}

// released is a download whose certificate is out and not confirmed.
type released struct {
	path     string
	download wire.Download
	submit   wire.Submit
	item     wire.Item
	old, new *http.Client
}

func (c *conditioned) released(h *world.Holder) *released {
	c.t.Helper()
	order := c.Ordered(h, policy.OrderRenewal)
	r := &released{old: c.as(h)}
	c.do(r.old, "POST", "/card/v1/downloads", wire.Begin{Order: string(order)}).read(c.t, &r.download)
	r.path = "/card/v1/downloads/" + r.download.ID
	st, err := c.Begin(c.t.Context(), h, order)
	if err != nil {
		c.t.Fatal(err)
	}
	if r.submit.CSR, err = h.Request(st); err != nil {
		c.t.Fatal(err)
	}
	c.do(r.old, "POST", r.path+"/items/authentication", r.submit).read(c.t, &r.item)
	r.new = c.client(h.NextKey(), r.item.Certificate)
	return r
}

// finish takes a released certificate from the server again, as a client does
// that was cut off, and confirms it.
func (c *conditioned) finish(r *released) {
	c.t.Helper()
	var d wire.Download
	c.do(r.old, "POST", "/card/v1/downloads", wire.Begin{Order: r.download.Order}).read(c.t, &d)
	var item wire.Item
	c.do(r.old, "POST", r.path+"/items/authentication", r.submit).read(c.t, &item)
	if d.ID != r.download.ID || string(item.Certificate) != string(r.item.Certificate) {
		c.t.Errorf("what was released is not handed out: %+v", d)
	}
	fp := ca.FingerprintOf(item.Certificate).String()
	c.do(r.new, "POST", r.path+"/confirm", wire.Confirm{PlanHash: d.PlanHash, ReadBack: map[string]string{"authentication": fp}}).read(c.t, &d)
	if d.State != "installed" {
		c.t.Errorf("download %s", d.State)
	}
	c.do(r.new, "POST", r.path+"/removed", wire.Removed{Fingerprints: d.Remove}).read(c.t, new(struct{}))
}

// takesBack blocks a card and revokes a certificate.
func (c *conditioned) takesBack(lost, wrong *world.Holder) {
	c.t.Helper()
	c.do(c.as(lost), "POST", "/card/v1/block", wire.Block{Reason: "lost"}).read(c.t, new(struct{}))
	c.do(c.as(c.Admins[0]), "POST", "/api/v1/certificates/"+wrong.Certificate().Serial.String()+"/revoke", wire.Revoke{Reason: "keyCompromise"}).read(c.t, new(wire.Certificate))
	if c.Working(lost)+c.Working(wrong) != 0 {
		c.t.Error("what was taken back works")
	}
}

// stopped expects that nothing new can be begun or made, and that everybody is
// told why in his language, while an outage lasts.
func (c *conditioned) stopped(begun, other *world.Holder, id policy.DownloadID, waits policy.OrderID, csr []byte) {
	t := c.t
	t.Helper()
	refusals := c.Rows("events", "act <> 'login.accepted'")
	for lang, text := range map[string]string{"sv": "Databasen flyttas. Beräknas vara klart ", "en": "The database is moved. Expected to be over at "} {
		for path, body := range map[string]any{
			"/card/v1/downloads": wire.Begin{Order: string(waits)},
			"/card/v1/downloads/" + string(id) + "/items/authentication":           wire.Submit{CSR: csr},
			"/card/v1/downloads/" + string(id) + "/items/authentication/challenge": struct{}{},
		} {
			as := begun
			if path == "/card/v1/downloads" {
				as = other
			}
			a := c.do(c.as(as), "POST", path, body, "Accept-Language", lang)
			c.refused(a, 503, "refused", policy.ServiceOutage)
			if !strings.HasPrefix(a.problem.Detail, text) || a.Header.Get("Retry-After") != "" {
				t.Errorf("%s in %s: %+v, Retry-After %q", path, lang, a.problem, a.Header.Get("Retry-After"))
			}
		}
		var me wire.Me
		c.do(c.as(other), "GET", "/card/v1/me", nil, "Accept-Language", lang).read(t, &me)
		if n := me.Notice; n == nil || n.Rule != "service.outage" || !strings.HasPrefix(n.Text, text) || n.Until.Before(time.Now()) || n.Title == "" || n.Next == "" {
			t.Errorf("me tells %+v", n)
		}
	}
	if n := c.Rows("events", "act <> 'login.accepted'"); n != refusals {
		t.Errorf("%d events were made of refusals that say nothing of who asked", n-refusals)
	}
	if n := c.Rows("intents", "state = 'open'"); n != 0 {
		t.Errorf("%d intents", n)
	}
}

// TestPlannedOutage: nothing new comes to be; what was released is finished,
// orders are placed, and taking back goes on.
func TestPlannedOutage(t *testing.T) {
	c := serveUnder(t)
	h, begun, other := c.Holder(), c.Holder(), c.Holder()
	lost, wrong, customer := c.Holder(), c.Holder(), c.Holder()
	r := c.released(h)
	waits := c.Ordered(other, policy.OrderRenewal)
	order := c.Ordered(begun, policy.OrderRenewal)
	st, err := c.Begin(t.Context(), begun, order)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := begun.Request(st)
	if err != nil {
		t.Fatal(err)
	}
	c.outage()

	c.stopped(begun, other, st.Download.ID, waits, csr)
	c.finish(r)
	c.takesBack(lost, wrong)
	c.places(customer)

	if _, err := mode.End(c.dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	c.keeper.Look(t.Context())
	var me wire.Me
	c.do(c.as(other), "GET", "/card/v1/me", nil).read(t, &me)
	if me.Notice != nil {
		t.Errorf("after the outage me tells %+v", me.Notice)
	}
	c.do(c.as(begun), "POST", "/card/v1/downloads/"+string(st.Download.ID)+"/items/authentication", wire.Submit{CSR: csr}).read(t, new(wire.Item))
	c.Sound()
}

// places places an order by the first administrator.
func (c *conditioned) places(h *world.Holder) {
	c.t.Helper()
	d, err := c.Preview(c.t.Context(), h, policy.OrderRenewal)
	if err != nil {
		c.t.Fatal(err)
	}
	signed, err := c.StateAs(world.Statement(statement.ActPlace, d), c.Admins[0])
	if err != nil {
		c.t.Fatal(err)
	}
	stated := wire.Stated{Document: d.Bytes(), Statements: []wire.Statement{{Content: signed[0].Content, Signature: signed[0].Signature, Certificate: signed[0].Certificate.String()}}}
	c.do(c.as(c.Admins[0]), "POST", "/api/v1/orders", stated).read(c.t, new(wire.Order))
}

// TestDiskNearlyFull: only what takes back and what finishes goes on.
func TestDiskNearlyFull(t *testing.T) {
	c := serveUnder(t)
	h, other, lost, wrong := c.Holder(), c.Holder(), c.Holder(), c.Holder()
	r := c.released(h)
	waits := c.Ordered(other, policy.OrderRenewal)
	c.free.Store(99)
	c.keeper.Look(t.Context())
	a := c.do(c.as(other), "POST", "/card/v1/downloads", wire.Begin{Order: string(waits)})
	c.refused(a, 503, "refused", policy.ServiceRevokeOnly)
	if a.Header.Get("Retry-After") == "" || a.problem.Next == "" {
		t.Errorf("it is not told to ask again: %+v", a.problem)
	}
	admin, org := c.as(c.Admins[0]), "/api/v1/organisations/"+string(c.Org)
	for _, path := range []string{org + "/people", org + "/deliveries", "/api/v1/orders", "/api/v1/orders/" + string(waits) + "/approve", "/api/v1/cards/handover"} {
		c.refused(c.do(admin, "POST", path, "{}"), 503, "refused", policy.ServiceRevokeOnly)
	}
	var me wire.Me
	c.do(c.as(other), "GET", "/card/v1/me", nil).read(t, &me)
	if me.Notice == nil || me.Notice.Rule != "service.revoke-only" || !me.Notice.Until.IsZero() {
		t.Errorf("me tells %+v", me.Notice)
	}
	c.do(admin, "GET", "/api/v1/cards/"+string(other.Card), nil).read(t, new(wire.Card))
	c.finish(r)
	c.takesBack(lost, wrong)
	c.do(admin, "POST", "/api/v1/orders/"+string(waits)+"/withdraw", struct{}{}).read(t, new(any))

	c.free.Store(200)
	c.keeper.Look(t.Context())
	c.Ordered(other, policy.OrderRenewal)
	c.Sound()
}

// TestOutageAnswersWithoutTheDatabase: what was announced is told although
// nobody can log in.
func TestOutageAnswersWithoutTheDatabase(t *testing.T) {
	c := serveUnder(t)
	h := c.Holder()
	order := c.Ordered(h, policy.OrderRenewal)
	client := c.as(h)
	c.outage()
	if err := c.Store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/card/v1/downloads", "/card/v1/downloads/dl_1/items/authentication", "/card/v1/downloads/dl_1/items/authentication/challenge"} {
		c.refused(c.do(client, "POST", path, wire.Begin{Order: string(order)}), 503, "refused", policy.ServiceOutage)
	}
	c.refused(c.do(client, "GET", "/card/v1/me", nil), 500, "internal", "")
}

// TestIssuingWaitsForItsTurn: issuing and nothing else; who waits too long is
// told to come again, and nothing was done.
func TestIssuingWaitsForItsTurn(t *testing.T) {
	var busy atomic.Bool
	var turns atomic.Int64
	var who atomic.Value
	s := serve(t, func(_ *server, c *api.Config) {
		c.Lane = func(_ context.Context, caller register.Caller, fn func() error) error {
			turns.Add(1)
			who.Store(caller.Organisation)
			if busy.Load() {
				return fmt.Errorf("full: %w", lanes.ErrBusy)
			}
			return fn()
		}
	})
	c := &conditioned{server: s}
	h, other, lost, wrong := s.Holder(), s.Holder(), s.Holder(), s.Holder()
	r := c.released(h)
	if n := turns.Load(); n != 2 || who.Load() != s.Org {
		t.Errorf("beginning and submitting took %d turns, of %v", n, who.Load())
	}
	waits := s.Ordered(other, policy.OrderRenewal)
	busy.Store(true)
	for path, body := range map[string]any{"/card/v1/downloads": wire.Begin{Order: string(waits)}, r.path + "/items/authentication": r.submit} {
		a := s.do(s.as(other), "POST", path, body)
		s.refused(a, 503, "refused", policy.ServiceBusy)
		if a.Header.Get("Retry-After") != "2" || a.problem.Next == "" {
			t.Errorf("Retry-After %q, %+v", a.Header.Get("Retry-After"), a.problem)
		}
	}
	if n := s.Rows("downloads", "order_id = ?", string(waits)); n != 0 {
		t.Error("a download was begun without a turn")
	}
	before := turns.Load()
	s.do(s.as(other), "GET", "/card/v1/me", nil).read(t, new(wire.Me))
	fp := ca.FingerprintOf(r.item.Certificate).String()
	var d wire.Download
	s.do(r.new, "POST", r.path+"/confirm", wire.Confirm{PlanHash: r.download.PlanHash, ReadBack: map[string]string{"authentication": fp}}).read(t, &d)
	c.takesBack(lost, wrong)
	if turns.Load() != before {
		t.Error("confirming, revoking or reading waited for a turn to issue")
	}
}
