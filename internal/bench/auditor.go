package bench

import (
	"context"
	"crypto/x509"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"sigill/internal/auditor/rederive"
	"sigill/internal/bench/figure"
	"sigill/internal/profiles"
	"sigill/internal/world"
	"sigill/orders"
)

// audited is a certificate with what an auditor holds it against.
type audited struct {
	entry    rederive.Entry
	said     *rederive.Said
	document *rederive.Document
	parsed   *x509.Certificate
}

// auditCertificates: an auditor's judgement of one certificate after the other, on all
// cores: parsed by another parser, both signatures, leaf, lints, profile and order. What is
// fetched and the signatures under orders are not in it.
func auditCertificates(ctx context.Context, c Config, emit func(Figure)) error {
	holders := min(c.Many(256), 256)
	r, err := newRig(ctx, c, holders, nil)
	if err != nil {
		return err
	}
	defer r.close()
	all, rules, err := r.audited(ctx)
	if err != nil {
		return err
	}
	n := c.Many(20_000)
	c.Progress("%d certificates", n)
	var problems atomic.Int64
	rate := func(judge func(a audited) error) (float64, error) {
		began := time.Now()
		err := figure.Each(n, runtime.GOMAXPROCS(0), func(i int) error { return judge(all[i%len(all)]) })
		return float64(n) / time.Since(began).Seconds(), err
	}
	value, err := rate(func(a audited) error {
		if found := rules.Check(a.entry, a.said, a.document); len(found.Problems) > 0 {
			problems.Add(1)
			return fmt.Errorf("an honest certificate has problems: %v", found.Problems)
		}
		return nil
	})
	if err != nil {
		return err
	}
	issuer, err := r.Issuers.Issuer(world.PersonCA)
	if err != nil {
		return err
	}
	ceiling, err := rate(func(a audited) error {
		// As many signatures as the auditor verifies: the certificate's and the promise's.
		for range 2 {
			if err := issuer.Certificate().CheckSignature(a.parsed.SignatureAlgorithm, a.parsed.RawTBSCertificate, a.parsed.Signature); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	emit(figure.More("auditor_certificates", value, "1/s", ceiling,
		fmt.Sprintf("%d judgements of %d certificates: leaf, SCT, issuer's signature, second parser, zlint and own lints, profile, order; without fetching and without the statements under orders; ceiling: two P-256 signatures verified", n, len(all))))
	return nil
}

// audited returns the holders' certificates, each with its leaf, its order and what the
// acts say of it, and the rules that an auditor has.
func (r *rig) audited(ctx context.Context) ([]audited, *rederive.Rules, error) {
	issuer, err := r.Issuers.Issuer(world.PersonCA)
	if err != nil {
		return nil, nil, err
	}
	issuers, err := rederive.NewIssuers(issuer.Certificate().Raw)
	if err != nil {
		return nil, nil, err
	}
	known, err := profiles.Default()
	if err != nil {
		return nil, nil, err
	}
	rules, err := rederive.NewHistory(known).Rules(issuers, r.logs.Certificates)
	if err != nil {
		return nil, nil, err
	}
	out := make([]audited, len(r.holders))
	for i, h := range r.holders {
		a := &out[i]
		cert := h.Certificate()
		if a.entry, err = rederive.LeafOf(cert.DER, issuers, r.logs.Certificates); err != nil {
			return nil, nil, err
		}
		if a.parsed, err = x509.ParseCertificate(cert.DER); err != nil {
			return nil, nil, err
		}
		a.said = &rederive.Said{Serial: cert.Serial.String(), Issuer: string(cert.Issuer), Profile: string(cert.Profile), Card: string(cert.Card),
			Kind: string(cert.IDKind), LoA: fmt.Sprint(int(cert.LoA)), At: a.entry.Time}
		err := r.db.Orders().View(ctx, func(tx *orders.Tx) error {
			o, err := tx.Orders.Order(cert.Order)
			if err == nil {
				a.document, err = rederive.ParseDocument(o.Bytes)
			}
			return err
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return out, rules, nil
}
