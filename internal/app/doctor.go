package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigill/internal/audit"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/store"
	"sigill/revocation"
)

// Grade tells how bad a finding is.
type Grade string

const (
	Green  Grade = "green"
	Yellow Grade = "yellow" // to be done soon
	Red    Grade = "red"    // wrong
)

// Finding is one thing that Doctor says.
type Finding struct {
	Grade Grade  `json:"grade"`
	Area  string `json:"area"`
	Text  string `json:"text"`
}

// Doctor examines an installation, served or not: what its rows say together,
// the chain of events, certificates and CRLs. It changes nothing and opens no
// key.
func Doctor(ctx context.Context, dir string, now func() time.Time) ([]Finding, error) {
	cfg, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	h, err := keys.Load(cfg.Dir)
	if err != nil {
		return nil, err
	}
	db, err := store.Open(ctx, store.Config{URL: cfg.DatabaseURL()})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var out []Finding
	say := func(g Grade, area, format string, args ...any) {
		out = append(out, Finding{g, area, fmt.Sprintf(format, args...)})
	}
	violations := 0
	err = db.Check(ctx, func(v store.Violation) {
		violations++
		say(Red, "database", "%s", v)
	})
	if err != nil {
		return nil, err
	}
	if violations == 0 {
		say(Green, "database", "all rows agree with each other")
	}
	if err := chainFindings(ctx, cfg, db, say); err != nil {
		return nil, err
	}
	hierarchyFindings(h, now(), say)
	crlFindings(cfg, h, now(), say)
	return out, nil
}

type sayer func(g Grade, area, format string, args ...any)

func chainFindings(ctx context.Context, cfg *config.Config, db *store.DB, say sayer) error {
	text, err := os.ReadFile(cfg.Path(HeadFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	heads, err := audit.ParseHeads(text)
	if err != nil {
		say(Red, "chain", "%s: %v", HeadFile, err)
	}
	sum, err := audit.Verify(ctx, db.Audit(), heads, func(f audit.Finding) { say(Red, "chain", "%s", f) })
	if err != nil {
		return err
	}
	if sum.Findings == 0 {
		say(Green, "chain", "%d events, every link and commitment agrees", sum.Links)
	}
	for _, s := range sum.Unproven() {
		say(Yellow, "chain", "not proven: %s", s)
	}
	return nil
}

func hierarchyFindings(h *keys.Hierarchy, now time.Time, say sayer) {
	for _, each := range append([]keys.CA{h.Root}, h.Issuers...) {
		left := each.Certificate.NotAfter.Sub(now)
		switch {
		case left <= 0:
			say(Red, "ca", "%s has expired", each.Certificate.Subject.CommonName)
		case left < 365*24*time.Hour:
			say(Yellow, "ca", "%s expires on %s", each.Certificate.Subject.CommonName, each.Certificate.NotAfter.Format(time.DateOnly))
		default:
			say(Green, "ca", "%s is valid until %s", each.Certificate.Subject.CommonName, each.Certificate.NotAfter.Format(time.DateOnly))
		}
	}
	if entries, err := os.ReadDir(h.RootDir()); err == nil && len(entries) > 0 {
		say(Yellow, "root", "the root's key is on this machine: in production it must be offline")
	}
}

func crlFindings(cfg *config.Config, h *keys.Hierarchy, now time.Time, say sayer) {
	check := func(name, path string, issuer *x509.Certificate, half bool) {
		der, err := os.ReadFile(path)
		if err != nil {
			say(Red, "crl", "%s: not published yet: start `sigill serve`", name)
			return
		}
		list, err := x509.ParseRevocationList(der)
		if err == nil {
			err = list.CheckSignatureFrom(issuer)
		}
		switch {
		case err != nil:
			say(Red, "crl", "%s: %v", name, err)
		case now.After(list.NextUpdate):
			say(Red, "crl", "%s was due to be replaced at %s: relying parties refuse everything below it", name, list.NextUpdate.Format(time.RFC3339))
		case half && now.After(list.ThisUpdate.Add(list.NextUpdate.Sub(list.ThisUpdate)/2+time.Minute)):
			say(Yellow, "crl", "%s number %v is past half of its life: is the service running?", name, list.Number)
		default:
			say(Green, "crl", "%s number %v, %d revoked, until %s", name, list.Number, len(list.RevokedCertificateEntries), list.NextUpdate.UTC().Format(time.RFC3339))
		}
	}
	check("root", h.RootCRLPath(), h.Root.Certificate, true)
	for _, each := range h.Issuers {
		for p := range cfg.Partitions {
			name := fmt.Sprintf("%s/%d", each.ID, p)
			check(name, filepath.Join(h.PublicDir(), revocation.CRLPath(each.ID, p)), each.Certificate, true)
		}
	}
}
