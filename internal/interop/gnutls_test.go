//go:build unix

package interop

import (
	"testing"

	"sigill/internal/stage"
)

// GnuTLS, which shares no code with OpenSSL or Go, asks OCSP.
func TestGnuTLSAsksOCSP(t *testing.T) {
	stage.Need(t, "ocsptool", "gnutls-bin")
	in := served(t)
	const verified = "Verifying OCSP Response: Success"
	ask := "ocsptool --ask=" + in.leaves[good].OCSPServer[0] + " --load-issuer issuer.pem --load-cert "
	in.judge(t, []judged{
		{"good", ask + "good.pem", 0, []string{"Certificate Status: good", verified}},
		{"good with a nonce", ask + "good.pem --nonce", 0, []string{"Certificate Status: good", verified}},
		{"superseded", ask + "superseded.pem", 0, []string{"Certificate Status: revoked", "Revocation time: ", verified}},
		{"stolen", ask + "stolen.pem --nonce", 0, []string{"Certificate Status: revoked", "Revocation time: ", verified}},
		{"forged", ask + "forged.pem", 0, []string{"Certificate Status: unknown", verified}},
		{"the chain in one file", "ocsptool --ask=" + in.leaves[good].OCSPServer[0] + " --load-chain good-chain.pem", 0, []string{"Certificate Status: good", verified}},
		{"answers of another", ask + "good.pem --load-trust good.pem", 1, []string{"Signer cert is not trusted"}},
	})
	t.Run("responder down", func(t *testing.T) {
		in.down(t)
		in.judge(t, []judged{{"asked", ask + "good.pem", 1, []string{"Connecting to OCSP server"}}})
	})
}

// GnuTLS judges the chain by CRLs: the root's and that of the certificate's own
// partition. It keeps one list of an issuer and reads no scope in it, so the list
// must be the one that the certificate names, or the full one.
func TestGnuTLSJudgesByCRL(t *testing.T) {
	stage.Need(t, "certtool", "gnutls-bin")
	in := served(t)
	const verify = "certtool --verify --load-ca-certificate root.pem --load-crl "
	by := func(name string) string {
		lists := name + "-lists.pem"
		in.join(t, lists, "crl-root.pem", in.crlOf(name))
		return verify + lists + " --infile " + name + "-chain.pem"
	}
	in.judge(t, []judged{
		{"good", by(good), 0, []string{"] of: CN=TEST Sigill Root CA v1", "] of: CN=TEST Sigill Person HSA-id 3 CA v1",
			"Chain verification output: Verified"}},
		{"superseded", by(superseded), 1, []string{"Chain verification output: Not verified", "The certificate chain is revoked"}},
		{"stolen", by(stolen), 1, []string{"Chain verification output: Not verified", "The certificate chain is revoked"}},
		{"good, the full list", verify + "full.pem --infile good-chain.pem", 0, []string{"] of: CN=TEST Sigill Person HSA-id 3 CA v1", "Chain verification output: Verified"}},
		{"superseded, the full list", verify + "full.pem --infile superseded-chain.pem", 1, []string{"The certificate chain is revoked"}},
		{"stolen, the full list", verify + "full.pem --infile stolen-chain.pem", 1, []string{"The certificate chain is revoked"}},
		{"issuing CA revoked", verify + "dead.pem --infile good-chain.pem", 1, []string{"The certificate chain is revoked"}},
		{"signature of a partition", "certtool --verify-crl --load-ca-certificate issuer.pem --infile " + in.crlOf(superseded), 0, []string{"Verified"}},
		{"signature of a partition under the root", "certtool --verify-crl --load-ca-certificate root.pem --infile " + in.crlOf(superseded), 1, []string{"Not verified"}},
		{"signature of the root's", "certtool --verify-crl --load-ca-certificate root.pem --infile crl-root.pem", 0, []string{"Verified"}},
		{"a partition told", "certtool --crl-info --infile " + in.crlOf(superseded), 0,
			[]string{"Version: 2", "CRL Number", "Authority Key Identifier", serialOf(in.leaves[superseded])}},
	})
}
