package issue_test

import (
	"os"
	"testing"

	"sigill/internal/world/worldtest"
)

// With SIGILL_TEST_DB=postgres the tests run on PostgreSQL.
func TestMain(m *testing.M) { os.Exit(worldtest.Main(m)) }
