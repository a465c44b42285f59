package mutate

const (
	downloads = "orders/download"
	store     = "internal/store"
	issue     = "orders/issue"
	card      = "internal/card"
)

// ofAdmission: who may ask for what.
func ofAdmission() []mutation {
	return []mutation{
		{name: "another's download is one's own",
			why: "whoever holds any card fetches, confirms or abandons other people's certificates",
			in:  downloads, old: `(d.Card != c.Card || d.Holder != c.Person)`, new: `false`,
			pkg: downloads, test: "TestAnotherCardFetchesNothing"},
		{name: "stored plan not held to its hash",
			why: "who can write the database changes what the holder approved",
			in:  downloads, old: `sha256.Sum256(d.Plan) != d.PlanHash`, new: `sha256.Sum256(d.Plan) == [32]byte{}`,
			pkg: downloads, test: "TestPlanChangedAfterApproval"},
		{name: "request bound elsewhere",
			why: "a request made for another download, card, plan or person is certified here",
			in:  downloads, old: `if want != j.request.Digest {`, new: `if want == [32]byte{} {`,
			pkg: downloads, test: "TestRequestBoundElsewhere"},
		{name: "expired challenge",
			why: "a request that was kept for months is certified",
			in:  downloads, old: `if !now.Before(it.ChallengeExpires) {`, new: `if now.IsZero() {`,
			pkg: downloads, test: "TestChallengeExpires"},
		{name: "challenge not compared at record",
			why: "a request to a challenge that was replaced while it was judged is recorded all the same",
			in:  downloads, old: `it.Challenge != j.item.Challenge`, new: `false`,
			pkg: downloads, test: "TestChallengeReplacedMeanwhile"},
		{name: "another log-in carries on",
			why: "who was let in at a desk finishes what the eID's PIN began",
			in:  downloads, old: `if j.caller.Certificate != d.Login {`, new: `if d.Login.IsZero() {`,
			pkg: downloads, test: "TestDownloadGoesOnWithItsLogin"},
		{name: "statements by invented certificates",
			why: "who can write the database invents an administrator's approval",
			in:  issue, old: `cert, err := v.signed(c)`, new: `cert, err := x509.ParseCertificate(c.DER)`,
			pkg: downloads, test: "TestStatementByInventedCertificate"},
		{name: "proof of possession not verified",
			why: "a certificate for somebody else's public key, with one's own name in it",
			in:  card, old: `if err := csr.CheckSignature(); err != nil {`, new: `if csr == nil {`,
			pkg: card, test: "TestProof"},
		{name: "request in any form",
			why: "a request carries a subject, attributes or encodings that another reader takes for something",
			in:  card, old: `if !bytes.Equal(want, csr.RawTBSCertificateRequest) {`, new: `if bytes.Equal(want, nil) {`,
			pkg: card, test: "TestParseRequestRefuses"},
	}
}

// ofIssuing: key, intent, signature, certificate.
func ofIssuing() []mutation {
	return []mutation{
		{name: "keys seen not consulted",
			why: "one key in two cards: whoever has one of them signs as the other",
			in:  issue, old: `seen, err := tx.KeySeen(k.Fingerprint)`, new: `seen, err := &KeySeen{Verdict: Admitted, Card: k.Card, Download: k.Download, Slot: k.Slot}, error(nil)`,
			pkg: downloads, test: "TestKeySeenBefore"},
		{name: "refused keys forgotten",
			why: "a weak key that was refused once is offered until somebody takes it",
			in:  downloads, old: `if err := tx.MarkKey(k); err != nil && !errors.Is(err, issue.ErrConflict) {`, new: `if err := error(nil); k.Verdict == "" {`,
			pkg: downloads, test: "TestRefusedKeyIsRemembered"},
		{name: "intents without limit",
			why: "a client that fails without end fills revocation lists that everybody downloads",
			in:  policies, old: `if ofSlot >= IntentsPerSlot || ofCard >= IntentsPerCard {`, new: `if ofSlot < 0 || ofCard < 0 {`,
			pkg: downloads, test: "TestIntentsAreLimited"},
		{name: "nothing read again at record",
			why: "what the directory has corrected meanwhile, or whose approval was withdrawn, is signed",
			in:  downloads, old: `if err := s.holds(tx, d, true); err != nil {`, new: `if err := error(nil); err != nil {`,
			pkg: downloads, test: "TestDirectoryChanges", core: true},
		{name: "nothing read again at store",
			why: "a card that was reported stolen during the signature gets its certificate",
			in:  downloads, old: `if err := j.s.holds(tx, d, false); err != nil {`, new: `if err := error(nil); err != nil {`,
			pkg: downloads, test: "TestEachTransactionLooksForItself"},
		{name: "certificate leaves without being stored",
			why: "a certificate that the CA does not know cannot be revoked and is answered for by nobody",
			in:  downloads, old: `st, err := j.store(ctx, issued)`,
			new: `st, err := &State{Download: &Download{ID: j.id}, Items: []*Item{{Slot: j.slot, State: policy.ItemSigned, Certificate: issued.Fingerprint}},
		Certificates: map[policy.Slot]*issue.Certificate{j.slot: {Issued: *issued}}}, error(nil)`,
			pkg: downloads, test: "TestConfirmNeedsTheRightEvidence", core: true},
		{name: "settled intents settled again",
			why: "recovery revokes what was handed out, or a late signer hands out what was given up",
			in:  store, old: ` AND state = 'open'` + "`, string(state)", new: "`, string(state)",
			pkg: issue, test: "TestIntentIsSettledOnce", core: true},
		{name: "intents of another process settled",
			why: "a process hands out under an intent that another one is signing",
			in:  store, old: ` AND owner = $4 AND state = 'open'` + "`", new: ` AND $4 <> '' AND state = 'open'` + "`",
			pkg: issue, test: "TestReleaseIsTheOwners"},
		{name: "another certificate released than was intended",
			why: "a serial leaves that was never recorded: nothing can revoke it",
			in:  issue, old: `if issued.Serial != in.Serial || issued.Issuer != in.Issuer {`, new: `if issued == nil {`,
			pkg: issue, test: "TestReleaseIsTheOwners"},
		{name: "failing signer asked without end",
			why: "each attempt burns a serial that stands in revocation lists for years",
			in:  downloads, old: `	breakAfter = 3
`, new: `	breakAfter = 3000
`,
			pkg: downloads, test: "TestFailingSignerOpensTheCircuit"},
	}
}
