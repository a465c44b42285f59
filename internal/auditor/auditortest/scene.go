// Package auditortest is a small installation in memory as an auditor sees it: two
// signed logs, with certificates that the real CA made, acts in their real form, and
// statements that cards signed. Tests do with it what a service should not.
//
// It knows no database and no network, and no rule of what an auditor finds.
package auditortest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/auditor"
	"sigill/internal/auditor/rederive"
	"sigill/internal/checkpoint"
	"sigill/internal/lint"
	"sigill/internal/profiles"
	"sigill/internal/statement"
	"sigill/policy"
)

// Names that a scene uses.
const (
	PersonCA   ca.IssuerID = "person-hsa-id-3-v1"
	FunctionCA ca.IssuerID = "function-v1"
	Org                    = "org_1"
	StatusURL              = "http://status.example"
)

// Log is one of the two logs. Tests may change what it shows.
type Log struct {
	Key    *ecdsa.PrivateKey
	Log    *checkpoint.Log
	Hashes []tlog.Hash // stored hashes
	Size   int64
	Note   []byte
}

// Scene is an installation. It is for one goroutine while it changes.
type Scene struct {
	T        testing.TB
	Now      time.Time
	Logs     map[auditor.Tree]*Log
	Bodies   [][]byte // of acts; empty: erased
	Leaves   []auditor.Leaf
	Shown    map[int64]error // faults of acts that are asked for
	Hidden   map[int64]error // of certificates
	Evidence map[string]*auditor.Evidence
	Profiles ca.Profiles
	Issuers  map[ca.IssuerID]*ca.Issuer
	Keys     map[ca.IssuerID]*ecdsa.PrivateKey
	CAs      [][]byte

	Officers [2]*Person
	Admins   [2]*Person
	LastLeaf []byte // of the newest certificate, logged or not
	count    int
}

// Person is somebody with a card, or an officer.
type Person struct {
	ID    string // as statements name him
	Card  string
	Key   *ecdsa.PrivateKey
	DER   []byte // current eID; nil: none
	Order string
}

// New returns an installation with two officers and no organisation.
func New(t testing.TB) *Scene {
	t.Helper()
	s := &Scene{T: t, Now: time.Now().Add(-24 * time.Hour).UTC().Truncate(time.Microsecond), Logs: map[auditor.Tree]*Log{}, Shown: map[int64]error{}, Hidden: map[int64]error{},
		Evidence: map[string]*auditor.Evidence{}, Issuers: map[ca.IssuerID]*ca.Issuer{}, Keys: map[ca.IssuerID]*ecdsa.PrivateKey{}}
	for _, tree := range []auditor.Tree{auditor.Certificates, auditor.Acts} {
		l := &Log{Key: s.key()}
		var err error
		l.Log, err = checkpoint.NewLog("log.example/log/"+string(tree), l.Key.Public())
		s.must(err)
		s.Logs[tree] = l
	}
	var err error
	s.Profiles, err = profiles.Default()
	s.must(err)
	s.authorities()
	for _, name := range slices.Sorted(maps.Keys(s.Profiles)) {
		s.configured(name)
	}
	for i := range s.Officers {
		o := &Person{ID: fmt.Sprintf("officer:%d", i+1), Key: s.key()}
		o.DER = s.Issue(FunctionCA, policy.ProfileOfficer, ca.Content{CommonName: "Officer"}, o.Key, Intended{})
		s.Officers[i] = o
	}
	s.Act(audit.Initialised, "system", field("root", "R"), field("certificate", hash("root")), field("environment", "test"),
		field("officer1", hash(string(s.Officers[0].DER))), field("officer2", hash(string(s.Officers[1].DER))))
	s.Sign()
	return s
}

// Founded returns an installation with two administrators who have their eIDs.
func Founded(t testing.TB) *Scene {
	t.Helper()
	s := New(t)
	two := slices.Clip(s.Two(statement.ActFound, "ceremony", "-", []byte("f"), s.Officers))
	s.Act(audit.OrganisationCreated, "officer:1,officer:2", append(two, field("organisation", Org), field("number", "2321000016"), field("name", "R"))...)
	for i := range s.Admins {
		s.Admins[i] = s.Person()
		s.Act(audit.RoleGranted, "officer:1,officer:2", append(two, field("person", s.Admins[i].ID), field("organisation", Org),
			field("role", "administrator"))...)
	}
	s.Act(audit.CeremonyFounded, "officer:1,officer:2", append(two, field("organisation", Org))...)
	for _, a := range s.Admins {
		s.EID(a, "ordinary", s.Officers[0], s.Officers[1])
	}
	s.Act(audit.CeremonyClosed, "system", field("organisation", Org))
	s.Sign()
	return s
}

func (s *Scene) must(err error) {
	s.T.Helper()
	if err != nil {
		s.T.Fatal(err)
	}
}

func (s *Scene) key() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	return key
}

func field(name, value string) audit.Field { return audit.Field{Name: name, Value: value} }

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Tick moves the clock on.
func (s *Scene) Tick(d time.Duration) { s.Now = s.Now.Add(d) }

// Act appends an act and returns its index.
func (s *Scene) Act(act, by string, fields ...audit.Field) int64 {
	s.T.Helper()
	s.Tick(time.Millisecond)
	fields = slices.DeleteFunc(slices.Clone(fields), func(f audit.Field) bool { return f.Value == "" })
	r, err := audit.Seal(audit.Event{ID: policy.NewID("evt"), At: s.Now, Act: act, By: by, Public: fields})
	s.must(err)
	return s.AppendAct(r.Body)
}

// AppendAct appends a body.
func (s *Scene) AppendAct(body []byte) int64 {
	s.Bodies = append(s.Bodies, body)
	return s.Logs[auditor.Acts].append(s.T, body)
}

func (l *Log) append(t testing.TB, entry []byte) int64 {
	more, err := tlog.StoredHashes(l.Size, entry, l)
	if err != nil {
		t.Fatal(err)
	}
	l.Hashes = append(l.Hashes, more...)
	l.Size++
	return l.Size - 1
}

// ReadHashes implements [tlog.HashReader].
func (l *Log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, n := range indexes {
		out[i] = l.Hashes[n]
	}
	return out, nil
}

// Sign signs the heads of both logs, now.
func (s *Scene) Sign() {
	s.T.Helper()
	s.Tick(time.Second)
	for _, l := range s.Logs {
		root, err := tlog.TreeHash(l.Size, l)
		s.must(err)
		l.Note, err = l.Log.Sign(l.Key, l.Size, root, s.Now)
		s.must(err)
	}
}

func (s *Scene) configured(name ca.ProfileName) {
	text, err := profileText(s.Profiles[name])
	s.must(err)
	fields := []audit.Field{field("name", "profiles/"+string(name)+".yaml"), field("sha256", hash(text))}
	for i := 1; text != ""; i++ {
		n := min(len(text), 4000)
		fields = append(fields, field("doc-"+strconv.Itoa(i), text[:n]))
		text = text[n:]
	}
	s.Act(audit.ConfigurationLoaded, "system", fields...)
}

// authorities makes the issuing CAs.
func (s *Scene) authorities() {
	var levels []string
	for _, oid := range s.Profiles[policy.ProfileAuthentication].Assurance() {
		levels = append(levels, oid)
	}
	linter, err := lint.New(lint.Config{LoAPolicies: levels})
	s.must(err)
	for id, names := range map[ca.IssuerID][]ca.ProfileName{
		PersonCA:   {policy.ProfileAuthentication, policy.ProfileSigning},
		FunctionCA: {policy.ProfileOfficer, policy.ProfileServer, policy.ProfileTransport},
	} {
		key := s.key()
		template := &x509.Certificate{SerialNumber: ca.NewSerial().Int(), NotBefore: s.Now.Add(-time.Hour), NotAfter: s.Now.AddDate(10, 0, 0), IsCA: true,
			Subject:               pkix.Name{Country: []string{"SE"}, Organization: []string{"Sigill"}, CommonName: "TEST " + string(id)},
			BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte(id)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		s.must(err)
		cert, err := x509.ParseCertificate(der)
		s.must(err)
		s.Issuers[id], err = ca.NewIssuer(ca.IssuerConfig{ID: id, Certificate: cert, Signer: key, Profiles: s.Profiles, MayIssue: names, Partitions: 1,
			StatusURL: StatusURL, Linter: linter})
		s.must(err)
		s.CAs, s.Keys[id] = append(s.CAs, der), key
	}
}

// Person returns somebody new with a card.
func (s *Scene) Person() *Person {
	s.count++
	return &Person{ID: fmt.Sprintf("per_%d", s.count), Card: fmt.Sprintf("9752%015d", s.count)}
}

// Document is what is ordered for a person.
func (s *Scene) Document(p *Person, kind string) map[string]any {
	return map[string]any{"version": 1, "salt": policy.NewSalt(), "order": policy.NewID("ord"), "type": kind, "organisation": Org, "person": p.ID, "card": p.Card, "idKind": "hsa-id", "loa": 3,
		"issuer": PersonCA, "notAfter": s.Now.AddDate(2, 0, 0).Truncate(time.Second), "expiresAt": s.Now.AddDate(0, 3, 0).Truncate(time.Second),
		"content": s.Content(p)}
}

// Content is what stands in a person's certificate.
func (s *Scene) Content(p *Person) ca.Content {
	return ca.Content{Country: "SE", Organisation: "Region Österbyggd", CommonName: "Åsa Öström", Surname: "Öström", GivenName: "Åsa",
		SerialNumber: "SE2321000016-" + p.ID[4:], CardNumber: p.Card, Email: "asa" + p.ID[4:] + "@region.example", UPN: "asa" + p.ID[4:] + "@ad.region.example",
		PolicyOIDs: []string{"2.999.752.3.1"}}
}

// State signs a statement about an order's document, now.
func (s *Scene) State(by *Person, act, order string, document []byte, p *Person) rederive.Statement {
	st := statement.Statement{Act: act, Subject: order, By: by.ID, For: p.ID, Card: p.Card, Content: sha256.Sum256(document), At: s.Now.Truncate(time.Second)}
	content := st.Bytes()
	signature, err := statement.Sign(by.Key, content)
	s.must(err)
	return rederive.Statement{Content: content, Signature: signature, Certificate: by.DER}
}

func (s *Scene) told(order string, document []byte, st rederive.Statement, state string) []audit.Field {
	return []audit.Field{field("order", order), field("state", state), field("document", hash(string(document))), field("statement", policy.NewID("stm")),
		field("signed", hash(string(st.Content))), field("certificate", hash(string(st.Certificate)))}
}

// Place places an order; what is changed in its document before may be anything.
func (s *Scene) Place(p, by *Person, d map[string]any) string {
	s.T.Helper()
	document, err := json.Marshal(d)
	s.must(err)
	id := d["order"].(string)
	st := s.State(by, statement.ActPlace, id, document, p)
	s.Act(audit.OrderPlaced, by.ID, append(s.told(id, document, st, "placed"), field("type", d["type"].(string)), field("organisation", Org), field("card", p.Card),
		field("person", p.ID), field("kind", "hsa-id"), field("loa", fmt.Sprint(d["loa"])))...)
	s.Evidence[id] = &auditor.Evidence{Order: document, Statements: []rederive.Statement{st}}
	return id
}

// Approve approves an order.
func (s *Scene) Approve(p, by *Person, id string) {
	s.T.Helper()
	s.ApproveBy(by, id, s.State(by, statement.ActApprove, id, s.Evidence[id].Order, p), by.DER)
}

// ApproveBy approves an order with a statement that was signed before; the act names a
// certificate.
func (s *Scene) ApproveBy(by *Person, id string, st rederive.Statement, named []byte) {
	s.T.Helper()
	e := s.Evidence[id]
	e.Statements = append(e.Statements, st)
	st.Certificate = named
	s.Act(audit.OrderApproved, by.ID, s.told(id, e.Order, st, "approved")...)
}

// Begin begins a download with a log-in.
func (s *Scene) Begin(p *Person, order string, login []byte) string {
	id := policy.NewID("dl")
	s.Act(audit.DownloadBegun, p.ID, field("download", id), field("order", order), field("card", p.Card), field("plan", hash(id)), field("login", hash(string(login))))
	return id
}

// EID places, approves (if there is who approves) and fetches an eID.
func (s *Scene) EID(p *Person, kind string, placer, approver *Person) {
	s.T.Helper()
	id := s.Place(p, placer, s.Document(p, kind))
	if approver != nil {
		s.Approve(p, approver, id)
	}
	s.Fetch(p, id)
}

// Fetch downloads what was ordered.
func (s *Scene) Fetch(p *Person, order string) {
	s.T.Helper()
	key := s.key()
	download := s.Begin(p, order, p.DER)
	p.DER = s.Issue(PersonCA, policy.ProfileAuthentication, s.Content(p), key, Intended{Person: p, Order: order, Download: download})
	p.Key, p.Order = key, order
}
