package policy

import "fmt"

// OrderCardFull: the card has no place for another eID beside those that it has or
// that are ordered for it. Said when it is ordered, because at download it would be
// the holder who stands there with it.
const OrderCardFull Rule = "order.card-full"

// Replacing tells how a card makes a new key where it has one already.
type Replacing string

const (
	Beside  Replacing = "beside"
	InPlace Replacing = "in-place"
)

// PIN2 tells what the signing PIN of a card is before its holder changed it.
type PIN2 string

const (
	PIN2Letter  PIN2 = "letter"  // a code of its own, in the PIN letter
	PIN2Same    PIN2 = "pin1"    // the security code chosen at hand-out
	PIN2Unknown PIN2 = "unknown" // not told
)

// Product is what is known of a kind of card.
type Product struct {
	Code               string
	Replaces           Replacing
	AuthenticationKeys int // places behind the security code
	SigningKeys        int // places behind the signing code
	PIN2               PIN2
}

// Products are the known products by code.
type Products map[string]Product

// Check refuses a product that says nothing sensible.
func (p Product) Check() error {
	switch {
	case p.Replaces != Beside && p.Replaces != InPlace:
		return fmt.Errorf("replaces is beside or in-place")
	case p.PIN2 != PIN2Letter && p.PIN2 != PIN2Same && p.PIN2 != PIN2Unknown:
		return fmt.Errorf("pin2 is letter, pin1 or unknown")
	case p.AuthenticationKeys < 1 || p.SigningKeys < 0:
		return fmt.Errorf("a card has at least one place for a key")
	case p.Replaces == Beside && p.AuthenticationKeys < 2:
		return fmt.Errorf("one place leaves no room for a key beside it")
	}
	return nil
}

// Deliverable reports whether cards of the product may be registered: only those
// that keep the old key until the new one has proved to live.
func (p Product) Deliverable() bool { return p.Replaces == Beside }

// EIDs is how many eIDs a card can carry: a place is kept free for the key that is
// made beside the one it replaces.
func (p Product) EIDs() int { return p.AuthenticationKeys - 1 }
