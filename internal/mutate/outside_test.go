package mutate

const (
	listener = "internal/api/api.go"
	register = "orders/register/service.go"
)

// ofListener: who is let in.
func ofListener() []mutation {
	return []mutation{
		{name: "log-in certificate not looked up",
			why:  "a certificate made with a stolen CA key, or by anybody, logs in",
			file: register, old: `return Caller{}, policy.Login(policy.LoginFacts{Now: now}).Err()`, new: `return Caller{Certificate: fp, Profile: policy.ProfileAuthentication}, nil`,
			pkg: "internal/api", test: "TestWhoCannotLogInIsToldWhy", core: true},
		{name: "row believed without its signature",
			why:  "who can write the database invents a certificate that logs in",
			file: register, old: `if _, err := s.Certificates.Verify(cert); err != nil {`, new: `if err := error(nil); err != nil {`,
			pkg: "orders/register", test: "TestInventedCertificateRowOpensNothing"},
		{name: "pending certificate does more than confirm",
			why:  "an eID that nobody has shown to be on the card acts for its holder",
			file: "policy/login.go", old: `if f.Pending && !f.Confirming {`, new: `if false {`,
			pkg: downloads, test: "TestPendingCertificateOnlyConfirms"},
		{name: "pending certificate lets in everywhere",
			why:  "the one door that a pending certificate opens becomes every door",
			file: listener, old: `r.TLS.PeerCertificates[0].Raw, confirming)`, new: `r.TLS.PeerCertificates[0].Raw, confirming || true)`,
			pkg: "internal/api", test: "TestCardProtocol"},
		{name: "TLS session tickets",
			why:  "a resumed session proves no key: who was revoked goes on, and confirm proves nothing",
			file: listener, old: `c.SessionTicketsDisabled = true`, new: `c.SessionTicketsDisabled = false`,
			pkg: "internal/api", test: "TestEveryConnectionIsAFullHandshake"},
		{name: "resumed session believed",
			why:  "the second lock behind the tickets: a listener that forgot to turn them off",
			file: listener, old: `r.TLS == nil || r.TLS.DidResume ||`, new: `r.TLS == nil ||`,
			pkg: "internal/api", test: "TestHostileConnection"},
		{name: "TLS 1.2",
			why:  "it sends the client's certificate, with name and number, in clear",
			file: listener, old: `c.MinVersion = tls.VersionTLS13`, new: `c.MinVersion = tls.VersionTLS12`,
			pkg: "internal/api", test: "TestHostileConnection"},
		{name: "requests of other sites",
			why:  "any page in the holder's browser blocks the card in the reader",
			file: listener, old: `if err := sites.Check(r); err != nil {`, new: `if err := sites.Check(r); sites == nil {`,
			pkg: "internal/api", test: "TestHostileConnection"},
	}
}

// ofRequests: what is read of a request.
func ofRequests() []mutation {
	return []mutation{
		{name: "JSON read leniently",
			why:  "a proxy or a log reads another request than the one that is carried out",
			file: listener, old: `if err := strictjson.Unmarshal(text, &v); err != nil {`, new: `if err := json.Unmarshal(text, &v); err != nil && strictjson.Unmarshal(text, &v) != nil {`,
			pkg: "internal/api", test: "TestHostileJSON"},
		{name: "any media type",
			why:  "a form on another site's page makes a browser send it with the card",
			file: listener, old: `err != nil || got != want {`, new: `err != nil && got != want {`,
			pkg: "internal/api", test: "TestHostileJSON"},
		{name: "bodies without limit",
			why:  "one client fills the server's memory",
			file: listener, old: `http.MaxBytesReader(w, r.Body, limit)`, new: `http.MaxBytesReader(w, r.Body, limit<<20)`,
			pkg: "internal/api", test: "TestHostileJSON"},
		{name: "refusals not recorded",
			why:  "who tries what is not his leaves no trace",
			file: submit, old: `return s.Register.Keep(ctx, err, c.Name(), fields...)`, new: `_ = fields; return err`,
			pkg: downloads, test: "TestRequestBoundElsewhere"},
		{name: "plan asks for something else than the order",
			why:  "who can write the database chooses what the certificate says",
			file: submit, old: `if !add.Equal(b.ordered) {`, new: `if add.Slot != b.ordered.Slot {`,
			pkg: downloads, test: "TestStoredPlanIsTheSignedOrders"},
	}
}

// ofClient: what the program at the card must not do, whatever the server says.
func ofClient() []mutation {
	const item, fetch, pkg = "internal/cardclient/item.go", "internal/cardclient/fetch.go", "internal/cardclient"
	return []mutation{
		{name: "client deletes the old before confirm",
			why:  "the line is cut, the certificate lapses, and the holder stands without any eID",
			file: fetch, old: "\treturn r.confirm(ctx)\n",
			new: "\tgone := map[string]bool{}\n\tfor _, rm := range r.plan.Removes {\n\t\tgone[rm.Fingerprint] = true\n\t}\n" +
				"\tif _, err := r.remove(ctx, gone, Identity{}); err != nil {\n\t\treturn err\n\t}\n\treturn r.confirm(ctx)\n",
			pkg: pkg, test: "TestLostAnswers", core: true},
		{name: "client does not read back",
			why:  "a card that wrote something else loses its old eID for it",
			file: item, old: `if !bytes.Equal(back, it.Certificate) {`, new: `if bytes.Equal(back, nil) {`,
			pkg: pkg, test: "TestReadBackIsCompared"},
		{name: "client takes another plan than the hash",
			why:  "what the holder is shown is not what is carried out",
			file: fetch, old: `if hex.EncodeToString(r.hash[:]) != d.PlanHash {`, new: `if d.PlanHash == "" {`,
			pkg: pkg, test: "TestBadServer"},
		{name: "client takes another card's plan",
			why:  "a server, or who sits between, moves one holder's download to another's card",
			file: fetch, old: `case string(p.Card) != r.me.Card:`, new: `case p.Card == "":`,
			pkg: pkg, test: "TestBadServer"},
		{name: "client deletes what no plan names",
			why:  "a bad server takes another organisation's eID off the card",
			file: fetch, old: `if !planned[f] {`, new: `if planned == nil {`,
			pkg: pkg, test: "TestBadServer"},
		{name: "client takes any certificate for its key",
			why:  "a certificate that lives longer or names another than was shown is written to the card",
			file: item, old: `case cert.NotAfter.After(add.NotAfter):`, new: `case cert == nil:`,
			pkg: pkg, test: "TestBadServer"},
		{name: "client deletes what it logs in with",
			why:  "the last eID that works is gone before anybody notices that it was the last",
			file: fetch, old: `if !set[f] || string(o.ID) == string(self.ID) {`, new: `if !set[f] || self.ID == nil {`,
			pkg: pkg, test: "TestOwnCertificateStays"},
	}
}
