package logged_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/ctutil"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"

	"sigill/internal/checkpoint"
	"sigill/internal/revtest"
	"sigill/revocation/logged"
)

// renamed is a witness of the same key, which begins behind the hash, under another name.
func renamed(t testing.TB, hashAndKey string) checkpoint.Witness {
	t.Helper()
	_, text, _ := strings.Cut(hashAndKey, "+")
	key, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(append([]byte("other.example\n"), key...))
	w, err := checkpoint.NewWitness(fmt.Sprintf("other.example+%x+%s", sum[:4], text))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// The client library of Certificate Transparency comes to the same signature and the
// same leaf, by a parser of its own. It leaves an SCT's extensions out of the leaf.
func TestAsCTLibrary(t *testing.T) {
	s := newScene(t)
	q := s.promised()
	got := s.judge().Judge(t.Context(), q)
	s.want(got, logged.Promised, "")
	cert, err := ctx509.ParseCertificate(q.Certificate.Raw)
	if ctx509.IsFatal(err) {
		t.Fatal(err)
	}
	issuer, err := ctx509.ParseCertificate(q.Issuer.Raw)
	if ctx509.IsFatal(err) {
		t.Fatal(err)
	}
	chain := []*ctx509.Certificate{cert, issuer}
	if len(cert.SCTList.SCTList) != 1 {
		t.Fatalf("the library sees %d SCTs", len(cert.SCTList.SCTList))
	}
	var sct ct.SignedCertificateTimestamp
	if _, err := tls.Unmarshal(cert.SCTList.SCTList[0].Val, &sct); err != nil {
		t.Fatal(err)
	}
	if err := ctutil.VerifySCT(s.log.Key.Public(), chain, &sct, true); err != nil {
		t.Errorf("the library does not believe it: %v", err)
	}
	leaf, err := ctutil.LeafHash(chain, &sct, true)
	if err != nil {
		t.Fatal(err)
	}
	if got := got.Promises[0].Leaf; got != hex.EncodeToString(leaf[:]) {
		t.Errorf("leaf %s, the library's %x", got, leaf)
	}
	// What one refuses the other refuses.
	for i := range sct.Signature.Signature {
		bad := sct
		bad.Signature.Signature = bytes.Clone(sct.Signature.Signature)
		bad.Signature.Signature[i] ^= 1
		if ctutil.VerifySCTWithVerifier(s.log.Signatures(), chain, &bad, false) == nil {
			t.Errorf("the library believes octet %d changed", i)
		}
		if got := s.judge().Judge(t.Context(), s.with(revtest.SCTList(t, revtest.Octets(t, bad)))); got.State != logged.Refused {
			t.Errorf("octet %d changed: %q", i, got.State)
		}
	}
}

// A proof is nothing after any change of an octet.
func TestProofEveryOctet(t *testing.T) {
	s := newScene(t)
	j, q := s.judge(), s.promised()
	good := s.log.Proof(s.fill(), s.log.Head(s.now, s.w[0], s.w[1]))
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		q.Proofs = [][]byte{bad}
		// A name that is changed is that of another witness.
		if got := j.Judge(t.Context(), q); got.State == logged.Logged {
			t.Fatalf("octet %d changed: %s", i, got.Promises[0])
		}
	}
	q.Proofs = [][]byte{good}
	s.want(j.Judge(t.Context(), q), logged.Logged, "")
}

// Whatever stands in a list, nothing is promised but what the log signed.
func FuzzList(f *testing.F) {
	s := newScene(f)
	j, honest := s.judge(), s.sct(nil)
	version2 := append([]byte{1}, honest[1:]...)
	for _, list := range [][]byte{nil, {0, 0}, {0, 1, 0}, {0, 3, 0, 1, 0}, revtest.SCTList(f, honest), revtest.SCTList(f, honest, honest), revtest.SCTList(f, version2, honest[:40], honest),
		append(revtest.SCTList(f, honest), 0), revtest.SCTList(f, honest)[:60]} {
		f.Add(list)
	}
	template := s.promised()
	f.Fuzz(func(t *testing.T, list []byte) {
		if len(list) > 1<<16 {
			return
		}
		q := template
		q.Certificate = revtest.Embed(t, s.cert, s.issuer.Key, list)
		got := j.Judge(t.Context(), q)
		switch got.State {
		case logged.Unchecked, logged.Refused:
		case logged.Promised:
			if !bytes.Contains(list, honest) {
				t.Errorf("promised: %x", list)
			}
		default:
			t.Errorf("%q: %x", got.State, list)
		}
		for _, p := range got.Promises {
			if p.String() == "" || strings.ContainsAny(p.String(), "\n") {
				t.Errorf("%q", p)
			}
		}
	})
}

// Whatever stands in a proof, the certificate is logged where it is or not at all.
func FuzzProof(f *testing.F) {
	s := newScene(f)
	q, index := s.promised(), s.fill()
	f.Add(s.log.Proof(index, s.log.Head(s.now, s.w[0], s.w[1])))
	f.Add(s.log.Proof(index, s.log.Head(s.now, s.w[0])))
	f.Add(s.log.Proof(3, s.log.Head(s.now, s.w[2], s.w[1], s.w[0])))
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		q := q
		q.Proofs = [][]byte{text}
		j, err := logged.New(s.config) // which has kept nothing
		if err != nil {
			t.Fatal(err)
		}
		got := j.Judge(t.Context(), q)
		if got.State != logged.Logged && got.State != logged.Included {
			return
		}
		if in := got.Promises[0].Inclusion; in.Index != index || in.Size != 7 {
			t.Errorf("%+v", in)
		}
	})
}

// What a log-in pays for the demand: the signature of an SCT, then a proof that comes
// along for the first time, or one that was seen before.
func BenchmarkJudge(b *testing.B) {
	s := newScene(b)
	q := s.promised()
	proof := s.log.Proof(s.fill(), s.log.Head(s.now, s.w[0], s.w[1]))
	run := func(name string, state logged.State, judge func() *logged.Judge, proofs ...[]byte) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				q.Proofs = proofs
				if got := judge().Judge(b.Context(), q); got.State != state {
					b.Fatal(got)
				}
			}
		})
	}
	kept := s.judge()
	run("sct", logged.Promised, s.judge)
	run("presented", logged.Logged, s.judge, proof)
	run("kept", logged.Logged, func() *logged.Judge { return kept }, proof)
}
