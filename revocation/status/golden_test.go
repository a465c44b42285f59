package status_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/cryptotest"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation/status"
)

var update = flag.Bool("update", false, "write testdata/golden/ocsp-transcript.txt anew")

// Requests and their answers, byte for byte, as they were when this file was made: a
// version that answers a certificate of before otherwise is a break for relying
// parties that have long-lived ones.
func TestGoldenTranscript(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 6960)
	c := newCounter(t, 1<<20)
	good, revoked, unspecified := c.good(), c.good(), c.good()
	c.commit(revoked)
	e := c.commit(unspecified)[0]
	e.Reason = ca.Unspecified
	c.set(func() { c.states[unspecified] = &e })
	sha1 := request(t, c.person, good, crypto.SHA1)
	transcript := []struct {
		what    string
		request []byte
	}{
		{"good, SHA-1", sha1},
		{"good, SHA-256", request(t, c.person, good, crypto.SHA256)},
		{"good, under another issuer's name", request(t, c.other, good, crypto.SHA1)},
		{"revoked for keyCompromise", request(t, c.person, revoked, crypto.SHA1)},
		{"revoked, unspecified", request(t, c.person, unspecified, crypto.SHA1)},
		{"never issued", request(t, c.person, ca.NewSerial(), crypto.SHA1)},
		{"serial of no certificate of ours", request(t, c.person, ca.Serial{15: 9}, crypto.SHA1)},
		{"nonce of 16", many(t, bytes.Repeat([]byte{0x5a}, 16), sha1)},
		{"nonce of 128", many(t, bytes.Repeat([]byte{0x5a}, 128), sha1)},
		{"nonce of 129", many(t, bytes.Repeat([]byte{0x5a}, 129), sha1)},
		{"three in one", many(t, nil, sha1, request(t, c.person, revoked, crypto.SHA256), request(t, c.other, good, crypto.SHA1))},
		{"SHA-512 CertID", request(t, c.person, good, crypto.SHA512)},
		{"not a request", []byte("GET / HTTP/1.1")},
		{"nothing", nil},
	}
	var text strings.Builder
	for _, each := range transcript {
		answer, err := c.Reply(context.Background(), status.Question{DER: each.request})
		if err != nil {
			t.Fatalf("%s: %v", each.what, err)
		}
		fmt.Fprintf(&text, "%s\n  request %s\n  answer  %s\n", each.what, hex.EncodeToString(each.request), hex.EncodeToString(answer.DER))
	}
	path := filepath.Join("..", "..", "testdata", "golden", "ocsp-transcript.txt")
	if *update {
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := string(revtest.Read(t, path))
	if got := text.String(); got != want {
		gotLines, wantLines := strings.Split(got, "\n"), strings.Split(want, "\n")
		for i := range min(len(gotLines), len(wantLines)) {
			if gotLines[i] != wantLines[i] {
				t.Errorf("line %d is\n%s\nwant\n%s", i+1, gotLines[i], wantLines[i])
			}
		}
		if len(gotLines) != len(wantLines) {
			t.Errorf("%d lines, want %d", len(gotLines), len(wantLines))
		}
	}
}
