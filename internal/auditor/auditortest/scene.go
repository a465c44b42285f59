// Package auditortest is a small installation in memory as an auditor sees it: two
// signed logs, with certificates that the real CA made, acts in their real form, and
// statements that cards signed. Tests do with it what a service should not.
//
// It knows no database and no network, and no rule of what an auditor finds.
package auditortest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
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

// Intended is what an intent says beside the certificate, and how it is spoilt.
type Intended struct {
	Person          *Person
	Order, Download string
	Slot            string              // "": authentication
	NoIntent        bool                // no act announces it
	NoLeaf          bool                // it is not in the log
	NoFinal         bool                // no certificate is shown
	NoIssued        bool                // no act issues it
	Spoil           func([]byte) []byte // the certificate, before it is shown
	NotAfter        time.Time
}

// Issue makes a certificate by the real CA, with the acts and the leaf that belong to it.
func (s *Scene) Issue(issuer ca.IssuerID, profile ca.ProfileName, c ca.Content, key crypto.Signer, in Intended) []byte {
	s.T.Helper()
	r := ca.Request{Profile: profile, Content: c, PublicKey: key.Public(), NotBefore: s.Now.Add(-10 * time.Minute), NotAfter: s.Now.AddDate(1, 0, 0)}
	if !in.NotAfter.IsZero() {
		r.NotAfter = in.NotAfter
	}
	if s.Profiles[profile].Mandate() == ca.MandateOrder {
		r.Mandate = s.mandate(c)
	}
	draft, err := s.Issuers[issuer].Prepare(r)
	s.must(err)
	log := &promises{s: s}
	sealed, err := draft.Seal(s.T.Context(), log)
	s.must(err)
	recorded, err := sealed.Record(s.T.Context(), func(context.Context, ca.Intent) error { return nil })
	s.must(err)
	logged, err := recorded.Await(s.T.Context())
	s.must(err)
	issued, err := s.Issuers[issuer].Sign(logged)
	s.must(err)
	s.record(sealed.Intent(), log.leaf, issued, in)
	return issued.DER
}

// record appends what belongs to a certificate to both logs.
func (s *Scene) record(intent ca.Intent, input []byte, issued *ca.Issued, in Intended) {
	s.T.Helper()
	card, slot, loa, kind, org := "", "", "", "", ""
	if in.Person != nil {
		card, slot, loa, kind, org = in.Person.Card, "authentication", "3", "hsa-id", Org
	}
	if intent.Profile == policy.ProfileTransport {
		slot, loa, kind = "transport", "", ""
	}
	if in.Slot != "" {
		slot = in.Slot
	}
	serial := intent.Serial.String()
	if !in.NoIntent {
		s.Act(audit.IntentRecorded, "system", field("serial", serial), field("issuer", string(intent.Issuer)), field("profile", string(intent.Profile)), field("slot", slot),
			field("card", card), field("organisation", org), field("kind", kind), field("loa", loa), field("order", in.Order), field("download", in.Download),
			field("key", hex.EncodeToString(intent.Key[:])), field("leaf", hex.EncodeToString(intent.Leaf.Hash[:])))
	}
	if s.LastLeaf = input; !in.NoLeaf {
		leaf := auditor.Leaf{Input: input, Final: issued.DER}
		if in.Spoil != nil {
			leaf.Final = in.Spoil(leaf.Final)
		}
		if in.NoFinal {
			leaf.Final = nil
		}
		s.AppendLeaf(leaf)
	}
	if !in.NoIssued {
		s.Act(audit.CertificateIssued, "system", field("serial", serial), field("issuer", string(intent.Issuer)), field("certificate", issued.Fingerprint.String()),
			field("card", card), field("download", in.Download))
	}
}

// AppendLeaf appends an entry to the log of certificates.
func (s *Scene) AppendLeaf(l auditor.Leaf) int64 {
	s.Leaves = append(s.Leaves, l)
	return s.Logs[auditor.Certificates].append(s.T, l.Input)
}

// mandate is one that the CA accepts: what stands behind a certificate is the auditor's
// to judge here.
func (s *Scene) mandate(c ca.Content) *ca.Mandate {
	order, err := json.Marshal(map[string]any{"content": c})
	s.must(err)
	one := &Person{ID: "per_0", Card: "-", Key: s.key()}
	st := statement.Statement{Act: statement.ActPlace, Subject: "x", By: one.ID, For: "-", Card: "-", Content: sha256.Sum256(order), At: s.Now.Truncate(time.Second)}
	signature, err := statement.Sign(one.Key, st.Bytes())
	s.must(err)
	m, err := ca.NewMandate(order, 1, []ca.SignedStatement{{Content: st.Bytes(), Signature: signature, Certificate: &x509.Certificate{PublicKey: one.Key.Public()}, Person: one.ID}})
	s.must(err)
	return m
}

// promises is the log as the CA asks it.
type promises struct {
	s    *Scene
	leaf []byte
	at   ca.LogLeaf
}

// Promise implements [ca.Log].
func (p *promises) Promise(_ context.Context, c ca.PreCert) (ca.Promise, error) {
	l := p.s.Logs[auditor.Certificates]
	leaf := ct.MerkleTreeLeaf{Version: ct.V1, LeafType: ct.TimestampedEntryLeafType, TimestampedEntry: &ct.TimestampedEntry{Timestamp: uint64(p.s.Now.UnixMilli()),
		EntryType: ct.PrecertLogEntryType, PrecertEntry: &ct.PreCert{IssuerKeyHash: c.IssuerKeyHash, TBSCertificate: c.TBS}}}
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: l.Log.ID()}, Timestamp: leaf.TimestampedEntry.Timestamp}
	input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: leaf})
	if err != nil {
		return ca.Promise{}, err
	}
	signed, err := checkpoint.DigitallySign(l.Key, input)
	if err != nil {
		return ca.Promise{}, err
	}
	if _, err := tls.Unmarshal(signed, &sct.Signature); err != nil {
		return ca.Promise{}, err
	}
	one, err := tls.Marshal(sct)
	if err != nil {
		return ca.Promise{}, err
	}
	if p.leaf, err = tls.Marshal(leaf); err != nil {
		return ca.Promise{}, err
	}
	n := len(one)
	list := append([]byte{byte((n + 2) >> 8), byte(n + 2), byte(n >> 8), byte(n)}, one...)
	p.at = ca.LogLeaf{Hash: tlog.RecordHash(p.leaf), Time: time.UnixMilli(p.s.Now.UnixMilli()).UTC()}
	return ca.Promise{SCTList: list, Leaf: p.at}, nil
}

// Check implements [ca.Log].
func (p *promises) Check([]byte, ca.PreCert) (ca.LogLeaf, error) { return p.at, nil }

// Await implements [ca.Log].
func (p *promises) Await(context.Context, ca.LogLeaf) error { return nil }

// Key returns a new key.
func Key(t testing.TB) *ecdsa.PrivateKey { return (&Scene{T: t}).key() }

// Stray makes an eID in order for somebody new, but for what in spoils.
func (s *Scene) Stray(in Intended) []byte {
	s.T.Helper()
	p := s.Person()
	id := s.Place(p, s.Admins[0], s.Document(p, "ordinary"))
	s.Approve(p, s.Admins[1], id)
	in.Person, in.Order, in.Download = p, id, s.Begin(p, id, nil)
	return s.Issue(PersonCA, policy.ProfileAuthentication, s.Content(p), s.key(), in)
}

// Revoke revokes a person's eID.
func (s *Scene) Revoke(p *Person) { s.End(p, p.DER, audit.CertificateRevoked, "keyCompromise") }

// End ends a certificate of a person by an act.
func (s *Scene) End(p *Person, der []byte, act, reason string) {
	s.T.Helper()
	s.Act(act, "system", field("serial", SerialOf(der)), field("issuer", string(PersonCA)), field("reason", reason),
		field("rule", "card.blocked"), field("partition", "0"), field("card", p.Card))
}

// SerialOf returns the serial of a certificate; "": it is none.
func SerialOf(der []byte) string {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return ""
	}
	serial, _ := ca.SerialOf(cert.SerialNumber)
	return serial.String()
}

// Resign returns a certificate over other to-be-signed bytes, signed by an ECDSA key with
// SHA-256.
func Resign(t testing.TB, der, tbs []byte, key crypto.Signer) []byte {
	t.Helper()
	var c struct {
		TBS       asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &c); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(tbs)
	signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	c.TBS, c.Signature = asn1.RawValue{FullBytes: tbs}, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}
	out, err := asn1.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// WithoutSCT returns a certificate as the issuing key signs it without the log's promise.
func WithoutSCT(t testing.TB, der []byte, key crypto.Signer) []byte {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	tbs, err := ctx509.RemoveSCTList(cert.RawTBSCertificate)
	if err != nil {
		t.Fatal(err)
	}
	return Resign(t, der, tbs, key)
}

// WithoutSCT is the function of that name, with the key of the person CA.
func (s *Scene) WithoutSCT(der []byte) []byte { return WithoutSCT(s.T, der, s.Keys[PersonCA]) }

// Forge returns a certificate signed by another key than its issuer's.
func (s *Scene) Forge(der []byte) []byte {
	cert, err := x509.ParseCertificate(der)
	s.must(err)
	return Resign(s.T, der, cert.RawTBSCertificate, s.key())
}

// lenient lets everything pass.
type lenient struct{}

// Lint implements [ca.Linter].
func (lenient) Lint([]byte, ca.ProfileName) error { return nil }

// Plant lets the person CA issue by a profile that was changed behind everybody's back,
// without lints. The acts do not tell of it.
func (s *Scene) Plant(name ca.ProfileName, change func(*ca.ProfileConfig)) {
	s.T.Helper()
	config := s.Profiles[name].Config()
	change(&config)
	planted, err := ca.NewProfile(config)
	s.must(err)
	all := maps.Clone(s.Profiles)
	all[name] = planted
	s.replant(all, nil)
}

// DrawFrom lets the person CA draw serials from a source.
func (s *Scene) DrawFrom(source io.Reader) { s.replant(s.Profiles, source) }

func (s *Scene) replant(all ca.Profiles, source io.Reader) {
	s.T.Helper()
	var err error
	s.Issuers[PersonCA], err = ca.NewIssuer(ca.IssuerConfig{ID: PersonCA, Certificate: s.Issuers[PersonCA].Certificate(), Signer: s.Keys[PersonCA], Profiles: all,
		MayIssue: []ca.ProfileName{policy.ProfileAuthentication, policy.ProfileSigning}, Partitions: 3, StatusURL: StatusURL, Linter: lenient{}, Rand: source})
	s.must(err)
}
