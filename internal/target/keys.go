package target

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"sigill/internal/strictjson"
)

// keyFile is the form of a file or credential with keys.
type keyFile struct {
	AccessKey    string `json:"access_key"`
	SecretKey    string `json:"secret_key"`
	SessionToken string `json:"session_token"`
}

// maxKeyFile is more than any keys need.
const maxKeyFile = 64 << 10

// KeysFrom returns a function that reads credentials from where source says:
//
//	file:PATH             a file that only its owner may read, relative to dir
//	credential:NAME       a systemd credential (LoadCredentialEncrypted=)
//	env:ACCESS,SECRET     two environment variables, by name; a third one for a session token
//
// Files and credentials hold {"access_key": "…", "secret_key": "…"} and perhaps
// "session_token". lookup is os.LookupEnv. An error names no content.
func KeysFrom(source, dir string, lookup func(string) (string, bool)) (func() (Keys, error), error) {
	scheme, rest, _ := strings.Cut(source, ":")
	switch {
	case scheme == "file" && rest != "":
		if !filepath.IsAbs(rest) {
			rest = filepath.Join(dir, rest)
		}
		return func() (Keys, error) { return readKeys(rest, true) }, nil
	case scheme == "credential" && rest != "" && rest == filepath.Base(rest) && rest != "." && rest != "..":
		return func() (Keys, error) {
			at, ok := lookup("CREDENTIALS_DIRECTORY")
			if !ok || at == "" {
				return Keys{}, errors.New("no credentials directory: start the service with LoadCredentialEncrypted= in its unit")
			}
			return readKeys(filepath.Join(at, rest), false)
		}, nil
	case scheme == "env":
		if names := strings.Split(rest, ","); len(names) == 2 || len(names) == 3 {
			return func() (Keys, error) { return environmentKeys(names, lookup) }, nil
		}
	}
	return nil, fmt.Errorf("credentials come from file:PATH, credential:NAME or env:ACCESS,SECRET and not from %q", scheme)
}

func environmentKeys(names []string, lookup func(string) (string, bool)) (Keys, error) {
	var values [3]string
	for i, name := range names {
		v, ok := lookup(name)
		if !ok || v == "" {
			return Keys{}, fmt.Errorf("the environment has no %s", name)
		}
		values[i] = v
	}
	return Keys{AccessKey: values[0], SecretKey: values[1], SessionToken: values[2]}, nil
}

// readKeys reads the file of keys. The mode of a systemd credential is systemd's affair.
func readKeys(path string, private bool) (Keys, error) {
	f, err := os.Open(path)
	if err != nil {
		return Keys{}, fmt.Errorf("credentials: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Keys{}, fmt.Errorf("credentials: %w", err)
	}
	if private && info.Mode().Perm()&0o077 != 0 {
		return Keys{}, fmt.Errorf("credentials: %s can be read by others than its owner: chmod 600 it, and have new keys made", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return Keys{}, fmt.Errorf("credentials: %w", err)
	}
	var k keyFile
	if err := strictjson.Unmarshal(text, &k); err != nil || k.AccessKey == "" || k.SecretKey == "" {
		// The error of the parser could show a piece of what it read.
		return Keys{}, fmt.Errorf("credentials: %s is not {\"access_key\": …, \"secret_key\": …}", path)
	}
	return Keys(k), nil
}
