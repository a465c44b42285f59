package logapi_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	ct "github.com/google/certificate-transparency-go"

	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/internal/wire"
	"sigill/orders/register"
)

// What an order rests on verifies without the service: the document and the signatures
// over it, by certificates of their own.
func TestEvidenceVerifies(t *testing.T) {
	in := install(t)
	h := in.Holder()
	status, _, body := in.fetch(in.as(in.auditor), in.card.URL+"/log/evidence/"+in.orderOf(h))
	var e wire.Evidence
	if err := json.Unmarshal(body, &e); err != nil || status != 200 {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if len(e.Statements) == 0 {
		t.Fatal("nobody stated it")
	}
	for _, each := range e.Statements {
		st, err := statement.Parse(each.Content)
		if err != nil {
			t.Fatal(err)
		}
		signer := must[*x509.Certificate](t)(x509.ParseCertificate(each.Certificate))
		if err := statement.Verify(signer.PublicKey, each.Content, each.Signature); err != nil {
			t.Error(err)
		}
		if st.Content != sha256.Sum256(e.Order) || st.Subject != in.orderOf(h) {
			t.Errorf("a statement about %s", st.Subject)
		}
	}
}

// The public listener has hashes, sizes and signatures: none of its answers has a word of
// any person, card or organisation, and what auditors read is not there.
func TestPublicHasNothingOfPersons(t *testing.T) {
	in := install(t)
	in.Holder()
	in.settle()
	words := in.personal()
	if len(words) < 20 {
		t.Fatalf("only %d words to look for", len(words))
	}
	c := in.public.Client()
	addresses := []string{"acts/checkpoint", "certificates/checkpoint"}
	acts := must[[][]byte](t)(in.Store.LoggedActs(t.Context(), 0, 100_000))
	for _, body := range acts {
		b := must[*audit.Body](t)(audit.ParseBody(body))
		addresses = append(addresses, fmt.Sprintf("acts/proof/%x?event=%s", audit.LeafHash(body), b.ID))
	}
	entries := must[[]ct.LogEntry](t)(in.ctClient(in.Logs.Reader.Certificates.SPKI()).GetEntries(t.Context(), 0, 1000))
	for _, e := range entries {
		addresses = append(addresses, fmt.Sprintf("certificates/proof/%x", must[[32]byte](t)(ct.LeafHashForLeaf(&e.Leaf))))
	}
	if len(acts) < 20 || len(entries) < 5 {
		t.Fatalf("%d acts, %d entries", len(acts), len(entries))
	}
	for _, path := range addresses {
		status, header, body := in.fetch(c, in.public.URL+"/log/"+path)
		if status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
		all := fmt.Sprint(header) + string(body)
		for line := range strings.Lines(string(body)) {
			if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line)); err == nil {
				all += string(raw)
			}
		}
		for _, word := range words {
			if strings.Contains(all, word) {
				t.Errorf("%s tells of %q", path, word)
			}
		}
	}
	for _, path := range in.addresses() {
		if strings.HasSuffix(path, "checkpoint") {
			continue
		}
		if status, _, body := in.fetch(c, in.public.URL+"/log/"+path); status != 404 || !bytes.Equal(body, []byte("Not Found\n")) {
			t.Errorf("%s is public: %d %s", path, status, body)
		}
	}
}

// personal returns what the register knows of people, cards and organisations.
func (in *installation) personal() (words []string) {
	in.T.Helper()
	err := in.Store.Register().View(in.T.Context(), func(tx *register.Tx) error {
		words = nil
		list, err := tx.SearchPeople(in.Org, "", "", 100)
		if err != nil {
			return err
		}
		for _, a := range list {
			p, err := tx.Person(a.Person)
			if err != nil {
				return err
			}
			words = append(words, p.GivenName, p.Surname, p.Number.Digits(), string(p.ID), string(a.HSAID), a.Email, a.UPN)
		}
		cards, err := tx.ListCards(in.Org, "", 100)
		for _, c := range cards {
			words = append(words, string(c.Number))
		}
		return err
	})
	if err != nil {
		in.T.Fatal(err)
	}
	words = append(words, string(in.Org))
	return slices.DeleteFunc(words, func(w string) bool { return w == "" })
}
