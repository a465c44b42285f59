// Package api is HTTP in, calls, HTTP out: the card protocol (/card/v1), the
// administrators' API (/api/v1) and the door to what auditors read (/log), on the card
// listener. It owns the mapping of
// requests to calls and of errors to problem documents, and no rule.
//
// Who calls is judged on every request, from the certificate whose key this very
// TLS connection has proved; no header, cookie or token is believed.
package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"path"
	"time"

	"sigill/internal/logapi"
	"sigill/internal/strictjson"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/privacy"
	"sigill/orders/register"
	"sigill/policy"
)

// Texts gives problems and rules their words.
type Texts interface {
	Title(lang, key string) string
	Next(lang, key string) string
}

// Config is what the handler calls.
type Config struct {
	Register  *register.Service
	Orders    *orders.Service
	Downloads *download.Service
	Privacy   *privacy.Service // nil: nobody is told or erased
	// IssuerCertificate returns the DER of an issuing CA's certificate.
	IssuerCertificate func(id string) []byte
	Texts             Texts
	Log               *slog.Logger
	// MinClient is the lowest version of sigill-card that is served.
	MinClient string
	// Unknown is the store's error for a commit whose outcome is not known.
	Unknown error
	// Conditions are what the service works under; nil: normal ones, always.
	Conditions Conditions
	// Lane bounds how many issue at once; nil: it is not bounded.
	Lane Lane
	// Logs is how auditors read the logs; nil: there is nothing to read.
	Logs *logapi.Service
	// Receipts prove acts to who did them; nil: nobody gets any.
	Receipts Receipts
	// ReceiptWait is how long an answer waits for its receipts; 0: two seconds.
	ReceiptWait time.Duration
	// Seen is how who revokes waits until it is seen everywhere; nil: nobody can.
	Seen Seen
}

const (
	maxBody      = 64 << 10 // of a document
	maxFile      = 8 << 20  // of a file of persons or cards
	connLifetime = 2 * time.Minute
	// fileTime is what a file has, to come in and to be worked through: each of
	// thousands of cards gets a certificate, in a transaction of its own. All
	// else has the time of the server's configuration.
	fileTime = 10 * time.Minute
)

// NewServer returns the HTTP server of a listener. Every wait for the other side is
// bounded: who sends or reads slowly, or nothing, holds nothing for long.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 60 * time.Second,
		IdleTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context { return ConnContext(ctx) }}
}

type connKey struct{}

// ConnContext marks when a connection was made, for http.Server.ConnContext.
func ConnContext(ctx context.Context) context.Context {
	return context.WithValue(ctx, connKey{}, time.Now())
}

// TLS hardens a server configuration for cards: TLS 1.3 only, because 1.2 sends
// the client's certificate, with name and number, in clear; no session tickets,
// because a resumed session uses no key and looks at no certificate; and the
// certificate is asked for but judged in the handler, so that an expired, revoked
// or unknown card gets a problem document and not an opaque alert.
func TLS(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.MinVersion = tls.VersionTLS13
	c.SessionTicketsDisabled = true
	c.ClientAuth = tls.RequestClientCert
	return c
}

type handler struct {
	Config
}

// call is one request of one caller.
type call struct {
	*http.Request
	caller register.Caller
	conn   *http.ResponseController
}

// New returns the handler. All routes stand below it.
func New(c Config) http.Handler {
	h := &handler{c}
	mux := http.NewServeMux()
	card := func(pattern string, fn func(*call) (any, error)) {
		mux.Handle(pattern, h.serve(classOf(pattern), fn, maxBody))
	}
	file := func(pattern string, fn func(*call) (any, error)) {
		mux.Handle(pattern, h.serve(classOf(pattern), unhurried(fn), maxFile))
	}

	h.cardRoutes(card)
	h.administratorRoutes(card, file)
	h.auditorRoutes(card)
	none := h.serve(classOf("/"), func(*call) (any, error) { return nil, errNoRoute }, maxBody)
	mux.Handle("/", none)
	return h.guard(asWritten(mux, none))
}

// routed puts a route in its place.
type routed func(pattern string, fn func(*call) (any, error))

func (h *handler) cardRoutes(card routed) {
	card("GET /card/v1/me", h.me)
	card("POST /card/v1/downloads", h.begin)
	card("GET /card/v1/downloads/{id}", h.show)
	card("POST /card/v1/downloads/{id}/items/{slot}/challenge", h.challenge)
	card("POST /card/v1/downloads/{id}/items/{slot}", h.submit)
	card("POST /card/v1/downloads/{id}/confirm", h.confirm)
	card("POST /card/v1/downloads/{id}/removed", h.removed)
	card("POST /card/v1/downloads/{id}/abandon", h.abandon)
	card("POST /card/v1/block", h.blockOwn)
	card("GET /card/v1/receipts/{event}", h.laterReceipt)
}

func (h *handler) administratorRoutes(card, file routed) {
	card("GET /api/v1/whoami", h.whoAmI)
	card("POST /api/v1/ceremony/found", h.found)
	card("POST /api/v1/organisations", h.createOrganisation)
	card("GET /api/v1/organisations", h.organisations)
	card("GET /api/v1/organisations/{org}", h.organisation)
	card("POST /api/v1/organisations/{org}/signing", h.setSigning)
	card("POST /api/v1/organisations/{org}/roles", h.grantRole)
	card("GET /api/v1/organisations/{org}/roles", h.roles)
	card("POST /api/v1/organisations/{org}/roles/end", h.endRole)
	file("POST /api/v1/organisations/{org}/people", h.importPeople)
	card("GET /api/v1/organisations/{org}/people", h.people)
	file("POST /api/v1/organisations/{org}/deliveries", h.importDelivery)
	card("GET /api/v1/organisations/{org}/cards", h.cards)
	card("GET /api/v1/organisations/{org}/orders", h.listOrders)
	card("POST /api/v1/cards/handover", h.handOver)
	card("GET /api/v1/cards/{number}", h.card)
	card("POST /api/v1/cards/{number}/block", h.block)
	card("POST /api/v1/cards/{number}/abandon", h.abandonOfCard)
	card("POST /api/v1/orders/preview", h.preview)
	card("POST /api/v1/orders", h.place)
	card("GET /api/v1/orders/{id}", h.order)
	card("POST /api/v1/orders/{id}/approve", h.approve)
	card("POST /api/v1/orders/{id}/withdraw", h.withdraw)
	card("GET /api/v1/certificates/{serial}", h.certificate)
	card("POST /api/v1/certificates/{serial}/revoke", h.revoke)
	card("GET /api/v1/keys/{fingerprint}", h.key)
	card("POST /api/v1/keys/compromised", h.compromised)
	card("POST /api/v1/keys/block", h.blockKey)
	card("GET /api/v1/organisations/{org}/incidents", h.incidents)
	card("GET /api/v1/incidents/{id}", h.incident)
	file("POST /api/v1/organisations/{org}/revocations", h.orderMass)
	card("GET /api/v1/organisations/{org}/revocations", h.masses)
	card("GET /api/v1/revocations/{id}", h.mass)
	card("GET /api/v1/revocations/{id}/list", h.massList)
	card("POST /api/v1/revocations/{id}/approve", h.approveMass)
	card("POST /api/v1/people/{id}/end-assignment", h.endAssignment)
	card("POST /api/v1/people/{id}/revoke", h.revokePerson)
	card("POST /api/v1/people/{id}/export", h.exportPerson)
	card("POST /api/v1/people/{id}/erase", h.erasePerson)
	card("GET /api/v1/receipts/{event}", h.laterReceipt)
}

func (h *handler) auditorRoutes(card routed) {
	card("GET /log/acts/checkpoint", h.readLog)
	card("GET /log/acts/tile/{tile...}", h.readLog)
	card("GET /log/certificates/checkpoint", h.readLog)
	card("GET /log/certificates/tile/{tile...}", h.readLog)
	card("GET /log/certificates/ct/v1/get-sth", h.readLog)
	card("GET /log/certificates/ct/v1/get-sth-consistency", h.readLog)
	card("GET /log/certificates/ct/v1/get-proof-by-hash", h.readLog)
	card("GET /log/certificates/ct/v1/get-entries", h.readLog)
	card("GET /log/certificates/ct/v1/get-entry-and-proof", h.readLog)
	card("GET /log/certificates/ct/v1/get-roots", h.readLog)
	card("GET /log/evidence/{id}", h.readLog)
}

// asWritten sends to none what is not written as a route is. A ServeMux would
// answer with a redirect to what it takes to be meant, before anybody is judged,
// and a client that follows it would do there what it was told to do here.
func asWritten(mux *http.ServeMux, none http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := r.URL.EscapedPath(); path.Clean("/"+p) != p {
			none.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

var (
	errNoRoute     = errors.New("no such address")
	errCrossOrigin = errors.New("another site made the request")
)

// guard names each request, ends old connections, refuses what another site made
// a browser send, and turns a panic into a problem.
func (h *handler) guard(next http.Handler) http.Handler {
	sites := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := policy.NewID("req")
		w.Header().Set("X-Request-Id", id)
		w.Header().Set("Cache-Control", "no-store")
		if at, ok := r.Context().Value(connKey{}).(time.Time); ok && time.Since(at) > connLifetime {
			w.Header().Set("Connection", "close")
		}
		defer func() {
			if v := recover(); v != nil {
				h.Log.Error("panic in handler", "request", id, "path", r.Pattern, "panic", v)
				h.problem(w, r, errors.New("panic"))
			}
		}()
		if err := sites.Check(r); err != nil {
			// A browser uses the card in its reader for whatever page asks it to.
			h.problem(w, r, fmt.Errorf("%w: %w", errCrossOrigin, err))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// serve judges the caller, calls fn and writes its result or problem. What may not
// be done under the conditions of the moment is refused before anything is read:
// they may be that the database does not work.
func (h *handler) serve(cl class, fn func(*call) (any, error), limit int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer h.traced(w, r)()
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		stopped := h.mayWork(cl.work)
		if stopped != nil && !cl.issues {
			h.problem(w, r, stopped)
			return
		}
		c, err := h.login(r, cl)
		if err == nil {
			var result any
			if result, err = h.run(cl, &call{r, c, http.NewResponseController(w)}, fn); err == nil {
				h.result(w, result)
				return
			}
		}
		if _, refused := errors.AsType[*policy.Refusal](err); stopped != nil && !refused {
			err = stopped // what went wrong is part of what was announced
		}
		h.problem(w, r, err)
	})
}

// traced logs at debug level that a request begins, and returns what logs that it
// has ended: all it was to do is done, and only its answer has not left. What began
// and did not end was cut off. Neither line has anything of a person: the id is of
// the resource that the address names.
func (h *handler) traced(w http.ResponseWriter, r *http.Request) (ended func()) {
	if !h.Log.Enabled(r.Context(), slog.LevelDebug) {
		return func() {}
	}
	request := slog.Group("", "request", w.Header().Get("X-Request-Id"), "route", r.Pattern, "id", r.PathValue("id"))
	h.Log.Debug("request begins", request)
	return func() { h.Log.Debug("request ended", request) }
}

// unhurried gives fn [fileTime], to a caller who has logged in: who has not could
// hold connections with it. The end of the time to read counts too after all is
// read: net/http watches the connection, and ends the request with it.
func unhurried(fn func(*call) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		end := time.Now().Add(fileTime)
		if err := errors.Join(c.conn.SetReadDeadline(end), c.conn.SetWriteDeadline(end)); err != nil {
			return nil, fmt.Errorf("time for a file: %w", err)
		}
		return fn(c)
	}
}

var errNoCertificate = errors.New("no client certificate")

// login judges who calls, and records it before anything is done for him.
func (h *handler) login(r *http.Request, cl class) (register.Caller, error) {
	if r.TLS == nil || r.TLS.DidResume || len(r.TLS.PeerCertificates) == 0 {
		return register.Caller{}, errNoCertificate
	}
	c, err := h.Register.Login(r.Context(), r.TLS.PeerCertificates[0].Raw, cl.pending)
	if err != nil {
		return c, err
	}
	if err = h.Register.Accepted(r.Context(), c, listener); err == nil {
		return c, nil
	}
	// A card is blocked although nothing of it can be noted but the block, whose
	// event says who: and so are others served where it is known already that the
	// database does not do all that it should.
	if cl.work != policy.WorkRevoke && h.mayWork(policy.WorkChange) == nil {
		return c, fmt.Errorf("recording log-in: %w", err)
	}
	h.Log.Warn("a log-in is not recorded", "request", r.Pattern, "err", err)
	return c, nil
}

// listener is how log-ins name it.
const listener = "card"

func (h *handler) write(w http.ResponseWriter, status int, kind string, v any) {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		h.Log.Error("encoding answer", "err", err)
		status, b = http.StatusInternalServerError, bytes.Buffer{}
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// mediaError says that a body is not of the type that it must be.
type mediaError struct{ want string }

func (e *mediaError) Error() string { return "Content-Type must be " + e.want }

// body returns the body if it is declared to be of a media type, with whatever
// parameters. A form on another site's page can send none of the types that are
// asked for here: a browser that tells nothing of where a request comes from asks
// for permission first (the CORS protocol), and nobody gives it.
func body(c *call, want string) (io.Reader, error) {
	if got, _, err := mime.ParseMediaType(c.Header.Get("Content-Type")); err != nil || got != want {
		return nil, &mediaError{want}
	}
	return c.Body, nil
}

// decode reads a JSON body strictly: one value, and nothing in it that another
// reader could take for something else.
func decode[T any](c *call) (T, error) {
	var v T
	in, err := body(c, "application/json")
	if err != nil {
		return v, err
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return v, form(err)
	}
	if err := strictjson.Unmarshal(text, &v); err != nil {
		return v, form(err)
	}
	return v, nil
}

func form(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return policy.Refuse(policy.RequestForm, "%s", err).Err()
}
