package revocation_test

const (
	byteEqual   = "names are compared byte by byte, as crypto/x509 does: two writings of one name are two names; who issues writes it one way"
	ownKeyOnly  = "a list is believed under the very key that signed the certificate, not under another of the same name: a CA below the same anchor must not get to answer for a namesake"
	pathCount   = "crypto/x509 counts self-issued CAs too"
	anyInLeaf   = "a demanded policy must be named by the certificate itself: a level of assurance is not proved by 'any'"
	noMappings  = "policies are not translated: an OID means what the anchor's table says, or nothing"
	notAddress  = "only addresses are followed and compared: names in directories lead nowhere over http"
	someReasons = "lists of some reasons are not put together: half a list never shows that a certificate is good"
	indirectCRL = "lists with entries of other issuers are not read"
)

// verifierDeviates are the cases that the Verifier judges otherwise than RFC
// 5280, and why. In all of them but the last two it refuses what might be accepted.
var verifierDeviates = map[string]string{
	"4.3.3 the issuer's name with more space inside":                  byteEqual,
	"4.3.4 the issuer's name with space around":                       byteEqual,
	"4.3.5 the issuer's name in other case":                           byteEqual,
	"4.3.10 the issuer's name as another string type":                 byteEqual,
	"4.4.14 a negative serial":                                        "crypto/x509 refuses negative serials, which RFC 5280, 4.1.2.2, forbids",
	"4.4.19 lists by a key of their own":                              ownKeyOnly,
	"4.5.1 old key certified by the new one, which signs the lists":   ownKeyOnly,
	"4.5.3 new key certified by the old one, which signs the lists":   ownKeyOnly,
	"4.6.15 a self-issued CA below pathLen 0":                         pathCount,
	"4.6.17 a self-issued CA and one more below pathLen 1":            pathCount,
	"4.8.13 anyPolicy throughout":                                     anyInLeaf,
	"4.8.14 a certificate with anyPolicy":                             anyInLeaf,
	"4.10.1 a policy mapped to another":                               noMappings,
	"4.13.1 a subject in the permitted directory":                     "crypto/x509 does not know constraints on directory names, and refuses what is critical and not known",
	"4.14.4 one directory name in certificate and list":               notAddress,
	"4.14.5 one relative name in certificate and list":                notAddress,
	"4.14.18 two lists with all reasons between them":                 someReasons,
	"4.14.19 two addresses with all reasons between them":             someReasons,
	"4.14.22 a list of the CA's that may have other issuers' entries": indirectCRL,
	"4.14.28 a list of another issuer, which the certificate names":   indirectCRL,
	"4.8.5 a CA without policies":                                     "a CA that names no policies confines nobody: the anchor's table is what gives an OID its meaning, and many CAs name none",
	"4.15.3 a base and a delta list, which names the certificate":     "delta lists are not read, which RFC 5280, 6.3, leaves to who validates: until the next base list the revocation is not seen there; OCSP, asked first, shows it",
}

// opensslDeviates are the cases that OpenSSL judges otherwise, and why.
var opensslDeviates = map[string]string{
	"4.4.7 two lists, one of them with a bad signature": "it takes one list of a scope and does not try the other",
}
