//go:build !(linux || darwin || freebsd)

package figure

import (
	"errors"
	"time"
)

// CPU is not known here.
func CPU() time.Duration { return 0 }

// Resident is not known here.
func Resident() int64 { return 0 }

// Peak is not known here.
func Peak() int64 { return 0 }

// ResetPeak is not possible here.
func ResetPeak() error { return errors.New("not on this system") }

// ResidentOf is not known here.
func ResidentOf(int) int64 { return 0 }
