package world

import (
	"crypto"
	"crypto/ecdsa"
	"fmt"
	"time"

	"sigill/internal/service"
	"sigill/orders/issue"
)

// Over returns a world whose hands work on services that somebody else has wired: those
// of an installation, whose two officers and whose bureau, called "bureau", are given.
// The ceremony has not begun; what makes services anew ([World.Restart], [World.Process],
// [World.Fork], [World.Plant]) is not for it.
func Over(s *service.Services, issuers issue.Issuers, bureau *ecdsa.PrivateKey, officers [2]crypto.Signer, certs [2]*issue.Certificate, now func() time.Time) *World {
	w := &World{Services: s, Issuers: issuers, Now: now, bureau: bureau}
	for i := range officers {
		w.officers[i] = &identity{name: fmt.Sprintf("officer:%d", i+1), key: officers[i], cert: certs[i]}
	}
	return w
}

// On is the same people before the services of another process, or of the same
// installation when its database was restored: what holders have on their cards stays.
func (w *World) On(s *service.Services, issuers issue.Issuers) { w.Services, w.Issuers = s, issuers }
