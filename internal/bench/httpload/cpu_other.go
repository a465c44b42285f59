//go:build !(linux || darwin || freebsd)

package httpload

import "time"

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }
