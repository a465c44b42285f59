package issue

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/policy"
)

// IncidentID names an incident ("inc_…").
type IncidentID string

// KeyCopied is the kind of an incident in which a second card proved that it has a
// key that is certified elsewhere. There is no other kind yet.
const KeyCopied = "key-copied"

// Incident is what was found out about a key that is in two places. Rows are
// written once; whether it is dealt with is read from the queue.
type Incident struct {
	ID          IncidentID
	Kind        string
	Fingerprint ca.KeyFingerprint
	Card        policy.CardNumber // has the certificates that carry the key; empty: they are technical
	ProvedOn    policy.CardNumber // proved that it has the key
	Login       ca.Fingerprint    // with which ProvedOn was logged in
	Download    policy.DownloadID // of ProvedOn
	At          time.Time
}

// Roles of a certificate in an incident.
const (
	Carries = "carries" // the certificate carries the key
	LogIn   = "login"   // the card that proved the key was logged in with it
)

// Involved is a certificate in an incident.
type Involved struct {
	Certificate ca.Fingerprint
	Role        string
}

// Causes for which a key is blocked.
const (
	ByProof          = "proof"          // somebody made a statement with it
	ByAdministrators = "administrators" // two administrators say so
	ByIncident       = "incident"       // a second card has it
)

// BlockedKey is a key that is refused everywhere, for ever.
type BlockedKey struct {
	Fingerprint ca.KeyFingerprint
	Cause       string
	By          string
	At          time.Time
}

// Queued is a certificate that waits to be revoked as keyCompromise.
type Queued struct {
	Certificate ca.Fingerprint
	Fingerprint ca.KeyFingerprint // the key for whose sake
	By          string
	QueuedAt    time.Time
	DoneAt      time.Time // zero: it still waits
}

// Compromises is what is known of compromised keys.
type Compromises interface {
	// BlockKey inserts and returns ErrConflict if the key is blocked already.
	BlockKey(BlockedKey) error
	// BlockedKey returns ErrNotFound if the key is not blocked.
	BlockedKey(ca.KeyFingerprint) (*BlockedKey, error)
	// InsertIncident returns ErrConflict if there is one of this key and
	// ProvedOn.
	InsertIncident(*Incident, []Involved) error
	// Incident returns ErrNotFound, and the certificates in the order of their
	// fingerprints.
	Incident(IncidentID) (*Incident, []Involved, error)
	// IncidentOf finds the incident of a key and the card that proved it.
	IncidentOf(key ca.KeyFingerprint, provedOn policy.CardNumber) (*Incident, error)
	// IncidentsOfOrganisation returns incidents that concern an organisation's
	// cards or the eIDs it ordered, by id, those after after.
	IncidentsOfOrganisation(org policy.OrganisationID, after IncidentID, limit int) ([]*Incident, error)
}

// RevocationQueue is the queue of certificates to revoke.
type RevocationQueue interface {
	// Queue inserts and returns ErrConflict if the certificate was queued
	// before.
	Queue(Queued) error
	// Queued returns ErrNotFound if the certificate was never queued.
	Queued(ca.Fingerprint) (*Queued, error)
	// QueuedOpen returns up to limit that wait, oldest first.
	QueuedOpen(limit int) ([]*Queued, error)
	// SettleQueued marks one as done, and returns ErrConflict if it does not
	// wait.
	SettleQueued(ca.Fingerprint, time.Time) error
}

// Population is every certificate there is, by key and one after the other.
type Population interface {
	// CertificatesOfKey returns all certificates that carry a key.
	CertificatesOfKey(ca.KeyFingerprint) ([]*Certificate, error)
	// CertificatesAfter returns up to limit certificates by fingerprint, those
	// after after.
	CertificatesAfter(after ca.Fingerprint, limit int) ([]*Certificate, error)
}

// Blocked refuses key.blocked if a key is.
func Blocked(tx *Tx, key ca.KeyFingerprint) error {
	switch _, err := tx.BlockedKey(key); {
	case err == nil:
		return policy.Refuse(policy.KeyBlocked, "this key was reported as compromised").Err()
	case errors.Is(err, ErrNotFound):
		return nil
	default:
		return err
	}
}

// Compromised blocks a key and queues every certificate that carries it for
// revocation as keyCompromise; why are the fields of the event that the cause adds. It returns them; again it changes nothing. What it
// queues is revoked by who works through the queue, in transactions of their own: a
// key may be in more certificates than one transaction should hold.
func Compromised(tx *Tx, key ca.KeyFingerprint, cause, by string, now time.Time, why ...audit.Field) ([]*Certificate, error) {
	now = now.UTC().Truncate(time.Microsecond)
	carry, err := tx.CertificatesOfKey(key)
	if err != nil {
		return nil, err
	}
	switch _, err := tx.BlockedKey(key); {
	case errors.Is(err, ErrNotFound):
		if err := tx.BlockKey(BlockedKey{Fingerprint: key, Cause: cause, By: by, At: now}); err != nil {
			return nil, err
		}
		e := NewEvent(audit.KeyBlocked, now, by, append(why, F("key", hex.EncodeToString(key[:])), F("cause", cause),
			F("certificates", strconv.Itoa(len(carry))))...)
		e.ID = audit.EventID(audit.KeyBlocked, hex.EncodeToString(key[:]))
		if err := tx.Events.Append(e); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	for _, c := range carry {
		if err := Enqueue(tx, c, key, by, now); err != nil {
			return nil, err
		}
	}
	return carry, nil
}

// Enqueue queues a certificate for revocation, unless it is queued already.
func Enqueue(tx *Tx, c *Certificate, key ca.KeyFingerprint, by string, now time.Time) error {
	switch _, err := tx.Queued(c.Fingerprint); {
	case err == nil:
		return nil
	case !errors.Is(err, ErrNotFound):
		return err
	}
	return tx.Queue(Queued{Certificate: c.Fingerprint, Fingerprint: key, By: by, QueuedAt: now.UTC().Truncate(time.Microsecond)})
}

// Copied records that provedOn, logged in with login, proved that it has a key
// that another card has proved before, or that is in a technical certificate, and
// blocks it. Both sides' certificates are queued: one of the two has the copy, and
// nobody can tell which. It returns nil if the key is nowhere else: then there is
// no incident, only a refusal. The same once more gives the incident that is there.
func Copied(tx *Tx, key ca.KeyFingerprint, provedOn policy.CardNumber, login ca.Fingerprint, download policy.DownloadID, by string, now time.Time) (*Incident, error) {
	carry, err := tx.CertificatesOfKey(key)
	if err != nil {
		return nil, err
	}
	in := &Incident{ID: IncidentID(policy.NewID("inc")), Kind: KeyCopied, Fingerprint: key, ProvedOn: provedOn, Login: login,
		Download: download, At: now.UTC().Truncate(time.Microsecond)}
	elsewhere := false
	for _, c := range carry {
		if c.Card != provedOn {
			in.Card, elsewhere = c.Card, true
		}
	}
	seen, err := tx.KeySeen(key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	// Admitted and not yet certified: the signature may be on its way, and the
	// block is what stops it.
	if err == nil && seen.Verdict == Admitted && seen.Card != provedOn {
		in.Card, elsewhere = seen.Card, true
	}
	if !elsewhere {
		return nil, nil
	}
	// Nobody has decided this: who proved the key only came with it.
	const decided = "system"
	if _, err := Compromised(tx, key, ByIncident, decided, now, F("proved-on", string(provedOn))); err != nil {
		return nil, err
	}
	if old, err := tx.IncidentOf(key, provedOn); err == nil || !errors.Is(err, ErrNotFound) {
		return old, err
	}
	var involved []Involved
	for _, c := range carry {
		involved = append(involved, Involved{c.Fingerprint, Carries})
	}
	second, err := tx.Certificate(login)
	if err != nil {
		return nil, fmt.Errorf("log-in certificate of %s: %w", provedOn, err)
	}
	if second.Key != key { // a card that logs in with the key itself: it is among those that carry it
		involved = append(involved, Involved{login, LogIn})
	}
	if err := Enqueue(tx, second, key, decided, now); err != nil {
		return nil, err
	}
	if err := tx.InsertIncident(in, involved); err != nil {
		return nil, err
	}
	return in, tx.Events.Append(NewEvent(audit.KeyIncident, in.At, by, F("incident", string(in.ID)), F("kind", in.Kind),
		F("key", hex.EncodeToString(key[:])), F("card", string(in.Card)), F("proved-on", string(provedOn)),
		F("login", login.String()), F("download", string(download))))
}
