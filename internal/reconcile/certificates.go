package reconcile

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/der"
	"sigill/internal/tiles"
	"sigill/orders/issue"
	"sigill/policy"
	"sigill/revocation"
)

// Rules by which a reconciler revokes.
const (
	// RuleLost: nothing but the leaf of a certificate is left.
	RuleLost = "log.reconciled"
	// RuleListed: a list that is public says that it is revoked.
	RuleListed = "log.restored"
)

// certificate reads what an intent has from what was to be signed.
func (r *Reconciler) certificate(e *Entry) (*ca.Intent, error) {
	issuer, ok := r.issuers[e.IssuerKey]
	if !ok {
		return nil, errors.New("its issuing CA is not of this installation")
	}
	c, err := parseTBS(e.TBS)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(c.RawIssuer, issuer.Certificate.RawSubject) {
		return nil, errors.New("it names another issuing CA than its leaf")
	}
	in := &ca.Intent{Issuer: issuer.ID, NotBefore: micro(c.NotBefore), NotAfter: micro(c.NotAfter), TBS: e.TBS}
	if in.Serial, ok = ca.SerialOf(c.SerialNumber); !ok {
		return nil, errors.New("its serial is none of ours")
	}
	if in.Partition, ok = partition(c, issuer.ID); !ok {
		// An OCSP signer names no list. Its entry is on the one that it would be on now.
		in.Partition = ca.PartitionOf(in.Serial, r.Partitions)
	}
	if in.Key, err = ca.FingerprintKey(c.PublicKey); err != nil {
		return nil, err
	}
	in.Leaf = ca.LogLeaf{Hash: e.Leaf, Time: e.At}
	return in, nil
}

// parseTBS reads a certificate that was never signed.
func parseTBS(tbs []byte) (*x509.Certificate, error) {
	parts, err := der.ParseTBS(tbs)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(parts.Algorithm)
		b.AddASN1BitString(nil)
	})
	bare, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(bare)
}

// partition reads from a certificate on which of its issuer's lists it would stand; false:
// it does not say.
func partition(c *x509.Certificate, issuer ca.IssuerID) (int, bool) {
	for _, url := range c.CRLDistributionPoints {
		_, rest, ok := strings.Cut(url, "/crl/"+string(issuer)+"/")
		number, isList := strings.CutSuffix(rest, ".crl")
		if n, err := strconv.Atoi(number); ok && isList && err == nil && n >= 0 {
			return n, true
		}
	}
	return 0, false
}

// takeCertificates takes leaves over, under the indices from first on.
func (r *Reconciler) takeCertificates(tx *Tx, first int64, entries []Entry) error {
	if err := atSize(tx, audit.CertificateTree, first); err != nil {
		return err
	}
	leaves := make([]tlog.Hash, len(entries))
	for i := range entries {
		leaves[i] = entries[i].Leaf
		if err := r.takeCertificate(tx, &entries[i]); err != nil {
			return fmt.Errorf("certificate %d: %w", first+int64(i), err)
		}
	}
	if err := tx.Trees.NumberLeaves(first+1, leaves); err != nil {
		return err
	}
	_, err := tiles.Append(tx.Trees, audit.CertificateTree, leaves)
	return err
}

// takeCertificate brings the leaf of a certificate here, as an intent that was given up.
// One that was intended before the backup needs its number only: it is for who recovers.
func (r *Reconciler) takeCertificate(tx *Tx, e *Entry) error {
	in, err := r.certificate(e)
	if err != nil {
		return err
	}
	switch _, err := tx.Intent(in.Serial); {
	case err == nil:
		if has, err := tx.Leaves.HasLeaf(e.Leaf); err != nil || has {
			return err
		}
		return fmt.Errorf("serial %s is here with another content: %w", in.Serial, ErrOther)
	case !errors.Is(err, issue.ErrNotFound):
		return err
	}
	now := micro(r.Now())
	lost := &issue.Intent{Intent: *in, State: issue.IntentAbandoned, Owner: "reconcile", Deadline: now, RecordedAt: micro(e.At)}
	if a := r.story.intents[in.Serial]; a != nil {
		a.describe(lost)
	} else {
		lost.Profile = "unknown" // numbered after the last act of the copy
	}
	if err := tx.Leaves.InsertAbandoned(lost, now); err != nil {
		return err
	}
	if err := seen(tx, lost); err != nil {
		return err
	}
	return r.revokeLost(tx, lost, now)
}

// describe tells an intent from the act that recorded it.
func (a *told) describe(in *issue.Intent) {
	in.Profile, in.RecordedAt = ca.ProfileName(a.is("profile")), a.At
	in.Binding = issue.Binding{Slot: policy.Slot(a.is("slot")), Card: policy.CardNumber(a.is("card")), Organisation: policy.OrganisationID(a.is("organisation")),
		IDKind: policy.IDKind(a.is("kind")), Order: policy.OrderID(a.is("order")), Download: policy.DownloadID(a.is("download")),
		Provenance: policy.Provenance(a.is("provenance"))}
	if loa, err := strconv.Atoi(a.is("loa")); err == nil {
		in.LoA = policy.LoA(loa)
	}
}

// seen remembers the key of what was lost: it is certified for nothing else.
func seen(tx *Tx, in *issue.Intent) error {
	_, err := tx.KeySeen(in.Key)
	if errors.Is(err, issue.ErrNotFound) {
		err = tx.MarkKey(issue.KeySeen{Fingerprint: in.Key, Card: in.Card, Download: in.Download, Slot: in.Slot, Verdict: issue.Admitted, SeenAt: in.RecordedAt})
	}
	return err
}

// revokeLost writes what the copy tells of a lost serial into the ledger, and revokes it
// if nothing does: it may have been signed and be in somebody's hands.
func (r *Reconciler) revokeLost(tx *Tx, in *issue.Intent, now time.Time) error {
	of := revocation.Entry{Serial: in.Serial, Issuer: in.Issuer, Partition: in.Partition, NotAfter: in.NotAfter}
	revoked, err := retell(tx, of, r.story.ended[in.Serial])
	if err != nil || revoked {
		return err
	}
	of.At, of.Reason, of.Rule = now, ca.CessationOfOperation, RuleLost
	return appendRevocation(tx, of, audit.IntentAbandoned, in.Binding, now)
}

// appendRevocation revokes by an act of its own, of now.
func appendRevocation(tx *Tx, e revocation.Entry, act string, b issue.Binding, now time.Time) error {
	ev := revokedEvent(e, act, b, now)
	if err := tx.Events.Append(ev); err != nil {
		return err
	}
	e.Event = ev.ID
	_, _, err := revocation.Revoke(tx.Revocations, e)
	return err
}

func revokedEvent(e revocation.Entry, act string, b issue.Binding, now time.Time) audit.Event {
	return issue.NewEvent(act, now, "system", issue.F("serial", e.Serial.String()), issue.F("issuer", string(e.Issuer)),
		issue.F("reason", e.Reason.String()), issue.F("rule", e.Rule), issue.F("partition", strconv.Itoa(e.Partition)),
		issue.F("card", string(b.Card)), issue.F("download", string(b.Download)))
}

// retell writes what is known of a serial's revocation anew, from what the ledger has and
// what was told, in the order of its time: who was revoked before the backup was taken
// and again after it was restored is revoked since the first. It reports whether the
// serial is revoked.
func retell(tx *Tx, of revocation.Entry, told []revocation.Entry) (bool, error) {
	all, err := tx.Leaves.DropRevocations(of.Serial)
	if err != nil {
		return false, err
	}
	for _, e := range told {
		if !slices.ContainsFunc(all, func(have revocation.Entry) bool { return have.Event == e.Event }) {
			all = append(all, e)
		}
	}
	listed := func(e revocation.Entry) int { // it knows less than the act that it tells again
		if e.Rule == RuleListed {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(all, func(a, b revocation.Entry) int {
		return cmp.Or(cmp.Compare(a.At.Truncate(time.Second).Unix(), b.At.Truncate(time.Second).Unix()), cmp.Compare(listed(a), listed(b)))
	})
	for _, e := range all {
		e.Serial, e.Issuer, e.Partition, e.NotAfter = of.Serial, of.Issuer, of.Partition, of.NotAfter
		if _, _, err := revocation.Revoke(tx.Revocations, e); err != nil {
			return false, err
		}
	}
	return len(all) > 0, nil
}
