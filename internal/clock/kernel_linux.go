package clock

import "golang.org/x/sys/unix"

// ReadKernel asks the kernel whether a program keeps the clock synchronised (adjtimex,
// reading only). The kernel believes the program, and says no when it was silent for
// too long.
func ReadKernel() Kernel {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	switch {
	case err != nil:
		return KernelUnknown
	case state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0:
		return KernelUnsynchronised
	}
	return KernelSynchronised
}
