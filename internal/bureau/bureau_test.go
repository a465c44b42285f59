package bureau

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/orders/register"
	"sigill/policy"
)

const number = "9752278900000000015"

func TestBureau(t *testing.T) {
	ctx := t.Context()
	made, err := New()
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.PrivatePEM()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Load(text)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "card.json")
	c := Card{Path: path, Number: number, Product: "7XX", Kind: "ordinary", Expires: time.Now().AddDate(5, 0, 0), PIN1: "274163", PIN2: "918274"}
	file, signature, err := b.Make(ctx, []Card{c})
	if err != nil {
		t.Fatal(err)
	}
	again, err := register.SignDelivery(b.key, file)
	if err != nil || len(again) == 0 || len(signature) == 0 {
		t.Fatalf("signature: %v", err)
	}
	rows, err := register.ParseDelivery(bytes.NewReader(file))
	if err != nil || len(rows) != 1 || string(rows[0].Number) != number {
		t.Fatalf("delivery: %v, %v", rows, err)
	}
	authority := tokentest.NewAuthority(t, "Card CA")
	der := authority.Issue(t, rows[0].Key, policy.Transport, number)
	for range 2 {
		if err := Write(ctx, path, PINs("274163", ""), der); err != nil {
			t.Fatal(err)
		}
	}
	soft, err := token.OpenSoft(path, PINs("274163", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer soft.Close()
	objects, err := soft.Objects(ctx)
	if err != nil || len(objects) != 1 || !bytes.Equal(objects[0].Certificate, der) {
		t.Errorf("card has %d objects, %v", len(objects), err)
	}
	other, _, err := b.Make(ctx, []Card{{Path: filepath.Join(t.TempDir(), "other.json"), Number: "9752278900000000023", Product: "7XX",
		Kind: "ordinary", Expires: time.Now().AddDate(5, 0, 0), PIN1: "274163", PIN2: "918274"}})
	if err != nil {
		t.Fatal(err)
	}
	if rows, err = register.ParseDelivery(bytes.NewReader(other)); err != nil {
		t.Fatal(err)
	}
	if err := Write(ctx, path, PINs("274163", ""), authority.Issue(t, rows[0].Key, policy.Transport, number)); err == nil {
		t.Error("another card's certificate was written")
	}
	if _, _, err := b.Make(ctx, []Card{c}); err == nil {
		t.Error("a card was made over another")
	}
	if _, err := Load([]byte("nothing")); err == nil {
		t.Error("nothing is a key")
	}
}
