//go:build unix

package interop

import (
	"strings"
	"testing"

	"sigill/internal/stage"
)

// Clocks of relying parties. An answer is valid from five minutes before it was
// signed, so that it is good where a clock is slow.
const (
	slow  = "-4m"
	fast  = "+3h" // answers of an hour have run out there
	ahead = "+3d" // lists too
)

// clock returns what starts a program with a clock that is wrong by this much.
// faketime itself would stay between us and the program, and keep signals.
func clock(t *testing.T, by string) string {
	t.Helper()
	faketime := stage.Command(stage.Need(t, "faketime", "faketime"), "-f", by, "env")
	out := stage.Run(t, faketime).Want(t, 0, "faketime").Out
	for line := range strings.SplitSeq(out, "\n") {
		if strings.HasPrefix(line, "LD_PRELOAD=") {
			return "env " + line + " FAKETIME=" + by + " "
		}
	}
	t.Fatalf("faketime preloads nothing:\n%s", out)
	return ""
}

// A relying party whose clock is somewhat slow believes what it is told. One to
// whom everything has run out, as it is to all when nothing new comes or an old
// answer is replayed, refuses the good eID.
func TestClocks(t *testing.T) {
	stage.Need(t, "faketime", "faketime")
	in := served(t)
	slow, fast, ahead := clock(t, slow), clock(t, fast), clock(t, ahead)
	t.Run("OpenSSL", func(t *testing.T) {
		stage.Need(t, "openssl", "openssl")
		ask := "openssl ocsp -no_nonce -CAfile root.pem -issuer issuer.pem -cert good.pem -url " + in.leaves[good].OCSPServer[0]
		verify := "openssl verify -crl_check_all -CAfile root.pem -untrusted issuer.pem -CRLfile crls.pem good.pem"
		in.judge(t, []judged{
			{"OCSP, slow, and strict", slow + ask + " -validity_period 1", 0, []string{"Response verify OK", "good.pem: good"}},
			{"OCSP, fast", fast + ask, 0, []string{"WARNING: Status times invalid.", "status expired"}},
			{"CRL, slow", slow + verify, 0, []string{"good.pem: OK"}},
			{"CRL, fast", fast + verify, 0, []string{"good.pem: OK"}},
			{"CRL, ahead", ahead + verify, 2, []string{"CRL has expired", "error 12 at 0 depth"}},
		})
	})
	t.Run("GnuTLS", func(t *testing.T) {
		stage.Need(t, "certtool", "gnutls-bin")
		verify := "certtool --verify --load-ca-certificate root.pem --load-crl full.pem --infile good-chain.pem"
		in.judge(t, []judged{
			{"CRL, slow", slow + verify, 0, []string{"Chain verification output: Verified"}},
			{"CRL, ahead", ahead + "certtool --verify-crl --load-ca-certificate issuer.pem --infile crl-full.pem", 1, []string{"The revocation or OCSP data are old and have been superseded."}},
		})
	})
	t.Run("NSS", func(t *testing.T) {
		verify := "vfychain -pp -u 0 -d " + in.nss(t) + " -g leaf -h requireFreshInfo -m ocsp -s requireInfo -a good.pem"
		in.judge(t, []judged{
			{"OCSP, slow", slow + verify, 0, []string{nssGood}},
			{"OCSP, fast", fast + verify, 1, []string{nssRevoked}},
		})
	})
	t.Run("Java", func(t *testing.T) {
		in.javaAt(t, slow, javaCase{good, "0", ocspOnly, "accepted", ""}, javaCase{good, "0", crlOnly, "accepted", ""})
		// A revocation that is still to come by Java's clock is none to it.
		in.javaAt(t, clock(t, "-9m"), javaCase{superseded, "0", ocspOnly, "accepted", ""})
		in.javaAt(t, fast, javaCase{good, "0", ocspOnly, "refused: UNSPECIFIED at 0", "Response is unreliable: its validity interval is out-of-date"})
		in.javaAt(t, ahead, javaCase{good, "0", crlOnly, "refused: UNDETERMINED_REVOCATION_STATUS at 0", ""})
	})
	t.Run("nginx", func(t *testing.T) {
		n := in.startNginx(t, slow)
		n.doors(t, []door{{"leaf", good, ""}, {"crl", good, ""}, {"leaf", stolen, nginxByOCSP}, {"crl", stolen, nginxByList}})
		n = in.startNginx(t, ahead)
		n.doors(t, []door{{"none", good, ""}, {"leaf", good, nginxNobody}, {"crl", good, "(12:CRL has expired)"}})
	})
}
