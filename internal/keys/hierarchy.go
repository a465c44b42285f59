package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/smallstep/certificates/cas/apiv1"
	"github.com/smallstep/certificates/cas/softcas"

	"sigill/ca"
)

// RootID is the root's name in addresses and file names.
const RootID ca.IssuerID = "root"

// What a hierarchy's directory holds.
const (
	indexFile = "hierarchy.json" // written last: a directory with it is whole
	rootDir   = "root"           // the root's key and certificate, to be taken offline
	keyDir    = "keys"           // the issuing CAs' keys
	publicDir = "public"         // what the status service publishes, under its paths
)

// slug is what an issuer may be called: it stands in addresses and file names.
var slug = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Hierarchy is a root and its issuing CAs, without their keys. It is immutable.
type Hierarchy struct {
	Dir         string
	Environment Environment
	StatusURL   string // without a slash at the end
	Root        CA
	Issuers     []CA
}

// CA is one certification authority.
type CA struct {
	ID          ca.IssuerID
	Certificate *x509.Certificate
	// KeyURI names its key. The file of a soft key is relative to the
	// hierarchy's directory, which may therefore be moved.
	KeyURI string
}

// Issuer is an issuing CA with its key open.
type Issuer struct {
	CA
	Chain []*x509.Certificate // its own certificate first, then the root's
	*Key
}

// index is hierarchy.json.
type index struct {
	Environment Environment `json:"environment"`
	StatusURL   string      `json:"statusURL"`
	Root        indexCA     `json:"root"`
	Issuers     []indexCA   `json:"issuers"`
}

type indexCA struct {
	ID          ca.IssuerID `json:"id"`
	CommonName  string      `json:"commonName"`
	KeyURI      string      `json:"key"`
	Fingerprint string      `json:"sha256"` // of the certificate
}

// Load reads the hierarchy in dir and checks it: each certificate is the one that
// was recorded, each issuing CA's is signed by the root. It opens no key. The
// root's key need not be there, and should not.
func Load(dir string) (*Hierarchy, error) {
	text, err := os.ReadFile(filepath.Join(dir, indexFile))
	if err != nil {
		return nil, fmt.Errorf("reading hierarchy: %w", err)
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	var ix index
	if err := in.Decode(&ix); err != nil {
		return nil, fmt.Errorf("reading %s: %w", indexFile, err)
	}
	h := &Hierarchy{Dir: dir, Environment: ix.Environment, StatusURL: ix.StatusURL}
	if h.Root, err = h.load(ix.Root); err != nil {
		return nil, err
	}
	for _, each := range ix.Issuers {
		issuer, err := h.load(each)
		if err != nil {
			return nil, err
		}
		if err := issuer.Certificate.CheckSignatureFrom(h.Root.Certificate); err != nil {
			return nil, fmt.Errorf("certificate of %s is not the root's: %w", each.ID, err)
		}
		h.Issuers = append(h.Issuers, issuer)
	}
	return h, nil
}

func (h *Hierarchy) load(ix indexCA) (CA, error) {
	if !slug.MatchString(string(ix.ID)) {
		return CA{}, fmt.Errorf("reading %s: %q is not the name of an issuer", indexFile, ix.ID)
	}
	der, err := os.ReadFile(h.CertificatePath(ix.ID))
	if err != nil {
		return CA{}, fmt.Errorf("reading certificate of %s: %w", ix.ID, err)
	}
	if got := ca.FingerprintOf(der).String(); got != ix.Fingerprint {
		return CA{}, fmt.Errorf("certificate of %s was exchanged: its SHA-256 is %s, recorded is %s", ix.ID, got, ix.Fingerprint)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return CA{}, fmt.Errorf("certificate of %s: %w", ix.ID, err)
	}
	return CA{ID: ix.ID, Certificate: cert, KeyURI: ix.KeyURI}, nil
}

// PublicDir returns the directory whose content the status service publishes:
// aia/<issuer>.cer and crl/root/0.crl.
func (h *Hierarchy) PublicDir() string { return filepath.Join(h.Dir, publicDir) }

// RootDir returns the directory that is to be taken offline.
func (h *Hierarchy) RootDir() string { return filepath.Join(h.Dir, rootDir) }

// CertificatePath returns the file with the DER certificate of the CA id.
func (h *Hierarchy) CertificatePath(id ca.IssuerID) string {
	return filepath.Join(h.PublicDir(), "aia", string(id)+".cer")
}

// RootCRLPath returns the file with the root's DER CRL.
func (h *Hierarchy) RootCRLPath() string {
	return filepath.Join(h.PublicDir(), "crl", string(RootID), "0.crl")
}

// rootCertificatePEM is a copy of the root's certificate beside its key.
func (h *Hierarchy) rootCertificatePEM() string {
	return filepath.Join(h.RootDir(), string(RootID)+".pem")
}

// Issuer returns the issuing CA id, and false if there is none.
func (h *Hierarchy) Issuer(id ca.IssuerID) (CA, bool) {
	for _, each := range h.Issuers {
		if each.ID == id {
			return each, true
		}
	}
	return CA{}, false
}

// RootKeyHere reports whether this process could read the root's key file. A
// production server refuses to start then: who breaks into it would get the root.
func (h *Hierarchy) RootKeyHere() bool {
	path, ok := filePath(h.resolve(h.Root.KeyURI))
	if !ok {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// OpenIssuer opens the key of the issuing CA id with the passphrase and returns
// it as softcas holds it. The key is checked to be the certificate's. The caller
// closes the Issuer.
func (h *Hierarchy) OpenIssuer(ctx context.Context, id ca.IssuerID, pass Passphrase) (*Issuer, error) {
	issuer, ok := h.Issuer(id)
	if !ok {
		return nil, fmt.Errorf("no issuing CA %q in %s", id, h.Dir)
	}
	key, err := h.open(ctx, issuer, pass)
	if err != nil {
		return nil, err
	}
	chain := []*x509.Certificate{issuer.Certificate, h.Root.Certificate}
	service, err := softcas.New(ctx, apiv1.Options{Type: apiv1.SoftCAS, CertificateChain: chain, Signer: key.Signer})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening issuer %s: %w", id, err), key.Close())
	}
	if key.Signer, err = service.GetSigner(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening issuer %s: %w", id, err), key.Close())
	}
	return &Issuer{CA: issuer, Chain: chain, Key: key}, nil
}

// open opens the key of a CA and compares it with the certificate: a key of
// another CA would make signatures that nobody can verify.
func (h *Hierarchy) open(ctx context.Context, authority CA, pass Passphrase) (*Key, error) {
	return openFor(ctx, authority, h.resolve(authority.KeyURI), pass)
}

// openFor opens the key keyURI, which must be that of authority's certificate.
func openFor(ctx context.Context, authority CA, keyURI string, pass Passphrase) (*Key, error) {
	key, err := OpenKey(ctx, keyURI, pass)
	if err != nil {
		return nil, fmt.Errorf("issuer %s: %w", authority.ID, err)
	}
	public, ok := key.Signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(authority.Certificate.PublicKey) {
		return nil, errors.Join(fmt.Errorf("issuer %s: the key is not its certificate's", authority.ID), key.Close())
	}
	return key, nil
}

// resolve makes the file of a soft key absolute.
func (h *Hierarchy) resolve(keyURI string) string {
	if path, ok := filePath(keyURI); ok && !filepath.IsAbs(path) {
		return FileURI(filepath.Join(h.Dir, path))
	}
	return keyURI
}

// KeyFile returns the file of a CA's key; false if it is in a token.
func (h *Hierarchy) KeyFile(c CA) (string, bool) { return filePath(h.resolve(c.KeyURI)) }

func certificatePEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}
