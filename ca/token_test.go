package ca_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ctgo "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/ctutil"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/google/certificate-transparency-go/x509util"

	"sigill/ca"
	"sigill/internal/catest"
	"sigill/internal/der"
)

func officer(t testing.TB) ca.Request {
	t.Helper()
	return request(t, "officer", ca.Content{CommonName: "Officer Åsa"})
}

func TestSaveFails(t *testing.T) {
	config := issuerConfig(t, "P-256")
	signer := &catest.CountingSigner{Signer: config.Signer}
	config.Signer = signer
	sealed := seal(t, newIssuer(t, config), officer(t), nil)
	lost := errors.New("answer lost")
	rec, err := sealed.Record(t.Context(), func(context.Context, ca.Intent) error { return lost })
	if rec != nil || !errors.Is(err, lost) {
		t.Errorf("Record = %v, %v", rec, err)
	}
	// The failed save may have been committed: a second one could make two rights
	// to one serial.
	if rec, err := sealed.Record(t.Context(), saved); rec != nil || err == nil {
		t.Errorf("second Record = %v, %v", rec, err)
	}
	if signer.N != 0 {
		t.Errorf("%d signatures", signer.N)
	}
}

func TestStepsAreTakenOnce(t *testing.T) {
	config := issuerConfig(t, "P-256")
	signer := &catest.CountingSigner{Signer: config.Signer}
	config.Signer = signer
	i := newIssuer(t, config)
	draft, err := i.Prepare(officer(t))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := draft.Seal(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := draft.Seal(t.Context(), nil); s != nil || err == nil {
		t.Error("sealed twice")
	}
	rec := record(t, sealed)
	copied := *sealed
	if r, err := copied.Record(t.Context(), saved); r != nil || err == nil {
		t.Error("recorded twice, by a copy")
	}
	copiedRec := *rec
	if _, err := i.Sign(rec); err != nil {
		t.Fatal(err)
	}
	if c, err := i.Sign(rec); c != nil || err == nil {
		t.Error("redeemed twice")
	}
	if c, err := i.Sign(&copiedRec); c != nil || err == nil {
		t.Error("redeemed twice, by a copy")
	}
	if signer.N != 1 {
		t.Errorf("%d signatures, want 1", signer.N)
	}
}

func TestRedeemedOnceAmongMany(t *testing.T) {
	i := newIssuer(t, issuerConfig(t, "P-256"))
	rec := record(t, seal(t, i, officer(t), nil))
	var wins atomic.Int32
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			if _, err := i.Sign(rec); err == nil {
				wins.Add(1)
			}
		})
	}
	wait.Wait()
	if wins.Load() != 1 {
		t.Errorf("%d of 16 signed", wins.Load())
	}
}

func TestForeignAndForgedTokens(t *testing.T) {
	config := issuerConfig(t, "P-256")
	i, twin := newIssuer(t, config), newIssuer(t, config)
	rec := record(t, seal(t, i, officer(t), nil))
	if _, err := twin.Sign(rec); err == nil {
		t.Error("another issuer redeemed it")
	}
	if _, err := i.Sign(rec); err != nil {
		t.Errorf("after another issuer's try: %v", err)
	}
	if _, err := i.Sign(&ca.Logged{}); err == nil {
		t.Error("a Logged out of nothing was redeemed")
	}
	if _, err := i.Sign(nil); err == nil {
		t.Error("nil was redeemed")
	}
	if _, err := new(ca.Recorded).Await(t.Context()); err == nil {
		t.Error("a Recorded out of nothing was awaited")
	}
	if _, err := new(ca.Sealed).Record(t.Context(), saved); err == nil {
		t.Error("a Sealed out of nothing was recorded")
	}
	if _, err := new(ca.Draft).Seal(t.Context(), nil); err == nil {
		t.Error("a Draft out of nothing was sealed")
	}
	if _, err := seal(t, i, officer(t), nil).Record(t.Context(), nil); err == nil {
		t.Error("recorded by nobody")
	}
}

// What the caller does to the intent it is shown does not change what is signed.
func TestIntentIsACopy(t *testing.T) {
	i := newIssuer(t, issuerConfig(t, "P-256"))
	sealed := seal(t, i, officer(t), nil)
	want := sealed.Intent()
	clear(sealed.Intent().TBS)
	rec, err := sealed.Record(t.Context(), func(_ context.Context, in ca.Intent) error {
		if !slices.Equal(in.TBS, want.TBS) || in.Serial != want.Serial {
			t.Error("save saw another intent")
		}
		clear(in.TBS)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	logged, err := rec.Await(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	issued, err := i.Sign(logged)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := der.Parse(issued.DER)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(parts.TBS, want.TBS) {
		t.Error("signed bytes are not the recorded ones")
	}
}

// A signer that fails, or lies, ends the serial: nothing comes out, and there is
// no second try.
func TestSignerFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func([]byte, error) ([]byte, error)
	}{
		{"refuses", func([]byte, error) ([]byte, error) { return nil, errors.New("token removed") }},
		{"answers with another signature", func(s []byte, err error) ([]byte, error) { s[len(s)-1] ^= 1; return s, err }},
		{"answers with nothing", func([]byte, error) ([]byte, error) { return nil, nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := issuerConfig(t, "P-256")
			signer := &catest.CountingSigner{Signer: config.Signer, Spoil: c.spoil}
			config.Signer = signer
			i := newIssuer(t, config)
			rec := record(t, seal(t, i, officer(t), nil))
			if issued, err := i.Sign(rec); issued != nil || err == nil {
				t.Errorf("Sign = %v, %v", issued, err)
			}
			signer.Spoil = nil
			if issued, err := i.Sign(rec); issued != nil || err == nil {
				t.Errorf("second Sign = %v, %v", issued, err)
			}
			if signer.N != 1 {
				t.Errorf("%d signatures were asked for, want 1", signer.N)
			}
		})
	}
}

// What is linted has the bytes that will be signed and is no certificate of the
// issuer; what the linter refuses is not signed.
func TestLint(t *testing.T) {
	config := issuerConfig(t, "P-256")
	var linted []byte
	var refusal error
	config.Linter = linterFunc(func(cert []byte, profile ca.ProfileName) error {
		if profile != "officer" {
			t.Errorf("linted as %s", profile)
		}
		linted = cert
		return refusal
	})
	i := newIssuer(t, config)
	for _, sealer := range []ca.Log{nil, newLog(t)} {
		sealed := seal(t, i, officer(t), sealer)
		parts, err := der.Parse(linted)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(parts.TBS, sealed.Intent().TBS) {
			t.Error("linted bytes are not those to be recorded")
		}
		cert, err := ctx509.ParseCertificate(linted)
		if err != nil {
			t.Fatal(err)
		}
		parent, err := ctx509.ParseCertificate(config.Certificate.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if cert.CheckSignatureFrom(parent) == nil {
			t.Error("the linted certificate verifies under the issuer")
		}
	}
	refusal = &ca.LintError{Findings: []string{"e_x: y"}}
	draft, err := i.Prepare(officer(t))
	if err != nil {
		t.Fatal(err)
	}
	s, err := draft.Seal(t.Context(), nil)
	if e, ok := errors.AsType[*ca.LintError](err); s != nil || !ok || !strings.Contains(e.Error(), "e_x") {
		t.Errorf("Seal = %v, %v", s, err)
	}
}

// ctLog is a transparency log that promises and keeps nothing.
type ctLog struct {
	t    testing.TB
	key  crypto.Signer
	saw  ca.PreCert
	sct  ctgo.SignedCertificateTimestamp
	fail error
	list func([]byte) []byte // spoils the list

	checks   error // what Check answers
	other    bool  // Check finds another leaf
	awaits   error // what Await answers
	awaiting func()
}

func newLog(t testing.TB) *ctLog { return &ctLog{t: t, key: newKey(t, "P-256")} }

func (l *ctLog) Promise(_ context.Context, p ca.PreCert) (ca.Promise, error) {
	if l.fail != nil {
		return ca.Promise{}, l.fail
	}
	list, err := l.promise(p)
	return ca.Promise{SCTList: list, Leaf: leafOf(p)}, err
}

// leafOf names the leaf of p well enough for the seam.
func leafOf(p ca.PreCert) ca.LogLeaf { return ca.LogLeaf{Hash: sha256.Sum256(p.TBS), Time: issueTime} }

func (l *ctLog) Check(list []byte, p ca.PreCert) (ca.LogLeaf, error) {
	leaf := leafOf(p)
	if len(list) == 0 || l.other {
		leaf.Hash[0] ^= 1
	}
	return leaf, l.checks
}

func (l *ctLog) Await(context.Context, ca.LogLeaf) error {
	if l.awaiting != nil {
		l.awaiting()
	}
	return l.awaits
}

func (l *ctLog) promise(p ca.PreCert) ([]byte, error) {
	l.saw = p
	id, err := ctgo.PublicKeyFromB64(l.publicKey())
	if err != nil {
		return nil, err
	}
	raw, err := ctx509.MarshalPKIXPublicKey(id)
	if err != nil {
		return nil, err
	}
	l.sct = ctgo.SignedCertificateTimestamp{SCTVersion: ctgo.V1, LogID: ctgo.LogID{KeyID: sha256.Sum256(raw)},
		Timestamp: uint64(issueTime.UnixMilli())}
	input, err := ctgo.SerializeSCTSignatureInput(l.sct, ctgo.LogEntry{Leaf: ctgo.MerkleTreeLeaf{
		Version: ctgo.V1, LeafType: ctgo.TimestampedEntryLeafType, TimestampedEntry: &ctgo.TimestampedEntry{
			Timestamp: l.sct.Timestamp, EntryType: ctgo.PrecertLogEntryType,
			PrecertEntry: &ctgo.PreCert{IssuerKeyHash: p.IssuerKeyHash, TBSCertificate: p.TBS}}}})
	if err != nil {
		return nil, err
	}
	signature, err := tls.CreateSignature(privateOf(l.key), tls.SHA256, input)
	if err != nil {
		return nil, err
	}
	l.sct.Signature = ctgo.DigitallySigned(signature)
	list, err := x509util.MarshalSCTsIntoSCTList([]*ctgo.SignedCertificateTimestamp{&l.sct})
	if err != nil {
		return nil, err
	}
	encoded, err := tls.Marshal(*list)
	if l.list != nil {
		encoded = l.list(encoded)
	}
	return encoded, err
}

// The seam for a log: its promise is over what the certificate is without it,
// and an independent verifier finds it in the finished certificate.
func TestEmbeddedSCT(t *testing.T) {
	for _, kind := range []string{"P-256", "P-384", "RSA-2048"} {
		t.Run(kind, func(t *testing.T) {
			config := issuerConfig(t, kind)
			i, log := newIssuer(t, config), newLog(t)
			sealed := seal(t, i, request(t, "authentication", asa()), log)
			issued, err := i.Sign(record(t, sealed))
			if err != nil {
				t.Fatal(err)
			}
			parts, err := der.Parse(issued.DER)
			if err != nil {
				t.Fatal(err)
			}
			last := parts.Extensions[len(parts.Extensions)-1]
			if last.ID.String() != "1.3.6.1.4.1.11129.2.4.2" || last.Critical {
				t.Errorf("last extension is %v", last.ID)
			}
			if !slices.Equal(parts.TBS, sealed.Intent().TBS) {
				t.Error("signed bytes are not the recorded ones")
			}
			without, err := der.RemoveExtension(parts.TBS, last.ID)
			if err != nil || !slices.Equal(without, log.saw.TBS) {
				t.Errorf("without the list it is not what the log saw (%v)", err)
			}
			cert, err := ctx509.ParseCertificate(issued.DER)
			if err != nil {
				t.Fatal(err)
			}
			parent, err := ctx509.ParseCertificate(config.Certificate.Raw)
			if err != nil {
				t.Fatal(err)
			}
			scts, err := x509util.ParseSCTsFromSCTList(&cert.SCTList)
			if err != nil || len(scts) != 1 {
				t.Fatalf("%d SCTs: %v", len(scts), err)
			}
			public, err := ctgo.PublicKeyFromB64(log.publicKey())
			if err != nil {
				t.Fatal(err)
			}
			if err := ctutil.VerifySCT(public, []*ctx509.Certificate{cert, parent}, scts[0], true); err != nil {
				t.Error(err)
			}
		})
	}
}

// The key is not touched before the log has what will be signed, and never if the log's
// promise is not that of the recorded leaf.
func TestNothingIsSignedBeforeTheLogHasIt(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*ctLog)
		ok    bool
	}{
		{"logged", func(*ctLog) {}, true},
		{"not logged", func(l *ctLog) { l.awaits = errors.New("no head covers it") }, false},
		{"promise does not verify", func(l *ctLog) { l.checks = errors.New("signature") }, false},
		{"promise of another leaf", func(l *ctLog) { l.other = true }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := issuerConfig(t, "P-256")
			signer := &catest.CountingSigner{Signer: config.Signer}
			config.Signer = signer
			i, log := newIssuer(t, config), newLog(t)
			c.spoil(log)
			awaited := false
			log.awaiting = func() {
				if awaited = true; signer.N != 0 {
					t.Error("the key was used before the log had the leaf")
				}
			}
			sealed := seal(t, i, officer(t), log)
			if sealed.Intent().Leaf.IsZero() {
				t.Error("the intent names no leaf")
			}
			rec, err := sealed.Record(t.Context(), saved)
			if err != nil {
				t.Fatal(err)
			}
			logged, err := rec.Await(t.Context())
			if (err == nil) != c.ok || (logged != nil) != c.ok {
				t.Fatalf("Await = %v, %v", logged, err)
			}
			if again, err := rec.Await(t.Context()); again != nil || err == nil {
				t.Error("awaited twice")
			}
			if !c.ok {
				if signer.N != 0 {
					t.Error("the key was used")
				}
				return
			}
			if _, err := i.Sign(logged); err != nil || !awaited {
				t.Errorf("signing: %v, awaited %v", err, awaited)
			}
		})
	}
}

func TestLogFails(t *testing.T) {
	i := newIssuer(t, issuerConfig(t, "P-256"))
	for _, c := range []struct {
		name string
		log  func(*ctLog)
	}{
		{"log is away", func(l *ctLog) { l.fail = errors.New("no route") }},
		{"no list", func(l *ctLog) { l.list = func([]byte) []byte { return nil } }},
		{"empty list", func(l *ctLog) { l.list = func([]byte) []byte { return []byte{0, 0} } }},
		{"empty SCT", func(l *ctLog) { l.list = func([]byte) []byte { return []byte{0, 2, 0, 0} } }},
		{"cut list", func(l *ctLog) { l.list = func(b []byte) []byte { return b[:len(b)-1] } }},
		{"bare SCT", func(l *ctLog) { l.list = func(b []byte) []byte { return b[4:] } }},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := newLog(t)
			c.log(log)
			draft, err := i.Prepare(officer(t))
			if err != nil {
				t.Fatal(err)
			}
			if s, err := draft.Seal(t.Context(), log); s != nil || err == nil {
				t.Errorf("Seal = %v, %v", s, err)
			}
			// A log that answered once may have published the first promise.
			if s, err := draft.Seal(t.Context(), nil); s != nil || err == nil {
				t.Errorf("second Seal = %v, %v", s, err)
			}
		})
	}
}

func BenchmarkIssue(b *testing.B) {
	for _, kind := range []string{"P-256", "P-384"} {
		b.Run(kind, func(b *testing.B) {
			i := newIssuer(b, issuerConfig(b, kind))
			r := request(b, "authentication", asa())
			r.NotAfter = r.NotBefore.Add(time.Hour)
			for b.Loop() {
				if _, err := i.Sign(record(b, seal(b, i, r, nil))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func (l *ctLog) publicKey() string {
	raw, err := x509.MarshalPKIXPublicKey(l.key.Public())
	if err != nil {
		l.t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// privateOf is what tls.CreateSignature switches on.
func privateOf(key crypto.Signer) crypto.PrivateKey { return *key.(*ecdsa.PrivateKey) }
