package revocation_test

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/revtest"
	"sigill/revocation"
)

const (
	loa3 = "1.2.752.146.101.3"
	loa2 = "1.2.752.146.101.2"
)

// holder issues the leaf anew, changed.
func (w *web) holder(change func(*x509.Certificate)) {
	w.t.Helper()
	cert := *w.leaf
	cert.ExtraExtensions = nil
	change(&cert)
	w.leaf = revtest.Sign(w.t, &cert, w.inner.Cert, w.leaf.PublicKey, w.inner.Key)
}

func named(values ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.RawSubject = nil
		c.Subject = pkix.Name{CommonName: "Åsa Öberg"}
		for _, v := range values {
			c.Subject.ExtraNames = append(c.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: []int{2, 5, 4, 5}, Value: v})
		}
	}
}

func under(oids ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Policies, c.PolicyIdentifiers = nil, nil
		for _, text := range oids {
			oid, err := x509.ParseOID(text)
			if err != nil {
				panic(err)
			}
			c.Policies = append(c.Policies, oid)
		}
	}
}

func TestVerifyDemands(t *testing.T) {
	same := func(*x509.Certificate) {}
	login := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for name, test := range map[string]struct {
		change func(*x509.Certificate)
		demand revocation.Demand
		cause  revocation.Cause
	}{
		"nothing":                    {same, revocation.Demand{}, revocation.CauseGood},
		"level 3":                    {same, revocation.Demand{MinLevel: 3}, revocation.CauseGood},
		"level 4":                    {same, revocation.Demand{MinLevel: 4}, revocation.CauseLevel},
		"level 3 of 2":               {under(loa2), revocation.Demand{MinLevel: 3}, revocation.CauseLevel},
		"level 2 of none":            {under("1.2.3.4"), revocation.Demand{MinLevel: 2}, revocation.CauseLevel},
		"two levels":                 {under(loa2, loa3), revocation.Demand{}, revocation.CauseTwoLevels},
		"a level and a policy":       {under(loa3, "1.2.3.4"), revocation.Demand{MinLevel: 3}, revocation.CauseGood},
		"two routines of one level":  {under(loa3, "1.2.752.146.101.33"), revocation.Demand{MinLevel: 3}, revocation.CauseGood},
		"a policy":                   {same, revocation.Demand{Policies: []string{"1.2.3.4", loa3}}, revocation.CauseGood},
		"another policy":             {same, revocation.Demand{Policies: []string{"1.2.3.4"}}, revocation.CausePolicy},
		"a policy that is no OID":    {same, revocation.Demand{Policies: []string{"x"}}, revocation.CausePolicy},
		"log-in":                     {same, revocation.Demand{ExtKeyUsages: login, KeyUsage: x509.KeyUsageDigitalSignature}, revocation.CauseGood},
		"log-in with a signing key":  {func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageContentCommitment }, revocation.Demand{KeyUsage: x509.KeyUsageDigitalSignature}, revocation.CausePurpose},
		"log-in, for e-mail":         {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }, revocation.Demand{ExtKeyUsages: login}, revocation.CausePurpose},
		"log-in, for anything":       {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, revocation.Demand{ExtKeyUsages: login}, revocation.CausePurpose},
		"log-in, for nothing named":  {func(c *x509.Certificate) { c.ExtKeyUsage = nil }, revocation.Demand{ExtKeyUsages: login}, revocation.CausePurpose},
		"HSA-id":                     {named("SE2321000016-A1"), revocation.Demand{Kind: revocation.HSAID}, revocation.CauseGood},
		"HSA-id of a person number":  {named("191212121212"), revocation.Demand{Kind: revocation.HSAID}, revocation.CauseIdentifier},
		"person number":              {named("191212121212"), revocation.Demand{Kind: revocation.PersonNumber}, revocation.CauseGood},
		"person number as EN 319412": {named("PNOSE-191212121212"), revocation.Demand{Kind: revocation.PersonNumber}, revocation.CauseGood},
		"person number of an HSA-id": {named("SE2321000016-A1"), revocation.Demand{Kind: revocation.PersonNumber}, revocation.CauseIdentifier},
		"HSA-id of a card number":    {named("9752000000000000001"), revocation.Demand{Kind: revocation.HSAID}, revocation.CauseIdentifier},
		"HSA-id twice":               {named("SE2321000016-A1", "SE2321000016-A2"), revocation.Demand{Kind: revocation.HSAID}, revocation.CauseIdentifier},
		"HSA-id beside a number":     {named("SE2321000016-A1", "191212121212"), revocation.Demand{Kind: revocation.HSAID}, revocation.CauseIdentifier},
		"HSA-id of none":             {named(), revocation.Demand{Kind: revocation.HSAID}, revocation.CauseIdentifier},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWeb(t)
			w.t = t
			w.holder(test.change)
			w.v.Roots = nil
			w.v.Anchors = []revocation.Anchor{{Certificate: w.root.Cert, Levels: map[string]revocation.Level{
				loa3: {Number: 3, Name: "loa3"}, loa2: {Number: 2, Name: "loa2"}, "1.2.752.146.101.33": {Number: 3, Name: "loa3"}}}}
			w.v.Demand = test.demand
			got := w.judge()
			status := revocation.Unknown
			if test.cause == revocation.CauseGood {
				status = revocation.Good
			}
			w.want(got, status, test.cause)
			if status == revocation.Unknown && len(w.fetched) > 0 {
				t.Errorf("a certificate that is not for this was asked about: %q", w.fetched)
			}
			if test.demand.MinLevel == 3 && status == revocation.Good && got.Level != (revocation.Level{Number: 3, Name: "loa3"}) {
				t.Errorf("level %+v", got.Level)
			}
			if test.demand.Kind == revocation.PersonNumber && status == revocation.Good && got.Identifier.Value != "191212121212" {
				t.Errorf("identifier %+v", got.Identifier)
			}
		})
	}
}

// Another organisation's root has its own table: the OID that is level 3 here is
// nothing there, whatever its CA writes into certificates.
func TestVerifyLevelsAreTheAnchors(t *testing.T) {
	w, other := newWeb(t), newWeb(t)
	w.v.Roots = nil
	w.v.Anchors = []revocation.Anchor{
		{Certificate: w.root.Cert, Levels: map[string]revocation.Level{loa3: {Number: 3}}},
		{Certificate: other.root.Cert, Levels: map[string]revocation.Level{"1.2.752.74.8.512": {Number: 3}}},
	}
	w.v.Demand.MinLevel = 3
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
	judgeOther := func() revocation.Verification {
		w.v.Fetch = func(ctx context.Context, address string) ([]byte, error) { return other.fetch(ctx, address) }
		return w.v.Verify(t.Context(), other.leaf, other.inner.Cert)
	}
	w.want(judgeOther(), revocation.Unknown, revocation.CauseLevel)
	other.holder(under("1.2.752.74.8.512"))
	got := judgeOther()
	w.want(got, revocation.Good, revocation.CauseGood)
	if got.Anchor == nil || !got.Anchor.Certificate.Equal(other.root.Cert) || len(got.Chain) != 3 {
		t.Errorf("anchor %v, chain of %d", got.Anchor, len(got.Chain))
	}
	// Who is on no list is nobody.
	stranger := newWeb(t)
	w.want(w.v.Verify(t.Context(), stranger.leaf, stranger.inner.Cert), revocation.Unknown, revocation.CauseUntrusted)
}

// Only one issuing CA of another organisation is trusted: its root's other CAs
// are not, and nobody need tell the status of what is trusted itself.
func TestVerifyTrustsAnIssuingCA(t *testing.T) {
	w := newWeb(t)
	w.v.Roots = []*x509.Certificate{w.inner.Cert}
	delete(w.crl, revtest.URLOf(revtest.Root, 0))
	got := w.v.Verify(t.Context(), w.leaf)
	w.want(got, revocation.Good, revocation.CauseGood)
	sister := revtest.NewAuthority(t, revtest.Another, w.root)
	w.want(w.v.Verify(t.Context(), sister.Leaf(t, ca.NewSerial().Int(), 0), sister.Cert), revocation.Unknown, revocation.CauseUntrusted)
}

// A level counts only where no CA above is confined to other policies.
func TestVerifyLevelOfConfinedCA(t *testing.T) {
	w := newWeb(t)
	confine := func(oids ...string) {
		cert := *w.inner.Cert
		under(oids...)(&cert)
		cert.MaxPathLen = -1
		w.inner.Cert = revtest.Sign(t, &cert, w.root.Cert, w.inner.Key.Public(), w.root.Key)
	}
	w.v.Roots = nil
	w.v.Anchors = []revocation.Anchor{{Certificate: w.root.Cert, Levels: map[string]revocation.Level{loa3: {Number: 3}, loa2: {Number: 2}}}}
	w.v.Demand.MinLevel = 2
	confine(loa2)
	w.want(w.judge(), revocation.Unknown, revocation.CauseLevel)
	confine(loa2, loa3)
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
	confine("2.5.29.32.0")
	w.want(w.judge(), revocation.Good, revocation.CauseGood)
}

// A CA that forbids "any policy" below itself is heard: what the CA below it may
// issue under is what that one names.
func TestVerifyLevelBelowInhibitedAnyPolicy(t *testing.T) {
	w := newWeb(t)
	w.v.Roots = nil
	w.v.Anchors = []revocation.Anchor{{Certificate: w.root.Cert, Levels: map[string]revocation.Level{loa3: {Number: 3}}}}
	w.v.Demand.MinLevel = 3
	upper := revtest.NewAuthority(t, revtest.Another, w.root)
	w.crl[revtest.URLOf(revtest.Another, 0)] = upper.CRL(t, crl.List{Number: 1, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.AddDate(1, 0, 0)})
	for name, test := range map[string]struct {
		inhibited bool
		lower     string
		cause     revocation.Cause
	}{
		"any, allowed":   {false, "2.5.29.32.0", revocation.CauseGood},
		"any, forbidden": {true, "2.5.29.32.0", revocation.CauseLevel},
		"named":          {true, loa3, revocation.CauseGood},
	} {
		above, below := *upper.Cert, *w.inner.Cert
		under(loa3)(&above)
		under(test.lower)(&below)
		above.MaxPathLen, below.MaxPathLen = -1, -1
		if test.inhibited {
			above.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 54}, Critical: true, Value: []byte{2, 1, 0}}}
		}
		below.CRLDistributionPoints = []string{revtest.URLOf(revtest.Another, 0)}
		between := revtest.Sign(t, &above, w.root.Cert, upper.Key.Public(), w.root.Key)
		issuer := revtest.Sign(t, &below, between, w.inner.Key.Public(), upper.Key)
		if got := w.v.Verify(t.Context(), w.leaf, issuer, between); got.Cause != test.cause {
			t.Errorf("%s: %s, %v", name, got.Cause, got.Steps)
		}
	}
}

// A root and one of its CAs are both trusted, with tables that differ: the nearer
// one counts, in whatever order they were given.
func TestVerifyNearestAnchor(t *testing.T) {
	w := newWeb(t)
	w.v.Roots = nil
	far := revocation.Anchor{Certificate: w.root.Cert, Levels: map[string]revocation.Level{loa3: {Number: 4}}}
	near := revocation.Anchor{Certificate: w.inner.Cert, Levels: map[string]revocation.Level{loa3: {Number: 3}}}
	for _, anchors := range [][]revocation.Anchor{{far, near}, {near, far}} {
		w.v.Anchors = anchors
		got := w.judge()
		w.want(got, revocation.Good, revocation.CauseGood)
		if got.Level.Number != 3 {
			t.Errorf("level %d", got.Level.Number)
		}
	}
}

// No way is good: one that says revoked tells more than one that says nothing, or
// that would pass because nobody answers, whichever comes first.
func TestVerifyWorstOfSeveralWays(t *testing.T) {
	for _, open := range []bool{false, true} {
		for _, silent := range []bool{false, true} { // of the first root, or of the second
			w := newWeb(t)
			w.v.Open.Unreachable = open
			second := revtest.NewAuthority(t, "root2", nil)
			cross := *w.inner.Cert
			cross.SerialNumber, cross.CRLDistributionPoints = ca.NewSerial().Int(), []string{revtest.URLOf("root2", 0)}
			crossed := revtest.Sign(t, &cross, second.Cert, w.inner.Key.Public(), second.Key)
			w.v.Roots = append(w.v.Roots, second.Cert)
			root, revoked := w.root, w.inner.Cert
			if silent {
				root, revoked = second, crossed
			}
			delete(w.crl, revtest.URLOf(revtest.Root, 0))
			serial, _ := ca.SerialOf(revoked.SerialNumber)
			w.crl[revtest.URLOf(root.ID, 0)] = root.CRL(t, crl.List{Number: 2, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.AddDate(1, 0, 0),
				Entries: []crl.Revoked{{Serial: serial, At: revtest.Start, Reason: ca.CACompromise}}})
			got := w.v.Verify(t.Context(), w.leaf, w.inner.Cert, crossed)
			w.want(got, revocation.Revoked, revocation.CauseRevoked)
		}
	}
}

// Two ways lead to anchors; the CA's certificate on one of them is revoked. The
// other way decides, and the steps tell of both.
func TestVerifySeveralWays(t *testing.T) {
	w := newWeb(t)
	second := revtest.NewAuthority(t, "root2", nil)
	cross := *w.inner.Cert
	cross.SerialNumber = ca.NewSerial().Int()
	cross.CRLDistributionPoints = []string{revtest.URLOf("root2", 0)}
	crossed := revtest.Sign(t, &cross, second.Cert, w.inner.Key.Public(), second.Key)
	w.v.Roots = append(w.v.Roots, second.Cert)
	both := func() revocation.Verification { return w.v.Verify(t.Context(), w.leaf, w.inner.Cert, crossed) }
	revoke := func(a *revtest.Authority, cert *x509.Certificate) {
		serial, _ := ca.SerialOf(cert.SerialNumber)
		w.crl[revtest.URLOf(a.ID, 0)] = a.CRL(t, crl.List{Number: 2, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.AddDate(1, 0, 0),
			Entries: []crl.Revoked{{Serial: serial, At: revtest.Start, Reason: ca.CACompromise}}})
	}
	w.crl[revtest.URLOf("root2", 0)] = second.CRL(t, crl.List{Number: 1, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.AddDate(1, 0, 0)})
	revoke(w.root, w.inner.Cert)
	got := both()
	w.want(got, revocation.Good, revocation.CauseGood)
	if !got.Anchor.Certificate.Equal(second.Cert) || !strings.Contains(text(got), "of 2 to an anchor") {
		t.Errorf("anchor %s: %v", got.Anchor.Certificate.Subject, got.Steps)
	}
	revoke(second, crossed)
	w.want(both(), revocation.Revoked, revocation.CauseRevoked)
	// What is good one way and let pass another is good.
	w.v.Open = revocation.Open{Unreachable: true}
	delete(w.crl, revtest.URLOf(revtest.Root, 0))
	w.crl[revtest.URLOf("root2", 0)] = second.CRL(t, crl.List{Number: 1, ThisUpdate: revtest.Start, NextUpdate: revtest.Start.AddDate(1, 0, 0)})
	if got := both(); got.Status != revocation.Good || got.Soft {
		t.Errorf("soft: %v", got.Steps)
	}
}

// An error of the chain tells nothing of the holder but what the subject says.
func TestVerifyChainErrorNamesNobody(t *testing.T) {
	w := newWeb(t)
	ca1 := *w.inner.Cert
	ca1.PermittedEmailAddresses, ca1.PermittedDNSDomainsCritical, ca1.MaxPathLen = []string{"region.example"}, true, -1
	w.inner.Cert = revtest.Sign(t, &ca1, w.root.Cert, w.inner.Key.Public(), w.root.Key)
	w.holder(func(c *x509.Certificate) { c.EmailAddresses = []string{"asa.oberg@elsewhere.example"} })
	got := w.judge()
	w.want(got, revocation.Unknown, revocation.CauseChain)
	if strings.Contains(text(got), "elsewhere") || strings.Contains(text(got), "Åsa") {
		t.Errorf("%v", got.Steps)
	}
}
