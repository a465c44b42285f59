package download

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sigill/ca"
)

// Whatever stands on a list of certificates, each is worked through once, in an order
// that does not hang on how the list is written, and the certificates of a partition
// come one after the other.
func TestMassTakesPartitionsInTurn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []string
		for range rapid.IntRange(0, 300).Draw(t, "entries") {
			list = append(list, ca.NewSerial().String())
		}
		turn, err := inTurn(BySerial, list)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(slices.Sorted(slices.Values(turn)), slices.Sorted(slices.Values(list))) {
			t.Fatalf("%d entries became others, %d", len(list), len(turn))
		}
		again, err := inTurn(BySerial, slices.Collect(maps.Keys(setOf(list))))
		if err != nil || !slices.Equal(again, turn) {
			t.Fatalf("the same entries in another order: %v, %v", err, again)
		}
		count := 1 << rapid.IntRange(0, 10).Draw(t, "partitions as a power of two")
		serials, err := serialsOf(turn)
		if err != nil {
			t.Fatal(err)
		}
		left := map[int]bool{} // partitions that others came after
		last := -1
		for i, s := range serials {
			p := ca.PartitionOf(s, count)
			if left[p] {
				t.Fatalf("%d partitions: entry %d goes back to partition %d", count, i, p)
			}
			if last >= 0 && p != last {
				left[last] = true
			}
			last = p
		}
	})
	cards := []string{"9752269875312345678", "9752269875312345679"}
	if turn, err := inTurn(ByCard, cards); err != nil || !slices.Equal(turn, cards) {
		t.Errorf("cards: %v, %v", turn, err)
	}
}

func setOf(list []string) map[string]bool {
	set := map[string]bool{}
	for _, s := range list {
		set[s] = true
	}
	return set
}
