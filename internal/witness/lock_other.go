//go:build !unix

package witness

import (
	"errors"
	"os"
)

func lockDir(string) (*os.File, error) {
	return nil, errors.New("a witness runs on Unix; only its clients run elsewhere too")
}
