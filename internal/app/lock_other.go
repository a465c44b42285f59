//go:build !unix

package app

import (
	"errors"
	"os"
)

func lockDir(string) (*os.File, error) {
	return nil, errors.New("the server runs on Unix; only sigill-card is for other systems")
}
