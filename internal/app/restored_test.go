package app

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/config"
	"sigill/internal/keep"
	"sigill/internal/keys"
	"sigill/internal/store"
	"sigill/internal/tiles"
	"sigill/internal/token"
	"sigill/internal/world"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
	"sigill/revocation"
)

// backup is an installation with people in it, whose database is copied and restored.
type backup struct {
	t      *testing.T
	dir    string
	bureau *ecdsa.PrivateKey
	w      *world.World

	app  *App
	at   Addresses
	stop func()
}

// newBackup makes an installation whose heads are kept by what the configuration says in
// place of an empty list.
func newBackup(t *testing.T, keepAt string) *backup {
	t.Helper()
	b := &backup{t: t, dir: make1(t, "")}
	var err error
	b.bureau, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	b.must(err)
	public, err := x509.MarshalPKIXPublicKey(b.bureau.Public())
	b.must(err)
	b.must(os.WriteFile(filepath.Join(b.dir, "bureau.pem"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644))
	b.configure("\nbureaus: {}\n", "\nbureaus: {bureau: bureau.pem}\n")
	b.configure("\n  keep: {}\n", keepAt)
	return b
}

func (b *backup) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *backup) configure(old, new string) {
	b.t.Helper()
	path := filepath.Join(b.dir, "sigill.yaml")
	text, err := os.ReadFile(path)
	b.must(err)
	if !bytes.Contains(text, []byte(old)) {
		b.t.Fatalf("the configuration has no %q", old)
	}
	b.must(os.WriteFile(path, bytes.Replace(text, []byte(old), []byte(new), 1), 0o600))
}

// serve serves the installation until end.
func (b *backup) serve() {
	b.t.Helper()
	a, err := open(b.t, b.dir, time.Now)
	b.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done, ready := make(chan error, 1), make(chan Addresses, 1)
	go func() { done <- a.Serve(ctx, func(at Addresses) { ready <- at }) }()
	b.app = a
	b.stop = func() {
		b.stop = func() {}
		cancel()
		if err := errors.Join(<-done, a.Close()); err != nil {
			b.t.Errorf("serving ended with %v", err)
		}
	}
	b.t.Cleanup(func() { b.stop() })
	select {
	case b.at = <-ready:
	case err := <-done:
		done <- nil
		b.t.Fatalf("it does not serve: %v", err)
	}
	if b.w == nil {
		b.people()
	} else {
		b.w.On(a.Services, a.Issuers)
	}
}

// people founds the organisation.
func (b *backup) people() {
	b.t.Helper()
	ctx := b.t.Context()
	var keys [2]crypto.Signer
	var certs [2]*issue.Certificate
	for i := range keys {
		base := filepath.Join(b.dir, "officers", fmt.Sprintf("officer-%d", i+1))
		pin, err := os.ReadFile(base + ".pin")
		b.must(err)
		card, err := token.OpenSoft(base+".json", func(context.Context, policy.Slot) ([]byte, error) { return bytes.TrimSpace(bytes.Clone(pin)), nil })
		b.must(err)
		b.t.Cleanup(func() { card.Close() })
		objects, err := card.Objects(ctx)
		b.must(err)
		for _, o := range objects {
			if o.Certificate == nil {
				continue
			}
			keys[i], err = card.Signer(ctx, o.ID)
			b.must(err)
			b.must(b.app.DB.Issue().View(ctx, func(tx *issue.Tx) (err error) {
				certs[i], err = tx.Certificate(ca.FingerprintOf(o.Certificate))
				return err
			}))
		}
	}
	b.w = world.Over(b.app.Services, b.app.Issuers, b.bureau, keys, certs, time.Now)
	b.must(b.w.Found(ctx))
	b.must(b.w.Equip(ctx, 0))
	b.must(b.w.Equip(ctx, 1))
}

// holder is somebody new with an eID.
func (b *backup) holder() *world.Holder {
	b.t.Helper()
	h, err := b.w.NewHolderWithEID(b.t.Context())
	b.must(err)
	return h
}

func (b *backup) block(h *world.Holder) {
	b.t.Helper()
	admin, err := b.w.Login(b.t.Context(), b.w.Admins[0])
	b.must(err)
	b.must(b.app.Downloads.BlockCard(b.t.Context(), admin, h.Card, "stolen"))
}

// copyDatabase copies the database of an installation that is not served.
func (b *backup) copyDatabase(to string) {
	b.t.Helper()
	b.must(os.MkdirAll(to, 0o700))
	for _, name := range []string{"sigill.db", "sigill.db-wal", "sigill.db-shm"} {
		b.replace(filepath.Join(b.dir, name), filepath.Join(to, name))
	}
}

func (b *backup) restore(from string) {
	b.t.Helper()
	for _, name := range []string{"sigill.db", "sigill.db-wal", "sigill.db-shm"} {
		b.replace(filepath.Join(from, name), filepath.Join(b.dir, name))
	}
}

func (b *backup) replace(from, to string) {
	b.t.Helper()
	if err := os.Remove(to); err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
	octets, err := os.ReadFile(from)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	b.must(err)
	b.must(os.WriteFile(to, octets, 0o600))
}

// serials are all that a database knows, with their issuing CA and list.
type serials map[ca.Serial]*issue.Intent

// book returns what is in the database of an installation that is not served.
func book(t *testing.T, path string) (all serials, revoked map[ca.Serial]revocation.Entry) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + path})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all, revoked = serials{}, map[ca.Serial]revocation.Entry{}
	entries, err := db.LoggedCertificates(t.Context(), 0, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Issue().View(t.Context(), func(tx *issue.Tx) error {
		for _, e := range entries {
			in, err := tx.Intent(e.Serial)
			if err != nil {
				return err
			}
			all[e.Serial] = in
			if r, is, err := tx.Revocations.Revocation(e.Serial); err != nil {
				return err
			} else if is {
				revoked[e.Serial] = r
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, revoked
}

// ask asks OCSP.
func (b *backup) ask(in *issue.Intent) *ocsp.Response {
	b.t.Helper()
	issuer, ok := b.app.Hierarchy.Issuer(in.Issuer)
	if !ok {
		b.t.Fatalf("no issuing CA %s", in.Issuer)
	}
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: in.Serial.Int()}, issuer.Certificate, nil)
	b.must(err)
	resp, err := http.Post(b.at.Status+"/ocsp", "application/ocsp-request", bytes.NewReader(der))
	b.must(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	b.must(err)
	answer, err := ocsp.ParseResponse(body, nil)
	b.must(err)
	return answer
}

// list fetches a CRL.
func (b *backup) list(issuer ca.IssuerID, partition int) *x509.RevocationList {
	b.t.Helper()
	_, body := get(b.t, fmt.Sprintf("%s/crl/%s/%d.crl", b.at.Status, issuer, partition))
	list, err := x509.ParseRevocationList([]byte(body))
	b.must(err)
	return list
}

func listed(list *x509.RevocationList, s ca.Serial) *x509.RevocationListEntry {
	for i, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(s.Int()) == 0 {
			return &list.RevokedCertificateEntries[i]
		}
	}
	return nil
}

// eventually waits until something is so.
func (b *backup) eventually(what string, ok func() bool) {
	b.t.Helper()
	give := time.After(time.Minute)
	for !ok() {
		select {
		case <-give:
			b.t.Fatalf("never: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// onList waits until a serial is on its list.
func (b *backup) onList(in *issue.Intent) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("serial %s is on its list", in.Serial), func() bool { return listed(b.list(in.Issuer, in.Partition), in.Serial) != nil })
}

func (b *backup) intent(s ca.Serial) *issue.Intent {
	b.t.Helper()
	var in *issue.Intent
	b.must(b.app.DB.Issue().View(b.t.Context(), func(tx *issue.Tx) (err error) {
		in, err = tx.Intent(s)
		return err
	}))
	return in
}

// numbers are the numbers of all lists.
func (b *backup) numbers() map[string]*big.Int {
	b.t.Helper()
	out := map[string]*big.Int{}
	for _, s := range b.app.Publisher.Scopes {
		if s.Partition != revocation.Whole {
			out[fmt.Sprintf("%s/%d", s.Issuer, s.Partition)] = b.list(s.Issuer, s.Partition).Number
		}
	}
	return out
}

// heads are the newest heads of the installation.
func (b *backup) heads() map[tiles.Name]checkpoint.Checkpoint {
	b.t.Helper()
	all, err := b.app.signedHeads(b.t.Context())
	b.must(err)
	out := map[tiles.Name]checkpoint.Checkpoint{}
	for _, h := range all {
		out[h.Tree] = h.Checkpoint
	}
	return out
}

// sound examines what is left.
func (b *backup) sound() {
	b.t.Helper()
	db, err := store.Open(b.t.Context(), store.Config{URL: "sqlite:" + filepath.Join(b.dir, "sigill.db")})
	b.must(err)
	defer db.Close()
	b.must(db.Check(b.t.Context(), func(v store.Violation) { b.t.Errorf("rows: %s", v) }))
	_, err = audit.Verify(b.t.Context(), db.Audit(), nil, func(f audit.Finding) { b.t.Errorf("chain: %s", f) })
	b.must(err)
	r, err := LogReader(b.dir, db)
	b.must(err)
	b.must(r.VerifyTrees(b.t.Context(), func(f audit.Finding) { b.t.Errorf("trees: %s", f) }))
}

func (b *backup) reconcile(from string, do bool) (*Reconciled, error) {
	return Reconcile(b.t.Context(), b.dir, ReconcileOptions{From: from, Do: do, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
}

// lost is what the people of TestRestored do before and after the backup is taken.
type lost struct {
	blocked, updated, fetched, ended, again *world.Holder
	order                                   policy.OrderID
	fresh, pending, proved, helper          *world.Holder
	signed, alive                           *download.State
	// Serials as they were when the backup was taken.
	old map[*world.Holder]ca.Serial
}

func (b *backup) before() *lost {
	b.t.Helper()
	l := &lost{blocked: b.holder(), updated: b.holder(), ended: b.holder(), again: b.holder(), old: map[*world.Holder]ca.Serial{}}
	for _, h := range []*world.Holder{l.blocked, l.updated, l.ended, l.again} {
		l.old[h] = h.Certificate().Serial
	}
	ctx := b.t.Context()
	var err error
	l.fetched, err = b.w.NewHolder(ctx)
	b.must(err)
	l.order, err = b.w.Order(ctx, l.fetched, policy.OrderOrdinary)
	b.must(err)
	// Two eIDs are signed when the backup is taken, and confirmed after it.
	l.pending, l.signed = b.pending()
	l.proved, l.alive = b.pending()
	// A right and a switch that are taken back after it.
	l.helper = b.holder()
	b.must(b.w.GrantRole(ctx, l.helper, b.w.Org, policy.RoleAdministrator))
	b.must(b.w.SetSigning(ctx, b.w.Org, true))
	return l
}

// pending is somebody with an eID that is signed and not confirmed.
func (b *backup) pending() (*world.Holder, *download.State) {
	b.t.Helper()
	ctx := b.t.Context()
	h, err := b.w.NewHolder(ctx)
	b.must(err)
	order, err := b.w.Order(ctx, h, policy.OrderOrdinary)
	b.must(err)
	st, err := b.w.Begin(ctx, h, order)
	b.must(err)
	st, err = b.w.Submit(ctx, h, st)
	b.must(err)
	return h, st
}

// after is what the backup does not have.
func (b *backup) after(l *lost) {
	b.t.Helper()
	ctx := b.t.Context()
	b.block(l.blocked)
	row, err := b.w.Row(ctx, l.updated)
	b.must(err)
	row.Email = "another." + row.Email
	b.must(b.w.Import(ctx, row))
	order, err := b.w.Order(ctx, l.updated, policy.OrderUpdate)
	b.must(err)
	b.must(b.w.Fetch(ctx, l.updated, order))
	b.must(b.w.Fetch(ctx, l.fetched, l.order))
	b.must(b.w.Confirm(ctx, l.pending, l.signed))
	b.must(b.w.Confirm(ctx, l.proved, l.alive))
	b.must(b.w.SetSigning(ctx, b.w.Org, false))
	admin, err := b.w.Login(ctx, b.w.Admins[0])
	b.must(err)
	b.must(b.app.Downloads.EndAssignment(ctx, admin, l.ended.Person, b.w.Org))
	_, err = b.app.Register.EndRole(ctx, admin, b.w.Org, l.helper.Person, policy.RoleAdministrator)
	b.must(err)
	b.block(l.again)
	l.fresh = b.holder()
}

// TestRestored: a database is restored from a backup. What relying parties, auditors and
// holders saw in between is not forgotten: nothing is issued, what is revoked is seen,
// and once a copy of the logs is taken over every serial that was ever promised is known,
// those of which nothing is left as revoked.
func TestRestored(t *testing.T) {
	for _, each := range []struct {
		name string
		keep func(t *testing.T) string
	}{
		{"directory", func(t *testing.T) string { return fmt.Sprintf("\n  keep: {elsewhere: {directory: %q}}\n", t.TempDir()) }},
		{"object store", s3Place},
	} {
		t.Run(each.name, func(t *testing.T) { restoredFrom(t, each.keep(t)) })
	}
}

func restoredFrom(t *testing.T, keepAt string) {
	b := newBackup(t, keepAt)
	b.serve()
	if state, _ := b.app.Keep.State(); state != keep.Trusted {
		t.Fatalf("a new installation is %s", state)
	}
	l := b.before()
	b.stop()
	old, stale, last := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "last")
	b.copyDatabase(old)

	b.serve()
	b.export(stale)
	b.after(l)
	for _, h := range []*world.Holder{l.blocked, l.updated, l.ended, l.again} {
		b.onList(b.intent(l.old[h]))
	}
	head, numbers := b.heads(), b.numbers()
	b.stop()
	copyTree(t, b.dir, last)
	everything, wasRevoked := book(t, filepath.Join(last, "sigill.db"))
	known, _ := book(t, filepath.Join(old, "sigill.db"))

	b.restore(old)
	b.whileRestored(l, everything, known, wasRevoked)
	if _, err := b.reconcile(t.TempDir(), true); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("from an empty directory: %v", err)
	}
	if _, err := b.reconcile(stale, true); err == nil || !strings.Contains(err.Error(), "the copy ends at") {
		t.Errorf("from a copy that lacks the last day: %v", err)
	}
	if _, err := b.reconcile(b.dir, true); err == nil || !strings.Contains(err.Error(), "itself") {
		t.Errorf("from itself: %v", err)
	}
	plan, err := b.reconcile(last, false)
	b.must(err)
	if plan.Done || plan.Nothing() || len(plan.Lost) == 0 {
		t.Errorf("plan: %+v", plan)
	}
	b.serve() // a plan changes nothing
	if state, _ := b.app.Keep.State(); state != keep.Restored {
		t.Errorf("after a plan it is %s", state)
	}
	b.stop()
	done, err := b.reconcile(last, true)
	b.must(err)
	if !done.Done || len(done.Lost) != len(plan.Lost) || len(done.Lost) != len(everything)-len(known) {
		t.Errorf("%d serials were lost, %d of %d are known: %+v", len(done.Lost), len(known), len(everything), done)
	}
	b.sound()
	if again, err := b.reconcile(last, true); err != nil || !again.Nothing() {
		t.Errorf("again: %+v, %v", again, err)
	}
	b.reconciled(l, everything, known, wasRevoked, head, numbers)
}

func (b *backup) export(to string) {
	b.t.Helper()
	_, err := ExportLogs(b.t.Context(), b.dir, to, slog.New(slog.DiscardHandler))
	b.must(err)
}

// whileRestored serves the restored database: it issues nothing and takes back.
func (b *backup) whileRestored(l *lost, everything, known serials, wasRevoked map[ca.Serial]revocation.Entry) {
	t, ctx := b.t, b.t.Context()
	t.Helper()
	b.serve()
	if state, why := b.app.Keep.State(); state != keep.Restored || !errors.Is(why, keep.ErrAhead) {
		t.Fatalf("it is %s, %v", state, why)
	}
	_, ready := get(t, b.at.Ops+"/readyz")
	if !strings.Contains(ready, `"degraded"`) || !strings.Contains(ready, `"restored"`) || !strings.Contains(ready, "sigill reconcile") {
		t.Errorf("readyz: %s", ready)
	}
	if _, metrics := get(t, b.at.Ops+"/metrics"); !strings.Contains(metrics, `sigill_log_state{state="restored"} 1`) {
		t.Error("metrics do not tell it")
	}
	for _, w := range []policy.Work{policy.WorkIssue, policy.WorkChange, policy.WorkConfirm} {
		if d := b.app.Modes.MayWork(w); d.Rule != policy.ServiceRestored {
			t.Errorf("%s: %+v", w, d)
		}
	}
	if d := b.app.Downloads.Gate(keys.PersonHSA3); d.Rule != policy.ServiceRestored {
		t.Errorf("beginning a download: %+v", d)
	}
	// What was revoked after the backup is revoked, though no row says so.
	for serial, r := range wasRevoked {
		if a := b.ask(everything[serial]); known[serial] != nil && (a.Status != ocsp.Revoked || !a.RevokedAt.Equal(r.At) || a.RevocationReason != int(r.Reason)) {
			t.Errorf("%s was revoked at %v: OCSP says %d, %v", serial, r.At, a.Status, a.RevokedAt)
		}
	}
	// What was issued after it is not good.
	if a := b.ask(everything[l.fresh.Certificate().Serial]); a.Status == ocsp.Good {
		t.Error("OCSP says good of what the database does not know")
	}
	before := b.app.heldNumber(t)
	// Blocking goes on, and is seen by who asks and by who has the list. One of the cards
	// was blocked already, in what was lost.
	for _, h := range []*world.Holder{l.pending, l.again} {
		admin, err := b.w.Login(ctx, b.w.Admins[0])
		b.must(err)
		b.must(b.app.Downloads.BlockCard(ctx, admin, h.Card, "lost"))
	}
	if a := b.ask(b.intent(l.pendingSerial())); a.Status != ocsp.Revoked {
		t.Errorf("OCSP says %d of what was revoked just now", a.Status)
	}
	b.onList(b.intent(l.pendingSerial()))
	if after := b.app.heldNumber(t); after != before {
		t.Errorf("%d events were numbered meanwhile", after-before)
	}
	b.stop()
}

func (l *lost) pendingSerial() ca.Serial { return l.signed.Item(policy.Authentication).Serial }

// heldNumber is the highest number given.
func (a *App) heldNumber(t *testing.T) int64 {
	t.Helper()
	head, err := audit.ReadHead(t.Context(), a.DB.Audit(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return head.Number
}

// reconciled serves what was brought up to date.
func (b *backup) reconciled(l *lost, everything, known serials, wasRevoked map[ca.Serial]revocation.Entry, head map[tiles.Name]checkpoint.Checkpoint, numbers map[string]*big.Int) {
	t, ctx := b.t, b.t.Context()
	t.Helper()
	b.serve()
	if state, why := b.app.Keep.State(); state != keep.Trusted {
		t.Fatalf("it is %s, %v", state, why)
	}
	// Everything that was ever promised is known, and what was lost is revoked, in OCSP
	// and on its list.
	for serial, in := range everything {
		answer := b.ask(in)
		r, was := wasRevoked[serial]
		lost := known[serial] == nil
		if (was || lost) && answer.Status != ocsp.Revoked {
			t.Errorf("%s (lost: %v): OCSP says %d", serial, lost, answer.Status)
		}
		if was && !answer.RevokedAt.Equal(r.At) {
			t.Errorf("%s was revoked at %v, and now at %v", serial, r.At, answer.RevokedAt)
		}
		if was || lost {
			b.onList(in)
		}
	}
	for list, was := range numbers {
		if is := b.numbers()[list]; is.Cmp(was) < 0 {
			t.Errorf("list %s has number %v, and had %v", list, is, was)
		}
	}
	// Who kept a head sees that the logs only grew.
	for tree, was := range head {
		is, err := b.app.Logs.Head(ctx, tree)
		b.must(err)
		proof, err := b.app.Logs.Consistency(ctx, tree, was.Size, is.Size)
		b.must(err)
		if err := checkpoint.CheckGrowth(was, is.Checkpoint, proof); err != nil || is.Size <= was.Size {
			t.Errorf("log of %s, from %d to %d: %v", tree, was.Size, is.Size, err)
		}
	}
	b.peopleAfter(l)
	b.stop()
	b.sound()
	_, revoked := book(t, filepath.Join(b.dir, "sigill.db"))
	for serial, was := range wasRevoked {
		if is := revoked[serial]; is.Reason != was.Reason || is.Rule != was.Rule || is.Event != was.Event || !is.At.Equal(was.At) || is.Partition != was.Partition || !is.NotAfter.Equal(was.NotAfter) {
			t.Errorf("%s is revoked by %+v, was by %+v", serial, is, was)
		}
	}
	tell := map[string]int{}
	for _, r := range b.acts() {
		tell[r]++
	}
	if tell[audit.LogRestored] != 1 || tell[audit.LogReconciled] != 1 {
		t.Errorf("acts: %v", tell)
	}
}

// peopleAfter looks at what has become of people, and whether the service works again.
func (b *backup) peopleAfter(l *lost) {
	t, ctx := b.t, b.t.Context()
	t.Helper()
	b.must(b.app.DB.Downloads().View(ctx, func(tx *download.Tx) error {
		for name, h := range map[string]*world.Holder{"blocked": l.blocked, "blocked twice": l.again} {
			card, err := tx.Card(h.Card)
			if err != nil {
				return err
			}
			if card.State != policy.CardBlocked {
				t.Errorf("the card that was %s is %s", name, card.State)
			}
		}
		order, err := tx.Orders.Order(l.order)
		if err != nil {
			return err
		}
		if order.State != policy.OrderWithdrawn {
			t.Errorf("the order that was fetched is %s", order.State)
		}
		if _, err := tx.Card(l.fresh.Card); err != nil {
			return fmt.Errorf("the card that was handed out after the backup: %w", err)
		}
		as, err := tx.Assignment(l.ended.Person, b.w.Org)
		if err == nil && (as.EndsAt.IsZero() || as.EndsAt.After(time.Now())) {
			t.Errorf("the assignment that was ended ends at %v", as.EndsAt)
		}
		return err
	}))
	// What was proved after the backup stands, though the row said that it waits.
	c, err := b.w.Login(ctx, l.proved)
	if err != nil || c.Person != l.proved.Person {
		t.Errorf("the eID that was confirmed after the backup does not log in: %v", err)
	}
	if a := b.ask(b.intent(l.alive.Item(policy.Authentication).Serial)); a.Status != ocsp.Good {
		t.Errorf("OCSP says %d of it", a.Status)
	}
	// Rights and switches that were taken back are.
	b.must(b.app.DB.Register().View(ctx, func(tx *register.Tx) error {
		grants, err := tx.GrantsOf(l.helper.Person)
		if err != nil || len(grants) > 0 {
			t.Errorf("grants that were ended: %v, %v", grants, err)
		}
		org, err := tx.Organisation(b.w.Org)
		if err == nil && org.SigningAllowed {
			t.Error("signing certificates are allowed again")
		}
		return err
	}))
	b.holder() // somebody new gets an eID
}

// acts are the acts of all events.
func (b *backup) acts() []string {
	b.t.Helper()
	db, err := store.Open(b.t.Context(), store.Config{URL: "sqlite:" + filepath.Join(b.dir, "sigill.db")})
	b.must(err)
	defer db.Close()
	var out []string
	for {
		bodies, err := db.LoggedActs(b.t.Context(), int64(len(out)), 1000)
		b.must(err)
		if len(bodies) == 0 {
			return out
		}
		for _, raw := range bodies {
			body, err := audit.ParseBody(raw)
			b.must(err)
			out = append(out, body.Act)
		}
	}
}

// TestFork: who has seen another history is no older copy, and nothing takes it over.
func TestFork(t *testing.T) {
	at := t.TempDir()
	b := newBackup(t, fmt.Sprintf("\n  keep: {elsewhere: {directory: %q}}\n", at))
	b.serve()
	b.stop()
	old := t.TempDir()
	b.copyDatabase(old)
	b.serve()
	b.holder()
	b.stop()
	last := filepath.Join(t.TempDir(), "last")
	copyTree(t, b.dir, last)

	// The backup goes on without the place, as if nothing had been lost.
	b.restore(old)
	b.configure(fmt.Sprintf("{elsewhere: {directory: %q}}", at), "{}")
	b.serve()
	if state, _ := b.app.Keep.State(); state != keep.Alone {
		t.Errorf("without a place it is %s", state)
	}
	for range 3 {
		b.holder()
	}
	b.stop()
	b.configure("keep: {}", fmt.Sprintf("keep: {elsewhere: {directory: %q}}", at))

	b.serve()
	if state, why := b.app.Keep.State(); state != keep.Forked || !errors.Is(why, keep.ErrForked) {
		t.Errorf("it is %s, %v", state, why)
	}
	if d := b.app.Modes.MayWork(policy.WorkIssue); d.Rule != policy.ServiceRestored {
		t.Errorf("issuing: %+v", d)
	}
	if _, ready := get(t, b.at.Ops+"/readyz"); !strings.Contains(ready, "another history") {
		t.Errorf("readyz: %s", ready)
	}
	b.stop()
	if _, err := b.reconcile(last, true); err == nil {
		t.Error("another history was taken over")
	}
	red := false
	findings, err := Doctor(t.Context(), b.dir, time.Now)
	b.must(err)
	for _, f := range findings {
		red = red || f.Grade == Red && strings.Contains(f.Text, "two histories")
	}
	if !red {
		t.Errorf("doctor: %v", findings)
	}
}

// TestNoPlaceAnswers: who could tell whether the database is old is away. Nothing is
// issued until he answers, and then all goes on by itself.
func TestNoPlaceAnswers(t *testing.T) {
	at := filepath.Join(t.TempDir(), "not-mounted")
	b := newBackup(t, fmt.Sprintf("\n  keep: {elsewhere: {directory: %q}}\n", at))
	a, err := open(t, b.dir, time.Now)
	b.must(err)
	if state, _ := a.Keep.State(); state != keep.Unasked || !a.held() {
		t.Errorf("before it is asked it is %s", state)
	}
	made := a.heldNumber(t)
	b.must(a.Close())

	b.w = new(world.World) // no people yet: nothing may be founded
	b.serve()
	if state, why := b.app.Keep.State(); state != keep.Unasked || why == nil {
		t.Errorf("it is %s, %v", state, why)
	}
	for work, want := range map[policy.Work]policy.Rule{policy.WorkIssue: policy.ServiceRestored, policy.WorkChange: policy.ServiceRestored, policy.WorkRevoke: "", policy.WorkRead: ""} {
		if d := b.app.Modes.MayWork(work); d.Rule != want {
			t.Errorf("%s: %+v", work, d)
		}
	}
	if n := b.app.heldNumber(t); n != made {
		t.Errorf("%d events were numbered", n-made)
	}
	if _, ready := get(t, b.at.Ops+"/readyz"); !strings.Contains(ready, "no place that keeps") {
		t.Errorf("readyz: %s", ready)
	}
	if status, _ := get(t, b.at.Status+"/crl/card-v1/0.crl"); status != http.StatusOK {
		t.Errorf("lists are not served: %d", status)
	}
	b.must(os.Mkdir(at, 0o755))
	b.eventually("it is trusted", func() bool { return !b.app.held() })
	b.eventually("events are numbered", func() bool { return b.app.heldNumber(t) > made })
	b.people()
	b.holder()
	b.stop()
	b.sound()
}

// TestProductionNeedsAPlace: without a place nothing shows a restore.
func TestProductionNeedsAPlace(t *testing.T) {
	a := &App{Config: &config.Config{Environment: config.Production}}
	if err := a.Serve(t.Context(), nil); !errors.Is(err, errNoPlace) {
		t.Errorf("production without a place: %v", err)
	}
	if got := unproven(&config.Config{Environment: config.Test}); len(got) != 1 || !strings.Contains(got[0], "restore") {
		t.Errorf("a test installation without a place says %q", got)
	}
}
