package download

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"sigill/ca"
)

// inTurn returns the entries of a list in the order in which they are worked through.
// It follows from the list alone, so that whoever goes on, after a crash or beside
// another process, has the same.
//
// Certificates go partition by partition of the CRLs: in the order of a list each
// transaction would touch all partitions, and each partition's list would be signed
// anew every second until the end. A partition is the low 64 bits of the serial modulo
// the number of partitions ([ca.PartitionOf]). That number may have grown since, and
// differs between issuers, so no number is used here: ordered by these bits from the
// lowest up, the partitions of every power of two stand together. Of other numbers so
// do those of the largest power of two in them, which is as good as no order for odd
// ones, and no worse than it.
func inTurn(kind MassKind, entries []string) ([]string, error) {
	if kind != BySerial {
		return entries, nil
	}
	serials, err := serialsOf(entries)
	if err != nil {
		return nil, err
	}
	turn := func(s ca.Serial) uint64 { return bits.Reverse64(binary.BigEndian.Uint64(s[8:])) }
	slices.SortFunc(serials, func(a, b ca.Serial) int {
		return cmp.Or(cmp.Compare(turn(a), turn(b)), bytes.Compare(a[:], b[:]))
	})
	out := make([]string, len(serials))
	for i, s := range serials {
		out[i] = s.String()
	}
	return out, nil
}
