package auditor_test

import (
	"slices"
	"testing"
	"time"

	"sigill/ca"
	"sigill/internal/auditor"
	"sigill/internal/auditor/auditortest"
	"sigill/internal/auditor/rederive"
)

// entryOf returns the last entry of a scene with what its intent says and its order.
func entryOf(t testing.TB, s *auditortest.Scene, p *auditortest.Person) auditor.Case {
	t.Helper()
	leaf := s.Leaves[len(s.Leaves)-1]
	e, err := rederive.ParseEntry(leaf.Input, leaf.Final)
	if err != nil {
		t.Fatal(err)
	}
	c := auditor.Case{Entry: e, Said: &rederive.Said{Serial: rederive.SerialOf(leaf.Final), Issuer: string(auditortest.PersonCA), Profile: "authentication", Card: p.Card,
		Kind: "hsa-id", LoA: "3", At: e.Time}}
	if c.Order, err = rederive.ParseDocument(s.Evidence[p.Order].Order); err != nil {
		t.Fatal(err)
	}
	return c
}

func rulesOf(t testing.TB, s *auditortest.Scene) *rederive.Rules {
	t.Helper()
	issuers, err := rederive.NewIssuers(s.CAs...)
	if err != nil {
		t.Fatal(err)
	}
	return &rederive.Rules{Issuers: issuers, Log: s.Logs[auditor.Certificates].Log, StatusURL: auditortest.StatusURL,
		Profile: func(name string, _ time.Time) *ca.Profile { return s.Profiles[ca.ProfileName(name)] }}
}

func kindsOf(r rederive.Result) []string {
	var out []string
	for _, p := range r.Problems {
		out = append(out, string(p.Kind))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// A CA that was made to issue something else than its profile says, or than was ordered,
// is found out by deriving the certificate anew, without any lint.
func TestPlantedProfiles(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*ca.ProfileConfig)
		want   []string
	}{
		{"nothing", func(*ca.ProfileConfig) {}, nil},
		{"key usage", func(c *ca.ProfileConfig) { c.KeyUsage = []string{"contentCommitment"} }, []string{"usage"}},
		{"purpose", func(c *ca.ProfileConfig) { c.ExtendedKeyUsage = []string{"clientAuth", "documentSigning"} }, []string{"usage"}},
		{"no given name", func(c *ca.ProfileConfig) { c.Content.GivenName = ca.Omitted }, []string{"subject"}},
		{"no surname", func(c *ca.ProfileConfig) { c.Content.Surname = ca.Omitted }, []string{"subject"}},
		{"no serialNumber", func(c *ca.ProfileConfig) { c.Content.SerialNumber = ca.Omitted }, []string{"subject"}},
		{"no card number", func(c *ca.ProfileConfig) { c.Content.CardNumber = ca.Omitted }, []string{"names"}},
		{"no e-mail", func(c *ca.ProfileConfig) { c.Content.Email = ca.Omitted }, []string{"names"}},
		{"no UPN", func(c *ca.ProfileConfig) { c.Content.UPN = ca.Omitted }, []string{"names"}},
		{"no list", func(c *ca.ProfileConfig) { c.CRL = false }, []string{"addresses", "extensions"}},
		{"no OCSP", func(c *ca.ProfileConfig) { c.OCSP = false }, []string{"addresses"}},
		{"no issuer", func(c *ca.ProfileConfig) { c.CAIssuers = false }, []string{"addresses"}},
		{"no check", func(c *ca.ProfileConfig) { c.OCSPNoCheck = true }, []string{"extensions"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := auditortest.Founded(t)
			s.Plant("authentication", c.change)
			p := s.Person()
			s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
			got := auditor.Rederive(rulesOf(t, s), []auditor.Case{entryOf(t, s, p)})[0]
			if !slices.Equal(kindsOf(got), c.want) {
				t.Errorf("found %v, want %v", got.Problems, c.want)
			}
		})
	}
}

// What a certificate is held against is looked at, each part.
func TestRederiveComparesEachPart(t *testing.T) {
	s := auditortest.Founded(t)
	p := s.Person()
	s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
	profile := func(change func(*ca.ProfileConfig)) func(*rederive.Rules, *auditor.Case) {
		return func(r *rederive.Rules, _ *auditor.Case) {
			config := s.Profiles["authentication"].Config()
			change(&config)
			changed, err := ca.NewProfile(config)
			if err != nil {
				t.Fatal(err)
			}
			r.Profile = func(string, time.Time) *ca.Profile { return changed }
		}
	}
	content := func(change func(*rederive.Content)) func(*rederive.Rules, *auditor.Case) {
		return func(_ *rederive.Rules, c *auditor.Case) { change(&c.Order.Content) }
	}
	said := func(change func(*rederive.Said)) func(*rederive.Rules, *auditor.Case) {
		return func(_ *rederive.Rules, c *auditor.Case) { change(c.Said) }
	}
	for _, c := range []struct {
		name  string
		spoil func(*rederive.Rules, *auditor.Case)
		want  []string
	}{
		{"nothing", func(*rederive.Rules, *auditor.Case) {}, nil},
		{"validity", profile(func(c *ca.ProfileConfig) { c.MaxValidity = ca.Period(24 * time.Hour) }), []string{"validity"}},
		{"curve", profile(func(c *ca.ProfileConfig) { c.Keys.Curves = []string{"P-384"} }), []string{"key"}},
		{"policy", profile(func(c *ca.ProfileConfig) { c.Assurance = map[string]string{"ordinary/3": "2.999.1"} }), []string{"policies"}},
		{"no level", profile(func(c *ca.ProfileConfig) {
			c.Assurance, c.Policies = map[string]string{"ordinary/3": "2.999.1"}, []string{"2.999.752.3.1"}
		}), []string{"policies"}},
		{"profile of another level", profile(func(c *ca.ProfileConfig) { c.Assurance = map[string]string{"ordinary/2": "2.999.752.3.1"} }), []string{"policies"}},
		{"unknown profile", func(r *rederive.Rules, _ *auditor.Case) {
			r.Profile = func(string, time.Time) *ca.Profile { return nil }
		}, []string{"claim"}},
		{"country", content(func(c *rederive.Content) { c.Country = "NO" }), []string{"subject"}},
		{"organisation", content(func(c *rederive.Content) { c.Organisation = "x" }), []string{"subject"}},
		{"common name", content(func(c *rederive.Content) { c.CommonName = "x" }), []string{"subject"}},
		{"surname", content(func(c *rederive.Content) { c.Surname = "x" }), []string{"subject"}},
		{"given name", content(func(c *rederive.Content) { c.GivenName = "" }), []string{"subject"}},
		{"serialNumber", content(func(c *rederive.Content) { c.SerialNumber = "x" }), []string{"subject"}},
		{"e-mail", content(func(c *rederive.Content) { c.Email = "x" }), []string{"names"}},
		{"UPN", content(func(c *rederive.Content) { c.UPN = "" }), []string{"names"}},
		{"SID", content(func(c *rederive.Content) { c.SID = "S-1-5-21-1-1" }), []string{"names"}},
		{"policies", content(func(c *rederive.Content) { c.PolicyOIDs = []string{"2.999.752.3.2"} }), []string{"order"}},
		{"card", content(func(c *rederive.Content) { c.CardNumber = "9752000000000009999" }), []string{"names", "order"}},
		{"level ordered", func(_ *rederive.Rules, c *auditor.Case) { c.Order.LoA = 2 }, []string{"order", "policies"}},
		{"issuer ordered", func(_ *rederive.Rules, c *auditor.Case) { c.Order.Issuer = "x" }, []string{"order"}},
		{"kind ordered", func(_ *rederive.Rules, c *auditor.Case) { c.Order.IDKind = "x" }, []string{"order"}},
		{"end ordered", func(_ *rederive.Rules, c *auditor.Case) { c.Order.NotAfter = c.Entry.Time }, []string{"order"}},
		{"no order", func(_ *rederive.Rules, c *auditor.Case) { c.Order = nil }, []string{"order"}},
		{"serial announced", said(func(s *rederive.Said) { s.Serial = "x" }), []string{"claim"}},
		{"key announced", said(func(s *rederive.Said) { s.Key = "x" }), []string{"claim"}},
		{"leaf announced", said(func(s *rederive.Said) { s.Leaf = "x" }), []string{"claim"}},
		{"card announced", said(func(s *rederive.Said) { s.Card = "x" }), []string{"names", "order"}},
		{"time announced", said(func(s *rederive.Said) { s.At = s.At.Add(time.Hour) }), []string{"validity"}},
		{"issuer announced", said(func(s *rederive.Said) { s.Issuer = "x" }), []string{"addresses", "order"}},
		{"status elsewhere", func(r *rederive.Rules, _ *auditor.Case) { r.StatusURL = "http://elsewhere.example" }, []string{"addresses"}},
		{"another log's key", func(r *rederive.Rules, _ *auditor.Case) { r.Log = auditortest.New(t).Logs[auditor.Certificates].Log }, []string{"sct"}},
		{"another CA", func(r *rederive.Rules, _ *auditor.Case) {
			r.Issuers, _ = rederive.NewIssuers(s.Issuers[auditortest.FunctionCA].Certificate().Raw)
		}, []string{"forged"}},
		{"logged later", func(_ *rederive.Rules, c *auditor.Case) {
			leaf := *c.Entry.Leaf.TimestampedEntry
			leaf.Timestamp += 1
			c.Entry.Leaf.TimestampedEntry = &leaf
		}, []string{"sct"}},
		{"another's certificate", func(_ *rederive.Rules, c *auditor.Case) { c.Entry.Final = s.Admins[0].DER }, []string{"sct", "unlogged"}},
		{"no certificate", func(_ *rederive.Rules, c *auditor.Case) { c.Entry.Final = []byte{1} }, []string{"malformed"}},
		{"no leaf", func(_ *rederive.Rules, c *auditor.Case) { c.Entry.TBS = []byte{1} }, []string{"malformed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules, e := rulesOf(t, s), entryOf(t, s, p)
			c.spoil(rules, &e)
			got := rules.Check(e.Entry, e.Said, e.Order)
			if !slices.Equal(kindsOf(got), c.want) {
				t.Errorf("found %v, want %v", got.Problems, c.want)
			}
		})
	}
}

func FuzzParseEntry(f *testing.F) {
	s := auditortest.Founded(f)
	for _, l := range s.Leaves {
		f.Add(l.Input, l.Final)
	}
	rules := rulesOf(f, s)
	f.Fuzz(func(t *testing.T, leaf, final []byte) {
		e, err := rederive.ParseEntry(leaf, final)
		if err != nil {
			return
		}
		e.Serial()
		rules.Check(e, &rederive.Said{Profile: "authentication", Issuer: "x"}, nil)
	})
}

func FuzzParseDocument(f *testing.F) {
	s := auditortest.Founded(f)
	for _, e := range s.Evidence {
		f.Add(e.Order)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if d, err := rederive.ParseDocument(text); err == nil && d.Order == "" {
			t.Error("an order without id was read")
		}
	})
}

func BenchmarkRederive(b *testing.B) {
	s := auditortest.Founded(b)
	p := s.Person()
	s.EID(p, "ordinary", s.Admins[0], s.Admins[1])
	rules := rulesOf(b, s)
	cases := slices.Repeat([]auditor.Case{entryOf(b, s, p)}, 256)
	for b.Loop() {
		auditor.Rederive(rules, cases)
	}
	b.ReportMetric(float64(b.N*len(cases))/b.Elapsed().Seconds(), "certificates/s")
}
