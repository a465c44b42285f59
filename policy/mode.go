package policy

// Mode is a condition that the service works under. Several may hold at once;
// work is allowed if it is under each of them.
type Mode string

// The modes, from the mildest to the strictest.
const (
	// ModeNormal: nothing stands against any work.
	ModeNormal Mode = "normal"
	// ModeSignerDown: the key of an issuing CA does not sign. It concerns that
	// CA alone: each attempt would leave a serial that stands in a revocation
	// list for years.
	ModeSignerDown Mode = "signer-down"
	// ModeIssuerEnded: an issuing CA issues nothing any more, because the root has
	// revoked it or it was closed. It concerns that CA alone, and does not pass.
	ModeIssuerEnded Mode = "issuer-ended"
	// ModeOutage: an outage of issuing was planned and announced.
	ModeOutage Mode = "outage"
	// ModeClockOff: the clock differs by more than it may from what servers of time
	// say. Statements, challenges and what certificates say are judged by it.
	ModeClockOff Mode = "clock-off"
	// ModeClockBackwards: the clock was set back while the service ran, and shows again
	// what it has shown.
	ModeClockBackwards Mode = "clock-backwards"
	// ModeDiskLow: there is hardly room to write; what room there is, is kept for
	// taking back.
	ModeDiskLow Mode = "disk-low"
	// ModeRestored: the database is older than what was told outside of it, or nobody
	// can be asked whether it is. What it says may be undone, so nothing is built on it;
	// what it knows can be taken back.
	ModeRestored Mode = "restored"
)

// Modes returns all modes, the mildest first.
func Modes() []Mode {
	return []Mode{ModeNormal, ModeSignerDown, ModeIssuerEnded, ModeOutage, ModeClockOff, ModeClockBackwards, ModeDiskLow, ModeRestored}
}

// Work is what a request is for, as far as modes tell requests apart.
type Work string

const (
	// WorkRead changes nothing but the record of a refusal.
	WorkRead Work = "read"
	// WorkConfirm finishes what was issued already: its certificate is good to
	// relying parties, and the old one is revoked only by it.
	WorkConfirm Work = "confirm"
	// WorkRevoke takes back: revokes, blocks, ends, withdraws, gives up.
	WorkRevoke Work = "revoke"
	// WorkChange writes to the register or places orders, and issues nothing.
	WorkChange Work = "change"
	// WorkIssue leads to certificates that were not there.
	WorkIssue Work = "issue"
)

// Works returns all kinds of work.
func Works() []Work { return []Work{WorkRead, WorkConfirm, WorkRevoke, WorkChange, WorkIssue} }

// MayWork decides whether work may be done in a mode. Reading and taking back always
// may: a service that cannot revoke is worse than none. So may confirming, but where the
// certificate that is confirmed may have been revoked, and the old one be the only one
// that works.
func MayWork(m Mode, w Work) Decision {
	if m == ModeRestored && w != WorkRead && w != WorkRevoke {
		return Refuse(ServiceRestored, "the database may be older than what was done")
	}
	switch w {
	case WorkRead, WorkConfirm, WorkRevoke:
		return Allowed
	case WorkChange, WorkIssue:
	default:
		return Refuse(ServiceRevokeOnly, "unknown work %q", string(w))
	}
	switch m {
	case ModeNormal:
		return Allowed
	case ModeOutage:
		if w == WorkChange {
			return Allowed
		}
		return Refuse(ServiceOutage, "issuing is stopped for planned work")
	case ModeClockOff:
		if w == WorkChange {
			return Allowed
		}
		return Refuse(ClockOffset, "the clock is off by more than it may")
	case ModeClockBackwards:
		if w == WorkChange {
			return Allowed
		}
		return Refuse(ClockBackwards, "the clock was set back and has not caught up")
	case ModeSignerDown:
		if w == WorkChange {
			return Allowed
		}
		return Refuse(ServiceRevokeOnly, "the issuing CA's key does not sign at the moment")
	case ModeIssuerEnded:
		if w == WorkChange {
			return Allowed
		}
		return Refuse(IssuerEnded, "the issuing CA issues nothing any more")
	case ModeDiskLow:
		return Refuse(ServiceRevokeOnly, "there is hardly room left to write")
	}
	return Refuse(ServiceRevokeOnly, "unknown mode %q", string(m))
}

// OfService reports whether a rule is about the service as a whole and not about
// who asked for what.
func (r Rule) OfService() bool {
	return r == ServiceOutage || r == ServiceRevokeOnly || r == ServiceBusy || r == IssuerEnded || r == ServiceRestored ||
		r == ClockOffset || r == ClockBackwards
}
