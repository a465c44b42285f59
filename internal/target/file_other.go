//go:build !unix

package target

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

func versionOf(info fs.FileInfo) Version {
	return Version(fmt.Sprintf("%x-%x", info.ModTime().UnixNano(), info.Size()))
}

func tryLock(*os.File) (bool, error) {
	return false, errors.New("the server runs on Unix; only sigill-card is for other systems")
}
