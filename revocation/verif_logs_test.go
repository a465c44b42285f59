package revocation_test

import (
	"crypto/x509"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/checkpoint"
	"sigill/internal/revtest"
	"sigill/revocation"
	"sigill/revocation/logged"
	"sigill/revocation/transcript"
)

// watched is a web with a log and two witnesses. The certificate is promised in it,
// and its leaf is the only one.
type watched struct {
	*web
	log    *revtest.Log
	w1, w2 *checkpoint.Cosigner
	proofs string // its address
}

func newWatched(t *testing.T) *watched {
	w := &watched{web: newWeb(t), log: revtest.NewLog(t, "status.example.test/log/certificates"), w1: revtest.NewCosigner(t, "one.example"), w2: revtest.NewCosigner(t, "two.example")}
	w.promise()
	var err error
	w.v.Logs, err = logged.New(logged.Config{Logs: []logged.Log{{Log: w.log.Log}}, Witnesses: []checkpoint.Witness{w.w1.Witness(), w.w2.Witness()}, Quorum: 1})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watched) promise() {
	w.t.Helper()
	pre := revtest.PreCert{TBS: w.leaf.RawTBSCertificate, Issuer: w.inner.Cert, At: revtest.Start.Add(-time.Hour)}
	w.leaf = revtest.Embed(w.t, w.leaf, w.inner.Key, revtest.SCTList(w.t, revtest.Octets(w.t, w.log.SCT(pre))))
	leaf := pre.Leaf(w.t)
	w.log.Add(leaf)
	w.proofs = "http://status.example.test/log/certificates/proof/" + hex.EncodeToString(leaf[:])
}

// proof is that of the leaf, cosigned by these.
func (w *watched) proof(who ...*checkpoint.Cosigner) []byte {
	return w.log.Proof(0, w.log.Head(revtest.Start, who...))
}

func (w *watched) presented(proofs ...[]byte) revocation.Verification {
	w.t.Helper()
	return w.v.Judge(w.t.Context(), revocation.Presented{Certificate: w.leaf, Issuers: []*x509.Certificate{w.inner.Cert}, Proofs: proofs})
}

func TestVerifyLogDemands(t *testing.T) {
	for _, c := range []struct {
		name   string
		demand logged.Demand
		proofs func(w *watched) [][]byte
		status revocation.Status
		cause  revocation.Cause
		state  logged.State
	}{
		{"nothing demanded", logged.DemandNone, nil, revocation.Good, revocation.CauseGood, logged.Promised},
		{"nothing demanded, proved", logged.DemandNone, func(w *watched) [][]byte { return [][]byte{w.proof(w.w2)} }, revocation.Good, revocation.CauseGood, logged.Logged},
		{"a promise", logged.DemandSCT, nil, revocation.Good, revocation.CauseGood, logged.Promised},
		{"a promise is no proof", logged.DemandLogged, nil, revocation.Unknown, revocation.CauseNotLogged, logged.Promised},
		{"proof that nobody has seen", logged.DemandLogged, func(w *watched) [][]byte { return [][]byte{w.proof()} }, revocation.Unknown, revocation.CauseNotLogged, logged.Included},
		{"proof", logged.DemandLogged, func(w *watched) [][]byte { return [][]byte{w.proof(w.w1)} }, revocation.Good, revocation.CauseGood, logged.Logged},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWatched(t)
			w.v.Demand.Log = c.demand
			var proofs [][]byte
			if c.proofs != nil {
				proofs = c.proofs(w)
			}
			got := w.presented(proofs...)
			w.want(got, c.status, c.cause)
			if got.Log.State != c.state {
				t.Errorf("%q, want %q: %+v", got.Log.State, c.state, got.Log)
			}
		})
	}
}

// Who demands what cannot be checked gets nothing.
func TestVerifyLogDemandsWithoutLogs(t *testing.T) {
	for _, demand := range []logged.Demand{logged.DemandSCT, logged.DemandLogged} {
		w := newWatched(t)
		w.v.Demand.Log, w.v.Logs = demand, nil
		got := w.presented(w.proof(w.w1))
		if got.Status != revocation.Unknown || got.Log.State != logged.Unchecked {
			t.Errorf("no log known: %s, %q", got.Status, got.Log.State)
		}
		plain := newWeb(t)
		plain.v.Demand.Log = demand
		if got := plain.judge(); got.Status != revocation.Unknown || got.Log.State != logged.Absent {
			t.Errorf("no timestamps: %s, %q", got.Status, got.Log.State)
		}
	}
	plain := newWeb(t)
	plain.want(plain.judge(), revocation.Good, revocation.CauseGood)
}

// A proof is fetched where it is demanded or asked for, and told with the exchange.
func TestVerifyLogFetches(t *testing.T) {
	w := newWatched(t)
	w.crl[w.proofs] = w.proof(w.w1)
	w.presented()
	for _, address := range w.fetched {
		if strings.Contains(address, "/proof/") {
			t.Errorf("fetched %s, which nobody wanted", address)
		}
	}
	w.v.Demand.Log = logged.DemandLogged
	got := w.presented()
	w.want(got, revocation.Good, revocation.CauseGood)
	var told *revocation.Exchange
	for _, step := range got.Steps {
		if step.Exchange != nil && step.Exchange.Kind == revocation.FromLog {
			told = step.Exchange
		}
	}
	if told == nil || told.Address != w.proofs || told.Octets == 0 || told.Error != "" {
		t.Errorf("told %+v", told)
	}
	// Also where only shown.
	other := newWatched(t)
	other.v.AskLogs = true
	got = other.presented()
	other.want(got, revocation.Good, revocation.CauseGood)
	if said := text(got); !strings.Contains(said, "proved nothing: connection refused") {
		t.Error(said)
	}
	// And it closes who demands it, though nobody answers may pass for a status.
	other.v.Demand.Log, other.v.Open = logged.DemandLogged, revocation.Open{Unreachable: true, Stale: true}
	other.want(other.presented(), revocation.Unknown, revocation.CauseNotLogged)
	other.noOCSP()
	delete(other.crl, leafList)
	if got := other.presented(); got.Status != revocation.Unknown || got.Soft || got.SoftWhy != "" {
		t.Errorf("%+v", got)
	}
}

// Chain and status are what they are without a log: a revoked certificate is revoked,
// whatever is demanded and proved.
func TestVerifyLogComesLast(t *testing.T) {
	for _, demand := range []logged.Demand{logged.DemandNone, logged.DemandLogged} {
		w := newWatched(t)
		w.v.Demand.Log = demand
		e := revtest.NewEntry(revtest.Person, 3, ca.KeyCompromise)
		e.Serial = w.serial
		w.Revoke(e)
		for _, proofs := range [][][]byte{nil, {w.proof(w.w1)}} {
			got := w.presented(proofs...)
			w.want(got, revocation.Revoked, revocation.CauseRevoked)
			if got.Log.State == "" {
				t.Error("nothing is told of the log")
			}
		}
	}
	w := newWatched(t)
	w.v.Roots = nil
	if got := w.presented(w.proof(w.w1)); got.Cause != revocation.CauseUntrusted || got.Log.State != "" {
		t.Errorf("%s, %q", got.Cause, got.Log.State)
	}
}

// Who has the key of the CA and the key of its log makes a certificate with a timestamp
// that verifies. The CA does not know it, and no witness has seen it.
func TestVerifyBothKeysStolen(t *testing.T) {
	w := newWatched(t)
	w.leaf, w.log.Size = w.inner.Leaf(t, ca.NewSerial().Int(), 3), 0
	thief := revtest.NewLog(t, w.log.Origin())
	thief.Log, thief.Key = w.log.Log, w.log.Key
	w.log = thief
	w.promise()
	got := w.presented(w.proof())
	w.want(got, revocation.Unknown, revocation.CauseNotIssued)
	if got.Log.State != logged.Included {
		t.Errorf("%q", got.Log.State)
	}
	// Lists cannot have what nobody knows: there only the demand for proof helps.
	w.v.Sources = revocation.CRLOnly
	for demand, cause := range map[logged.Demand]revocation.Cause{logged.DemandNone: revocation.CauseGood, logged.DemandSCT: revocation.CauseGood, logged.DemandLogged: revocation.CauseNotLogged} {
		w.v.Demand.Log = demand
		if got := w.presented(w.proof()); got.Cause != cause {
			t.Errorf("demand %d: %s", demand, got.Cause)
		}
	}
}

func TestVerifyLogTranscript(t *testing.T) {
	w := newWatched(t)
	w.v.Demand.Log = logged.DemandLogged
	p := revocation.Presented{Certificate: w.leaf, Issuers: []*x509.Certificate{w.inner.Cert}}
	told := transcript.Text(w.v.Judge(t.Context(), p), p, revtest.Start, transcript.Options{Language: "sv"})
	for _, want := range []string{"log:         sct (status.example.test/log/certificates)", "transparency log: status.example.test/log/certificates promised at 2026-03-14T08:26:53Z to show the certificate; that it does is not proved: the log at http://status.example.test/log/certificates proved nothing: connection refused",
		"asked        " + w.proofs, "verdict:     UNKNOWN. Det är inte bevisat att certifikatet står i en transparenslogg som vittnen bevakar.", "next:        Innehavaren: försök igen om en stund."} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not in\n%s", want, told)
		}
	}
	p.Proofs = [][]byte{w.proof(w.w1, w.w2)}
	told = transcript.Text(w.v.Judge(t.Context(), p), p, revtest.Start, transcript.Options{})
	for _, want := range []string{"log:         logged (status.example.test/log/certificates)", "entry 0 of 1 under the tree head of 2026-03-14T09:26:53Z, cosigned by one.example, two.example (proof presented)", "verdict:     GOOD."} {
		if !strings.Contains(told, want) {
			t.Errorf("%q is not in\n%s", want, told)
		}
	}
}

// A log that answers more than is read proves nothing, and that is told.
func TestVerifyLogUnread(t *testing.T) {
	w := newWatched(t)
	w.v.Demand.Log = logged.DemandLogged
	w.crl[w.proofs] = make([]byte, 1<<20)
	got := w.presented()
	w.want(got, revocation.Unknown, revocation.CauseNotLogged)
	if !strings.Contains(text(got), "proof: more than") {
		t.Error(text(got))
	}
}
