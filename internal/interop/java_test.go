//go:build unix

package interop

import (
	"path/filepath"
	"strings"
	"testing"

	"sigill/internal/stage"
)

// javaCase is a certificate that Java judges.
type javaCase struct {
	leaf    string
	days    string // from now
	options string // of PKIXRevocationChecker
	says    string // begins what the program says
	also    string // is in it
}

// Options of PKIXRevocationChecker. Without any, OCSP is asked and a CRL fetched
// where that tells nothing. The issuing CA's certificate names no responder, so
// OCSP alone can only be demanded for the end entity.
const (
	ocspOnly = "NO_FALLBACK,ONLY_END_ENTITY"
	crlOnly  = "PREFER_CRLS,NO_FALLBACK"
)

// java runs the program once for all cases: a virtual machine takes its time to
// start.
func (in *installation) java(t *testing.T, cases ...javaCase) {
	t.Helper()
	in.javaAt(t, "", cases...)
}

// javaAt is java started by something else.
func (in *installation) javaAt(t *testing.T, by string, cases ...javaCase) {
	t.Helper()
	stage.Need(t, "javac", "default-jdk-headless") // java runs sources only beside it
	program, err := filepath.Abs(filepath.Join("testdata", "Validate.java"))
	if err != nil {
		t.Fatal(err)
	}
	// Java fetches CRLs from where certificates say only when told to, and to
	// start quickly it compiles little.
	args := append(strings.Fields(by), "java", "-Dcom.sun.security.enableCRLDP=true", "-XX:TieredStopAtLevel=1", program, "root.pem", "issuer.pem")
	for _, c := range cases {
		args = append(args, c.leaf+".pem:"+c.days+":"+c.options)
	}
	o := in.run(t, args[0], args[1:]...).Want(t, 0, "java")
	lines := strings.Split(strings.TrimSpace(o.Out), "\n")
	if len(lines) != len(cases) {
		t.Fatalf("java told %d of %d cases: %v", len(lines), len(cases), o)
	}
	for i, c := range cases {
		said, ok := strings.CutPrefix(lines[i], args[len(args)-len(cases)+i]+" ")
		if !ok || !strings.HasPrefix(said, c.says) || !strings.Contains(said, c.also) {
			t.Errorf("java says of %s: %s\nwant %s … %s", args[len(args)-len(cases)+i], said, c.says, c.also)
		}
	}
}

// Java judges the whole chain by OCSP and by CRLs, as it is told to.
func TestJavaJudges(t *testing.T) {
	stage.Need(t, "javac", "default-jdk-headless") // java runs sources only beside it
	in := served(t)
	const (
		responder = "CN=TEST Sigill Person HSA-id 3 CA v1 OCSP,"
		issuer    = "CN=TEST Sigill Person HSA-id 3 CA v1,"
	)
	asked := in.since()
	in.java(t,
		javaCase{good, "0", ocspOnly, "accepted", ""},
		javaCase{superseded, "0", ocspOnly, "refused: REVOKED at 0 SUPERSEDED by " + responder, ""},
		javaCase{stolen, "0", ocspOnly, "refused: REVOKED at 0 KEY_COMPROMISE by " + responder, ""},
		javaCase{forged, "0", ocspOnly, "refused: UNDETERMINED_REVOCATION_STATUS at 0", "Certificate's revocation status is unknown"},
		javaCase{forged, "0", ocspOnly + ",SOFT_FAIL", "accepted, unchecked: ", "unknown"},
		javaCase{good, "0", "NO_FALLBACK", "refused: UNSPECIFIED at 1", "does not specify OCSP responder"},
	)
	for _, line := range asked() {
		if !strings.HasSuffix(strings.SplitN(line, "/ocsp", 2)[0], " ") {
			t.Errorf("java was to ask OCSP only, and asked %s", line)
		}
	}
	asked = in.since()
	in.java(t,
		javaCase{good, "0", crlOnly, "accepted", ""},
		javaCase{superseded, "0", crlOnly, "refused: REVOKED at 0 SUPERSEDED by " + issuer, ""},
		javaCase{stolen, "0", crlOnly, "refused: REVOKED at 0 KEY_COMPROMISE by " + issuer, ""},
		javaCase{forged, "0", crlOnly, "accepted", ""}, // no list can have it
		javaCase{good, "40", crlOnly, "refused: UNDETERMINED_REVOCATION_STATUS at 0", ""},
	)
	for _, line := range asked() {
		if !strings.HasPrefix(line, "GET /crl/") {
			t.Errorf("java was to fetch CRLs only, and asked %s", line)
		}
	}
	asked = in.since()
	in.java(t,
		javaCase{good, "0", "", "accepted", ""},
		javaCase{superseded, "0", "", "refused: REVOKED at 0 SUPERSEDED by " + responder, ""},
		javaCase{good, "0", "PREFER_CRLS", "accepted", ""},
		javaCase{stolen, "0", "PREFER_CRLS", "refused: REVOKED at 0 KEY_COMPROMISE by " + issuer, ""},
	)
	stage.Says(t, "what java asked", strings.Join(asked(), "\n"), "/ocsp", "GET /crl/root/0.crl", "GET /crl/person-hsa-id-3-v1/")
}

// With the service away, Java refuses, or accepts and says what it does not know.
func TestJavaWithoutStatus(t *testing.T) {
	stage.Need(t, "javac", "default-jdk-headless") // java runs sources only beside it
	in := served(t)
	in.down(t)
	in.java(t,
		javaCase{good, "0", ocspOnly, "refused: UNDETERMINED_REVOCATION_STATUS at 0", "Unable to determine revocation status due to network error"},
		javaCase{good, "0", crlOnly, "refused: UNDETERMINED_REVOCATION_STATUS at ", ""},
		javaCase{good, "0", "PREFER_CRLS,NO_FALLBACK,SOFT_FAIL", "accepted, unchecked: ", ""},
		javaCase{good, "0", ocspOnly + ",SOFT_FAIL", "accepted, unchecked: ", "network error"},
		// Where OCSP is asked of the issuing CA too, it lacks a responder. That is no
		// lack of a network to Java, so nothing is soft about it.
		javaCase{good, "0", "PREFER_CRLS,SOFT_FAIL", "refused: UNDETERMINED_REVOCATION_STATUS at 1", ""},
		javaCase{good, "0", "", "refused: UNSPECIFIED at 1", "does not specify OCSP responder"},
		javaCase{good, "0", "SOFT_FAIL", "refused: UNSPECIFIED at 1", "does not specify OCSP responder"},
		javaCase{superseded, "0", ocspOnly + ",SOFT_FAIL", "accepted, unchecked: ", "network error"}, // what soft means
	)
}
