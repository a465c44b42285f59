// Package interop holds the tests that have other people's programs judge what an
// installation serves: OpenSSL, GnuTLS, NSS, Java, nginx and Go's own libraries
// ask the real `sigill serve` about eIDs that were really ordered, fetched,
// replaced and lost.
//
// It has no code of its own, and knows the service from outside: the addresses
// that stand in certificates, and what relying parties' programs say. Whether the
// service is there for them is decided by a gate in front of it, at the very
// address in the certificates, which also sees how it was asked.
package interop
