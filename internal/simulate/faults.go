package simulate

import "slices"

// Fault is a kind of thing that goes wrong.
type Fault string

// What goes wrong. Each schedule has its own selection and rates.
const (
	StoreBusy       Fault = "store: not begun"
	StoreRolledBack Fault = "store: rolled back"
	StoreLost       Fault = "store: committed, answer lost"
	StoreUnsure     Fault = "store: not committed, answer lost"
	StoreAgain      Fault = "store: closure run again"
	StoreUnread     Fault = "store: cannot be read"
	StoreFull       Fault = "store: disk full for a while"

	SignRefused Fault = "signer: refuses"
	SignLost    Fault = "signer: signed, answer lost"
	SignSlow    Fault = "signer: slow, past its deadline"

	LogRefused Fault = "log: its key refuses"
	LogSlow    Fault = "log: its key is slow"

	ServerKilled Fault = "server: killed"

	CardPulledBefore Fault = "card: pulled before"
	CardPulledAfter  Fault = "card: pulled after"
	CardWriteFails   Fault = "card: write fails"
	CardWriteTorn    Fault = "card: certificate half written"
	CardDeleteFails  Fault = "card: delete fails"
	CardDeleteHalf   Fault = "card: key deleted, certificate left"
	CardKeyHalf      Fault = "card: public key without private key"
	CardKeyCopied    Fault = "card: has a copy of another card's key"
	CardWrongPIN     Fault = "card: wrong PIN"
	CardShared       Fault = "card: two clients at once"

	ClientKilled Fault = "client: killed"

	NetRequestLost Fault = "network: request lost"
	NetAnswerLost  Fault = "network: answer lost"
	NetTwice       Fault = "network: request twice"
	NetDelayed     Fault = "network: request delayed"

	ClockSeconds Fault = "clock: seconds on"
	ClockHour    Fault = "clock: an hour on"
	ClockDay     Fault = "clock: days on"
	ClockMonths  Fault = "clock: months on"
	ClockBack    Fault = "clock: back"

	HolderDeclines Fault = "holder: declines the plan"
	HolderAbandons Fault = "holder: abandons"
	HolderReports  Fault = "holder: reports the card lost"
	HolderSlow     Fault = "holder: thinks for hours"

	OperatorOutage Fault = "operator: outage of issuing"

	AdminAbandons  Fault = "administrator: abandons"
	AdminWithdraws Fault = "administrator: withdraws"
	AdminBlocks    Fault = "administrator: blocks the card"
	AdminRevokes   Fault = "administrator: revokes"
	AdminEnds      Fault = "administrator: ends the assignment"
	AdminSwitches  Fault = "administrator: signing certificates off and on"
	AdminEdits     Fault = "administrator: directory changed"
)

// typical is how often a fault strikes, where it is in a schedule at all: of the
// points where it could.
var typical = map[Fault]float64{
	StoreBusy: .02, StoreRolledBack: .02, StoreLost: .02, StoreUnsure: .02, StoreAgain: .05, StoreUnread: .01, StoreFull: .004,
	SignRefused: .08, SignLost: .08, SignSlow: .15, LogRefused: .03, LogSlow: .03, ServerKilled: .025,
	CardPulledBefore: .015, CardPulledAfter: .015, CardWriteFails: .1, CardWriteTorn: .1, CardDeleteFails: .15, CardDeleteHalf: .15, CardKeyHalf: .12, CardKeyCopied: .06,
	CardWrongPIN: .05, CardShared: .3, ClientKilled: .008,
	NetRequestLost: .03, NetAnswerLost: .03, NetTwice: .05, NetDelayed: .04,
	ClockSeconds: .02, ClockHour: .004, ClockDay: .0015, ClockMonths: .0006, ClockBack: .01,
	HolderDeclines: .1, HolderAbandons: .08, HolderReports: .02, HolderSlow: .08,
	OperatorOutage: .1, AdminAbandons: .1, AdminWithdraws: .08, AdminBlocks: .03, AdminRevokes: .04, AdminEnds: .02, AdminEdits: .1, AdminSwitches: .05,
}

// Faults returns every kind, in a fixed order.
func Faults() []Fault {
	all := make([]Fault, 0, len(typical))
	for f := range typical {
		all = append(all, f)
	}
	slices.Sort(all)
	return all
}

// chooseFaults draws what goes wrong in this schedule. Few kinds at once, often
// each, find more than all kinds seldom: a disk that is always full hides what a
// lost answer does.
func (s *Sim) chooseFaults() {
	if s.Rates != nil {
		s.rates = s.Rates
		return
	}
	s.rates = map[Fault]float64{}
	share := []float64{0, .15, .3, .3, .5, .8}[s.rng.IntN(6)]
	for _, f := range Faults() {
		rate := typical[f] * []float64{.3, 1, 1, 3}[s.rng.IntN(4)]
		if s.chance(share) {
			s.rates[f] = min(rate, .6)
		}
	}
}

// draw returns one of the kinds if its time has come, else none.
func (s *Sim) draw(kinds ...Fault) Fault {
	for _, f := range kinds {
		if s.drawAt(f) {
			return f
		}
	}
	return ""
}

func (s *Sim) drawAt(f Fault) bool {
	if s.calm || s.closing || s.rates[f] == 0 || !s.chance(s.rates[f]) {
		return false
	}
	s.counts[f]++
	s.note("fault", string(f))
	return true
}
