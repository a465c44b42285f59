package audit

import (
	"fmt"
	"strconv"
	"time"
)

// Class says how long what is kept of an act is kept.
type Class string

const (
	// Access: who logged in, and what was refused. It shows where people were and
	// what they tried; after [AccessKept] nothing of it is needed.
	Access Class = "access"
	// Records: orders, approvals, certificates, revocations and all that belongs
	// to them, and what rights and CAs rest on. Their bodies hold identifiers and
	// hashes and stay as long as the log; their personal values go.
	Records Class = "records"
)

// ClassOf returns the class of an act. Every act has one: what is not known to be
// of the class that ends first is of the one that ends last, because what was
// erased too late can still be erased.
func ClassOf(act string) Class {
	switch act {
	case LoginAccepted, LoginRefused, RequestRefused, KeyRefused:
		return Access
	}
	return Records
}

// How long what is kept, from when.
const (
	accessMonths = 18
	// recordYears is how long what belongs to a certificate is kept after it has
	// expired.
	recordYears = 10
	// longestYears is how long after an act a certificate that it is about can
	// still be valid: an order waits a year at most, no certificate outlives its
	// issuing CA, and CAs live ten years. One more, because a year is not 366 days.
	longestYears = 12
)

// AccessThrough returns the time before which acts of the class [Access] end.
func AccessThrough(now time.Time) time.Time { return now.UTC().AddDate(0, -accessMonths, 0) }

// AccessUntil returns until when an act of the class [Access] is kept.
func AccessUntil(at time.Time) time.Time { return at.UTC().AddDate(0, accessMonths, 0) }

// ExpiredThrough returns the time before which a certificate must have expired for
// what belongs to it to end.
func ExpiredThrough(now time.Time) time.Time { return now.UTC().AddDate(-recordYears, 0, 0) }

// RecordsThrough returns the time before which personal values of the class
// [Records] end. An event does not say when the last certificate expires that it
// is about, and looking it up would rest on rows that may be erased before: so it
// is its own time, the longest that such a certificate can live after it, and ten
// years. That is never too early.
func RecordsThrough(now time.Time) time.Time {
	return now.UTC().AddDate(-longestYears-recordYears, 0, 0)
}

// KeptUntil returns until when is kept what belongs to a certificate that expires
// at notAfter.
func KeptUntil(notAfter time.Time) time.Time { return notAfter.UTC().AddDate(recordYears, 0, 0) }

// MaxBack is how far the time of an event may be before that of one with a smaller
// number: clocks of several processes, and transactions that were long.
const MaxBack = 5 * time.Minute

// NotBefore returns the time before which nothing was told that comes after an event of
// latest, the newest so far; the zero time of the zero time. It is what is left to know
// of the time of an entry whose body is erased.
func NotBefore(latest time.Time) time.Time {
	if latest.IsZero() {
		return latest
	}
	return latest.Add(-MaxBack)
}

// Erasure is what one act [RetentionErased] says that it erased.
type Erasure struct {
	// What is a [Class], for what is kept of acts, or names rows: certificates,
	// orders, cards, downloads.
	What string
	// Through: all of it was older than this, or had ended before it.
	Through time.Time
	// From and To are the first and the last number of what was erased: numbers of
	// events, for certificates those of the log of certificates; 0: without number.
	From, To int64
	// Count is how many were erased: everything else between From and To was left.
	Count int64
}

// Fields are the public fields of the act.
func (e Erasure) Fields() []Field {
	fields := []Field{{Name: "class", Value: e.What}, {Name: "through", Value: e.Through.UTC().Format(timeForm)}}
	if e.To > 0 {
		fields = append(fields, Field{Name: "from", Value: strconv.FormatInt(e.From, 10)}, Field{Name: "to", Value: strconv.FormatInt(e.To, 10)})
	}
	return append(fields, Field{Name: "count", Value: strconv.FormatInt(e.Count, 10)})
}

// ErasureOf reads what an act says that it erased, and refuses one that erased
// before its time: the bounds above, told by the act's own time.
func ErasureOf(b *Body) (Erasure, error) {
	e, err := readErasure(b)
	if err != nil {
		return e, fmt.Errorf("act %s: %w", RetentionErased, err)
	}
	bound := ExpiredThrough(b.At)
	switch e.What {
	case string(Access):
		bound = AccessThrough(b.At)
	case string(Records):
		bound = RecordsThrough(b.At)
	}
	if e.Through.After(bound) {
		return e, fmt.Errorf("act %s: of %s it erased what was due only after %s", RetentionErased, e.What, bound.Format(time.RFC3339))
	}
	return e, nil
}

func readErasure(b *Body) (e Erasure, err error) {
	if b.Act != RetentionErased {
		return e, fmt.Errorf("it is %s", b.Act)
	}
	for _, f := range b.Public {
		switch f.Name {
		case "class":
			e.What = f.Value
		case "through":
			e.Through, err = time.Parse(timeForm, f.Value)
		case "from":
			e.From, err = strconv.ParseInt(f.Value, 10, 64)
		case "to":
			e.To, err = strconv.ParseInt(f.Value, 10, 64)
		case "count":
			e.Count, err = strconv.ParseInt(f.Value, 10, 64)
		}
		if err != nil {
			return e, err
		}
	}
	if e.What == "" || e.Through.IsZero() || e.Count < 1 || e.From > e.To || e.To > 0 && e.From < 1 || e.To > 0 && e.Count > e.To-e.From+1 {
		return e, fmt.Errorf("it does not say what it erased")
	}
	return e, nil
}
