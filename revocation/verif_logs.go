package revocation

import (
	"crypto/x509"

	"sigill/revocation/logged"
)

// logs tells what transparency logs promise and prove of the certificate. It comes
// after the status: that a certificate is revoked is what its holder has to know,
// whatever a log lacks.
func (j *judgement) logs(certs []*x509.Certificate) {
	r := &j.result
	q := logged.Question{Certificate: certs[0], Proofs: j.presented.Proofs, Now: j.now, Skew: j.v.Skew}
	if len(certs) > 1 {
		q.Issuer = certs[1]
	}
	demand := j.v.Demand.Log
	if j.v.Fetch != nil && (demand == logged.DemandLogged || j.v.AskLogs) {
		q.Fetch = j.get
	}
	r.Log = j.v.Logs.Judge(j.ctx, q)
	for _, p := range r.Log.Promises {
		j.tell(exchangeOf(p), "transparency log: %s", p)
	}
	if r.Log.Why != "" {
		j.say("transparency log: timestamps in the certificate: %s: %s", r.Log.State, r.Log.Why)
	}
	if r.Status == Good && !r.Log.State.Meets(demand) {
		r.Soft, r.SoftWhy = false, ""
		cause := CauseNotLogged
		if demand == logged.DemandSCT {
			cause = CauseNotPromised
		}
		j.end(cause, "transparency log: %s, which is less than is demanded", r.Log.State)
	}
}

func exchangeOf(p logged.Promise) *Exchange {
	if p.Asked == nil {
		return nil
	}
	x := &Exchange{Kind: FromLog, Address: p.Asked.Address, Took: p.Asked.Took, Octets: p.Asked.Octets}
	if p.Asked.Err != nil {
		x.Error = p.Asked.Err.Error()
	}
	return x
}
