package lint

import (
	"encoding/asn1"

	"sigill/ca"
)

// Extensions (RFC 5280, 4.2, unless said).
var (
	oidSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidCRLPoints        = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidPolicies         = asn1.ObjectIdentifier{2, 5, 29, 32}
	oidAuthorityKeyID   = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidAuthorityInfo    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}
	oidNoCheck          = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5} // RFC 6960, 4.2.2.2.1
	oidSCTList          = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
	oidCardNumber       = asn1.ObjectIdentifier{1, 2, 752, 34, 2, 1}             // SS 61 43 31, 4.3
	oidSID              = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2}    // KB5014754
	oidSIDName          = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2, 1} // the otherName in it
	oidUPN              = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3} // userPrincipalName
	oidAIAOCSP          = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1}      // RFC 5280, 4.2.2.1
	oidAIACAIssuers     = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 2}      // RFC 5280, 4.2.2.1
)

// Extended key usages, dotted.
const (
	ekuServerAuth     = "1.3.6.1.5.5.7.3.1"
	ekuClientAuth     = "1.3.6.1.5.5.7.3.2"
	ekuOCSPSigning    = "1.3.6.1.5.5.7.3.9"
	ekuDocSigning     = "1.3.6.1.5.5.7.3.36" // RFC 9336
	ekuSmartcardLogon = "1.3.6.1.4.1.311.20.2.2"
)

// Key usage extensions as they must stand, whole: a DER BIT STRING without
// trailing zero bits. Comparing bytes leaves no room for an additional bit.
var (
	kuDigitalSignature  = []byte{0x03, 0x02, 0x07, 0x80}
	kuContentCommitment = []byte{0x03, 0x02, 0x06, 0x40}
	kuCertAndCRLSign    = []byte{0x03, 0x02, 0x01, 0x06}
)

// presence says whether something must, may or must not be there.
type presence int

const (
	forbidden presence = iota
	optional
	required
)

// expectation is what a certificate of one profile must look like.
type expectation struct {
	keyUsage []byte
	// extKeyUsage is exact, except that smartcardLogon joins it if and only if
	// the certificate has a UPN.
	extKeyUsage []string
	// person: the subject has surname and serialNumber, and may have a given
	// name.
	person presence
	// place: country and organisation.
	place      presence
	cardNumber presence
	upn        presence
	sid        presence
	email      presence
	host       presence // dNSName or iPAddress
	noCheck    presence
	loa        presence
	crl        presence // distribution point
	ocsp       presence // address in authority information access
	caIssuers  presence // address in authority information access
	isCA       bool
	pathLen    int // of a CA
}

// Profiles. The names are those of package ca.
const (
	authentication ca.ProfileName = "authentication"
	signing        ca.ProfileName = "signing"
	transport      ca.ProfileName = "transport"
	ocspSigner     ca.ProfileName = "ocsp"
	server         ca.ProfileName = "server"
	officer        ca.ProfileName = "officer"
	rootCA         ca.ProfileName = "root-ca"
	issuingCA      ca.ProfileName = "issuing-ca"
)

func expectations(transportEKU string) map[ca.ProfileName]*expectation {
	return map[ca.ProfileName]*expectation{
		authentication: {
			keyUsage: kuDigitalSignature, extKeyUsage: []string{ekuClientAuth},
			person: required, place: required, cardNumber: required, upn: optional, sid: optional, email: optional,
			loa: required, crl: required, ocsp: required, caIssuers: required,
		},
		// documentSigning, because verifiers take a missing extension for "every
		// purpose": nothing may log in with this one.
		signing: {
			keyUsage: kuContentCommitment, extKeyUsage: []string{ekuDocSigning},
			person: required, place: required, cardNumber: required, email: optional,
			loa: required, crl: required, ocsp: required, caIssuers: required,
		},
		// A transport certificate without clientAuth and level of assurance is
		// no log-in at any relying party.
		transport: {
			keyUsage: kuDigitalSignature, extKeyUsage: []string{transportEKU},
			place: optional, cardNumber: required,
			crl: required, ocsp: required, caIssuers: required,
		},
		// nocheck: asking for the status of who answers about status would not
		// end. Its life is short instead (RFC 6960, 4.2.2.2.1).
		ocspSigner: {
			keyUsage: kuDigitalSignature, extKeyUsage: []string{ekuOCSPSigning},
			place: optional, noCheck: required, crl: optional, caIssuers: optional,
		},
		server: {
			keyUsage: kuDigitalSignature, extKeyUsage: []string{ekuServerAuth},
			place: optional, host: required, crl: required, ocsp: required, caIssuers: required,
		},
		officer: {
			keyUsage: kuDigitalSignature, extKeyUsage: []string{ekuClientAuth},
			place: optional,
			crl:   required, ocsp: required, caIssuers: required,
		},
		rootCA:    {keyUsage: kuCertAndCRLSign, place: required, isCA: true, pathLen: 1},
		issuingCA: {keyUsage: kuCertAndCRLSign, place: required, isCA: true, crl: required, caIssuers: required},
	}
}
