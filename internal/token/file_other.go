//go:build !unix

package token

import "io/fs"

// lockDir does nothing where directories can't be locked: two processes must
// not write one soft card there at the same time. It is a test card; a real one
// is locked by its reader.
func lockDir(string) (unlock func(), err error) { return func() {}, nil }

// checkMode does nothing where the mode does not tell who may read.
func checkMode(string, fs.FileMode) error { return nil }
