package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
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

const number = "9752000000000000017"

// outcome is what a run of the program did.
type outcome struct {
	code     int
	out, err string
}

func program(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	for _, name := range []string{"SIGILL_CARD", "SIGILL_SERVER", "SIGILL_CA", "LC_ALL", "LC_MESSAGES", "LANG"} {
		if _, ok := os.LookupEnv(name); ok {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	var out, notes bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(stdin), &out, &notes)
	return outcome{code, out.String(), notes.String()}
}

// softCard makes a card file with one authentication certificate on it.
func softCard(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.card")
	if err := token.CreateSoft(path, token.SoftConfig{Number: number, PIN1: "123456", PIN2: "654321"}); err != nil {
		t.Fatal(err)
	}
	c, err := token.OpenSoft(path, tokentest.PIN("123456", "654321"))
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

func TestWrongUse(t *testing.T) {
	for _, args := range [][]string{
		{}, {"bogus"}, {"list"}, {"list", "--bogus"}, {"list", "--card", "x.card"}, {"list", "--card", "pkcs11:token=x"},
		{"login", "--card", "soft:x"}, {"--lang", "de", "list"}, {"fetch", "--card", "soft:x", "--server", "https://x", "--login-with", "zz"},
	} {
		if got := program(t, "", args...); got.code != exitUsage || got.err == "" || got.out != "" {
			t.Errorf("%q: exit %d, %q, %q, want exit 2 and a text", args, got.code, got.out, got.err)
		}
	}
	for _, args := range [][]string{{"--help"}, {"fetch", "--help"}, {"version"}} {
		if got := program(t, "", args...); got.code != exitDone || got.out == "" {
			t.Errorf("%q: exit %d, %q", args, got.code, got.err)
		}
	}
	if got := program(t, "", "list", "--card", "soft:/nonexistent"); got.code != exitFailed || !strings.Contains(got.err, "is it in the reader?") {
		t.Errorf("no card: %+v", got)
	}
}

func TestLanguage(t *testing.T) {
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	for _, c := range []struct {
		args []string
		env  map[string]string
		want string
	}{
		{nil, nil, "en"}, {nil, map[string]string{"LANG": "sv_SE.UTF-8"}, "sv"}, {nil, map[string]string{"LANG": "sv_SE", "LC_ALL": "C"}, "en"},
		{[]string{"--lang", "sv"}, nil, "sv"}, {[]string{"list", "--lang=en"}, map[string]string{"LANG": "sv"}, "en"}, {[]string{"--lang"}, nil, "en"},
	} {
		if got := language(c.args, env(c.env)); got != c.want {
			t.Errorf("language(%q, %v) = %s, want %s", c.args, c.env, got, c.want)
		}
	}
	if got := program(t, "", "--lang", "sv", "--help"); !strings.Contains(got.out, "Visa vad som finns på kortet") {
		t.Errorf("Swedish help: %s", got.out)
	}
}

func TestList(t *testing.T) {
	path := softCard(t)
	got := program(t, "", "--card", "soft:"+path, "list")
	if got.code != 0 || !strings.Contains(got.out, number) || !strings.Contains(got.out, "authentication") || !strings.Contains(got.out, "TEST CA") {
		t.Errorf("%+v", got)
	}
	got = program(t, "", "--card", "soft:"+path, "--json", "list")
	var v struct {
		Number  string
		Objects []listed
	}
	if err := json.Unmarshal([]byte(got.out), &v); err != nil || v.Number != number || len(v.Objects) != 1 || len(v.Objects[0].Fingerprint) != 64 || !v.Objects[0].HasKey {
		t.Errorf("JSON: %+v, %v", got, err)
	}
}

// TestListMarksRemains of interrupted runs.
func TestListMarksRemains(t *testing.T) {
	path := softCard(t)
	c, err := token.OpenSoft(path, tokentest.PIN("123456", "654321"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.GenerateKey(t.Context(), policy.Signing, token.P256); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	got := program(t, "", "--card", "soft:"+path, "--lang", "sv", "list")
	if got.code != 0 || strings.Count(got.out, "rest av avbruten hämtning") != 1 {
		t.Errorf("%+v", got)
	}
	if got = program(t, "", "--card", "soft:"+path, "--json", "list"); strings.Count(got.out, `"leftover": true`) != 1 {
		t.Errorf("%+v", got)
	}
}

// server answers like a card server whose card is known, and tells what came.
type server struct {
	url, ca string
	asked   []string
	blocked bool
	problem *wire.Problem
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	root := tokentest.NewAuthority(t, "TEST Function CA")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "card"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, root.Certificate, key.Public(), root.Key)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked = append(s.asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Accept-Language"))
		w.Header().Set("Content-Type", "application/json")
		if s.problem != nil {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(s.problem.Status)
			json.NewEncoder(w).Encode(s.problem)
			return
		}
		if r.URL.Path == "/card/v1/block" {
			s.blocked = true
		}
		json.NewEncoder(w).Encode(wire.Me{Card: number, Name: "Åsa \x1b[31mÖberg", LoggedInWith: "authentication",
			Offers: []wire.Offer{{Order: "ord_1", Organisation: "Region Öst"}, {Order: "ord_2", Organisation: "Region Väst"}}})
	}))
	h.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	h.Config.ErrorLog = log.New(io.Discard, "", 0) // look-ups without a card are meant
	h.StartTLS()
	t.Cleanup(h.Close)
	s.url = h.URL
	s.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) args(path string, more ...string) []string {
	return append([]string{"--card", "soft:" + path, "--server", s.url, "--ca", s.ca, "--pin-fd", "0"}, more...)
}

func TestLogin(t *testing.T) {
	s, path := newServer(t), softCard(t)
	got := program(t, "123456\n", s.args(path, "--lang=sv", "login")...)
	if got.code != 0 || !strings.Contains(got.out, "Inloggad: Åsa [31mÖberg, kort "+number) || strings.Contains(got.out, "\x1b") {
		t.Errorf("%+v", got)
	}
	if len(s.asked) != 1 || s.asked[0] != "GET /card/v1/me sv" {
		t.Errorf("asked: %q", s.asked)
	}
	got = program(t, "000000\n", s.args(path, "login")...)
	if got.code != exitFailed || !strings.Contains(got.err, "wrong PIN for authentication, 2 tries left") || len(s.asked) != 1 {
		t.Errorf("wrong PIN: %+v", got)
	}
	got = program(t, "", s.args(path, "login")...)
	if got.code != exitFailed || !strings.Contains(got.err, "line 1") {
		t.Errorf("no PIN: %+v", got)
	}
	s.problem = &wire.Problem{Title: "Kortet är spärrat", Status: 403, Rule: "card.blocked", Next: "Vänd dig till din ID-administratör."}
	got = program(t, "123456\n", s.args(path, "login")...)
	if got.code != exitFailed || !strings.Contains(got.err, "card.blocked") || !strings.Contains(got.err, "Vänd dig") {
		t.Errorf("refused: %+v", got)
	}
}

func TestFetchNamesTheChoice(t *testing.T) {
	s, path := newServer(t), softCard(t)
	got := program(t, "123456\n", s.args(path, "fetch")...)
	if got.code != exitFailed || !strings.Contains(got.err, "--order ord_1") || !strings.Contains(got.err, "Region Väst") {
		t.Errorf("%+v", got)
	}
}

func TestReportLossSaysFirst(t *testing.T) {
	s, path := newServer(t), softCard(t)
	got := program(t, "123456\n", s.args(path, "report-loss")...)
	if got.code != exitFailed || s.blocked || !strings.Contains(got.err, "--yes") {
		t.Errorf("without --yes: %+v, blocked %t", got, s.blocked)
	}
	got = program(t, "123456\n", s.args(path, "report-loss", "--yes")...)
	if got.code != 0 || !s.blocked {
		t.Errorf("with --yes: %+v, blocked %t", got, s.blocked)
	}
}

func TestSelfTest(t *testing.T) {
	s, path := newServer(t), softCard(t)
	got := program(t, "123456\n", s.args(path, "--json", "self-test")...)
	var checks []struct {
		Check  string
		Passed bool
	}
	if err := json.Unmarshal([]byte(got.out), &checks); err != nil || got.code != 0 || len(checks) != 5 {
		t.Errorf("%+v, %v", got, err)
	}
	other := newServer(t)
	s.ca = other.ca
	got = program(t, "123456\n", s.args(path, "--lang", "sv", "self-test")...)
	if got.code != exitFailed || !strings.Contains(got.out, "proxy") || !strings.Contains(got.out, "FEL") {
		t.Errorf("another issuer: %+v", got)
	}
}

func TestApproveShowsEverything(t *testing.T) {
	var notes bytes.Buffer
	for answer, want := range map[string]bool{"j\n": true, "yes\n": true, "n\n": false, "\n": false, "": false} {
		a := &app{ctx: t.Context(), lang: "sv", notes: &notes, in: newReader(answer)}
		plan := policy.Plan{Card: number, Adds: []policy.Addition{{Slot: policy.Authentication, LoA: 3}}, Removes: []policy.Removal{{Serial: "4711", Slot: policy.Signing, FetchAnew: true}}}
		plan.Adds[0].Content.CommonName, plan.Adds[0].Content.Email = "Åsa Öberg", "asa@example.se"
		got, err := (&face{app: a, client: &cardclient.Client{Card: memoryCard(t)}}).Approve(t.Context(), &wire.Me{Name: "Åsa Öberg"}, plan)
		if err != nil || got != want {
			t.Errorf("answer %q: %t, %v", answer, got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, w := io.Pipe() // nobody answers, and the run is interrupted
	defer w.Close()
	a := &app{ctx: ctx, lang: "sv", notes: io.Discard, in: bufio.NewReader(r)}
	if yes, err := a.confirm("goon"); yes || !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %t, %v", yes, err)
	}
	for _, want := range []string{"Åsa Öberg", "asa@example.se", "4711", "underskrift", "hämta ett nytt", "sitta kvar", number} {
		if !strings.Contains(notes.String(), want) {
			t.Errorf("the plan as shown lacks %q:\n%s", want, notes.String())
		}
	}
}

var verb = regexp.MustCompile(`%[a-z]`)

// TestCatalogue: every text has both languages with the same verbs, and every
// key that the code names is there.
func TestCatalogue(t *testing.T) {
	all := texts
	for key, text := range all {
		sv, en := strings.Join(verb.FindAllString(text.sv, -1), ""), strings.Join(verb.FindAllString(text.en, -1), "")
		if sv != en || (text.sv == "" || text.en == "") && key != "slot." {
			t.Errorf("%s: %q and %q differ", key, sv, en)
		}
	}
	named := regexp.MustCompile(`(?:say|note|confirm)\((?:lang, )?"([^"]+)"[,)]|token\.Err\w+, "([^"]+)"|cardclient\.Err\w+, "([^"]+)"`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(b), -1) {
			key := m[1] + m[2] + m[3]
			if _, ok := all[key]; !ok {
				t.Errorf("%s names the text %q, which is not there", file, key)
			}
			found++
		}
	}
	if found < 40 {
		t.Errorf("only %d uses of texts found: the pattern is wrong", found)
	}
	for _, step := range []string{"begin", "generated", "submitted", "written", "read-back", "confirmed", "removed", "signs-again"} {
		if _, ok := all["step."+step]; !ok {
			t.Errorf("no text for step %s", step)
		}
	}
	if got := say("sv", "state.bogus\x1b"); got != "state.bogus" {
		t.Errorf("unknown key: %q", got)
	}
}

func memoryCard(t *testing.T) token.Card {
	t.Helper()
	c, err := token.NewMemory(token.SoftConfig{Number: number})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newReader(s string) *bufio.Reader { return bufio.NewReader(strings.NewReader(s)) }
