package register

import (
	"encoding/binary"
	"testing"
	"time"

	"sigill/ca"
)

// However many certificates come, what is remembered of them is bounded.
func TestLogInsAreBounded(t *testing.T) {
	var m logins
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	most := 0
	for i := range 3 * loginsKept {
		var fp ca.Fingerprint
		binary.BigEndian.PutUint32(fp[:], uint32(i))
		m.of(fp, now.Add(time.Duration(i)*time.Microsecond))
		most = max(most, len(m.young)+len(m.old))
	}
	if most > loginsKept {
		t.Errorf("%d log-ins are remembered", most)
	}
	// And nobody is remembered for ever.
	m.of(ca.Fingerprint{1}, now.Add(time.Hour))
	m.of(ca.Fingerprint{2}, now.Add(2*time.Hour))
	if n := len(m.young) + len(m.old); n != 2 {
		t.Errorf("%d log-ins of long ago are remembered", n)
	}
}

// A clock that went back makes nobody known for longer.
func TestLogInOfAClockThatWentBack(t *testing.T) {
	var m logins
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	fp := ca.Fingerprint{1}
	m.note(m.of(fp, now))
	if !m.known(m.of(fp, now.Add(loginEvery-1))) || m.known(m.of(fp, now.Add(loginEvery))) || m.known(m.of(fp, now.Add(-time.Hour))) {
		t.Error("known before the record, or not after it")
	}
}
