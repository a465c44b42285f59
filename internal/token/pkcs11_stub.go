//go:build !cgo

package token

import (
	"context"
	"errors"
)

// openPKCS11 refuses: a PKCS #11 module is a C library.
func openPKCS11(context.Context, URI, PIN) (Card, error) {
	return nil, errors.New("this program was built without cgo and cannot load a PKCS #11 module: use the build for cards, or a soft: test card")
}
