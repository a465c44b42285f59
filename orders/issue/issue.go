package issue

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/policy"
	"sigill/revocation"
)

// Store runs transactions over a Tx; the contract is that of
// orders/download.Store.
type Store interface {
	Update(ctx context.Context, fn func(*Tx) error) error
	View(ctx context.Context, fn func(*Tx) error) error
}

// Issuers finds an issuing CA by its slug.
type Issuers map[ca.IssuerID]*ca.Issuer

// Issuer returns the issuer called id.
func (m Issuers) Issuer(id ca.IssuerID) (*ca.Issuer, error) {
	if i, ok := m[id]; ok {
		return i, nil
	}
	return nil, fmt.Errorf("no issuing CA %q in this installation", id)
}

// Config is what every issuing service needs.
type Config struct {
	Issuers Issuers
	// Owner names this serving process in intents ("proc_…").
	Owner string
	// SignTimeout is longer than any signature takes; after it Recover may
	// take an intent even from a living owner.
	SignTimeout time.Duration
	// Certificates verifies stored certificates.
	Certificates *Verifier
	// Log is the installation's certificate log; nil: none.
	Log ca.Log
	Now func() time.Time
}

// Service issues technical certificates: transport, OCSP, server, officer.
// It is safe for concurrent use.
type Service struct {
	Config
	Store Store
	// May refuses what an issuing CA must not issue right now; nil: it may all. It
	// is asked inside transactions too, so it MUST be quick and do no I/O.
	May func(ca.IssuerID, ca.ProfileName) error
}

func (s *Service) may(issuer ca.IssuerID, profile ca.ProfileName) error {
	if s.May == nil {
		return nil
	}
	return s.May(issuer, profile)
}

// NewEvent returns an event with a fresh id. By is a person id, "officer:…" or
// "system". A field without a value is left out: what does not apply is absent.
func NewEvent(act string, at time.Time, by string, public ...audit.Field) audit.Event {
	kept := make([]audit.Field, 0, len(public))
	for _, f := range public {
		if f.Value != "" {
			kept = append(kept, f)
		}
	}
	return audit.Event{ID: policy.NewID("evt"), At: at.UTC().Truncate(time.Microsecond), Act: act, By: by, Public: kept}
}

// F is short for an event's field. Values that came from outside are clipped to
// what an event takes: what somebody sent must not keep its refusal from being
// recorded.
func F(name, value string) audit.Field { return audit.Field{Name: name, Value: audit.Clip(value)} }

// Update runs a transaction over a Tx with the contract of Store.Update.
type Update func(ctx context.Context, fn func(*Tx) error) error

// Issue makes one technical certificate: record ▶■, sign, store ▶■. Both
// transactions are run by update, which may look first whether the certificate
// is still wanted and stop them by an error; nil: the service's own store.
func (s *Service) Issue(ctx context.Context, issuer ca.IssuerID, req ca.Request, b Binding, update Update) (*Certificate, error) {
	i, err := s.Issuers.Issuer(issuer)
	if err != nil {
		return nil, err
	}
	if err := s.may(issuer, req.Profile); err != nil {
		return nil, err
	}
	draft, err := i.Prepare(req)
	if err != nil {
		return nil, err
	}
	sealed, err := draft.Seal(ctx, s.Log)
	if err != nil {
		return nil, err
	}
	if update == nil {
		update = s.Store.Update
	}
	var in *Intent
	recorded, err := sealed.Record(ctx, func(ctx context.Context, ci ca.Intent) error {
		in = s.NewIntent(ci, b)
		return update(ctx, func(tx *Tx) error {
			if err := s.may(issuer, req.Profile); err != nil {
				return err
			}
			key := KeySeen{Fingerprint: ci.Key, Card: b.Card, Slot: b.Slot, Verdict: Admitted, SeenAt: in.RecordedAt}
			if err := AdmitKey(tx, key); err != nil {
				return err
			}
			return RecordIntent(tx, in)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("recording intent: %w", err)
	}
	// From here on the serial is known: if anything fails, Recover revokes it.
	logged, err := recorded.Await(ctx)
	if err != nil {
		return nil, err
	}
	issued, err := i.Sign(logged)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	var c *Certificate
	err = update(context.WithoutCancel(ctx), func(tx *Tx) error {
		kind := Current
		if b.Card == "" {
			kind = ""
		}
		var err error
		c, err = Release(tx, in, issued, kind, s.Now())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("storing certificate: %w", err)
	}
	return c, nil
}

// NewIntent returns an open intent of this process, recorded now.
func (c *Config) NewIntent(ci ca.Intent, b Binding) *Intent {
	now := c.Now().UTC().Truncate(time.Microsecond)
	return &Intent{Intent: ci, Binding: b, State: IntentOpen, Owner: c.Owner, Deadline: now.Add(c.SignTimeout), RecordedAt: now}
}

// Admitted is the verdict on a key that was let through.
const Admitted = "admitted"

// AdmitKey remembers k, or refuses key.blocked if the key is blocked, and key.seen if the key was seen for anything but
// the same card, download and slot. The memory outlives every refusal: a key that was
// refused once is refused everywhere.
func AdmitKey(tx *Tx, k KeySeen) error {
	if err := Blocked(tx, k.Fingerprint); err != nil {
		return err
	}
	seen, err := tx.KeySeen(k.Fingerprint)
	switch {
	case errors.Is(err, ErrNotFound):
		return tx.MarkKey(k)
	case err != nil:
		return err
	case seen.Verdict != Admitted:
		return policy.Refuse(policy.Rule(seen.Verdict), "this key was refused before").Err()
	case k.Card == "" || seen.Card != k.Card || seen.Download != k.Download || seen.Slot != k.Slot:
		return policy.Refuse(policy.KeySeenRule, "this key was used before").Err()
	}
	return nil
}

// Refused records that rule refused something, in a transaction of its own: what
// the refused transaction had begun is rolled back and only this remains. Act is
// [audit.LoginRefused] or [audit.RequestRefused].
//
// A field whose value has not the form of what it is for goes into the detail: it is
// what somebody typed, and may name a person.
func Refused(tx *Tx, err *policy.Refusal, act, by string, now time.Time, fields ...audit.Field) error {
	public, detail := []audit.Field{F("rule", string(err.Rule))}, err.Detail
	for _, f := range fields {
		switch {
		case f.Value == "" || audit.Formed(f):
			public = append(public, f)
		case detail == "":
			detail = f.Name + "=" + f.Value
		default:
			detail += "; " + f.Name + "=" + f.Value
		}
	}
	ev := NewEvent(act, now, by, public...)
	// The detail may repeat what somebody typed: it is erasable.
	ev.Personal = []audit.Field{F("detail", detail)}
	return tx.Events.Append(ev)
}

// RecordIntent writes an open intent and its event.
func RecordIntent(tx *Tx, in *Intent) error {
	if err := tx.InsertIntent(in); err != nil {
		return err
	}
	return tx.Events.Append(NewEvent(audit.IntentRecorded, in.RecordedAt, "system",
		F("serial", in.Serial.String()), F("issuer", string(in.Issuer)), F("profile", string(in.Profile)), F("slot", string(in.Slot)),
		F("card", string(in.Card)), F("organisation", string(in.Organisation)), F("kind", string(in.IDKind)), F("loa", level(in.LoA)),
		F("order", string(in.Order)), F("download", string(in.Download)), F("key", hex.EncodeToString(in.Key[:])),
		F("provenance", string(in.Provenance)), F("leaf", promised(in.Leaf))))
}

// level writes a level of assurance; what has none is for no person.
func level(loa policy.LoA) string {
	if loa == 0 {
		return ""
	}
	return strconv.Itoa(int(loa))
}

// promised writes the leaf that the log of certificates promised; empty: no log.
func promised(l ca.LogLeaf) string {
	if l.IsZero() {
		return ""
	}
	return hex.EncodeToString(l.Hash[:])
}

// Release is the guarded change open → signed: it settles the intent, stores the
// certificate and, if kind is not empty, lets it stand at its place. Who loses
// the guard gets ErrConflict and must destroy the certificate.
func Release(tx *Tx, in *Intent, issued *ca.Issued, kind StandingKind, now time.Time) (*Certificate, error) {
	now = now.UTC().Truncate(time.Microsecond)
	if issued.Serial != in.Serial || issued.Issuer != in.Issuer {
		return nil, fmt.Errorf("certificate %s is not the one intended, %s", issued.Serial, in.Serial)
	}
	// A key that was blocked while it was being certified: the certificate would
	// be one that the block did not see.
	if err := Blocked(tx, in.Key); err != nil {
		return nil, err
	}
	if err := tx.SettleIntent(in.Serial, in.Owner, IntentSigned, now); err != nil {
		return nil, err
	}
	c := &Certificate{Issued: *issued, Binding: in.Binding, StoredAt: now}
	if err := tx.InsertCertificate(c); err != nil {
		return nil, err
	}
	if kind != "" {
		st := Standing{Place: PlaceOf(in.Binding), Kind: kind, Certificate: issued.Fingerprint, Since: now}
		if err := tx.PutStanding(st); err != nil {
			return nil, err
		}
	}
	return c, tx.Events.Append(NewEvent(audit.CertificateIssued, now, "system",
		F("serial", in.Serial.String()), F("issuer", string(in.Issuer)), F("certificate", issued.Fingerprint.String()),
		F("card", string(in.Card)), F("download", string(in.Download))))
}

// PlaceOf returns the place of what is bound by b.
func PlaceOf(b Binding) Place {
	return Place{Card: b.Card, Organisation: b.Organisation, IDKind: b.IDKind, Slot: b.Slot}
}

// Abandon gives an open intent up: it may have been signed, so its serial is
// revoked whether or not a certificate with it exists.
func Abandon(tx *Tx, in *Intent, rule string, now time.Time) error {
	now = now.UTC().Truncate(time.Microsecond)
	if err := tx.SettleIntent(in.Serial, in.Owner, IntentAbandoned, now); err != nil {
		return err
	}
	return revoke(tx, revocation.Entry{
		Serial: in.Serial, Issuer: in.Issuer, Partition: in.Partition, NotAfter: in.NotAfter,
		At: now, Reason: ca.CessationOfOperation, Rule: rule,
	}, audit.IntentAbandoned, "system", in.Binding)
}

// Retire revokes a released certificate that stands and takes its standing away.
// It returns ErrConflict if it does not stand.
func Retire(tx *Tx, c *Certificate, reason ca.Reason, rule, by string, now time.Time) error {
	if err := tx.DropStanding(c.Fingerprint); err != nil {
		return err
	}
	act := audit.CertificateRevoked
	if reason == ca.Superseded {
		act = audit.CertificateSuperseded
	}
	return revoke(tx, revocation.Entry{
		Serial: c.Serial, Issuer: c.Issuer, Partition: c.Partition, NotAfter: c.NotAfter,
		At: now.UTC().Truncate(time.Microsecond), Reason: reason, Rule: rule,
	}, act, by, c.Binding)
}

func revoke(tx *Tx, e revocation.Entry, act, by string, b Binding) error {
	ev := NewEvent(act, e.At, by, F("serial", e.Serial.String()), F("issuer", string(e.Issuer)),
		F("reason", e.Reason.String()), F("rule", e.Rule), F("partition", strconv.Itoa(e.Partition)),
		F("card", string(b.Card)), F("download", string(b.Download)))
	if err := tx.Events.Append(ev); err != nil {
		return err
	}
	e.Event = ev.ID
	_, changed, err := revocation.Revoke(tx.Revocations, e)
	if err != nil {
		return err
	}
	if !changed {
		return fmt.Errorf("serial %s is revoked already: %w", e.Serial, ErrConflict)
	}
	return nil
}

// Revoke revokes any released certificate, standing or not, for a graver reason
// if it is revoked already; false: nothing had to change.
func Revoke(tx *Tx, c *Certificate, reason ca.Reason, rule, by string, now time.Time) (bool, error) {
	old, revoked, err := tx.Revocations.Revocation(c.Serial)
	if err != nil {
		return false, err
	}
	if !revoked {
		if _, err := tx.Standing(c.Fingerprint); err == nil {
			return true, Retire(tx, c, reason, rule, by, now)
		} else if !errors.Is(err, ErrNotFound) {
			return false, err
		}
	} else if !revocation.Graver(reason, old.Reason) {
		return false, nil
	}
	return true, revoke(tx, revocation.Entry{
		Serial: c.Serial, Issuer: c.Issuer, Partition: c.Partition, NotAfter: c.NotAfter,
		At: now.UTC().Truncate(time.Microsecond), Reason: reason, Rule: rule,
	}, audit.CertificateRevoked, by, c.Binding)
}
