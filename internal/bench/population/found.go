package population

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sigill/ca"
	"sigill/internal/app"
	"sigill/internal/statement"
	"sigill/internal/token"
	"sigill/orders/register"
	"sigill/policy"
)

const organisation = "Region Österbyggd"

// found holds the ceremony: the two officers found an organisation with two
// administrators, as on any first day.
func (m *maker) found(ctx context.Context) (err error) {
	a, err := app.Open(ctx, m.Dir, app.Options{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return m.made }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	f := register.Founding{Salt: policy.NewSalt(), Organisation: register.FoundingOrganisation{Number: "2321000016", Name: organisation}}
	for i := range m.p.Administrators {
		f.Administrators = append(f.Administrators, register.FoundingAdministrator{Number: personNumber(numbers - 1 - i),
			GivenName: "Åsa", Surname: fmt.Sprintf("Administratör %c", 'A'+i), HSAID: hsaID(hsaIDs - 1 - i)})
	}
	document, err := json.Marshal(f)
	if err != nil {
		return err
	}
	var signed []register.Signed
	for i := range 2 {
		s, err := m.officer(ctx, i+1, document)
		if err != nil {
			return fmt.Errorf("officer %d: %w", i+1, err)
		}
		signed = append(signed, s)
	}
	caller := register.Caller{Certificate: signed[0].Certificate, Profile: policy.ProfileOfficer, Officer: 1}
	founded, err := a.Register.Found(ctx, caller, document, signed)
	if err != nil {
		return err
	}
	m.p.Organisation, m.p.Administrators = founded.Organisation, founded.Administrators
	return nil
}

// officer signs the founding with the card that init has made.
func (m *maker) officer(ctx context.Context, i int, document []byte) (s register.Signed, err error) {
	name := filepath.Join(m.Dir, "officers", fmt.Sprintf("officer-%d", i))
	pin, err := os.ReadFile(name + ".pin")
	if err != nil {
		return s, err
	}
	card, err := token.OpenSoft(name+".json", func(context.Context, policy.Slot) ([]byte, error) { return []byte(strings.TrimSpace(string(pin))), nil })
	if err != nil {
		return s, err
	}
	defer card.Close()
	objects, err := card.Objects(ctx)
	if err != nil {
		return s, err
	}
	for _, o := range objects {
		if o.Certificate == nil {
			continue
		}
		key, err := card.Signer(ctx, o.ID)
		if err != nil {
			return s, err
		}
		s.Certificate = ca.FingerprintOf(o.Certificate)
		st := statement.Statement{Act: statement.ActFound, Subject: "ceremony", Content: register.HashOf(document), For: "-", Card: "-",
			By: fmt.Sprintf("officer:%d", i), At: m.made.UTC().Truncate(time.Second)}
		s.Content = st.Bytes()
		s.Signature, err = statement.Sign(key, s.Content)
		return s, err
	}
	return s, errors.New("the card has no certificate")
}

// mandate is what two administrators sign for the certificate that the others are
// cast from.
func mandate(content ca.Content, issuer ca.IssuerID, notAfter time.Time, keys [2]crypto.Signer, now time.Time) (*ca.Mandate, error) {
	order, err := json.Marshal(struct {
		Content  ca.Content  `json:"content"`
		Issuer   ca.IssuerID `json:"issuer"`
		NotAfter time.Time   `json:"notAfter"`
	}{content, issuer, notAfter})
	if err != nil {
		return nil, err
	}
	var signed []ca.SignedStatement
	for i, act := range []string{statement.ActPlace, statement.ActApprove} {
		st := statement.Statement{Act: act, Subject: "population", Content: register.HashOf(order), For: "-", Card: "-",
			By: fmt.Sprintf("per_%d", i+1), At: now.UTC().Truncate(time.Second)}
		signature, err := statement.Sign(keys[i], st.Bytes())
		if err != nil {
			return nil, err
		}
		signed = append(signed, ca.SignedStatement{Content: st.Bytes(), Signature: signature, Person: st.By,
			Certificate: &x509.Certificate{PublicKey: keys[i].Public()}})
	}
	return ca.NewMandate(order, len(signed), signed)
}
