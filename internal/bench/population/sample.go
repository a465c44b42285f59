package population

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sort"

	"sigill/ca"
)

// Sample returns the serials of n certificates that pick, which is called once for
// each, chooses by index from 0 to Certs−1, and whether each is revoked by now.
func (p *Population) Sample(ctx context.Context, n int, pick func() int) (serials []ca.Serial, revoked []bool, err error) {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.Join(p.Dir, "sigill.db")}).EscapedPath(), RawQuery: "mode=ro&_dqs=0"}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	read, err := db.PrepareContext(ctx, `SELECT serial, EXISTS (SELECT 1 FROM revocations r WHERE r.serial = c.serial) FROM certificates c WHERE rowid = $1`)
	if err != nil {
		return nil, nil, err
	}
	defer read.Close()
	for range n {
		i := pick()
		var raw []byte
		var is bool
		if err := read.QueryRowContext(ctx, p.First+int64(i)).Scan(&raw, &is); err != nil {
			return nil, nil, fmt.Errorf("certificate %d of the population: %w", i, err)
		}
		if len(raw) != len(ca.Serial{}) {
			return nil, nil, fmt.Errorf("certificate %d of the population: a serial of %d octets", i, len(raw))
		}
		serials, revoked = append(serials, ca.Serial(raw)), append(revoked, is)
	}
	return serials, revoked, nil
}

// Current returns the index of the k-th certificate that was not revoked when the
// population was made, k being from 0 to Certs−Revoked−1.
func (p *Population) Current(k int) int {
	m := maker{Options: Options{Certs: p.Certs, Revoked: p.Revoked}}
	// The number of current ones before an index grows with it.
	i := sort.Search(p.Certs, func(i int) bool { return i+1-m.revokedBefore(i+1) > k })
	return i
}

// Next returns a function for Sample that takes the current certificates one after the
// other, from the one that mark counts on.
func (p *Population) Next(mark *int) func() int {
	return func() int {
		i := p.Current(*mark)
		*mark++
		return i
	}
}
