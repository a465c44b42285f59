package mutate

const (
	reading   = "internal/logapi"
	witnesses = "internal/witness"
	keeping   = "internal/keep"
	auditing  = "internal/auditor"
)

// ofReading: who is shown what of the logs, beside what [ofAuditors] has.
func ofReading() []mutation {
	return []mutation{
		{name: "logs: every role reads the logs",
			why: "every administrator reads what all others did",
			in:  register, old: `if g.Role != policy.RoleAuditor || g.Organisation != c.Organisation {`, new: `if g.Organisation != c.Organisation {`,
			pkg: reading, test: "TestWhoReads"},
		{name: "logs: strangers ask without limit",
			why: "one address keeps the database busy with proofs",
			in:  reading, old: `if p.limit != nil && !p.limit.Allow(r.RemoteAddr, p.now()) {`, new: `if p.limit == nil && !p.limit.Allow(r.RemoteAddr, p.now()) {`,
			pkg: reading, test: "TestPublicLimit"},
	}
}

// ofWatching: who sees a fork, a restore, a lie.
func ofWatching() []mutation {
	return []mutation{
		{name: "witness: growth not proved",
			why: "a witness vouches for any history that the log shows",
			in:  witnesses, old: `if err := checkpoint.CheckGrowth(h.Checkpoint, c, r.proof); err != nil {`, new: `if err := checkpoint.CheckGrowth(h.Checkpoint, c, r.proof); err != nil && fork {`,
			pkg: witnesses, test: "TestForkAtALargerSize", core: true},
		{name: "witness: any beginning will do",
			why: "a witness vouches for a tree that it has not followed",
			in:  witnesses, old: `if r.old != h.Size {`, new: `if r.old > h.Size {`,
			pkg: witnesses, test: "TestReplayAndRollback"},
		{name: "witness: forks leave no evidence",
			why: "the log has signed two histories, and nobody can show it",
			in:  witnesses, old: `		s.keep(kindFork, h, r, c)
`, new: ``,
			pkg: witnesses, test: "TestForkAtOneSize"},
		{name: "witness: signs before it remembers",
			why: "after a crash the witness vouches for a second history",
			in:  witnesses, old: `	if err := durable.WriteFile(h.file, bare, 0o600); err != nil {
		h.sure = false
		return err
	}`, new: `	if err := durable.WriteFile(h.file, bare, 0o600); err != nil {
		h.sure = false
	}`,
			pkg: witnesses, test: "TestDiskFails"},
		{name: "witness: memory that went back is taken",
			why: "a restored witness vouches for a second history",
			in:  witnesses, old: `	if c.Size < h.Size {`, new: `	if c.Size < 0 {`,
			pkg: witnesses, test: "TestDiskFails"},
		{name: "keep: a larger tree elsewhere means nothing",
			why: "a restored database goes on as if nothing had been lost",
			in:  keeping, old: `	if c.Size > size {`, new: `	if c.Size < 0 {`,
			pkg: keeping, test: "TestPlaces", core: true},
		{name: "keep: another root elsewhere means nothing",
			why: "a database with another history goes on under the same name",
			in:  keeping, old: `	if root != c.Root {`, new: `	if root == (tlog.Hash{}) {`,
			pkg: keeping, test: "TestPlaces"},
		{name: "keep: silence takes back what a place said",
			why: "who can cut the network makes a restored database trusted",
			in:  keeping, old: `	case err == nil:
		p.verdict, p.why = Trusted, nil`, new: `	default:
		p.verdict, p.why = Trusted, nil`,
			pkg: keeping, test: "TestStates"},
		{name: "keep: one place outvotes another",
			why: "a place that was restored too says that nothing was lost",
			in:  keeping, old: `case p.verdict == Restored || is == Restored:`, new: `case p.verdict == Restored:`,
			pkg: keeping, test: "TestStates"},
		{name: "keep: nothing is held before somebody has answered",
			why: "a restored database signs a second history before anybody was asked",
			in:  keeping, old: `return s != Alone && s != Trusted }`, new: `return s != Alone && s != Trusted && s != Unasked }`,
			pkg: keeping, test: "TestStates"},
		{name: "auditor: a shorter log is taken",
			why: "what was cut off was never there, says the auditor's book",
			in:  auditing, old: `	if c.Size < last.Size {`, new: `	if c.Size < 0 {`,
			pkg: auditing, test: "TestLogsThatAreNotTheSame"},
		{name: "auditor: another beginning is taken",
			why: "a log that was written anew is followed as if it were the same",
			in:  auditing, old: `	if root != tlog.Hash(last.Root) {`, new: `	if root == (tlog.Hash{}) {`,
			pkg: auditing, test: "TestLogsThatAreNotTheSame", core: true},
	}
}
