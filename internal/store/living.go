package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"sigill/ca"
)

// Living is how many certificates of an issuing CA matter still.
type Living struct {
	Valid   int       // not expired at the time asked for
	Good    int       // of these, not revoked
	LastEnd time.Time // when the last of the valid ones expires; zero if none is valid
}

// Living counts the certificates of an issuing CA, those that were only intended
// among them, except those of one profile. It reads all of them and may take long.
func (db *DB) Living(ctx context.Context, issuer ca.IssuerID, except ca.ProfileName, now time.Time) (Living, error) {
	var out Living
	err := db.scan(ctx, func(t *tx) error {
		var last int64
		_, err := t.one("counting living certificates", `SELECT count(*), count(*) - count(r.serial), coalesce(max(i.not_after), 0)
			FROM intents i LEFT JOIN revocations r ON r.serial = i.serial AND r.version = 1
			WHERE i.issuer = $1 AND i.profile <> $2 AND i.not_after >= $3`,
			[]any{string(issuer), string(except), now.UnixMicro()}, &out.Valid, &out.Good, &last)
		out.LastEnd = time.Time{}
		if last > 0 {
			out.LastEnd = time.UnixMicro(last).UTC()
		}
		return err
	})
	return out, err
}

// Partitions returns for each issuing CA how many partitions of its CRL were ever
// in use: lists were published of them, or something in them was revoked. Scopes
// that are no partitions are not counted. Each answer is a few steps in an index.
func (db *DB) Partitions(ctx context.Context, issuers []ca.IssuerID) (map[ca.IssuerID]int, error) {
	out := map[ca.IssuerID]int{}
	for _, issuer := range issuers {
		err := db.view(ctx, func(t *tx) error {
			// From scope to scope, not from row to row: there is a row for each
			// list that was ever published.
			scopes, err := list(t, "reading scopes", `WITH RECURSIVE s (scope) AS (
					SELECT min(scope) FROM publications WHERE issuer = $1
					UNION ALL
					SELECT (SELECT min(p.scope) FROM publications p WHERE p.issuer = $1 AND p.scope > s.scope) FROM s WHERE s.scope IS NOT NULL
				) SELECT scope FROM s WHERE scope IS NOT NULL`, []any{string(issuer)}, func(s *string) []any { return []any{s} })
			if err != nil {
				return err
			}
			var most int
			if _, err := t.one("reading partitions", `SELECT coalesce(max(partition), -1) FROM revocations WHERE issuer = $1`, []any{string(issuer)}, &most); err != nil {
				return err
			}
			for _, s := range scopes {
				if n, err := strconv.Atoi(*s); err == nil {
					most = max(most, n)
				}
			}
			out[issuer] = most + 1
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("partitions of %s: %w", issuer, err)
		}
	}
	return out, nil
}
