//go:build linux || darwin || freebsd

package status

import (
	"os/exec"
	"syscall"
)

// group lets a program and what it starts be ended together.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
