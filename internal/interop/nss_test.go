//go:build unix

package interop

import (
	"path/filepath"
	"strings"
	"testing"

	"sigill/internal/stage"
)

// nss makes a database of NSS, below the relying party's files, that trusts the
// root to vouch for TLS clients and knows the issuing CA.
func (in *installation) nss(t *testing.T) (database string) {
	t.Helper()
	stage.Need(t, "vfychain", "libnss3-tools")
	database = "sql:" + t.TempDir()
	for _, args := range []string{
		"-N --empty-password -d " + database,
		"-A -n root -t CT,, -i root.pem -d " + database,
		"-A -n issuer -t ,, -i issuer.pem -d " + database,
	} {
		in.run(t, "certutil", strings.Fields(args)...).Want(t, 0, "certutil "+args)
	}
	return database
}

// What NSS says of a certificate. To it a status that it was to find and did not
// is no other than revoked.
const (
	nssGood    = "Chain is good!"
	nssRevoked = "ERROR -8180: Peer's Certificate has been revoked."
)

// NSS, which judges for Firefox and LibreOffice, asks OCSP of the holder's
// certificate and gets the root's CRL by itself for the issuing CA.
func TestNSSJudges(t *testing.T) {
	stage.Need(t, "vfychain", "libnss3-tools")
	in := served(t)
	verify := "vfychain -pp -u 0 -d " + in.nss(t) + " "
	ocsp := verify + "-g leaf -h requireFreshInfo -m ocsp -s requireInfo -a "
	both := verify + "-g leaf -h requireFreshInfo -m ocsp -s requireInfo -g chain -h requireFreshInfo -m crl -s requireInfo -a "
	asked := in.since()
	in.judge(t, []judged{
		{"good by OCSP", ocsp + "good.pem", 0, []string{nssGood}},
		{"superseded by OCSP", ocsp + "superseded.pem", 1, []string{nssRevoked}},
		{"stolen by OCSP", ocsp + "stolen.pem", 1, []string{nssRevoked}},
		{"forged by OCSP", ocsp + "forged.pem", 1, []string{nssRevoked}},
		{"good, all levels", both + "good.pem", 0, []string{nssGood}},
		{"superseded, all levels", both + "superseded.pem", 1, []string{nssRevoked}},
	})
	got := strings.Join(asked(), "\n")
	stage.Says(t, "what NSS asked", got, "GET /ocsp/", "GET /crl/root/0.crl")
	t.Run("responder down", func(t *testing.T) {
		in.down(t)
		open := verify + "-g leaf -m ocsp -a "
		in.judge(t, []judged{
			{"must find a status", ocsp + "good.pem", 1, []string{nssRevoked}},
			{"may go without, good", open + "good.pem", 0, []string{nssGood}},
			{"may go without, superseded", open + "superseded.pem", 0, []string{nssGood}},
		})
	})
}

// NSS knows no issuing distribution point. It refuses a partition's list, as it
// must refuse what is critical and unknown, and takes lists that have none: the
// root's, and the full one, by which it judges without any network.
func TestNSSTakesCRLs(t *testing.T) {
	stage.Need(t, "crlutil", "libnss3-tools")
	in := served(t)
	db := in.nss(t)
	imported := "crlutil -I -t 1 -d " + db + " -i "
	verify := "vfychain -pp -u 0 -d " + db + " -g leaf -h testLocalInfoFirst -m crl -s forbidFetching -g chain -h testLocalInfoFirst -m crl -s forbidFetching -a "
	asked := in.since()
	in.judge(t, []judged{
		{"superseded, no list yet", verify + "superseded.pem", 0, []string{nssGood}},
	})
	if got := asked(); len(got) > 0 {
		t.Errorf("NSS was to fetch nothing, and asked %v", got)
	}
	in.judge(t, []judged{
		{"a partition's", imported + in.der(t, in.leaves[superseded].CRLDistributionPoints[0]), 1, []string{"SEC_ERROR_CRL_UNKNOWN_CRITICAL_EXTENSION"}},
		{"the root's", imported + in.der(t, in.issuer.CRLDistributionPoints[0]), 0, nil},
		{"the full one", imported + in.der(t, in.full()), 0, nil},
		{"both are there", "crlutil -L -d " + db, 0, []string{"root", "issuer"}},
		{"good", verify + "good.pem", 0, []string{nssGood}},
		{"superseded", verify + "superseded.pem", 1, []string{nssRevoked}},
		{"stolen", verify + "stolen.pem", 1, []string{nssRevoked}},
		{"forged", verify + "forged.pem", 0, []string{nssGood}}, // in no list
		{"the root's, which revokes the issuing CA", imported + filepath.Join(in.work, "dead.crl"), 0, nil},
		{"good below it", verify + "good.pem", 1, []string{nssRevoked}},
	})
}
