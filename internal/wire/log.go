package wire

// Evidence is what an order rests on: the bytes that were signed and the signatures. Of a
// single statement it has that alone.
type Evidence struct {
	Order      []byte              `json:"order,omitempty"` // the document
	Statements []EvidenceStatement `json:"statements"`
}

// EvidenceStatement is a statement that verifies without any register.
type EvidenceStatement struct {
	Content     []byte `json:"content"`
	Signature   []byte `json:"signature"`
	Certificate []byte `json:"certificate"` // DER
}
