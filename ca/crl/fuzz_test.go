package crl_test

import (
	"bytes"
	"crypto/x509"
	"math/big"
	"testing"
	"testing/iotest"
	"time"

	"sigill/ca"
	"sigill/ca/crl"
)

// FuzzCRLReader holds the reader against the standard library's, over lists of
// which the fuzzer writes the part that is signed, so that it gets past the
// signature: what we read, the standard library reads alike; what is one of ours,
// we read.
func FuzzCRLReader(f *testing.F) {
	key, issuer := ed25519Issuer(f)
	signer, err := crl.NewSigner(issuer, key)
	if err != nil {
		f.Fatal(err)
	}
	add := func(der []byte) {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.ReplaceAll(list.RawTBSRevocationList, issuer.RawSubject, nil), true)
		f.Add(der, false)
	}
	for _, n := range []int{0, 1, 6} {
		list := statusList(n)
		list.NextPublish = list.NextUpdate
		list.NextUpdate = list.NextUpdate.AddDate(30, 0, 0)
		add(streamed(f, signer, list))
		list.DistributionPoint, list.NextPublish = "", time.Time{}
		add(streamed(f, signer, list))
	}
	add(sealEd25519(key, foreignRaw(issuer).tbs(), unhex(derEd25519)))
	f.Fuzz(func(t *testing.T, data []byte, signed bool) {
		if signed {
			// The fuzzer can't know the key's issuer, whose name is put in for it.
			// It stands after version and algorithm.
			if at := bytes.Index(data, unhex(derEd25519)); at >= 0 {
				data = spliceName(data, at+7, issuer.RawSubject)
			}
			data = sealEd25519(key, data, unhex(derEd25519))
		}
		compareReaders(t, data, issuer, signer)
	})
}

// foreignRaw is a list with all that ours have not.
func foreignRaw(issuer *x509.Certificate) rawCRL {
	raw := goodRaw(issuer)
	// An old serial revoked in 2050: certificateIssuer, critical, and a hold.
	raw.entries += "3033 020101 180f 32303530303132383031303230335a" + "301d 300c 0603551d1d 0101ff 0402 3000 300d 0603551d15 0101ff 0403 0a0106"
	// A delta to number 7; the issuer's certificate named in full.
	raw.extensions += "300d 0603551d1b 0101ff 0403 020107" + "3011 0603551d23 040a 3008 800141 a100 820142"
	return raw
}

// spliceName replaces the empty place of the issuer's name; the length of the
// list follows.
func spliceName(tbs []byte, at int, name []byte) []byte {
	header := 0
	for _, size := range []int{2, 3, 4} { // of one that the fuzzer left in order
		if len(tbs) > size && (size == 2) == (tbs[1] < 0x80) && (size == 2 || int(tbs[1]) == 0x7e+size) {
			header = size
			break
		}
	}
	if header == 0 || at < header || at > len(tbs) {
		return tbs
	}
	content := append(append(bytes.Clone(tbs[header:at]), name...), tbs[at:]...)
	return wrap(0x30, content)
}

func compareReaders(t *testing.T, der []byte, issuer *x509.Certificate, signer *crl.Signer) {
	list, stdErr := x509.ParseRevocationList(der)
	if stdErr == nil {
		stdErr = list.CheckSignatureFrom(issuer)
	}
	head, entries, err := readCRL(der, issuer)
	r, again := crl.NewReader(iotest.HalfReader(bytes.NewReader(der)), issuer)
	if again == nil {
		_, again = r.Finish()
	}
	if (err == nil) != (again == nil) {
		t.Fatalf("from memory: %v; as it comes: %v", err, again)
	}
	if err == nil && stdErr != nil {
		t.Fatalf("read, but the standard library says %v", stdErr)
	}
	if err != nil {
		if stdErr == nil && isOurs(list, der, signer) {
			t.Fatalf("one of ours is refused: %v", err)
		}
		compareUnsigned(t, der, issuer)
		return
	}
	if (head.Number == nil) != (list.Number == nil) || head.Number != nil && head.Number.Cmp(list.Number) != 0 ||
		!head.ThisUpdate.Equal(list.ThisUpdate) || !head.NextUpdate.Equal(list.NextUpdate) ||
		!bytes.Equal(head.AuthorityKeyID, list.AuthorityKeyId) || head.Entries != len(list.RevokedCertificateEntries) || head.Size != int64(len(list.Raw)) {
		t.Fatalf("head %+v, the standard library's %+v", head, list)
	}
	critical := 0
	for i, e := range list.RevokedCertificateEntries {
		unknown := false
		for _, x := range e.Extensions {
			unknown = unknown || x.Critical && x.Id.String() != "2.5.29.21" && x.Id.String() != "2.5.29.24"
		}
		if unknown {
			critical++
		}
		if got := entries[i]; got.Serial.Cmp(e.SerialNumber) != 0 || !got.At.Equal(e.RevocationTime) || int(got.Reason) != e.ReasonCode || got.Critical != unknown {
			t.Fatalf("entry %d is %+v, the standard library's %+v", i, got, e)
		}
	}
	if critical != head.CriticalEntries {
		t.Fatalf("%d entries are critical, not %d", critical, head.CriticalEntries)
	}
	url, err := crl.IssuingDistributionPoint(list)
	if err == nil && url != head.DistributionPoint {
		t.Fatalf("distribution point %q, not %q", head.DistributionPoint, url)
	}
}

// compareUnsigned: what is read without looking at the signature, the standard
// library parses too. It looks into the issuer's name, which we only compare.
func compareUnsigned(t *testing.T, der []byte, issuer *x509.Certificate) {
	head, _, err := readCRL(der, nil)
	if err != nil || !bytes.Equal(head.RawIssuer, issuer.RawSubject) {
		return
	}
	if _, err := x509.ParseRevocationList(der); err != nil {
		t.Fatalf("read, but the standard library says %v", err)
	}
}

// isOurs reports whether our signer would write der: Ed25519 signs alike each time.
func isOurs(list *x509.RevocationList, der []byte, signer *crl.Signer) bool {
	if list.Number == nil || !list.Number.IsInt64() {
		return false
	}
	again := crl.List{Number: list.Number.Int64(), ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate}
	again.DistributionPoint, _ = crl.IssuingDistributionPoint(list)
	for _, x := range list.Extensions {
		if x.Id.Equal(oidNextPublish) {
			text := string(x.Value[min(2, len(x.Value)):])
			layout := "20060102150405Z"[15-min(15, len(text)):]
			again.NextPublish, _ = time.Parse(layout, text)
		}
	}
	for _, e := range list.RevokedCertificateEntries {
		serial, ok := ca.SerialOf(e.SerialNumber)
		if !ok {
			return false
		}
		again.Entries = append(again.Entries, crl.Revoked{Serial: serial, At: e.RevocationTime, Reason: ca.Reason(e.ReasonCode)})
	}
	ours, err := signer.SignCRL(again)
	return err == nil && bytes.Equal(ours, der)
}

// The seeds do what the fuzz target needs: lists of both kinds pass.
func TestFuzzSeedsAreRead(t *testing.T) {
	key, issuer := ed25519Issuer(t)
	der := sealEd25519(key, foreignRaw(issuer).tbs(), unhex(derEd25519))
	head, entries, err := readCRL(der, issuer)
	if err != nil {
		t.Fatal(err)
	}
	if head.CriticalEntries != 1 || head.DeltaBase.Cmp(big.NewInt(7)) != 0 || string(head.AuthorityKeyID) != "A" || len(entries) != 2 || entries[1].Reason != 6 || head.Sorted {
		t.Errorf("head %+v, entries %+v", head, entries)
	}
	tbs := goodRaw(issuer).tbs()
	bare := bytes.ReplaceAll(tbs, issuer.RawSubject, nil)
	if again := spliceName(bare, bytes.Index(bare, unhex(derEd25519))+7, issuer.RawSubject); !bytes.Equal(again, tbs) {
		t.Errorf("put together\n%x, want\n%x", again, tbs)
	}
}
