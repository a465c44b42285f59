//go:build !unix

package token

import "io/fs"

// checkMode does nothing where the mode does not tell who may read.
func checkMode(string, fs.FileMode) error { return nil }
