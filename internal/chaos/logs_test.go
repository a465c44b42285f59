//go:build unix && cgo

package chaos

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/google/certificate-transparency-go/ctutil"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/google/certificate-transparency-go/x509util"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"sigill/internal/checkpoint"
	"sigill/internal/config"
	"sigill/internal/stage"
	"sigill/policy"
)

// rowsOf are the leaves of each log as the rows have them, with the body for the acts.
var rowsOf = map[string]string{
	"acts":         `SELECT number, leaf, body FROM events WHERE number IS NOT NULL ORDER BY number`,
	"certificates": `SELECT number, leaf, NULL FROM log_leaves WHERE number IS NOT NULL ORDER BY number`,
}

// logs is what somebody outside knows of the installation's logs: their keys, and every
// head that was shown.
type logs struct {
	status string
	known  map[string]*checkpoint.Log
	heads  map[string][]checkpoint.Checkpoint
}

// openLogs learns the logs' names and keys as an auditor does.
func openLogs(c *chaos) *logs {
	c.t.Helper()
	cfg, err := config.Load(c.Dir)
	c.Must(err)
	l := &logs{status: "http://" + cfg.Listen.Status, known: map[string]*checkpoint.Log{}, heads: map[string][]checkpoint.Checkpoint{}}
	out := stage.Run(c.t, stage.Command(programs.Sigill(c.t), "log", "show", "--json", "--dir", c.Dir)).Want(c.t, 0, "sigill log show").Out
	var shown map[string]struct{ Origin, PublicKey string }
	c.Must(json.Unmarshal([]byte(out), &shown))
	for tree := range rowsOf {
		l.known[tree], err = checkpoint.ReadLog(shown[tree].Origin, []byte(shown[tree].PublicKey))
		c.Must(err)
	}
	return l
}

// get asks the status listener.
func (l *logs) get(path string) ([]byte, error) {
	resp, err := http.Get(l.status + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return body, err
}

// look takes the newest heads: after each start there is at least what was shown before.
func (l *logs) look(c *chaos) {
	c.t.Helper()
	for tree, log := range l.known {
		note, err := l.get("/log/" + tree + "/checkpoint")
		c.Must(err)
		head, err := log.Open(note)
		c.Must(err)
		if all := l.heads[tree]; len(all) > 0 {
			if last := all[len(all)-1]; head.Size < last.Size || head.Time.Before(last.Time) {
				c.t.Errorf("the log of %s went back: from %d leaves at %s to %d at %s", tree, last.Size, last.Time, head.Size, head.Time)
			}
		}
		l.heads[tree] = append(l.heads[tree], head)
	}
}

// continued builds each tree from its rows, by other code than the server's: they are
// what every head said that was ever shown.
func (l *logs) continued(c *chaos) {
	c.t.Helper()
	for tree, query := range rowsOf {
		leaves := c.db.leaves(c.t, query)
		heads, at := l.heads[tree], 0
		factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
		grown := factory.NewEmptyRange(0)
		for n := 0; ; n++ {
			for ; at < len(heads) && heads[at].Size == int64(n); at++ {
				root := tlog.Hash(sha256.Sum256(nil))
				if n > 0 {
					octets, err := grown.GetRootHash(nil)
					c.Must(err)
					root = tlog.Hash(octets)
				}
				if root != heads[at].Root {
					c.t.Errorf("the log of %s showed another root of %d leaves than its rows have", tree, n)
				}
			}
			if n == len(leaves) {
				break
			}
			c.Must(grown.Append(leaves[n][:], nil))
		}
		if at < len(heads) {
			c.t.Errorf("the log of %s showed a head of %d leaves, and has %d", tree, heads[at].Size, len(leaves))
		}
		c.t.Logf("the log of %s: %d leaves, %d heads were seen", tree, len(leaves), len(heads))
	}
}

// has demands that a log proves a certificate, to who has nothing but its key: the
// promise in the certificate, the leaf that follows from it, and the way to a signed head.
func (l *logs) has(c *chaos, card string, slot policy.Slot, der []byte, issuer *x509.Certificate) {
	c.t.Helper()
	leaf, err := l.promised(der, issuer)
	if err != nil {
		c.t.Errorf("card %s: the promise in the %s certificate: %v", card, slot, err)
		return
	}
	text, err := l.get("/log/certificates/proof/" + hex.EncodeToString(leaf[:]))
	if err != nil {
		c.t.Errorf("card %s: the %s certificate is not in the log: %v", card, slot, err)
		return
	}
	p, err := checkpoint.ParseProof(text)
	c.Must(err)
	if _, _, err := p.Verify(l.known["certificates"], leaf, nil); err != nil {
		c.t.Errorf("card %s: the %s certificate is not proved: %v", card, slot, err)
	}
}

func (l *logs) promised(der []byte, issuer *x509.Certificate) (leaf [32]byte, err error) {
	chain := make([]*ctx509.Certificate, 2)
	for i, b := range [][]byte{der, issuer.Raw} {
		if chain[i], err = ctx509.ParseCertificate(b); err != nil {
			return leaf, err
		}
	}
	public, err := ctx509.ParsePKIXPublicKey(l.known["certificates"].SPKI())
	if err != nil {
		return leaf, err
	}
	all, err := x509util.ParseSCTsFromSCTList(&chain[0].SCTList)
	if err != nil || len(all) != 1 {
		return leaf, fmt.Errorf("%d are there: %w", len(all), err)
	}
	if err := ctutil.VerifySCT(public, chain, all[0], true); err != nil {
		return leaf, err
	}
	return ctutil.LeafHash(chain, all[0], true)
}
