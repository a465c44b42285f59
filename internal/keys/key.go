// Package keys owns private keys and the hierarchy of CAs: how keys are named,
// made, kept encrypted and opened, how root and issuing CAs come to be, and the
// root's CRL. It is the only package that touches smallstep's CAS and KMS.
//
// It hands out a [crypto.Signer] and certificates, and must not know what is
// signed with them: no profile of a person's certificate, no order, no store. Its
// central rule: a private key is never written unencrypted, never printed, and
// not opened from a file that others can read.
package keys

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"strings"

	"go.step.sm/crypto/kms"
	"go.step.sm/crypto/kms/apiv1"
	"go.step.sm/crypto/kms/softkms"
	"go.step.sm/crypto/kms/uri"
	"go.step.sm/crypto/pemutil"
)

// Algorithm names a kind of key.
type Algorithm string

const (
	P256    Algorithm = "P-256"
	P384    Algorithm = "P-384"
	RSA3072 Algorithm = "RSA-3072"
	RSA4096 Algorithm = "RSA-4096"
)

// ErrPassphrase is returned when a key does not open with the passphrase given.
var ErrPassphrase = errors.New("wrong passphrase, or damaged key file")

// ErrExists is returned when something would be overwritten.
var ErrExists = fs.ErrExist

const pemEncryptedKey = "ENCRYPTED PRIVATE KEY" // RFC 7468, section 11

// Key is an open private key. It is safe for concurrent use.
type Key struct {
	Signer  crypto.Signer
	manager kms.KeyManager
}

// Close ends the session with the token that holds the key. A soft key has none.
func (k *Key) Close() error { return k.manager.Close() }

// FileURI returns the name of the key in the file path.
func FileURI(path string) string {
	return uri.New(softkms.Scheme, url.Values{"path": {path}}).String()
}

// CreateKey makes a key under the name keyURI: softkms:path=FILE, a new file
// encrypted with pass, or pkcs11:token=…;id=…;object=…, a key in the token that
// the PIN pass opens. It never overwrites.
func CreateKey(ctx context.Context, keyURI string, alg Algorithm, pass Passphrase) (*Key, error) {
	manager, err := openManager(ctx, keyURI, pass)
	if err != nil {
		return nil, err
	}
	request, err := createRequest(keyURI, alg)
	if err != nil {
		return nil, errors.Join(err, manager.Close())
	}
	made, err := manager.CreateKey(request)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making key: %w", err), manager.Close())
	}
	signer, err := manager.CreateSigner(&made.CreateSignerRequest)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("using the new key: %w", err), manager.Close())
	}
	if path, ok := filePath(keyURI); ok {
		if err := saveKey(path, made.PrivateKey, pass); err != nil {
			return nil, err
		}
	}
	return &Key{Signer: signer, manager: manager}, nil
}

// OpenKey opens the key keyURI. A wrong passphrase is [ErrPassphrase], a key that
// is not there fs.ErrNotExist. A key file that others can read, or that is not
// encrypted, is refused.
func OpenKey(ctx context.Context, keyURI string, pass Passphrase) (*Key, error) {
	manager, err := openManager(ctx, keyURI, pass)
	if err != nil {
		return nil, err
	}
	path, ok := filePath(keyURI)
	if !ok {
		signer, err := manager.CreateSigner(&apiv1.CreateSignerRequest{SigningKey: keyURI})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("opening key in token: %w", err), manager.Close())
		}
		return &Key{Signer: signer, manager: manager}, nil
	}
	text, err := readSecret(path, othersAny)
	if err != nil {
		return nil, fmt.Errorf("opening key: %w", err)
	}
	signer, err := decryptKey(manager, text, pass)
	if err != nil {
		return nil, fmt.Errorf("opening key %s: %w", path, err)
	}
	return &Key{Signer: signer, manager: manager}, nil
}

// decryptKey opens the PEM text of an encrypted key.
func decryptKey(manager kms.KeyManager, text []byte, pass Passphrase) (signer crypto.Signer, err error) {
	// An unencrypted key would be opened with any passphrase, and nobody would
	// notice that the backup tape holds it in clear.
	block, rest := pem.Decode(text)
	if block == nil || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, errors.New("not one PEM block")
	}
	if block.Type != pemEncryptedKey {
		return nil, fmt.Errorf("is not encrypted (%s): openssl pkcs8 -topk8 -v2 aes-256-cbc encrypts it", block.Type)
	}
	if pass.IsZero() {
		return nil, errors.New("is encrypted, and no passphrase was given")
	}
	// The decryption panics for a ciphertext that is not whole blocks.
	defer func() {
		if recover() != nil {
			signer, err = nil, ErrPassphrase
		}
	}()
	// The library's error is dropped: in one case of 256 a wrong passphrase
	// gives noise with a good padding, and the error then is about the noise.
	signer, err = manager.CreateSigner(&apiv1.CreateSignerRequest{SigningKeyPEM: text, Password: pass.bytes()})
	if err != nil {
		return nil, ErrPassphrase
	}
	return signer, nil
}

// saveKey writes a private key as PKCS#8 encrypted by PBES2 (PBKDF2 with
// HMAC-SHA-256, AES-256-CBC), mode 0600.
func saveKey(path string, private crypto.PrivateKey, pass Passphrase) error {
	if !pass.strong() {
		return fmt.Errorf("a passphrase for a key has at least %d characters", minPassphrase)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return errors.New("encoding private key") // without the inner text: it may show the key
	}
	block, err := pemutil.EncryptPKCS8PrivateKey(rand.Reader, der, pass.bytes(), x509.PEMCipherAES256)
	clear(der)
	if err != nil {
		return fmt.Errorf("encrypting private key: %w", err)
	}
	if err := createFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return fmt.Errorf("writing key: %w", err)
	}
	return nil
}

// createRequest translates an algorithm for the KMS.
func createRequest(keyURI string, alg Algorithm) (*apiv1.CreateKeyRequest, error) {
	request := &apiv1.CreateKeyRequest{Name: keyURI}
	switch alg {
	case P256:
		request.SignatureAlgorithm = apiv1.ECDSAWithSHA256
	case P384:
		request.SignatureAlgorithm = apiv1.ECDSAWithSHA384
	case RSA3072:
		request.SignatureAlgorithm, request.Bits = apiv1.SHA256WithRSA, 3072
	case RSA4096:
		request.SignatureAlgorithm, request.Bits = apiv1.SHA256WithRSA, 4096
	default:
		return nil, fmt.Errorf("unknown key algorithm %q", alg)
	}
	return request, nil
}

// openManager returns the KMS that knows keyURI.
func openManager(ctx context.Context, keyURI string, pass Passphrase) (kms.KeyManager, error) {
	switch {
	case uri.HasScheme(string(apiv1.PKCS11), keyURI):
		return openToken(ctx, keyURI, pass)
	case uri.HasScheme(softkms.Scheme, keyURI):
		if _, ok := filePath(keyURI); !ok {
			return nil, errors.New("a soft key is named softkms:path=FILE")
		}
		return kms.New(ctx, kms.Options{Type: apiv1.SoftKMS})
	}
	// Without the text: it may be a misspelt URI with a PIN in it.
	return nil, errors.New("a key is named softkms:path=FILE or pkcs11:token=…;object=…")
}

// openToken opens a PKCS#11 token. Its KMS is linked in by a cgo build only.
func openToken(ctx context.Context, keyURI string, pass Passphrase) (kms.KeyManager, error) {
	open, ok := apiv1.LoadKeyManagerNewFunc(apiv1.PKCS11)
	if !ok {
		return nil, errors.New("this build has no PKCS#11: keys in tokens need a build with CGO_ENABLED=1")
	}
	// A PIN in a URI ends up in configuration, error texts and process lists.
	if strings.Contains(keyURI, "pin-value") || strings.Contains(keyURI, "pin-source") {
		return nil, errors.New("a key's name must not carry a PIN: give it as passphrase")
	}
	manager, err := open(ctx, kms.Options{Type: apiv1.PKCS11, URI: keyURI, Pin: string(pass.bytes())})
	if err != nil {
		return nil, fmt.Errorf("opening token: %w", err)
	}
	return manager, nil
}

// filePath returns the file of a soft key.
func filePath(keyURI string) (string, bool) {
	u, err := uri.ParseWithScheme(softkms.Scheme, keyURI)
	if err != nil || u.Get("path") == "" {
		return "", false
	}
	return filepath.Clean(u.Get("path")), true
}
