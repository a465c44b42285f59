//go:build !linux

package clock

// ReadKernel does not know where the kernel is another.
func ReadKernel() Kernel { return KernelUnknown }
