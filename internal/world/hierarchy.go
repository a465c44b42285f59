// Package world is a small Sigill in one process, for tests and benchmarks: a
// hierarchy in memory, an organisation with two administrators who came by the
// real ceremony, holders with cards whose keys are in memory. Everything goes
// through the domain's services; nothing is written to the store behind them.
//
// It knows nothing of HTTP: that a card talks over TLS is tested elsewhere.
package world

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"slices"
	"time"

	"sigill/ca"
	"sigill/internal/lint"
	"sigill/internal/profiles"
	"sigill/orders"
	"sigill/orders/issue"
	"sigill/policy"
)

// Names of the issuing CAs of a world.
const (
	PersonCA   ca.IssuerID = "person-hsa-id-3-v1"
	PersonCA2  ca.IssuerID = "person-hsa-id-2-v1"
	PersonIDCA ca.IssuerID = "person-id-3-v1"
	CardCA     ca.IssuerID = "card-v1"
	FunctionCA ca.IssuerID = "function-v1"
)

// kinds is what the issuing CAs of a world issue for.
var kinds = map[orders.Kind]ca.IssuerID{
	{IDKind: policy.ByHSAID, LoA: 3}:        PersonCA,
	{IDKind: policy.ByHSAID, LoA: 2}:        PersonCA2,
	{IDKind: policy.ByPersonNumber, LoA: 3}: PersonIDCA,
}

// mayIssue are the profiles of each issuing CA.
var mayIssue = map[ca.IssuerID][]ca.ProfileName{
	PersonCA:   {policy.ProfileAuthentication, policy.ProfileSigning, policy.ProfileOCSP},
	PersonCA2:  {policy.ProfileAuthentication, policy.ProfileSigning, policy.ProfileOCSP},
	PersonIDCA: {policy.ProfileAuthentication, policy.ProfileSigning, policy.ProfileOCSP},
	CardCA:     {policy.ProfileTransport, policy.ProfileOCSP},
	FunctionCA: {policy.ProfileOfficer, policy.ProfileServer, policy.ProfileOCSP},
}

// newIssuers makes issuing CAs with keys in memory, each wrapped by c.Wrap.
func newIssuers(c Config) (issue.Issuers, map[ca.IssuerID]ca.IssuerConfig, error) {
	all, err := profiles.Default()
	if err != nil {
		return nil, nil, err
	}
	out, configs := issue.Issuers{}, map[ca.IssuerID]ca.IssuerConfig{}
	// In one order: where randomness has a seed, each CA has the same key every time.
	for _, id := range slices.Sorted(maps.Keys(mayIssue)) {
		names := mayIssue[id]
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		cert, err := caCertificate(string(id), key, c.Now())
		if err != nil {
			return nil, nil, fmt.Errorf("issuing CA %s: %w", id, err)
		}
		configs[id] = ca.IssuerConfig{ID: id, Certificate: cert, Signer: c.Wrap(id, key), Profiles: all, MayIssue: names,
			Partitions: c.Partitions, StatusURL: "http://status.example", Linter: c.Linter}
		out[id], err = ca.NewIssuer(configs[id])
		if err != nil {
			return nil, nil, err
		}
	}
	return out, configs, nil
}

// Plant changes a profile of an issuing CA under the running installation, which
// is restarted: mistakes, above all.
func (w *World) Plant(id ca.IssuerID, name ca.ProfileName, change func(*ca.ProfileConfig)) error {
	config := w.issuers[id]
	planted := config.Profiles[name].Config()
	change(&planted)
	p, err := ca.NewProfile(planted)
	if err != nil {
		return err
	}
	config.Profiles = maps.Clone(config.Profiles)
	config.Profiles[name] = p
	if w.Issuers[id], err = ca.NewIssuer(config); err != nil {
		return err
	}
	w.issuers[id] = config
	return w.Restart()
}

func caCertificate(name string, key *ecdsa.PrivateKey, now time.Time) (*x509.Certificate, error) {
	public, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	id := sha1.Sum(public)
	template := &x509.Certificate{
		SerialNumber: ca.NewSerial().Int(), Subject: pkix.Name{Country: []string{"SE"}, Organization: []string{"Sigill"}, CommonName: "TEST " + name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: id[:],
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// NewLinter returns the linter of the production path.
func NewLinter() (*lint.Linter, error) {
	all, err := profiles.Default()
	if err != nil {
		return nil, err
	}
	var policies []string
	for _, oid := range all[policy.ProfileAuthentication].Assurance() {
		policies = append(policies, oid)
	}
	return lint.New(lint.Config{LoAPolicies: policies})
}

func publicKeyOf(der []byte) ([]byte, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("certificate with a key of type %T", cert.PublicKey)
	}
	return key.Bytes()
}
