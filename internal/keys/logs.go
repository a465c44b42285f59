package keys

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"sigill/internal/durable"
	"sigill/internal/strictjson"
)

// The directory of the logs' keys, apart from the issuing keys: in production it, or the
// token that it names, belongs under another account and another passphrase. Who has both
// keys can issue certificates with promises that the log never keeps.
const (
	logDir   = "logs"
	logIndex = "logs.json"
)

// LogKey is the name and public key of a transparency log, and where its key is.
type LogKey struct {
	Origin string `json:"origin"`
	KeyURI string `json:"key"`
	Public []byte `json:"publicKey"` // SubjectPublicKeyInfo
}

// Logs are the logs of an installation.
type Logs struct {
	Certificates LogKey `json:"certificates"`
	Acts         LogKey `json:"acts"`

	dir string
}

// LogsPlan says which logs to make.
type LogsPlan struct {
	Dir       string // the installation's
	StatusURL string
	// Passphrase opens the keys, or is the PIN of their token.
	Passphrase Passphrase
	// CertificatesKey and ActsKey name the keys; empty: new files in logs/.
	CertificatesKey string
	ActsKey         string
}

// CreateLogs makes the keys of both logs and writes their index, last. It never
// overwrites.
func CreateLogs(ctx context.Context, p LogsPlan) (*Logs, error) {
	at, err := url.Parse(p.StatusURL)
	if err != nil || at.Host == "" {
		return nil, fmt.Errorf("logs: the status address %q has no host to be named after", p.StatusURL)
	}
	l := &Logs{dir: filepath.Join(p.Dir, logDir)}
	if _, err := os.Stat(filepath.Join(l.dir, logIndex)); err == nil {
		return nil, fmt.Errorf("%s is there already: the logs' keys are made once", filepath.Join(l.dir, logIndex))
	}
	if err := os.Mkdir(l.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	for _, each := range []struct {
		name, uri string
		to        *LogKey
	}{{"certificates", p.CertificatesKey, &l.Certificates}, {"acts", p.ActsKey, &l.Acts}} {
		if each.uri == "" {
			each.uri = FileURI(each.name + ".key")
		}
		key, err := CreateKey(ctx, l.resolve(each.uri), P256, p.Passphrase)
		if err != nil {
			return nil, fmt.Errorf("log of %s: %w", each.name, err)
		}
		public, err := x509.MarshalPKIXPublicKey(key.Signer.Public())
		if err := errors.Join(err, key.Close()); err != nil {
			return nil, fmt.Errorf("log of %s: %w", each.name, err)
		}
		*each.to = LogKey{Origin: at.Host + "/log/" + each.name, KeyURI: each.uri, Public: public}
	}
	text, err := json.MarshalIndent(l, "", "\t")
	if err != nil {
		return nil, err
	}
	return l, durable.WriteFile(filepath.Join(l.dir, logIndex), append(text, '\n'), 0o644)
}

// ErrNoLogs is returned for an installation that was made before there were logs.
var ErrNoLogs = errors.New("this installation has no logs yet")

// LoadLogs reads the index of the logs of the installation in dir.
func LoadLogs(dir string) (*Logs, error) {
	text, err := os.ReadFile(filepath.Join(dir, logDir, logIndex))
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNoLogs
	} else if err != nil {
		return nil, fmt.Errorf("reading the logs' index: %w", err)
	}
	l := &Logs{dir: filepath.Join(dir, logDir)}
	if err := strictjson.Unmarshal(text, l); err != nil {
		return nil, fmt.Errorf("reading %s: %w", filepath.Join(l.dir, logIndex), err)
	}
	return l, nil
}

func (l *Logs) resolve(keyURI string) string {
	if path, ok := filePath(keyURI); ok && !filepath.IsAbs(path) {
		return FileURI(filepath.Join(l.dir, path))
	}
	return keyURI
}

// Key returns the log's public key.
func (k LogKey) Key() (crypto.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(k.Public)
	if err != nil {
		return nil, fmt.Errorf("public key of %s: %w", k.Origin, err)
	}
	return key, nil
}

// PEM returns the log's public key as relying parties and auditors take it.
func (k LogKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.Public})
}

// File returns the file of the key; false if it is in a token.
func (l *Logs) File(k LogKey) (string, bool) { return filePath(l.resolve(k.KeyURI)) }

// Open opens the key of one of the logs, which must be that of its public key.
func (l *Logs) Open(ctx context.Context, k LogKey, pass Passphrase) (*Key, error) {
	want, err := k.Key()
	if err != nil {
		return nil, err
	}
	key, err := OpenKey(ctx, l.resolve(k.KeyURI), pass)
	if err != nil {
		return nil, fmt.Errorf("log %s: %w", k.Origin, err)
	}
	public, ok := key.Signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(want) {
		return nil, errors.Join(fmt.Errorf("log %s: the key is not that of its public key", k.Origin), key.Close())
	}
	return key, nil
}
