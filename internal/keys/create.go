package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/smallstep/certificates/cas/apiv1"
	"github.com/smallstep/certificates/cas/softcas"

	"sigill/ca"
	"sigill/internal/durable"
)

// made is a CA whose certificate exists and whose soft key is in memory only.
type made struct {
	CA
	plan     CAPlan
	manager  io.Closer
	response *apiv1.CreateCertificateAuthorityResponse
}

// Create makes the hierarchy of a plan. Every key and certificate is made and
// verified before the first byte is written; the index is written last, so that a
// directory that [Load] accepts is whole. It refuses a directory that has a
// hierarchy or part of one. Keys in tokens are made as it goes and stay there if
// it fails.
func Create(ctx context.Context, p Plan) (*Hierarchy, error) {
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("creating hierarchy: %w", err)
	}
	h := &Hierarchy{Dir: p.Dir, Environment: p.Environment, StatusURL: p.StatusURL}
	if err := h.vacant(); err != nil {
		return nil, fmt.Errorf("creating hierarchy: %w", err)
	}
	var all []*made
	defer func() {
		for _, m := range all {
			m.manager.Close() // a log-in to a token lasts as long as a session
		}
	}()
	root, err := p.makeCA(ctx, p.Root, nil)
	if err != nil {
		return nil, fmt.Errorf("creating hierarchy: %w", err)
	}
	all = append(all, root)
	h.Root = root.CA
	for _, each := range p.Issuers {
		issuer, err := p.makeCA(ctx, each, root)
		if err != nil {
			return nil, fmt.Errorf("creating hierarchy: %w", err)
		}
		all = append(all, issuer)
		h.Issuers = append(h.Issuers, issuer.CA)
	}
	if err := h.write(&p, all); err != nil {
		return nil, fmt.Errorf("writing hierarchy: %w", err)
	}
	if err := h.firstRootCRL(root.response.Signer, p.At); err != nil {
		return nil, fmt.Errorf("writing hierarchy: %w", err)
	}
	if err := h.writeIndex(); err != nil {
		return nil, fmt.Errorf("writing hierarchy: %w", err)
	}
	return h, nil
}

// vacant reports an error if anything of a hierarchy is there.
func (h *Hierarchy) vacant() error {
	for _, name := range []string{indexFile, rootDir, keyDir, publicDir} {
		if _, err := os.Lstat(filepath.Join(h.Dir, name)); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is there already: %w", filepath.Join(h.Dir, name), ErrExists)
		}
	}
	return nil
}

// makeCA makes key and certificate of one CA by softcas; parent is nil for the
// root.
func (p *Plan) makeCA(ctx context.Context, authority CAPlan, parent *made) (_ *made, err error) {
	m := &made{plan: authority}
	m.ID, m.KeyURI = authority.ID, authority.KeyURI
	if m.KeyURI == "" {
		m.KeyURI = softKeyURI(authority.ID)
	}
	template, err := p.template(authority)
	if err != nil {
		return nil, err
	}
	manager, err := openManager(ctx, m.KeyURI, p.passphrase(authority))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", authority.ID, err)
	}
	m.manager = manager
	defer func() {
		if err != nil {
			manager.Close()
		}
	}()
	key, err := createRequest(m.KeyURI, authority.Key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", authority.ID, err)
	}
	service, err := softcas.New(ctx, apiv1.Options{Type: apiv1.SoftCAS, IsCreator: true, KeyManager: manager})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", authority.ID, err)
	}
	// The template is made for this one call: softcas writes into it. Lifetime
	// is demanded although the template has both dates.
	request := &apiv1.CreateCertificateAuthorityRequest{
		Name: template.Subject.CommonName, Type: apiv1.RootCA, Template: template,
		Lifetime: authority.Lifetime, CreateKey: key,
	}
	profile := RootProfile
	if parent != nil {
		request.Type, request.Parent = apiv1.IntermediateCA, parent.response
		profile = IssuingProfile
	}
	if m.response, err = service.CreateCertificateAuthority(request); err != nil {
		return nil, fmt.Errorf("%s: %w", authority.ID, err)
	}
	m.Certificate = m.response.Certificate
	if err := p.verify(m, parent); err != nil {
		return nil, fmt.Errorf("%s: %w", authority.ID, err)
	}
	if err := p.Lint(m.Certificate.Raw, profile); err != nil {
		return nil, fmt.Errorf("%s: %w", authority.ID, err)
	}
	return m, nil
}

// verify checks what came back: the right key, the right dates, a chain.
func (p *Plan) verify(m, parent *made) error {
	cert := m.Certificate
	public, ok := m.response.Signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(cert.PublicKey) {
		return errors.New("the certificate is for another key")
	}
	roots, top := x509.NewCertPool(), cert
	if parent != nil {
		top = parent.Certificate
		if cert.NotAfter.After(top.NotAfter) {
			return errors.New("it would outlive the root")
		}
	}
	roots.AddCert(top)
	_, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: p.At, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return fmt.Errorf("the certificate does not verify: %w", err)
	}
	return nil
}

func (p *Plan) passphrase(authority CAPlan) Passphrase {
	if authority.ID == RootID {
		return p.RootPassphrase
	}
	return p.Passphrase
}

// softKeyURI names a soft key by a path in the hierarchy's directory.
func softKeyURI(id ca.IssuerID) string {
	if id == RootID {
		return FileURI(filepath.Join(rootDir, string(id)+".key"))
	}
	return FileURI(filepath.Join(keyDir, string(id)+".key"))
}

// write puts keys and certificates in place.
func (h *Hierarchy) write(p *Plan, all []*made) error {
	for _, dir := range []string{h.RootDir(), filepath.Join(h.Dir, keyDir)} {
		if err := secretDir(dir); err != nil {
			return err
		}
	}
	for _, dir := range []string{filepath.Dir(h.CertificatePath(RootID)), filepath.Dir(h.RootCRLPath())} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, m := range all {
		if path, ok := filePath(h.resolve(m.KeyURI)); ok {
			if err := saveKey(path, m.response.PrivateKey, p.passphrase(m.plan)); err != nil {
				return fmt.Errorf("%s: %w", m.ID, err)
			}
		}
		if err := createFile(h.CertificatePath(m.ID), m.Certificate.Raw, 0o644); err != nil {
			return err
		}
	}
	return createFile(h.rootCertificatePEM(), certificatePEM(h.Root.Certificate), 0o644)
}

func (h *Hierarchy) writeIndex() error {
	ix := index{Environment: h.Environment, StatusURL: h.StatusURL, Root: indexOf(h.Root)}
	for _, each := range h.Issuers {
		ix.Issuers = append(ix.Issuers, indexOf(each))
	}
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetIndent("", "  ")
	if err := out.Encode(ix); err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(h.Dir, indexFile), text.Bytes(), 0o644)
}

func indexOf(c CA) indexCA {
	return indexCA{
		ID: c.ID, CommonName: c.Certificate.Subject.CommonName, KeyURI: c.KeyURI,
		Fingerprint: ca.FingerprintOf(c.Certificate.Raw).String(),
	}
}
