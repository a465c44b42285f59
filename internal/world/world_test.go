package world

import (
	"testing"

	"sigill/policy"
)

func TestWorld(t *testing.T) {
	ctx := t.Context()
	db, err := OpenStore(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w, err := New(ctx, Config{Stores: StoresOf(db)})
	if err != nil {
		t.Fatal(err)
	}
	h, err := w.NewHolderWithEID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first := h.Current.cert.Fingerprint
	id, err := w.Order(ctx, h, policy.OrderRenewal)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Fetch(ctx, h, id); err != nil {
		t.Fatal(err)
	}
	if h.Current.cert.Fingerprint == first {
		t.Error("the renewal gave the old certificate")
	}
}
