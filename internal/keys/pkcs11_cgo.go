//go:build cgo

package keys

// Registers the KMS for keys in PKCS#11 tokens. It needs cgo; a static build has
// none, and openToken says so.
import _ "go.step.sm/crypto/kms/pkcs11"
