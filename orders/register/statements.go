package register

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/statement"
	"sigill/orders/issue"
	"sigill/policy"
)

// Signed is a statement as a caller hands it in.
type Signed struct {
	Content     []byte // internal/statement's bytes
	Signature   []byte
	Certificate ca.Fingerprint // whose key signed
}

// Expect is what the statements of an act must say.
type Expect struct {
	Act     string
	Subject string
	For     policy.PersonID // empty: "-"
	Card    policy.CardNumber
	Content [32]byte
	// Organisation in which the signers must be administrators.
	Organisation policy.OrganisationID
	// Officers: the bootstrap's officers sign instead of administrators.
	Officers bool
	// Need is how many different people must have signed in this request.
	Need int
}

// maxStatementAge is how old a statement may be when it arrives: it was signed
// for this act now, not found in a drawer.
const maxStatementAge = 5 * time.Minute

// maxAhead is how far a client's clock may be ahead.
const maxAhead = time.Minute

// Stated is a statement that was verified and stored.
type Stated struct {
	ID          policy.StatementID
	By          string   // how events name who signed
	Content     [32]byte // SHA-256 of what was signed
	Certificate ca.Fingerprint
}

// Told returns the fields by which an event names the statements that its act rests
// on: statement, signed and certificate of the first, and the same with -2 of the
// second. Whoever is shown a statement sees from them that it is the one.
func Told(stated []Stated) []audit.Field {
	var out []audit.Field
	suffix := ""
	for i, st := range stated {
		if i > 0 {
			suffix = "-" + strconv.Itoa(i+1)
		}
		out = append(out, issue.F("statement"+suffix, string(st.ID)), issue.F("signed"+suffix, hex.EncodeToString(st.Content[:])),
			issue.F("certificate"+suffix, st.Certificate.String()))
	}
	return out
}

// State verifies that each of the signed statements says what is expected, was
// signed just now by the current card of an administrator (or by an officer),
// and stores them. It returns them in their order.
func (s *Service) State(tx *Tx, now time.Time, want Expect, signed []Signed) ([]Stated, error) {
	if len(signed) != want.Need || want.Need < 1 {
		return nil, policy.Refuse(policy.StatementForm, "%d statements where %d are needed", len(signed), want.Need).Err()
	}
	var stated []Stated
	for _, g := range signed {
		name, person, err := s.signer(tx, want, g)
		if err != nil {
			return nil, err
		}
		for _, other := range stated {
			if other.By == name {
				return nil, policy.Refuse(policy.StatementForm, "the same person states twice").Err()
			}
		}
		st, err := check(now, want, g, name)
		if err != nil {
			return nil, err
		}
		row := &Statement{ID: policy.StatementID(policy.NewID("st")), Act: want.Act, Subject: want.Subject, By: person,
			Certificate: g.Certificate, Content: g.Content, Signature: g.Signature, At: st.At}
		if err := tx.InsertStatement(row); err != nil {
			return nil, err
		}
		stated = append(stated, Stated{ID: row.ID, By: name, Content: HashOf(g.Content), Certificate: g.Certificate})
	}
	return stated, nil
}

// need is how many must sign an act that one administrator may do: in the
// bootstrap both officers.
func need(c Caller) int {
	if c.Officer > 0 {
		return 2
	}
	return 1
}

// Replayed reports whether the first of the statements is stored already. A
// statement is good for one act: who sends it again (an answer was lost, or an
// attacker found it) gets the state as it is and changes nothing.
func Replayed(tx *Tx, subject string, signed []Signed) (bool, error) {
	if len(signed) == 0 {
		return false, nil
	}
	stored, err := tx.StatementsAbout(subject)
	if err != nil {
		return false, err
	}
	for _, st := range stored {
		if st.Certificate == signed[0].Certificate && string(st.Content) == string(signed[0].Content) {
			return true, nil
		}
	}
	return false, nil
}

// signer verifies the signature and finds whose it is. Who signs must be able to
// log in with that certificate now, just as if he called himself.
func (s *Service) signer(tx *Tx, want Expect, g Signed) (name string, person policy.PersonID, err error) {
	bad := policy.Refuse(policy.StatementSignature, "not the signature of a current eID").Err()
	c, err := s.judge(tx, g.Certificate, false)
	if refusal, ok := errors.AsType[*policy.Refusal](err); ok && refusal.Rule == policy.LoginUnknown {
		return "", "", bad
	} else if err != nil {
		return "", "", err
	}
	if want.Officers != (c.Officer > 0) {
		return "", "", bad
	}
	if c.Officer == 0 {
		if err := Administrator(tx, c, want.Organisation); err != nil {
			return "", "", err
		}
	}
	cert, err := tx.Certificate(g.Certificate)
	if err != nil {
		return "", "", err
	}
	parsed, err := s.Certificates.Verify(cert)
	if err != nil {
		return "", "", err
	}
	if statement.Verify(parsed.PublicKey, g.Content, g.Signature) != nil {
		return "", "", bad
	}
	return c.Name(), c.Person, nil
}

func check(now time.Time, want Expect, g Signed, by string) (statement.Statement, error) {
	st, err := statement.Parse(g.Content)
	if err != nil {
		return st, policy.Refuse(policy.StatementForm, "%s", err).Err()
	}
	expected := statement.Statement{Act: want.Act, Subject: want.Subject, By: by, For: orDash(string(want.For)),
		Card: orDash(string(want.Card)), Content: want.Content, At: st.At}
	if string(expected.Bytes()) != string(g.Content) {
		return st, policy.Refuse(policy.StatementForm, "the statement is about something else").Err()
	}
	if now.Sub(st.At) > maxStatementAge || st.At.Sub(now) > maxAhead {
		return st, policy.Refuse(policy.StatementTime, "stated at %s", st.At.UTC().Format(time.RFC3339)).Err()
	}
	return st, nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// HashOf returns the SHA-256 of a document.
func HashOf(document []byte) [32]byte { return sha256.Sum256(document) }
