package wire

// Receipt proves to who has the public key of the log of acts, without the log, that an
// act is in it. As a document of its own it is what `sigill audit verify-receipt` reads.
type Receipt struct {
	Act   string `json:"act"`   // the event's body, octet for octet: the leaf
	Proof string `json:"proof"` // C2SP tlog-proof
}

// Receipted is in every answer about an act that has a receipt: the receipt or, where it
// did not come in time, the event by which it is asked for later.
type Receipted struct {
	Receipt      *Receipt      `json:"receipt,omitempty"`
	ReceiptLater *ReceiptLater `json:"receiptLater,omitempty"`
}

// ReceiptLater names an act: GET …/receipts/{event} gives its receipt.
type ReceiptLater struct {
	Event string `json:"event"`
}

// Done answers what has no other answer than that it was done.
type Done struct {
	Receipted
}

// PersonEnded answers what ends the eIDs of a person: the end of the assignment, if that
// is what was asked for, and each certificate that was revoked.
type PersonEnded struct {
	Receipted
	Certificates []EndedCertificate `json:"certificates"`
}

// EndedCertificate is a certificate that was revoked, with the receipt of that.
type EndedCertificate struct {
	Serial string `json:"serial"`
	Receipted
}
