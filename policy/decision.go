// Package policy holds every decision of the system, as pure functions from
// facts to a [Decision], and the vocabulary those facts are told in.
//
// It reads no clock, opens no store and knows no network: what it needs to know
// is given to it, so that a decision can be repeated years later over the same
// facts. Each rule it names is a clause of docs/POLICY.md; a test holds that.
package policy

import "fmt"

// Decision is the answer of a policy function: allowed, or refused by a rule.
type Decision struct {
	Allow  bool
	Rule   Rule   // the rule that refused; empty when allowed
	Detail string // which field or limit, in English, without personal data
}

// Allowed is the decision that nothing stands against.
var Allowed = Decision{Allow: true}

// Refuse returns the decision that rule refuses, with a formatted detail.
// The detail MUST NOT hold personal data: it is logged.
func Refuse(rule Rule, format string, args ...any) Decision {
	return Decision{Rule: rule, Detail: fmt.Sprintf(format, args...)}
}

// Err returns nil for an allowed decision and a [*Refusal] otherwise.
func (d Decision) Err() error {
	if d.Allow {
		return nil
	}
	return &Refusal{Rule: d.Rule, Detail: d.Detail}
}

// Refusal is a refused decision as an error. It is a result, not a failure: who
// returns one across a package border has recorded it first.
type Refusal struct {
	Rule   Rule
	Detail string
}

func (r *Refusal) Error() string {
	if r.Detail == "" {
		return "refused: " + string(r.Rule)
	}
	return "refused: " + string(r.Rule) + ": " + r.Detail
}
