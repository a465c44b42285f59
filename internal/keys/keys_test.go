package keys

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const secret = "korrekt häst batteri häftklammer"

func passphrase() Passphrase { return NewPassphrase([]byte(secret)) }

// A passphrase prints by no verb, in no logger and no encoder, and neither as a
// field of something else, exported or not.
func TestPassphraseNeverPrints(t *testing.T) {
	type holder struct {
		Public  Passphrase
		private Passphrase
		Pointer *Passphrase
	}
	p := passphrase()
	h := holder{Public: p, private: p, Pointer: &p}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p"} {
		fmt.Fprintf(&out, verb+"\n", p)
		fmt.Fprintf(&out, verb+"\n", &p)
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", &h)
		fmt.Fprintf(&out, verb+"\n", []any{p, h, map[string]Passphrase{"x": p}})
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("opened", "pass", p, "holder", h, "pointer", &p)
	}
	for _, v := range []any{p, h, &h} {
		if err := json.NewEncoder(&out).Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintln(&out, p.String(), p.GoString(), p.LogValue())
	leaks(t, out.String())
	if !strings.Contains(out.String(), redacted) {
		t.Error("nothing was printed at all")
	}
}

// leaks fails if text shows the secret in any of the forms that fmt has.
func leaks(t *testing.T, text string) {
	t.Helper()
	for _, form := range []string{secret, "korrekt", fmt.Sprintf("%x", "korrekt"), fmt.Sprintf("%X", "korrekt"),
		strings.Trim(fmt.Sprint([]byte("korrekt")), "[]"), fmt.Sprintf("%#v", []byte("korr"))[7:20]} {
		if strings.Contains(text, form) {
			t.Errorf("the passphrase shows as %q in %q", form, text)
		}
	}
}

func TestPassphraseSources(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := createFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("good", secret+"\n", 0o600)
	write("spaces", " "+secret+" ", 0o400)
	write("empty", "\n", 0o600)
	write("lines", "a\nb\n", 0o600)
	write("open", secret, 0o644)
	write("written", secret, 0o620)
	write("list", secret, 0o440) // how an access control list shows
	for _, tt := range []struct{ name, want, err string }{
		{"good", secret, ""},
		{"spaces", " " + secret + " ", ""},
		{"empty", "", "empty"},
		{"lines", "", "more than one line"},
		{"open", "", "chmod 600"},
		{"written", "", "chmod 600"},
		{"list", secret, ""},
		{"absent", "", "does not exist"},
		{"../good", "", "not a file name"},
		{"..", "", "not a file name"},
	} {
		lookup := func(string) (string, bool) { return dir, true }
		p, err := FromCredential(tt.name, lookup)
		if fmt.Sprint(err) == "<nil>" != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("credential %s: error %v, want %q", tt.name, err, tt.err)
		}
		if string(p.bytes()) != tt.want {
			t.Errorf("credential %s: another passphrase", tt.name)
		}
		leaks(t, fmt.Sprint(err))
	}
	if _, err := FromCredential("good", func(string) (string, bool) { return "", false }); err == nil {
		t.Error("a credential without a credentials directory was read")
	}
	if _, err := FromFile(filepath.Join(dir, "good"), Production); err == nil {
		t.Error("production reads a passphrase from a file")
	}
	if p, err := FromFile(filepath.Join(dir, "good"), Test); err != nil || !p.Equal(passphrase()) {
		t.Errorf("TEST does not read a passphrase from a file: %v", err)
	}
	if _, err := FromFile(filepath.Join(dir, "list"), Test); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a passphrase file that the group can read was read: %v", err)
	}
	if _, err := GenerateFile(filepath.Join(dir, "new"), Production); err == nil {
		t.Error("production writes a passphrase to a file")
	}
	p, err := GenerateFile(filepath.Join(dir, "new"), Test)
	if err != nil {
		t.Fatal(err)
	}
	if q, err := FromFile(filepath.Join(dir, "new"), Test); err != nil || !q.Equal(p) || len(p.bytes()) < 20 {
		t.Errorf("a generated passphrase is not read back: %v", err)
	}
	if _, err := GenerateFile(filepath.Join(dir, "new"), Test); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a passphrase file was overwritten: %v", err)
	}
	// Not a terminal.
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := FromPrompt(f, &bytes.Buffer{}, "Passphrase: "); err == nil {
		t.Error("a passphrase was asked for without a terminal")
	}
}

func TestSoftKeys(t *testing.T) {
	for _, tt := range []struct {
		alg  Algorithm
		bits string
	}{{P256, "P-256"}, {P384, "P-384"}, {RSA3072, "3072"}} {
		t.Run(string(tt.alg), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "k;ey 50% å.key") // what a URI must escape
			made, err := CreateKey(t.Context(), FileURI(path), tt.alg, passphrase())
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Fatalf("key file: %v, mode %v", err, info.Mode())
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if block, rest := pem.Decode(text); block == nil || block.Type != pemEncryptedKey || len(rest) > 0 {
				t.Fatal("the key file is not one encrypted PKCS#8 key")
			}
			opened, err := OpenKey(t.Context(), FileURI(path), passphrase())
			if err != nil {
				t.Fatal(err)
			}
			if !opened.Signer.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(made.Signer.Public()) {
				t.Error("another key was opened than was made")
			}
			digest := sha256.Sum256([]byte("x"))
			if _, err := opened.Signer.Sign(nil, digest[:], cryptoSHA256); err != nil {
				t.Errorf("the opened key does not sign: %v", err)
			}
			if err := errors.Join(opened.Close(), made.Close()); err != nil {
				t.Error(err)
			}
			if _, err := CreateKey(t.Context(), FileURI(path), tt.alg, passphrase()); !errors.Is(err, ErrExists) {
				t.Errorf("a key file was overwritten: %v", err)
			}
			after, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(after, text) {
				t.Error("the key file has changed")
			}
		})
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.key")
	key, err := CreateKey(t.Context(), FileURI(good), P256, passphrase())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	_ = key
	clearKey, err := newUnencryptedPEM()
	if err != nil {
		t.Fatal(err)
	}
	short, _ := pem.Decode(text)
	short.Bytes = bytes.Clone(short.Bytes)
	for _, tt := range []struct {
		name string
		text []byte
		mode os.FileMode
		pass Passphrase
		want string
	}{
		{"wrong passphrase", text, 0o600, NewPassphrase([]byte("fel lösenfras 2")), ErrPassphrase.Error()},
		{"no passphrase", text, 0o600, Passphrase{}, "no passphrase"},
		{"world-readable", text, 0o604, passphrase(), "chmod 600"},
		{"group-readable", text, 0o640, passphrase(), "chmod 600"},
		{"group-writable", text, 0o620, passphrase(), "chmod 600"},
		{"unencrypted", clearKey, 0o600, passphrase(), "is not encrypted"},
		{"cut short", pem.EncodeToMemory(cutKey(t, short)), 0o600, passphrase(), ErrPassphrase.Error()},
		{"two keys", append(bytes.Clone(text), text...), 0o600, passphrase(), "not one PEM block"},
		{"no key", []byte("hello"), 0o600, passphrase(), "not one PEM block"},
		{"too large", bytes.Repeat([]byte("x"), maxSecret+1), 0o600, passphrase(), "too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "x.key")
			if err := createFile(path, tt.text, tt.mode); err != nil {
				t.Fatal(err)
			}
			_, err := OpenKey(t.Context(), FileURI(path), tt.pass)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
				leaks(t, fmt.Sprintf(verb, err))
				if strings.Contains(fmt.Sprintf(verb, err), "fel lösen") {
					t.Error("the wrong passphrase shows in the error")
				}
			}
		})
	}
}

// In a directory that others can write to, a key file can be exchanged.
func TestKeyInWritableDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x.key")
	if _, err := CreateKey(t.Context(), FileURI(path), P256, passphrase()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(t.Context(), FileURI(path), passphrase()); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a key in a directory for all was opened: %v", err)
	}
}

func TestNamesOfKeys(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ name, uri, want string }{
		{"no scheme", filepath.Join(dir, "x.key"), "a key is named"},
		{"no path", "softkms:", "softkms:path=FILE"},
		{"pin in the name", "pkcs11:token=x;object=y?pin-value=korrekt", "PIN"},
		{"other scheme", "awskms:key=korrekt", "a key is named"},
		{"empty", "", "a key is named"},
	} {
		for what, try := range map[string]func() error{
			"create": func() error { _, err := CreateKey(t.Context(), tt.uri, P256, passphrase()); return err },
			"open":   func() error { _, err := OpenKey(t.Context(), tt.uri, passphrase()); return err },
		} {
			err := try()
			// Without cgo tokens are refused before their names are looked at.
			if err == nil || !strings.Contains(err.Error(), tt.want) && !strings.Contains(err.Error(), "no PKCS#11") {
				t.Errorf("%s, %s: error %v, want %q", tt.name, what, err, tt.want)
			}
			leaks(t, fmt.Sprint(err))
		}
	}
	if _, err := CreateKey(t.Context(), FileURI(filepath.Join(dir, "x")), "P-224", passphrase()); err == nil {
		t.Error("a P-224 key was made")
	}
	if _, err := CreateKey(t.Context(), FileURI(filepath.Join(dir, "x")), P256, NewPassphrase([]byte("kort"))); err == nil {
		t.Error("a key was saved under a passphrase of four characters")
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("refused keys left %v behind", names)
	}
	if _, err := OpenKey(t.Context(), FileURI(filepath.Join(dir, "absent")), passphrase()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent key: %v", err)
	}
}
