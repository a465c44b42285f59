//go:build unix && cgo

package journey

import (
	"bufio"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
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
	bureau    = "demo-bureau"
	softPIN   = "274163"
	firstCard = "9752278900000000015"
	nextCard  = "9752278900000000023"
	elseCard  = "9752278900000000049"
)

// played is the demo after it was played, still serving.
type played struct {
	t        *testing.T
	dir      string
	server   string // of cards and administrators
	rootFile string
	roots    *x509.CertPool
	bureau   crypto.Signer
	org      string
	admins   [2]*adminclient.Client
}

// play plays the demo and leaves it serving until the test ends.
func play(t *testing.T) *played {
	t.Helper()
	p := &played{t: t, dir: filepath.Join(t.TempDir(), "demo")}
	s := start(t, sigill(t), "demo", "--dir", p.dir, "--serve")
	lines := bufio.NewScanner(s.out)
	story := ""
	for !strings.Contains(story, "The service goes on until") {
		if !lines.Scan() {
			t.Fatalf("sigill demo ended before it served: %v\n%s%s", lines.Err(), story, s.log())
		}
		story += lines.Text() + "\n"
	}
	c, err := config.Load(p.dir)
	p.must(err)
	p.server = "https://" + c.Listen.Card
	p.rootFile = filepath.Join(p.dir, "certificates", "test-sigill-root-ca-v1.pem")
	text, err := os.ReadFile(p.rootFile)
	p.must(err)
	p.roots = x509.NewCertPool()
	if !p.roots.AppendCertsFromPEM(text) {
		t.Fatalf("%s has no certificate", p.rootFile)
	}
	text, err = os.ReadFile(filepath.Join(p.dir, "bureau", "key.pem"))
	p.must(err)
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("the bureau's key is no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	p.must(err)
	p.bureau = key.(crypto.Signer)
	for i, number := range []string{firstCard, nextCard} {
		soft, err := token.OpenSoft(p.softCard(number), tokentest.PIN(softPIN, ""))
		p.must(err)
		t.Cleanup(func() { soft.Close() })
		p.admins[i] = &adminclient.Client{Server: p.server, Roots: p.roots, Card: soft, Language: "en"}
	}
	me, err := p.admins[0].WhoAmI(t.Context())
	p.must(err)
	p.org = me.Roles[0].Organisation
	return p
}

func (p *played) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *played) softCard(number string) string {
	return filepath.Join(p.dir, "cards", number+".json")
}

// holder is somebody in the directory, with a card.
type holder struct {
	number, given, surname, hsaID, email, upn string
	card                                      string
	id                                        string // person id, once imported
}

// directory imports a holder as the directory has them now.
func (p *played) directory(h *holder, result string) {
	p.t.Helper()
	file := "personnummer,givenName,surname,hsaId,email,upn,sid,endsAt,protected\n" +
		strings.Join([]string{h.number, h.given, h.surname, h.hsaID, h.email, h.upn, "", "", "no"}, ",") + "\n"
	rows, err := p.admins[0].ImportPeople(p.t.Context(), p.org, []byte(file))
	p.must(err)
	if len(rows.Rows) != 1 || rows.Refused != 0 || rows.Rows[0].Result != result {
		p.t.Fatalf("directory: %+v, want one row %s", rows, result)
	}
	found, err := p.admins[0].People(p.t.Context(), p.org, h.hsaID, "", 2)
	p.must(err)
	if len(found.People) != 1 {
		p.t.Fatalf("%d persons with HSA-id %s", len(found.People), h.hsaID)
	}
	h.id = found.People[0].ID
}

// personalise does the bureau's work on an opened card: a transport key made in
// it, a delivery file with the key's request, and in the end the transport
// certificate beside its key.
func (p *played) personalise(h *holder, c token.Card, algorithm token.Algorithm) {
	p.t.Helper()
	ctx := p.t.Context()
	id, err := c.GenerateKey(ctx, policy.Transport, algorithm)
	p.must(err)
	key, err := c.Signer(ctx, id)
	p.must(err)
	csr, err := card.NewPlainRequest(key, h.card)
	p.must(err)
	file := fmt.Appendf(nil, "number,product,kind,expires,csr\n%s,7XX,ordinary,%s,%s\n",
		h.card, time.Now().AddDate(4, 0, 0).Format(time.DateOnly), base64.StdEncoding.EncodeToString(csr))
	signature, err := register.SignDelivery(p.bureau, file)
	p.must(err)
	rows, err := p.admins[0].ImportDelivery(ctx, p.org, wire.Delivery{Bureau: bureau, File: file, Signature: signature,
		Statements: p.stated(adminclient.DeliveryStatement(file))})
	p.must(err)
	if len(rows.Rows) != 1 || rows.Refused != 0 || rows.Rows[0].Certificate == nil {
		p.t.Fatalf("delivery: %+v", rows)
	}
	p.must(c.WriteCertificate(ctx, id, rows.Rows[0].Certificate))
}

// handOut gives the card to its holder.
func (p *played) handOut(h *holder) {
	p.t.Helper()
	document, st, err := adminclient.HandOverDocument(statement.ActHandOut, h.card, h.id, "passport")
	p.must(err)
	k, err := p.admins[0].HandOver(p.t.Context(), document, p.stated(st))
	p.must(err)
	if k.State != "active" || k.Holder != h.id {
		p.t.Fatalf("handed out: %+v", k)
	}
}

func (p *played) stated(st statement.Statement) []wire.Statement {
	p.t.Helper()
	s, err := p.admins[0].Sign(p.t.Context(), st)
	p.must(err)
	return []wire.Statement{s}
}

// order places an order by the first administrator and has the second approve it
// where one signature is not enough.
func (p *played) order(kind string, h *holder) (id string) {
	p.t.Helper()
	ctx := p.t.Context()
	document, err := p.admins[0].PreviewOrder(ctx, wire.OrderRequest{Type: kind, Organisation: p.org, HSAID: h.hsaID, Card: h.card, IDKind: "hsa-id", LoA: 3})
	p.must(err)
	o, err := p.admins[0].PlaceOrder(ctx, document)
	p.must(err)
	if o.State == "placed" {
		o, err = p.admins[1].ApproveOrder(ctx, o.ID)
		p.must(err)
	}
	if o.State != "approved" {
		p.t.Fatalf("order %s is %s", o.ID, o.State)
	}
	return o.ID
}
