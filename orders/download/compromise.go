package download

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// KeyView is what a caller may know of a key.
type KeyView struct {
	Key     ca.KeyFingerprint
	Blocked *issue.BlockedKey // nil: it is not
	// Count is how many certificates carry the key, Certificates are those of
	// them that the caller may see.
	Count        int
	Certificates []CertificateView
}

// errNoKey is one answer for a key that is in no certificate and for one that is in
// none that the caller may see.
func errNoKey() error {
	return policy.Refuse(policy.RevokeScope, "no certificate with this key that is yours or your organisation's").Err()
}

// ParseKey reads the fingerprint of a key, 64 hexadecimal digits.
func ParseKey(text string) (ca.KeyFingerprint, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(ca.KeyFingerprint{}) || hex.EncodeToString(raw) != text {
		return ca.KeyFingerprint{}, fmt.Errorf("the fingerprint of a key is 64 hexadecimal digits in lower case")
	}
	return ca.KeyFingerprint(raw), nil
}

// Key shows a key to who may see a certificate that carries it: the preview of a
// block.
func (s *Service) Key(ctx context.Context, c register.Caller, key ca.KeyFingerprint) (KeyView, error) {
	var v KeyView
	err := s.Store.View(ctx, func(tx *Tx) error {
		var err error
		if v, err = s.keyView(tx, c, key); err == nil && len(v.Certificates) == 0 {
			err = errNoKey()
		}
		return err
	})
	return v, s.keep(ctx, err, c, "", issue.F("key", fmt.Sprintf("%x", key)))
}

func (s *Service) keyView(tx *Tx, c register.Caller, key ca.KeyFingerprint) (KeyView, error) {
	v := KeyView{Key: key}
	blocked, err := tx.BlockedKey(key)
	if err == nil {
		v.Blocked = blocked
	} else if !errors.Is(err, issue.ErrNotFound) {
		return v, err
	}
	carry, err := tx.CertificatesOfKey(key)
	if err != nil {
		return v, err
	}
	v.Count = len(carry)
	for _, cert := range carry {
		if sees, err := s.sees(tx, c, cert); err != nil {
			return v, err
		} else if !sees {
			continue
		}
		each, err := s.derive(tx, cert)
		if err != nil {
			return v, err
		}
		v.Certificates = append(v.Certificates, each)
	}
	return v, nil
}

// sees reports whether a certificate is the caller's own, or of an organisation
// that he administers: the one that ordered it, or for a transport certificate the
// one whose card it is on.
func (s *Service) sees(tx *Tx, c register.Caller, cert *issue.Certificate) (bool, error) {
	if c.Person != "" && cert.Person == c.Person && !c.Pending {
		return true, nil
	}
	return administers(tx, c, cert)
}

func administers(tx *Tx, c register.Caller, cert *issue.Certificate) (bool, error) {
	org, err := organisationOf(tx, cert)
	if err != nil || org == "" {
		return false, err
	}
	return may(register.MayFor(tx.register(), c, org))
}

// may turns a refusal into false.
func may(err error) (bool, error) {
	if _, refused := errors.AsType[*policy.Refusal](err); refused {
		return false, nil
	}
	return err == nil, err
}

func organisationOf(tx *Tx, cert *issue.Certificate) (policy.OrganisationID, error) {
	if cert.Organisation != "" || cert.Card == "" {
		return cert.Organisation, nil
	}
	card, err := tx.Card(cert.Card)
	if err != nil {
		return "", err
	}
	return card.Organisation, nil
}

// BlockByProof takes the proof that somebody has a key beside its card: a signature
// with it over [statement.Compromise]. Whoever has logged in may bring it, from
// wherever he has it; it needs no right, because it is true. The key is blocked, and
// every certificate that carries it revoked as keyCompromise. dryRun only shows
// what would be revoked. A key that was never seen here is blocked by an
// administrator only: anybody can make keys, and rows with them.
func (s *Service) BlockByProof(ctx context.Context, c register.Caller, pub crypto.PublicKey, signature []byte, dryRun bool) (KeyView, error) {
	var v KeyView
	key, err := ca.FingerprintKey(pub)
	if err != nil {
		return v, s.keep(ctx, policy.Refuse(policy.RequestForm, "key: %s", err).Err(), c, "")
	}
	if err := statement.Verify(pub, statement.Compromise(key), signature); err != nil {
		return v, s.keep(ctx, policy.Refuse(policy.KeyProof, "%s", err).Err(), c, "", issue.F("key", fmt.Sprintf("%x", key)))
	}
	blocked := false
	err = s.Store.Update(ctx, func(tx *Tx) error {
		blocked = false
		var err error
		if v, err = s.keyView(tx, c, key); err != nil {
			return err
		}
		if err := s.mayProve(tx, c, v); err != nil {
			return err
		}
		if dryRun {
			return nil
		}
		blocked = true
		// Who has the key's certificate can verify the proof for himself.
		proof := audit.Field{Name: "proof", Value: base64.StdEncoding.EncodeToString(signature)}
		_, err = issue.Compromised(tx.issue(), key, issue.ByProof, c.Name(), s.now(), proof)
		return err
	})
	if err == nil && blocked {
		v, err = s.carryOutBlock(ctx, c, key)
	}
	return v, s.keep(ctx, err, c, "", issue.F("key", fmt.Sprintf("%x", key)))
}

func (s *Service) mayProve(tx *Tx, c register.Caller, v KeyView) error {
	if c.Pending {
		return policy.Refuse(policy.LoginPending, "log in with a current eID").Err()
	}
	if v.Count > 0 || v.Blocked != nil {
		return nil
	}
	if _, err := tx.KeySeen(v.Key); err == nil || !errors.Is(err, issue.ErrNotFound) {
		return err
	}
	if ok, err := may(register.Administrator(tx.register(), c, c.Organisation)); err != nil || ok {
		return err
	}
	return errNoKey()
}

// carryOutBlock revokes what a committed block has queued, and shows what became of
// it. What fails stays in the queue, where the background job finds it.
func (s *Service) carryOutBlock(ctx context.Context, c register.Caller, key ca.KeyFingerprint) (KeyView, error) {
	ctx = context.WithoutCancel(ctx)
	s.RevokeQueued(ctx)
	var v KeyView
	err := s.Store.View(ctx, func(tx *Tx) error {
		var err error
		v, err = s.keyView(tx, c, key)
		return err
	})
	return v, err
}

// KeyBlock is the document that two administrators state to block a key without a
// proof. Its canonical form is encoding/json's. It names the certificates that they
// were shown: what they sign is what is done.
type KeyBlock struct {
	Act string `json:"act"` // "key.block"
	Key string `json:"key"` // fingerprint, hexadecimal
	// Certificates are the serials of all certificates that carry the key,
	// hexadecimal, in ascending order.
	Certificates []string `json:"certificates"`
}

// ParseKeyBlock reads a KeyBlock and refuses every form but the canonical one.
func ParseKeyBlock(b []byte) (KeyBlock, ca.KeyFingerprint, error) {
	var k KeyBlock
	if err := json.Unmarshal(b, &k); err != nil {
		return k, ca.KeyFingerprint{}, policy.Refuse(policy.RequestForm, "block: %s", err).Err()
	}
	if again, _ := json.Marshal(k); string(again) != string(b) || k.Act != statement.ActKeyBlock || !slices.IsSorted(k.Certificates) {
		return k, ca.KeyFingerprint{}, policy.Refuse(policy.RequestForm, "block is not in canonical form").Err()
	}
	key, err := ParseKey(k.Key)
	if err != nil {
		return k, key, policy.Refuse(policy.RequestForm, "block: %s", err).Err()
	}
	return k, key, nil
}

// BlockKey blocks a key by the word of two administrators, without proof: the card
// was found open, its maker tells of a fault. All certificates that carry the key
// must be of the one organisation that both administer. They are revoked as
// keyCompromise.
func (s *Service) BlockKey(ctx context.Context, c register.Caller, document []byte, signed []register.Signed) (KeyView, error) {
	var v KeyView
	block, key, err := ParseKeyBlock(document)
	if err == nil {
		err = s.Store.Update(ctx, func(tx *Tx) error { return s.blockKey(tx, c, block, key, register.HashOf(document), signed) })
	}
	if err == nil {
		v, err = s.carryOutBlock(ctx, c, key)
	}
	return v, s.keep(ctx, err, c, "", issue.F("key", block.Key))
}

func (s *Service) blockKey(tx *Tx, c register.Caller, block KeyBlock, key ca.KeyFingerprint, hash [32]byte, signed []register.Signed) error {
	carry, err := tx.CertificatesOfKey(key)
	if err != nil {
		return err
	}
	var serials []string
	var org policy.OrganisationID
	for i, cert := range carry {
		of, err := organisationOf(tx, cert)
		if err != nil {
			return err
		}
		if of == "" || i > 0 && of != org {
			return errNoKey() // nobody's, or of two: needs a proof
		}
		org = of
		serials = append(serials, cert.Serial.String())
	}
	if ok, err := may(register.Administrator(tx.register(), c, org)); err != nil {
		return err
	} else if !ok || len(carry) == 0 {
		return errNoKey()
	}
	subject := "key:" + block.Key
	if again, err := register.Replayed(tx.register(), subject, signed); err != nil || again {
		return err
	}
	if slices.Sort(serials); !slices.Equal(serials, block.Certificates) {
		return policy.Refuse(policy.DownloadChanged, "the certificates that carry the key are no longer those that were shown").Err()
	}
	if len(signed) == 0 || signed[0].Certificate != c.Certificate {
		return policy.Refuse(policy.StatementSignature, "signed with another card than the one logged in with").Err()
	}
	want := register.Expect{Act: statement.ActKeyBlock, Subject: subject, Content: hash, Organisation: org, Need: 2}
	stated, err := s.Register.State(tx.register(), s.now(), want, signed)
	if err != nil {
		return err
	}
	_, err = issue.Compromised(tx.issue(), key, issue.ByAdministrators, c.Name(), s.now(),
		append(register.Told(stated), issue.F("document", hex.EncodeToString(hash[:])))...)
	return err
}
