package world

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"time"

	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/translog"
)

// NewLog returns logs with keys in memory over a store, and the sequencer that they need.
// patience is how long a leaf may take.
func NewLog(acts audit.Store, logs translog.Store, now func() time.Time, patience time.Duration) (*audit.Sequencer, *translog.Service, error) {
	c := translog.Config{Store: logs, Now: now, Patience: patience}
	for _, each := range []struct {
		name string
		to   *translog.Keyed
	}{{"certificates", &c.Certificates}, {"acts", &c.Acts}} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		log, err := checkpoint.NewLog("world.test/log/"+each.name, key.Public())
		if err != nil {
			return nil, nil, err
		}
		*each.to = translog.Keyed{Log: log, Signer: key}
	}
	q := &audit.Sequencer{Store: acts}
	s, err := translog.Attach(q, c)
	return q, s, err
}
