package ca

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"sigill/internal/statement"
)

// SignedStatement is a statement with the signature of the person who made it.
// The caller vouches that the certificate is Person's and was current.
type SignedStatement struct {
	Content     []byte // as signed: [statement.Statement.Bytes]
	Signature   []byte
	Certificate *x509.Certificate
	Person      string
}

// Mandate is the proof that as many different persons as policy demands signed
// for a certificate's very content. The issuing key looks at it itself, so that
// a row invented in the database is no approval.
type Mandate struct {
	content  Content
	issuer   IssuerID  // empty: the order names none
	notAfter time.Time // zero: the order names none
}

// NewMandate checks that the statements carry the order: each is an
// administrator's own signature over its hash, one of them places it, and at
// least required different persons signed. The order is JSON whose member
// "content" is a [Content]; where it has the members "issuer" and "notAfter", the
// certificate comes from that issuer and ends no later. It returns a
// [*MandateError] otherwise.
func NewMandate(order []byte, required int, signed []SignedStatement) (*Mandate, error) {
	if required < 1 {
		return nil, &MandateError{"no signature is demanded"}
	}
	m, err := readOrder(order)
	if err != nil {
		return nil, &MandateError{"the order: " + err.Error()}
	}
	hash := sha256.Sum256(order)
	c := counter{persons: map[string]KeyFingerprint{}, keys: map[KeyFingerprint]string{}}
	for n, s := range signed {
		if err := c.add(hash, s); err != nil {
			return nil, &MandateError{fmt.Sprintf("statement %d: %v", n+1, err)}
		}
	}
	if !c.placed {
		return nil, &MandateError{"nobody placed the order"}
	}
	if len(c.persons) < required {
		return nil, &MandateError{fmt.Sprintf("%d different persons signed, %d are needed", len(c.persons), required)}
	}
	return m, nil
}

// Content returns a copy of what the mandate was given for.
func (m *Mandate) Content() Content {
	c := m.content
	c.PolicyOIDs, c.DNSNames = slices.Clone(c.PolicyOIDs), slices.Clone(c.DNSNames)
	return c
}

// counter counts persons. A person counts once however often he signs, and a key
// stands for one person: with one card for two names, one person alone could
// approve his own order.
type counter struct {
	persons map[string]KeyFingerprint
	keys    map[KeyFingerprint]string
	subject string
	placed  bool
}

func (c *counter) add(order [32]byte, s SignedStatement) error {
	st, err := statement.Parse(s.Content)
	if err != nil {
		return err
	}
	switch {
	case st.Act != statement.ActPlace && st.Act != statement.ActApprove:
		return fmt.Errorf("act %s neither places nor approves an order", st.Act)
	case st.Content != order:
		return errors.New("it is about another order")
	case c.subject != "" && st.Subject != c.subject:
		return errors.New("it has another subject than the first")
	case s.Person == "" || st.By != s.Person:
		return errors.New("it is made in another's name")
	case s.Certificate == nil:
		return errors.New("it has no certificate")
	}
	if err := statement.Verify(s.Certificate.PublicKey, s.Content, s.Signature); err != nil {
		return err
	}
	key, err := FingerprintKey(s.Certificate.PublicKey)
	if err != nil {
		return err
	}
	if person, ok := c.keys[key]; ok && person != s.Person {
		return errors.New("its key has signed for another person")
	}
	c.keys[key], c.persons[s.Person], c.subject = s.Person, key, st.Subject
	c.placed = c.placed || st.Act == statement.ActPlace
	return nil
}

// checkMandate checks that the request has the mandate its profile demands.
func checkMandate(p *Profile, issuer IssuerID, r Request) error {
	if p.config.Mandate == MandateNone {
		if r.Mandate != nil {
			return &MandateError{fmt.Sprintf("profile %s takes none", p.Name())}
		}
		return nil
	}
	if r.Mandate == nil {
		return &MandateError{fmt.Sprintf("profile %s needs one", p.Name())}
	}
	switch m := r.Mandate; {
	case !m.content.Equal(r.Content):
		return &MandateError{"it was given for another content"}
	case m.issuer != "" && m.issuer != issuer:
		return &MandateError{"it was given for another issuer"}
	case !m.notAfter.IsZero() && r.NotAfter.After(m.notAfter):
		return &MandateError{"it was given for a shorter time"}
	}
	return nil
}

// readOrder reads what of an order is the CA's business.
func readOrder(order []byte) (*Mandate, error) {
	members, err := jsonMembers(order)
	if err != nil {
		return nil, err
	}
	m := &Mandate{}
	if m.content, err = orderContent(members); err != nil {
		return nil, err
	}
	if raw, ok := members["issuer"]; ok {
		if err := json.Unmarshal(raw, &m.issuer); err != nil || m.issuer == "" {
			return nil, errors.New("its issuer is not a name")
		}
	}
	if raw, ok := members["notAfter"]; ok {
		if err := json.Unmarshal(raw, &m.notAfter); err != nil || m.notAfter.IsZero() {
			return nil, errors.New("its notAfter is not a time")
		}
	}
	return m, nil
}

// orderContent reads the member "content" of an order. Members that stand twice
// or are written in another case are refused: encoding/json takes the last one
// in any case, another reader (the one that showed the order to its signer)
// perhaps the first, or none.
func orderContent(members map[string]json.RawMessage) (Content, error) {
	var c Content
	raw, ok := members["content"]
	if !ok {
		return c, errors.New("it has no content")
	}
	names, err := jsonMembers(raw)
	if err != nil {
		return c, fmt.Errorf("content: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("content: %w", err)
	}
	canonical, err := json.Marshal(c)
	if err != nil {
		return c, fmt.Errorf("content: %w", err)
	}
	want, err := jsonMembers(canonical)
	if err != nil || !slices.Equal(slices.Sorted(maps.Keys(names)), slices.Sorted(maps.Keys(want))) {
		return c, errors.New("content: its members are not written as they are named")
	}
	return c, nil
}

// jsonMembers reads a JSON object, all of it.
func jsonMembers(object []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is not a JSON object")
	}
	members := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		for other := range members {
			if strings.EqualFold(name, other) {
				return nil, fmt.Errorf("member %q stands twice", name)
			}
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		members[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the JSON object")
	}
	return members, nil
}
