package reconcile

import (
	"slices"
	"testing"

	"sigill/internal/audit"
)

// What a plan says to people: who was erased and is there again, and which mass
// revocations were approved and may not have come to their end.
func TestPlanTells(t *testing.T) {
	act := func(name, field, value string) told {
		return told{Body: &audit.Body{Act: name}, fields: map[string]string{field: value}}
	}
	p := &Plan{ByAct: map[string]int{}}
	p.tell([]told{
		act(audit.RevocationApproved, "revocation", "rev_1"), act(audit.RevocationApproved, "revocation", "rev_2"),
		act(audit.RevocationFinished, "revocation", "rev_1"), act(audit.PersonErased, "person", "per_1"),
		act(audit.RevocationFinished, "revocation", "rev_0"), // approved before the backup
	})
	if !slices.Equal(p.Unfinished, []string{"rev_2"}) || !slices.Equal(p.Again, []string{"per_1"}) || p.ByAct[audit.RevocationFinished] != 2 {
		t.Errorf("the plan tells %+v", p)
	}
}
