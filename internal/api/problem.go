package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"

	"sigill/internal/lanes"
	"sigill/internal/logapi"
	"sigill/internal/texts"
	"sigill/internal/translog"
	"sigill/internal/wire"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/policy"
)

// status of a refusal by its rule; others are 403.
var statusOf = map[policy.Rule]int{
	policy.RequestForm:        http.StatusBadRequest,
	policy.StatementForm:      http.StatusBadRequest,
	policy.RoleMissing:        http.StatusNotFound,
	policy.RevokeScope:        http.StatusNotFound,
	policy.RevokeList:         http.StatusBadRequest,
	policy.RevokeState:        http.StatusConflict,
	policy.OrderStateRule:     http.StatusConflict,
	policy.OrderDuplicate:     http.StatusConflict,
	policy.OrderContent:       http.StatusConflict,
	policy.CardStateRule:      http.StatusConflict,
	policy.CardKnown:          http.StatusConflict,
	policy.OrganisationKnown:  http.StatusConflict,
	policy.RoleLast:           http.StatusConflict,
	policy.DownloadOpen:       http.StatusConflict,
	policy.DownloadStateRule:  http.StatusConflict,
	policy.DownloadChallenge:  http.StatusConflict,
	policy.RequestRepeated:    http.StatusConflict,
	policy.PersonActive:       http.StatusConflict,
	policy.LoginUnknown:       http.StatusUnauthorized,
	policy.LoginRevoked:       http.StatusUnauthorized,
	policy.LoginExpired:       http.StatusUnauthorized,
	policy.IntentLimit:        http.StatusTooManyRequests,
	policy.OrderUpdateNothing: http.StatusConflict,
	policy.IssuerEnded:        http.StatusConflict,
	policy.ServiceOutage:      http.StatusServiceUnavailable,
	policy.ServiceRevokeOnly:  http.StatusServiceUnavailable,
	policy.ServiceRestored:    http.StatusServiceUnavailable,
	policy.ClockOffset:        http.StatusServiceUnavailable,
	policy.ClockBackwards:     http.StatusServiceUnavailable,
	policy.ServiceBusy:        http.StatusServiceUnavailable,
}

// problem is the one place that turns an error into HTTP. What is not a refusal
// or one of the sentinel errors is 500 without its text.
func (h *handler) problem(w http.ResponseWriter, r *http.Request, err error) {
	lang := texts.Language(r.Header.Get("Accept-Language"))
	p := h.problemFor(lang, err)
	p.Request = w.Header().Get("X-Request-Id")
	if p.Status >= http.StatusInternalServerError && p.Rule == "" {
		h.Log.Error("request failed", "request", p.Request, "route", r.Pattern, "status", p.Status, "err", err)
	} else {
		h.Log.Info("request refused", "request", p.Request, "route", r.Pattern, "status", p.Status, "rule", p.Rule)
	}
	if p.Rule == "" && p.Status == http.StatusServiceUnavailable || errors.Is(err, download.ErrBusy) {
		w.Header().Set("Retry-After", "1")
	} else if after := askAgain(policy.Rule(p.Rule)); after != "" {
		w.Header().Set("Retry-After", after)
	}
	if strings.Contains(r.Pattern, "/ct/v1/") {
		p.ErrorMessage = cmp.Or(p.Detail, p.Title)
	}
	w.Header().Set("Content-Language", lang)
	h.write(w, p.Status, "application/problem+json", p)
}

func (h *handler) problemFor(lang string, err error) *wire.Problem {
	named := func(status int, key string) *wire.Problem {
		return &wire.Problem{Type: "urn:sigill:problem:" + key, Status: status,
			Title: h.Texts.Title(lang, key), Next: h.Texts.Next(lang, key)}
	}
	if refusal, ok := errors.AsType[*policy.Refusal](err); ok {
		return h.refusal(lang, refusal)
	}
	switch {
	case errors.Is(err, lanes.ErrBusy):
		return h.refusal(lang, &policy.Refusal{Rule: policy.ServiceBusy, Detail: "no turn to issue came in time"})
	case errors.Is(err, errNoCertificate):
		return named(http.StatusUnauthorized, "no-certificate")
	case errors.Is(err, errCrossOrigin):
		return named(http.StatusForbidden, "cross-origin")
	case errors.Is(err, errNoRoute), errors.Is(err, issue.ErrNotFound):
		return named(http.StatusNotFound, "not-found")
	case errors.Is(err, translog.ErrNotFound):
		return named(http.StatusNotFound, "not-found")
	case errors.Is(err, translog.ErrNotYet):
		return named(http.StatusServiceUnavailable, "not-yet")
	case errors.Is(err, logapi.ErrErased):
		return named(http.StatusGone, "erased")
	case errors.Is(err, download.ErrBusy):
		return named(http.StatusConflict, "busy")
	case errors.Is(err, issue.ErrConflict), errors.Is(err, issue.ErrState):
		return named(http.StatusConflict, "conflict")
	case h.Unknown != nil && errors.Is(err, h.Unknown):
		return named(http.StatusServiceUnavailable, "outcome-unknown")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return named(http.StatusServiceUnavailable, "unavailable")
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return named(http.StatusRequestEntityTooLarge, "too-large")
	}
	if media, ok := errors.AsType[*mediaError](err); ok {
		p := named(http.StatusUnsupportedMediaType, "media-type")
		p.Detail = media.Error()
		return p
	}
	return named(http.StatusInternalServerError, "internal")
}

func (h *handler) refusal(lang string, r *policy.Refusal) *wire.Problem {
	status, ok := statusOf[r.Rule]
	if !ok {
		status = http.StatusForbidden
	}
	if r.Rule == policy.RoleMissing || r.Rule == policy.RevokeScope {
		// Who has no right learns no more than that there is nothing for him.
		return &wire.Problem{Type: "urn:sigill:problem:not-found", Status: status,
			Title: h.Texts.Title(lang, "not-found"), Next: h.Texts.Next(lang, "not-found")}
	}
	detail := r.Detail
	if text := h.announced(lang); r.Rule == policy.ServiceOutage && text != "" {
		detail = text
	}
	return &wire.Problem{Type: "urn:sigill:problem:refused", Status: status, Rule: string(r.Rule), Detail: detail,
		Title: h.Texts.Title(lang, string(r.Rule)), Next: h.Texts.Next(lang, string(r.Rule))}
}
