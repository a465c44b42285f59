// Package finding is what an auditor reports: kinds that do not change, how bad each is,
// and a sentence without personal data. It finds nothing itself.
package finding

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigill/internal/auditor/book"
	"sigill/internal/auditor/source"
)

// Severity tells how bad a finding is.
type Severity string

// Severities. A note is told and is nothing wrong.
const (
	Note     Severity = "note"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// Kind names a kind of finding. Kinds are for machines and do not change. Those of
// certificates that were derived anew are "certificate." and a kind of package
// rederive.
type Kind string

// Kinds.
const (
	Unsigned   Kind = "checkpoint.unsigned" // the log's key has not signed it
	RolledBack Kind = "log.rolledback"      // smaller than it was
	Forked     Kind = "log.forked"          // another history than the one seen before
	Tiles      Kind = "log.tiles"           // the hashes shown do not lead to what was signed
	Unwatched  Kind = "log.unwitnessed"     // witnesses have not seen what is shown
	Stale      Kind = "log.stale"           // the head is old: what came since is withheld
	Ahead      Kind = "log.ahead"           // the head is of a time that has not come

	EntryChanged   Kind = "entry.changed"   // shown is something else than what was signed
	EntryReordered Kind = "entry.reordered" // two entries in each other's place
	EntryUnshown   Kind = "entry.unshown"   // deleted, or changed and held back by the service
	EntryErased    Kind = "entry.erased"    // erased without an act that says so
	EntryMalformed Kind = "entry.malformed"
	ActTime        Kind = "act.time" // the clock went backwards, or was ahead

	OrderTwice      Kind = "order.twice"
	OrderUnapproved Kind = "order.unapproved" // fewer persons signed than policy demands
	OrderEvidence   Kind = "order.evidence"   // what the order rests on is gone or another
	ApprovalForged  Kind = "approval.forged"  // a statement that does not hold
	RoleUnproven    Kind = "role.unproven"    // a role or an organisation that no two statements stand behind

	Unordered   Kind = "certificate.unordered"  // without order, download or both
	Unintended  Kind = "certificate.unintended" // in the log of certificates, not announced
	Missing     Kind = "certificate.missing"    // announced or issued, not in the log of certificates
	Abandoned   Kind = "certificate.abandoned"  // issued although it was given up
	SerialReuse Kind = "certificate.serial"     // one serial twice
	KeyReuse    Kind = "certificate.reusedkey"  // one key for two
	Profileless Kind = "certificate.profile"    // its profile was never recorded

	Late       Kind = "revocation.late"     // later than its cause allows
	Unrevoked  Kind = "revocation.missing"  // it had to come and did not
	Unpublic   Kind = "revocation.unpublic" // relying parties do not see it
	Unlogged   Kind = "revocation.unlogged" // relying parties see one that no act tells of
	StatusGone Kind = "status.unreadable"   // lists or answers that cannot be used

	Configured Kind = "configuration.changed"
	Told       Kind = "act.told" // acts that an auditor wants to know of: restored, reconciled, erased
)

// Finding is one thing that does not fit. Text has no personal data in it: ids are in
// IDs, by what they are ids of.
type Finding struct {
	Kind     Kind              `json:"kind"`
	Severity Severity          `json:"severity"`
	Log      source.Tree       `json:"log,omitempty"`
	Index    int64             `json:"index"` // in that log, from 0; -1: of no entry
	IDs      map[string]string `json:"ids,omitempty"`
	Text     string            `json:"text"`
	Evidence []string          `json:"evidence,omitempty"` // files that prove it
}

// String returns the finding as a line.
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %-24s", f.Severity, f.Kind)
	if f.Index >= 0 {
		fmt.Fprintf(&b, " %s %d:", f.Log, f.Index)
	} else if f.Log != "" {
		fmt.Fprintf(&b, " %s:", f.Log)
	}
	b.WriteString(" " + f.Text)
	for _, name := range slices.Sorted(maps.Keys(f.IDs)) {
		fmt.Fprintf(&b, " %s=%s", name, f.IDs[name])
	}
	for _, path := range f.Evidence {
		fmt.Fprintf(&b, " [%s]", path)
	}
	return b.String()
}

// subject is what makes a finding the same one when it is found again.
func (f Finding) subject() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(f.IDs)) {
		parts = append(parts, name+"="+f.IDs[name])
	}
	return strings.Join(append(parts, f.Text), " ")
}

// Kept returns it as a book remembers it.
func (f Finding) Kept() (book.Finding, error) {
	ids, err := json.Marshal(f.IDs)
	return book.Finding{Kind: string(f.Kind), Severity: string(f.Severity), Tree: string(f.Log), Number: f.Index, Subject: f.subject(),
		IDs: string(ids), Text: f.Text}, err
}

// Of returns what a book remembers.
func Of(k book.Finding) (Finding, error) {
	f := Finding{Kind: Kind(k.Kind), Severity: Severity(k.Severity), Log: source.Tree(k.Tree), Index: k.Number, Text: k.Text}
	return f, json.Unmarshal([]byte(k.IDs), &f.IDs)
}

// IDs makes the ids of a finding of pairs; those without a value are left out.
func IDs(pairs ...string) map[string]string {
	out := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out[pairs[i]] = pairs[i+1]
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
