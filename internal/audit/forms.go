package audit

import "strings"

// asked are the public fields of a refusal that hold what somebody asked for, and the
// prefix of the identifiers that they may hold; other forms are in [Formed].
var asked = map[string]string{"person": "per_", "organisation": "org_", "order": "ord_", "download": "dl_", "incident": "inc_", "revocation": "mrv_"}

// idDigits is how long what follows an identifier's prefix is.
const idDigits = 24

// Formed reports whether a value can be what a public field of a refusal is for. What
// is refused holds what somebody sent: a personal number where an identifier belongs,
// say. As a public field it would stand in the log for ever, with everybody who has
// a copy of it; what is not Formed goes into a personal field or is left out.
func Formed(f Field) bool {
	if prefix, ok := asked[f.Name]; ok {
		rest, named := strings.CutPrefix(f.Value, prefix)
		return named && len(rest) == idDigits && strings.Trim(rest, "0123456789abcdefghijklmnopqrstuvwxyz") == ""
	}
	switch f.Name {
	case "card", "abandoning", "blocking": // the number on a card
		return len(f.Value) == 19 && strings.HasPrefix(f.Value, "9752") && strings.Trim(f.Value, "0123456789") == ""
	case "certificate", "key":
		return isHash(f.Value)
	case "serial":
		return len(f.Value) == 32 && strings.Trim(f.Value, "0123456789abcdef") == ""
	}
	return true
}
