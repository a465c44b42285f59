package cardclient_test

import (
	"testing"

	"sigill/policy"
)

func TestFetchSigning(t *testing.T) {
	d := newDesk(t).equipped(t)
	result, err := d.program().FetchSigning(t.Context(), d.ui)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Installed) != 1 || result.Installed[0].Slot != policy.Signing || result.Order != "" || len(result.Removed) != 0 {
		t.Errorf("%+v", result)
	}
	d.well(t, 1, 1)
	if got := d.card.signatures(policy.Signing); len(got) != 1 || got[0] != 1 {
		t.Errorf("the signing keys signed %v times, want once", got)
	}
	// A second one replaces it.
	result, err = d.program().FetchSigning(t.Context(), d.ui)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Removed) != 1 {
		t.Errorf("%+v", result)
	}
	d.well(t, 1, 1)
	for _, n := range d.card.signatures(policy.Signing) {
		if n != 1 {
			t.Errorf("a signing key signed %d times", n)
		}
	}
}
