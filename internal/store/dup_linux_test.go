package store

import "syscall"

// dup makes the descriptor to stand for the file of from.
func dup(from, to int) error { return syscall.Dup3(from, to, 0) }
