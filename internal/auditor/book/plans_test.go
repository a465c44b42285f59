package book

import (
	"context"
	"strings"
	"testing"
)

// Plans runs everything that is asked for at an entry once, in an empty book, and returns
// how the database would find it: each statement with its plan.
func (b *Book) Plans(ctx context.Context, t *testing.T) (out []string) {
	t.Helper()
	err := b.Update(ctx, func(tx *Tx) error {
		ignore := func(...any) {}
		ignore(tx.Certificate("00"))
		ignore(tx.CertificateOf("00"))
		ignore(tx.OfCard("c"))
		ignore(tx.PutCertificate(&Certificate{}))
		ignore(tx.EndedOn("x", 0, nil))
		ignore(tx.EndedAfter(0, 1, 0, 1))
		ignore(tx.EndedBetween(0, 1, 0))
		ignore(tx.Key("00", KeyUse{}))
		ignore(tx.Order("o"))
		ignore(tx.PutOrder(&Order{}))
		ignore(tx.CardsOf("p"))
		ignore(tx.PutApproval(Approval{}))
		ignore(tx.Approvals("o"))
		ignore(tx.Download("d"))
		ignore(tx.PutDownload(&Download{}))
		ignore(tx.EndGrant("p", "o", "r", 1))
		ignore(tx.Held("p", "o", "r", 1))
		ignore(tx.Open(Thing{}))
		ignore(tx.Settle("k", "i"))
		ignore(tx.Opened("k", "", 1))
		ignore(tx.PutErasure(Erasure{Tree: "acts", Last: 1, Count: 1}))
		ignore(tx.TakeErasure("acts", 0, 0))
		ignore(tx.PutFinding(Finding{}))
		for query := range tx.statements {
			plan := query
			rows, err := tx.on.QueryContext(ctx, "EXPLAIN QUERY PLAN "+query, make([]any, strings.Count(query, "?"))...)
			if err != nil {
				return err
			}
			for rows.Next() {
				var id, parent, unused int
				var detail string
				if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
					return err
				}
				plan += "\n\t" + detail
			}
			if err := rows.Err(); err != nil {
				return err
			}
			out = append(out, plan)
		}
		return nil
	})
	if err != nil || len(out) < 22 {
		t.Fatalf("%d statements, %v", len(out), err)
	}
	return out
}
