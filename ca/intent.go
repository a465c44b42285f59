package ca

import "time"

// Content is what a certificate says of its holder. It is frozen in the order
// and stands byte for byte in the certificate (UTF-8).
type Content struct {
	Country      string `json:"country"`                // C, two letters
	Organisation string `json:"organisation"`           // O
	CommonName   string `json:"commonName"`             // CN
	Surname      string `json:"surname,omitempty"`      // SN
	GivenName    string `json:"givenName,omitempty"`    // GN
	SerialNumber string `json:"serialNumber,omitempty"` // HSA-id, or twelve digits
	CardNumber   string `json:"cardNumber,omitempty"`   // 1.2.752.34.2.1
	Email        string `json:"email,omitempty"`        // SAN rfc822Name
	UPN          string `json:"upn,omitempty"`          // SAN otherName, and smartcardLogon
	SID          string `json:"sid,omitempty"`          // 1.3.6.1.4.1.311.25.2
	// PolicyOIDs are the certificate policies, dotted; the level of assurance
	// is told by exactly one of them.
	PolicyOIDs []string `json:"policyOids,omitempty"`
	// DNSNames are for server certificates of the Function CA only.
	DNSNames []string `json:"dnsNames,omitempty"`
}

// Intent is what is committed before the key is touched: from its commit on the
// serial is known, and Sign signs exactly TBS.
type Intent struct {
	Serial    Serial
	Issuer    IssuerID
	Partition int // of the issuer's CRL, named in the certificate's CDP
	Profile   ProfileName
	NotBefore time.Time
	NotAfter  time.Time
	Key       KeyFingerprint
	TBS       []byte
	// Leaf is the place that the log has promised; zero if there is no log. It MUST be
	// recorded with the intent: the log takes it from there.
	Leaf LogLeaf
}

// Issued is a signed certificate.
type Issued struct {
	Fingerprint Fingerprint
	Serial      Serial
	Issuer      IssuerID
	Partition   int
	Profile     ProfileName
	NotBefore   time.Time
	NotAfter    time.Time
	Key         KeyFingerprint
	DER         []byte
}

// KeyFingerprint names a public key whatever its encoding: the SHA-256 of an
// RSA modulus, or of curve name and x-coordinate.
type KeyFingerprint [32]byte
