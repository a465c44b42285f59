package auditor

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sigill/internal/audit"
	"sigill/internal/auditor/approval"
	"sigill/internal/auditor/book"
	"sigill/internal/auditor/finding"
)

// act is one event of the log of acts.
type act struct {
	*audit.Body
	index  int64
	fields map[string]string
}

// parseAct reads a body.
func parseAct(index int64, body []byte) (*act, error) {
	b, err := audit.ParseBody(body)
	if err != nil {
		return nil, err
	}
	a := &act{Body: b, index: index, fields: make(map[string]string, len(b.Public))}
	for _, f := range b.Public {
		a.fields[f.Name] = f.Value
	}
	return a, nil
}

func (a *act) is(name string) string { return a.fields[name] }

func (a *act) at() int64 { return book.Micro(a.At) }

// found makes a finding about an act.
func (a *act) found(kind Kind, s finding.Severity, text string, pairs ...string) Finding {
	return Finding{Kind: kind, Severity: s, Log: Acts, Index: a.index, Text: text, IDs: finding.IDs(append([]string{"act", a.Act}, pairs...)...)}
}

// act takes an act into the book and says what does not fit.
func (r *run) act(tx *book.Tx, a *act) error {
	if err := r.actTime(tx, a); err != nil {
		return err
	}
	switch a.Act {
	case audit.Initialised:
		return r.actOfficers(tx, a)
	case audit.OrderPlaced, audit.OrderApproved:
		return r.actOrder(tx, a)
	case audit.DownloadBegun:
		return tx.PutDownload(&book.Download{ID: a.is("download"), Order: a.is("order"), Card: a.is("card"), Login: a.is("login"), Begun: a.index})
	case audit.IntentRecorded:
		return r.actIntent(tx, a)
	case audit.CertificateIssued:
		return r.actIssued(tx, a)
	case audit.IntentAbandoned, audit.CertificateRevoked, audit.CertificateSuperseded:
		return r.actEnded(tx, a)
	case audit.CardBlocked:
		return r.mustEnd(tx, a, a.is("card"), func(*book.Certificate) bool { return true })
	case audit.AssignmentChanged:
		return r.actAssignment(tx, a)
	case audit.RoleGranted:
		return errors.Join(tx.Grant(a.is("person"), a.is("organisation"), a.is("role"), a.index), r.right(tx, a))
	case audit.RoleEnded:
		return tx.EndGrant(a.is("person"), a.is("organisation"), a.is("role"), a.index)
	case audit.OrganisationCreated:
		return errors.Join(tx.PutOrganisation(a.is("organisation"), a.is("parent")), r.right(tx, a))
	case audit.OrganisationSigning:
		return r.right(tx, a)
	case audit.CeremonyFounded:
		return r.actFounded(tx, a)
	case audit.CeremonyClosed:
		return tx.PutMeta(approval.MetaClosed, strconv.FormatInt(a.index, 10))
	case audit.ConfigurationLoaded:
		return r.actConfiguration(tx, a)
	case audit.RetentionErased:
		return r.actErased(tx, a)
	case audit.LogRestored, audit.LogReconciled, audit.LogAccepted, audit.PersonErased:
		return r.find(tx, a.found(finding.Told, finding.Note, "this was done: "+a.Act, "person", a.is("person")))
	}
	return nil
}

// actOfficers keeps who the two officers are. Only the first act of its kind says it:
// who has the issuing key while the ceremony is open can make more officers, and later
// another such act about them.
func (r *run) actOfficers(tx *book.Tx, a *act) error {
	known, err := tx.Meta(approval.MetaOfficer(1))
	if err != nil || known != "" {
		return err
	}
	return errors.Join(tx.PutMeta(approval.MetaOfficer(1), a.is("officer1")), tx.PutMeta(approval.MetaOfficer(2), a.is("officer2")))
}

// actTime holds an act's time against those before it, and against the time at which
// the log was signed.
func (r *run) actTime(tx *book.Tx, a *act) error {
	at := a.at()
	if back := book.Moment(r.latest).Sub(a.At); r.latest > 0 && back > audit.MaxBack {
		if err := r.find(tx, a.found(finding.ActTime, finding.Warning, "its time is before that of acts with smaller numbers, by "+back.Round(time.Second).String())); err != nil {
			return err
		}
	}
	if ahead := a.At.Sub(r.signed); ahead > maxAhead {
		if err := r.find(tx, a.found(finding.ActTime, finding.Warning, "its time is after that at which the log was signed")); err != nil {
			return err
		}
	}
	r.latest = max(r.latest, at)
	return nil
}

const maxAhead = time.Minute

func (r *run) actOrder(tx *book.Tx, a *act) error {
	if a.Act == audit.OrderPlaced {
		fresh, err := tx.PutOrder(&book.Order{ID: a.is("order"), Placed: a.index, At: a.at(), Type: a.is("type"), Organisation: a.is("organisation"),
			Card: a.is("card"), Person: a.is("person"), Kind: a.is("kind"), LoA: a.is("loa"), Document: a.is("document")})
		if err != nil {
			return err
		}
		if !fresh {
			return r.find(tx, a.found(finding.OrderTwice, finding.Critical, "an order of this id was placed before", "order", a.is("order")))
		}
	} else if o, err := tx.Order(a.is("order")); errors.Is(err, book.ErrNotFound) {
		return r.find(tx, a.found(finding.OrderEvidence, finding.Critical, "an order was approved that nobody has placed", "order", a.is("order")))
	} else if err != nil {
		return err
	} else if o.Document != a.is("document") {
		return r.find(tx, a.found(finding.ApprovalForged, finding.Critical, "approved is another document than was placed", "order", a.is("order")))
	}
	return tx.PutApproval(book.Approval{Order: a.is("order"), Signed: a.is("signed"), Certificate: a.is("certificate"), Act: a.Act, Number: a.index, At: a.at()})
}

// known returns what is known of a serial; a new one if nothing is.
func known(tx *book.Tx, serial string) (*book.Certificate, bool, error) {
	c, err := tx.Certificate(serial)
	if errors.Is(err, book.ErrNotFound) {
		return &book.Certificate{Serial: serial, Intent: book.None, Leaf: book.None, Issued: book.None, Ended: book.None}, false, nil
	}
	return c, true, err
}

func (r *run) actIntent(tx *book.Tx, a *act) error {
	c, there, err := known(tx, a.is("serial"))
	if err != nil {
		return err
	}
	if there && c.Intent >= 0 {
		return r.find(tx, a.found(finding.SerialReuse, finding.Critical, "this serial was intended before", "serial", c.Serial))
	}
	if there && c.Leaf >= 0 && c.Hash != a.is("leaf") {
		if err := r.find(tx, a.found(finding.Unintended, finding.Critical, "the leaf of this serial is not the one that is announced", "serial", c.Serial)); err != nil {
			return err
		}
	}
	c.Issuer, c.Profile, c.Card, c.Organisation = a.is("issuer"), a.is("profile"), a.is("card"), a.is("organisation")
	c.Order, c.Download, c.Key, c.Kind, c.LoA, c.Slot = a.is("order"), a.is("download"), a.is("key"), a.is("kind"), a.is("loa"), a.is("slot")
	c.Intent, c.IntentAt = a.index, a.at()
	if !there {
		c.Hash = a.is("leaf")
		err = tx.Open(book.Thing{Kind: book.WantLeaf, ID: c.Serial, Number: a.index, At: a.at()})
	} else if _, err = tx.Settle(book.WantIntent, c.Serial); errors.Is(err, book.ErrNotFound) {
		err = nil
	}
	if err != nil {
		return err
	}
	if err := r.intended(tx, a, c); err != nil {
		return err
	}
	return tx.PutCertificate(c)
}

// intended joins an intent with its order and download, and its key with others.
func (r *run) intended(tx *book.Tx, a *act, c *book.Certificate) error {
	first, err := tx.Key(c.Key, book.KeyUse{Serial: c.Serial, Card: c.Card, Download: c.Download, Slot: c.Slot})
	if err != nil {
		return err
	}
	if first.Serial != c.Serial && (first.Card != c.Card || c.Card == "" || first.Download != c.Download || first.Slot != c.Slot) {
		text := "its key was certified before"
		if first.Card != c.Card {
			text = "its key was certified before for another card"
		}
		if err := r.find(tx, a.found(finding.KeyReuse, finding.Critical, text, "serial", c.Serial, "first", first.Serial, "card", c.Card)); err != nil {
			return err
		}
	}
	if c.Order == "" && c.Download == "" {
		return nil // by profile: whether it may is judged with the certificate
	}
	for _, missing := range []struct {
		what string
		ok   func() (bool, error)
	}{{"order", func() (bool, error) { return r.ordered(tx, c) }}, {"download", func() (bool, error) { return downloaded(tx, c) }}} {
		ok, err := missing.ok()
		if err != nil {
			return err
		}
		if !ok {
			if err := r.find(tx, a.found(finding.Unordered, finding.Critical, "no "+missing.what+" for it is in the log", "serial", c.Serial, "order", c.Order, "download", c.Download)); err != nil {
				return err
			}
		}
	}
	return nil
}

// ordered reports whether the order of a certificate was placed, for this card.
func (r *run) ordered(tx *book.Tx, c *book.Certificate) (bool, error) {
	o, err := tx.Order(c.Order)
	if errors.Is(err, book.ErrNotFound) {
		return false, nil
	}
	c.Person = o.Person
	return o.Card == c.Card && o.Organisation == c.Organisation, err
}

// downloaded reports whether the download of a certificate was begun, for this card and
// order. A signing certificate of its own has none in its download.
func downloaded(tx *book.Tx, c *book.Certificate) (bool, error) {
	d, err := tx.Download(c.Download)
	if errors.Is(err, book.ErrNotFound) {
		return false, nil
	}
	return d.Card == c.Card && (d.Order == c.Order || d.Order == "" && c.Slot == "signing"), err
}

func (r *run) actIssued(tx *book.Tx, a *act) error {
	c, there, err := known(tx, a.is("serial"))
	if err != nil {
		return err
	}
	switch {
	case !there || c.Intent < 0:
		if err := r.find(tx, a.found(finding.Unintended, finding.Critical, "it was issued without an intent", "serial", c.Serial)); err != nil {
			return err
		}
		c.Issuer = a.is("issuer")
	case c.Issued >= 0:
		return r.find(tx, a.found(finding.SerialReuse, finding.Critical, "this serial was issued before", "serial", c.Serial))
	case c.Abandoned:
		if err := r.find(tx, a.found(finding.Abandoned, finding.Critical, "it was issued after it was given up", "serial", c.Serial)); err != nil {
			return err
		}
	}
	c.Issued, c.IssuedAt = a.index, a.at()
	if c.Judged && c.Fingerprint != a.is("certificate") {
		return r.find(tx, a.found(finding.Missing, finding.Critical, "issued is another certificate than the log shows", "serial", c.Serial))
	}
	c.Fingerprint = a.is("certificate")
	if _, err := tx.Settle(book.WantIssued, c.Serial); err != nil && !errors.Is(err, book.ErrNotFound) {
		return err
	}
	if !c.Judged {
		if err := tx.Open(book.Thing{Kind: book.WantFinal, ID: c.Serial, Number: a.index, At: a.at()}); err != nil {
			return err
		}
	}
	return tx.PutCertificate(c)
}

func (r *run) actEnded(tx *book.Tx, a *act) error {
	c, there, err := known(tx, a.is("serial"))
	if err != nil {
		return err
	}
	if !there {
		return r.find(tx, a.found(finding.Unintended, finding.Warning, "revoked is a serial that was never intended", "serial", c.Serial))
	}
	if c.Ended >= 0 {
		c.Reason = a.is("reason") // a graver one; the date does not move
		return tx.PutCertificate(c)
	}
	c.Ended, c.EndedAt, c.Reason, c.Abandoned = a.index, a.at(), a.is("reason"), a.Act == audit.IntentAbandoned
	due, err := tx.Settle(book.WantEnd, c.Serial)
	if err != nil && !errors.Is(err, book.ErrNotFound) {
		return err
	}
	if err == nil {
		if after := a.At.Sub(book.Moment(due.At)); after > r.Late {
			if err := r.find(tx, a.found(finding.Late, finding.Critical, "it was revoked "+after.Round(time.Second).String()+" after its cause", "serial", c.Serial,
				"cause", due.Note, "index", strconv.FormatInt(due.Number, 10))); err != nil {
				return err
			}
		}
	}
	return tx.PutCertificate(c)
}

// mustEnd opens, for each certificate of a card that lives and is meant, that it must be
// revoked.
func (r *run) mustEnd(tx *book.Tx, a *act, card string, meant func(*book.Certificate) bool) error {
	all, err := tx.OfCard(card)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Ended >= 0 || c.Profile == profileTransport || c.NotAfter > 0 && c.NotAfter < a.at() || !meant(c) {
			continue
		}
		if err := tx.Open(book.Thing{Kind: book.WantEnd, ID: c.Serial, Number: a.index, At: a.at(), Note: a.Act}); err != nil {
			return err
		}
	}
	return nil
}

// profileTransport is the profile of what a card carries from the bureau: it opens no
// door that a revocation would have to close.
const profileTransport = "transport"

func (r *run) actAssignment(tx *book.Tx, a *act) error {
	if a.is("ended") != "yes" {
		return nil
	}
	cards, err := tx.CardsOf(a.is("person"))
	if err != nil {
		return err
	}
	for _, card := range cards {
		meant := func(c *book.Certificate) bool {
			return c.Person == a.is("person") && c.Organisation == a.is("organisation")
		}
		if err := r.mustEnd(tx, a, card, meant); err != nil {
			return err
		}
	}
	return nil
}

// actConfiguration keeps a document of the configuration: profiles are judged by.
func (r *run) actConfiguration(tx *book.Tx, a *act) error {
	var text strings.Builder
	for i := 1; i <= audit.MaxDocument; i++ {
		text.WriteString(a.is("doc-" + strconv.Itoa(i)))
	}
	sum := sha256.Sum256([]byte(text.String()))
	if hex.EncodeToString(sum[:]) != a.is("sha256") {
		if err := r.find(tx, a.found(finding.EntryMalformed, finding.Critical, "the configuration is not the one that its hash names", "name", a.is("name"))); err != nil {
			return err
		}
	}
	if err := r.find(tx, a.found(finding.Configured, finding.Note, "configuration was loaded that differs from the one before", "name", a.is("name"), "sha256", a.is("sha256"))); err != nil {
		return err
	}
	d := book.Document{Name: a.is("name"), At: a.at(), Number: a.index, Text: []byte(text.String())}
	if err := tx.PutDocument(d); err != nil {
		return err
	}
	r.rules.Add(a.At, d.Text)
	return nil
}

func (r *run) actErased(tx *book.Tx, a *act) error {
	e, err := audit.ErasureOf(a.Body)
	if err != nil {
		return r.find(tx, a.found(finding.EntryErased, finding.Critical, "retention erased what was not due, or does not say what"))
	}
	if err := r.find(tx, a.found(finding.Told, finding.Note, fmt.Sprintf("retention erased %d of the class %s", e.Count, e.What))); err != nil {
		return err
	}
	switch {
	case e.To == 0:
		return nil
	case e.What == string(audit.Access):
		return tx.PutErasure(book.Erasure{Tree: string(Acts), First: e.From - 1, Last: e.To - 1, Count: e.Count, Through: book.Micro(e.Through), Number: a.index})
	case e.What == "certificates":
		return tx.PutErasure(book.Erasure{Tree: string(Certificates), First: e.From - 1, Last: e.To - 1, Count: e.Count, Through: book.Micro(e.Through), Number: a.index})
	}
	return nil
}
