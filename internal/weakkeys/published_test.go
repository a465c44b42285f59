package weakkeys_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"sigill/ca"
	"sigill/internal/weakkeys"
)

var update = flag.Bool("update", false, "write published.txt anew, from testdata/badkeys/published and from the sources of Go and of the modules this one needs")

const publishedDir = "../../testdata/badkeys/published"

// listed are the modules whose test keys are taken in.
var listed = []string{"golang.org/x/crypto", "github.com/google/certificate-transparency-go", "github.com/smallstep/certificates",
	"go.step.sm/crypto", "github.com/zmap/zcrypto", "github.com/zmap/zlint/v3", "github.com/jackc/pgx/v5", "github.com/prometheus/common"}

// TestPublishedFiles: every key under testdata/badkeys/published that stands there
// as published is known, with its source.
func TestPublishedFiles(t *testing.T) {
	if *update {
		write(t)
		t.Log("published.txt was written; run the test again to use it")
		return
	}
	files, err := filepath.Glob(filepath.Join(publishedDir, "*.pem"))
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source, _, _ := strings.Cut(string(text), "\n")
		for _, key := range publicKeys(text) {
			got, found := weakkeys.Published(key)
			if published := !weakOnly(name); found != published || published && got != source {
				t.Errorf("%s: %q, %v", filepath.Base(name), got, found)
			}
		}
	}
}

// weakOnly reports whether a file is the example of a weakness: its private part
// was not published.
func weakOnly(name string) bool {
	base := filepath.Base(name)
	return strings.HasPrefix(base, "debian-") || strings.HasPrefix(base, "roca-")
}

func publicKeys(text []byte) []crypto.PublicKey { return keysIn(text, "KEY") }

// keysIn returns the public keys that could be certified of all PEM blocks of some
// kinds in a text.
func keysIn(text []byte, kinds string) []crypto.PublicKey {
	// Go writes the keys of its own tests so that nobody's scanner takes them for
	// secrets that leaked.
	text = bytes.ReplaceAll(text, []byte("TESTING KEY"), []byte("PRIVATE KEY"))
	var out []crypto.PublicKey
	for _, part := range bytes.SplitAfter(text, []byte("-----END ")) {
		i := bytes.LastIndex(part, []byte("-----BEGIN "))
		if i < 0 {
			continue
		}
		kind, _, _ := bytes.Cut(part[i+len("-----BEGIN "):], []byte("-----"))
		whole := append(slices.Clone(part[i:]), append(slices.Clone(kind), "-----\n"...)...)
		if block, _ := pem.Decode(bytes.ReplaceAll(whole, []byte("\t"), nil)); block != nil && strings.HasSuffix(block.Type, kinds) {
			if key := certifiable(block); key != nil {
				out = append(out, key)
			}
		}
	}
	return out
}

func certifiable(block *pem.Block) crypto.PublicKey {
	key := parsed(block)
	if signer, ok := key.(crypto.Signer); ok {
		key = signer.Public()
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() >= 2048 && key.N.BitLen() <= 4096 {
			return key
		}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() || key.Curve == elliptic.P384() {
			return key
		}
	}
	return nil
}

// parsed tries every form: some test suites label theirs wrong.
func parsed(block *pem.Block) any {
	for _, parse := range []func([]byte) (any, error){
		x509.ParsePKIXPublicKey, x509.ParsePKCS8PrivateKey,
		func(b []byte) (any, error) { return x509.ParsePKCS1PublicKey(b) },
		func(b []byte) (any, error) { return x509.ParsePKCS1PrivateKey(b) },
		func(b []byte) (any, error) { return x509.ParseECPrivateKey(b) },
		func([]byte) (any, error) { return ssh.ParseRawPrivateKey(pem.EncodeToMemory(block)) },
	} {
		if key, err := parse(block.Bytes); err == nil {
			return key
		}
	}
	return nil
}

// harvest is what is found, fingerprint by source.
type harvest struct {
	t     *testing.T
	found map[string]string
}

func (h *harvest) fingerprint(key crypto.PublicKey) string {
	h.t.Helper()
	fp, err := ca.FingerprintKey(key)
	if err != nil {
		h.t.Fatal(err)
	}
	return fmt.Sprintf("%x", fp)
}

// tree takes in the private keys in the files below root. A public key that stands
// in a source text is one that somebody uses.
func (h *harvest) tree(root, name string) {
	h.t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || len(text) > 4<<20 || !bytes.Contains(text, []byte("KEY-----")) {
			return err
		}
		rel, err := filepath.Rel(root, path)
		source := name + " " + filepath.ToSlash(rel)
		for _, key := range keysIn(text, "PRIVATE KEY") {
			sum := h.fingerprint(key)
			if old, ok := h.found[sum]; !ok || source < old {
				h.found[sum] = source
			}
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// files takes in the keys and hashes of publishedDir.
func (h *harvest) files() {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(publishedDir, "*.pem"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			h.t.Fatal(err)
		}
		source, _, _ := strings.Cut(string(text), "\n")
		if weakOnly(name) {
			continue
		}
		for _, key := range publicKeys(text) {
			h.found[h.fingerprint(key)] = source // a standard is the better source
		}
	}
	spki, err := os.ReadFile(filepath.Join(publishedDir, "spki.txt"))
	if err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(string(spki)) {
		if sum, source, ok := strings.Cut(strings.TrimSpace(line), " "); ok && sum != "#" {
			h.found[sum] = source
		}
	}
}

func write(t *testing.T) {
	t.Helper()
	h := &harvest{t, map[string]string{}}
	h.tree(filepath.Join(output(t, "env", "GOROOT"), "src"), "Go's standard library,")
	for _, module := range listed {
		h.tree(output(t, "list", "-m", "-f", "{{.Dir}}", module), module+",")
	}
	h.files()
	var lines []string
	for sum, source := range h.found {
		lines = append(lines, sum+" "+source+"\n")
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[65:]+a, b[65:]+b) })
	head := "# Keys whose private part is published: fingerprint (ca.FingerprintKey) or SHA-256 of the\n" +
		"# SubjectPublicKeyInfo, and where. Made by `go test ./internal/weakkeys -run TestPublishedFiles -update`.\n"
	if err := os.WriteFile("published.txt", []byte(head+strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}

func output(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
