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
	CardLocked       = "card.locked"
	CardUnlocked     = "card.unlocked"
	CardBlocked      = "card.blocked"
	CardScrapped     = "card.scrapped"
	CardExpired      = "card.expired"

	// Orders.
	OrderPlaced    = "order.placed"
	OrderApproved  = "order.approved"
	OrderWithdrawn = "order.withdrawn"
	OrderRefused   = "order.refused"
	OrderExpired   = "order.expired"
	OrderInstalled = "order.installed"

	// Downloads.
	DownloadBegun     = "download.begun"
	DownloadConfirmed = "download.confirmed"
	DownloadAbandoned = "download.abandoned"
	DownloadLapsed    = "download.lapsed"
	DownloadCleaned   = "download.cleaned"

	// Keys, intents and certificates.
	KeyAdmitted           = "key.admitted"
	KeyRefused            = "key.refused"
	KeyBlocked            = "key.blocked"
	KeyIncident           = "key.incident"
	IntentRecorded        = "intent.recorded"
	IntentAbandoned       = "intent.abandoned"
	CertificateIssued     = "certificate.issued"
	CertificateSuperseded = "certificate.superseded"
	CertificateRevoked    = "certificate.revoked"
	SignerIssued          = "signer.issued"
	CRLPublished          = "crl.published"

	// The service.
	OutageBegun = "outage.begun"
	OutageEnded = "outage.ended"

	// Issuing CAs.
	CARevoked = "ca.revoked" // the root's CRL says so
	CAClosed  = "ca.closed"
	CALast    = "ca.last" // its last CRLs may be made

	// Refusals that belong to no other act.
	LoginRefused   = "login.refused"
	RequestRefused = "request.refused"
)

// Acts returns the closed list, in the order in which it is documented.
func Acts() []string {
	return []string{
		Initialised, CeremonyFounded, CeremonyClosed,
		OrganisationCreated, OrganisationSigning, PersonImported, AssignmentChanged, RoleGranted, RoleEnded,
		DeliveryImported, CardSent, CardHandedOut, CardArmed, CardLocked, CardUnlocked,
		CardBlocked, CardScrapped, CardExpired,
		OrderPlaced, OrderApproved, OrderWithdrawn, OrderRefused, OrderExpired, OrderInstalled,
		DownloadBegun, DownloadConfirmed, DownloadAbandoned, DownloadLapsed, DownloadCleaned,
		KeyAdmitted, KeyRefused, KeyBlocked, KeyIncident, IntentRecorded, IntentAbandoned,
		CertificateIssued, CertificateSuperseded, CertificateRevoked, SignerIssued, CRLPublished,
		OutageBegun, OutageEnded,
		CARevoked, CAClosed, CALast,
		LoginRefused, RequestRefused,
	}
}
