package logapi

import (
	"fmt"
	"net/http"
	"strings"

	"sigill/internal/store"
	"sigill/internal/wire"
	"sigill/orders/issue"
	"sigill/policy"
)

// evidence returns what an order rests on: the document that was signed, and each
// signature over it with the certificate that verifies it; or a single statement, such as
// a role rests on. The log has their hashes.
func (s *Service) evidence(r *http.Request, id string) (*Answer, error) {
	ofStatement := strings.HasPrefix(id, "st_")
	if !ofStatement && !strings.HasPrefix(id, "ord_") || strings.Contains(id, "/") {
		return nil, issue.ErrNotFound
	}
	if err := plain(r); err != nil {
		return nil, err
	}
	if ofStatement {
		st, err := s.Entries.SignedStatement(r.Context(), policy.StatementID(id))
		if err != nil {
			return nil, fmt.Errorf("evidence of an act: %w", err)
		}
		return answered(wire.Evidence{}, []store.SignedStatement{*st})
	}
	e, err := s.Entries.Evidence(r.Context(), policy.OrderID(id))
	if err != nil {
		return nil, fmt.Errorf("evidence of an order: %w", err)
	}
	if len(e.Order) == 0 {
		return nil, ErrErased
	}
	return answered(wire.Evidence{Order: e.Order}, e.Statements)
}

func answered(out wire.Evidence, statements []store.SignedStatement) (*Answer, error) {
	out.Statements = []wire.EvidenceStatement{}
	for _, st := range statements {
		if len(st.Content) == 0 || len(st.Certificate) == 0 {
			return nil, ErrErased
		}
		out.Statements = append(out.Statements, wire.EvidenceStatement{Content: st.Content, Signature: st.Signature, Certificate: st.Certificate})
	}
	return asJSON(out)
}
