package mutate

const (
	lists    = "revocation/publish"
	status   = "revocation/status"
	relying  = "revocation"
	readers  = "revocation/read"
	database = "internal/store"
)

// ofLists: what may become public.
func ofLists() []mutation {
	return []mutation{
		{name: "public list signed unseen",
			why: "who can write the public directory gets a list of his own signed",
			in:  lists, old: `if err == nil && head.SHA256 != was {`, new: `if err == nil && head.SHA256 != was && false {`,
			pkg: lists, test: "TestListIsNotCarriedOverFromAnother", core: true},
		{name: "a living certificate leaves the list",
			why: "a row that is lost makes a stolen card good again",
			in:  lists, old: `case !entry.NotAfter.Before(thisUpdate):`, new: `case false:`,
			pkg: lists, test: "TestPublishRefusesToGoBack"},
		{name: "list of a restored database",
			why: "numbers that relying parties have seen are given to other lists",
			in:  lists, old: `if number == nil || number.Cmp(big.NewInt(newest)) <= 0 {`, new: `if true || number.Cmp(big.NewInt(newest)) <= 0 {`,
			pkg: lists, test: "TestPublishRefusesToGoBack"},
		{name: "list older than the public one",
			why: "a clock that went back takes revocations back at who compares times",
			in:  lists, old: `if isUpdate.Before(wasUpdate) {`, new: `if false {`,
			pkg: lists, test: "TestPublishRefusesToGoBack"},
		{name: "date of a revocation moves",
			why: "signatures made between the two dates change their meaning",
			in:  lists, old: `if !is.At.Equal(was.At) || !revocation.Graver(is.Reason, was.Reason) {`, new: `if false {`,
			pkg: lists, test: "TestPublishRefusesToGoBack"},
		{name: "list for another address",
			why: "a relying party that compares refuses it, one that does not believes the wrong partition",
			in:  lists, old: `case head.DistributionPoint != j.URL || head.Scope.Present != (j.URL != ""):`, new: `case false:`,
			pkg: lists, test: "TestPublishChecksWhatWasSigned"},
		{name: "lint without consequence",
			why: "lists that other people's validators refuse become public",
			in:  lists, old: `return fmt.Errorf("lint: %w", err)`, new: `return nil`,
			pkg: lists, test: "TestPublishLints"},
		{name: "unnumbered entry comes twice",
			why: "no list can be made any more once a revocation was read before it had its number",
			in:  lists, old: `case e.Version <= st.ahead[e.Serial]:`, new: `case false:`,
			pkg: lists, test: "TestListHasWhatHasNoNumberYet"},
		{name: "graver reason beside the first",
			why: "a list with a serial twice says two things of it",
			in:  lists, old: `if first[serial] > 1 && !c.notAfter.Before(j.published.KeptFrom) {`, new: `if false {`,
			pkg: lists, test: "TestPublishWhatIsDue"},
		{name: "expired entry leaves at once",
			why: "who fetches lists rarely never learns that a certificate was revoked before it ended",
			in:  lists, old: `		j.next.KeptFrom = j.published.ThisUpdate
`, new: `		j.next.KeptFrom = j.next.ThisUpdate
`,
			pkg: lists, test: "TestPublishExpiredEntriesLeave"},
		{name: "list waits for its schedule",
			why: "a revocation stays unseen in the list for half a day",
			in:  lists, old: `if p.dirty[s.list()] > last.Through || p.lacksLoose(s.list()) {`, new: `if false {`,
			pkg: lists, test: "TestPublishWhatIsDue", core: true},
	}
}

// ofStatus: what is said of a certificate, and what a relying party believes.
func ofStatus() []mutation {
	return []mutation{
		{name: "answer kept over a revocation",
			why: "good is said for an hour by who read the row a moment before the commit",
			in:  status, old: `if p.generation != generation {`, new: `if false {`,
			pkg: status, test: "TestRevokedWhileAnswering", core: true},
		{name: "revocation leaves the cache alone",
			why: "good is said until the answer's end of a certificate that is revoked",
			in:  status, old: `				c.entries.Invalidate(key{e.Serial, issuerForm{issuerN(n), form}})
`, new: `				_, _ = n, form
`,
			pkg: status, test: "TestRevokedRemoves"},
		{name: "revocation is not told",
			why: "the process that revoked goes on saying good until its tail comes by",
			in:  database, old: `s.db.revoked(last.revoked)`, new: `_ = last`,
			pkg: database, test: "TestRevokedIsTold"},
		{name: "answer past its end",
			why: "an outage of the database becomes old answers for ever",
			in:  status, old: `if now < found.end {`, new: `if true {`,
			pkg: status, test: "TestCache"},
		{name: "unknown is kept",
			why: "a certificate that was just released is unknown at relying parties for an hour",
			in:  status, old: `a := &Answer{Cacheable: nonce == nil && !unknown,`, new: `a := &Answer{Cacheable: nonce == nil,`,
			pkg: status, test: "TestAnswer"},
		{name: "every serial is good",
			why: "a certificate signed by a stolen key is called good",
			in:  status, old: `	case released:
		single.Status`, new: `	case released || true:
		single.Status`,
			pkg: status, test: "TestAnswer", core: true},
		{name: "addresses without limit",
			why: "random serials cost a reading and a signature each, as many as one likes",
			in:  status, old: `if !r.Addresses.allow(from, now) {`, new: `if false {`,
			pkg: status, test: "TestFlood"},
		{name: "answer without its signature",
			why: "whoever sits on the network says good of every certificate",
			in:  readers, old: `err := issuer.CheckSignature(a.algorithm, a.tbs, a.signature)`, new: `err := error(nil)`,
			pkg: relying, test: "TestVerifyFailsClosed", core: true},
		{name: "answer about another certificate believed",
			why: "one good answer serves for every certificate",
			in:  readers, old: `if s.hash == 0 || s.serial.Cmp(cert.SerialNumber) != 0 {`, new: `if s.hash == 0 {`,
			pkg: relying, test: "TestVerifyAnswerAboutAnother"},
		{name: "nonce not compared",
			why: "who demands a fresh answer is shown an old one",
			in:  relying, old: `if nonce != nil && !bytes.Equal(a.Nonce, nonce) {`, new: `if nonce != nil && !bytes.Equal(a.Nonce, nonce) && false {`,
			pkg: relying, test: "TestVerifyNonce"},
		{name: "list of another partition believed",
			why: "the one list that does not name a revoked certificate makes it good",
			in:  relying, old: `err := list.Covers(t.cert, points)`, new: `err := error(nil)`,
			pkg: relying, test: "TestVerifyFailsClosed"},
		{name: "older list in place of a newer",
			why: "who sits on the network shows the list of before the revocation",
			in:  relying, old: `return failed(outdated, "%w", err)`, new: `_ = err`,
			pkg: relying, test: "TestVerifyCacheSeesRevocation"},
		{name: "revoked grows old",
			why: "who waits until the signed revocation has run out, and shows something older beside it, is let in",
			in:  relying, old: `case f.final() && kindOf(doubt) != unbelievable:`, new: `case false:`,
			pkg: relying, test: "TestVerifyRevokedDoesNotGrowOld"},
		{name: "revocation forgotten",
			why: "an answer of before the revocation, stapled by the thief, undoes what was seen a minute ago",
			in:  relying, old: `j.v.Cache.remember(t, f)`, new: `_ = f`,
			pkg: relying, test: "TestVerifyRemembersRevocation"},
		{name: "older staple believed",
			why: "a client chooses among the answers that it recorded which one is believed",
			in:  relying, old: `doubt := outrun(answer, held, t)`, new: `doubt := error(nil)`,
			pkg: relying, test: "TestVerifyStapleOlderThanKept"},
		{name: "staple in place of a nonce",
			why: "who demands a fresh answer is shown the recorded one of whom he judges",
			in:  relying, old: `doubt = failed(passedOver,`, new: `_ = failed(passedOver,`,
			pkg: relying, test: "TestVerifyNonceTakesNoStaple"},
		{name: "answer of an ended signer believed",
			why: "a signer's key that was thrown away and found speaks for ever",
			in:  relying, old: `if j.now.Before(a.Signer.NotBefore.Add(-j.v.Skew)) || j.now.After(a.Signer.NotAfter.Add(j.v.Skew)) {`, new: `if false {`,
			pkg: relying, test: "TestVerifyFailsClosed"},
	}
}
