package policy

// Rule is the name of a clause in docs/POLICY.md. A refusal names the rule that
// refused; it is logged, counted, stored and may be shown.
type Rule string

// Logging in with a card.
const (
	// LoginUnknown: the certificate is not in our own store. Its signature is
	// not looked at: a certificate made with a stolen issuing key is refused.
	LoginUnknown Rule = "login.unknown"
	// LoginProfile: certificates of this profile never log in.
	LoginProfile Rule = "login.profile"
	// LoginRevoked: the certificate was replaced or revoked.
	LoginRevoked Rule = "login.revoked"
	// LoginExpired: the certificate is not valid now.
	LoginExpired Rule = "login.expired"
	// LoginPending: a certificate that is not yet confirmed may confirm, and
	// nothing else.
	LoginPending Rule = "login.pending"
	// LoginCard: the card is not active, or not this certificate's.
	LoginCard Rule = "login.card"
	// LoginUnarmed: the transport certificate is not armed now.
	LoginUnarmed Rule = "login.unarmed"
	// LoginLoA: what is issued has a higher level of assurance than the
	// log-in, and no identity check for this card is recorded.
	LoginLoA Rule = "loa.login"
)

// Rights of administrators and officers.
const (
	// RoleMissing: the caller has no role for the organisation. People are
	// told "not found", so that rights can't be probed.
	RoleMissing Rule = "role.missing"
	// RoleLoA: administration needs a current eID at LoA3.
	RoleLoA Rule = "role.loa"
	// RoleSelf: nobody gives a role to himself.
	RoleSelf Rule = "role.self"
	// RoleLast: a role that is ended leaves an administrator who can act.
	RoleLast Rule = "role.last"
	// RoleRoot: the role is one for a whole customer, and is given only at an
	// organisation without parent.
	RoleRoot Rule = "role.root"
	// PersonActive: who has an eID, an active card, an open order or a role is not
	// erased.
	PersonActive Rule = "person.active"
	// OrganisationKnown: the organisation number is registered already.
	OrganisationKnown Rule = "organisation.known"
	// OrganisationDepth: a branch stands too far below its customer.
	OrganisationDepth Rule = "organisation.depth"
	// CeremonyClosed: the bootstrap is over, for ever.
	CeremonyClosed Rule = "ceremony.closed"
	// CeremonyScope: officers may found one organisation and order for its two
	// first administrators, and nothing else.
	CeremonyScope Rule = "ceremony.scope"
)

// Statements and orders.
const (
	// StatementForm: what was signed is not the statement of this act.
	StatementForm Rule = "statement.form"
	// StatementSignature: the signature is not one of the caller's current
	// authentication certificate.
	StatementSignature Rule = "statement.signature"
	// StatementTime: the statement is older than five minutes, or ahead.
	StatementTime Rule = "statement.time"
	// OrderSelf: nobody orders or approves for himself.
	OrderSelf Rule = "order.self"
	// OrderApprover: who placed an order does not approve it, and nobody
	// approves twice.
	OrderApprover Rule = "order.approver"
	// OrderApprovals: fewer valid signatures than policy demands.
	OrderApprovals Rule = "order.approvals"
	// OrderTypeRule: type, card kind, level of assurance and identifier kind do
	// not go together.
	OrderTypeRule Rule = "order.type"
	// OrderUpdateNothing: an update or renewal needs a current eID to replace.
	OrderUpdateNothing Rule = "order.nothing-to-replace"
	// OrderIdentity: this kind of identity or age does not reach this level.
	OrderIdentity Rule = "order.identity"
	// OrderAssignment: the person has no assignment in the organisation now.
	OrderAssignment Rule = "order.assignment"
	// OrderHolder: the card belongs to somebody else. One answer for a wrong
	// card number and a wrong person.
	OrderHolder Rule = "order.holder"
	// OrderDuplicate: such an order is open for this card already.
	OrderDuplicate Rule = "order.duplicate"
	// OrderContent: what was ordered is not what the directory says.
	OrderContent Rule = "order.content"
	// OrderStateRule: the order is not in a state for this.
	OrderStateRule Rule = "order.state"
	// OrderExpiredRule: the order was not fetched in time.
	OrderExpiredRule Rule = "order.expired"
	// OrderValidity: the certificate would outlive card, assignment or issuer,
	// or be dead at once.
	OrderValidity Rule = "order.validity"
)

// Cards.
const (
	// CardStateRule: the card's state does not allow this; only active cards
	// receive eIDs.
	CardStateRule Rule = "card.state"
	// CardIdentity: a hand-out needs the kind of identity document seen.
	CardIdentity Rule = "card.identity"
	// CardSelf: nobody hands out, arms or unlocks his own card.
	CardSelf Rule = "card.self"
	// CardDelivery: the delivery file is not signed by a registered bureau, or
	// a row is wrong.
	CardDelivery Rule = "card.delivery"
	// CardKnown: the card number is registered already.
	CardKnown Rule = "card.known"
)

// Downloads.
const (
	// DownloadCard: log in with the very card that receives the eID.
	DownloadCard Rule = "download.card"
	// DownloadOpen: another download of this card is open.
	DownloadOpen Rule = "download.open"
	// DownloadStateRule: the download is not in a state for this.
	DownloadStateRule Rule = "download.state"
	// DownloadPlan: what was approved is not this plan.
	DownloadPlan Rule = "download.plan"
	// DownloadChanged: what the plan was made from has changed since.
	DownloadChanged Rule = "download.changed"
	// DownloadBinding: the request is bound to another download, item, card,
	// log-in, plan or challenge.
	DownloadBinding Rule = "download.binding"
	// DownloadChallenge: the challenge is older than ten minutes.
	DownloadChallenge Rule = "download.challenge"
	// DownloadEvidence: what was read back from the card is not what was
	// issued, or the log-in was not made with the new certificate.
	DownloadEvidence Rule = "download.evidence"
	// IntentLimit: too many certificates were begun for this card; each one
	// is an entry in a revocation list for years.
	IntentLimit Rule = "intent.limit"
	// KeyProof: the request does not prove possession of its key.
	KeyProof Rule = "key.proof"
	// KeyProvenance: policy needs better evidence that the key is in a card.
	KeyProvenance Rule = "key.provenance"
	// ProfileLint: the certificate would break its profile.
	ProfileLint Rule = "profile.lint"
	// ClientVersion: the card client is too old.
	ClientVersion Rule = "client.version"
)

// Requests.
const (
	// RequestForm: the request is not understood.
	RequestForm Rule = "request.form"
	// RequestRepeated: the idempotency key was used for another request.
	RequestRepeated Rule = "request.repeated"
	// RevokeScope: the certificate is not one that the caller may revoke.
	RevokeScope Rule = "revoke.scope"
	// RevokeList: a list of what to revoke has something in it that is not the
	// organisation's, or is too long.
	RevokeList Rule = "revoke.list"
	// RevokeApprover: who ordered that many are revoked does not approve it, and
	// nobody does once the order is not in force any more.
	RevokeApprover Rule = "revoke.approver"
	// RevokeState: the mass revocation is not in a state for this.
	RevokeState Rule = "revoke.state"
)

// The service as a whole.
const (
	// ServiceOutage: issuing is stopped for planned work that was announced.
	ServiceOutage Rule = "service.outage"
	// ServiceRevokeOnly: the signer is down, or there is hardly room to write:
	// what is there can be taken back, and nothing new is made.
	ServiceRevokeOnly Rule = "service.revoke-only"
	// ServiceRestored: the database is older than what was told outside of it, or
	// nobody can be asked whether it is.
	ServiceRestored Rule = "service.restored"
	// ClockOffset: the clock is off by more than a minute.
	ClockOffset Rule = "clock.offset"
	// ClockBackwards: the clock was set back while the service ran.
	ClockBackwards Rule = "clock.backwards"
	// IssuerEnded: the issuing CA is revoked or closed and issues nothing any more;
	// what it has issued is served and taken back as ever.
	IssuerEnded Rule = "issuer.ended"
	// ServiceBusy: more was asked for at once than can be issued in time.
	ServiceBusy Rule = "service.busy"
)
