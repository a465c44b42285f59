package api

import (
	"net/http"

	"sigill/internal/logapi"
)

// readLog answers an auditor. Who is none is told what everybody is told of an address
// that is not there, whether or not there is something behind it.
func (h *handler) readLog(c *call) (any, error) {
	if err := h.Register.Audits(c.Context(), c.caller); err != nil {
		return nil, err
	}
	if h.Logs == nil {
		return nil, errNoRoute
	}
	return h.Logs.Read(c.Request)
}

// result writes what a route returned: a document, or what a log is read as.
func (h *handler) result(w http.ResponseWriter, v any) {
	a, ok := v.(*logapi.Answer)
	if !ok {
		h.write(w, http.StatusOK, "application/json", v)
		return
	}
	w.Header().Set("Content-Type", a.Type)
	w.Header().Set("Cache-Control", a.Cache)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Write(a.Body) // an error here is the client's going away
}
