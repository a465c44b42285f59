package status

import (
	"time"

	"sigill/ca"
)

// Released is what OCSP says of a certificate that was released, for those who go
// through all of them.
type Released struct {
	Serial    ca.Serial
	Issuer    ca.IssuerID
	NotAfter  time.Time
	RevokedAt time.Time // zero: it is not revoked
	Reason    ca.Reason
}
