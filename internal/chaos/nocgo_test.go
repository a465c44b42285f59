//go:build unix && !cgo

package chaos

import (
	"os"
	"testing"
)

// TestKilledAtAnyMoment needs a program that loads a C library.
func TestKilledAtAnyMoment(t *testing.T) {
	if os.Getenv("SIGILL_REQUIRE") == "1" {
		t.Fatal("tests are built without cgo: cards over PKCS #11 cannot be tested")
	}
	t.Skip("tests are built without cgo: cards over PKCS #11 are not tested")
}
