package app

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/config"
	"sigill/internal/keys"
	"sigill/internal/store"
	"sigill/revocation"
	"sigill/revocation/publish"
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
	return DoctorTelling(ctx, dir, now, func(string, int, int) {})
}

// DoctorTelling is Doctor that tells at what it is, after how many of its steps.
func DoctorTelling(ctx context.Context, dir string, now func() time.Time, at func(step string, done, total int)) ([]Finding, error) {
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
	if err := databaseFindings(ctx, cfg, db, at, say); err != nil {
		return nil, err
	}
	at("chain of events", 0, 0)
	if err := chainFindings(ctx, cfg, db, say); err != nil {
		return nil, err
	}
	at("trees of the logs", 0, 0)
	if err := logFindings(ctx, cfg, h, db, say); err != nil {
		return nil, err
	}
	at("clock, certificates, targets", 0, 0)
	clockFindings(ctx, cfg, now, say)
	hierarchyFindings(h, now(), say)
	authorityFindings(h, now(), say)
	if lists, err := weakLists(cfg); err != nil {
		say(Red, "lists", "%v", err)
	} else {
		listFindings(lists, say)
	}
	targetFindings(ctx, cfg, h, say)
	keepFindings(ctx, cfg, db, now, say)
	at("lists", 0, 0)
	return out, crlFindings(ctx, cfg, h, db, now(), say)
}

// databaseFindings judges the rows together, and what the database does with a commit.
func databaseFindings(ctx context.Context, cfg *config.Config, db *store.DB, at func(step string, done, total int), say sayer) error {
	violations := 0
	err := db.CheckEach(ctx, func(rule string, done, total int) { at("rules of the database: "+rule, done, total) }, func(v store.Violation) {
		violations++
		say(Red, "database", "%s", v)
	})
	if err != nil {
		return err
	}
	risks, err := db.Risks(ctx)
	if err != nil {
		return err
	}
	for _, risk := range risks {
		grade := Red
		if cfg.Environment == config.Test {
			grade = Yellow
		}
		say(grade, "database", "%s", risk)
	}
	if violations == 0 {
		say(Green, "database", "all rows agree with each other")
	}
	return nil
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
	if h.RootKeyHere() {
		say(Yellow, "root", "the root's key is on this machine: in production it must be offline")
	}
}

// crlFindings judges the public CRLs and compares them with the ledger: what is
// revoked must be on them.
func crlFindings(ctx context.Context, cfg *config.Config, h *keys.Hierarchy, db *store.DB, now time.Time, say sayer) error {
	served := false
	for _, each := range h.Issuers {
		for p := range cfg.Partitions {
			path := filepath.Join(h.PublicDir(), publish.CRLPath(each.ID, p))
			if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && !served {
				continue
			}
			served = true
			name := fmt.Sprintf("%s/%d", each.ID, p)
			list := judge(say, name, path, each.Certificate, now)
			if list == nil {
				continue
			}
			missing, err := unlisted(ctx, db, each.ID, p, list, now)
			if err != nil {
				return err
			}
			if missing > 0 {
				say(Yellow, "crl", "%s lacks %d revocations: they are published while `sigill serve` runs", name, missing)
			}
		}
	}
	if !served {
		say(Yellow, "crl", "the issuing CAs have no CRL yet: they are made when `sigill serve` starts")
	}
	return nil
}

// judge says what there is to say of one CRL, and returns it if it can be read.
func judge(say sayer, name, path string, issuer *x509.Certificate, now time.Time) *x509.RevocationList {
	der, err := os.ReadFile(path)
	if err != nil {
		say(Red, "crl", "%s cannot be read: %v", name, err)
		return nil
	}
	list, err := x509.ParseRevocationList(der)
	if err == nil {
		err = list.CheckSignatureFrom(issuer)
	}
	switch {
	case err != nil:
		say(Red, "crl", "%s: %v", name, err)
		return nil
	case now.After(list.NextUpdate):
		say(Red, "crl", "%s was due to be replaced at %s: relying parties refuse everything below it", name, list.NextUpdate.Format(time.RFC3339))
	case now.After(list.ThisUpdate.Add(list.NextUpdate.Sub(list.ThisUpdate)/2 + time.Hour)):
		say(Yellow, "crl", "%s number %v is past half of its life: is the service running?", name, list.Number)
	default:
		say(Green, "crl", "%s number %v, %d revoked, until %s", name, list.Number, len(list.RevokedCertificateEntries), list.NextUpdate.UTC().Format(time.RFC3339))
	}
	return list
}

// unlisted counts the revocations that a CRL lacks.
func unlisted(ctx context.Context, db *store.DB, id ca.IssuerID, partition int, list *x509.RevocationList, now time.Time) (int, error) {
	listed := map[ca.Serial]bool{}
	for _, e := range list.RevokedCertificateEntries {
		if serial, ok := ca.SerialOf(e.SerialNumber); ok {
			listed[serial] = true
		}
	}
	missing := 0
	err := db.Revocation().View(ctx, func(tx *revocation.Tx) error {
		missing = 0
		return tx.EntriesIn(revocation.List{Issuer: id, Partition: partition}, now, time.Time{}, func(e revocation.Entry) error {
			if !listed[e.Serial] {
				missing++
			}
			return nil
		})
	})
	return missing, err
}
