package download

import (
	"context"
	"errors"
	"fmt"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/card"
	"sigill/orders"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// ErrBusy says that the same item is being signed by a request under way, or
// that the signer is failing: try again a little later.
var ErrBusy = errors.New("under way or not to be had right now: try again")

// Submit takes the CSR of an item and returns the released certificate:
// admit, prepare, record ▶■, sign, store ▶■ (docs/ISSUANCE.md, 4 to 8). The same
// key again returns the certificate that is there.
func (s *Service) Submit(ctx context.Context, c register.Caller, id policy.DownloadID, slot policy.Slot, csr []byte) (*State, error) {
	req, err := card.ParseRequest(csr)
	if err != nil {
		rule := policy.RequestForm
		if errors.Is(err, card.ErrProof) {
			rule = policy.KeyProof
		}
		return nil, s.keep(ctx, policy.Refuse(rule, "certification request: %s", err).Err(), c, id)
	}
	key, err := ca.FingerprintKey(req.PublicKey)
	if err != nil {
		return nil, s.keep(ctx, policy.Refuse(policy.RequestForm, "key: %s", err).Err(), c, id)
	}
	j := &job{s: s, caller: c, id: id, slot: slot, request: req, key: key}
	done, err := j.admit(ctx)
	if done != nil || err != nil {
		return done, s.keep(ctx, err, c, id)
	}
	st, err := j.issue(ctx)
	return st, s.keep(ctx, asRefusal(err), c, id)
}

// job is one submitted item on its way.
type job struct {
	s       *Service
	caller  register.Caller
	id      policy.DownloadID
	slot    policy.Slot
	request *card.Request
	key     ca.KeyFingerprint

	add      policy.Addition
	order    policy.OrderID // that carries the content
	planHash [32]byte
	mandate  *ca.Mandate
	item     Item // as it was when admitted
	intent   *issue.Intent
}

// admit decides on state, binding and key. It returns the download's state if
// there is nothing left to do.
func (j *job) admit(ctx context.Context) (*State, error) {
	var done *State
	var stale *issue.Intent
	var b *basis
	err := j.s.Store.View(ctx, func(tx *Tx) error {
		done, stale = nil, nil
		d, items, err := j.s.own(tx, j.caller, j.id)
		if err != nil {
			return err
		}
		st, err := j.s.state(tx, d, items)
		if err != nil {
			return err
		}
		it := st.Item(j.slot)
		if it == nil {
			return policy.Refuse(policy.DownloadPlan, "nothing is planned for this slot").Err()
		}
		if cert := st.Certificates[j.slot]; cert != nil && cert.Key == j.key && d.State != policy.DownloadAbandoned && d.State != policy.DownloadLapsed {
			done = st
			return nil
		}
		if d.State != policy.DownloadPlanned || it.State == policy.ItemSigned || it.State == policy.ItemInstalled {
			return policy.Refuse(policy.DownloadStateRule, "download is %s, item is %s", d.State, it.State).Err()
		}
		if it.State == policy.ItemIntended {
			stale, err = tx.Intent(it.Serial)
			return err
		}
		b, err = j.bind(tx, d, it)
		return err
	})
	if err != nil || done != nil {
		return done, err
	}
	if stale != nil {
		if err := j.s.recover(ctx, stale); err != nil {
			return nil, err
		}
		return nil, policy.Refuse(policy.DownloadChallenge, "an interrupted attempt was given up: ask for a new challenge").Err()
	}
	if d := policy.AdmitProvenance(policy.Session, j.add.Provenance); !d.Allow {
		return nil, d.Err()
	}
	if j.mandate, err = ca.NewMandate(b.order.Bytes, b.required, b.signed); err != nil {
		return nil, asRefusal(err)
	}
	if d := policy.AdmitKey(j.request.PublicKey, j.s.Keys); !d.Allow {
		return nil, j.refuseKey(ctx, d)
	}
	return nil, nil
}

// bind verifies that the request was made for this download, item, card, log-in,
// plan and challenge, and for no other, and that the plan asks for just what the
// signed order says.
func (j *job) bind(tx *Tx, d *Download, it *Item) (*basis, error) {
	now := j.s.now()
	if !now.Before(it.ChallengeExpires) {
		return nil, policy.Refuse(policy.DownloadChallenge, "the challenge has expired").Err()
	}
	if j.caller.Certificate != d.Login {
		return nil, policy.Refuse(policy.DownloadBinding, "logged in with another certificate than the download began with").Err()
	}
	want := card.Binding{Download: string(d.ID), Slot: string(it.Slot), Card: string(d.Card), Login: d.Login,
		PlanHash: d.PlanHash, Challenge: it.Challenge}.Digest()
	if want != j.request.Digest {
		return nil, policy.Refuse(policy.DownloadBinding, "the request is bound to something else").Err()
	}
	plan, err := planOf(d)
	if err != nil {
		return nil, err
	}
	b, err := j.basis(tx, plan)
	if err != nil {
		return nil, err
	}
	add, ok := plan.Addition(it.Slot)
	if !ok {
		return nil, fmt.Errorf("stored plan of %s has no %s", d.ID, it.Slot)
	}
	if !add.Equal(b.ordered) {
		return nil, policy.Refuse(policy.DownloadPlan, "the stored plan is not what was ordered").Err()
	}
	j.add, j.order, j.item, j.planHash = add, plan.Order, *it, d.PlanHash
	return b, nil
}

// basis is what a certificate rests on.
type basis struct {
	order    *orders.Order
	signed   []ca.SignedStatement
	required int
	ordered  policy.Addition // as the signed order has it
}

// basis returns what the item of a plan rests on: the order, and the signatures
// that must stand behind it now; or, for a signing certificate that nobody
// ordered, the order that made its eID with the signatures that made it.
func (j *job) basis(tx *Tx, plan policy.Plan) (*basis, error) {
	var b basis
	var doc orders.Document
	var stand []*register.Statement
	login := j.caller.LoA
	if plan.EID != "" {
		e, err := j.s.eidOf(tx, j.caller.Certificate)
		if err != nil {
			return nil, err
		}
		if e.certificate.Fingerprint.String() != plan.EID || e.order.ID != plan.Order {
			return nil, policy.Refuse(policy.DownloadPlan, "the stored plan is for another eID").Err()
		}
		b.order, doc, b.ordered, login = e.order, e.doc, e.addition, e.doc.LoA
		if stand, err = orders.SignaturesMade(&tx.Tx, b.order); err != nil {
			return nil, err
		}
	} else {
		var err error
		if b.order, err = tx.Orders.Order(plan.Order); err != nil {
			return nil, err
		}
		if doc, err = b.order.Signed(); err != nil {
			return nil, err
		}
		if b.ordered, err = j.s.addition(doc); err != nil {
			return nil, err
		}
		if j.slot == policy.Signing {
			b.ordered = b.ordered.Signing()
		}
		if stand, err = orders.Signatures(&tx.Tx, b.order); err != nil {
			return nil, err
		}
	}
	b.required = policy.RequiredSignatures(doc.Type, doc.LoA, login)
	var err error
	b.signed, err = j.statements(tx, stand)
	return &b, err
}

// statements returns an order's statements with the certificates they were
// signed with, for the CA to verify by itself.
func (j *job) statements(tx *Tx, valid []*register.Statement) ([]ca.SignedStatement, error) {
	var out []ca.SignedStatement
	for _, st := range valid {
		stored, err := tx.Certificate(st.Certificate)
		if err != nil {
			return nil, err
		}
		cert, err := j.s.Certificates.Verify(stored)
		if err != nil {
			// A row that no CA signed stands behind nothing.
			return nil, policy.Refuse(policy.OrderApprovals, "statement %s: %s", st.ID, err).Err()
		}
		if own, err := ownStatement(tx, st, stored); err != nil {
			return nil, err
		} else if !own {
			return nil, policy.Refuse(policy.OrderApprovals, "statement %s: signed with another's certificate than it names", st.ID).Err()
		}
		out = append(out, ca.SignedStatement{Content: st.Content, Signature: st.Signature, Certificate: cert, Person: signerName(tx, st)})
	}
	return out, nil
}

// ownStatement reports whether a person's statement was signed with what that
// person states with: an eID at level 3 on his own card. Card and level are what the
// issuing CA signed; a card has one holder for ever. Otherwise whoever has any eID
// and can write the database approves in everybody's name.
func ownStatement(tx *Tx, st *register.Statement, cert *issue.Certificate) (bool, error) {
	if st.By == "" { // an officer, who is known by the certificate
		return cert.Profile == policy.ProfileOfficer, nil
	}
	if cert.Profile != policy.ProfileAuthentication || cert.LoA < 3 || cert.Person != st.By {
		return false, nil
	}
	card, err := tx.Card(cert.Card)
	return err == nil && card.Holder == st.By, err
}

func signerName(tx *Tx, st *register.Statement) string {
	if st.By != "" {
		return string(st.By)
	}
	if cer, err := tx.Ceremony(); err == nil {
		for i, o := range cer.Officers {
			if o == st.Certificate {
				return register.Caller{Officer: i + 1}.Name()
			}
		}
	}
	return ""
}

// refuseKey remembers a key that proved possession and was refused, before the
// verdict is told: it is refused everywhere from now on.
func (j *job) refuseKey(ctx context.Context, d policy.Decision) error {
	now := j.s.now()
	var found *issue.Incident
	err := j.s.Store.Update(context.WithoutCancel(ctx), func(tx *Tx) error {
		var err error
		if found, err = j.copied(tx); err != nil {
			return err
		}
		k := issue.KeySeen{Fingerprint: j.key, Card: j.caller.Card, Download: j.id, Slot: j.slot, Verdict: string(d.Rule), SeenAt: now}
		if err := tx.MarkKey(k); err != nil && !errors.Is(err, issue.ErrConflict) {
			return err
		}
		return tx.Events.Append(j.refused(d.Rule, now))
	})
	if err != nil {
		return fmt.Errorf("recording refused key: %w", err)
	}
	j.revokeCopied(context.WithoutCancel(ctx), found)
	return d.Err()
}

// issue prepares, records, signs and stores.
func (j *job) issue(ctx context.Context) (*State, error) {
	s := j.s
	issuer, err := s.Issuers.Issuer(j.add.Issuer)
	if err != nil {
		return nil, err
	}
	if !s.breaker.closed(j.add.Issuer, s.now()) {
		return nil, fmt.Errorf("issuing CA %s: signer is failing: %w", j.add.Issuer, ErrBusy)
	}
	draft, err := issuer.Prepare(ca.Request{Profile: j.add.Profile, Content: j.add.Content, PublicKey: j.request.PublicKey,
		NotBefore: s.now().Add(-register.Backdate), NotAfter: j.add.NotAfter, Mandate: j.mandate})
	if err != nil {
		return nil, err
	}
	sealed, err := draft.Seal(ctx, s.Log)
	if err != nil {
		return nil, err
	}
	if !s.breaker.admit(j.add.Issuer, s.now()) { // somebody else tries it
		return nil, fmt.Errorf("issuing CA %s: signer is failing: %w", j.add.Issuer, ErrBusy)
	}
	recorded, err := sealed.Record(ctx, j.record)
	if err != nil {
		if !j.unknown(err) {
			s.breaker.untried(j.add.Issuer, s.now())
		} else {
			// It may have been committed. Nobody will sign it: given up at
			// once, the card need not wait until its deadline has passed.
			err = errors.Join(err, s.giveUp(context.WithoutCancel(ctx), j.intent))
		}
		return nil, j.refuseSeen(ctx, err)
	}
	// From here on the serial is known: whatever happens now, Recover or
	// giveUp revokes it unless the certificate is stored.
	issued, err := sign(ctx, issuer, recorded)
	s.breaker.note(j.add.Issuer, err, s.now())
	if err != nil {
		return nil, errors.Join(err, s.giveUp(context.WithoutCancel(ctx), j.intent))
	}
	st, err := j.store(ctx, issued)
	if err != nil {
		// Refused, lost the guard, or not known whether committed: recover
		// reads what is true and gives up only what is still open.
		if again := s.giveUp(context.WithoutCancel(ctx), j.intent); again != nil {
			err = errors.Join(err, again)
		}
		return nil, err
	}
	return st, nil
}

// sign waits for the log and signs. The caller's end is not the log's failure: it is
// waited for however the caller fares, so that nobody opens the breaker by hanging up.
func sign(ctx context.Context, issuer *ca.Issuer, recorded *ca.Recorded) (*ca.Issued, error) {
	logged, err := recorded.Await(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	issued, err := issuer.Sign(logged)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return issued, nil
}

// unknown reports whether an intent may be there although recording it failed:
// what the closure itself refused was surely not written.
func (j *job) unknown(err error) bool {
	_, refused := errors.AsType[*policy.Refusal](err)
	return j.intent != nil && !refused && !errors.Is(err, ErrBusy)
}

// record is the transaction ▶ still planned, same challenge, everything still
// holds? → key, intent, event ■.
func (j *job) record(ctx context.Context, ci ca.Intent) error {
	s := j.s
	j.intent = s.NewIntent(ci, issue.Binding{Slot: j.slot, Card: j.caller.Card, Person: j.caller.Person,
		Organisation: j.add.Organisation, IDKind: j.add.IDKind, LoA: j.add.LoA, Download: j.id, Provenance: policy.Session})
	if err := s.mayIssue(j.add.Issuer); err != nil {
		return err
	}
	return s.Store.Update(ctx, func(tx *Tx) error {
		d, items, err := s.own(tx, j.caller, j.id)
		if err != nil {
			return err
		}
		it := (&State{Items: items}).Item(j.slot)
		if d.State != policy.DownloadPlanned {
			return policy.Refuse(policy.DownloadStateRule, "the download was ended meanwhile").Err()
		}
		if it == nil || it.State != policy.ItemPlanned || it.Challenge != j.item.Challenge || d.PlanHash != j.planHash {
			return fmt.Errorf("item is under way: %w", ErrBusy)
		}
		if err := s.holds(tx, d, true); err != nil {
			return err
		}
		now := j.intent.RecordedAt
		ofSlot, err := tx.CountIntents(d.Card, d.ID, j.slot, d.CreatedAt)
		if err != nil {
			return err
		}
		ofCard, err := tx.CountIntents(d.Card, "", "", now.Add(-day))
		if err != nil {
			return err
		}
		if err := policy.MayIntend(ofSlot, ofCard).Err(); err != nil {
			return err
		}
		if err := issue.AdmitKey(tx.issue(), issue.KeySeen{Fingerprint: j.key, Card: d.Card, Download: d.ID, Slot: j.slot,
			Verdict: issue.Admitted, SeenAt: now}); err != nil {
			return err
		}
		in := *j.intent
		in.Order = j.order
		if err := issue.RecordIntent(tx.issue(), &in); err != nil {
			return err
		}
		it.State, it.Serial = policy.ItemIntended, in.Serial
		return tx.PutItem(it)
	})
}

// store is the transaction ▶ guarded open → signed; everything still holds? →
// certificate, standing as pending, event ■. Only then does it leave the process.
func (j *job) store(ctx context.Context, issued *ca.Issued) (*State, error) {
	var st *State
	err := j.s.Store.Update(context.WithoutCancel(ctx), func(tx *Tx) error {
		d, items, err := j.s.own(tx, j.caller, j.id)
		if err != nil {
			return err
		}
		if st, err = j.s.state(tx, d, items); err != nil { // what other items have
			return err
		}
		it := st.Item(j.slot)
		if d.State != policy.DownloadPlanned || it == nil || it.State != policy.ItemIntended || it.Serial != issued.Serial {
			return policy.Refuse(policy.DownloadStateRule, "the download was ended meanwhile").Err()
		}
		if err := j.s.holds(tx, d, false); err != nil {
			return err
		}
		in := *j.intent
		in.Order = j.order
		cert, err := issue.Release(tx.issue(), &in, issued, issue.Pending, j.s.now())
		if err != nil {
			return err
		}
		it.State, it.Certificate = policy.ItemSigned, issued.Fingerprint
		st.Certificates[j.slot] = cert
		return tx.PutItem(it)
	})
	return st, err
}

// asRefusal turns what the CA refuses into refusals by rule.
func asRefusal(err error) error {
	if e, ok := errors.AsType[*ca.LintError](err); ok {
		return policy.Refuse(policy.ProfileLint, "%s", e).Err()
	}
	if e, ok := errors.AsType[*ca.MandateError](err); ok {
		return policy.Refuse(policy.OrderApprovals, "%s", e).Err()
	}
	if e, ok := errors.AsType[*ca.RequestError](err); ok {
		return policy.Refuse(policy.ProfileLint, "%s", e.Field).Err()
	}
	return err
}

// keep records a refusal before it is told.
func (s *Service) keep(ctx context.Context, err error, c register.Caller, id policy.DownloadID, fields ...audit.Field) error {
	fields = append(fields, issue.F("download", string(id)), issue.F("card", string(c.Card)))
	return s.Register.Keep(ctx, err, c.Name(), fields...)
}
