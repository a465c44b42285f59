package register

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/card"
	"sigill/internal/statement"
	"sigill/orders/issue"
	"sigill/policy"
)

// CardRow is a card in a bureau's delivery file. The bureau made the transport
// key in the card; its CSR proves that the card has it.
type CardRow struct {
	Number    policy.CardNumber
	Product   string
	Kind      policy.CardKind
	ExpiresAt time.Time
	Key       crypto.PublicKey
}

var cardHeading = []string{"number", "product", "kind", "expires", "csr"}

// ParseDelivery reads a delivery file: UTF-8 CSV with the heading
// number,product,kind,expires,csr (csr: PKCS#10 in base64). Any wrong row
// refuses the whole file.
func ParseDelivery(r io.Reader) ([]CardRow, error) {
	var rows []CardRow
	err := readCSV(r, cardHeading, func(n int, f []string) error {
		row := CardRow{Product: f[1], Kind: policy.CardKind(f[2])}
		var err error
		if row.Number, err = policy.ParseCardNumber(f[0]); err != nil {
			return err
		}
		if row.Kind != policy.Ordinary && row.Kind != policy.Reserve {
			return errors.New("kind is ordinary or reserve")
		}
		if row.ExpiresAt, err = time.Parse(time.DateOnly, f[3]); err != nil {
			return errors.New("expires is not a date YYYY-MM-DD")
		}
		der, err := base64.StdEncoding.Strict().DecodeString(f[4])
		if err != nil {
			return errors.New("csr is not base64")
		}
		req, err := card.ParsePlainRequest(der)
		if err != nil {
			return err
		}
		if req.Card != string(row.Number) {
			return errors.New("csr names another card")
		}
		row.Key = req.PublicKey
		rows = append(rows, row)
		return nil
	})
	return rows, err
}

// deliveryTag separates a bureau's signature from every other use of its key.
const deliveryTag = "sigill-delivery-v1\n"

// SignDelivery returns the bureau's signature over a delivery file.
func SignDelivery(key crypto.Signer, file []byte) ([]byte, error) {
	return statement.Sign(key, append([]byte(deliveryTag), file...))
}

// Delivery is a delivery file as it is handed in.
type Delivery struct {
	Organisation policy.OrganisationID // that will own the cards
	Bureau       string
	File         []byte
	Signature    []byte   // of the bureau
	Statements   []Signed // of one administrator, or of both officers
}

// ImportDelivery registers the cards of a delivery in state sent and makes their
// transport certificates, which the answer carries for the bureau. A second run
// of the same file goes on where the first one stopped.
func (s *Service) ImportDelivery(ctx context.Context, c Caller, d Delivery) ([]RowResult, error) {
	results, err := s.importDelivery(ctx, c, d)
	bureau := d.Bureau
	if _, ours := s.Bureaus[bureau]; !ours { // what somebody typed
		bureau = ""
	}
	return results, s.Keep(ctx, err, c.Name(), issue.F("organisation", string(d.Organisation)), issue.F("bureau", bureau))
}

func (s *Service) importDelivery(ctx context.Context, c Caller, d Delivery) ([]RowResult, error) {
	key, ok := s.Bureaus[d.Bureau]
	if !ok || statement.Verify(key, append([]byte(deliveryTag), d.File...), d.Signature) != nil {
		return nil, policy.Refuse(policy.CardDelivery, "not signed by a bureau of this installation").Err()
	}
	rows, err := ParseDelivery(bytes.NewReader(d.File))
	if err != nil {
		return nil, err
	}
	if err := s.deliverable(rows); err != nil {
		return nil, err
	}
	if c.Officer == 0 && (len(d.Statements) != 1 || d.Statements[0].Certificate != c.Certificate) {
		return nil, policy.Refuse(policy.StatementSignature, "signed with another card than the one logged in with").Err()
	}
	hash := HashOf(d.File)
	subject := fmt.Sprintf("delivery:%x", hash[:8])
	err = s.Store.Update(ctx, func(tx *Tx) error {
		if err := MayFor(tx, c, d.Organisation); err != nil {
			return err
		}
		stated, err := s.State(tx, s.Now(), Expect{Act: statement.ActDelivery, Subject: subject, Content: hash,
			Organisation: d.Organisation, Officers: c.Officer > 0, Need: need(c)}, d.Statements)
		if err != nil {
			return err
		}
		return tx.Events.Append(issue.NewEvent(audit.DeliveryImported, s.Now(), c.Name(), append(Told(stated),
			issue.F("organisation", string(d.Organisation)), issue.F("bureau", d.Bureau),
			issue.F("file", fmt.Sprintf("%x", hash)), issue.F("cards", fmt.Sprint(len(rows))))...))
	})
	if err != nil {
		return nil, err
	}
	results := make([]RowResult, 0, len(rows))
	for i, row := range rows {
		res := RowResult{Row: i + 1, Key: string(row.Number), Result: "created"}
		cert, err := s.deliver(ctx, c, delivered{d.Organisation, hash}, row)
		if refusal, ok := errors.AsType[*policy.Refusal](err); ok {
			res.Result, res.Rule, res.Detail = "refused", refusal.Rule, refusal.Detail
		} else if err != nil {
			return results, err
		} else {
			res.DER = cert.DER
		}
		results = append(results, res)
	}
	return results, nil
}

// deliverable refuses a file with a card of which nothing is known, or that cannot
// keep the old key until the new one has proved to live.
func (s *Service) deliverable(rows []CardRow) error {
	for i, row := range rows {
		if p, known := s.Products[row.Product]; !known || !p.Deliverable() {
			return policy.Refuse(policy.CardDelivery, "row %d: product %q is not one of %v", i+1, row.Product, slices.Sorted(maps.Keys(s.Products))).Err()
		}
	}
	return nil
}

// MayFor decides whether an administrator of org, or an officer whose
// organisation it is, may act.
func MayFor(tx *Tx, c Caller, org policy.OrganisationID) error {
	if c.Officer == 0 {
		return Administrator(tx, c, org)
	}
	cer, err := tx.Ceremony()
	if err != nil {
		return err
	}
	if !cer.ClosedAt.IsZero() {
		return policy.Refuse(policy.CeremonyClosed, "closed").Err()
	}
	if cer.Organisation == "" || cer.Organisation != org {
		return policy.Refuse(policy.CeremonyScope, "not the organisation that was founded").Err()
	}
	return nil
}

// delivered is where a card comes from, and to.
type delivered struct {
	organisation policy.OrganisationID
	file         [32]byte // SHA-256 of the delivery file
}

// deliver registers one card and makes its transport certificate. A card
// without one was interrupted between the two; the next import goes on there.
func (s *Service) deliver(ctx context.Context, c Caller, d delivered, row CardRow) (*issue.Certificate, error) {
	if admitted := policy.AdmitKey(row.Key, s.TransportKeys); !admitted.Allow {
		return nil, admitted.Err()
	}
	issuer, err := s.Issuers.Issuer(s.CardCA)
	if err != nil {
		return nil, err
	}
	now := s.Now()
	if issuer.Certificate().NotAfter.Before(row.ExpiresAt) {
		return nil, policy.Refuse(policy.OrderValidity, "the card outlives the Card CA").Err()
	}
	if !now.Before(row.ExpiresAt) {
		return nil, policy.Refuse(policy.CardStateRule, "the card has expired").Err()
	}
	existing, err := s.enter(ctx, c, d, row)
	if err != nil || existing != nil {
		return existing, err
	}
	binding := issue.Binding{Slot: policy.Transport, Card: row.Number, Organisation: d.organisation, Provenance: policy.Personalised}
	req := ca.Request{Profile: policy.ProfileTransport, PublicKey: row.Key,
		NotBefore: now.Add(-Backdate), NotAfter: row.ExpiresAt,
		Content: ca.Content{Country: "SE", CommonName: string(row.Number), CardNumber: string(row.Number)}}
	// A card that was blocked meanwhile gets no transport certificate.
	return s.Issue.Issue(ctx, s.CardCA, req, binding, func(ctx context.Context, fn func(*issue.Tx) error) error {
		return s.Store.Update(ctx, func(tx *Tx) error {
			card, err := tx.Card(row.Number)
			if err != nil {
				return err
			}
			if card.State != policy.CardSent {
				return policy.Refuse(policy.CardStateRule, "card is %s", card.State).Err()
			}
			return fn(&tx.Tx)
		})
	})
}

// enter registers the card in state sent. If it is there with its transport
// certificate for the same key, that is returned; any other card is refused.
func (s *Service) enter(ctx context.Context, c Caller, d delivered, row CardRow) (*issue.Certificate, error) {
	key, err := ca.FingerprintKey(row.Key)
	if err != nil {
		return nil, err
	}
	var existing *issue.Certificate
	err = s.Store.Update(ctx, func(tx *Tx) error {
		existing = nil
		card, err := tx.Card(row.Number)
		if errors.Is(err, issue.ErrNotFound) {
			card = &Card{Number: row.Number, Product: row.Product, Kind: row.Kind, Organisation: d.organisation,
				State: policy.CardSent, ExpiresAt: row.ExpiresAt}
			if err := tx.InsertCard(card); err != nil {
				return err
			}
			return tx.Events.Append(issue.NewEvent(audit.CardSent, s.Now(), c.Name(), issue.F("card", string(row.Number)),
				issue.F("organisation", string(d.organisation)), issue.F("product", row.Product), issue.F("kind", string(row.Kind)),
				issue.F("expires", row.ExpiresAt.UTC().Format(time.DateOnly)), issue.F("key", fmt.Sprintf("%x", key)), issue.F("file", fmt.Sprintf("%x", d.file))))
		} else if err != nil {
			return err
		}
		known := policy.Refuse(policy.CardKnown, "the card is registered already").Err()
		if card.Organisation != d.organisation || card.Product != row.Product || card.Kind != row.Kind || !card.ExpiresAt.Equal(row.ExpiresAt) {
			return known
		}
		certs, err := tx.CertificatesOfCard(row.Number)
		if err != nil {
			return err
		}
		for _, cert := range certs {
			if cert.Slot == policy.Transport && cert.Key == key {
				existing = cert
				return nil
			}
		}
		if len(certs) > 0 || card.State != policy.CardSent {
			return known
		}
		return nil
	})
	return existing, err
}

// Backdate is how far notBefore lies back: clocks in hospitals are late, and a
// certificate a minute old is refused by them.
const Backdate = 10 * time.Minute
