package wire

// Evidence is what an order rests on: the bytes that were signed and the signatures.
type Evidence struct {
	Order      []byte              `json:"order"` // the document
	Statements []EvidenceStatement `json:"statements"`
}

// EvidenceStatement is a statement that verifies without any register.
type EvidenceStatement struct {
	Content     []byte `json:"content"`
	Signature   []byte `json:"signature"`
	Certificate []byte `json:"certificate"` // DER
}
