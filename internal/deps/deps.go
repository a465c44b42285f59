// Package deps holds the module versions in go.mod until their users exist.
package deps

import (
	_ "github.com/alecthomas/kong"
	_ "github.com/google/certificate-transparency-go"
	_ "github.com/google/certificate-transparency-go/ctutil"
	_ "github.com/google/certificate-transparency-go/tls"
	_ "github.com/google/certificate-transparency-go/x509util"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/miekg/pkcs11"
	_ "github.com/pressly/goose/v3"
	_ "github.com/prometheus/client_golang/prometheus"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/smallstep/certificates/cas/apiv1"
	_ "github.com/smallstep/certificates/cas/softcas"
	_ "github.com/smallstep/certificates/policy"
	_ "github.com/zmap/zlint/v3"
	_ "go.step.sm/crypto/keyutil"
	_ "go.step.sm/crypto/kms"
	_ "go.step.sm/crypto/kms/softkms"
	_ "go.step.sm/crypto/pemutil"
	_ "go.yaml.in/yaml/v3"
	_ "golang.org/x/crypto/cryptobyte"
	_ "golang.org/x/crypto/ocsp"
	_ "golang.org/x/term"
	_ "modernc.org/sqlite"
	_ "pgregory.net/rapid"
)
