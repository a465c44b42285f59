package adminclient

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"

	"sigill/ca"
	"sigill/internal/statement"
	"sigill/internal/wire"
	"sigill/orders/download"
)

// Key returns what the caller may know of a key, by its fingerprint (64
// hexadecimal digits; [KeyFingerprint]).
func (c *Client) Key(ctx context.Context, fingerprint string) (*wire.Key, error) {
	return retried(ctx, c, func(l *login) (*wire.Key, error) {
		return get[wire.Key](ctx, l, path("keys", fingerprint), nil)
	})
}

// KeyFingerprint returns the fingerprint by which a key is known: it depends
// neither on the encoding nor on the RSA exponent nor on the sign of y.
func KeyFingerprint(pub crypto.PublicKey) (string, error) {
	fp, err := ca.FingerprintKey(pub)
	return fmt.Sprintf("%x", fp), err
}

// ProveKey makes the proof that whoever has key has it.
func ProveKey(key crypto.Signer) (wire.Compromise, error) {
	fp, err := ca.FingerprintKey(key.Public())
	if err != nil {
		return wire.Compromise{}, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return wire.Compromise{}, err
	}
	signature, err := statement.Sign(key, statement.Compromise(fp))
	return wire.Compromise{PublicKey: spki, Signature: signature}, err
}

// CompromisedKey hands in a proof. The key is blocked and every certificate that
// carries it revoked; with DryRun it is only said how many there are.
func (c *Client) CompromisedKey(ctx context.Context, proof wire.Compromise) (*wire.Key, error) {
	return retried(ctx, c, func(l *login) (*wire.Key, error) {
		if proof.DryRun {
			return post[wire.Key](ctx, l, path("keys", "compromised"), proof)
		}
		return revoke[wire.Key](ctx, l, path("keys", "compromised"), proof)
	})
}

// KeyBlockDocument returns the document by which two administrators block a key
// without proof, of a key as [Client.Key] shows it, and the statement to sign over
// it. All certificates must be the caller's to see.
func KeyBlockDocument(k *wire.Key) (document []byte, st statement.Statement, err error) {
	if len(k.Certificates) != k.Count || k.Count == 0 {
		return nil, st, fmt.Errorf("%d of the %d certificates with this key are of your organisation: a proof is needed", len(k.Certificates), k.Count)
	}
	block := download.KeyBlock{Act: statement.ActKeyBlock, Key: k.Fingerprint}
	for _, cert := range k.Certificates {
		block.Certificates = append(block.Certificates, cert.Serial)
	}
	slices.Sort(block.Certificates)
	if document, err = json.Marshal(block); err != nil {
		return nil, st, err
	}
	return document, statement.Statement{Act: statement.ActKeyBlock, Subject: "key:" + k.Fingerprint, Content: sha256.Sum256(document)}, nil
}

// BlockKey hands in a block with the statements of two administrators, the caller's
// first.
func (c *Client) BlockKey(ctx context.Context, document []byte, statements []wire.Statement) (*wire.Key, error) {
	return retried(ctx, c, func(l *login) (*wire.Key, error) {
		return revoke[wire.Key](ctx, l, path("keys", "block"), wire.Stated{Document: document, Statements: statements})
	})
}

// Incidents returns a page of an organisation's incidents, by id.
func (c *Client) Incidents(ctx context.Context, org, after string, limit int) (*wire.Incidents, error) {
	return retried(ctx, c, func(l *login) (*wire.Incidents, error) {
		return get[wire.Incidents](ctx, l, path("organisations", org, "incidents"), page(limit, "after", after))
	})
}

// Incident returns an incident.
func (c *Client) Incident(ctx context.Context, id string) (*wire.Incident, error) {
	return retried(ctx, c, func(l *login) (*wire.Incident, error) {
		return get[wire.Incident](ctx, l, path("incidents", id), nil)
	})
}
