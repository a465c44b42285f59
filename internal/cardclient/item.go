package cardclient

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"sigill/internal/card"
	"sigill/internal/cardhttp"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

// challengeMargin is how long a challenge must still live for a key to be made:
// RSA on a card takes many seconds.
const challengeMargin = 30 * time.Second

// maxSubmits bounds how often an item is begun in one run: each time may cost
// an intent, and each intent is an entry in a revocation list for years.
const maxSubmits = 3

const (
	// lookPause and maxLooks say how long an interrupted attempt is waited for:
	// a dead server process is found dead within seconds.
	lookPause = time.Second
	maxLooks  = 15
)

// make brings one certificate of the plan onto the card, from wherever an
// earlier run stopped.
func (r *run) make(ctx context.Context, add policy.Addition) error {
	if add.Slot == policy.Signing && r.denied != nil {
		return r.denied
	}
	it := r.item(add.Slot)
	if add.Slot == policy.Signing {
		if err := r.settled(ctx, it); err != nil {
			return err
		}
	}
	if it.State == string(policy.ItemPlanned) || it.State == string(policy.ItemIntended) {
		if err := r.request(ctx, add, it); err != nil {
			return err
		}
	}
	if it.State != string(policy.ItemSigned) {
		return fmt.Errorf("%w: the item is %s", cardhttp.ErrAnswer, it.State)
	}
	o, err := r.objectOf(ctx, it.Certificate)
	if err != nil {
		return err
	}
	id := o.ID
	cert, err := checkCertificate(it, add, r.plan.Card)
	if err != nil {
		return err
	}
	if err := r.mend(ctx, o); err != nil {
		return fmt.Errorf("%w: %w", ErrWrite, err)
	}
	if err := r.Card.WriteCertificate(ctx, id, it.Certificate); err != nil {
		return fmt.Errorf("%w: %w", ErrWrite, err)
	}
	if add.Slot == policy.Signing {
		r.signingDone()
	}
	if err := r.after(StepWritten, add.Slot); err != nil {
		return err
	}
	back, err := r.Card.ReadCertificate(ctx, id)
	if err != nil {
		return fmt.Errorf("reading it back: %w", err)
	}
	if !bytes.Equal(back, it.Certificate) {
		return ErrReadBack
	}
	r.done = append(r.done, installed(add.Slot, cert, id))
	return r.after(StepReadBack, add.Slot)
}

// request gets a certificate for a key on the card. After an interruption it
// first offers the keys that earlier runs made and that have no certificate: one
// of them may be this item's, and a new key each time would fill the card.
func (r *run) request(ctx context.Context, add policy.Addition, it *wire.Item) error {
	algorithm, err := preferred(add.Algorithms)
	if err != nil {
		return err
	}
	if r.resumed {
		orphans, err := r.orphans(ctx, add.Slot)
		if err != nil {
			return err
		}
		for _, id := range orphans {
			err := r.submit(ctx, add.Slot, it, id)
			if !refusedKey(err) {
				return err
			}
		}
	}
	if err := r.freshChallenge(ctx, it); err != nil {
		return err
	}
	id, err := r.Card.GenerateKey(ctx, add.Slot, algorithm)
	if err != nil {
		return err
	}
	if r.Client.made == nil {
		r.Client.made, r.requests = map[string]bool{}, map[signedRequest][]byte{}
	}
	r.Client.made[string(id)] = true
	if err := r.after(StepGenerated, add.Slot); err != nil {
		return err
	}
	return r.submit(ctx, add.Slot, it, id)
}

// refusedKey reports whether the server refused a key for what it is.
func refusedKey(err error) bool {
	var p *wire.Problem
	return errors.As(err, &p) && strings.HasPrefix(p.Rule, "key.")
}

// preferred returns the first of the plan's algorithms that cards can do.
func preferred(names []string) (token.Algorithm, error) {
	for _, n := range names {
		if n == "RSA" {
			return token.RSA2048, nil
		}
		if a := token.Algorithm(n); a.Known() {
			return a, nil
		}
	}
	return "", fmt.Errorf("%w: none of its key algorithms is known: %q", ErrPlan, names)
}

// orphans returns the keys of a slot that have no certificate and were made by
// this program.
func (r *run) orphans(ctx context.Context, slot policy.Slot) ([][]byte, error) {
	objects, err := r.Card.Objects(ctx)
	if err != nil {
		return nil, err
	}
	var ids [][]byte
	for _, o := range objects {
		if o.Slot == slot && o.HasKey && o.Certificate == nil && strings.HasPrefix(o.Label, token.LabelPrefix) {
			ids = append(ids, o.ID)
		}
	}
	return ids, nil
}

// submit sends a request by the key id, bound to this item, and takes the
// certificate. A lost answer is asked for again with the same request; when the
// server gave an interrupted attempt up or the challenge is too old, it begins
// again with a fresh challenge and the same key.
func (r *run) submit(ctx context.Context, slot policy.Slot, it *wire.Item, id []byte) error {
	key, err := r.Card.Signer(ctx, id)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := r.submitOnce(ctx, slot, it, id, key)
		var p *wire.Problem
		if errors.As(err, &p) && p.Rule == string(policy.DownloadChallenge) && try < maxSubmits {
			it.ChallengeExpires = time.Time{}
			continue
		}
		if err != nil {
			return err
		}
		return r.after(StepSubmitted, slot)
	}
}

func (r *run) submitOnce(ctx context.Context, slot policy.Slot, it *wire.Item, id []byte, key crypto.Signer) error {
	csr, err := r.signed(ctx, slot, it, id, key)
	if err != nil {
		return err
	}
	var answer wire.Item
	if err := r.session.post(ctx, wire.Submit{CSR: csr}, &answer, "downloads", r.download.ID, "items", string(slot)); err != nil {
		return r.changed(ctx, it, err)
	}
	if answer.Slot != string(slot) || answer.State != string(policy.ItemSigned) {
		return fmt.Errorf("%w: submitted, but the item is %s", cardhttp.ErrAnswer, answer.State)
	}
	cert, err := x509.ParseCertificate(answer.Certificate)
	if err != nil || !token.SameKey(key.Public(), cert.PublicKey) {
		return fmt.Errorf("%w: it is not for the key on this card", ErrCertificate)
	}
	*it = answer
	return nil
}

// changed looks whether a refusal means only that the challenge is another one
// by now: an interrupted attempt was given up, perhaps by this very request when
// it was sent for the second time.
func (r *run) changed(ctx context.Context, it *wire.Item, refusal error) error {
	p, ok := errors.AsType[*wire.Problem](refusal)
	switch {
	case ok && p.Rule == string(policy.DownloadChallenge):
		it.State = string(policy.ItemPlanned)
	case ok && p.Rule == string(policy.DownloadBinding):
		sent := it.Challenge
		if r.look(ctx, it) == nil && !bytes.Equal(sent, it.Challenge) {
			return &wire.Problem{Title: p.Title, Status: p.Status, Rule: string(policy.DownloadChallenge), Request: p.Request}
		}
	}
	return refusal
}

// signedRequest names a certification request: its key, and what it is bound to.
type signedRequest struct {
	key    string
	digest [32]byte
}

// signed returns the request of a key for an item: the one that the key has
// signed already as long as the challenge is the same, or else a new one. Of a key
// for signing that an earlier run made nobody knows what it has signed: it is
// given a new challenge first, which makes what it signed worth nothing.
func (r *run) signed(ctx context.Context, slot policy.Slot, it *wire.Item, id []byte, key crypto.Signer) ([]byte, error) {
	b := card.Binding{Download: r.download.ID, Slot: string(slot), Card: string(r.plan.Card),
		Login: sha256.Sum256(r.session.identity.Certificate.Raw), PlanHash: r.hash}
	name := func() signedRequest {
		b.Challenge = [32]byte{}
		copy(b.Challenge[:], it.Challenge)
		return signedRequest{string(id), b.Digest()}
	}
	again := slot == policy.Signing && !r.Client.made[string(id)] && r.requests[name()] == nil
	if again {
		r.ui.Progress(StepSignsAgain, slot)
		it.ChallengeExpires = time.Time{}
	}
	if it.State == string(policy.ItemPlanned) {
		if err := r.freshChallenge(ctx, it); err != nil {
			return nil, err
		}
	}
	if csr := r.requests[name()]; csr != nil {
		return csr, nil
	}
	if slot == policy.Signing && !again && !r.Client.made[string(id)] {
		r.ui.Progress(StepSignsAgain, slot)
	}
	csr, err := card.NewRequest(key, b)
	if err != nil {
		return nil, err
	}
	if r.requests == nil {
		r.requests = map[signedRequest][]byte{}
	}
	r.requests[name()] = csr
	delete(r.Client.made, string(id))
	if slot == policy.Signing {
		r.unlocked = true
		r.signingDone()
	}
	return csr, nil
}

// freshChallenge asks for a new challenge where the one at hand is too old.
func (r *run) freshChallenge(ctx context.Context, it *wire.Item) error {
	if it.State == string(policy.ItemIntended) {
		return nil // the server answers what became of that attempt
	}
	if len(it.Challenge) == 32 && r.now().Add(challengeMargin).Before(it.ChallengeExpires) {
		return nil
	}
	var answer wire.Item
	if err := r.session.post(ctx, struct{}{}, &answer, "downloads", r.download.ID, "items", it.Slot, "challenge"); err != nil {
		return err
	}
	if answer.Slot != it.Slot || len(answer.Challenge) != 32 {
		return fmt.Errorf("%w: no challenge of 32 octets", cardhttp.ErrAnswer)
	}
	*it = answer
	return nil
}

// keyOf finds the key on the card that a certificate is for.
func (r *run) keyOf(ctx context.Context, der []byte) ([]byte, error) {
	o, err := r.objectOf(ctx, der)
	return o.ID, err
}

// objectOf is keyOf with all that is known of the object.
func (r *run) objectOf(ctx context.Context, der []byte) (token.Object, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return token.Object{}, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	objects, err := r.Card.Objects(ctx)
	if err != nil {
		return token.Object{}, err
	}
	for _, o := range objects {
		if o.HasKey && token.SameKey(o.Public, cert.PublicKey) {
			return o, nil
		}
	}
	return token.Object{}, ErrKeyElsewhere
}

// mend takes away what a killed writer left of a certificate: over half of one the
// whole one could not be written, in this run or in any later one.
func (r *run) mend(ctx context.Context, o token.Object) error {
	if m, ok := r.Card.(token.Mender); ok && o.Damaged {
		return m.DropCertificate(ctx, o.ID)
	}
	return nil
}

// checkCertificate verifies that the certificate is what the plan says. Its full
// content is the server's to answer for; what a card can be harmed by is another
// card's number, another use, another issuer or a longer life than was shown.
func checkCertificate(it *wire.Item, add policy.Addition, number policy.CardNumber) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(it.Certificate)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	switch {
	case cert.KeyUsage != usageOf(add.Slot):
		return nil, fmt.Errorf("%w: key usage %b", ErrCertificate, cert.KeyUsage)
	case add.Content.CardNumber != "" && token.NumberOf(cert) != string(number):
		return nil, fmt.Errorf("%w: it names another card", ErrCertificate)
	case cert.NotAfter.After(add.NotAfter):
		return nil, fmt.Errorf("%w: it lives longer than planned", ErrCertificate)
	case cert.Subject.CommonName != add.Content.CommonName:
		return nil, fmt.Errorf("%w: it names another person", ErrCertificate)
	}
	if it.Issuer != nil {
		issuer, err := x509.ParseCertificate(it.Issuer)
		if err != nil || cert.CheckSignatureFrom(issuer) != nil {
			return nil, fmt.Errorf("%w: it is not of the issuer it came with", ErrCertificate)
		}
	}
	return cert, nil
}

// readCertificate reads and parses a certificate on the card.
func readCertificate(ctx context.Context, c token.Card, id []byte) (*x509.Certificate, error) {
	der, err := c.ReadCertificate(ctx, id)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
