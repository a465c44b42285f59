package app

import (
	"context"
	"fmt"
	"path/filepath"

	"sigill/ca"
	"sigill/revocation/publish"
)

// checkPartitions refuses to serve fewer partitions than were ever in use: the
// lists that certificates name would be published no more, and who is told to look
// there would believe the last one until it ends, and then refuse.
func (a *App) checkPartitions(ctx context.Context) error {
	var ids []ca.IssuerID
	for _, each := range a.Hierarchy.Issuers {
		ids = append(ids, each.ID)
	}
	used, err := a.DB.Partitions(ctx, ids)
	if err != nil {
		return fmt.Errorf("reading which partitions are in use: %w", err)
	}
	for _, id := range ids {
		if used[id] > a.Config.Partitions {
			return fmt.Errorf("partitions is %d, but %s has certificates whose revocation lists are among %d: the number may grow and never shrink; set it to %d or more in %s",
				a.Config.Partitions, id, used[id], used[id], a.Config.Path("sigill.yaml"))
		}
	}
	return nil
}

// checkAddresses refuses to serve if, for any profile of any issuing CA, the
// address in certificates is not octet by octet the one that their list names as
// its scope, or not where that list is served: relying parties that compare both
// (Windows does) would take no list for any certificate, and nobody here would see
// it.
func (a *App) checkAddresses() error {
	type place struct {
		issuer    ca.IssuerID
		partition int
	}
	scope := map[place]string{}
	for _, s := range a.Publisher.Scopes {
		if s.URL == "" { // a list of everything, which no certificate names
			continue
		}
		if want := a.Hierarchy.StatusURL + "/" + filepath.ToSlash(publish.CRLPath(s.Issuer, s.Partition)); s.URL != want {
			return fmt.Errorf("crl %s/%d names %q as its scope and is served at %q", s.Issuer, s.Partition, s.URL, want)
		}
		scope[place{s.Issuer, s.Partition}] = s.URL
	}
	for _, each := range a.Hierarchy.Issuers {
		issuer := a.Issuers[each.ID]
		for _, profile := range issuer.ProfileNames() {
			all, err := issuer.DistributionPoints(profile)
			if err != nil {
				return err
			}
			for p, points := range all {
				for _, url := range points {
					if list := scope[place{each.ID, p}]; url != list {
						return fmt.Errorf("certificates %s of %s in partition %d name %q, and their list says that it is for %q", profile, each.ID, p, url, list)
					}
				}
			}
		}
	}
	return nil
}
