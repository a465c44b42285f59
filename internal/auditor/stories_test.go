package auditor_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/auditor"
	"sigill/internal/auditor/auditortest"
	"sigill/internal/auditor/finding"
	"sigill/internal/statement"
)

// spoilt are stories that do not hold, each by one thing that is wrong.
var spoilt = []struct {
	name string
	tell func(s *auditortest.Scene)
	want []auditor.Kind
}{
	{"nobody approved", func(s *auditortest.Scene) { s.EID(s.Person(), "ordinary", s.Admins[0], nil) }, []auditor.Kind{finding.OrderUnapproved}},
	{"the same person approved", func(s *auditortest.Scene) { s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[0]) }, []auditor.Kind{finding.OrderUnapproved}},
	{"approved after it was made", func(s *auditortest.Scene) {
		p := s.Person()
		id := s.Place(p, s.Admins[0], s.Document(p, "ordinary"))
		s.Fetch(p, id)
		s.Approve(p, s.Admins[1], id)
	}, []auditor.Kind{finding.OrderUnapproved}},
	{"somebody without a role approved", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		s.EID(s.Person(), "ordinary", s.Admins[0], p)
	}, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"an administrator whose role had ended", func(s *auditortest.Scene) {
		s.Act(audit.RoleEnded, "per_1", field("person", s.Admins[1].ID), field("organisation", auditortest.Org), field("role", "administrator"), field("rule", "role.ended"))
		s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
	}, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"approved for himself", func(s *auditortest.Scene) { s.EID(s.Admins[1], "extra", s.Admins[0], s.Admins[1]) }, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"an officer after the ceremony", func(s *auditortest.Scene) { s.EID(s.Person(), "ordinary", s.Officers[0], s.Officers[1]) },
		[]auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"in another's name", func(s *auditortest.Scene) {
		forger := *s.Admins[0]
		forger.ID = s.Admins[1].ID
		s.EID(s.Person(), "ordinary", s.Admins[0], &forger)
	}, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"placed in another's name, alone", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		old := p.DER
		forger := *s.Admins[0]
		forger.ID = s.Admins[1].ID
		s.EID(p, "update", &forger, nil)
		s.End(p, old, audit.CertificateSuperseded, "superseded")
	}, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"another certificate is named than signed", func(s *auditortest.Scene) {
		p := s.Person()
		id := s.Place(p, s.Admins[0], s.Document(p, "ordinary"))
		s.ApproveBy(s.Admins[1], id, s.State(s.Admins[1], statement.ActApprove, id, s.Evidence[id].Order, p), s.Admins[0].DER)
		s.Fetch(p, id)
	}, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"a statement from a drawer", func(s *auditortest.Scene) {
		p := s.Person()
		id := s.Place(p, s.Admins[0], s.Document(p, "ordinary"))
		st := s.State(s.Admins[1], statement.ActApprove, id, s.Evidence[id].Order, p)
		s.Tick(10 * time.Minute)
		s.ApproveBy(s.Admins[1], id, st, s.Admins[1].DER)
		s.Fetch(p, id)
	}, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"an administrator's certificate that the log has not", func(s *auditortest.Scene) {
		// Made with the stolen issuing key, of the serial of the right one.
		serial, err := ca.ParseSerial(auditortest.SerialOf(s.Admins[1].DER))
		if err != nil {
			s.T.Fatal(err)
		}
		s.DrawFrom(bytes.NewReader(serial[:]))
		forger := &auditortest.Person{ID: s.Admins[1].ID, Card: s.Admins[1].Card, Key: auditortest.Key(s.T)}
		forger.DER = s.Issue(auditortest.PersonCA, "authentication", s.Content(forger), forger.Key, auditortest.Intended{NoIntent: true, NoLeaf: true, NoIssued: true})
		s.DrawFrom(nil)
		s.EID(s.Person(), "ordinary", s.Admins[0], forger)
	}, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"an update fetched with another's log-in", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		old := p.DER
		id := s.Place(p, s.Admins[0], s.Document(p, "update"))
		s.Issue(auditortest.PersonCA, "authentication", s.Content(p), auditortest.Key(s.T), auditortest.Intended{Person: p, Order: id, Download: s.Begin(p, id, s.Admins[0].DER)})
		s.End(p, old, audit.CertificateSuperseded, "superseded")
	}, []auditor.Kind{finding.OrderUnapproved}},
	{"an update fetched with an eID that had ended", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		s.End(p, p.DER, audit.CertificateSuperseded, "superseded")
		s.EID(p, "update", s.Admins[0], nil)
	}, []auditor.Kind{finding.OrderUnapproved}},
	{"another leaf than was announced", func(s *auditortest.Scene) {
		s.Stray(auditortest.Intended{NoLeaf: true, NoIssued: true})
		leaf := slices.Clone(s.LastLeaf)
		leaf[9]++ // its time
		s.AppendLeaf(auditor.Leaf{Input: leaf})
	}, []auditor.Kind{finding.Unintended}},
	{"the same key in a renewal", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		old := p.DER
		id := s.Place(p, s.Admins[0], s.Document(p, "renewal"))
		s.Issue(auditortest.PersonCA, "authentication", s.Content(p), p.Key, auditortest.Intended{Person: p, Order: id, Download: s.Begin(p, id, old)})
		s.End(p, old, audit.CertificateSuperseded, "superseded")
	}, []auditor.Kind{finding.KeyReuse}},
	{"signature of another key", func(s *auditortest.Scene) {
		forger := *s.Admins[1]
		forger.Key = s.Admins[0].Key
		s.EID(s.Person(), "ordinary", s.Admins[0], &forger)
	}, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"statement without an act", func(s *auditortest.Scene) {
		p := s.Person()
		id := s.Place(p, s.Admins[0], s.Document(p, "ordinary"))
		e := s.Evidence[id]
		e.Statements = append(e.Statements, s.State(s.Admins[1], statement.ActApprove, id, e.Order, p))
		s.Fetch(p, id)
	}, []auditor.Kind{finding.ApprovalForged, finding.OrderUnapproved}},
	{"act without its statement", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		e := s.Evidence[p.Order]
		e.Statements = e.Statements[:1]
	}, []auditor.Kind{finding.OrderEvidence, finding.OrderUnapproved}},
	{"another order is shown", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		s.Evidence[p.Order].Order = []byte(strings.Replace(string(s.Evidence[p.Order].Order), "ordinary", "renewals", 1))
	}, []auditor.Kind{finding.OrderEvidence}},
	{"nothing is shown", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		delete(s.Evidence, p.Order)
	}, []auditor.Kind{finding.OrderEvidence}},
	{"an order for somebody else", func(s *auditortest.Scene) {
		p, other := s.Person(), s.Person()
		d := s.Document(p, "ordinary")
		d["content"] = s.Content(other)
		id := s.Place(p, s.Admins[0], d)
		s.Approve(p, s.Admins[1], id)
		s.Fetch(p, id)
	}, []auditor.Kind{"certificate.names", "certificate.order", "certificate.subject"}},
	{"longer than ordered", func(s *auditortest.Scene) {
		p := s.Person()
		d := s.Document(p, "ordinary")
		d["notAfter"] = s.Now.AddDate(0, 1, 0).Truncate(time.Second)
		id := s.Place(p, s.Admins[0], d)
		s.Approve(p, s.Admins[1], id)
		s.Fetch(p, id)
	}, []auditor.Kind{"certificate.order"}},
	{"without order", func(s *auditortest.Scene) {
		p := s.Person()
		s.Fetch(p, "ord_none")
	}, []auditor.Kind{finding.Unordered, finding.OrderEvidence}},
	{"without order and download", func(s *auditortest.Scene) {
		p := s.Person()
		s.Issue(auditortest.PersonCA, "authentication", s.Content(p), auditortest.Key(s.T), auditortest.Intended{Person: p})
	}, []auditor.Kind{"certificate.order"}},
	{"leaf without intent", func(s *auditortest.Scene) { s.Stray(auditortest.Intended{NoIntent: true}) }, []auditor.Kind{finding.Unintended}},
	{"intent without leaf", func(s *auditortest.Scene) { s.Stray(auditortest.Intended{NoLeaf: true}) }, []auditor.Kind{finding.Missing}},
	{"issued, not shown", func(s *auditortest.Scene) { s.Stray(auditortest.Intended{NoFinal: true}) }, []auditor.Kind{finding.Missing}},
	{"shown, not issued", func(s *auditortest.Scene) { s.Stray(auditortest.Intended{NoIssued: true}) }, []auditor.Kind{finding.Unintended}},
	{"no SCT", func(s *auditortest.Scene) { s.Stray(auditortest.Intended{Spoil: s.WithoutSCT}) },
		[]auditor.Kind{"certificate.sct", finding.Missing}},
	{"signed by another key", func(s *auditortest.Scene) { s.Stray(auditortest.Intended{Spoil: s.Forge}) }, []auditor.Kind{"certificate.forged", finding.Missing}},
	{"key of another card", func(s *auditortest.Scene) {
		p, q := s.Person(), s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		id := s.Place(q, s.Admins[0], s.Document(q, "ordinary"))
		s.Approve(q, s.Admins[1], id)
		s.Issue(auditortest.PersonCA, "authentication", s.Content(q), p.Key, auditortest.Intended{Person: q, Order: id, Download: s.Begin(q, id, nil)})
	}, []auditor.Kind{finding.KeyReuse}},
	{"leaf twice", func(s *auditortest.Scene) {
		s.Stray(auditortest.Intended{})
		s.AppendLeaf(s.Leaves[len(s.Leaves)-1])
	}, []auditor.Kind{finding.SerialReuse}},
	{"intent twice", func(s *auditortest.Scene) {
		s.Stray(auditortest.Intended{})
		s.AppendAct(s.Bodies[len(s.Bodies)-2])
	}, []auditor.Kind{finding.SerialReuse}},
	{"card blocked, nothing revoked", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		s.Act(audit.CardBlocked, p.ID, field("card", p.Card), field("report", "lost"))
	}, []auditor.Kind{finding.Unrevoked}},
	{"card blocked, revoked late", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		s.Act(audit.CardBlocked, p.ID, field("card", p.Card), field("report", "lost"))
		s.Tick(2 * time.Minute)
		s.Revoke(p)
	}, []auditor.Kind{finding.Late}},
	{"assignment ended, nothing revoked", func(s *auditortest.Scene) {
		p := s.Person()
		s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
		s.Act(audit.AssignmentChanged, "per_1", field("person", p.ID), field("organisation", auditortest.Org), field("ended", "yes"))
	}, []auditor.Kind{finding.Unrevoked}},
	{"the clock went back", func(s *auditortest.Scene) {
		s.Tick(-time.Hour)
		s.Act(audit.CALast, "system", field("issuer", "x"), field("since", "x"))
		s.Tick(time.Hour)
	}, []auditor.Kind{finding.ActTime}},
	{"the clock was ahead", func(s *auditortest.Scene) {
		s.Tick(3 * time.Hour)
		s.Act(audit.CALast, "system", field("issuer", "x"), field("since", "x"))
		s.Tick(-3 * time.Hour)
	}, []auditor.Kind{finding.ActTime}},
	{"an act that is none", func(s *auditortest.Scene) { s.AppendAct([]byte(`{"id":"evt_1"}`)) }, []auditor.Kind{finding.EntryMalformed}},
}

func TestStoriesThatDoNotHold(t *testing.T) {
	for _, c := range spoilt {
		t.Run(c.name, func(t *testing.T) {
			s := auditortest.Founded(t)
			s.EID(s.Person(), "ordinary", s.Admins[0], s.Admins[1])
			c.tell(s)
			s.Tick(time.Second)
			s.EID(s.Person(), "ordinary", s.Admins[1], s.Admins[0])
			s.Sign()
			if c.name != "the clock was ahead" && c.name != "the clock went back" {
				late(s)
			}
			begin(t, s).finds(c.want...)
		})
	}
}

// A third officer's certificate, made with the issuing key while the ceremony is open,
// signs for nobody; nor does an act that calls it an officer's afterwards.
func TestOfficersAreTwo(t *testing.T) {
	s := auditortest.New(t)
	third := &auditortest.Person{ID: "officer:2", Key: auditortest.Key(t)}
	third.DER = s.Issue(auditortest.FunctionCA, "officer", ca.Content{CommonName: "Officer"}, third.Key, auditortest.Intended{})
	sum := sha256.Sum256(third.DER)
	name := hex.EncodeToString(sum[:])
	s.Act(audit.Initialised, "system", field("root", "R"), field("certificate", name), field("environment", "test"), field("officer1", name), field("officer2", name))
	s.EID(s.Person(), "ordinary", s.Officers[0], s.Officers[1])
	late(s)
	begin(t, s).finds()
	s.EID(s.Person(), "ordinary", s.Officers[0], third)
	late(s)
	begin(t, s).finds(finding.ApprovalForged, finding.OrderUnapproved)
}
