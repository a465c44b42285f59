// Package demo holds the people and cards of `sigill demo`. Nobody in it exists:
// the numbers are of the series that the Tax Agency set apart for tests.
package demo

import _ "embed"

// Founding is the bootstrap's document, formatted for people.
//
//go:embed founding.json
var Founding []byte

// People are persons with assignments as the directory first tells them.
//
//go:embed people.csv
var People []byte

// Corrected is the directory after somebody noticed.
//
//go:embed people-corrected.csv
var Corrected []byte

// Cards are the cards that the bureau makes, with who is to get them.
//
//go:embed cards.csv
var Cards []byte
