package mutate

const (
	confirm = "orders/download/confirm.go"
	end     = "orders/download/end.go"
)

// ofConfirming: what makes a certificate the current one.
func ofConfirming() []mutation {
	return []mutation{
		{name: "replaced certificate not revoked",
			why:  "the old eID stays good to relying parties when its key is gone or in other hands",
			file: confirm, old: `return issue.Retire(tx.issue(), cert, ca.Superseded, "confirm.superseded", by, now)`, new: `return tx.DropStanding(cert.Fingerprint)`,
			pkg: downloads, test: "TestConfirmNeedsTheRightEvidence", core: true},
		{name: "superseding left out",
			why:  "the holder has two eIDs at one place, of which no one knows which one counts",
			file: confirm, old: `if err := supersede(tx, r, c.Name(), now); err != nil {`, new: `if r.Reason == "" {`,
			pkg: downloads, test: "TestDownloadCutOffAnywhere"},
		{name: "nothing read again at confirm",
			why:  "a card that was reported stolen gets its eID confirmed by the thief",
			file: confirm, old: `if err := s.holds(tx, d, false); err != nil {`, new: `if err := error(nil); err != nil {`,
			pkg: downloads, test: "TestEachTransactionLooksForItself"},
		{name: "plan hash not compared at confirm",
			why:  "what is revoked and installed is not what the holder was shown and approved",
			file: confirm, old: `if ev.PlanHash != d.PlanHash {`, new: `if ev.PlanHash == [32]byte{1} {`,
			pkg: downloads, test: "TestConfirmNeedsTheRightEvidence"},
		{name: "evidence not compared",
			why:  "the old eID is revoked although the card holds something else than was issued",
			file: confirm, old: `if got, ok := ev.ReadBack[it.Slot]; !ok || got != it.Certificate {`, new: `if it.Certificate.IsZero() {`,
			pkg: downloads, test: "TestConfirmNeedsTheRightEvidence"},
		{name: "number of certificates read back not compared",
			why:  "a client confirms what nobody planned, or less than was planned",
			file: confirm, old: `if len(ev.ReadBack) != len(items) {`, new: `if len(ev.ReadBack) < len(items) {`,
			pkg: downloads, test: "TestConfirmNeedsTheRightEvidence"},
		{name: "confirmed with the old certificate",
			why:  "nothing proves that the new key is on the card before the old one dies",
			file: confirm, old: `if c.Certificate != confirms {`, new: `if confirms.IsZero() {`,
			pkg: downloads, test: "TestConfirmNeedsTheRightEvidence"},
		{name: "confirmed too late",
			why:  "two good eIDs of one place for as long as the client likes",
			file: confirm, old: `if !now.Before(plan.PendingUntil) {`, new: `if now.IsZero() {`,
			pkg: downloads, test: "TestTimeEndsWhatWaits"},
		{name: "arming not ended by the download",
			why:  "a transport certificate that was armed for one download opens the next",
			file: confirm, old: `if err := disarm(tx, d); err != nil {`, new: `if tx == nil {`,
			pkg: downloads, test: "TestTransportIsArmedForOneDownload"},
	}
}

// ofEnding: what ends must end whole.
func ofEnding() []mutation {
	return []mutation{
		{name: "open download survives its card",
			why:  "the finder of a lost card fetches the eID that was on its way to it",
			file: end, old: `if err := s.endOpen(tx, card, all, e.by); err != nil {`, new: `if all == nil {`,
			pkg: downloads, test: "TestEndedDownloadNeverComesAlive"},
		{name: "standing certificates survive their card",
			why:  "the eIDs of a stolen card stay good",
			file: end, old: `if err := s.retireOnCard(tx, card, meant, e); err != nil {`, new: `if meant == nil {`,
			pkg: downloads, test: "TestEndedDownloadNeverComesAlive"},
		{name: "lapsed download leaves its certificate good",
			why:  "a certificate that nobody confirmed is good to relying parties for years",
			file: end, old: `return issue.Retire(tx.issue(), cert, ca.CessationOfOperation, rule, by, now)`, new: `return nil`,
			pkg: downloads, test: "TestTimeEndsWhatWaits"},
		{name: "ended download leaves its intent open",
			why:  "a signature under way is handed out after the card was reported stolen",
			file: end, old: `if err := issue.Abandon(tx.issue(), in, rule, now); err != nil {`, new: `if in == nil {`,
			pkg: downloads, test: "TestEndedDownloadNeverComesAlive"},
		{name: "open orders survive their card",
			why:  "what was ordered for a stolen card waits for its finder",
			file: end, old: `if err := s.withdraw(tx, o, e.by); err != nil {`, new: `if o == nil {`,
			pkg: downloads, test: "TestEndedDownloadNeverComesAlive"},
		{name: "revoked log-in goes on",
			why:  "who had the PIN of a revoked eID turns it into a new one",
			file: "orders/download/view.go", old: `return s.endOpen(tx, card, begun, by)`, new: `_, _ = card, begun; return nil`,
			pkg: downloads, test: "TestEndedDownloadNeverComesAlive"},
	}
}

// ofRecovery: what was interrupted is presumed to have happened.
func ofRecovery() []mutation {
	return []mutation{
		{name: "recovery left out",
			why:  "the signature of a process that died is good and known to nobody, and its card stays blocked",
			file: "orders/download/recover.go", old: `for _, in := range open {`, new: `for _, in := range open[:0] {`,
			pkg: downloads, test: "TestRecoveryRacesALivingSigner", core: true},
		{name: "recovery takes intents from the living",
			why:  "every restart of one process gives up what the others are signing",
			file: "orders/download/recover.go", old: `if !s.Dead(in.Owner) && s.now().Before(in.Deadline) {`, new: `if s.Dead == nil {`,
			pkg: downloads, test: "TestRecoveryRacesALivingSigner"},
		{name: "failed signature not given up",
			why:  "the signature may exist; its serial is good, and the card waits for its deadline",
			file: submit, old: `errors.Join(fmt.Errorf("signing: %w", err), s.giveUp(context.WithoutCancel(ctx), j.intent))`, new: `fmt.Errorf("signing: %w", err)`,
			pkg: downloads, test: "TestFailingSignerOpensTheCircuit"},
		{name: "refused certificate not given up",
			why:  "a certificate that was signed and not handed out stays good",
			file: submit, old: `if again := s.giveUp(context.WithoutCancel(ctx), j.intent); again != nil {`, new: `if again := error(nil); again != nil {`,
			pkg: downloads, test: "TestEachTransactionLooksForItself"},
		{name: "uncertain record not given up",
			why:  "after a lost answer of the database the holder waits until a deadline has passed",
			file: submit, old: `if j.unknown(err) {`, new: `if false {`,
			pkg: downloads, test: "TestUncertainRecordIsGivenUpAtOnce"},
		{name: "abandoned serial not revoked",
			why:  "the signature that may exist of an abandoned intent is good",
			file: "orders/issue/issue.go", old: `if err := tx.SettleIntent(in.Serial, in.Owner, IntentAbandoned, now); err != nil {`, new: `if err := tx.SettleIntent(in.Serial, in.Owner, IntentAbandoned, now); err != nil || rule != "" {`,
			pkg: downloads, test: "TestRecoveryRacesALivingSigner"},
	}
}
