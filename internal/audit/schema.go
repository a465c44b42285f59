package audit

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// shape is what an event of an act says beside who did it and when: nothing that is
// not here, and all that must be.
type shape struct {
	must []string // public fields, at most 32
	may  []string // public fields that do not always apply
	// Personal fields: all of private are there, and of those in perhaps what was said.
	private []string
	perhaps []string
}

// Fields that are one thing in several acts.
var (
	// one and two are the statements of one or two people that an act rests on: the
	// statement's id, the SHA-256 of what was signed, and with which certificate.
	one = []string{"statement", "signed", "certificate"}
	two = append(one[:3:3], "statement-2", "signed-2", "certificate-2")
	// ended is what a revocation says. Without reason and rule nobody could tell
	// afterwards why an eID stopped working.
	ended     = []string{"serial", "issuer", "reason", "rule", "partition"}
	endedOf   = []string{"card", "download"}
	outage    = []string{"outage", "account", "begun", "until", "reason-sv", "reason-en"}
	authority = []string{"issuer", "since"}
)

// shapes has an entry for each of [Acts].
var shapes = map[string]shape{
	Initialised:     {must: []string{"root", "certificate", "environment", "officer1", "officer2"}},
	CeremonyFounded: {must: with(two, "organisation", "document")},
	CeremonyClosed:  {must: []string{"organisation"}},

	OrganisationCreated: {must: with(two, "organisation", "number", "name", "document"), may: []string{"parent"}},
	OrganisationSigning: {must: with(two, "organisation", "allowed", "document"), perhaps: []string{"reason"}},
	PersonImported: {must: []string{"person", "organisation", "result"},
		private: []string{"number", "givenName", "surname", "hsaId", "email", "upn", "sid", "protected", "endsAt"}},
	AssignmentChanged: {must: []string{"person", "organisation", "ended"}},
	RoleGranted:       {must: with(two, "person", "organisation", "role", "document")},
	RoleEnded:         {must: []string{"person", "organisation", "role", "rule"}},

	DeliveryImported: {must: with(one, "organisation", "bureau", "file", "cards"), may: two[3:]},
	CardSent:         {must: []string{"card", "organisation", "product", "kind", "expires", "key", "file"}},
	CardHandedOut:    {must: with(one, "card", "person", "identity", "document"), may: two[3:]},
	CardArmed:        {must: with(two, "card", "person", "identity", "document")},
	CardBlocked:      {must: []string{"card", "report"}, may: []string{"person"}},

	OrderPlaced:    {must: with(one, "order", "type", "organisation", "card", "person", "kind", "loa", "state", "document")},
	OrderApproved:  {must: with(one, "order", "state", "document")},
	OrderWithdrawn: {must: []string{"order", "card", "rule"}},
	OrderExpired:   {must: []string{"order", "card"}},

	DownloadBegun:     {must: []string{"download", "card", "plan", "login"}, may: []string{"order"}},
	DownloadConfirmed: {must: []string{"download", "card", "plan", "certificate"}, may: []string{"order"}},
	DownloadAbandoned: {must: []string{"download", "card"}, may: []string{"order"}},
	DownloadLapsed:    {must: []string{"download", "card"}, may: []string{"order"}},
	DownloadCleaned:   {must: []string{"download", "card", "removed"}},

	KeyRefused:  {must: []string{"rule", "key", "card", "slot", "download"}},
	KeyBlocked:  {must: []string{"key", "cause", "certificates"}, may: with(two, "document", "proof", "proved-on")},
	KeyIncident: {must: []string{"incident", "kind", "key", "proved-on", "login", "download"}, may: []string{"card"}},
	IntentRecorded: {must: []string{"serial", "issuer", "profile", "key"},
		may: []string{"slot", "card", "organisation", "kind", "loa", "order", "download", "provenance", "leaf"}},
	IntentAbandoned:       {must: ended, may: endedOf},
	CertificateIssued:     {must: []string{"serial", "issuer", "certificate"}, may: endedOf},
	CertificateSuperseded: {must: ended, may: endedOf},
	CertificateRevoked:    {must: ended, may: endedOf},

	RevocationOrdered:  {must: with(one, "revocation", "document", "organisation", "reason", "kind", "entries", "list")},
	RevocationApproved: {must: with(one, "revocation", "document")},
	RevocationFinished: {must: []string{"revocation", "entries", "revoked"}},

	RetentionErased: {must: []string{"class", "through", "count"}, may: []string{"from", "to"}},
	PersonExported:  {must: []string{"person", "organisation"}},
	PersonErased:    {must: with(two, "person", "organisation", "document", "count")},

	// How many leaves the logs had here, and how many were told outside.
	LogRestored: {must: []string{"log", "place", "size", "kept"}},
	// The numbers that were taken over, from and to, and how many certificates were revoked
	// because nothing but their leaf was left.
	LogReconciled: {must: []string{"acts-kept", "certificates-kept", "revoked"}, may: []string{"acts-from", "acts-to", "certificates-from", "certificates-to"}},

	// How many leaves of each log the place has.
	LogAccepted: {must: []string{"place", "acts", "certificates"}},

	ClockChecked:        {must: []string{"result"}, may: []string{"source", "offset", "kernel"}},
	OutageBegun:         {must: outage},
	OutageEnded:         {must: with(outage, "ended")},
	ConfigurationLoaded: {must: []string{"name", "sha256", "doc-1"}, may: documentParts(2)},

	CARevoked: {must: with(authority, "reason")},
	CAClosed:  {must: authority, may: []string{"account"}},
	CALast:    {must: authority, may: []string{"account"}},

	LoginAccepted: {must: []string{"certificate", "listener"}, may: []string{"card"}},
	LoginRefused:  {must: []string{"certificate", "rule"}, may: []string{"card"}, private: []string{"detail"}},
	// What was asked for, as far as it has the form of a name ([Formed]).
	RequestRefused: {must: []string{"rule"}, may: []string{"abandoning", "blocking", "bureau", "card", "certificate", "download", "incident",
		"key", "order", "organisation", "person", "revocation", "serial"}, private: []string{"detail"}},
}

// with returns common and more in one new list.
func with(common []string, more ...string) []string { return slices.Concat(common, more) }

// MaxDocument is the most parts of a document that an event holds in fields doc-1,
// doc-2, …
const MaxDocument = 15

// documentParts are the names of the parts of a document from one on.
func documentParts(from int) (names []string) {
	for i := from; i <= MaxDocument; i++ {
		names = append(names, fmt.Sprintf("doc-%d", i))
	}
	return names
}

// hashes are the fields that hold 32 octets in hexadecimal digits.
var hashes = map[string]bool{"document": true, "signed": true, "signed-2": true, "certificate": true, "certificate-2": true, "plan": true,
	"login": true, "key": true, "leaf": true, "file": true, "list": true, "sha256": true, "officer1": true, "officer2": true}

// Check refuses an event whose fields are not those of its act: one that is missing,
// that the act does not have, or that is public where it would name somebody. [Seal]
// checks, so that no act is done whose event would say less, or more, than a reader
// years later relies on.
func Check(e Event) error {
	s, ok := shapes[e.Act]
	if !ok {
		return fmt.Errorf("act %q is not in the list", e.Act)
	}
	if err := s.public(e); err != nil {
		return fmt.Errorf("act %s: %w", e.Act, err)
	}
	if err := s.personal(e); err != nil {
		return fmt.Errorf("act %s: %w", e.Act, err)
	}
	return nil
}

func (s *shape) public(e Event) error {
	var have uint32
	for _, f := range e.Public {
		if i := slices.Index(s.must, f.Name); i >= 0 {
			have |= 1 << i
		} else if !slices.Contains(s.may, f.Name) {
			return fmt.Errorf("it has no public field %q", f.Name)
		}
		if f.Value == "" {
			return fmt.Errorf("field %s is empty: what does not apply is left out", f.Name)
		}
		if hashes[f.Name] && !isHash(f.Value) {
			return fmt.Errorf("field %s is not 64 hexadecimal digits", f.Name)
		}
		if (e.Act == RequestRefused || e.Act == LoginRefused) && !Formed(f) {
			return fmt.Errorf("field %s has another form: what somebody sent may name a person", f.Name)
		}
	}
	if bits.OnesCount32(have) != len(s.must) {
		return fmt.Errorf("field %s is missing", s.must[bits.TrailingZeros32(^have)])
	}
	return nil
}

func (s *shape) personal(e Event) error {
	have := 0
	for _, f := range e.Personal {
		if slices.Contains(s.private, f.Name) {
			have++
		} else if !slices.Contains(s.perhaps, f.Name) {
			return fmt.Errorf("it has no personal field %q", f.Name)
		}
	}
	if have != len(s.private) { // none is there twice: a body refuses that
		return fmt.Errorf("of the personal fields %s some are missing", strings.Join(s.private, ", "))
	}
	return nil
}

func isHash(value string) bool {
	if len(value) != 64 {
		return false
	}
	for _, c := range []byte(value) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
