package checker

import (
	"cmp"
	"slices"
	"time"
)

// Grade tells how bad a finding is.
type Grade string

// Grades. A warning is what will be a failure if nobody does anything.
const (
	OK      Grade = "ok"
	Warning Grade = "warning"
	Failure Grade = "failure"
)

var graveness = map[Grade]int{OK: 0, Warning: 1, Failure: 2}

// Code names a kind of finding. Codes are for machines and do not change.
type Code string

// Codes.
const (
	HTTPUnreachable Code = "http.unreachable"
	HTTPRedirect    Code = "http.redirect" // relying parties do not follow
	HTTPStatus      Code = "http.status"
	HTTPType        Code = "http.type"  // Content-Type
	HTTPCache       Code = "http.cache" // how long caches may keep it
	ClockSkew       Code = "clock.skew"

	CAUnnamed   Code = "ca.unnamed"
	CAEnds      Code = "ca.ends"
	CertForeign Code = "cert.foreign"
	AIADiffers  Code = "aia.differs"

	CRLInvalid   Code = "crl.invalid" // no list, another issuer's, a wrong signature
	CRLMissing   Code = "crl.missing"
	CRLExpired   Code = "crl.expired"
	CRLOld       Code = "crl.old"
	CRLLate      Code = "crl.late" // past half of its life: it should have been issued anew
	CRLFuture    Code = "crl.future"
	CRLLarge     Code = "crl.large"     // some relying parties give up fetching it
	CRLBackwards Code = "crl.backwards" // number or time
	CRLReused    Code = "crl.reused"    // one number, two contents
	CRLScope     Code = "crl.scope"     // issuing distribution point and address
	CRLOrder     Code = "crl.order"     // not sorted, or a serial twice
	CRLReason    Code = "crl.reason"
	CRLCritical  Code = "crl.critical" // what relying parties do not understand and must

	FullMissing Code = "full.missing"
	FullLacks   Code = "full.lacks"   // what a partition has
	FullDiffers Code = "full.differs" // from a partition
	FullExtra   Code = "full.extra"   // what no partition has

	OCSPInvalid    Code = "ocsp.invalid" // no answer, an error, a wrong signature
	OCSPStale      Code = "ocsp.stale"
	OCSPValidity   Code = "ocsp.validity"
	OCSPDiffers    Code = "ocsp.differs" // from the list
	OCSPInvents    Code = "ocsp.invents" // knows a serial that nobody issued
	OCSPNonce      Code = "ocsp.nonce"
	OCSPSigner     Code = "ocsp.signer"
	OCSPSignerEnds Code = "ocsp.signer-ends"

	ClaimDiffers Code = "claim.differs"
)

// Finding is one thing that is not as it must be.
type Finding struct {
	Grade   Grade  `json:"grade"`
	Code    Code   `json:"code"`
	Subject string `json:"subject"` // an address, a CA, a serial
	Text    string `json:"text"`
}

func finding(g Grade, code Code, subject, text string) Finding {
	return Finding{Grade: g, Code: code, Subject: subject, Text: text}
}

// ListSeen is a list as it was read last.
type ListSeen struct {
	URL        string    `json:"url"`
	Number     string    `json:"number"`
	ThisUpdate time.Time `json:"this_update"`
	NextUpdate time.Time `json:"next_update"`
	Entries    int       `json:"entries"`
	Octets     int64     `json:"octets"`

	path   string
	sha256 string
}

// SignerSeen is an OCSP signer as it answered last.
type SignerSeen struct {
	Authority string    `json:"authority"`
	NotAfter  time.Time `json:"not_after"`
}

// Report is what one round has found.
type Report struct {
	At       time.Time    `json:"at"`
	Grade    Grade        `json:"grade"`
	Findings []Finding    `json:"findings"`
	Lists    []ListSeen   `json:"lists"`
	Signers  []SignerSeen `json:"signers"`
	Answers  int          `json:"ocsp_answers"` // that were read and verified
	Claims   int          `json:"claims"`
}

func (r *Report) add(all ...Finding) {
	for _, f := range all {
		if !slices.Contains(r.Findings, f) {
			r.Findings = append(r.Findings, f)
		}
	}
}

// sort brings a report into an order that does not depend on what answered first, and
// grades it.
func (r *Report) sort() {
	r.Grade = OK
	for _, f := range r.Findings {
		if graveness[f.Grade] > graveness[r.Grade] {
			r.Grade = f.Grade
		}
	}
	slices.SortFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(graveness[b.Grade]-graveness[a.Grade], cmp.Compare(a.Code, b.Code), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Text, b.Text))
	})
	slices.SortFunc(r.Lists, func(a, b ListSeen) int { return cmp.Compare(a.URL, b.URL) })
	slices.SortFunc(r.Signers, func(a, b SignerSeen) int { return cmp.Compare(a.Authority, b.Authority) })
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
}
