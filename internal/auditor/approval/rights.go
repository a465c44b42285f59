package approval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"sigill/internal/audit"
	"sigill/internal/auditor/book"
	"sigill/internal/auditor/rederive"
	"sigill/internal/auditor/source"
	"sigill/internal/statement"
)

// Right is an act by which somebody comes to have a say over orders: a role, or an
// organisation that a role counts in. It is as good as the two statements behind it:
// who writes the service's database can write the act, and cannot sign them.
type Right struct {
	Act    string
	Number int64
	At     int64
	Fields map[string]string
}

// MetaFounded is the word in the book for the act of the founding: its index,
// organisation and document.
const MetaFounded = "ceremony.founded"

// Right judges what an act rests on. why says what does not hold, "": it holds. wait says
// that why may be for what the logs have not shown yet.
func (j *Judge) Right(ctx context.Context, r Right) (why string, wait bool, err error) {
	var shown [2]rederive.Statement
	for i, suffix := range []string{"", "-2"} {
		id := r.Fields["statement"+suffix]
		if !strings.HasPrefix(id, "st_") || strings.Contains(id, "/") {
			return "it tells of no two statements", false, nil
		}
		e, err := j.source.Evidence(ctx, id)
		switch {
		case errors.Is(err, source.ErrErased), errors.Is(err, source.ErrUnshown), err == nil && len(e.Statements) != 1:
			return "a statement that it rests on is not shown", false, nil
		case err != nil:
			return "", false, err
		}
		shown[i] = e.Statements[0]
		if sum := sha256.Sum256(shown[i].Content); hex.EncodeToString(sum[:]) != r.Fields["signed"+suffix] {
			return "a statement shown is not the one that it tells of", false, nil
		}
	}
	err = j.book.View(ctx, func(tx *book.Tx) error {
		var names [2]string
		for i, suffix := range []string{"", "-2"} {
			names[i], why, err = j.stated(tx, r, shown[i], r.Fields["certificate"+suffix])
			if err != nil || why != "" {
				wait = why == unlogged
				return err
			}
		}
		if names[0] == names[1] {
			why = "one person signed twice"
		} else if isOfficer(names[0]) != isOfficer(names[1]) {
			why = "an officer and an administrator signed"
		} else if isOfficer(names[0]) {
			why, wait, err = founding(tx, r)
		}
		return err
	})
	return why, wait, err
}

func isOfficer(name string) bool { return strings.HasPrefix(name, "officer:") }

// stated finds out who signed a statement, and whether it is about the act.
func (j *Judge) stated(tx *book.Tx, r Right, s rederive.Statement, certificate string) (name, why string, err error) {
	by, err := j.signer(s.Certificate)
	if err != nil {
		return "", err.Error(), nil
	}
	c, err := tx.Certificate(by.Serial)
	if errors.Is(err, book.ErrNotFound) {
		return "", unlogged, nil
	} else if err != nil {
		return "", "", err
	}
	want, organisation, ok := r.says(c.Profile == profileOfficer)
	if !ok {
		return "", "what was signed is not what was done", nil
	}
	sig, err := s.Says(want, by)
	if err != nil {
		return "", err.Error(), nil
	}
	return signerOf(tx, sig, &book.Approval{Certificate: certificate, Act: r.Act, Number: r.Number, At: r.At},
		&book.Order{Organisation: organisation, Person: r.Fields["person"]})
}

// says returns what the statements behind the act must say, and of which organisation
// the signers must be administrators; false: the document that they stand for is not
// about this act. The forms are those of docs/API.md.
func (r Right) says(officers bool) (want statement.Statement, organisation string, ok bool) {
	f := r.Fields
	digest, err := hex.DecodeString(f["document"])
	if err != nil || len(digest) != sha256.Size {
		return want, "", false
	}
	want = statement.Statement{For: "-", Card: "-", Content: [sha256.Size]byte(digest)}
	switch {
	case officers:
		want.Act, want.Subject = statement.ActFound, "ceremony"
		return want, "", true // what it says of persons is in no log: see founding
	case r.Act == audit.RoleGranted:
		want.Act, want.Subject, want.For = statement.ActGrant, f["organisation"], f["person"]
		ok = is(digest, struct {
			Organisation string `json:"organisation"`
			Person       string `json:"person"`
			Role         string `json:"role"`
		}{f["organisation"], f["person"], f["role"]})
		return want, f["organisation"], ok
	case r.Act == audit.OrganisationCreated:
		want.Act, want.Subject = statement.ActBranch, "organisation:"+f["number"]
		ok = is(digest, struct {
			Number string `json:"number"`
			Name   string `json:"name"`
			Parent string `json:"parent"`
		}{f["number"], f["name"], f["parent"]})
		return want, f["parent"], ok
	}
	want.Act, want.Subject = statement.ActSigning, f["organisation"]
	return want, f["organisation"], true // its document has a reason, which is in no log
}

// is reports whether the digest is that of a document in its canonical form.
func is(digest []byte, document any) bool {
	text, err := json.Marshal(document)
	sum := sha256.Sum256(text)
	return err == nil && string(sum[:]) == string(digest)
}

// founding judges what officers gave. Their one document names two persons by what is
// in no log. So it gives what came before the act of the founding, to two persons, in
// the one organisation, and nothing afterwards.
func founding(tx *book.Tx, r Right) (why string, wait bool, err error) {
	text, err := tx.Meta(MetaFounded)
	if err != nil {
		return "", false, err
	}
	var number int64
	var organisation, document string
	if text == "" {
		return "officers gave it, and no act tells of the founding", true, nil
	} else if _, err := fmt.Sscan(text, &number, &organisation, &document); err != nil {
		return "officers gave it, and the act of the founding is not understood", false, nil
	}
	granted, err := tx.Granted(number)
	switch {
	case err != nil:
		return "", false, err
	case r.Number > number:
		return "officers gave it after the founding", false, nil
	case r.Fields["organisation"] != organisation || r.Fields["document"] != document || r.Fields["parent"] != "":
		return "officers gave what is not of the founding", false, nil
	case r.Act == audit.RoleGranted && (granted > 2 || r.Fields["role"] != "administrator"), r.Act == audit.OrganisationSigning:
		return "officers gave more than two administrators", false, nil
	}
	return "", false, nil
}
