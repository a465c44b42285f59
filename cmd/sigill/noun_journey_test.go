package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigill/internal/adminclient/admintest"
	"sigill/internal/keys"
	"sigill/internal/wire"
)

// outcome is what a run of the program did.
type outcome struct {
	code     int
	out, err string
}

// program runs sigill with what is typed as its standard input. The environment
// that would change what it does is taken away.
func program(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	for _, name := range []string{"SIGILL_SERVER", "SIGILL_CA", "SIGILL_DIR", "SIGILL_IDENTITY", "SIGILL_ORG", "SIGILL_LOG_KEY", "LC_ALL", "LC_MESSAGES", "LANG"} {
		if _, ok := os.LookupEnv(name); ok {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	var out, notes bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(stdin), &out, &notes)
	return outcome{code, out.String(), notes.String()}
}

func decoded[T any](t *testing.T, o outcome) T {
	t.Helper()
	var v T
	if o.code != 0 {
		t.Fatalf("exit %d: %s%s", o.code, o.out, o.err)
	}
	if err := json.Unmarshal([]byte(o.out), &v); err != nil {
		t.Fatalf("%v in %q", err, o.out)
	}
	return v
}

// desk runs nouns against one installation.
type desk struct {
	*admintest.Installation
	t *testing.T
}

// as runs a noun with a card: its PIN is typed, then the answers, then the PIN of
// the second card, as somebody at a terminal is asked.
func (d *desk) as(who card, answers string, args ...string) outcome {
	d.t.Helper()
	typed := who.pin + "\n" + answers
	for _, p := range who.more {
		typed += p + "\n"
	}
	return d.typed(who, typed, args...)
}

// typed is as, with all that is typed given.
func (d *desk) typed(who card, typed string, args ...string) outcome {
	d.t.Helper()
	return program(d.t, typed, append(args, "--server", d.Card, "--dir", d.Dir, "--identity", "soft:"+who.path, "--pin-fd", "0")...)
}

type card struct {
	path, pin string
	more      []string // PINs of further cards
	number    string
}

func (d *desk) officer(n int) card {
	path, pin := d.Officer(d.t, n)
	return card{path: path, pin: pin}
}

func (d *desk) file(name, content string) string {
	d.t.Helper()
	path := filepath.Join(d.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

const foundingFile = `{"organisation": {"number": "2321000016", "name": "Region Österbyggd"}, "administrators": [
  {"personnummer": "197511192390", "givenName": "Karin", "surname": "Bergström", "hsaId": "SE2321000016-K7B1"},
  {"personnummer": "196903272398", "givenName": "Lars-Åke", "surname": "Ängqvist", "hsaId": "SE2321000016-L3A9"}]}`

// issue delivers a card, hands it out to a person and has an eID fetched to it,
// all by nouns. org is given only where the caller has no roles.
func (d *desk) issue(number, hsaID string, first, second card, bootstrap []string) card {
	d.t.Helper()
	path, row := d.NewCard(d.t, number)
	file := admintest.Heading + row
	signature := d.file("cards.sig", string(d.SignDelivery(d.t, []byte(file))))
	out := d.t.TempDir()
	both, org := first, []string{}
	if bootstrap != nil {
		both.more = []string{second.pin}
		org = bootstrap[:2]
	}
	got := d.as(both, "", append([]string{"card", "import", d.file("cards.csv", file), "--bureau", admintest.Bureau, "--signature", signature, "--out", out}, bootstrap...)...)
	if got.code != 0 || !strings.Contains(got.out, "1 created, 0 changed, 0 unchanged, 0 refused") {
		d.t.Fatalf("card import: %+v", got)
	}
	text, err := os.ReadFile(filepath.Join(out, number+".pem"))
	if err != nil {
		d.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	opened := admintest.Open(d.t, path, admintest.PIN)
	admintest.Install(d.t, opened, block.Bytes)
	more := []string{}
	if bootstrap != nil {
		more = bootstrap[2:]
	}
	got = d.as(both, "yes\n", append([]string{"card", "handout", number, "--person", hsaID, "--document", "passport", "--json"}, more...)...)
	if k := decoded[wire.Card](d.t, got); k.State != "active" || k.Receipt == nil || !strings.Contains(got.err, hsaID) || !strings.Contains(got.err, "for ever") {
		d.t.Fatalf("handout: %+v", got)
	}
	got = d.as(first, "y\n", append([]string{"order", "place", "--hsa-id", hsaID, "--to", number, "--json"}, org...)...)
	o := decoded[wire.Order](d.t, got)
	if !strings.Contains(got.err, "serialNumber") || !strings.Contains(got.err, o.ID) {
		d.t.Fatalf("what is signed was not shown: %s", got.err)
	}
	if o := decoded[wire.Order](d.t, d.as(second, "ja\n", "order", "approve", o.ID, "--json")); o.State != "approved" {
		d.t.Fatalf("approved: %+v", o)
	}
	d.Fetch(d.t, opened)
	return card{path: path, pin: admintest.PIN, number: number}
}

func TestNouns(t *testing.T) {
	d := &desk{admintest.Start(t), t}
	one, two := d.officer(1), d.officer(2)
	org := d.found(one, two)
	bootstrap := []string{"--org", org, "--second", "soft:" + two.path}
	karin := d.issue("9752000000000000301", "SE2321000016-K7B1", one, two, bootstrap)
	lars := d.issue("9752000000000000302", "SE2321000016-L3A9", one, two, bootstrap)
	if got := d.as(one, "", "whoami"); got.code != exitFailed || !strings.Contains(got.err, "ceremony.closed") {
		t.Errorf("an officer after the ceremony: %+v", got)
	}
	got := d.as(karin, "", "whoami")
	if got.code != 0 || !strings.Contains(got.out, "Karin Bergström") || !strings.Contains(got.out, "administrator of "+org) {
		t.Errorf("whoami: %+v", got)
	}
	d.persons(karin)
	åsa := d.issue("9752000000000000303", "SE2321000016-A4O2", karin, lars, nil)
	d.lists(karin, åsa)
	d.irreversible(karin, lars, åsa)
}

func (d *desk) found(one, two card) string {
	t := d.t
	args := []string{"ceremony", "found", d.file("founding.json", foundingFile), "--officer1", "soft:" + one.path, "--officer2", "soft:" + two.path,
		"--server", d.Card, "--dir", d.Dir, "--pin-fd", "0", "--json"}
	// Asked first, PINs after: who says no has signed nothing.
	if got := program(t, "n\n", args...); got.code != exitFailed || got.out != "" || !strings.Contains(got.err, "Nothing was done") || !strings.Contains(got.err, "Ängqvist") {
		t.Fatalf("declined: %+v", got)
	}
	if got := program(t, "y\n"+one.pin+"\nwrong1\n", args...); got.code != exitFailed || !strings.Contains(got.err, "PIN") {
		t.Fatalf("wrong PIN: %+v", got)
	}
	cer := decoded[wire.Ceremony](t, program(t, "y\n"+one.pin+"\n"+two.pin+"\n", args...))
	if cer.Organisation == "" || len(cer.Administrators) != 2 {
		t.Fatalf("founded: %+v", cer)
	}
	return cer.Organisation
}

func (d *desk) persons(by card) {
	t := d.t
	csv := "personnummer,givenName,surname,hsaId,email,upn,sid,endsAt,protected\n198001042384,Åsa,Öström,SE2321000016-A4O2,asa@region.example,,,,\n"
	if got := d.as(by, "", "person", "import", d.file("people.csv", csv)); got.code != 0 || !strings.Contains(got.out, "1 created") {
		t.Fatalf("import: %+v", got)
	}
	taken := strings.Replace(csv, "198001042384", "198807152387", 1) // another person's HSA-id
	if got := d.as(by, "", "person", "import", d.file("people.csv", taken)); got.code != exitFailed || !strings.Contains(got.out+got.err, "refused") && got.err == "" {
		t.Errorf("a file with a refused row: %+v", got)
	}
	got := d.as(by, "", "person", "list", "SE2321000016-A")
	if got.code != 0 || !strings.Contains(got.out, "Åsa Öström") || strings.Contains(got.out, "Karin") {
		t.Errorf("list: %+v", got)
	}
	list := decoded[wire.People](t, d.as(by, "", "person", "list", "--limit", "2", "--json"))
	if len(list.People) != 2 {
		t.Errorf("page: %+v", list)
	}
	if got := d.as(by, "", "person", "list", "--limit", "2"); !strings.Contains(got.out, "--after "+list.People[1].HSAID) {
		t.Errorf("the next page is not told: %+v", got)
	}
}

func (d *desk) lists(by, holder card) {
	t := d.t
	if got := d.as(by, "", "card", "show", holder.number); got.code != 0 || !strings.Contains(got.out, "passport") || !strings.Contains(got.out, "active") {
		t.Errorf("card show: %+v", got)
	}
	if cards := decoded[wire.Cards](t, d.as(by, "", "card", "list", "--json")); len(cards.Cards) != 3 {
		t.Errorf("cards: %+v", cards)
	}
	list := decoded[wire.Orders](t, d.as(by, "", "order", "list", "--state", "installed", "--json"))
	if len(list.Orders) != 3 {
		t.Fatalf("orders: %+v", list)
	}
	if got := d.as(by, "", "order", "show", list.Orders[0].ID); got.code != 0 || !strings.Contains(got.out, "Öström") || !strings.Contains(got.out, "installed") {
		t.Errorf("order show: %+v", got)
	}
	if got := d.as(by, "", "order", "list"); got.code != 0 || strings.Count(got.out, "ord_") != 3 {
		t.Errorf("order list: %+v", got)
	}
	if got := d.as(by, "", "whoami", "--login-with", "00"); got.code != exitFailed || !strings.Contains(got.err, "no authentication certificate") {
		t.Errorf("an object that is not there: %+v", got)
	}
	if got := d.as(by, "", "whoami", "--login-with", "x"); got.code != exitUsage {
		t.Errorf("no object: %+v", got)
	}
	if got := d.as(holder, "", "eid", "list"); got.code != 0 || !strings.Contains(got.out, "Region Österbyggd") || !strings.Contains(got.out, "current") {
		t.Errorf("eid list: %+v", got)
	}
}

// eid returns the holder's certificate as a PEM file and its serial.
func (d *desk) eid(by, holder card) (file, serial string) {
	d.t.Helper()
	me := decoded[wire.Me](d.t, d.as(holder, "", "eid", "list", "--json"))
	serial = me.EIDs[0].Certificates[0].Serial
	got := d.as(by, "", "cert", "show", serial, "--pem")
	if got.code != 0 {
		d.t.Fatalf("cert show: %+v", got)
	}
	return d.file("eid.pem", got.out), serial
}

func (d *desk) irreversible(karin, lars, holder card) {
	t := d.t
	file, serial := d.eid(karin, holder)
	issuer := (&keys.Hierarchy{Dir: d.Dir}).CertificatePath(keys.PersonHSA3)
	verify := []string{"verify", file, "--roots", d.RootFile, "--issuer", issuer}
	if got := program(t, "", verify...); got.code != 0 || !strings.HasSuffix(got.out, "good\n") || !strings.Contains(got.out, "OCSP") {
		t.Errorf("verify: %+v", got)
	}
	if got := program(t, "", "verify", file, "--roots", d.RootFile, "--json"); got.code != exitFailed || !strings.Contains(got.out, `"status":"unknown"`) {
		t.Errorf("verify without the issuer: %+v", got)
	}
	if got := d.as(karin, "", "cert", "revoke", serial, "--reason", "superseded"); got.code != exitFailed || !strings.Contains(got.err, "Nothing was done") {
		t.Errorf("no answer is no yes: %+v", got)
	}
	if cert := decoded[wire.Certificate](t, d.as(karin, "", "cert", "show", serial, "--json")); cert.State != "current" {
		t.Errorf("after no: %+v", cert)
	}
	revoked := d.as(karin, "", "cert", "revoke", serial, "--reason", "privilegeWithdrawn", "--yes", "--wait", "--json")
	if cert := decoded[wire.Certificate](t, revoked); cert.State != "revoked" || cert.Reason != "privilegeWithdrawn" || cert.RevokedAt.IsZero() || !strings.Contains(revoked.err, "Whoever asks sees it.") {
		t.Errorf("revoked: %+v, told %q", cert, revoked.err)
	}
	if got := program(t, "", append(verify, "--json")...); got.code != exitFailed || !strings.Contains(got.out, `"status":"revoked","reason":"privilegeWithdrawn"`) {
		t.Errorf("verify after: %+v", got)
	}
	d.crl(issuer)
	if got := d.as(karin, "", "card", "abandon", holder.number, "--yes"); got.code != exitFailed || !strings.Contains(got.err, "download.state") {
		t.Errorf("abandon where nothing is open: %+v", got)
	}
	if got := d.as(karin, "", "card", "block", karin.number, "--reason", "mislaid", "--yes"); got.code != exitUsage {
		t.Errorf("unknown reason: %+v", got)
	}
	if got := d.typed(karin, "n\n", "card", "block", holder.number, "--reason", "lost"); got.code != exitFailed || !strings.Contains(got.err, "Nothing was done") {
		t.Errorf("declined: %+v", got)
	}
	both := karin
	both.more = []string{lars.pin}
	arm := []string{"card", "arm", holder.number, "--person", "SE2321000016-A4O2", "--document", "passport"}
	if got := d.as(karin, "y\n", arm...); got.code != exitUsage || !strings.Contains(got.err, "--second") {
		t.Errorf("one alone: %+v", got)
	}
	if got := d.as(both, "y\n", append(arm, "--second", "soft:"+lars.path)...); got.code != 0 || !strings.Contains(got.out, "armed until") {
		t.Errorf("arm: %+v", got)
	}
	own := []string{"card", "arm", karin.number, "--person", "SE2321000016-K7B1", "--document", "passport", "--yes", "--second", "soft:" + lars.path}
	if got := d.as(both, "", own...); got.code != exitFailed || !strings.Contains(got.err, "card.self") {
		t.Errorf("one's own card: %+v", got)
	}
	o := decoded[wire.Order](t, d.as(karin, "y\n", "order", "place", "--hsa-id", "SE2321000016-A4O2", "--to", holder.number, "--json"))
	if o := decoded[wire.Order](t, d.as(lars, "y\n", "order", "withdraw", o.ID, "--json")); o.State != "withdrawn" {
		t.Errorf("withdrawn: %+v", o)
	}
	d.receipts(karin, lars, holder, serial)
	if got := d.typed(karin, "y\n"+karin.pin+"\n", "card", "block", holder.number, "--reason", "lost", "--json"); got.code != 0 || !strings.Contains(got.err, "of the log, verified") {
		t.Errorf("block: %+v", got)
	}
	if k := decoded[wire.Card](t, d.as(karin, "", "card", "show", holder.number, "--json")); k.State != "blocked" {
		t.Errorf("card: %+v", k)
	}
	people := decoded[wire.People](t, d.as(karin, "", "person", "list", "SE2321000016-A4O2", "--json"))
	if got := d.as(karin, "y\n", "person", "end", people.People[0].ID); got.code != 0 || !strings.Contains(got.err, "of the log, verified") {
		t.Errorf("end: %+v", got)
	}
}

func (d *desk) crl(issuer string) {
	t := d.t
	url := d.Status + "/crl/" + string(keys.PersonHSA3) + "/0.crl"
	got := program(t, "", "crl", "show", url, "--issuer", issuer)
	if got.code != 0 || !strings.Contains(got.out, "verified") || !strings.Contains(got.out, url) {
		t.Errorf("crl show: %+v", got)
	}
	if got := program(t, "", "crl", "show", url, "--issuer", d.RootFile); got.code != exitFailed || !strings.Contains(got.err, "not signed by") {
		t.Errorf("under another CA: %+v", got)
	}
	root := (&keys.Hierarchy{Dir: d.Dir}).RootCRLPath()
	shown := decoded[shownCRL](t, program(t, "", "crl", "show", root, "--json"))
	if shown.Number == "" || shown.Signature != "not checked" || len(shown.Entries) != 0 {
		t.Errorf("root's list: %+v", shown)
	}
	if got := program(t, "", "crl", "show", d.Status+"/crl/nobody/0.crl"); got.code != exitFailed || !strings.Contains(got.err, "404") {
		t.Errorf("no such list: %+v", got)
	}
}

func TestNounsWrongUse(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"order", "place"},
		{"order", "place", "--to", "9752000000000000001", "--identity", "soft:x"},
		{"order", "place", "--to", "x", "--hsa-id", "a", "--person-number", "b", "--identity", "soft:x"},
		{"order", "place", "--to", "x", "--hsa-id", "a", "--not-after", "tomorrow", "--identity", "soft:x"},
		{"order", "list", "--state", "lost", "--identity", "soft:x"},
		{"card", "handout", "1", "--person", "p", "--document", "library-card", "--identity", "soft:x"},
		{"cert", "revoke", "1", "--reason", "certificateHold", "--identity", "soft:x"},
		{"whoami"},
		{"whoami", "--identity", "soft:x", "--dir", dir}, // no root there
		{"ceremony", "found", "f.json", "--officer1", "soft:x"},
		{"verify", "x.pem"},
		{"organisation", "create", "--number", "5560001009", "--identity", "soft:x", "--second", "soft:y"},
		{"organisation", "create", "--number", "5560001009", "--name", "X", "--identity", "soft:x"}, // one alone
		{"organisation", "signing", "--identity", "soft:x", "--second", "soft:y"},
		{"role", "grant", "--person", "per_1", "--role", "officer", "--identity", "soft:x", "--second", "soft:y"},
		{"role", "end", "--person", "per_1", "--identity", "soft:x"},
	} {
		if got := program(t, "", args...); got.code != exitUsage || got.err == "" {
			t.Errorf("%q: %+v, want exit %d", args, got, exitUsage)
		}
	}
}

func TestFoundingIsReadStrictly(t *testing.T) {
	if document, _, err := canonicalFounding([]byte(foundingFile)); err != nil || bytes.ContainsAny(document, "\n") {
		t.Errorf("%s, %v", document, err)
	}
	for name, edit := range map[string]func(string) string{
		"unknown member": func(s string) string { return strings.Replace(s, `"number"`, `"numbre"`, 1) },
		"two documents":  func(s string) string { return s + s },
		"one person":     func(s string) string { return strings.Replace(s, "196903272398", "197511192390", 1) },
		"no person":      func(s string) string { return strings.Replace(s, "196903272398", "196903272399", 1) },
		"no name":        func(s string) string { return strings.Replace(s, "Region Österbyggd", "", 1) },
	} {
		if _, _, err := canonicalFounding([]byte(edit(foundingFile))); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestTextsDoNotSteerTheTerminal(t *testing.T) {
	got := table([]string{"name", "x"}, []string{"Å\x1b[31msa\u202e\n", "y"})
	if want := fmt.Sprintf("name    x\n%s  y\n", "Å[31msa"); strings.ContainsAny(got, "\x1b\u202e") || strings.Count(got, "\n") != 2 || len(got) < len(want)-2 {
		t.Errorf("%q", got)
	}
}
