package process

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigill/ca"
	"sigill/internal/adminclient"
	"sigill/internal/bench/population"
	"sigill/internal/statement"
	"sigill/orders/download"
	"sigill/orders/register"
)

// lookEvery is how often is looked whether a list is worked through.
const lookEvery = 10 * time.Millisecond

// asList revokes by a list that one administrator orders and the other approves, as
// over the API, and returns how long it took from the approval until all were revoked.
// The service's own worker does it.
func (r *Revoker) asList(ctx context.Context, serials []ca.Serial) ([]time.Duration, error) {
	p, err := population.Open(r.dir)
	if err != nil {
		return nil, err
	}
	lines := make([]string, len(serials))
	for i, s := range serials {
		lines[i] = s.String()
	}
	slices.Sort(lines)
	list := []byte(strings.Join(lines, "\n") + "\n")
	document, st, err := adminclient.MassDocument(string(p.Organisation), string(download.BySerial), ca.CessationOfOperation.String(), list)
	if err != nil {
		return nil, err
	}
	state := func(i int) (register.Caller, []register.Signed, error) {
		return p.State(i, statement.Statement{Act: st.Act, Subject: st.Subject, Content: st.Content, At: time.Now().UTC().Truncate(time.Second)})
	}
	caller, signed, err := state(0)
	if err != nil {
		return nil, err
	}
	m, err := r.a.Downloads.OrderMass(ctx, caller, p.Organisation, document, list, signed)
	if err != nil {
		return nil, fmt.Errorf("ordering: %w", err)
	}
	caller, signed, err = state(1)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for m, err = r.a.Downloads.ApproveMass(ctx, caller, m.ID, signed); err == nil && m.State != download.MassFinished; {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lookEvery):
		}
		m, _, err = r.a.Downloads.Mass(ctx, caller, m.ID, false)
	}
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	if m.Revoked != len(serials) {
		return nil, fmt.Errorf("%d of %d were revoked", m.Revoked, len(serials))
	}
	return []time.Duration{took}, nil
}
