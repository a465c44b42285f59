//go:build unix

package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sigill/internal/stage"
)

// judged is a run of somebody's program.
type judged struct {
	name string
	args string
	code int
	says []string // on either output
}

// judge runs each case, with program and arguments separated by spaces.
func (in *installation) judge(t *testing.T, cases []judged) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			args := strings.Fields(c.args)
			o := in.run(t, args[0], args[1:]...).Want(t, c.code, c.args)
			stage.Says(t, c.args, o.Out+o.Err, c.says...)
		})
	}
}

// OpenSSL asks OCSP about one certificate, with each hash of the CertID, with
// and without a nonce, and must believe the answer's signer by the root alone.
func TestOpenSSLAsksOCSP(t *testing.T) {
	stage.Need(t, "openssl", "openssl")
	in := served(t)
	ask := "openssl ocsp -CAfile root.pem -issuer issuer.pem -url " + in.leaves[good].OCSPServer[0]
	for _, hash := range []string{"-sha1", "-sha256"} {
		for _, nonce := range []string{"", "-no_nonce"} {
			for name, says := range map[string][]string{
				good: {": good"}, superseded: {": revoked", "Reason: superseded", "Revocation Time: "},
				stolen: {": revoked", "Reason: keyCompromise", "Revocation Time: "}, forged: {": unknown"},
			} {
				t.Run(strings.TrimSpace(name+" "+hash+" "+nonce), func(t *testing.T) {
					args := fmt.Sprintf("%s %s %s -cert %s.pem", ask, hash, nonce, name)
					o := in.run(t, "openssl", strings.Fields(args)[1:]...).Want(t, 0, args)
					stage.Says(t, args, o.Out+o.Err, append(says, "Response verify OK")...)
					if strings.Contains(strings.ToLower(o.Err), "nonce") {
						t.Errorf("openssl is not content with the nonce: %v", o)
					}
				})
			}
		}
	}
}

// One request may ask of several certificates, each by another hash.
func TestOpenSSLAsksOfSeveral(t *testing.T) {
	stage.Need(t, "openssl", "openssl")
	in := served(t)
	args := "ocsp -CAfile root.pem -issuer issuer.pem -url " + in.leaves[good].OCSPServer[0] +
		" -sha1 -cert good.pem -sha256 -cert superseded.pem -sha1 -cert stolen.pem -sha256 -serial 0x1234567890abcdef1234567890abcdef"
	asked := in.since()
	o := in.run(t, "openssl", strings.Fields(args)...).Want(t, 0, args)
	stage.Says(t, args, o.Out+o.Err, "Response verify OK", "good.pem: good", "superseded.pem: revoked", "stolen.pem: revoked",
		"0x1234567890abcdef1234567890abcdef: unknown")
	if got := asked(); len(got) != 1 {
		t.Errorf("openssl asked %d times: %v", len(got), got)
	}
}

// What OpenSSL must not believe, or cannot get, it tells so.
func TestOpenSSLDoubtsOCSP(t *testing.T) {
	stage.Need(t, "openssl", "openssl")
	in := served(t)
	ask := "openssl ocsp -no_nonce -issuer issuer.pem -cert good.pem -url " + in.leaves[good].OCSPServer[0]
	in.judge(t, []judged{
		{"a chain to nobody trusted", ask + " -CAfile good.pem", 1, []string{"Response Verify Failure"}},
		{"kept for later", ask + " -CAfile root.pem -respout answer.der", 0, []string{"Response verify OK", "good.pem: good"}},
		{"replayed for another certificate", "openssl ocsp -no_nonce -issuer issuer.pem -cert stolen.pem -CAfile root.pem -respin answer.der", 1,
			[]string{"ERROR: No Status found."}},
	})
	t.Run("responder down", func(t *testing.T) {
		in.down(t)
		in.judge(t, []judged{{"asked", ask + " -CAfile root.pem", 1, []string{"Error querying OCSP responder"}}})
	})
}

// OpenSSL judges the whole chain by CRLs: the root's list for the issuing CA, a
// partition's for the holder's certificate.
func TestOpenSSLJudgesByCRL(t *testing.T) {
	stage.Need(t, "openssl", "openssl")
	in := served(t)
	verify := "openssl verify -x509_strict -crl_check_all -extended_crl -CAfile root.pem -untrusted issuer.pem -CRLfile crl-root.pem"
	another := "crl-0.pem"
	if in.crlOf(good) == another {
		another = "crl-1.pem"
	}
	in.judge(t, []judged{
		{"good", verify + " -CRLfile " + in.crlOf(good) + " good.pem", 0, []string{"good.pem: OK"}},
		{"superseded", verify + " -CRLfile " + in.crlOf(superseded) + " superseded.pem", 2, []string{"certificate revoked", "error 23"}},
		{"stolen", verify + " -CRLfile " + in.crlOf(stolen) + " stolen.pem", 2, []string{"certificate revoked", "error 23"}},
		{"good, all lists in one file", verify + " -CRLfile crls.pem good.pem", 0, []string{"good.pem: OK"}},
		{"superseded, all lists in one file", verify + " -CRLfile crls.pem superseded.pem", 2, []string{"certificate revoked", "error 23"}},
		{"good, the full list", verify + " -CRLfile crl-full.pem good.pem", 0, []string{"good.pem: OK"}},
		{"stolen, the full list", verify + " -CRLfile crl-full.pem stolen.pem", 2, []string{"certificate revoked", "error 23 at 0 depth"}},
		{"issuing CA revoked", strings.Replace(verify, "crl-root.pem", "crl-dead.pem", 1) + " -CRLfile crls.pem good.pem", 2,
			[]string{"certificate revoked", "error 23 at 1 depth"}},
		{"without -extended_crl", strings.Replace(verify, "-extended_crl ", "", 1) + " -CRLfile crls.pem good.pem", 0, []string{"good.pem: OK"}},
		{"another partition's list", verify + " -CRLfile " + another + " good.pem", 2, []string{"different CRL scope", "error 44"}},
		{"no list for the holder's", verify + " good.pem", 2, []string{"unable to get certificate CRL", "error 3 at 0 depth"}},
		{"no list of the root", "openssl verify -crl_check_all -CAfile root.pem -untrusted issuer.pem -CRLfile " + in.crlOf(good) + " good.pem", 2,
			[]string{"unable to get certificate CRL", "error 3 at 1 depth"}},
		{"lists run out", fmt.Sprintf("%s -CRLfile crls.pem -attime %d good.pem", verify, time.Now().Add(40*24*time.Hour).Unix()), 2,
			[]string{"CRL has expired", "error 12"}},
		{"a forged one is in no list", verify + " -CRLfile crls.pem forged.pem", 0, []string{"forged.pem: OK"}},
	})
	for i := range partitions {
		in.judge(t, []judged{
			{fmt.Sprintf("signature of partition %d", i), fmt.Sprintf("openssl crl -noout -CAfile chain.pem -in crl-%d.pem", i), 0, []string{"verify OK"}},
			{fmt.Sprintf("signature of partition %d under the root", i), fmt.Sprintf("openssl crl -noout -CAfile root.pem -in crl-%d.pem", i), 1,
				[]string{"Error getting CRL issuer certificate"}},
		})
	}
	in.judge(t, []judged{{"signature of the root's", "openssl crl -noout -CAfile root.pem -in crl-root.pem", 0, []string{"verify OK"}}})
}
