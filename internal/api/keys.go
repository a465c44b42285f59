package api

import (
	"crypto/x509"
	"fmt"

	"sigill/internal/wire"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/orders/register"
)

func keyAnswer(v download.KeyView, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	k := &wire.Key{Fingerprint: fmt.Sprintf("%x", v.Key), Count: v.Count, Certificates: []wire.Certificate{}}
	if v.Blocked != nil {
		k.Blocked = &wire.Blocked{Cause: v.Blocked.Cause, At: v.Blocked.At}
	}
	for _, c := range v.Certificates {
		k.Certificates = append(k.Certificates, certificateView(c))
	}
	return k, nil
}

func (h *handler) key(c *call) (any, error) {
	key, err := download.ParseKey(c.PathValue("fingerprint"))
	if err != nil {
		return nil, form(err)
	}
	return keyAnswer(h.Downloads.Key(c.Context(), c.caller, key))
}

func (h *handler) compromised(c *call) (any, error) {
	b, err := decode[wire.Compromise](c)
	if err != nil {
		return nil, err
	}
	pub, err := x509.ParsePKIXPublicKey(b.PublicKey)
	if err != nil {
		return nil, form(fmt.Errorf("publicKey: %w", err))
	}
	return keyAnswer(h.Downloads.BlockByProof(c.Context(), c.caller, pub, b.Signature, b.DryRun))
}

func (h *handler) blockKey(c *call) (any, error) {
	document, statements, err := stated(c)
	if err != nil {
		return nil, err
	}
	return keyAnswer(h.Downloads.BlockKey(c.Context(), c.caller, document, statements))
}

func incident(v download.IncidentView) wire.Incident {
	w := wire.Incident{ID: string(v.ID), Kind: v.Kind, Key: fmt.Sprintf("%x", v.Fingerprint), At: v.At, Card: string(v.Card),
		ProvedOn: string(v.ProvedOn), State: "contained", Certificates: []wire.IncidentCertificate{}, Others: v.Others}
	if v.Open {
		w.State = "open"
	}
	for _, c := range v.Certificates {
		w.Certificates = append(w.Certificates, wire.IncidentCertificate{Role: c.Role, Certificate: certificateView(c.CertificateView)})
	}
	return w
}

func (h *handler) incidents(c *call) (any, error) {
	q, n, err := page(c, "after")
	if err != nil {
		return nil, err
	}
	list, err := h.Downloads.Incidents(c.Context(), c.caller, organisation(c), issue.IncidentID(q.Get("after")), register.Page(n))
	if err != nil {
		return nil, err
	}
	out := &wire.Incidents{Incidents: []wire.Incident{}}
	for _, v := range list {
		out.Incidents = append(out.Incidents, incident(v))
	}
	return out, nil
}

func (h *handler) incident(c *call) (any, error) {
	v, err := h.Downloads.Incident(c.Context(), c.caller, issue.IncidentID(c.PathValue("id")))
	if err != nil {
		return nil, err
	}
	w := incident(v)
	return &w, nil
}
