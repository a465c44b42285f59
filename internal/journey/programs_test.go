//go:build unix

package journey

import (
	"os"
	"testing"

	"sigill/internal/stage"
)

const root = "../.."

// programs are those that are tested here.
var programs = stage.Programs{Root: root}

func TestMain(m *testing.M) { os.Exit(programs.Main(m)) }
