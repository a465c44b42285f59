package status_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation/status"
)

// desk is a responder for two issuers over a fake store.
type desk struct {
	*revtest.Store
	person, other *revtest.Authority
	now           time.Time
	signers       *status.Signers
	r             *status.Responder
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	d := &desk{Store: revtest.NewStore(t), person: revtest.NewAuthority(t, revtest.Person, nil), other: revtest.NewAuthority(t, revtest.Another, nil), now: revtest.Start, signers: &status.Signers{}}
	for _, a := range []*revtest.Authority{d.person, d.other} {
		if err := d.signers.Set(a.ID, a.Responder(t)); err != nil {
			t.Fatal(err)
		}
	}
	d.r = &status.Responder{Store: d.Store, Signers: d.signers, Now: func() time.Time { return d.now }}
	if err := d.r.Check(); err != nil {
		t.Fatal(err)
	}
	return d
}

func request(t testing.TB, a *revtest.Authority, serial ca.Serial, hash crypto.Hash) []byte {
	t.Helper()
	der, err := ocsp.CreateRequest(&x509.Certificate{SerialNumber: serial.Int()}, a.Cert, &ocsp.RequestOptions{Hash: hash})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// many is a request with the CertIDs of several, and a nonce unless that is nil.
func many(t testing.TB, nonce []byte, requests ...[]byte) []byte {
	t.Helper()
	type one struct{ ID asn1.RawValue }
	type extension struct {
		ID    asn1.ObjectIdentifier
		Value []byte
	}
	var body struct {
		List       []one
		Extensions []extension `asn1:"explicit,tag:2,optional,omitempty"`
	}
	for _, der := range requests {
		parsed, err := ca.ParseOCSPRequest(der)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range parsed.CertIDs {
			body.List = append(body.List, one{asn1.RawValue{FullBytes: id.Raw}})
		}
	}
	if nonce != nil {
		value, err := asn1.Marshal(nonce)
		if err != nil {
			t.Fatal(err)
		}
		body.Extensions = []extension{{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}, value}}
	}
	der, err := asn1.Marshal(struct{ TBS any }{body})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestAnswer(t *testing.T) {
	d := newDesk(t)
	good, open, never := ca.NewSerial(), ca.NewSerial(), ca.NewSerial()
	d.Released[good] = revtest.Person
	revoked := d.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded)) // released, then revoked
	d.Released[revoked.Serial] = revtest.Person
	abandoned := d.Revoke(revtest.NewEntry(revtest.Person, 0, ca.CessationOfOperation)) // an intent that never was released
	for name, test := range map[string]struct {
		serial    ca.Serial
		status    int
		reason    int
		cacheable bool
	}{
		"released":            {good, ocsp.Good, 0, true},
		"revoked":             {revoked.Serial, ocsp.Revoked, ocsp.Superseded, true},
		"abandoned intent":    {abandoned.Serial, ocsp.Revoked, ocsp.CessationOfOperation, true},
		"open intent":         {open, ocsp.Unknown, 0, false},
		"never issued":        {never, ocsp.Unknown, 0, false},
		"serial of no system": {ca.Serial{15: 9}, ocsp.Unknown, 0, false},
	} {
		for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
			answer, err := d.r.Answer(t.Context(), request(t, d.person, test.serial, hash))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := ocsp.ParseResponseForCert(answer.DER, &x509.Certificate{SerialNumber: test.serial.Int()}, d.person.Cert)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got.Status != test.status || got.IssuerHash != hash || answer.Cacheable != test.cacheable {
				t.Errorf("%s: status %d, cacheable %v", name, got.Status, answer.Cacheable)
			}
			if test.status == ocsp.Revoked && (got.RevocationReason != test.reason || !got.RevokedAt.Equal(revtest.Start.Add(-time.Minute))) {
				t.Errorf("%s: %d at %v", name, got.RevocationReason, got.RevokedAt)
			}
			if !got.ThisUpdate.Equal(revtest.Start.Add(-5*time.Minute)) || !got.NextUpdate.Equal(revtest.Start.Add(time.Hour)) ||
				!answer.NextUpdate.Equal(got.NextUpdate) || !answer.ProducedAt.Equal(revtest.Start) {
				t.Errorf("%s: %v to %v", name, got.ThisUpdate, got.NextUpdate)
			}
			if cutoff := len(got.Extensions) == 1; cutoff != (test.status != ocsp.Unknown) {
				t.Errorf("%s: %d extensions", name, len(got.Extensions))
			}
		}
	}
	// The serial of one issuer means nothing under another.
	answer, err := d.r.Answer(t.Context(), request(t, d.other, good, crypto.SHA256))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ocsp.ParseResponse(answer.DER, d.other.Cert); err != nil || got.Status != ocsp.Unknown {
		t.Errorf("under the other issuer: %+v, %v", got, err)
	}
}

func TestAnswerErrors(t *testing.T) {
	d := newDesk(t)
	stranger := revtest.NewAuthority(t, "stranger", nil)
	serial := ca.NewSerial()
	good := request(t, d.person, serial, crypto.SHA1)
	for name, test := range map[string]struct {
		der  []byte
		want ca.OCSPErrorStatus
	}{
		"empty":          {nil, ca.OCSPMalformedRequest},
		"text":           {[]byte("hello"), ca.OCSPMalformedRequest},
		"too long":       {make([]byte, ca.MaxOCSPRequest+1), ca.OCSPMalformedRequest},
		"empty nonce":    {many(t, []byte{}, good), ca.OCSPMalformedRequest},
		"long nonce":     {many(t, make([]byte, 129), good), ca.OCSPMalformedRequest},
		"not our issuer": {request(t, stranger, serial, crypto.SHA1), ca.OCSPUnauthorized},
		"hash unknown":   {request(t, d.person, serial, crypto.SHA384), ca.OCSPUnauthorized},
		"all strangers":  {many(t, nil, request(t, stranger, serial, crypto.SHA1), request(t, d.person, serial, crypto.SHA512)), ca.OCSPUnauthorized},
	} {
		answer, err := d.r.Answer(t.Context(), test.der)
		if err != nil || !bytes.Equal(answer.DER, ca.OCSPError(test.want)) || answer.Cacheable {
			t.Errorf("%s: %x, cacheable %v, %v, want status %d", name, answer.DER, answer.Cacheable, err, test.want)
		}
	}
	if d.Count != 0 {
		t.Errorf("%d transactions for requests that need none", d.Count)
	}
	d.At, d.Fault = 1, revtest.NotBegun
	answer, err := d.r.Answer(t.Context(), good)
	if !errors.Is(err, revtest.ErrFault) || !bytes.Equal(answer.DER, ca.OCSPError(ca.OCSPTryLater)) || answer.Cacheable {
		t.Errorf("without database: %x, %v", answer.DER, err)
	}
	d.now = d.person.OCSPCert.NotAfter
	answer, err = d.r.Answer(t.Context(), good)
	if err == nil || !bytes.Equal(answer.DER, ca.OCSPError(ca.OCSPInternalError)) || answer.Cacheable {
		t.Errorf("after the signer's end: %x, %v", answer.DER, err)
	}
}

// Several certificates, SHA-1 and SHA-256, in one answer; another issuer's among
// them is unknown, for this signer cannot speak for it.
func TestAnswerSeveral(t *testing.T) {
	d := newDesk(t)
	good, others, mixed := ca.NewSerial(), ca.NewSerial(), ca.NewSerial()
	d.Released[good], d.Released[others] = revtest.Person, revtest.Another
	d.Released[mixed] = revtest.Person // and asked about under the other issuer's name
	revoked := d.Revoke(revtest.NewEntry(revtest.Person, 0, ca.KeyCompromise))
	stranger := revtest.NewAuthority(t, "stranger", nil)
	der := many(t, nil, request(t, stranger, ca.NewSerial(), crypto.SHA1), request(t, d.person, good, crypto.SHA1),
		request(t, d.person, revoked.Serial, crypto.SHA256), request(t, d.other, others, crypto.SHA1), request(t, d.other, mixed, crypto.SHA1))
	answer, err := d.r.Answer(t.Context(), der)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Cacheable {
		t.Error("an answer with unknown in it is cacheable")
	}
	for serial, want := range map[ca.Serial]int{good: ocsp.Good, revoked.Serial: ocsp.Revoked, others: ocsp.Unknown, mixed: ocsp.Unknown} {
		got, err := ocsp.ParseResponseForCert(answer.DER, &x509.Certificate{SerialNumber: serial.Int()}, d.person.Cert)
		if err != nil || got.Status != want {
			t.Errorf("%s: %+v, %v, want %d", serial, got, err, want)
		}
	}
}

// An answer with a nonce repeats it and is for one client only.
func TestAnswerNonce(t *testing.T) {
	d := newDesk(t)
	serial := ca.NewSerial()
	d.Released[serial] = revtest.Person
	for _, n := range []int{1, 16, 32, 128} {
		nonce := bytes.Repeat([]byte{0x5a}, n)
		answer, err := d.r.Answer(t.Context(), many(t, nonce, request(t, d.person, serial, crypto.SHA1)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ocsp.ParseResponse(answer.DER, d.person.Cert)
		if err != nil || got.Status != ocsp.Good {
			t.Fatalf("%+v, %v", got, err)
		}
		value, err := asn1.Marshal(nonce)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(got.TBSResponseData, value) || answer.Cacheable {
			t.Errorf("nonce of %d octets: cacheable %v, %x", n, answer.Cacheable, got.TBSResponseData)
		}
	}
}

func TestAnswerArchiveCutoff(t *testing.T) {
	d := newDesk(t)
	serial := ca.NewSerial()
	d.Released[serial] = revtest.Person
	notBefore := d.person.Cert.NotBefore
	for name, test := range map[string]struct {
		retention time.Duration
		want      time.Time
	}{
		"for ever":               {0, notBefore},
		"longer than the CA":     {10 * 365 * 24 * time.Hour, notBefore},
		"a month":                {30 * 24 * time.Hour, revtest.Start.AddDate(0, 0, -30)},
		"no longer than an hour": {time.Hour, revtest.Start.Add(-time.Hour)},
	} {
		d.r.Retention = test.retention
		answer, err := d.r.Answer(t.Context(), request(t, d.person, serial, crypto.SHA1))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ocsp.ParseResponse(answer.DER, d.person.Cert)
		if err != nil {
			t.Fatal(err)
		}
		var cutoff time.Time
		if len(got.Extensions) != 1 || !got.Extensions[0].Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 6}) {
			t.Fatalf("%s: extensions %v", name, got.Extensions)
		}
		if _, err := asn1.UnmarshalWithParams(got.Extensions[0].Value, &cutoff, "generalized"); err != nil || !cutoff.Equal(test.want) {
			t.Errorf("%s: cutoff %v, %v, want %v", name, cutoff, err, test.want)
		}
	}
}

// A signer is replaced while answers are given; names cannot change hands.
func TestSignersSet(t *testing.T) {
	d := newDesk(t)
	serial := ca.NewSerial()
	d.Released[serial] = revtest.Person
	key := revtest.NewKey(t)
	cert := d.person.Signer(t, key, func(c *x509.Certificate) { c.NotAfter = revtest.Start.AddDate(0, 0, 7) })
	next, err := ca.NewResponder(d.person.Cert, cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.signers.Set(revtest.Person, next); err != nil {
		t.Fatal(err)
	}
	answer, err := d.r.Answer(t.Context(), request(t, d.person, serial, crypto.SHA1))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ocsp.ParseResponse(answer.DER, d.person.Cert); err != nil || !got.Certificate.Equal(cert) {
		t.Errorf("signed by %v, %v", got, err)
	}
	if err := d.signers.Set("alias", next); err == nil {
		t.Error("one issuer under two names")
	}
	if err := d.signers.Set(revtest.Another, next); err == nil {
		t.Error("a name was given to another issuer")
	}
}

func TestResponderCheck(t *testing.T) {
	d := newDesk(t)
	for name, spoil := range map[string]func(*status.Responder){
		"no store":     func(r *status.Responder) { r.Store = nil },
		"no signers":   func(r *status.Responder) { r.Signers = nil },
		"no clock":     func(r *status.Responder) { r.Now = nil },
		"half a day+":  func(r *status.Responder) { r.Validity = 12*time.Hour + 1 },
		"negative":     func(r *status.Responder) { r.Validity = -time.Hour },
		"half minute":  func(r *status.Responder) { r.Validity = 30 * time.Second },
		"no retention": func(r *status.Responder) { r.Retention = -1 },
	} {
		r := &status.Responder{Store: d.Store, Signers: d.signers, Now: d.r.Now}
		spoil(r)
		if r.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// OpenSSL makes the request, with its nonce, and judges the answer.
func TestAnswerOpenSSL(t *testing.T) {
	d := newDesk(t)
	serial := ca.NewSerial()
	d.Released[serial] = revtest.Person
	revoked := d.Revoke(revtest.NewEntry(revtest.Person, 0, ca.KeyCompromise))
	dir := t.TempDir()
	files := map[string][]byte{"ca.pem": revtest.PEMOf(d.person.Cert)}
	path := dir + "/request.der"
	for _, hash := range []string{"-sha1", "-sha256"} {
		revtest.OpenSSL(t, files, "ocsp", hash, "-issuer", "ca.pem", "-serial", "0x"+serial.String(), "-serial", "0x"+revoked.Serial.String(), "-reqout", path)
		der := revtest.Read(t, path)
		answer, err := d.r.Answer(t.Context(), der)
		if err != nil {
			t.Fatal(err)
		}
		files["request.der"], files["answer.der"] = der, answer.DER
		out := revtest.OpenSSL(t, files, "ocsp", "-no_nonce", hash, "-issuer", "ca.pem", "-serial", "0x"+serial.String(), "-serial", "0x"+revoked.Serial.String(),
			"-respin", "answer.der", "-CAfile", "ca.pem", "-attime", fmt.Sprint(revtest.Start.Unix()), "-validity_period", "2000000000")
		for _, want := range []string{"Response verify OK", strings.ToUpper("0x" + serial.String())[2:] + ": good", strings.ToUpper(revoked.Serial.String()) + ": revoked", "Reason: keyCompromise"} {
			if !strings.Contains(strings.ToUpper(out), strings.ToUpper(want)) {
				t.Errorf("%s: openssl does not say %q:\n%s", hash, want, out)
			}
		}
		parsed, err := ca.ParseOCSPRequest(der)
		if err != nil || len(parsed.Nonce) < 16 || !bytes.Contains(answer.DER, parsed.Nonce) {
			t.Errorf("%s: nonce %x, %v is not in the answer", hash, parsed.Nonce, err)
		}
	}
}
