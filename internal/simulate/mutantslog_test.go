package simulate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/checkpoint"
	"sigill/internal/service"
	"sigill/internal/tiles"
	"sigill/internal/translog"
)

// growing plants a mistake in the store of the sequencer.
func growing(change func(audit.Trees) audit.Trees) Options {
	return Options{Events: func(next audit.Store) audit.Store {
		return altered[audit.Tx]{next, func(tx *audit.Tx) { tx.Trees = change(tx.Trees) }}
	}}
}

// keeping plants a mistake in the store of the logs.
func keeping(o Options, change func(translog.Records) translog.Records) Options {
	o.Logs = func(next translog.Store) translog.Store {
		return altered[translog.Tx]{next, func(tx *translog.Tx) { tx.Records = change(tx.Records) }}
	}
	return o
}

// impatient does not wait for the log.
type impatient struct{ ca.Log }

func (impatient) Await(context.Context, ca.LogLeaf) error { return nil }

// unkept does not store heads.
type unkept struct{ translog.Records }

func (unkept) PutHead(tiles.Name, translog.Kind, int64, []byte) error { return nil }

// stuck stores the first note that it sees of a tree instead of all others.
type stuck struct {
	translog.Records
	first map[tiles.Name][]byte
}

func (s stuck) PutHead(tree tiles.Name, kind translog.Kind, size int64, note []byte) error {
	if s.first[tree] == nil {
		s.first[tree] = note
	}
	return s.Records.PutHead(tree, kind, size, s.first[tree])
}

// oblivious does not show the heads that were signed.
type oblivious struct{ translog.Records }

func (oblivious) Head(tiles.Name, translog.Kind) ([]byte, error) { return nil, translog.ErrNotFound }

// rewriting changes the first leaf whenever it writes.
type rewriting struct{ audit.Trees }

func (r rewriting) PutTile(tree tiles.Name, level int, n int64, hashes []byte) error {
	if level == 0 {
		hashes = slices.Clone(hashes)
		hashes[0]++
	}
	return r.Trees.PutTile(tree, level, n, hashes)
}

// reversed numbers leaves in another order than that in which the tree has them.
type reversed struct{ audit.Trees }

func (r reversed) NumberLeaves(first int64, leaves []tlog.Hash) error {
	other := slices.Clone(leaves)
	slices.Reverse(other)
	return r.Trees.NumberLeaves(first, other)
}

// lazy grows no tree of acts.
type lazy struct{ audit.Trees }

func (lazy) ActLeaves(int64, int) ([]tlog.Hash, error) { return nil, nil }

// foreign promises in the name of another log.
type foreign struct {
	ca.Log
	other *translog.Service
}

func (f foreign) Promise(ctx context.Context, p ca.PreCert) (ca.Promise, error) {
	return f.other.Promise(ctx, p)
}

func (f foreign) Check(list []byte, p ca.PreCert) (ca.LogLeaf, error) { return f.other.Check(list, p) }

// otherLog is a log that nobody knows.
func otherLog(t *testing.T, b *Base) *translog.Service {
	t.Helper()
	c := translog.Config{Store: altered[translog.Tx]{}, Now: b.now, Pass: func(context.Context) (int, error) { return 0, nil }, Patience: time.Hour}
	for name, to := range map[string]*translog.Keyed{"certificates": &c.Certificates, "acts": &c.Acts} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		log, err := checkpoint.NewLog("other.test/log/"+name, key.Public())
		if err != nil {
			t.Fatal(err)
		}
		*to = translog.Keyed{Log: log, Signer: key}
	}
	s, err := translog.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// logMistakes are those of the logs.
func logMistakes(t *testing.T, b *Base) []mistake {
	other := otherLog(t, b)
	return []mistake{
		{"nobody waits for the log", Options{Wire: func(c *service.Config) { c.Log = impatient{c.Log} }}, `no head of the log covers its leaf`},
		{"heads are signed and not stored", keeping(Options{}, func(r translog.Records) translog.Records { return unkept{r} }), `no head of the log covers its leaf`},
		{"another head is stored than was signed", Options{Logs: func(next translog.Store) translog.Store {
			first := map[tiles.Name][]byte{}
			return altered[translog.Tx]{next, func(tx *translog.Tx) { tx.Records = stuck{tx.Records, first} }}
		}}, `the stored head of the log`},
		{"history is rewritten", keeping(growing(func(r audit.Trees) audit.Trees { return rewriting{r} }), func(r translog.Records) translog.Records { return oblivious{r} }),
			`signed another root of \d+ leaves than its tiles have`},
		{"leaves are numbered in another order", often(growing(func(r audit.Trees) audit.Trees { return reversed{r} }), StoreBusy, StoreRolledBack, NetTwice),
			`signed another root of \d+ leaves than its rows have`},
		{"acts are numbered and not in the tree", growing(func(r audit.Trees) audit.Trees { return lazy{r} }), `the tree of acts has \d+ leaves, and there are \d+ rows`},
		{"the promise is another log's", Options{Wire: func(c *service.Config) { c.Log = foreign{c.Log, other} }}, `the SCT of a certificate`},
	}
}
