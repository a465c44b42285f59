package policy_test

import (
	"testing"

	"sigill/policy"
)

// TestMayWork holds the whole table of modes and work, which docs/OPERATIONS.md
// shows.
func TestMayWork(t *testing.T) {
	const yes = policy.Rule("")
	want := map[policy.Mode][5]policy.Rule{
		//                      read confirm revoke change issue
		policy.ModeNormal:         {yes, yes, yes, yes, yes},
		policy.ModeSignerDown:     {yes, yes, yes, yes, policy.ServiceRevokeOnly},
		policy.ModeIssuerEnded:    {yes, yes, yes, yes, policy.IssuerEnded},
		policy.ModeOutage:         {yes, yes, yes, yes, policy.ServiceOutage},
		policy.ModeClockOff:       {yes, yes, yes, yes, policy.ClockOffset},
		policy.ModeClockBackwards: {yes, yes, yes, yes, policy.ClockBackwards},
		policy.ModeDiskLow:        {yes, yes, yes, policy.ServiceRevokeOnly, policy.ServiceRevokeOnly},
		policy.ModeRestored:       {yes, policy.ServiceRestored, yes, policy.ServiceRestored, policy.ServiceRestored},
		"of another version":      {yes, yes, yes, policy.ServiceRevokeOnly, policy.ServiceRevokeOnly},
	}
	for _, m := range policy.Modes() {
		if _, ok := want[m]; !ok {
			t.Errorf("mode %s is in no row", m)
		}
	}
	for m, row := range want {
		for i, w := range policy.Works() {
			if d := policy.MayWork(m, w); d.Rule != row[i] || d.Allow != (row[i] == yes) {
				t.Errorf("MayWork(%s, %s) = %+v, want rule %q", m, w, d, row[i])
			}
		}
		if d := policy.MayWork(m, "of another version"); d.Allow {
			t.Errorf("unknown work is allowed in mode %s", m)
		}
	}
}
