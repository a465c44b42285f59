package audit

// The acts that events tell. The list is closed, so that a reader of the chain
// years later knows every word in it; a new act is added here and in docs.
const (
	// Founding.
	Initialised     = "init"
	CeremonyFounded = "ceremony.founded"
	CeremonyClosed  = "ceremony.closed"

	// The register.
	OrganisationCreated = "organisation.created"
	OrganisationSigning = "organisation.signing" // may holders fetch signing certificates
	PersonImported      = "person.imported"
	AssignmentChanged   = "assignment.changed"
	RoleGranted         = "role.granted"
	RoleEnded           = "role.ended"

	// Cards.
	DeliveryImported = "delivery.imported"
	CardSent         = "card.sent"
	CardHandedOut    = "card.handedout"
	CardArmed        = "card.armed"
	CardBlocked      = "card.blocked"

	// Orders.
	OrderPlaced    = "order.placed"
	OrderApproved  = "order.approved"
	OrderWithdrawn = "order.withdrawn"
	OrderExpired   = "order.expired"

	// Downloads. What confirms one installs its order.
	DownloadBegun     = "download.begun"
	DownloadConfirmed = "download.confirmed"
	DownloadAbandoned = "download.abandoned"
	DownloadLapsed    = "download.lapsed"
	DownloadCleaned   = "download.cleaned"

	// Keys, intents and certificates.
	KeyRefused            = "key.refused"
	KeyBlocked            = "key.blocked"
	KeyIncident           = "key.incident"
	IntentRecorded        = "intent.recorded"
	IntentAbandoned       = "intent.abandoned"
	CertificateIssued     = "certificate.issued"
	CertificateSuperseded = "certificate.superseded"
	CertificateRevoked    = "certificate.revoked"

	// Many certificates at once.
	RevocationOrdered  = "revocation.ordered"
	RevocationApproved = "revocation.approved"
	RevocationFinished = "revocation.finished"

	// What ends when its time has come, what is told to and taken from people.
	RetentionErased = "retention.erased"
	PersonExported  = "person.exported"
	PersonErased    = "person.erased"

	// The logs, after the database was restored from something old.
	LogRestored   = "log.restored"   // it was noticed
	LogReconciled = "log.reconciled" // what was lost was taken over
	LogAccepted   = "log.accepted"   // a place for heads that has nothing, or less than it had, is believed

	// The service.
	ClockChecked = "clock.checked"
	OutageBegun  = "outage.begun"
	OutageEnded  = "outage.ended"
	// A profile or the configuration is another than the one recorded last.
	ConfigurationLoaded = "configuration.loaded"

	// Issuing CAs.
	CARevoked = "ca.revoked" // the root's CRL says so
	CAClosed  = "ca.closed"
	CALast    = "ca.last" // its last CRLs may be made

	// Who was let in, and refusals that belong to no other act.
	LoginAccepted  = "login.accepted"
	LoginRefused   = "login.refused"
	RequestRefused = "request.refused"
)

// Acts returns the closed list, in the order in which it is documented.
func Acts() []string {
	return []string{
		Initialised, CeremonyFounded, CeremonyClosed,
		OrganisationCreated, OrganisationSigning, PersonImported, AssignmentChanged, RoleGranted, RoleEnded,
		DeliveryImported, CardSent, CardHandedOut, CardArmed, CardBlocked,
		OrderPlaced, OrderApproved, OrderWithdrawn, OrderExpired,
		DownloadBegun, DownloadConfirmed, DownloadAbandoned, DownloadLapsed, DownloadCleaned,
		KeyRefused, KeyBlocked, KeyIncident, IntentRecorded, IntentAbandoned,
		CertificateIssued, CertificateSuperseded, CertificateRevoked,
		RevocationOrdered, RevocationApproved, RevocationFinished,
		RetentionErased, PersonExported, PersonErased,
		LogRestored, LogReconciled, LogAccepted,
		ClockChecked, OutageBegun, OutageEnded, ConfigurationLoaded,
		CARevoked, CAClosed, CALast,
		LoginAccepted, LoginRefused, RequestRefused,
	}
}
