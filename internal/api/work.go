package api

import (
	"context"
	"net/http"
	"time"

	"sigill/internal/mode"
	"sigill/internal/texts"
	"sigill/internal/wire"
	"sigill/orders/register"
	"sigill/policy"
)

// Conditions are what the service works under, as far as requests are concerned.
type Conditions interface {
	// MayWork decides whether work may be done right now.
	MayWork(policy.Work) policy.Decision
	// Outage returns the announcement of the planned outage in effect.
	Outage() (mode.Notice, bool)
}

// Lane runs fn when it is the caller's turn to issue, and returns its error. An
// error that is [lanes.ErrBusy] says that it was not run.
type Lane func(ctx context.Context, c register.Caller, fn func() error) error

// class is what a route is for.
type class struct {
	work policy.Work
	// issues: the route issues by itself. It waits for its turn, and it asks the
	// gate by itself where something new would come to be: what is open or
	// released already is handed out under every condition, so that it can be
	// confirmed.
	issues bool
	// pending: a certificate that is not confirmed yet may call it.
	pending bool
}

// classes is the table of routes. What is not in it is taken for the strictest
// class, and a test wants every route to be in it.
func classes() map[string]class {
	read, confirm, revoke, change := class{work: policy.WorkRead}, class{work: policy.WorkConfirm}, class{work: policy.WorkRevoke}, class{work: policy.WorkChange}
	return map[string]class{
		"GET /card/v1/me":                                     read,
		"POST /card/v1/downloads":                             {work: policy.WorkIssue, issues: true},
		"GET /card/v1/downloads/{id}":                         read,
		"POST /card/v1/downloads/{id}/items/{slot}/challenge": {work: policy.WorkIssue},
		"POST /card/v1/downloads/{id}/items/{slot}":           {work: policy.WorkIssue, issues: true},
		"POST /card/v1/downloads/{id}/confirm":                {work: policy.WorkConfirm, pending: true},
		"POST /card/v1/downloads/{id}/removed":                confirm,
		"POST /card/v1/downloads/{id}/abandon":                revoke,
		"POST /card/v1/block":                                 revoke,
		"GET /card/v1/receipts/{event}":                       read,

		"GET /api/v1/whoami":                           read,
		"POST /api/v1/ceremony/found":                  change,
		"POST /api/v1/organisations":                   change,
		"GET /api/v1/organisations":                    read,
		"GET /api/v1/organisations/{org}":              read,
		"POST /api/v1/organisations/{org}/signing":     change,
		"POST /api/v1/organisations/{org}/roles":       change,
		"GET /api/v1/organisations/{org}/roles":        read,
		"POST /api/v1/organisations/{org}/roles/end":   revoke,
		"POST /api/v1/organisations/{org}/people":      change,
		"GET /api/v1/organisations/{org}/people":       read,
		"POST /api/v1/organisations/{org}/deliveries":  {work: policy.WorkIssue}, // transport certificates
		"GET /api/v1/organisations/{org}/cards":        read,
		"GET /api/v1/organisations/{org}/orders":       read,
		"POST /api/v1/cards/handover":                  change,
		"GET /api/v1/cards/{number}":                   read,
		"POST /api/v1/cards/{number}/block":            revoke,
		"POST /api/v1/cards/{number}/abandon":          revoke,
		"POST /api/v1/orders/preview":                  read,
		"POST /api/v1/orders":                          change,
		"GET /api/v1/orders/{id}":                      read,
		"POST /api/v1/orders/{id}/approve":             change,
		"POST /api/v1/orders/{id}/withdraw":            revoke,
		"GET /api/v1/certificates/{serial}":            read,
		"POST /api/v1/certificates/{serial}/revoke":    revoke,
		"GET /api/v1/keys/{fingerprint}":               read,
		"POST /api/v1/keys/compromised":                revoke,
		"POST /api/v1/keys/block":                      revoke,
		"GET /api/v1/organisations/{org}/incidents":    read,
		"GET /api/v1/incidents/{id}":                   read,
		"POST /api/v1/organisations/{org}/revocations": revoke,
		"GET /api/v1/organisations/{org}/revocations":  read,
		"GET /api/v1/revocations/{id}":                 read,
		"GET /api/v1/revocations/{id}/list":            read,
		"POST /api/v1/revocations/{id}/approve":        revoke,
		"POST /api/v1/people/{id}/end-assignment":      revoke,
		"POST /api/v1/people/{id}/revoke":              revoke,
		"POST /api/v1/people/{id}/export":              change, // it is told in the log
		"POST /api/v1/people/{id}/erase":               change,
		"GET /api/v1/receipts/{event}":                 read,

		"GET /log/acts/checkpoint":                        read,
		"GET /log/acts/tile/{tile...}":                    read,
		"GET /log/certificates/checkpoint":                read,
		"GET /log/certificates/tile/{tile...}":            read,
		"GET /log/certificates/ct/v1/get-sth":             read,
		"GET /log/certificates/ct/v1/get-sth-consistency": read,
		"GET /log/certificates/ct/v1/get-proof-by-hash":   read,
		"GET /log/certificates/ct/v1/get-entries":         read,
		"GET /log/certificates/ct/v1/get-entry-and-proof": read,
		"GET /log/certificates/ct/v1/get-roots":           read,
		"GET /log/evidence/{id}":                          read,

		"/": read, // no such address
	}
}

// classOf returns the class of a route.
func classOf(pattern string) class {
	if c, ok := classes()[pattern]; ok {
		return c
	}
	return class{work: policy.WorkIssue}
}

// mayWork asks the conditions.
func (h *handler) mayWork(w policy.Work) error {
	if h.Conditions == nil {
		return nil
	}
	return h.Conditions.MayWork(w).Err()
}

// run calls fn, in the caller's turn if the route issues, and waits where he asks for
// it.
func (h *handler) run(cl class, c *call, fn func(*call) (any, error)) (result any, err error) {
	if cl.work == policy.WorkRevoke && c.URL.Query().Has("wait") {
		return h.waited(c, fn)
	}
	if !cl.issues || h.Lane == nil {
		return fn(c)
	}
	err = h.Lane(c.Context(), c.caller, func() error {
		result, err = fn(c)
		return err
	})
	return result, err
}

// askAgain is after how many seconds a client may ask again that was refused by a
// rule of the service. An announced outage is no matter of seconds.
func askAgain(r policy.Rule) string {
	switch r {
	case policy.ServiceBusy:
		return "2"
	case policy.ServiceRevokeOnly:
		return "5"
	case policy.ClockOffset, policy.ClockBackwards:
		return "60"
	}
	return ""
}

// announced is what people are told of a planned outage.
func (h *handler) announced(lang string) string {
	if h.Conditions == nil {
		return ""
	}
	n, _ := h.Conditions.Outage()
	return n.Text(lang, time.Now())
}

// notice tells a card what is not to be had right now; nil: nothing.
func (h *handler) notice(r *http.Request) *wire.Notice {
	if h.Conditions == nil {
		return nil
	}
	d := h.Conditions.MayWork(policy.WorkIssue)
	if d.Allow {
		return nil
	}
	lang := texts.Language(r.Header.Get("Accept-Language"))
	out := &wire.Notice{Rule: string(d.Rule), Title: h.Texts.Title(lang, string(d.Rule)), Next: h.Texts.Next(lang, string(d.Rule))}
	if n, on := h.Conditions.Outage(); on && d.Rule == policy.ServiceOutage {
		out.Text, out.Until = n.Text(lang, time.Now()), n.Until
	}
	return out
}
