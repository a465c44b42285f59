//go:build cgo

package token

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/pkcs11"

	"sigill/policy"
)

// Module is a loaded PKCS #11 library. One library has one state in a process
// (log-ins, sessions), so a program that opens several cards of one library
// loads it once. It is safe for concurrent use.
type Module struct {
	ctx   *pkcs11.Ctx
	owned bool // initialised here, hence finalised here
}

// LoadModule loads and initialises the library at path.
func LoadModule(path string) (*Module, error) {
	ctx := pkcs11.New(path)
	if ctx == nil {
		return nil, fmt.Errorf("PKCS #11 module %s cannot be loaded: is the card's software installed?", path)
	}
	err := ctx.Initialize()
	if err != nil && !is(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		ctx.Destroy()
		return nil, fmt.Errorf("PKCS #11 module %s: %w", path, err)
	}
	return &Module{ctx: ctx, owned: err == nil}, nil
}

// Close ends the library; every card opened through it is gone.
func (m *Module) Close() error {
	var err error
	if m.owned {
		err = m.ctx.Finalize()
	}
	m.ctx.Destroy()
	return err
}

func is(err error, code uint) bool {
	var e pkcs11.Error
	return errors.As(err, &e) && e == pkcs11.Error(code)
}

// hardCard is a card over PKCS #11: one token, or one for each PIN.
type hardCard struct {
	module *Module
	owns   bool     // Close ends the module too
	places []*place // the first holds authentication; the last holds signing
	info   Info
}

var (
	_ Card   = (*hardCard)(nil)
	_ Mender = (*hardCard)(nil)
)

func openPKCS11(ctx context.Context, u URI, pin PIN) (Card, error) {
	m, err := LoadModule(u.Module)
	if err != nil {
		return nil, err
	}
	c, err := m.Open(ctx, u, pin)
	if err != nil {
		m.Close()
		return nil, err
	}
	c.(*hardCard).owns = true
	return c, nil
}

// Open opens the card u of this module; u.Module is not looked at. Closing the
// card leaves the module open.
func (m *Module) Open(ctx context.Context, u URI, pin PIN) (Card, error) {
	c := &hardCard{module: m}
	for i, label := range []string{u.Token, u.Token2} {
		if i == 1 && label == "" {
			break
		}
		serial := ""
		slot := policy.Authentication
		if i == 0 {
			serial = u.Serial
		} else {
			slot = policy.Signing
		}
		p, err := m.openPlace(ctx, label, serial)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		p.pin, p.slot = pin, slot
		c.places = append(c.places, p)
	}
	objects, err := c.Objects(ctx)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	first := c.places[0].token
	c.info = Info{Label: first.Label, Serial: first.SerialNumber, Product: first.Model, SigningPIN: len(c.places) > 1}
	c.info.Number = numberOf(objects, first.Label)
	return c, nil
}

const (
	// A token can be missed while another process writes to it (seen with
	// SoftHSM), or while a card has just been put in. So: look again before
	// concluding that it is gone.
	lookAgain  = 5
	lookPause  = 150 * time.Millisecond
	maxObjects = 512
)

// openPlace finds the token label (or the only one) and opens a session.
func (m *Module) openPlace(ctx context.Context, label, serial string) (*place, error) {
	for try := 1; ; try++ {
		id, info, err := m.find(label, serial)
		if err == nil {
			p := &place{ctx: m.ctx, id: id, token: info}
			if p.session, err = m.ctx.OpenSession(id, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION); err == nil {
				return p, nil
			}
			err = fmt.Errorf("card %q: %w", info.Label, err)
		}
		if try == lookAgain {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lookPause):
		}
	}
}

func (m *Module) find(label, serial string) (uint, pkcs11.TokenInfo, error) {
	none := pkcs11.TokenInfo{}
	slots, err := m.ctx.GetSlotList(true)
	if err != nil {
		return 0, none, fmt.Errorf("looking for cards: %w", err)
	}
	var ids []uint
	var infos []pkcs11.TokenInfo
	var labels []string
	for _, id := range slots {
		info, err := m.ctx.GetTokenInfo(id)
		if err != nil || info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			continue // pulled this moment, or an empty place
		}
		info.Label = strings.TrimRight(info.Label, " \x00")
		info.SerialNumber = strings.TrimRight(info.SerialNumber, " \x00")
		info.Model = strings.TrimRight(info.Model, " \x00")
		labels = append(labels, fmt.Sprintf("%q", info.Label))
		if (label == "" || info.Label == label) && (serial == "" || info.SerialNumber == serial) {
			ids, infos = append(ids, id), append(infos, info)
		}
	}
	switch {
	case len(ids) == 1:
		return ids[0], infos[0], nil
	case len(ids) > 1:
		return 0, none, fmt.Errorf("%d cards fit: name one with token=… or serial=…; there are %s", len(ids), strings.Join(labels, ", "))
	case len(labels) == 0:
		return 0, none, fmt.Errorf("%w: is the card in the reader?", ErrNoCard)
	default:
		return 0, none, fmt.Errorf("%w with label %q; there are %s", ErrNoCard, label, strings.Join(labels, ", "))
	}
}

// Info implements [Card].
func (c *hardCard) Info() Info { return c.info }

// place returns the token that holds slot.
func (c *hardCard) place(slot policy.Slot) (*place, error) {
	switch {
	case len(c.places) == 0:
		return nil, errors.New("card: closed")
	case slot == policy.Signing:
		return c.places[len(c.places)-1], nil
	case slot == policy.Authentication || slot == policy.Transport:
		return c.places[0], nil
	}
	return nil, fmt.Errorf("card: no slot %q", slot)
}

// placeOf returns the token that holds the object id.
func (c *hardCard) placeOf(id []byte) (*place, error) {
	var found *place
	for _, p := range c.places {
		has, err := p.has(id)
		if err != nil {
			return nil, err
		}
		if has && found != nil {
			return nil, fmt.Errorf("object %x is on both tokens of the card", id)
		}
		if has {
			found = p
		}
	}
	if found == nil || len(id) == 0 {
		return nil, fmt.Errorf("object %x: %w", id, ErrNotFound)
	}
	return found, nil
}

// Objects implements [Card].
func (c *hardCard) Objects(ctx context.Context) ([]Object, error) {
	var all []Object
	for i, p := range c.places {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		objects, err := p.objects()
		if err != nil {
			return nil, fmt.Errorf("reading the card: %w", err)
		}
		for _, o := range objects {
			if i > 0 {
				o.Slot = policy.Signing // whatever its label: it stands behind that PIN
			}
			all = append(all, o)
		}
	}
	return all, nil
}

// GenerateKey implements [Card].
func (c *hardCard) GenerateKey(ctx context.Context, slot policy.Slot, algorithm Algorithm) ([]byte, error) {
	p, err := c.place(slot)
	if err != nil {
		return nil, err
	}
	mechanism, public, private, err := keyTemplate(slot, algorithm)
	if err != nil {
		return nil, err
	}
	id := make([]byte, 16)
	rand.Read(id)
	both := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_ID, id),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, labelOf(slot)),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.login(ctx); err != nil {
		return nil, err
	}
	_, _, err = p.ctx.GenerateKeyPair(p.session, []*pkcs11.Mechanism{mechanism}, append(public, both...), append(private, both...))
	if err != nil {
		return nil, fmt.Errorf("making a key on the card: %w", err)
	}
	return id, nil
}

// WriteCertificate implements [Card].
func (c *hardCard) WriteCertificate(ctx context.Context, id, der []byte) error {
	p, err := c.placeOf(id)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.login(ctx); err != nil {
		return err
	}
	public, err := p.publicKey(id)
	if err != nil {
		return err
	}
	cert, err := certificateFor(public, der)
	if err != nil {
		return err
	}
	old, err := p.certificate(id)
	if err == nil {
		if !slices.Equal(old, der) {
			return fmt.Errorf("object %x: %w", id, ErrOccupied)
		}
		return nil
	}
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	label := p.text(id, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKA_LABEL)
	_, err = p.ctx.CreateObject(p.session, certificateTemplate(id, label, cert))
	if err != nil {
		return fmt.Errorf("writing the certificate to the card: %w", err)
	}
	return nil
}

// ReadCertificate implements [Card].
func (c *hardCard) ReadCertificate(ctx context.Context, id []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := c.placeOf(id)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.certificate(id)
}

// Delete implements [Card].
func (c *hardCard) Delete(ctx context.Context, id []byte) error {
	p, err := c.placeOf(id)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.login(ctx); err != nil {
		return err
	}
	for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY, pkcs11.CKO_CERTIFICATE} {
		if err := p.destroy(class, id); err != nil {
			return err
		}
	}
	return nil
}

// DropCertificate implements [Mender].
func (c *hardCard) DropCertificate(ctx context.Context, id []byte) error {
	p, err := c.placeOf(id)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.login(ctx); err != nil {
		return err
	}
	return p.destroy(pkcs11.CKO_CERTIFICATE, id)
}

// Nameless implements [Mender].
func (c *hardCard) Nameless(ctx context.Context, drop bool) (int, error) {
	total := 0
	for _, p := range c.places {
		n, err := p.nameless(ctx, drop)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Close implements [Card].
func (c *hardCard) Close() error {
	var errs []error
	for _, p := range c.places {
		p.mu.Lock()
		if p.loggedIn {
			errs = append(errs, p.ctx.Logout(p.session))
		}
		errs = append(errs, p.ctx.CloseSession(p.session))
		p.mu.Unlock()
	}
	if c.owns {
		c.owns = false
		errs = append(errs, c.module.Close())
	}
	c.places = nil
	return errors.Join(errs...)
}

// place is one token with its session. Methods expect mu to be held, except
// those that say so.
type place struct {
	ctx   *pkcs11.Ctx
	id    uint
	token pkcs11.TokenInfo
	pin   PIN
	slot  policy.Slot // whose PIN opens it

	mu       sync.Mutex
	session  pkcs11.SessionHandle
	loggedIn bool
}

// login asks for the PIN once.
func (p *place) login(ctx context.Context) error {
	if p.loggedIn {
		return nil
	}
	if err := p.present(ctx, pkcs11.CKU_USER); err != nil {
		return err
	}
	p.loggedIn = true
	return nil
}

// present asks for the PIN and gives it to the token.
func (p *place) present(ctx context.Context, user uint) error {
	info, err := p.ctx.GetTokenInfo(p.id)
	if err == nil && info.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0 {
		return LockedError{Slot: p.slot}
	}
	if p.pin == nil {
		return fmt.Errorf("the PIN for %s is needed, and nobody can be asked", p.slot)
	}
	pin, err := p.pin(ctx, p.slot)
	if err != nil {
		return fmt.Errorf("PIN for %s: %w", p.slot, err)
	}
	defer clear(pin)
	err = p.ctx.Login(p.session, user, string(pin))
	switch {
	case err == nil, is(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN):
		return nil
	case is(err, pkcs11.CKR_PIN_LOCKED):
		return LockedError{Slot: p.slot}
	case is(err, pkcs11.CKR_PIN_INCORRECT), is(err, pkcs11.CKR_PIN_LEN_RANGE), is(err, pkcs11.CKR_PIN_INVALID):
		return ErrPIN{Slot: p.slot, Left: p.triesLeft()}
	}
	return fmt.Errorf("PIN for %s: %w", p.slot, err)
}

// triesLeft is 1 when the token says that the next try is the last; tokens tell
// no more than that.
func (p *place) triesLeft() int {
	if info, err := p.ctx.GetTokenInfo(p.id); err == nil && info.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0 {
		return 1
	}
	return -1
}

// renew replaces the session: after a refused signature its operation stays
// active, and every later one would fail. The new session is opened first,
// because closing the last one would log out.
func (p *place) renew() error {
	s, err := p.ctx.OpenSession(p.id, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return fmt.Errorf("opening the card again: %w", err)
	}
	err = p.ctx.CloseSession(p.session)
	p.session = s
	return err
}
