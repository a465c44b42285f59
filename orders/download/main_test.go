package download_test

import (
	"os"
	"testing"

	"sigill/internal/store/pgtest"
	"sigill/internal/world/worldtest"
)

// postgres is for the tests that run on both databases. With
// SIGILL_TEST_DB=postgres all others run on PostgreSQL too.
var postgres pgtest.Shared

func TestMain(m *testing.M) {
	code := worldtest.Main(m)
	postgres.Stop()
	os.Exit(code)
}
