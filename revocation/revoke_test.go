package revocation_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sigill/ca"
	"sigill/internal/revtest"
	"sigill/revocation"
)

// revokeIn calls Revoke in a transaction.
func revokeIn(s *revtest.Store, e revocation.Entry) (got revocation.Entry, fresh bool, err error) {
	err = s.Update(context.Background(), func(tx *revocation.Tx) (err error) {
		got, fresh, err = revocation.Revoke(tx, e)
		return err
	})
	return got, fresh, err
}

func TestRevoke(t *testing.T) {
	for name, test := range map[string]struct {
		first, second ca.Reason
		version       int
		want          ca.Reason
	}{
		"again":                  {ca.Superseded, ca.Superseded, 1, ca.Superseded},
		"graver":                 {ca.Superseded, ca.KeyCompromise, 2, ca.KeyCompromise},
		"lesser":                 {ca.KeyCompromise, ca.Superseded, 1, ca.KeyCompromise},
		"withdrawn is graver":    {ca.CessationOfOperation, ca.PrivilegeWithdrawn, 2, ca.PrivilegeWithdrawn},
		"compromise is gravest":  {ca.PrivilegeWithdrawn, ca.KeyCompromise, 2, ca.KeyCompromise},
		"withdrawn after it":     {ca.KeyCompromise, ca.PrivilegeWithdrawn, 1, ca.KeyCompromise},
		"ordinary ends are even": {ca.Superseded, ca.AffiliationChanged, 1, ca.Superseded},
		"CA's is as grave":       {ca.CACompromise, ca.KeyCompromise, 1, ca.CACompromise},
	} {
		s := revtest.NewStore(t)
		e := revtest.NewEntry(revtest.Person, 3, test.first)
		e.Version = 77 // ignored
		e.At = revtest.Start.Add(123456789 * time.Nanosecond)
		got, fresh, err := revokeIn(s, e)
		if err != nil || !fresh || got.Version != 1 || !got.At.Equal(revtest.Start) {
			t.Errorf("%s: first = %+v, %v, %v", name, got, fresh, err)
		}
		again := e
		again.At, again.Reason, again.Event, again.Rule = revtest.Start.Add(time.Hour), test.second, "event-2", "card.lost"
		got, fresh, err = revokeIn(s, again)
		if err != nil || fresh != (test.version == 2) || got.Version != test.version || got.Reason != test.want || !got.At.Equal(revtest.Start) {
			t.Errorf("%s: second = %+v, %v, %v", name, got, fresh, err)
		}
		wantRule := map[int]string{1: "confirm.superseded", 2: "card.lost"}[test.version]
		if got.Rule != wantRule || len(s.Entries) != test.version {
			t.Errorf("%s: rule %q, %d entries", name, got.Rule, len(s.Entries))
		}
	}
}

func TestRevokeRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*revocation.Entry){
		"no serial":       func(e *revocation.Entry) { e.Serial = ca.Serial{} },
		"no issuer":       func(e *revocation.Entry) { e.Issuer = "" },
		"no partition":    func(e *revocation.Entry) { e.Partition = -1 },
		"no end":          func(e *revocation.Entry) { e.NotAfter = time.Time{} },
		"no time":         func(e *revocation.Entry) { e.At = time.Time{} },
		"unspecified":     func(e *revocation.Entry) { e.Reason = ca.Unspecified },
		"certificateHold": func(e *revocation.Entry) { e.Reason = 6 },
		"no event":        func(e *revocation.Entry) { e.Event = "" },
	} {
		s := revtest.NewStore(t)
		e := revtest.NewEntry(revtest.Person, 0, ca.Superseded)
		spoil(&e)
		if _, fresh, err := revokeIn(s, e); err == nil || fresh || len(s.Entries) != 0 {
			t.Errorf("%s: %v, %v, %d entries", name, fresh, err, len(s.Entries))
		}
	}
	// A serial is one issuer's: what says otherwise is confused.
	s := revtest.NewStore(t)
	e := s.Revoke(revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	for _, change := range []func(*revocation.Entry){
		func(e *revocation.Entry) { e.Issuer = revtest.Another },
		func(e *revocation.Entry) { e.Partition = 1 },
	} {
		other := e
		other.Reason, other.Event = ca.KeyCompromise, "event-2"
		change(&other)
		if _, _, err := revokeIn(s, other); err == nil || !strings.Contains(err.Error(), "it is revoked as one of") {
			t.Errorf("err = %v", err)
		}
	}
}

type brokenLedger struct{ err error }

func (b brokenLedger) InsertRevocation(revocation.Entry) error { return b.err }
func (b brokenLedger) Revocation(ca.Serial) (revocation.Entry, bool, error) {
	return revocation.Entry{}, false, nil
}

func TestRevokeTellsTheLedgersError(t *testing.T) {
	want := errors.New("disk full")
	_, fresh, err := revocation.Revoke(brokenLedger{want}, revtest.NewEntry(revtest.Person, 0, ca.Superseded))
	if !errors.Is(err, want) || fresh {
		t.Errorf("Revoke = %v, %v", fresh, err)
	}
}

// Whatever is revoked in whatever order: the time never moves, the reason never
// becomes less grave, and versions count from 1 without a gap.
func TestRevokeProperty(t *testing.T) {
	reasons := []ca.Reason{ca.Superseded, ca.CessationOfOperation, ca.AffiliationChanged, ca.PrivilegeWithdrawn, ca.KeyCompromise, ca.CACompromise}
	rapid.Check(t, func(rt *rapid.T) {
		s := revtest.NewStore(t)
		e := revtest.NewEntry(revtest.Person, 0, ca.Superseded)
		var last revocation.Entry
		for i, reason := range rapid.SliceOfN(rapid.SampledFrom(reasons), 1, 8).Draw(rt, "reasons") {
			e.Reason, e.At, e.Event = reason, revtest.Start.Add(time.Duration(i)*time.Hour), "event-"+string(rune('a'+i))
			got, fresh, err := revokeIn(s, e)
			if err != nil {
				rt.Fatal(err)
			}
			if !got.At.Equal(revtest.Start) || revocation.Graver(last.Reason, got.Reason) || revocation.Graver(reason, got.Reason) ||
				got.Version != len(s.Entries) || i > 0 && fresh != revocation.Graver(reason, last.Reason) {
				rt.Fatalf("after %v: %+v, %v", last, got, fresh)
			}
			last = got
		}
	})
}
