//go:build unix

package stage

import (
	"bufio"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigill/internal/adminclient"
	"sigill/internal/card"
	"sigill/internal/config"
	"sigill/internal/statement"
	"sigill/internal/token"
	"sigill/internal/token/tokentest"
	"sigill/internal/wire"
	"sigill/orders/register"
	"sigill/policy"
)

// What `sigill demo` leaves: its bureau, the PIN of its cards, the cards of both
// administrators, and the card of somebody else.
const (
	BureauName = "demo-bureau"
	SoftPIN    = "274163"
	ElseCard   = "9752278900000000049"
	firstCard  = "9752278900000000015"
	nextCard   = "9752278900000000023"
)

// Played is an installation in which the demo was played. Its methods fail the
// test they are used in; they belong to the test's goroutine.
type Played struct {
	T        testing.TB
	Dir      string
	Server   string // of cards and administrators
	RootFile string
	Roots    *x509.CertPool
	Bureau   crypto.Signer
	Org      string
	Admins   [2]*adminclient.Client
}

// Play plays the demo and leaves it serving until the test ends.
func (p *Programs) Play(t testing.TB) *Played {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "demo")
	s := Start(t, p.Sigill(t), "demo", "--dir", dir, "--serve")
	lines := bufio.NewScanner(s.Out)
	story := ""
	for !strings.Contains(story, "The service goes on until") {
		if !lines.Scan() {
			t.Fatalf("sigill demo ended before it served: %v\n%s%s", lines.Err(), story, s.Log())
		}
		story += lines.Text() + "\n"
	}
	a := Opened(t, dir)
	me, err := a.Admins[0].WhoAmI(t.Context())
	a.Must(err)
	a.Org = me.Roles[0].Organisation
	return a
}

// Opened takes up an installation that the demo left in dir. Org is left for who
// can ask the server.
func Opened(t testing.TB, dir string) *Played {
	t.Helper()
	a := &Played{T: t, Dir: dir}
	c, err := config.Load(a.Dir)
	a.Must(err)
	a.Server = "https://" + c.Listen.Card
	a.RootFile = filepath.Join(a.Dir, "certificates", "test-sigill-root-ca-v1.pem")
	text, err := os.ReadFile(a.RootFile)
	a.Must(err)
	a.Roots = x509.NewCertPool()
	if !a.Roots.AppendCertsFromPEM(text) {
		t.Fatalf("%s has no certificate", a.RootFile)
	}
	text, err = os.ReadFile(filepath.Join(a.Dir, "bureau", "key.pem"))
	a.Must(err)
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("the bureau's key is no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	a.Must(err)
	a.Bureau = key.(crypto.Signer)
	for i, number := range []string{firstCard, nextCard} {
		soft, err := token.OpenSoft(a.SoftCard(number), tokentest.PIN(SoftPIN, ""))
		a.Must(err)
		t.Cleanup(func() { soft.Close() })
		a.Admins[i] = &adminclient.Client{Server: a.Server, Roots: a.Roots, Card: soft, Language: "en"}
	}
	return a
}

// Must fails the test on an error.
func (a *Played) Must(err error) {
	a.T.Helper()
	if err != nil {
		a.T.Fatal(err)
	}
}

// SoftCard returns the file of a card of the demo.
func (a *Played) SoftCard(number string) string {
	return filepath.Join(a.Dir, "cards", number+".json")
}

// Holder is somebody in the directory, with a card.
type Holder struct {
	Number, Given, Surname, HSAID, Email, UPN string
	Card                                      string
	ID                                        string // person id, once imported
}

// Directory imports holders as the directory has them now; result is what must
// come of each.
func (a *Played) Directory(result string, holders ...*Holder) {
	a.T.Helper()
	file := "personnummer,givenName,surname,hsaId,email,upn,sid,endsAt,protected\n"
	for _, h := range holders {
		file += strings.Join([]string{h.Number, h.Given, h.Surname, h.HSAID, h.Email, h.UPN, "", "", "no"}, ",") + "\n"
	}
	rows, err := a.Admins[0].ImportPeople(a.T.Context(), a.Org, []byte(file))
	a.Must(err)
	if len(rows.Rows) != len(holders) || rows.Refused != 0 || rows.Rows[0].Result != result {
		a.T.Fatalf("directory: %+v, want rows %s", rows, result)
	}
	for _, h := range holders {
		found, err := a.Admins[0].People(a.T.Context(), a.Org, h.HSAID, "", 2)
		a.Must(err)
		if len(found.People) != 1 {
			a.T.Fatalf("%d persons with HSA-id %s", len(found.People), h.HSAID)
		}
		h.ID = found.People[0].ID
	}
}

// Blank is an opened card that is to be personalised, with the kind of its
// transport key.
type Blank struct {
	Number    string
	Card      token.Card
	Algorithm token.Algorithm
}

// Personalise does the bureau's work on opened cards: a transport key made in
// each, one delivery file with the keys' requests, and in the end the transport
// certificates beside their keys.
func (a *Played) Personalise(blanks ...Blank) {
	a.T.Helper()
	ctx := a.T.Context()
	file := []byte("number,product,kind,expires,csr\n")
	ids := map[string][]byte{}
	for _, b := range blanks {
		id, err := b.Card.GenerateKey(ctx, policy.Transport, b.Algorithm)
		a.Must(err)
		key, err := b.Card.Signer(ctx, id)
		a.Must(err)
		csr, err := card.NewPlainRequest(key, b.Number)
		a.Must(err)
		file = fmt.Appendf(file, "%s,7XX,ordinary,%s,%s\n", b.Number, time.Now().AddDate(4, 0, 0).Format(time.DateOnly), base64.StdEncoding.EncodeToString(csr))
		ids[b.Number] = id
	}
	signature, err := register.SignDelivery(a.Bureau, file)
	a.Must(err)
	rows, err := a.Admins[0].ImportDelivery(ctx, a.Org, wire.Delivery{Bureau: BureauName, File: file, Signature: signature,
		Statements: a.stated(adminclient.DeliveryStatement(file))})
	a.Must(err)
	if len(rows.Rows) != len(blanks) || rows.Refused != 0 {
		a.T.Fatalf("delivery: %+v", rows)
	}
	der := map[string][]byte{}
	for _, row := range rows.Rows {
		der[row.Key] = row.Certificate
	}
	for _, b := range blanks {
		a.Must(b.Card.WriteCertificate(ctx, ids[b.Number], der[b.Number]))
	}
}

// HandOut gives a card to its holder.
func (a *Played) HandOut(h *Holder) {
	a.T.Helper()
	document, st, err := adminclient.HandOverDocument(statement.ActHandOut, h.Card, h.ID, "passport")
	a.Must(err)
	k, err := a.Admins[0].HandOver(a.T.Context(), document, a.stated(st))
	a.Must(err)
	if k.State != "active" || k.Holder != h.ID {
		a.T.Fatalf("handed out: %+v", k)
	}
}

func (a *Played) stated(st statement.Statement) []wire.Statement {
	a.T.Helper()
	s, err := a.Admins[0].Sign(a.T.Context(), st)
	a.Must(err)
	return []wire.Statement{s}
}

// Order places an order by the first administrator and has the second approve it
// where one signature is not enough.
func (a *Played) Order(kind string, h *Holder) (id string) {
	a.T.Helper()
	ctx := a.T.Context()
	document, err := a.Admins[0].PreviewOrder(ctx, a.Request(kind, h))
	a.Must(err)
	o, err := a.Admins[0].PlaceOrder(ctx, document)
	a.Must(err)
	if o.State == "placed" {
		o, err = a.Admins[1].ApproveOrder(ctx, o.ID)
		a.Must(err)
	}
	if o.State != "approved" {
		a.T.Fatalf("order %s is %s", o.ID, o.State)
	}
	return o.ID
}

// Request is what an administrator asks for.
func (a *Played) Request(kind string, h *Holder) wire.OrderRequest {
	return wire.OrderRequest{Type: kind, Organisation: a.Org, HSAID: h.HSAID, Card: h.Card, IDKind: "hsa-id", LoA: 3}
}

// HolderProgram prepares sigill-card, built at path, with a card, and the PINs on
// descriptor 3. Who has run it closes its ExtraFiles.
func (a *Played) HolderProgram(path, card, server, pins string, args ...string) (*exec.Cmd, error) {
	cmd := Command(path, append([]string{"--card", card, "--server", server, "--ca", a.RootFile, "--pin-fd", "3", "--lang", "en"}, args...)...)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{r}
	_, err = w.WriteString(pins)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return cmd, nil
}
