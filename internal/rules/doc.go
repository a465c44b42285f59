// Package rules holds the tests of the architecture: which package may depend on
// which, what a domain package must not reach, that every rule a refusal can name
// is a clause of docs/POLICY.md. A rule that nothing checks is a wish.
//
// It has no code of its own.
package rules
