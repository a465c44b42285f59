package world

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"sigill/ca"
	"sigill/internal/service"
	"sigill/internal/statement"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// Config says what a world is made over.
type Config struct {
	Stores service.Stores
	// Wrap may replace the signer of an issuing CA; nil: none.
	Wrap func(ca.IssuerID, crypto.Signer) crypto.Signer
	// Linter replaces the real one; nil: the real one.
	Linter     ca.Linter
	Partitions int // 0: 1
	// Log is the certificate log; nil: none.
	Log ca.Log
	Now func() time.Time
}

// World is one installation.
type World struct {
	*service.Services
	Issuers issue.Issuers
	Now     func() time.Time
	Org     policy.OrganisationID
	Admins  [2]*Holder

	config   Config
	issuers  map[ca.IssuerID]ca.IssuerConfig
	officers [2]*identity
	bureau   *ecdsa.PrivateKey
	count    atomic.Int64
}

// identity is a key with its certificate.
type identity struct {
	name string // as statements name it
	key  crypto.Signer
	cert *issue.Certificate
}

// New makes the hierarchy, holds the ceremony and gives two administrators their
// eIDs.
func New(ctx context.Context, c Config) (*World, error) {
	w, err := Bare(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := w.Found(ctx); err != nil {
		return nil, fmt.Errorf("ceremony: %w", err)
	}
	for i := range w.Admins {
		if err := w.Equip(ctx, i); err != nil {
			return nil, fmt.Errorf("administrator %d: %w", i+1, err)
		}
	}
	return w, nil
}

// Bare makes the hierarchy and two officers; the ceremony has not begun.
func Bare(ctx context.Context, c Config) (*World, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wrap == nil {
		c.Wrap = func(_ ca.IssuerID, s crypto.Signer) crypto.Signer { return s }
	}
	if c.Partitions == 0 {
		c.Partitions = 1
	}
	var err error
	if c.Linter == nil {
		if c.Linter, err = NewLinter(); err != nil {
			return nil, err
		}
	}
	w := &World{Now: c.Now, config: c}
	if w.Issuers, w.issuers, err = newIssuers(c); err != nil {
		return nil, err
	}
	if w.bureau, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	if err := w.Restart(); err != nil {
		return nil, err
	}
	cer := &register.Ceremony{OfficerNames: [2]string{"Officer One", "Officer Two"}}
	for i := range w.officers {
		o, err := w.officer(ctx, i)
		if err != nil {
			return nil, err
		}
		w.officers[i], cer.Officers[i] = o, o.cert.Fingerprint
	}
	return w, c.Stores.Register.Update(ctx, func(tx *register.Tx) error { return tx.PutCeremony(cer) })
}

// Restart makes the services anew over the same store, as a process that was
// killed and started again: every earlier owner of an intent is dead.
func (w *World) Restart() error {
	owner := policy.NewID("proc")
	var err error
	w.Services, err = service.New(service.Config{
		Stores: w.config.Stores, Issuers: w.Issuers, For: kinds, CardCA: CardCA,
		Bureaus:    map[string]crypto.PublicKey{"bureau": w.bureau.Public()},
		Provenance: map[policy.LoA]policy.Provenance{2: policy.Session, 3: policy.Session},
		Owner:      owner, Dead: func(o string) bool { return o != owner }, Now: w.Now, Log: w.config.Log,
	})
	return err
}

// Founding returns the document that founds an organisation with two new persons
// as its administrators.
func (w *World) Founding() register.Founding {
	f := register.Founding{Salt: policy.NewSalt(), Organisation: register.FoundingOrganisation{Number: "2321000016", Name: "Region Österbyggd"}}
	for range w.Admins {
		p := w.newPerson()
		f.Administrators = append(f.Administrators, register.FoundingAdministrator{Number: p.Number.Digits(),
			GivenName: p.GivenName, Surname: p.Surname, HSAID: string(p.HSAID), Email: p.Email})
	}
	return f
}

// Found is the founding: two officers, one organisation, two administrators.
func (w *World) Found(ctx context.Context) error {
	f := w.Founding()
	document, err := json.Marshal(f)
	if err != nil {
		return err
	}
	signed, err := w.state(statement.Statement{Act: statement.ActFound, Subject: "ceremony", Content: register.HashOf(document)}, w.officers[:]...)
	if err != nil {
		return err
	}
	founded, err := w.Register.Found(ctx, w.officerCaller(0), document, signed)
	if err != nil {
		return err
	}
	w.Org = founded.Organisation
	for i, person := range founded.Administrators {
		w.Admins[i] = &Holder{Person: person, Number: policy.PersonNumber(f.Administrators[i].Number), HSAID: policy.HSAID(f.Administrators[i].HSAID)}
	}
	return nil
}

func (w *World) officer(ctx context.Context, i int) (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	req := ca.Request{Profile: policy.ProfileOfficer, PublicKey: key.Public(), NotBefore: w.Now().Add(-register.Backdate),
		NotAfter: w.Now().AddDate(1, 0, 0), Content: ca.Content{CommonName: fmt.Sprintf("Officer %d", i+1)}}
	cert, err := w.Issue.Issue(ctx, FunctionCA, req, issue.Binding{}, nil)
	if err != nil {
		return nil, err
	}
	return &identity{name: fmt.Sprintf("officer:%d", i+1), key: key, cert: cert}, nil
}

func (w *World) officerCaller(i int) register.Caller {
	return register.Caller{Certificate: w.officers[i].cert.Fingerprint, Profile: policy.ProfileOfficer, Officer: i + 1}
}

// state signs a statement by each of the identities, now.
func (w *World) state(st statement.Statement, by ...*identity) ([]register.Signed, error) {
	if st.For == "" {
		st.For = "-"
	}
	if st.Card == "" {
		st.Card = "-"
	}
	var out []register.Signed
	for _, id := range by {
		st.By, st.At = id.name, w.Now().UTC().Truncate(time.Second)
		content := st.Bytes()
		signature, err := statement.Sign(id.key, content)
		if err != nil {
			return nil, err
		}
		out = append(out, register.Signed{Content: content, Signature: signature, Certificate: id.cert.Fingerprint})
	}
	return out, nil
}

// newPerson returns a row of the directory with a valid number, different each
// time.
func (w *World) newPerson() register.PersonRow {
	n := w.count.Add(1)
	born := time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, int(n/900))
	number := personNumber(born, int(n%900)+100)
	return register.PersonRow{Number: number, Kind: policy.Personnummer, GivenName: "Åsa", Surname: "Öström",
		HSAID: policy.HSAID(fmt.Sprintf("SE2321000016-%07d", n)), Email: fmt.Sprintf("asa.ostrom%d@region.example", n),
		UPN: fmt.Sprintf("asa%d@ad.region.example", n)}
}

// personNumber completes date and serial with the check digit.
func personNumber(born time.Time, serial int) policy.PersonNumber {
	base := born.Format("20060102") + fmt.Sprintf("%03d", serial)
	for d := range 10 {
		if n, _, err := policy.ParsePersonNumber(fmt.Sprintf("%s%d", base, d)); err == nil {
			return n
		}
	}
	panic("no check digit fits " + base)
}
