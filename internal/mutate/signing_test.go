package mutate

// ofSigning: certificates for signatures that bind.
func ofSigning() []mutation {
	return []mutation{
		{name: "switch for signing not asked",
			why: "people sign in the name of an organisation that wants no such signatures",
			in:  policies, old: `case !f.SigningAllowed:`, new: `case f.Card == "":`,
			pkg: downloads, test: "TestSigningIsTheOrganisationsDecision"},
		{name: "switch for signing not asked again",
			why: "a signing certificate comes after the organisation has turned the switch off",
			in:  policies, old: `case f.AddsSigning && !f.SigningAllowed:`, new: `case f.AddsSigning && f.Now.IsZero():`,
			pkg: downloads, test: "TestSigningIsTheOrganisationsDecision"},
		{name: "signing certificate logs in",
			why: "a server makes the key for binding signatures sign whatever a handshake holds",
			in:  policies, old: `if f.Profile != ProfileAuthentication && f.Profile != ProfileTransport {`, new: `if f.Profile == "" {`,
			pkg: listener, test: "TestHostileSigning"},
		{name: "signing certificate survives its eID",
			why: "who lost the eID, or left the organisation, still signs in its name",
			in:  downloads, old: `if err := s.revokeSigning(tx, cert, reason, rule, by); err != nil {`, new: `if tx == nil {`,
			pkg: downloads, test: "TestRevokingOneOfTwo"},
		{name: "signing certificate outlives its eID",
			why: "a signature is good on a day on which nobody vouches for the signer any more",
			in:  downloads, old: `e.addition.NotAfter = e.certificate.NotAfter`, new: `e.addition.NotAfter = e.certificate.NotAfter.AddDate(0, 0, 1)`,
			pkg: downloads, test: "TestSigningCertificateBelongsToItsEID"},
		{name: "second signing certificate beside the first",
			why: "of two signing certificates of one eID nobody knows which one is on the card",
			in:  policies, old: `if st.Slot == Signing && st.at(f.Addition) {`, new: `if st.Slot == "" {`,
			pkg: downloads, test: "TestSecondSigningCertificateReplacesTheFirst"},
		{name: "signing certificate of another eID's log-in",
			why: "who knows the PIN of one eID gets a signing certificate in another's name",
			in:  downloads, old: `e.certificate.Fingerprint.String() != plan.EID || e.order.ID != plan.Order`, new: `e.order == nil`,
			pkg: downloads, test: "TestSigningPlanOfAnotherEID"},
	}
}

// ofKeys: keys that must not be certified, or no longer.
func ofKeys() []mutation {
	return []mutation{
		{name: "copied key is no incident",
			why: "the same key is on two cards, one of them not its holder's, and both stay good",
			in:  downloads, old: `return issue.Copied(tx.issue(), j.key, j.caller.Card, j.caller.Certificate, j.id, j.caller.Name(), j.s.now())`, new: `return nil, nil`,
			pkg: downloads, test: "TestCopiedKeyIsAnIncidentForBoth"},
		{name: "incident not acted on at once",
			why: "a copied key's certificates stay good until a background job comes by",
			in:  downloads, old: "if found != nil {\n\t\tj.s.RevokeQueued(ctx)", new: "if found != nil && ctx == nil {\n\t\tj.s.RevokeQueued(ctx)",
			pkg: downloads, test: "TestCopiedKeyIsAnIncidentForBoth"},
		{name: "blocked key logs in",
			why: "whoever has a copied key is its holder until the revocation is through",
			in:  register, old: `return c, issue.Blocked(&tx.Tx, cert.Key)`, new: `return c, nil`,
			pkg: downloads, test: "TestBlockedKeyWaitsForItsRevocation"},
		{name: "blocked key released",
			why: "a certificate for a key that was shown to be copied while it was being signed",
			in:  issue, old: `if err := Blocked(tx, in.Key); err != nil {`, new: `if err := error(nil); err != nil {`,
			pkg: downloads, test: "TestCopiedKeyWhileItIsBeingCertified"},
	}
}
