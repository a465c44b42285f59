package token

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// URI names a card reached over PKCS #11.
type URI struct {
	Module string // path of the library
	Token  string // label of the token; empty: the only one there is
	Token2 string // label of the token behind the signing PIN; empty: none of its own
	Serial string // serial of the first token; empty: any
}

const maxURI = 4096

// ParseURI reads a PKCS #11 URI (RFC 7512) with the attributes module-path,
// token and serial, and token2, which RFC 7512 does not know: many cards show
// one token for each PIN. Attributes may stand in the path or in the query.
//
//	pkcs11:module-path=/usr/lib/softhsm/libsofthsm2.so;token=card;token2=card%20signing
//
// A PIN in the URI is refused: it would stand in the list of processes and in
// the shell's history.
func ParseURI(text string) (URI, error) {
	rest, ok := strings.CutPrefix(text, "pkcs11:")
	if !ok || len(text) > maxURI {
		return URI{}, errors.New("a PKCS #11 URI begins with pkcs11: and has at most 4096 octets")
	}
	path, query, _ := strings.Cut(rest, "?")
	pairs := append(strings.Split(path, ";"), strings.Split(query, "&")...)
	var u URI
	fields := map[string]*string{"module-path": &u.Module, "token": &u.Token, "token2": &u.Token2, "serial": &u.Serial}
	seen := map[string]bool{}
	for _, pair := range pairs {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "pin-") {
			return URI{}, errors.New("a PIN does not belong into a PKCS #11 URI: it is asked for, or read with --pin-fd")
		}
		field, known := fields[name]
		if !known {
			return URI{}, fmt.Errorf("PKCS #11 URI: attribute %q is not known (module-path, token, token2, serial)", name)
		}
		decoded, err := url.PathUnescape(value)
		if err != nil || decoded == "" || strings.ContainsRune(decoded, 0) || seen[name] {
			return URI{}, fmt.Errorf("PKCS #11 URI: value of %s is empty, repeated or not well encoded", name)
		}
		seen[name], *field = true, decoded
	}
	switch {
	case u.Module == "":
		return URI{}, errors.New("PKCS #11 URI: module-path is missing")
	case u.Token2 != "" && (u.Token == "" || u.Token == u.Token2):
		return URI{}, errors.New("PKCS #11 URI: token2 needs a token of another label beside it")
	}
	return u, nil
}

// String returns the URI in the form that [ParseURI] documents.
func (u URI) String() string {
	var parts []string
	for _, p := range []struct{ name, value string }{
		{"module-path", u.Module}, {"token", u.Token}, {"token2", u.Token2}, {"serial", u.Serial},
	} {
		if p.value != "" {
			// PathEscape leaves "&", ";" needs escaping and gets it; "&" would
			// only matter in the query.
			parts = append(parts, p.name+"="+strings.ReplaceAll(url.PathEscape(p.value), "%2F", "/"))
		}
	}
	return "pkcs11:" + strings.Join(parts, ";")
}
