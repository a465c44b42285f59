package download_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/card"
	"sigill/internal/statement"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders"
	"sigill/policy"
)

// A download goes on with the certificate that it began with. Another one of the
// same card and person, valid too, does not carry it on: who was let in at a desk
// would finish what the eID's PIN had begun.
func TestDownloadGoesOnWithItsLogin(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Holder()
	r := start(s, h, s.Ordered(h, policy.OrderRenewal))
	if err := s.Arm(ctx, h); err != nil {
		t.Fatal(err)
	}
	other, err := s.Register.Login(ctx, h.TransportDER(), false)
	if err != nil {
		t.Fatalf("the other certificate must log in too: %v", err)
	}
	it := r.st.Item(policy.Authentication)
	own, err := h.Bind(card.Binding{Download: string(r.st.Download.ID), Slot: string(it.Slot), Card: string(h.Card),
		Login: other.Certificate, PlanHash: r.st.Download.PlanHash, Challenge: it.Challenge})
	if err != nil {
		t.Fatal(err)
	}
	for name, csr := range map[string][]byte{"bound to the first": r.csr, "bound to the other": own} {
		_, err := s.Downloads.Submit(ctx, other, r.st.Download.ID, policy.Authentication, csr)
		if refusal, ok := errors.AsType[*policy.Refusal](err); !ok || refusal.Rule != policy.DownloadBinding {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.untouched()
	if _, err := r.submit(); err != nil {
		t.Errorf("the right log-in after that: %v", err)
	}
}

// Who can write the database can invent the certificate of an administrator too,
// with a key of his own: what no issuing CA signed stands behind no statement.
func TestStatementByInventedCertificate(t *testing.T) {
	s := worldtest.New(t)
	ctx := t.Context()
	h := s.Person()
	d, err := s.Preview(ctx, h, policy.OrderOrdinary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Place(ctx, d, 0); err != nil {
		t.Fatal(err)
	}
	inventApproval(t, s, d)
	s.Exec("UPDATE orders SET state = 'approved' WHERE id = ?", string(d.Order))
	signed := len(s.Faults.Signed(world.PersonCA))
	r := start(s, h, d.Order)
	_, err = r.submit()
	s.Refused(err, policy.OrderApprovals)
	if n := s.Rows("intents", "download = ?", string(r.st.Download.ID)); n != 0 {
		t.Errorf("%d intents", n)
	}
	if n := len(s.Faults.Signed(world.PersonCA)); n != signed {
		t.Errorf("%d signatures were made", n-signed)
	}
}

// inventApproval writes an approval by the second administrator and, for its
// certificate, a row that differs from the real one in key, serial and
// signature only.
func inventApproval(t *testing.T, s *worldtest.Scene, d orders.Document) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	genuine, err := x509.ParseCertificate(s.Admins[1].CertificateOf())
	if err != nil {
		t.Fatal(err)
	}
	genuinePrint, serial := ca.FingerprintOf(genuine.Raw), ca.NewSerial()
	template := *genuine
	template.SerialNumber, template.ExtraExtensions = serial.Int(), genuine.Extensions
	template.SignatureAlgorithm = x509.ECDSAWithSHA256
	der, err := x509.CreateCertificate(rand.Reader, &template, &x509.Certificate{RawSubject: genuine.RawIssuer}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	fp := ca.FingerprintOf(der)
	public, err := ca.FingerprintKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	s.Exec(`INSERT INTO certificates SELECT ?, ?, issuer, partition, profile, not_before, not_after, ?, ?, slot, card, person, organisation,
		id_kind, loa, order_id, download, provenance, stored_at FROM certificates WHERE fingerprint = ?`, fp[:], serial[:], public[:], der, genuinePrint[:])
	st := world.Statement(statement.ActApprove, d)
	st.By, st.At = s.Admins[1].Name(), s.Now().UTC().Truncate(time.Second)
	content := st.Bytes()
	signature, err := statement.Sign(key, content)
	if err != nil {
		t.Fatal(err)
	}
	s.Exec(`INSERT INTO statements (id, act, subject, by_person, certificate, content, signature, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		policy.NewID("st"), statement.ActApprove, string(d.Order), st.By, fp[:], content, signature, s.Now().UnixMicro())
}
