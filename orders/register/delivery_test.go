package register_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"sigill/internal/world"
	"sigill/internal/world/fault"
	"sigill/internal/world/worldtest"
	"sigill/orders/register"
	"sigill/policy"
)

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func row(t *testing.T, s *worldtest.Scene, number policy.CardNumber, key *ecdsa.PrivateKey) string {
	t.Helper()
	text, err := s.DeliveryRow(number, key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func delivery(t *testing.T, s *worldtest.Scene, rows string) register.Delivery {
	t.Helper()
	d, err := s.Delivery(rows)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func importing(t *testing.T, s *worldtest.Scene, d register.Delivery) ([]register.RowResult, error) {
	t.Helper()
	c, err := s.Login(t.Context(), s.Admins[0])
	if err != nil {
		t.Fatal(err)
	}
	return s.Register.ImportDelivery(t.Context(), c, d)
}

// Cards come from a bureau that signed for them, through an administrator who
// did too; a file that is wrong anywhere makes no card.
func TestDeliveryMustBeSigned(t *testing.T) {
	s := worldtest.New(t)
	key := newKey(t)
	right := row(t, s, s.NewCardNumber(), key)
	cards := s.Rows("cards", "TRUE")
	for name, c := range map[string]struct {
		change func(*register.Delivery)
		rule   policy.Rule
	}{
		"unknown bureau":   {func(d *register.Delivery) { d.Bureau = "other" }, policy.CardDelivery},
		"no signature":     {func(d *register.Delivery) { d.Signature = nil }, policy.CardDelivery},
		"file changed":     {func(d *register.Delivery) { d.File = append(d.File, '\n') }, policy.CardDelivery},
		"other's cards":    {func(d *register.Delivery) { d.Organisation = "org_other" }, policy.RoleMissing},
		"no statement":     {func(d *register.Delivery) { d.Statements = nil }, policy.StatementSignature},
		"older statement":  {func(d *register.Delivery) { d.Statements = delivery(t, s, "").Statements }, policy.StatementForm},
		"forged statement": {func(d *register.Delivery) { d.Statements[0].Signature[9] ^= 1 }, policy.StatementSignature},
	} {
		t.Log(name)
		d := delivery(t, s, right)
		c.change(&d)
		_, err := importing(t, s, d)
		s.Refused(err, c.rule)
	}
	for name, rows := range map[string]string{
		"number":         strings.Replace(right, "9752", "9753", 1),
		"product":        strings.Replace(right, "7XX", "8XX", 1),
		"kind":           strings.Replace(right, "ordinary", "special", 1),
		"date":           strings.Replace(right, s.Now().AddDate(5, 0, 0).Format(time.DateOnly), "soon", 1),
		"csr":            right[:strings.LastIndex(right, ",")] + ",MAA=\n",
		"csr of another": string(s.NewCardNumber()) + right[19:],
		"second row":     right + strings.Replace(right, "7XX", "8XX", 1),
	} {
		t.Log(name)
		_, err := importing(t, s, delivery(t, s, rows))
		rule := policy.RequestForm
		if strings.Contains(rows, "8XX") { // of which nothing is known
			rule = policy.CardDelivery
		}
		s.Refused(err, rule)
	}
	if n := s.Rows("cards", "TRUE"); n != cards {
		t.Errorf("%d cards were made", n-cards)
	}
}

// A delivery that was interrupted between card and certificate goes on there, and
// one that was finished gives the same answer.
func TestDeliveryAgain(t *testing.T) {
	s := worldtest.New(t)
	first, second := s.NewCardNumber(), s.NewCardNumber()
	keys := [2]*ecdsa.PrivateKey{newKey(t), newKey(t)}
	rows := row(t, s, first, keys[0]) + row(t, s, second, keys[1])
	s.Faults.FailSign(2, fault.Lost, nil)
	if _, err := importing(t, s, delivery(t, s, rows)); !errors.Is(err, fault.ErrInjected) {
		t.Fatal(err)
	}
	s.Faults.Clear()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Downloads.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Sound()
	var der [2][]byte
	for i := range 2 {
		results, err := importing(t, s, delivery(t, s, rows))
		if err != nil || len(results) != 2 {
			t.Fatal(results, err)
		}
		for j, r := range results {
			if r.DER == nil || r.Rule != "" {
				t.Errorf("row %d: %+v", j, r)
			}
			if i == 1 && string(der[j]) != string(r.DER) {
				t.Errorf("card %s has another certificate", r.Key)
			}
			der[j] = r.DER
		}
	}
	// What is signed and lost is revoked; each card has one certificate.
	if n := s.Rows("certificates", "card IN (?, ?)", string(first), string(second)); n != 2 {
		t.Errorf("%d transport certificates", n)
	}
	signed := len(s.Faults.Signed(world.CardCA))
	if n := s.Rows("intents", "issuer = ? AND state = 'abandoned'", string(world.CardCA)); n != 1 || signed == 0 {
		t.Errorf("%d abandoned intents", n)
	}
	s.Sound()
}

// A card is delivered once, and its key is on no other.
func TestDeliveryOfAKnownCard(t *testing.T) {
	s := worldtest.New(t)
	h := s.Person()
	for name, c := range map[string]struct {
		rows string
		rule policy.Rule
	}{
		"same number, new key": {row(t, s, h.Card, newKey(t)), policy.CardKnown},
		"new number, same key": {row(t, s, s.NewCardNumber(), h.TransportKey().(*ecdsa.PrivateKey)), policy.KeySeenRule},
		"an eID's key":         {row(t, s, s.NewCardNumber(), s.Holder().CurrentKey().(*ecdsa.PrivateKey)), policy.KeySeenRule},
	} {
		results, err := importing(t, s, delivery(t, s, c.rows))
		if err != nil || len(results) != 1 || results[0].Result != "refused" || results[0].Rule != c.rule || results[0].DER != nil {
			t.Errorf("%s: %+v, %v", name, results, err)
		}
	}
	s.Sound()
}
