package mutate

const (
	listener = "internal/api"
	register = "orders/register"
	policies = "policy"
)

// ofListener: who is let in.
func ofListener() []mutation {
	return []mutation{
		{name: "log-in certificate not looked up",
			why: "a certificate made with a stolen CA key, or by anybody, logs in",
			in:  register, old: `return Caller{}, policy.Login(policy.LoginFacts{Now: now}).Err()`, new: `return Caller{Certificate: fp, Profile: policy.ProfileAuthentication}, nil`,
			pkg: listener, test: "TestWhoCannotLogInIsToldWhy"},
		{name: "row believed without its signature",
			why: "who can write the database invents a certificate that logs in",
			in:  register, old: `if _, err := s.Certificates.Verify(cert); err != nil {`, new: `if err := error(nil); err != nil {`,
			pkg: register, test: "TestInventedCertificateRowOpensNothing"},
		{name: "pending certificate does more than confirm",
			why: "an eID that nobody has shown to be on the card acts for its holder",
			in:  policies, old: `if f.Pending && !f.Confirming {`, new: `if false {`,
			pkg: downloads, test: "TestPendingCertificateOnlyConfirms"},
		{name: "pending certificate lets in everywhere",
			why: "the one door that a pending certificate opens becomes every door",
			in:  listener, old: `r.TLS.PeerCertificates[0].Raw, cl.pending)`, new: `r.TLS.PeerCertificates[0].Raw, true)`,
			pkg: listener, test: "TestCardProtocol"},
		{name: "TLS session tickets",
			why: "a resumed session proves no key: who was revoked goes on, and confirm proves nothing",
			in:  listener, old: `c.SessionTicketsDisabled = true`, new: `c.SessionTicketsDisabled = false`,
			pkg: listener, test: "TestEveryConnectionIsAFullHandshake"},
		{name: "resumed session believed",
			why: "the second lock behind the tickets: a listener that forgot to turn them off",
			in:  listener, old: `r.TLS == nil || r.TLS.DidResume ||`, new: `r.TLS == nil ||`,
			pkg: listener, test: "TestHostileConnection"},
		{name: "TLS 1.2",
			why: "it sends the client's certificate, with name and number, in clear",
			in:  listener, old: `c.MinVersion = tls.VersionTLS13`, new: `c.MinVersion = tls.VersionTLS12`,
			pkg: listener, test: "TestHostileConnection"},
		{name: "requests of other sites",
			why: "any page in the holder's browser blocks the card in the reader",
			in:  listener, old: `if err := sites.Check(r); err != nil {`, new: `if err := sites.Check(r); sites == nil {`,
			pkg: listener, test: "TestHostileConnection"},
	}
}

// ofRequests: what is read of a request.
func ofRequests() []mutation {
	return []mutation{
		{name: "JSON read leniently",
			why: "a proxy or a log reads another request than the one that is carried out",
			in:  listener, old: `if err := strictjson.Unmarshal(text, &v); err != nil {`, new: `if err := json.Unmarshal(text, &v); err != nil && strictjson.Unmarshal(text, &v) != nil {`,
			pkg: listener, test: "TestHostileJSON"},
		{name: "any media type",
			why: "a form on another site's page makes a browser send it with the card",
			in:  listener, old: `err != nil || got != want {`, new: `err != nil && got != want {`,
			pkg: listener, test: "TestHostileJSON"},
		{name: "bodies without limit",
			why: "one client fills the server's memory",
			in:  listener, old: `http.MaxBytesReader(w, r.Body, limit)`, new: `http.MaxBytesReader(w, r.Body, limit<<20)`,
			pkg: listener, test: "TestHostileJSON"},
		{name: "request in any form, as a fuzzer sees it",
			why: "a request carries a subject, attributes or encodings that another reader takes for something",
			in:  card, old: `if !bytes.Equal(want, csr.RawTBSCertificateRequest) {`, new: `if bytes.Equal(want, nil) {`,
			pkg: listener, test: "FuzzCardRequest"},
		{name: "evidence not compared, as a fuzzer sees it",
			why: "the old eID is revoked although the card holds something else than was issued",
			in:  downloads, old: `if got, ok := ev.ReadBack[it.Slot]; !ok || got != it.Certificate {`, new: `if it.Certificate.IsZero() {`,
			pkg: listener, test: "FuzzEvidence"},
		{name: "another's download, as a fuzzer sees it",
			why: "whoever holds any card reads, abandons or confirms what is another's",
			in:  downloads, old: `(d.Card != c.Card || d.Holder != c.Person)`, new: `false`,
			pkg: listener, test: "FuzzCardAddress"},
		{name: "JSON read leniently, as a fuzzer sees it",
			why: "a proxy or a log reads another request than the one that is carried out",
			in:  listener, old: `if err := strictjson.Unmarshal(text, &v); err != nil {`, new: `if err := json.Unmarshal(text, &v); err != nil && strictjson.Unmarshal(text, &v) != nil {`,
			pkg: listener, test: "FuzzCardBody"},
		{name: "addresses cleaned before they are judged",
			why: "whoever asks is redirected before he has logged in, and repeats his request elsewhere",
			in:  listener, old: `path.Clean("/"+p) != p`, new: `path.Clean(p) == ""`,
			pkg: listener, test: "TestHostileAddress"},
		{name: "refusals not recorded",
			why: "who tries what is not his leaves no trace",
			in:  downloads, old: `return s.Register.Keep(ctx, err, c.Name(), fields...)`, new: `_ = fields; return err`,
			pkg: downloads, test: "TestRequestBoundElsewhere"},
		{name: "plan asks for something else than the order",
			why: "who can write the database chooses what the certificate says",
			in:  downloads, old: `if !add.Equal(b.ordered) {`, new: `if add.Slot != b.ordered.Slot {`,
			pkg: downloads, test: "TestStoredPlanIsTheSignedOrders"},
	}
}

// ofClient: what the program at the card must not do, whatever the server says.
func ofClient() []mutation {
	const pkg = "internal/cardclient"
	return []mutation{
		{name: "client deletes the old before confirm",
			why: "the line is cut, the certificate lapses, and the holder stands without any eID",
			in:  pkg, old: "\treturn r.confirm(ctx)\n",
			new: "\tobjects, err := r.Card.Objects(ctx)\n\tif err != nil {\n\t\treturn err\n\t}\n\tfor _, o := range objects {\n\t\tfor _, rm := range r.plan.Removes {\n" +
				"\t\t\tif o.Certificate != nil && fingerprint(o.Certificate) == rm.Fingerprint {\n\t\t\t\t_ = r.Card.Delete(ctx, o.ID)\n\t\t\t}\n\t\t}\n\t}\n\treturn r.confirm(ctx)\n",
			pkg: pkg, test: "TestLostAnswers"},
		{name: "client does not read back",
			why: "a card that wrote something else loses its old eID for it",
			in:  pkg, old: `if !bytes.Equal(back, it.Certificate) {`, new: `if bytes.Equal(back, nil) {`,
			pkg: pkg, test: "TestReadBackIsCompared"},
		{name: "client takes another plan than the hash",
			why: "what the holder is shown is not what is carried out",
			in:  pkg, old: `if hex.EncodeToString(r.hash[:]) != d.PlanHash {`, new: `if hex.EncodeToString(r.hash[:]) == d.Order {`,
			pkg: pkg, test: "TestBadServer"},
		{name: "client takes another card's plan",
			why: "a server, or who sits between, moves one holder's download to another's card",
			in:  pkg, old: `case string(p.Card) != r.me.Card:`, new: `case p.Card == "":`,
			pkg: pkg, test: "TestBadServer"},
		{name: "client deletes what no plan names",
			why: "a bad server takes another organisation's eID off the card",
			in:  pkg, old: `if !planned[f] {`, new: `if planned == nil {`,
			pkg: pkg, test: "TestBadServer"},
		{name: "client takes any certificate for its key",
			why: "a certificate that lives longer or names another than was shown is written to the card",
			in:  pkg, old: `case cert.NotAfter.After(add.NotAfter):`, new: `case cert == nil:`,
			pkg: pkg, test: "TestBadServer"},
		{name: "client deletes what it logs in with",
			why: "the last eID that works is gone before anybody notices that it was the last",
			in:  pkg, old: `|| string(o.ID) == string(r.session.identity.ID) {`, new: `{`,
			pkg: pkg, test: "TestOwnCertificateStays"},
	}
}
