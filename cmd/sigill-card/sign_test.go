package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigill/internal/cardclient"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/internal/wire"
	"sigill/policy"
)

// productCard makes a card of a product with an authentication certificate.
func productCard(t *testing.T, product, second string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.card")
	if err := token.CreateSoft(path, token.SoftConfig{Number: number, Product: product, PIN1: "123456", PIN2: second}); err != nil {
		t.Fatal(err)
	}
	c, err := token.OpenSoft(path, tokentest.PIN("123456", second))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	id, err := c.GenerateKey(t.Context(), policy.Authentication, token.P256)
	if err != nil {
		t.Fatal(err)
	}
	key, err := c.Signer(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WriteCertificate(t.Context(), id, tokentest.NewAuthority(t, "TEST CA").Issue(t, key.Public(), policy.Authentication, number)); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestWhichCode: what the holder is to type as signing PIN, by product, word for
// word. A wrong hint costs tries of a PIN that nobody can unlock by himself.
func TestWhichCode(t *testing.T) {
	const (
		letterSV  = "Underskriftskoden (PIN2) för detta kort står i PIN-brevet, om du inte har bytt den."
		letterEN  = "The signing PIN (PIN2) of this card is in the PIN letter, unless you have changed it."
		sameSV    = "Detta kort har inget PIN-brev med underskriftskod. Som underskriftskod (PIN2) anger du den säkerhetskod (PIN1) som du valde när kortet aktiverades, om du inte har bytt underskriftskod sedan dess."
		sameEN    = "This card has no PIN letter with a signing PIN. As signing PIN (PIN2) type the security code (PIN1) that you chose when the card was activated, unless you have changed the signing PIN since."
		unknownSV = "Underskriftskod (PIN2): på kort med produktnummer 7XX på baksidan anger du den säkerhetskod (PIN1) som du valde när kortet aktiverades; på äldre kort koden i PIN-brevet."
		unknownEN = "Signing PIN (PIN2): on cards with product number 7XX on the back type the security code (PIN1) that you chose when the card was activated; on older cards the code in the PIN letter."
	)
	for _, c := range []struct{ product, sv, en string }{
		{"none", letterSV, letterEN}, {"6XX", letterSV, letterEN}, {"7XX", sameSV, sameEN},
		{"473", unknownSV, unknownEN}, {"573", unknownSV, unknownEN}, {"", unknownSV, unknownEN}, {"SoftHSM v2", unknownSV, unknownEN},
	} {
		s, path := newServer(t), productCard(t, c.product, "654321")
		for lang, want := range map[string]string{"sv": c.sv, "en": c.en} {
			got := program(t, "123456\n654321\n", s.args(path, "--lang", lang, "sign-cert")...)
			if first, _, _ := strings.Cut(got.err, "\n"); first != want {
				t.Errorf("product %q, %s: %q\nwant %q", c.product, lang, first, want)
			}
			// And the server's word, which counts where both are renewed.
			var notes strings.Builder
			a := &app{lang: lang, notes: &notes}
			if c.product != "" {
				a.explainPIN2(productPIN2(token.Info{Product: c.product}))
				if notes.String() != want+"\n" {
					t.Errorf("product %q, %s: %q", c.product, lang, notes.String())
				}
			}
		}
	}
}

// TestPIN2ComesFirst: sign-cert asks for the signing PIN before the server is asked
// anything; where one PIN opens all it asks for none.
func TestPIN2ComesFirst(t *testing.T) {
	s, path := newServer(t), productCard(t, "7XX", "654321")
	got := program(t, "123456\n", s.args(path, "sign-cert")...)
	if got.code != exitFailed || !strings.Contains(got.err, "line 2") || len(s.asked) != 0 {
		t.Errorf("without PIN2: %+v, asked %q", got, s.asked)
	}
	got = program(t, "123456\n654321\n", s.args(path, "--lang", "sv", "sign-cert")...)
	if got.code != exitFailed || !strings.Contains(got.err, "signing.off") || !strings.Contains(got.err, "ID-administratör") || len(s.asked) != 1 {
		t.Errorf("no eID may have one: %+v, asked %q", got, s.asked)
	}
	one := productCard(t, "7XX", "")
	if got = program(t, "123456\n", s.args(one, "sign-cert")...); strings.Contains(got.err, "PIN2") || len(s.asked) != 2 {
		t.Errorf("a card with one PIN: %+v, asked %q", got, s.asked)
	}
	if got = program(t, "", s.args(path, "fetch", "--existing", "--order", "ord_1")...); got.code != exitUsage {
		t.Errorf("--existing with --order: %+v", got)
	}
}

// TestPINIsForgotten as soon as it has done its work, and is not read anew from a
// descriptor that has given it already.
func TestPINIsForgotten(t *testing.T) {
	a := &app{flags: &cli{PINFD: 0}, lang: "sv", in: newReader("123456\n654321\n999999\n"), notes: io.Discard}
	a.pins = &pinReader{app: a}
	if err := a.pins.ask(t.Context(), policy.Signing); err != nil {
		t.Fatal(err)
	}
	kept := a.pins.known[1]
	a.pins.drop(policy.Signing)
	if string(kept) != "\x00\x00\x00\x00\x00\x00" || a.pins.known[1] != nil {
		t.Errorf("left behind: %q", kept)
	}
	if pin, err := a.pins.PIN(t.Context(), policy.Authentication); err != nil || string(pin) != "123456" {
		t.Errorf("PIN1: %q, %v", pin, err)
	}
	if _, err := a.pins.PIN(t.Context(), policy.Signing); err == nil || !strings.Contains(err.Error(), "kör samma kommando igen") {
		t.Errorf("once more: %v", err)
	}
}

// TestExplainPIN: what a wrong or locked PIN means and what to do now.
func TestExplainPIN(t *testing.T) {
	wrong := token.ErrPIN{Slot: policy.Signing, Left: 2}
	for _, c := range []struct {
		err    error
		sv, en string
	}{
		{token.ErrPIN{Slot: policy.Transport, Left: 1}, "fel PIN för legitimering, 1 försök kvar. Inget är förlorat: kör samma kommando igen",
			"wrong PIN for authentication, 1 tries left. Nothing is lost: run the same command again"},
		{wrong, "fel PIN för underskrift, 2 försök kvar. Inget är förlorat: kör samma kommando igen",
			"wrong PIN for signing, 2 tries left. Nothing is lost: run the same command again"},
		{token.ErrPIN{Slot: policy.Signing, Left: -1}, "fel PIN för underskrift. Inget är förlorat: kör samma kommando igen",
			"wrong PIN for signing. Nothing is lost: run the same command again"},
		{fmt.Errorf("signing certificate: %w: %w", cardclient.ErrSigningPIN, wrong),
			"fel PIN för underskrift, 2 försök kvar. Inget är förlorat. Utan underskriftskod: kör abandon och sedan fetch --without-signing; underskriftscertifikatet kan hämtas senare",
			"wrong PIN for signing, 2 tries left. Nothing is lost. Without the signing PIN: run abandon and then fetch --without-signing; the signing certificate can be fetched later"},
		{fmt.Errorf("%w: %w", cardclient.ErrSigningPIN, token.LockedError{Slot: policy.Signing}),
			"underskriftskoden (PIN2) är låst: vänd dig till din ID-administratör. Legitimering fungerar som förut. Inget är förlorat. Utan underskriftskod: kör abandon och sedan fetch --without-signing; underskriftscertifikatet kan hämtas senare",
			"the signing PIN (PIN2) is locked: turn to your ID administrator. Authentication works as before. Nothing is lost. Without the signing PIN: run abandon and then fetch --without-signing; the signing certificate can be fetched later"},
		{token.LockedError{Slot: policy.Authentication},
			"säkerhetskoden (PIN1) är låst: vänd dig till din ID-administratör. Inget är förlorat, en påbörjad hämtning går att fortsätta när koden är upplåst",
			"the PIN for authentication (PIN1) is locked: turn to your ID administrator. Nothing is lost, a begun fetch can be gone on with when the PIN is unlocked"},
	} {
		for lang, want := range map[string]string{"sv": c.sv, "en": c.en} {
			if got := (&app{lang: lang}).explain(c.err); got != want {
				t.Errorf("%s: %q\nwant %q", lang, got, want)
			}
		}
	}
}

// TestPlanSaysWhatBecomesOfSigning, always.
func TestPlanSaysWhatBecomesOfSigning(t *testing.T) {
	auth, sign := policy.Addition{Slot: policy.Authentication}, policy.Addition{Slot: policy.Signing}
	old := policy.Removal{Slot: policy.Signing, Serial: "4711"}
	anew := old
	anew.FetchAnew = true
	named := policy.Addition{Slot: policy.Authentication, IDKind: policy.ByPersonNumber}
	named.Content.SerialNumber = "198001042384"
	for _, c := range []struct {
		plan policy.Plan
		want string
	}{
		{policy.Plan{Adds: []policy.Addition{auth, sign}, Removes: []policy.Removal{old}}, "ersätts av ett nytt"},
		{policy.Plan{EID: "x", Adds: []policy.Addition{sign}}, "tillkommer"},
		{policy.Plan{Adds: []policy.Addition{auth}, Removes: []policy.Removal{anew}}, "hämta ett nytt efteråt med sign-cert"},
		{policy.Plan{Adds: []policy.Addition{auth}, Removes: []policy.Removal{old}}, "Organisationen tillåter inga nya"},
		{policy.Plan{Adds: []policy.Addition{named}}, "19800104-****"},
		{policy.Plan{Adds: []policy.Addition{auth}}, "Inget underskriftscertifikat berörs"},
	} {
		var notes strings.Builder
		f := &face{app: &app{ctx: t.Context(), lang: "sv", notes: &notes}, client: &cardclient.Client{Card: memoryCard(t)}, yes: true}
		if _, err := f.Approve(t.Context(), &wire.Me{}, c.plan); err != nil || !strings.Contains(notes.String(), c.want) {
			t.Errorf("want %q in\n%s", c.want, notes.String())
		}
	}
}

// TestEnded: what stays on the card is a warning and no failure; what waits and
// what differs is told.
func TestEnded(t *testing.T) {
	var out, notes strings.Builder
	a := &app{lang: "sv", out: &out, notes: &notes, flags: &cli{}}
	r := &cardclient.Result{Card: number, Repaired: []string{"x"}, Swept: 2, Kept: []cardclient.Kept{
		{ID: []byte{1}, Slot: policy.Authentication, Err: errors.New("nej")}, {ID: []byte{2}, Slot: policy.Signing, Err: cardclient.ErrNotAsked},
		{Err: fmt.Errorf("%w: %w", cardclient.ErrNotReported, io.EOF)}}}
	now := &cardclient.Standing{Me: &wire.Me{Notice: &wire.Notice{Title: "Inget utfärdas nu", Text: "Byte av databas", Next: "Försök igen senare.",
		Until: time.Date(2027, 1, 2, 3, 4, 0, 0, time.Local)}, Offers: []wire.Offer{{Order: "ord_7", Organisation: "Region Öst"}}},
		Differences: []cardclient.Difference{{Kind: cardclient.DiffNoKey, Slot: policy.Signing, Serial: "4711", Organisation: "Region Öst"}}}
	a.showResult(r, now)
	for _, want := range []string{"ord_7", "Mer att hämta", "4711", "fråga din ID-administratör", "skrivna till kortet igen: 1", "borttagna: 2", "får tas ut",
		"Inget utfärdas nu", "Byte av databas", "Försök igen senare", "2027-01-02 03:04"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not told:\n%s", want, out.String())
		}
	}
	for _, want := range []string{"VARNING", "nej", "kör sweep", "talar om det igen"} {
		if !strings.Contains(notes.String(), want) {
			t.Errorf("%q is not told:\n%s", want, notes.String())
		}
	}
	b, err := json.Marshal(fetched(r, now))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"kept":[{"id":"01"`, `"swept":2`, `"kind":"no-key"`, `"order":"ord_7"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("JSON lacks %s: %s", want, b)
		}
	}
}

// TestTextsThatTheDocumentNames are in the catalogue.
func TestTextsThatTheDocumentNames(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "RESUME.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, m := range regexp.MustCompile("`((?:err|step|kept)[.a-z0-9-]*|abandoned)`").FindAllStringSubmatch(string(b), -1) {
		if _, ok := texts[m[1]]; !ok {
			t.Errorf("there is no text %s", m[1])
		}
		found++
	}
	if found < 15 {
		t.Errorf("only %d texts were found", found)
	}
}
