package statement

import "fmt"

// compromiseTag keeps the proof that somebody has a key from being taken for
// anything else that the key signs: a statement, a certification request, a TLS
// handshake; and these from being taken for the proof.
const compromiseTag = "sigill-key-compromise-v1"

// Compromise returns what is signed with a key to prove that somebody has it: two
// lines, each ended by a newline. key is the key's fingerprint. The proof has no
// time and no addressee: that a key is known to others stays true, whoever says it
// again. Sign and Verify are as for statements.
func Compromise(key [32]byte) []byte {
	return fmt.Appendf(nil, "%s\nkey: %x\n", compromiseTag, key)
}
