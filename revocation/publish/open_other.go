//go:build !unix

package publish

// nonblock: there are no pipes among files here.
const nonblock = 0
