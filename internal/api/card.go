package api

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"sigill/ca"
	"sigill/internal/audit"
	"sigill/internal/wire"
	"sigill/orders"
	"sigill/orders/download"
	"sigill/orders/issue"
	"sigill/policy"
)

func (h *handler) me(c *call) (any, error) {
	v, err := h.Downloads.Overview(c.Context(), c.caller)
	if err != nil {
		return nil, err
	}
	me := &wire.Me{Card: string(v.Card.Number), CardState: string(v.Card.State), Product: v.Card.Product,
		CardExpires: v.Card.ExpiresAt, Name: v.Person.GivenName + " " + v.Person.Surname,
		LoggedInWith: string(c.caller.Profile), LoA: int(c.caller.LoA), EIDs: h.eids(v), PIN2: string(policy.PIN2Unknown), Offers: []wire.Offer{}, MinClient: h.MinClient}
	if p, ok := h.Register.Products[v.Card.Product]; ok {
		me.PIN2 = string(p.PIN2)
	}
	for _, o := range v.Offers {
		me.Offers = append(me.Offers, wire.Offer{Order: string(o.ID), Type: string(o.Type), Organisation: v.Organisations[o.Organisation].Name,
			IDKind: string(o.IDKind), LoA: int(o.LoA), ExpiresAt: o.ExpiresAt})
	}
	me.Notice = h.notice(c.Request)
	if v.Open != nil {
		me.Open = h.download(v.Open)
	}
	return me, nil
}

// eids groups certificates by the eID they belong to.
func (h *handler) eids(v *download.Overview) []wire.EID {
	list := []wire.EID{}
	index := map[issue.Place]int{}
	for _, cert := range v.Certificates {
		if cert.Slot == policy.Transport {
			continue
		}
		place := issue.Place{Organisation: cert.Organisation, IDKind: cert.IDKind}
		i, ok := index[place]
		if !ok {
			i = len(list)
			index[place] = i
			list = append(list, wire.EID{Organisation: v.Organisations[cert.Organisation].Name, IDKind: string(cert.IDKind)})
		}
		e := &list[i]
		e.Certificates = append(e.Certificates, certificateView(cert))
		if cert.Slot == policy.Authentication && e.State != string(download.StateCurrent) {
			// Oldest first: the last one tells, but nothing stands above current.
			e.State, e.LoA, e.Identifier = string(cert.State), int(cert.LoA), identifier(cert)
			e.SigningAllowed = cert.State == download.StateCurrent && v.Organisations[cert.Organisation].SigningAllowed
		}
	}
	return list
}

// identifier is what an eID carries of its holder: an HSA-id, or a personnummer
// with its last digits hidden.
func identifier(v download.CertificateView) string {
	cert, err := x509.ParseCertificate(v.DER)
	if err != nil {
		return ""
	}
	if v.IDKind == policy.ByPersonNumber {
		return policy.PersonNumber(cert.Subject.SerialNumber).String()
	}
	return cert.Subject.SerialNumber
}

func certificateView(v download.CertificateView) wire.Certificate {
	c := wire.Certificate{Serial: v.Serial.String(), Fingerprint: v.Fingerprint.String(), Issuer: string(v.Issuer),
		Profile: string(v.Profile), Slot: string(v.Slot), State: string(v.State), NotBefore: v.NotBefore, NotAfter: v.NotAfter, DER: v.DER}
	if !v.RevokedAt.IsZero() {
		c.Reason, c.RevokedAt = v.Reason.String(), v.RevokedAt
	}
	return c
}

func (h *handler) download(st *download.State) *wire.Download {
	d := &wire.Download{ID: string(st.Download.ID), Order: string(st.Download.Order), State: string(st.Download.State),
		Plan: st.Download.Plan, PlanHash: hex.EncodeToString(st.Download.PlanHash[:]), Remove: []string{}}
	for _, it := range st.Items {
		item := wire.Item{Slot: string(it.Slot), State: string(it.State)}
		if it.State == policy.ItemPlanned {
			item.Challenge, item.ChallengeExpires = it.Challenge[:], it.ChallengeExpires
		}
		if cert := st.Certificates[it.Slot]; cert != nil {
			item.Certificate, item.Issuer = cert.DER, h.IssuerCertificate(string(cert.Issuer))
		}
		d.Items = append(d.Items, item)
	}
	for _, fp := range st.Remove {
		d.Remove = append(d.Remove, fp.String())
	}
	return d
}

func (h *handler) answer(st *download.State, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return h.download(st), nil
}

// newEnough refuses a card program that says of itself that it is too old. It
// protects nobody from a program that lies; it keeps a download from being begun,
// or a key from being certified, by one whose faults are known.
func (h *handler) newEnough(c *call) error {
	version, ok := strings.CutPrefix(c.UserAgent(), wire.CardAgent)
	version, _, _ = strings.Cut(version, " ")
	if ok && wire.Older(version, h.MinClient) {
		return policy.Refuse(policy.ClientVersion, "this is sigill-card %s, %s or newer is served", version, h.MinClient).Err()
	}
	return nil
}

func (h *handler) begin(c *call) (any, error) {
	b, err := decode[wire.Begin](c)
	if err != nil {
		return nil, err
	}
	if err := h.newEnough(c); err != nil {
		return nil, err
	}
	if (b.Order == "") != b.Signing || b.Signing && b.WithoutSigning {
		return nil, form(errors.New("begin names an order, or signing"))
	}
	return h.answer(h.Downloads.Begin(c.Context(), c.caller, download.Cause{Order: policy.OrderID(b.Order), WithoutSigning: b.WithoutSigning}))
}

func downloadID(c *call) policy.DownloadID { return policy.DownloadID(c.PathValue("id")) }

func (h *handler) show(c *call) (any, error) {
	st, err := h.Downloads.Show(c.Context(), c.caller, downloadID(c))
	return h.installed(c, st, err)
}

func (h *handler) item(c *call, st *download.State, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	for _, it := range h.download(st).Items {
		if it.Slot == c.PathValue("slot") {
			return it, nil
		}
	}
	return nil, errNoRoute
}

func (h *handler) challenge(c *call) (any, error) {
	st, err := h.Downloads.Challenge(c.Context(), c.caller, downloadID(c), policy.Slot(c.PathValue("slot")))
	return h.item(c, st, err)
}

func (h *handler) submit(c *call) (any, error) {
	b, err := decode[wire.Submit](c)
	if err != nil {
		return nil, err
	}
	if err := h.newEnough(c); err != nil {
		return nil, err
	}
	st, err := h.Downloads.Submit(c.Context(), c.caller, downloadID(c), policy.Slot(c.PathValue("slot")), b.CSR)
	return h.item(c, st, err)
}

func (h *handler) confirm(c *call) (any, error) {
	b, err := decode[wire.Confirm](c)
	if err != nil {
		return nil, err
	}
	ev := download.Evidence{ReadBack: map[policy.Slot]ca.Fingerprint{}}
	hash, err := hex.DecodeString(b.PlanHash)
	if err != nil || len(hash) != len(ev.PlanHash) {
		return nil, policy.Refuse(policy.RequestForm, "planHash is not a SHA-256").Err()
	}
	copy(ev.PlanHash[:], hash)
	for slot, text := range b.ReadBack {
		if ev.ReadBack[policy.Slot(slot)], err = ca.ParseFingerprint(text); err != nil {
			return nil, policy.Refuse(policy.RequestForm, "readBack: %s", err).Err()
		}
	}
	st, err := h.Downloads.Confirm(c.Context(), c.caller, downloadID(c), ev)
	return h.installed(c, st, err)
}

func (h *handler) removed(c *call) (any, error) {
	b, err := decode[wire.Removed](c)
	if err != nil {
		return nil, err
	}
	var list []ca.Fingerprint
	for _, text := range b.Fingerprints {
		fp, err := ca.ParseFingerprint(text)
		if err != nil {
			return nil, policy.Refuse(policy.RequestForm, "fingerprints: %s", err).Err()
		}
		list = append(list, fp)
	}
	return struct{}{}, h.Downloads.Cleaned(c.Context(), c.caller, downloadID(c), list)
}

func (h *handler) abandon(c *call) (any, error) {
	return struct{}{}, h.Downloads.Abandon(c.Context(), c.caller, downloadID(c))
}

func (h *handler) abandonOfCard(c *call) (any, error) {
	number, err := policy.ParseCardNumber(c.PathValue("number"))
	if err != nil {
		return nil, form(err)
	}
	id, err := h.Downloads.AbandonOfCard(c.Context(), c.caller, number)
	if err != nil {
		return nil, err
	}
	return wire.Abandoned{Download: string(id)}, nil
}

func (h *handler) blockOwn(c *call) (any, error) { return h.report(c, c.caller.Card) }

func (h *handler) block(c *call) (any, error) {
	number, err := policy.ParseCardNumber(c.PathValue("number"))
	if err != nil {
		return nil, form(err)
	}
	return h.report(c, number)
}

func (h *handler) report(c *call, number policy.CardNumber) (any, error) {
	b, err := decode[wire.Block](c)
	if err != nil {
		return nil, err
	}
	if b.Reason != "lost" && b.Reason != "stolen" {
		return nil, form(fmt.Errorf("reason is lost or stolen"))
	}
	if err := h.Downloads.BlockCard(c.Context(), c.caller, number, b.Reason); err != nil {
		return nil, err
	}
	return &wire.Done{Receipted: h.receipted(c, audit.EventID(audit.CardBlocked, string(number)))}, nil
}

func order(o *orders.Order) *wire.Order {
	return &wire.Order{ID: string(o.ID), Type: string(o.Type), Organisation: string(o.Organisation), Person: string(o.Person),
		Card: string(o.Card), IDKind: string(o.IDKind), LoA: int(o.LoA), State: string(o.State), PlacedBy: string(o.PlacedBy),
		PlacedAt: o.PlacedAt, ExpiresAt: o.ExpiresAt, Document: o.Bytes}
}
