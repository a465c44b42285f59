package wire

import "time"

// Key is a public key and what carries it. Certificates are those that the caller
// may see, Count is how many there are.
type Key struct {
	Fingerprint  string        `json:"fingerprint"` // 64 hexadecimal digits
	Blocked      *Blocked      `json:"blocked,omitempty"`
	Count        int           `json:"count"`
	Certificates []Certificate `json:"certificates"`
}

// Blocked says since when a key is refused everywhere, and why.
type Blocked struct {
	Cause string    `json:"cause"` // proof, administrators, incident
	At    time.Time `json:"at"`
}

// Compromise is the body of POST /api/v1/keys/compromised: the proof that somebody
// has a key. The signature is over the bytes "sigill-key-compromise-v1\nkey: …\n",
// with the fingerprint of the key in lower-case hexadecimal, by the key itself with
// SHA-256 (ECDSA in ASN.1; RSA with PSS).
type Compromise struct {
	PublicKey []byte `json:"publicKey"` // SubjectPublicKeyInfo, DER
	Signature []byte `json:"signature"`
	// DryRun: only say how many certificates would be revoked.
	DryRun bool `json:"dryRun,omitempty"`
}

// Incident is a key that was found in two places. Of a side that is not the
// caller's to see, only the number of certificates is told.
type Incident struct {
	ID           string                `json:"id"`
	Kind         string                `json:"kind"` // key-copied
	Key          string                `json:"key"`
	At           time.Time             `json:"at"`
	Card         string                `json:"card,omitempty"`     // has the certificates that carry the key
	ProvedOn     string                `json:"provedOn,omitempty"` // proved that it has the key too
	State        string                `json:"state"`              // open, contained
	Certificates []IncidentCertificate `json:"certificates"`
	Others       int                   `json:"others"`
}

// IncidentCertificate is a certificate in an incident.
type IncidentCertificate struct {
	Role string `json:"role"` // carries, login
	Certificate
}

// Incidents answers GET /api/v1/organisations/{org}/incidents?after=&limit=.
type Incidents struct {
	Incidents []Incident `json:"incidents"`
}
