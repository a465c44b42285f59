package keys

// Environment is part of the name of every CA. A TEST hierarchy never shares a
// root with production: whoever trusts one does not trust the other.
type Environment string

const (
	Production Environment = ""
	Test       Environment = "TEST"
)

// name returns a CA's common name: "TEST Sigill Root CA v1".
func (e Environment) name(base string) string {
	if e == Production {
		return base
	}
	return string(e) + " " + base
}
