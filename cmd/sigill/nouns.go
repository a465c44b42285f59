package main

// nouns are what administrators do through the API with their own cards, and what
// relying parties do with files and addresses. None of them opens an
// installation's database.
type nouns struct {
	WhoAmI       whoamiCmd       `cmd:"" name:"whoami" group:"nouns" help:"As whom the server knows your card, and what you may do."`
	Ceremony     ceremonyCmd     `cmd:"" group:"nouns" help:"Found the first organisation (the two officers, once)."`
	Organisation organisationCmd `cmd:"" group:"nouns" help:"Organisations: found a branch, show, switch signing certificates on and off."`
	Role         roleCmd         `cmd:"" group:"nouns" help:"Roles: give, end, list."`
	Person       personCmd       `cmd:"" group:"nouns" help:"Persons and their assignments."`
	Card         cardCmd         `cmd:"" group:"nouns" help:"Cards: take in, hand out, arm, block."`
	Bureau       bureauCmd       `cmd:"" group:"nouns" help:"A bureau for TEST installations: cards of software and their delivery."`
	Order        orderCmd        `cmd:"" group:"nouns" help:"Orders of eIDs: place, approve, withdraw."`
	Cert         certCmd         `cmd:"" group:"nouns" help:"Certificates: show, revoke."`
	Key          keyCmd          `cmd:"" group:"nouns" help:"Compromised keys: show, prove, block."`
	Incident     incidentCmd     `cmd:"" group:"nouns" help:"Keys that were found in two places."`
	Revocation   revocationCmd   `cmd:"" group:"nouns" help:"Many certificates at once: order, approve, look how far it is."`
	EID          eidCmd          `cmd:"" name:"eid" group:"nouns" help:"The eIDs on your own card."`
	CRL          crlCmd          `cmd:"" name:"crl" group:"nouns" help:"Revocation lists, as relying parties see them."`
	Receipt      receiptCmd      `cmd:"" group:"nouns" help:"Fetch the receipt of an act."`
	Verify       verifyCmd       `cmd:"" group:"nouns" help:"Judge a certificate as a relying party: chain, time, OCSP, CRL."`
}
