// Package ca owns what a certificate is and the only way to one: profiles say
// what may be certified, and an issuer turns a request into a signature in steps
// that the types keep in order:
//
//	Prepare → Draft → Seal → Sealed → Record → Recorded → Await → Logged → Sign → Issued
//
// A signature can't be taken back. So the to-be-signed bytes are made once,
// under a throw-away key, linted, and written down by the caller (Record) before
// the issuing key is touched, and the log has them (Await); Sign signs exactly
// the recorded bytes, once. What was recorded and not seen to be signed is presumed
// to have been signed.
//
// The package knows no order, card or person beyond the names in a certificate.
// It does no I/O but through the crypto.Signer, Linter, Log and save function
// that it is given, and reads no clock: times are arguments.
package ca
