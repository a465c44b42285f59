package logapi

import (
	"fmt"
	"net/http"
	"strings"

	"sigill/internal/wire"
	"sigill/orders/issue"
	"sigill/policy"
)

// evidence returns what an order rests on: the document that was signed, and each
// signature over it with the certificate that verifies it. The log has their hashes.
func (s *Service) evidence(r *http.Request, id string) (*Answer, error) {
	if !strings.HasPrefix(id, "ord_") || strings.Contains(id, "/") {
		return nil, issue.ErrNotFound
	}
	if err := plain(r); err != nil {
		return nil, err
	}
	e, err := s.Entries.Evidence(r.Context(), policy.OrderID(id))
	if err != nil {
		return nil, fmt.Errorf("evidence of an order: %w", err)
	}
	if len(e.Order) == 0 {
		return nil, ErrErased
	}
	out := wire.Evidence{Order: e.Order, Statements: []wire.EvidenceStatement{}}
	for _, st := range e.Statements {
		if len(st.Content) == 0 || len(st.Certificate) == 0 {
			return nil, ErrErased
		}
		out.Statements = append(out.Statements, wire.EvidenceStatement{Content: st.Content, Signature: st.Signature, Certificate: st.Certificate})
	}
	return asJSON(out)
}
