// Package mutate holds the proof that the tests of the critical path see: the
// product is changed for the worse, one line at a time, by an overlay of the Go
// command, and for each change a named test must fail.
//
// It knows the text of what it changes and which test watches it, and nothing of
// how either works. It has no code of its own.
package mutate
