package policy

// Rule is the name of a clause in docs/POLICY.md.
type Rule string
