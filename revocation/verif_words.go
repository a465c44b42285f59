package revocation

import (
	"fmt"

	"sigill/ca"
)

// Cause is what decided a judgement.
type Cause int

// The causes. Those of a status that nobody told are in the order in which they
// weigh: one answer that is not believed weighs more than another that is missing.
const (
	causeNone Cause = iota
	CauseGood
	CauseSoft // nobody told a status, and it was let pass
	CauseNoAddress
	CauseUnreachable
	CauseStale
	CauseUnsupported // a kind of list that is not read here
	CauseUnbelievable
	CauseNotIssued // the responder does not know the certificate
	CauseRevoked
	CauseExpired
	CauseNotYet
	CauseUntrusted
	CauseChain
	CausePolicy
	CauseTwoLevels
	CauseLevel
	CausePurpose
	CauseIdentifier
	CauseNotPromised // by no log that is known
	CauseNotLogged   // or not under enough witnesses' eyes
	CauseFuture
	CausePast // what is said today proves nothing of then
)

// words is a cause for programs and for people: what is so, and what the holder
// or the operator does next.
type words struct {
	name       string
	en, nextEN string
	sv, nextSV string
}

func (c Cause) words() words {
	const askEN, askSV = "Give this transcript to who runs the service.", "Ge det här utdraget till den som driver tjänsten."
	switch c {
	case CauseGood:
		return words{name: "good", en: "The certificate is good.", sv: "Certifikatet är giltigt.", nextEN: "Nothing.", nextSV: "Inget."}
	case CauseSoft:
		return words{name: "soft", en: "The certificate was let pass although its status could not be had.", nextEN: "Operator: see why the status service was not reached. A revoked certificate passes too meanwhile.",
			sv: "Certifikatet släpptes igenom fast spärrstatus inte kunde hämtas.", nextSV: "Driften: se varför spärrtjänsten inte nåddes. Även spärrade certifikat släpps igenom så länge."}
	case CauseNoAddress:
		return words{name: "no-address", en: "The certificate does not say where its status is told.", nextEN: "Operator: give a list of the issuer's by hand, or do not accept certificates of this kind.",
			sv: "Certifikatet anger inte var spärrstatus finns.", nextSV: "Driften: ange utgivarens spärrlista för hand, eller godta inte sådana certifikat."}
	case CauseUnreachable:
		return words{name: "unreachable", en: "The status service could not be reached.", nextEN: "Holder: try again in a while. Operator: see whether the addresses in the steps are reached from this machine (port 80, no proxy in between).",
			sv: "Spärrtjänsten kunde inte nås.", nextSV: "Innehavaren: försök igen om en stund. Driften: se om adresserna i stegen nås från den här maskinen (port 80, ingen proxy emellan)."}
	case CauseStale:
		return words{name: "stale", en: "The status that was had is past its time.", nextEN: "Operator: see whether the clock here is right, whether a proxy keeps old answers, and whether the issuer publishes.",
			sv: "Spärrstatus som hämtades är för gammal.", nextSV: "Driften: se om klockan här går rätt, om en proxy sparar gamla svar och om utgivaren publicerar."}
	case CauseUnsupported:
		return words{name: "unsupported", en: "The issuer tells the status in a way that is not read here.", nextEN: "Operator: the steps say which. Do not accept certificates of this kind, or have the issuer name an OCSP responder.",
			sv: "Utgivaren lämnar spärrstatus på ett sätt som inte läses här.", nextSV: "Driften: stegen visar vilket. Godta inte sådana certifikat, eller be utgivaren ange en OCSP-tjänst."}
	case CauseUnbelievable:
		return words{name: "not-believed", en: "What was answered about the status is not believed.", nextEN: "Operator: the steps say what is wrong with each answer. Somebody between here and the issuer may be changing answers.",
			sv: "Svaret om spärrstatus går inte att lita på.", nextSV: "Driften: stegen visar vad som är fel på varje svar. Någon mellan den här maskinen och utgivaren kan ändra svaren."}
	case CauseNotIssued:
		return words{name: "not-issued", en: "The issuer does not know this certificate.", nextEN: "Operator: do not let the holder in, and tell the issuer: it may be forged.",
			sv: "Utgivaren känner inte till certifikatet.", nextSV: "Driften: släpp inte in innehavaren, och meddela utgivaren: det kan vara förfalskat."}
	case CauseRevoked:
		return words{name: "revoked", en: "The certificate is revoked.", nextEN: "Holder: use your newest eID, or ask your ID administrator for a new one.",
			sv: "Certifikatet är spärrat.", nextSV: "Innehavaren: använd din senaste e-legitimation, eller be din ID-administratör om en ny."}
	}
	return c.wordsOfChain(askEN, askSV)
}

// wordsOfChain has the causes that are settled before any status is asked for.
func (c Cause) wordsOfChain(askEN, askSV string) words {
	const newEN, newSV = "Holder: ask your ID administrator for a new eID.", "Innehavaren: be din ID-administratör om en ny e-legitimation."
	const otherEN, otherSV = "Holder: choose another of your eIDs.", "Innehavaren: välj en annan av dina e-legitimationer."
	const logEN = "Operator: the steps say what is missing. If the log was reached and does not have the certificate, tell the issuer: it may be forged."
	const logSV = "Driften: stegen visar vad som saknas. Om loggen nåddes och inte har certifikatet, meddela utgivaren: det kan vara förfalskat."
	w := map[Cause]words{
		CauseExpired:     {name: "expired", en: "The certificate has expired.", nextEN: newEN, sv: "Certifikatet har gått ut.", nextSV: newSV},
		CauseNotYet:      {name: "not-yet-valid", en: "The certificate is not valid yet.", nextEN: "Operator: see whether the clock here is right.", sv: "Certifikatet gäller inte än.", nextSV: "Driften: se om klockan här går rätt."},
		CauseUntrusted:   {name: "untrusted", en: "The certificate's issuer is not trusted here.", nextEN: "Operator: add the issuer's root to the trust list if its cards shall be taken, and see that the issuing CA's certificate comes along.", sv: "Utgivaren av certifikatet är inte betrodd här.", nextSV: "Driften: lägg till utgivarens rot i listan över betrodda om dess kort ska godtas, och se till att den utfärdande CA:ns certifikat följer med."},
		CauseChain:       {name: "chain", en: "The chain of certificates is not in order.", nextEN: askEN, sv: "Certifikatkedjan är inte i sin ordning.", nextSV: askSV},
		CausePolicy:      {name: "policy", en: "The certificate was not issued under a policy that is demanded here.", nextEN: otherEN, sv: "Certifikatet är inte utfärdat enligt en policy som krävs här.", nextSV: otherSV},
		CauseTwoLevels:   {name: "two-levels", en: "The certificate names two levels of assurance.", nextEN: askEN, sv: "Certifikatet anger två tillitsnivåer.", nextSV: askSV},
		CauseLevel:       {name: "level", en: "The level of assurance is too low.", nextEN: otherEN, sv: "Tillitsnivån är för låg.", nextSV: otherSV},
		CausePurpose:     {name: "purpose", en: "The certificate is for another purpose.", nextEN: otherEN, sv: "Certifikatet är till för något annat.", nextSV: otherSV},
		CauseIdentifier:  {name: "identifier", en: "The certificate has another kind of identifier than is demanded here.", nextEN: otherEN, sv: "Certifikatet har en annan sorts identitet än den som krävs här.", nextSV: otherSV},
		CauseNotPromised: {name: "not-promised", en: "No transparency log that is known here has promised to show the certificate.", nextEN: logEN, sv: "Ingen transparenslogg som är känd här har lovat att visa certifikatet.", nextSV: logSV},
		CauseNotLogged:   {name: "not-logged", en: "It is not proved that the certificate is in a transparency log that witnesses watch.", nextEN: "Holder: try again in a while. " + logEN, sv: "Det är inte bevisat att certifikatet står i en transparenslogg som vittnen bevakar.", nextSV: "Innehavaren: försök igen om en stund. " + logSV},
		CauseFuture:      {name: "future", en: "Nobody can tell of the future.", nextEN: "Ask of another time.", sv: "Ingen kan svara om framtiden.", nextSV: "Fråga om en annan tid."},
		CausePast:        {name: "past", en: "What is said today proves nothing of that time.", nextEN: "Look for an answer or a list that was kept from then.", sv: "Det som sägs i dag bevisar inget om den tiden.", nextSV: "Leta efter ett svar eller en lista som sparats från den tiden."},
	}[c]
	if w.name == "" {
		w = words{name: "none", en: "Nothing was judged.", nextEN: askEN, sv: "Inget har bedömts.", nextSV: askSV}
	}
	return w
}

// String returns the cause's name for programs.
func (c Cause) String() string { return c.words().name }

// Summary tells the judgement in one line, in "sv" or else in English.
func (r Verification) Summary(language string) string {
	w := r.Cause.words()
	if language != "sv" {
		if r.Status == Revoked {
			return fmt.Sprintf("%s It was revoked at %s (%s).", w.en, stamp(r.At), r.Reason)
		}
		return w.en
	}
	if r.Status == Revoked {
		return fmt.Sprintf("%s Det spärrades %s (%s).", w.sv, stamp(r.At), r.Reason)
	}
	return w.sv
}

// Next tells what the holder or the operator does next, in "sv" or else in English.
func (r Verification) Next(language string) string {
	w := r.Cause.words()
	if r.Status == Revoked && (r.Reason == ca.CACompromise || r.Reason == ca.KeyCompromise) {
		if language == "sv" {
			return "Driften: nyckeln har varit i fel händer. Se vad certifikatet användes till efter den tiden. " + w.nextSV
		}
		return "Operator: the key was in the wrong hands. See what the certificate was used for since then. " + w.nextEN
	}
	if language == "sv" {
		return w.nextSV
	}
	return w.nextEN
}
