package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sigill/ca"
	"sigill/internal/card"
	"sigill/internal/wire"
	"sigill/internal/world"
	"sigill/internal/world/worldtest"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/policy"
)

// scene is a holder whose download is open, and another holder's beside it.
type scene struct {
	*server
	h, other     *world.Holder
	c            *http.Client // as the holder
	st, otherSt  *download.State
	path         string // of the download
	key          *ecdsa.PrivateKey
	right, wrong card.Binding // the item's, and the other holder's
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{server: serve(t)}
	s.h, s.other = s.Holder(), s.Holder()
	s.c = s.as(s.h)
	s.st, s.right = s.opened(s.h)
	s.otherSt, s.wrong = s.opened(s.other)
	s.path = "/card/v1/downloads/" + string(s.st.Download.ID)
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) opened(h *world.Holder) (*download.State, card.Binding) {
	s.t.Helper()
	st, err := s.Begin(s.t.Context(), h, s.Ordered(h, policy.OrderRenewal))
	if err != nil {
		s.t.Fatal(err)
	}
	return st, card.Binding{Download: string(st.Download.ID), Slot: string(policy.Authentication), Card: string(h.Card),
		Login: st.Download.Login, PlanHash: st.Download.PlanHash, Challenge: st.Item(policy.Authentication).Challenge}
}

// unchanged fails the test if anything came of what was refused.
func (s *server) unchanged(before worldtest.Dump) {
	s.t.Helper()
	for _, row := range s.Dump().Since(before) {
		s.t.Errorf("changed: %.300s", row)
	}
}

// submitted sends a request for the item.
func (s *scene) submitted(csr []byte) *answer {
	s.t.Helper()
	return s.do(s.c, "POST", s.path+"/items/authentication", wire.Submit{CSR: csr})
}

// each runs a subtest for each entry, in order.
func each[T any](t *testing.T, s *server, all map[string]T, fn func(T)) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			s.t, s.T = t, t
			fn(all[name])
		})
	}
	s.t, s.T = t, t
}

// Whatever a request holds that is not its key and its binding, in whatever
// encoding, it is refused whole, and nothing of it is kept. When the right request
// comes after that, by the same key, its certificate says what the order says.
func TestHostileRequest(t *testing.T) {
	s := newScene(t)
	digest := s.right.Digest()
	f := forge(t, s.key, digest)
	before := s.Dump()
	malformed := map[string][]byte{}
	maps.Copy(malformed, contentForgeries(t, f, digest))
	maps.Copy(malformed, encodingForgeries(t, f, digest))
	maps.Copy(malformed, keyForgeries(t, f))
	if len(malformed) < 100 {
		t.Errorf("only %d forgeries", len(malformed))
	}
	each(t, s.server, malformed, func(csr []byte) {
		s.refused(s.submitted(csr), 400, "refused", policy.RequestForm)
		s.unchanged(before)
	})
	each(t, s.server, bindingForgeries(s.right, s.wrong), func(b card.Binding) {
		s.refused(s.submitted(forge(s.t, s.key, b.Digest()).der()), 403, "refused", policy.DownloadBinding)
		s.unchanged(before)
	})
	t.Run("signed by another key", func(t *testing.T) {
		s.t, s.T = t, t
		liar := f
		liar.key = s.other.CurrentKey().(*ecdsa.PrivateKey)
		s.refused(s.submitted(liar.der()), 403, "refused", policy.KeyProof)
		liar.signature = []byte{0x30, 6, 2, 1, 0, 2, 1, 0}
		s.refused(s.submitted(liar.der()), 403, "refused", policy.KeyProof)
		s.refused(s.submitted(unusedBits(f.der())), 403, "refused", policy.KeyProof)
		s.unchanged(before)
	})
	t.Run("made by a key that the card had before", func(t *testing.T) {
		s.t, s.T = t, t
		s.refused(s.submitted(forge(t, s.h.CurrentKey().(*ecdsa.PrivateKey), digest).der()), 403, "refused", policy.KeySeenRule)
		s.refused(s.submitted(forge(t, s.h.TransportKey().(*ecdsa.PrivateKey), digest).der()), 403, "refused", policy.KeySeenRule)
		s.unchanged(before)
	})
	t.Run("overheard", func(t *testing.T) {
		// Made by another's certified key, for another's download: it proves
		// nothing of this card, and must not cost the other his eID.
		s.t, s.T = t, t
		s.refused(s.submitted(forge(t, s.other.CurrentKey().(*ecdsa.PrivateKey), s.wrong.Digest()).der()), 403, "refused", policy.DownloadBinding)
		s.unchanged(before)
	})
	s.t, s.T = t, t
	var it wire.Item
	s.submitted(f.der()).read(t, &it)
	s.saysWhatWasOrdered(it.Certificate)
	s.Sound()
}

// saysWhatWasOrdered compares a certificate with the signed order, and with the
// certificate that the same order content made before: nothing but key, serial
// and time may differ.
func (s *scene) saysWhatWasOrdered(der []byte) {
	s.t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	old, err := x509.ParseCertificate(s.h.CertificateOf())
	if err != nil {
		s.t.Fatal(err)
	}
	admin, err := s.Login(s.t.Context(), s.Admins[0])
	if err != nil {
		s.t.Fatal(err)
	}
	o, err := s.Orders.Order(s.t.Context(), admin, s.st.Download.Order)
	if err != nil {
		s.t.Fatal(err)
	}
	doc, err := orders.ParseDocument(o.Bytes)
	if err != nil {
		s.t.Fatal(err)
	}
	want := doc.Content
	if cert.Subject.CommonName != want.CommonName || cert.Subject.SerialNumber != want.SerialNumber || !cert.NotAfter.Equal(doc.NotAfter) ||
		!slices.Equal(cert.EmailAddresses, []string{want.Email}) || len(cert.DNSNames)+len(cert.IPAddresses)+len(cert.URIs) != 0 ||
		cert.IsCA || !s.key.PublicKey.Equal(cert.PublicKey) {
		s.t.Errorf("certificate for %s, %v, %v; ordered %+v", cert.Subject, cert.EmailAddresses, cert.DNSNames, want)
	}
	var policies []string
	for _, oid := range cert.Policies {
		policies = append(policies, oid.String())
	}
	if !slices.Equal(policies, want.PolicyOIDs) {
		s.t.Errorf("policies %v, ordered %v", policies, want.PolicyOIDs)
	}
	if string(cert.RawSubject) != string(old.RawSubject) || cert.KeyUsage != old.KeyUsage || !slices.Equal(cert.ExtKeyUsage, old.ExtKeyUsage) {
		s.t.Errorf("subject %s, usages %v %v", cert.Subject, cert.KeyUsage, cert.ExtKeyUsage)
	}
	keyID := asn1.ObjectIdentifier{2, 5, 29, 14} // of the key, which is new
	if len(cert.Extensions) != len(old.Extensions) {
		s.t.Fatalf("%d extensions, %d before", len(cert.Extensions), len(old.Extensions))
	}
	for i, e := range cert.Extensions {
		was := old.Extensions[i]
		if !e.Id.Equal(was.Id) || e.Critical != was.Critical || !e.Id.Equal(keyID) && string(e.Value) != string(was.Value) {
			s.t.Errorf("extension %v is %x, before %v %x", e.Id, e.Value, was.Id, was.Value)
		}
	}
}

func evidence(hash string, readBack ...string) wire.Confirm {
	c := wire.Confirm{PlanHash: hash, ReadBack: map[string]string{}}
	for i := 0; i < len(readBack); i += 2 {
		c.ReadBack[readBack[i]] = readBack[i+1]
	}
	return c
}

// confirmation is one that must not be taken.
type confirmation struct {
	client *http.Client
	path   string
	body   wire.Confirm
	status int
	rule   policy.Rule
}

// confirmations are wrong in one thing each; next and otherNext log in with the
// released certificates of the two holders, fp is the one of the first.
func (s *scene) confirmations(next, otherNext *http.Client, otherSt *download.State, fp string) map[string]confirmation {
	foreign := ca.FingerprintOf(s.other.NextDER()).String()
	hash, otherHash := hexOf(s.st.Download.PlanHash), hexOf(otherSt.Download.PlanHash)
	otherPath := "/card/v1/downloads/" + string(otherSt.Download.ID)
	right := evidence(hash, "authentication", fp)
	return map[string]confirmation{
		"with the old certificate":           {s.c, s.path, right, 403, policy.DownloadEvidence},
		"as another card":                    {s.as(s.other), s.path, right, 403, policy.DownloadCard},
		"as another card's pending":          {otherNext, s.path, right, 403, policy.DownloadCard},
		"another's download":                 {next, otherPath, evidence(otherHash, "authentication", foreign), 403, policy.DownloadCard},
		"another's plan":                     {next, s.path, evidence(otherHash, "authentication", fp), 403, policy.DownloadPlan},
		"another's certificate read back":    {next, s.path, evidence(hash, "authentication", foreign), 403, policy.DownloadEvidence},
		"the old certificate read back":      {next, s.path, evidence(hash, "authentication", s.h.Certificate().Fingerprint.String()), 403, policy.DownloadEvidence},
		"in another slot's name":             {next, s.path, evidence(hash, "signing", fp), 403, policy.DownloadEvidence},
		"in no slot's name":                  {next, s.path, evidence(hash, "", fp), 403, policy.DownloadEvidence},
		"in the slot's name in capitals":     {next, s.path, evidence(hash, "Authentication", fp), 403, policy.DownloadEvidence},
		"with a slot more":                   {next, s.path, evidence(hash, "authentication", fp, "signing", fp), 403, policy.DownloadEvidence},
		"with nothing read back":             {next, s.path, evidence(hash), 403, policy.DownloadEvidence},
		"fingerprint cut off":                {next, s.path, evidence(hash, "authentication", fp[:62]), 400, policy.RequestForm},
		"fingerprint that is none":           {next, s.path, evidence(hash, "authentication", strings.Repeat("g", 64)), 400, policy.RequestForm},
		"plan hash cut off":                  {next, s.path, evidence(hash[:62], "authentication", fp), 400, policy.RequestForm},
		"plan hash that is none":             {next, s.path, evidence("", "authentication", fp), 400, policy.RequestForm},
		"a download that is not there":       {next, "/card/v1/downloads/dl_none", right, 403, policy.DownloadCard},
		"by the certificate the card had":    {s.client(s.h.TransportKey(), s.h.TransportDER()), s.path, right, 403, policy.LoginUnarmed},
		"over a connection of an old holder": {s.client(s.Admins[0].CurrentKey(), s.Admins[0].CertificateOf()), s.path, right, 403, policy.DownloadCard},
	}
}

// Only the new certificate confirms, on its own connection, and with what was
// read back; and another's download is not there for anybody.
func TestHostileConfirm(t *testing.T) {
	s := newScene(t)
	var it wire.Item
	s.submitted(forge(t, s.key, s.right.Digest()).der()).read(t, &it)
	otherSt, err := s.Submit(t.Context(), s.other, s.otherSt)
	if err != nil {
		t.Fatal(err)
	}
	next, otherNext := s.client(s.key, it.Certificate), s.client(s.other.NextKey(), s.other.NextDER())
	fp := ca.FingerprintOf(it.Certificate).String()
	right := evidence(hexOf(s.st.Download.PlanHash), "authentication", fp)
	before := s.Dump()
	each(t, s.server, s.confirmations(next, otherNext, otherSt, fp), func(a confirmation) {
		s.refused(s.do(a.client, "POST", a.path+"/confirm", a.body), a.status, "refused", a.rule)
		s.unchanged(before)
	})
	again := s.submitted(forge(t, s.key, s.right.Digest()).der()) // the same key: the same certificate, and no other
	again.read(t, &it)
	if ca.FingerprintOf(it.Certificate).String() != fp {
		t.Error("the same key was certified twice")
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s.refused(s.submitted(forge(t, other, s.right.Digest()).der()), 409, "refused", policy.DownloadStateRule)
	s.unchanged(before)
	s.do(next, "POST", s.path+"/confirm", right).read(t, new(wire.Download))
	before = s.Dump()
	s.do(next, "POST", s.path+"/confirm", right).read(t, new(wire.Download)) // replayed
	s.refused(s.do(s.c, "POST", s.path+"/confirm", right), 401, "refused", policy.LoginRevoked)
	s.unchanged(before)
	s.Sound()
}

// The pending certificate confirms; for whatever else it is used, nothing comes
// of it.
func TestPendingCertificateIsNoOther(t *testing.T) {
	s := newScene(t)
	var it wire.Item
	s.submitted(forge(t, s.key, s.right.Digest()).der()).read(t, &it)
	next := s.client(s.key, it.Certificate)
	before := s.Dump()
	for path, body := range map[string]any{
		"/card/v1/downloads": wire.Begin{Order: string(s.st.Download.Order)}, s.path + "/items/authentication": wire.Submit{CSR: []byte{1}},
		s.path + "/items/authentication/challenge": nil, s.path + "/abandon": nil, s.path + "/removed": wire.Removed{Fingerprints: []string{}},
		"/card/v1/block": wire.Block{Reason: "lost"}, "/api/v1/orders": wire.Stated{},
		"/api/v1/certificates/" + s.h.Certificate().Serial.String() + "/revoke": wire.Revoke{Reason: "superseded"},
	} {
		s.refused(s.do(next, "POST", path, body), 403, "refused", policy.LoginPending)
		s.unchanged(before)
	}
}
