//go:build !linux

package target

func attributes(string) bool { return false }
