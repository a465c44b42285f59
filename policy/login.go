package policy

import (
	"time"

	"sigill/ca"
)

// Profiles that policy speaks of.
const (
	ProfileAuthentication ca.ProfileName = "authentication"
	ProfileSigning        ca.ProfileName = "signing"
	ProfileTransport      ca.ProfileName = "transport"
	ProfileOCSP           ca.ProfileName = "ocsp"
	ProfileServer         ca.ProfileName = "server"
	ProfileOfficer        ca.ProfileName = "officer"
)

// LoginFacts is what is known of a certificate that a TLS client has proved
// possession of, read in one transaction.
type LoginFacts struct {
	Now       time.Time
	Known     bool // it is in our store, found by the SHA-256 of its DER
	Profile   ca.ProfileName
	NotBefore time.Time
	NotAfter  time.Time
	Revoked   bool
	Current   bool // it stands as current
	Pending   bool // it stands as pending

	CardState   CardState
	CardExpires time.Time
	HolderAgree bool // the card's holder is the certificate's person
	ArmedUntil  time.Time

	// Confirming: the request confirms a download.
	Confirming bool
}

// Login decides whether a card logs in. It never looks at the level of
// assurance: what that suffices for is decided where it is used.
func Login(f LoginFacts) Decision {
	if !f.Known {
		return Refuse(LoginUnknown, "certificate is not in the store")
	}
	if f.Profile != ProfileAuthentication && f.Profile != ProfileTransport {
		return Refuse(LoginProfile, "profile %s", f.Profile)
	}
	if f.Revoked || (!f.Current && !f.Pending) {
		return Refuse(LoginRevoked, "certificate was replaced or revoked")
	}
	if f.Now.Before(f.NotBefore) || f.Now.After(f.NotAfter) {
		return Refuse(LoginExpired, "certificate is not valid now")
	}
	if f.CardState != CardActive || !f.Now.Before(f.CardExpires) {
		return Refuse(LoginCard, "card is %s", f.CardState)
	}
	if f.Profile == ProfileTransport {
		if !f.Now.Before(f.ArmedUntil) {
			return Refuse(LoginUnarmed, "transport certificate is not armed")
		}
		return Allowed
	}
	if !f.HolderAgree {
		return Refuse(LoginCard, "card belongs to somebody else")
	}
	if f.Pending && !f.Confirming {
		return Refuse(LoginPending, "certificate is not confirmed")
	}
	return Allowed
}
