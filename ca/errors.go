package ca

import "strings"

// RequestError says which part of a request can't be certified, and why. It is
// returned before anything is drawn or built.
type RequestError struct {
	Field  string // "content.email", "key", "notAfter"
	Reason string
}

func (e *RequestError) Error() string { return e.Field + ": " + e.Reason }

func refuse(field, reason string) error { return &RequestError{Field: field, Reason: reason} }

// LintError is what a [Linter] found wrong with a certificate.
type LintError struct {
	Findings []string // name of the lint and what it says
}

func (e *LintError) Error() string { return "lint: " + strings.Join(e.Findings, "; ") }

// MandateError says why a mandate does not carry a certificate.
type MandateError struct {
	Reason string
}

func (e *MandateError) Error() string { return "mandate: " + e.Reason }
