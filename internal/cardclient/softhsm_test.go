//go:build cgo

package cardclient_test

import (
	"testing"

	"sigill/internal/cardclient"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/policy"
)

// TestFetchOverPKCS11 runs the journey with keys that stay on two tokens, one
// per PIN, cut off once in the middle with the card opened anew.
func TestFetchOverPKCS11(t *testing.T) {
	h := tokentest.StartSoftHSM(t)
	h.NewToken(t, "card", "123456")
	h.NewToken(t, "card sign", "654321")
	open := func() token.Card {
		t.Helper()
		c, err := token.Open(t.Context(), h.URI("card", "card sign"), tokentest.PIN("123456", "654321"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	f := newFake(t)
	f.signing = true
	c := open()
	_, old := f.certified(t, c, policy.Authentication)
	f.removes = []string{old}
	client := &cardclient.Client{Server: f.url, Roots: f.roots, Card: c, Version: "1.0.0"}
	client.After = func(step string) error {
		if step == "written" {
			return errPulled
		}
		return nil
	}
	if _, err := client.Fetch(t.Context(), "", &holder{}); err == nil {
		t.Fatal("not cut off")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open()
	defer c.Close()
	client.Card, client.After = c, nil
	result, err := client.Fetch(t.Context(), "", &holder{})
	if err != nil {
		t.Fatal(err)
	}
	if !result.Resumed || len(result.Installed) != 2 || f.issued != 2 || has(t, c, old) || count(t, c) != 2 {
		t.Errorf("result %+v, %d issued, %d objects", result, f.issued, count(t, c))
	}
	if _, me, err := client.Login(t.Context(), cardclient.Identity{}); err != nil || me.LoggedInWith != "authentication" {
		t.Errorf("log-in with the new certificate: %v", err)
	}
}
