package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"pgregory.net/rapid"

	"sigill/ca/signing"
)

// referenceData encodes ResponseData by a builder that knows lengths afterwards:
// another way to the same bytes.
func referenceData(r *Responder, a OCSPAnswer) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(tagContext2Structured, func(b *cryptobyte.Builder) { b.AddASN1OctetString(r.keyID[:]) })
		b.AddASN1GeneralizedTime(a.ProducedAt.UTC())
		b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for i := range a.Singles {
				referenceSingle(b, &a.Singles[i], a.ThisUpdate.UTC(), a.NextUpdate.UTC())
			}
		})
		if a.Nonce == nil {
			return
		}
		b.AddASN1(tagContext1Structured, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addExtension(b, oidOCSPNonce, false, func(b *cryptobyte.Builder) { b.AddBytes(a.Nonce) })
			})
		})
	})
	return b.Bytes()
}

func referenceSingle(b *cryptobyte.Builder, s *OCSPSingle, thisUpdate, nextUpdate time.Time) {
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(s.ID.Raw)
		switch s.Status {
		case OCSPGood:
			b.AddASN1(tagContext0, func(*cryptobyte.Builder) {})
		case OCSPRevoked:
			b.AddASN1(tagContext1Structured, func(b *cryptobyte.Builder) {
				b.AddASN1GeneralizedTime(s.At.UTC())
				if s.Reason != Unspecified {
					b.AddASN1(tagContext0Structured, func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(s.Reason)) })
				}
			})
		default:
			b.AddASN1(cryptobyteasn1.Tag(2).ContextSpecific(), func(*cryptobyte.Builder) {})
		}
		b.AddASN1GeneralizedTime(thisUpdate)
		b.AddASN1(tagContext0Structured, func(b *cryptobyte.Builder) { b.AddASN1GeneralizedTime(nextUpdate) })
		if s.ArchiveCutoff.IsZero() {
			return
		}
		b.AddASN1(tagContext1Structured, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addExtension(b, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 6}, false, func(b *cryptobyte.Builder) {
					b.AddASN1GeneralizedTime(s.ArchiveCutoff.UTC())
				})
			})
		})
	})
}

// referenceWrap encodes OCSPResponse likewise.
func referenceWrap(r *Responder, tbs, signature []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(0)
		b.AddASN1(tagContext0Structured, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1})
				b.AddASN1(cryptobyteasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
					b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddBytes(tbs)
						b.AddBytes(r.algorithm)
						b.AddASN1BitString(signature)
						b.AddASN1(tagContext0Structured, func(b *cryptobyte.Builder) {
							b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(r.cert.Raw) })
						})
					})
				})
			})
		})
	})
	return b.Bytes()
}

// Whatever an answer says, however many certificates, however long its parts: the
// bytes are those of the other encoder.
func TestOCSPEncoding(t *testing.T) {
	when := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
	})
	octets := func(t *rapid.T, name string, most int) []byte {
		return rapid.SliceOfN(rapid.Byte(), 0, most).Draw(t, name)
	}
	rapid.Check(t, func(t *rapid.T) {
		r := &Responder{cert: &x509.Certificate{Raw: octets(t, "certificate", 700)}, algorithm: octets(t, "algorithm", 20)}
		copy(r.keyID[:], octets(t, "key", 20))
		r.ending = certificateEnding(r.cert.Raw)
		a := OCSPAnswer{ProducedAt: when.Draw(t, "produced"), ThisUpdate: when.Draw(t, "this"), NextUpdate: when.Draw(t, "next")}
		if rapid.Bool().Draw(t, "with nonce") {
			a.Nonce = append([]byte{}, octets(t, "nonce", 300)...)
		}
		for range rapid.IntRange(1, 16).Draw(t, "certificates") {
			s := OCSPSingle{ID: CertID{Raw: octets(t, "id", 200)}, Status: OCSPStatus(rapid.IntRange(0, 2).Draw(t, "status")),
				At: when.Draw(t, "at"), Reason: Reason(rapid.IntRange(0, 10).Draw(t, "reason"))}
			if rapid.Bool().Draw(t, "with cutoff") {
				s.ArchiveCutoff = when.Draw(t, "cutoff")
			}
			a.Singles = append(a.Singles, s)
		}
		want, err := referenceData(r, a)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.responseData(&a)
		if err != nil || !bytes.Equal(got, want) || cap(got) != len(got) {
			t.Fatalf("data of %d octets in %d, %v\n%x\nwant\n%x", len(got), cap(got), err, got, want)
		}
		signature := octets(t, "signature", 600)
		if want, err = referenceWrap(r, got, signature); err != nil {
			t.Fatal(err)
		}
		if whole := r.wrap(got, signature); !bytes.Equal(whole, want) || cap(whole) != len(whole) {
			t.Fatalf("answer\n%x\nwant\n%x", whole, want)
		}
	})
}

func TestOCSPTimesRefused(t *testing.T) {
	now := time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)
	far := time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, a := range map[string]OCSPAnswer{
		"next":    {ProducedAt: now, ThisUpdate: now, NextUpdate: far, Singles: []OCSPSingle{{}}},
		"revoked": {ProducedAt: now, ThisUpdate: now, NextUpdate: now, Singles: []OCSPSingle{{Status: OCSPRevoked, At: far}}},
		"cutoff":  {ProducedAt: now, ThisUpdate: now, NextUpdate: now, Singles: []OCSPSingle{{ArchiveCutoff: far}}},
	} {
		if _, err := (&Responder{}).responseData(&a); err == nil {
			t.Errorf("%s: a year of five digits was encoded", name)
		}
	}
}

// FuzzReadOCSPQuestion: what the short way reads, the long way reads the same.
func FuzzReadOCSPQuestion(f *testing.F) {
	id := func(algorithm string, size int) []byte {
		body := append([]byte(algorithm), beginElement(nil, derOctets, size)...)
		body = append(body, bytes.Repeat([]byte{1}, size)...)
		body = append(append(body, derOctets, byte(size)), bytes.Repeat([]byte{2}, size)...)
		serial := NewSerial()
		body = append(append(body, 2, 16), serial[:]...)
		for range 5 {
			body = append(beginElement(nil, derSequence, len(body)), body...)
		}
		return body
	}
	for _, der := range [][]byte{id(algorithmSHA1, 20), id(algorithmSHA1Absent, 20), id(algorithmSHA256, 32), id(algorithmSHA256Absent, 32)} {
		if _, ok := ReadOCSPQuestion(der); !ok {
			f.Fatalf("%x is not read", der)
		}
		f.Add(der)
		for i := range der { // each octet the next one
			changed := bytes.Clone(der)
			changed[i]++
			f.Add(changed)
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		q, ok := ReadOCSPQuestion(der)
		full, err := ParseOCSPRequest(der)
		if !ok {
			if err == nil && len(full.CertIDs) == 1 && full.Nonce == nil {
				// Read the long way it has the same key, or none.
				if q, ok := full.CertIDs[0].Question(); ok && !bytes.Equal(q.Raw, full.CertIDs[0].Raw) {
					t.Fatalf("%x", q.Raw)
				}
			}
			return
		}
		if err != nil || len(full.CertIDs) != 1 || full.Nonce != nil {
			t.Fatalf("%x is a question, and %+v, %v", der, full, err)
		}
		same, ok := full.CertIDs[0].Question()
		if !ok || !bytes.Equal(same.Issuer, q.Issuer) || same.Serial != q.Serial || !bytes.Equal(same.Raw, q.Raw) ||
			!bytes.Equal(q.Raw, full.CertIDs[0].Raw) || q.Serial.Int().Cmp(full.CertIDs[0].Serial) != 0 {
			t.Fatalf("%x is read as %+v and as %+v", der, q, same)
		}
	})
}

// Every octet counts: with any single one changed a request is not read, or is read
// as another question.
func TestReadOCSPQuestionStrict(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "TEST"}}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	forms, err := OCSPIssuerForms(cert)
	if err != nil || len(forms) != 4 {
		t.Fatalf("%d forms, %v", len(forms), err)
	}
	for i, form := range forms {
		serial := NewSerial()
		der := append(append([]byte(form), 2, 16), serial[:]...)
		for range 5 {
			der = append(beginElement(nil, derSequence, len(der)), der...)
		}
		if made := OCSPRequestFor(form, serial); !bytes.Equal(made, der) {
			t.Errorf("form %d is made as\n%x, want\n%x", i, made, der)
		}
		q, ok := ReadOCSPQuestion(der)
		if !ok || string(q.Issuer) != form || q.Serial != serial {
			t.Fatalf("form %d: %v, %+v", i, ok, q)
		}
		if n := testing.AllocsPerRun(10, func() { ReadOCSPQuestion(der) }); n != 0 {
			t.Errorf("form %d: %v allocations", i, n)
		}
		for at := range der {
			for bit := range 8 {
				der[at] ^= 1 << bit
				if q, ok := ReadOCSPQuestion(der); ok && string(q.Issuer) == form && q.Serial == serial {
					t.Errorf("form %d with bit %d of octet %d changed is the same question", i, bit, at)
				}
				der[at] ^= 1 << bit
			}
		}
		for cut := range der {
			if _, ok := ReadOCSPQuestion(der[:cut]); ok {
				t.Errorf("form %d is read from %d octets", i, cut)
			}
		}
		if _, ok := ReadOCSPQuestion(append(der, 0)); ok {
			t.Errorf("form %d with one octet more is read", i)
		}
	}
}

// addExtension encodes an Extension (RFC 5280, 4.1).
func addExtension(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, critical bool, value func(*cryptobyte.Builder)) {
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1(cryptobyteasn1.OCTET_STRING, value)
	})
}

func BenchmarkSignOCSP(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	cert := &x509.Certificate{Raw: make([]byte, 486), PublicKey: key.Public(), NotAfter: time.Now().Add(time.Hour)}
	k, err := signing.New(cert, key)
	if err != nil {
		b.Fatal(err)
	}
	r := &Responder{cert: cert, key: k, algorithm: k.Algorithm(), keyID: sha1.Sum(nil), ending: certificateEnding(cert.Raw)}
	now := time.Now()
	a := OCSPAnswer{ProducedAt: now, ThisUpdate: now, NextUpdate: now.Add(time.Minute),
		Singles: []OCSPSingle{{ID: CertID{Raw: make([]byte, 75)}, Status: OCSPGood, ArchiveCutoff: now}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := r.SignOCSP(a); err != nil {
			b.Fatal(err)
		}
	}
}
