package mutate

const (
	authority   = "ca"
	transparent = "internal/translog"
	sequencer   = "internal/audit"
	trees       = "internal/tiles"
	notes       = "internal/checkpoint"
)

// ofPromises: what is promised of a certificate before it is signed.
func ofPromises() []mutation {
	return []mutation{
		{name: "logs: certificate signed before the log has it",
			why: "a certificate is good that no auditor will ever see",
			in:  authority, old: `	return r.log.Await(ctx, leaf)
`, new: `	return nil
`,
			pkg: authority, test: "TestNothingIsSignedBeforeTheLogHasIt", core: true},
		{name: "logs: promise in the certificate not verified",
			why: "a certificate is signed whose promise no relying party believes",
			in:  authority, old: `	leaf, err := r.log.Check(list, r.preCert())
	if err != nil {`, new: `	leaf, err := r.log.Check(list, r.preCert())
	if err != nil && false {`,
			pkg: authority, test: "TestNothingIsSignedBeforeTheLogHasIt"},
		{name: "logs: promised leaf not compared with the recorded one",
			why: "the log waits for one certificate while another one is signed",
			in:  authority, old: `if leaf != r.intent.Leaf {`, new: `if leaf.IsZero() {`,
			pkg: authority, test: "TestNothingIsSignedBeforeTheLogHasIt"},
		{name: "logs: the log's signature on its promise unseen",
			why: "whatever stands in the certificate passes for the log's promise",
			in:  transparent, old: `if err := log.VerifySignature(input, sct.Signature); err != nil {`, new: `if err := log.VerifySignature(input, sct.Signature); err != nil && false {`,
			pkg: transparent, test: "TestCheckSCT"},
		{name: "logs: numbered is as good as proved",
			why: "a certificate is signed whose log entry can still be taken back unseen",
			in:  transparent, old: `return ok && number <= s.covered, s.bell`, new: `return ok && number >= 0, s.bell`,
			pkg: transparent, test: "TestNobodyIsToldBeforeTheHeadIsStored", core: true},
		{name: "logs: numbered elsewhere is as good as proved",
			why: "a certificate is signed whose log entry can still be taken back unseen",
			in:  transparent, old: `			err = ErrNotFound // not yet`, new: `			return nil`,
			pkg: transparent, test: "TestNobodyIsToldBeforeTheHeadIsStored"},
		{name: "logs: a row's word for a place in the tree",
			why: "who can write a row has a certificate signed that no log has",
			in:  transparent, old: `return checkpoint.CheckLeaf(head.Checkpoint, number-1, leaf, hashes)`, new: `_ = hashes; return nil`,
			pkg: transparent, test: "TestPlaceIsHeldAgainstTheTree"},
		{name: "logs: what was signed before is forgotten",
			why: "who takes the stored head away has another tree of the same size signed",
			in:  transparent, old: `	if c.Size == 0 {
		return nil // everything`, new: `	if c.Size >= 0 && h.last == nil {
		return nil // everything`,
			pkg: transparent, test: "TestForkedTreeWithoutItsHead"},
		{name: "logs: signed anew while held",
			why: "the log's own key says that a restored log has lost leaves",
			in:  transparent, old: `if waiting {`, new: `if waiting && h.size > 1<<40 {`,
			pkg: transparent, test: "TestHeldLogsSignNothing"},
		{name: "logs: told of heads that were not stored",
			why: "after a crash the log signs another tree of the same size",
			in:  transparent, old: `		if err := s.putHeads(ctx, due); err != nil {`, new: `		if err := s.putHeads(ctx, due); err != nil && ctx == nil {`,
			pkg: transparent, test: "TestNobodyIsToldBeforeTheHeadIsStored"},
	}
}

// ofHeads: what a log signs of itself.
func ofHeads() []mutation {
	return []mutation{
		{name: "logs: head signed without looking at the last",
			why: "rows that were changed become history, signed by the log itself",
			in:  transparent, old: `	if root != earlier.Root {`, new: `	if root == (tlog.Hash{}) {`,
			pkg: transparent, test: "TestForkedTree", core: true},
		{name: "logs: head never signed anew",
			why: "who is shown an old head for weeks cannot notice",
			in:  transparent, old: `if last.Size == h.size && h.at.Sub(last.Time) < refreshAfter {`, new: `if last.Size == h.size {`,
			pkg: transparent, test: "TestHeadsInTime"},
		{name: "logs: heads go back in time with the clock",
			why: "who collects heads cannot tell the newer of two, nor an old one shown again",
			in:  transparent, old: `if h.at.Before(c.Time) {`, new: `if h.at.IsZero() {`,
			pkg: transparent, test: "TestHeadsGrowWhileTheClockIsBehind"},
		{name: "logs: heads of two processes overtake each other",
			why: "who collects heads cannot tell the newer of two, nor an old one shown again",
			in:  transparent, old: `if errors.Is(err, ErrNotFound) || err == nil && bytes.Equal(note, h.last) {`, new: `if errors.Is(err, ErrNotFound) || err == nil && (bytes.Equal(note, h.last) || h.fresh) {`,
			pkg: transparent, test: "TestHeadsOfTwoProcesses"},
		{name: "logs: later head followed by an earlier one",
			why: "who collects heads cannot tell the newer of two, nor an old one shown again",
			in:  transparent, old: `	case stored.Time.After(h.at):`, new: `	case h == nil:`,
			pkg: transparent, test: "TestHeadIsSignedAnewAfterALaterOne"},
		{name: "logs: shown though no head covers it",
			why: "a proof is given out under a tree that the log can still deny",
			in:  transparent, old: `		if size > head.Size {`, new: `		if size > head.Size && size < 0 {`,
			pkg: transparent, test: "TestReaderShowsWhatIsSigned"},
		{name: "logs: tiles shown that no head covers",
			why: "hashes are told that the log can still deny",
			in:  transparent, old: `|| have-n*tiles.Width < int64(width) {`, new: `{`,
			pkg: transparent, test: "TestReaderShowsWhatIsSigned"},
		{name: "logs: signature of a head unseen",
			why: "who can write the database or the network writes the log's history",
			in:  notes, old: `return err == nil && l.VerifySignature(input, sth.TreeHeadSignature) == nil`, new: `return err == nil && len(input) > 0`,
			pkg: notes, test: "TestOpenEveryOctet", core: true},
		{name: "logs: another log's head",
			why: "the head of one log passes for that of the other",
			in:  notes, old: `if err != nil || sth.origin != l.origin {`, new: `if err != nil {`,
			pkg: notes, test: "TestOpenEveryOctet"},
		{name: "logs: head of nothing with any root",
			why: "a log that shows an empty tree may have shown any other",
			in:  notes, old: `if c.Size == 0 && c.Root != emptyRoot {`, new: `if false {`,
			pkg: notes, test: "TestParseBody"},
		{name: "logs: head in many forms",
			why: "one head has many texts, and two readers see two of them",
			in:  notes, old: `if c.Body() != text {`, new: `if false {`,
			pkg: notes, test: "TestParseBody"},
		{name: "logs: signature by any hash",
			why: "one head has many signatures, and a hash that is broken signs others",
			in:  notes, old: `if signed.Algorithm != (tls.SignatureAndHashAlgorithm{`, new: `if false && signed.Algorithm != (tls.SignatureAndHashAlgorithm{`,
			pkg: notes, test: "TestOpenEveryOctet"},
		{name: "logs: two roots of one size are no fork",
			why: "a log that shows two histories is believed both",
			in:  notes, old: `case old.Size == new.Size && old.Root != new.Root:`, new: `case old.Size < 0:`,
			pkg: notes, test: "TestGrowthAtItsEdges", core: true},
		{name: "logs: one witness counts as two",
			why: "one witness that is bribed makes up the number that is demanded",
			in:  notes, old: `case name != w.name:`, new: `case name == "":`,
			pkg: notes, test: "TestWitnessesAreCountedOnce"},
	}
}

// ofNumbering: events and leaves get numbers, and trees grow.
func ofNumbering() []mutation {
	return []mutation{
		{name: "logs: acts numbered and not put in the tree",
			why: "what was done is in no tree, and no receipt and no auditor sees it",
			in:  sequencer, old: `acts, err := tx.Trees.ActLeaves(size, batch)`, new: `acts, err := tx.Trees.ActLeaves(size, 0)`,
			pkg: sequencer, test: "TestLeavesAndHeads", core: true},
		{name: "logs: leaf under the number of the one before",
			why: "the number of a certificate is another's place, and its proof fails for ever",
			in:  sequencer, old: `first := end - int64(len(leaves)) + 1`, new: `first := end - int64(len(leaves))`,
			pkg: sequencer, test: "TestLeavesAndHeads"},
		{name: "logs: numbering goes on in a restored database",
			why: "two histories are told under the same numbers, and both are signed",
			in:  sequencer, old: `if s.Hold != nil && s.Hold() {`, new: `if s.Batch < 0 && s.Hold() {`,
			pkg: sequencer, test: "TestHeld", core: true},
		{name: "logs: rows taken away unnoticed",
			why: "acts are told under numbers under which others were told before",
			in:  sequencer, old: `if err := whole(tx); err != nil {`, new: `if err := error(nil); err != nil {`,
			pkg: sequencer, test: "TestRowsTakenAway"},
		{name: "logs: no head after a lost answer",
			why: "what was numbered stays without a head until the next act, and who waits for it in vain",
			in:  sequencer, old: `			s.signed.Store(false) // it may have been committed all the same
`, new: ``,
			pkg: sequencer, test: "TestHeadsAfterALostAnswer"},
		{name: "logs: a head that could not be signed is forgotten",
			why: "what was numbered stays without a head until the next act, and who waits for it in vain",
			in:  sequencer, old: `	s.signed.Store(false)
	if err := s.Heads(ctx); err != nil {`, new: `	if err := s.Heads(ctx); err != nil {`,
			pkg: sequencer, test: "TestLeavesAndHeads"},
		{name: "logs: full tile not carried up",
			why: "after 256 entries nothing can be proved of a log any more",
			in:  trees, old: `roots = append(roots, rootOf(tile))`, new: `_ = rootOf(tile)`,
			pkg: trees, test: "TestGrows", core: true},
		{name: "logs: tree continued over a damaged tile",
			why: "a lost hash becomes part of the history that is signed",
			in:  trees, old: `		if len(old) != width*tlog.HashSize {`, new: `		if len(old) < 0 {`,
			pkg: trees, test: "TestDamagedUpperTile"},
		{name: "logs: order of hashes in a tile",
			why: "no other program can check a proof of this log",
			in:  trees, old: `level[i] = tlog.NodeHash(level[2*i], level[2*i+1])`, new: `level[i] = tlog.NodeHash(level[2*i+1], level[2*i])`,
			pkg: trees, test: "TestGrows"},
		{name: "logs: leaf numbered twice",
			why: "two sequencers give one certificate two places, of which one is another's",
			in:  store, old: `WHERE leaf = $2 AND number IS NULL` + "`", new: `WHERE leaf = $2` + "`",
			pkg: store, test: "TestLeafIsNumberedOnce"},
		{name: "logs: head of a smaller tree stored",
			why: "a process that was slow takes back what the log has shown",
			in:  store, old: ` WHERE log_heads.size <= excluded.size` + "`", new: "`",
			pkg: store, test: "TestHeadsOnlyGrow"},
	}
}
