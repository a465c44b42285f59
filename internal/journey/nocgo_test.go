//go:build unix && !cgo

package journey

import (
	"os"
	"testing"
)

// TestJourneyOverSoftHSM needs a program that loads a C library.
func TestJourneyOverSoftHSM(t *testing.T) {
	if os.Getenv("SIGILL_REQUIRE") == "1" {
		t.Fatal("tests are built without cgo: cards over PKCS #11 cannot be tested")
	}
	t.Skip("tests are built without cgo: cards over PKCS #11 are not tested")
}
