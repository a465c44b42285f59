package keys

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"
)

// minPassphrase is the least length of a passphrase for a new key file: whoever
// gets hold of the file may guess as fast as PBKDF2 allows, for ever.
const minPassphrase = 12

// redacted is what a Passphrase looks like in every output.
const redacted = "(passphrase)"

// Passphrase is a secret that opens keys. It never prints: not by itself, not as
// a field of something else, exported or not. The zero value is no passphrase.
type Passphrase struct {
	// reveal is a function because fmt prints the fields of unexported fields
	// without asking their methods; of a function it knows only the address.
	reveal func() []byte
}

// NewPassphrase takes secret as it is, and copies it.
func NewPassphrase(secret []byte) Passphrase {
	secret = bytes.Clone(secret)
	return Passphrase{reveal: func() []byte { return secret }}
}

// IsZero reports whether p is no passphrase, or an empty one.
func (p Passphrase) IsZero() bool { return p.reveal == nil || len(p.reveal()) == 0 }

// Equal reports whether p and q are the same secret. For a second prompt.
func (p Passphrase) Equal(q Passphrase) bool { return bytes.Equal(p.bytes(), q.bytes()) }

// strong reports whether p may protect a new key.
func (p Passphrase) strong() bool { return len(p.bytes()) >= minPassphrase }

func (p Passphrase) bytes() []byte {
	if p.reveal == nil {
		return nil
	}
	return p.reveal()
}

// Format writes a placeholder for every verb and flag.
func (p Passphrase) Format(w fmt.State, _ rune) { io.WriteString(w, redacted) }

// String returns a placeholder.
func (p Passphrase) String() string { return redacted }

// GoString returns a placeholder.
func (p Passphrase) GoString() string { return redacted }

// LogValue returns a placeholder.
func (p Passphrase) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder, for JSON and YAML.
func (p Passphrase) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// FromCredential reads the systemd credential name, which systemd has decrypted
// into a directory that only this service can read (LoadCredentialEncrypted=).
// lookup is os.LookupEnv.
func FromCredential(name string, lookup func(string) (string, bool)) (Passphrase, error) {
	dir, ok := lookup("CREDENTIALS_DIRECTORY")
	if !ok || dir == "" {
		return Passphrase{}, errors.New("no credentials directory: start the service with LoadCredentialEncrypted= in its unit")
	}
	if name != filepath.Base(name) || name == "." || name == ".." {
		return Passphrase{}, fmt.Errorf("credential name %q is not a file name", name)
	}
	return readPassphrase(filepath.Join(dir, name), credentialAny)
}

// FromPrompt asks for a passphrase on a terminal without showing it.
func FromPrompt(in *os.File, out io.Writer, text string) (Passphrase, error) {
	fd := int(in.Fd())
	if !term.IsTerminal(fd) {
		return Passphrase{}, errors.New("no terminal to ask for a passphrase on: give it as a systemd credential")
	}
	fmt.Fprint(out, text)
	secret, err := term.ReadPassword(fd)
	fmt.Fprintln(out)
	if err != nil {
		return Passphrase{}, fmt.Errorf("reading passphrase: %w", err)
	}
	return oneLine(secret)
}

// FromFile reads a passphrase from a file with mode 0600. It is refused outside a
// TEST hierarchy: a passphrase beside the keys that it opens protects nothing
// from who copies the disk.
func FromFile(path string, env Environment) (Passphrase, error) {
	if env != Test {
		return Passphrase{}, errors.New("passphrases in files are for TEST hierarchies only: use a systemd credential or the prompt")
	}
	return readPassphrase(path, othersAny)
}

// GenerateFile writes a random passphrase to a new file with mode 0600, for TEST
// hierarchies only, and returns it.
func GenerateFile(path string, env Environment) (Passphrase, error) {
	if env != Test {
		return Passphrase{}, errors.New("passphrases in files are for TEST hierarchies only")
	}
	p := NewPassphrase([]byte(rand.Text()))
	if err := createFile(path, append(p.bytes(), '\n'), 0o600); err != nil {
		return Passphrase{}, fmt.Errorf("writing passphrase: %w", err)
	}
	return p, nil
}

func readPassphrase(path string, forbidden os.FileMode) (Passphrase, error) {
	text, err := readSecret(path, forbidden)
	if errors.Is(err, fs.ErrNotExist) {
		return Passphrase{}, fmt.Errorf("passphrase file %s does not exist: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return Passphrase{}, fmt.Errorf("reading passphrase: %w", err)
	}
	return oneLine(text)
}

// oneLine takes the line ending off, and nothing else: a space may be meant.
func oneLine(text []byte) (Passphrase, error) {
	line := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if line == "" {
		return Passphrase{}, errors.New("the passphrase is empty")
	}
	if strings.ContainsAny(line, "\n\r") {
		return Passphrase{}, errors.New("the passphrase has more than one line")
	}
	return NewPassphrase([]byte(line)), nil
}
