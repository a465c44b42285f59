package mutate

const readLogs = "internal/logapi"

// ofAuditors: who reads the logs, and what is given out of them.
func ofAuditors() []mutation {
	return []mutation{
		{name: "logs open to everybody with a card",
			why: "names, numbers and employers of all holders are read by any of them",
			in:  listener, old: `if err := h.Register.Audits(c.Context(), c.caller); err != nil {`, new: `if err := h.Register.Audits(c.Context(), c.caller); err != nil && c.caller.Person == "" {`,
			pkg: readLogs, test: "TestWhoReads", core: true},
		{name: "auditors of branches",
			why: "two administrators of a branch show the whole installation to one of theirs",
			in:  register, old: `	if o.Parent != "" {
		return policy.Refuse(policy.RoleRoot`, new: `	if o == nil {
		return policy.Refuse(policy.RoleRoot`,
			pkg: register, test: "TestAuditorOnlyAtTheTop"},
		{name: "auditors by an eID of anybody's",
			why: "what another organisation's administrators vouched for opens the logs",
			in:  register, old: `g.Role != policy.RoleAuditor || g.Organisation != c.Organisation {`, new: `g.Role != policy.RoleAuditor {`,
			pkg: register, test: "TestWhoAudits"},
		{name: "acts that are not the leaf",
			why: "an auditor is shown what somebody wrote into the database, in the log's name",
			in:  readLogs, old: `tlog.Hash(audit.LeafHash(body)) != leaves[i] {`, new: `tlog.Hash(audit.LeafHash(body)) != leaves[i] && i < 0 {`,
			pkg: readLogs, test: "TestChangedRowsAreNotGivenOut"},
		{name: "entries that are not the leaf",
			why: "an auditor is shown another certificate than the one that was logged",
			in:  readLogs, old: `if tlog.RecordHash(input) != leaf {`, new: `if len(input) == 0 {`,
			pkg: readLogs, test: "TestChangedRowsAreNotGivenOut"},
		{name: "tiles beyond the checkpoint",
			why: "a tree is shown that the log has not signed, and may never sign",
			in:  readLogs, old: `if !p.within(head.Size) {`, new: `if p.n < 0 {
		_ = head.Size`,
			pkg: readLogs, test: "TestTilesEndWithTheCheckpoint"},
		{name: "acts told to who guesses an id",
			why: "anybody with a card's number finds out whether it was blocked, and when",
			in:  readLogs, old: `if !bytes.HasSuffix(hashes, q.leaf[:]) {`, new: `if !bytes.HasSuffix(hashes, q.leaf[:0]) {`,
			pkg: readLogs, test: "TestPublic"},
	}
}
