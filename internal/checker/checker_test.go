package checker

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sigill/ca"
	"sigill/ca/crl"
	"sigill/internal/revtest"
)

func TestAllIsWell(t *testing.T) {
	s := newService(t)
	k := s.checker(func(*Config) {})
	r := s.round(k)
	wantCodes(t, r, "")
	if r.Grade != OK || len(r.Lists) != partitions+2 || len(r.Signers) != 1 || r.Answers < 2*(DefaultSerials+len(s.leaves)) {
		t.Errorf("%+v", r)
	}
	entries := 0
	for _, l := range r.Lists {
		entries += l.Entries
	}
	if entries != 2*(partitions*perList+1) {
		t.Errorf("%d entries were read", entries)
	}
	wantCodes(t, s.round(k), "")
	s.change(func() { s.clock = s.clock.Add(2 * time.Hour); s.publish() })
	wantCodes(t, s.round(k), "")
}

// TestOneThingBroken: each thing that can be wrong is found, by its own code, and nothing
// else is.
func TestOneThingBroken(t *testing.T) {
	first := fmt.Sprintf("/crl/%s/0.crl", name)
	for _, test := range []struct {
		name  string
		spoil func(s *service)
		want  string
	}{
		{"redirect", func(s *service) {
			s.instead = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == first {
					http.Redirect(w, r, "https://status.example.test"+first, http.StatusFound)
				}
				return r.URL.Path == first
			}
		}, "failure http.redirect"},
		{"redirected OCSP", func(s *service) {
			s.instead = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.URL.Path, "/ocsp/") {
					http.Redirect(w, r, "/", http.StatusMovedPermanently)
					return true
				}
				return false
			}
		}, "failure http.redirect"},
		{"server error", func(s *service) {
			s.instead = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == first {
					http.Error(w, "no", http.StatusInternalServerError)
				}
				return r.URL.Path == first
			}
		}, "failure http.status"},
		{"hangs up", func(s *service) {
			s.instead = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == first {
					panic(http.ErrAbortHandler)
				}
				return false
			}
		}, "failure http.unreachable"},
		{"media type", func(s *service) {
			s.instead = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == first {
					w.Header().Set("Content-Type", "text/html")
					w.Header().Set("Cache-Control", "max-age=60")
					w.Write(s.files[first])
				}
				return r.URL.Path == first
			}
		}, "failure http.type"},
		{"cached for a day", func(s *service) {
			s.instead = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == first {
					w.Header().Set("Content-Type", typeCRL)
					w.Header().Set("Cache-Control", "public, max-age=86400")
					w.Write(s.files[first])
				}
				return r.URL.Path == first
			}
		}, "warning http.cache"},
		{"server's clock", func(s *service) {
			s.instead = func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Date", s.clock.Add(10*time.Minute).UTC().Format(http.TimeFormat))
				return false
			}
		}, "warning clock.skew"},
		{"another certificate", func(s *service) { s.files["/aia/"+name+".cer"] = s.root.Cert.Raw }, "failure aia.differs"},
		{"no certificate", func(s *service) { delete(s.files, "/aia/root.cer") }, "failure http.status"},
		{"missing partition", func(s *service) { delete(s.files, fmt.Sprintf("/crl/%s/1.crl", name)) }, "failure crl.missing"},
		{"missing last partition", func(s *service) { delete(s.files, fmt.Sprintf("/crl/%s/2.crl", name)) }, "failure crl.missing"},
		{"missing root's list", func(s *service) { delete(s.files, "/crl/root/0.crl") }, "failure crl.missing"},
		{"no full list", func(s *service) { delete(s.files, "/crl/"+name+"/full.crl") }, "warning full.missing"},
		{"stale list", func(s *service) {
			s.partition(0, func(l *crl.List) {
				l.NextUpdate = s.clock.Add(-time.Second)
				l.ThisUpdate = s.clock.Add(-24 * time.Hour)
			})
		}, "failure crl.expired"},
		{"late list", func(s *service) {
			s.partition(0, func(l *crl.List) {
				l.ThisUpdate = s.clock.Add(-13 * time.Hour)
				l.NextUpdate = s.clock.Add(11 * time.Hour)
			})
		}, "warning crl.late"},
		{"old list", func(s *service) {
			s.partition(0, func(l *crl.List) {
				l.ThisUpdate = s.clock.Add(-26 * time.Hour)
				l.NextUpdate = s.clock.Add(10 * time.Hour)
			})
		}, "failure crl.old"},
		{"list of the future", func(s *service) { s.partition(0, func(l *crl.List) { l.ThisUpdate = s.clock.Add(time.Hour) }) }, "failure crl.future"},
		{"root's list at half", func(s *service) {
			s.put("/crl/root/0.crl", s.root, crl.List{Number: 9, ThisUpdate: s.clock.AddDate(0, -7, 0), NextUpdate: s.clock.AddDate(0, 5, 0)})
		}, "warning crl.late"},
		{"root's list in its last days", func(s *service) {
			s.put("/crl/root/0.crl", s.root, crl.List{Number: 9, ThisUpdate: s.clock.AddDate(0, -11, -25), NextUpdate: s.clock.AddDate(0, 0, 5)})
		}, "failure crl.late"},
		{"wrong distribution point", func(s *service) {
			s.partition(0, func(l *crl.List) { l.DistributionPoint = revtest.URLOf(revtest.Person, 7) })
		}, "failure crl.scope"},
		{"other spelling of the distribution point", func(s *service) {
			s.partition(0, func(l *crl.List) { l.DistributionPoint = strings.Replace(l.DistributionPoint, "status.", "STATUS.", 1) })
		}, "failure crl.scope"},
		{"no distribution point", func(s *service) { s.partition(0, func(l *crl.List) { l.DistributionPoint = "" }) }, "failure crl.scope"},
		{"full list with a distribution point", func(s *service) { s.files["/crl/"+name+"/full.crl"] = s.files[first] },
			"failure crl.scope, failure full.lacks"},
		{"damaged list", func(s *service) { s.files[first] = flipped(s.files[first]) }, "failure crl.invalid"},
		{"another issuer's list", func(s *service) { s.files[first] = s.files["/crl/root/0.crl"] }, "failure crl.invalid"},
		{"half a list", func(s *service) { s.files[first] = s.files[first][:len(s.files[first])/2] }, "failure crl.invalid"},
		{"full list lacks one", func(s *service) {
			s.put("/crl/"+name+"/full.crl", s.ca, crl.List{Number: 1, ThisUpdate: s.clock, NextUpdate: s.clock.Add(24 * time.Hour),
				Entries: append(append([]crl.Revoked{}, s.lists[0][1:]...), append(s.lists[1], s.lists[2]...)...)})
		}, "failure full.lacks"},
		{"full list with another time", func(s *service) {
			all := append(append([]crl.Revoked{}, s.lists[0]...), append(s.lists[1], s.lists[2]...)...)
			all[0].At = all[0].At.Add(-time.Minute)
			s.put("/crl/"+name+"/full.crl", s.ca, crl.List{Number: 1, ThisUpdate: s.clock, NextUpdate: s.clock.Add(24 * time.Hour), Entries: all})
		}, "failure full.differs"},
		{"full list with another reason", func(s *service) {
			all := append(append([]crl.Revoked{}, s.lists[0]...), append(s.lists[1], s.lists[2]...)...)
			all[0].Reason = ca.KeyCompromise
			s.put("/crl/"+name+"/full.crl", s.ca, crl.List{Number: 1, ThisUpdate: s.clock, NextUpdate: s.clock.Add(24 * time.Hour), Entries: all})
		}, "failure full.differs"},
		{"partition that forgets", func(s *service) {
			forgotten := s.lists[2][0]
			s.lists[2] = s.lists[2][1:]
			s.partition(2, func(*crl.List) {})
			s.lists[2] = append(s.lists[2], forgotten)
		}, "warning full.extra"},
		{"OCSP good, list revoked", func(s *service) {
			s.answer = func(a *ca.OCSPAnswer) {
				if a.Singles[0].Status == ca.OCSPRevoked {
					a.Singles[0] = ca.OCSPSingle{ID: a.Singles[0].ID, Status: ca.OCSPGood}
				}
			}
		}, "failure ocsp.differs"},
		{"OCSP revoked, list not", func(s *service) {
			serial, _ := ca.SerialOf(s.leaves[0].SerialNumber)
			s.revoked[serial] = crl.Revoked{Serial: serial, At: s.clock.Add(-time.Hour), Reason: ca.Superseded}
		}, "failure ocsp.differs"},
		{"OCSP with another time", func(s *service) {
			s.answer = func(a *ca.OCSPAnswer) { a.Singles[0].At = a.Singles[0].At.Add(time.Second) }
		}, "failure ocsp.differs"},
		{"OCSP with another reason", func(s *service) {
			s.answer = func(a *ca.OCSPAnswer) {
				if a.Singles[0].Status == ca.OCSPRevoked {
					a.Singles[0].Reason = ca.PrivilegeWithdrawn
				}
			}
		}, "failure ocsp.differs"},
		{"OCSP does not know a certificate", func(s *service) { clear(s.good) }, "failure ocsp.differs"},
		{"OCSP invents", func(s *service) {
			s.answer = func(a *ca.OCSPAnswer) {
				if a.Singles[0].Status == ca.OCSPUnknown {
					a.Singles[0].Status = ca.OCSPGood
				}
			}
		}, "failure ocsp.invents"},
		{"no nonce", func(s *service) { s.answer = func(a *ca.OCSPAnswer) { a.Nonce = nil } }, "failure ocsp.nonce"},
		{"another nonce", func(s *service) {
			s.answer = func(a *ca.OCSPAnswer) {
				if a.Nonce != nil {
					a.Nonce = bytes.Repeat([]byte{7}, 32)
				}
			}
		}, "failure ocsp.nonce"},
		{"stale answers", func(s *service) {
			s.answer = func(a *ca.OCSPAnswer) {
				a.ThisUpdate, a.NextUpdate = s.clock.Add(-2*time.Hour), s.clock.Add(-time.Hour)
				a.ProducedAt = a.ThisUpdate
			}
		}, "failure ocsp.stale, warning clock.skew"},
		{"answers for a week", func(s *service) {
			s.answer = func(a *ca.OCSPAnswer) { a.NextUpdate = s.clock.Add(7 * 24 * time.Hour) }
		}, "failure ocsp.validity"},
		{"answers of the future", func(s *service) {
			s.answer = func(a *ca.OCSPAnswer) { a.ThisUpdate = s.clock.Add(10 * time.Minute) }
		}, "failure ocsp.validity"},
		{"the answers' clock", func(s *service) {
			s.answer = func(a *ca.OCSPAnswer) { a.ProducedAt = s.clock.Add(-10 * time.Minute) }
		}, "warning clock.skew"},
		{"damaged answers", func(s *service) {
			s.body = func(path string, b []byte) []byte {
				if path == "/ocsp" {
					return append(bytes.Clone(b[:len(b)-1]), b[len(b)-1]^1)
				}
				return b
			}
		}, "failure ocsp.invalid"},
		{"errors instead of answers", func(s *service) {
			s.body = func(path string, b []byte) []byte {
				if path == "/ocsp" {
					return ca.OCSPError(ca.OCSPTryLater)
				}
				return b
			}
		}, "failure ocsp.invalid"},
		{"signer in its last days", func(s *service) { s.renewSigner(2 * 24 * time.Hour) }, "warning ocsp.signer-ends"},
		{"signer in its last hours", func(s *service) { s.renewSigner(5 * time.Hour) }, "failure ocsp.signer-ends"},
		{"list out of order", func(s *service) {
			s.foreign(first, func(l *x509.RevocationList) { slices.Reverse(l.RevokedCertificateEntries) })
		}, "failure crl.order"},
		{"serial twice", func(s *service) {
			s.foreign(first, func(l *x509.RevocationList) {
				l.RevokedCertificateEntries = append(l.RevokedCertificateEntries[:1:1], l.RevokedCertificateEntries...)
			})
		}, "failure crl.order"},
		{"suspended", func(s *service) {
			serial := ca.NewSerial()
			s.foreign(first, func(l *x509.RevocationList) { // before all others, and newer than the full list
				serial[0], serial[1] = 0x40, 0
				l.RevokedCertificateEntries = append([]x509.RevocationListEntry{{SerialNumber: serial.Int(), RevocationTime: s.clock, ReasonCode: 6}}, l.RevokedCertificateEntries...)
			})
			s.revoked[serial] = crl.Revoked{Serial: serial, At: s.clock, Reason: 6}
		}, "failure crl.reason"},
		{"critical extension", func(s *service) {
			s.foreign(first, func(l *x509.RevocationList) {
				l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}})
			})
		}, "failure crl.critical"},
		{"delta", func(s *service) {
			s.foreign(first, func(l *x509.RevocationList) {
				l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}})
			})
		}, "failure crl.critical"},
		{"a holder signs answers", func(s *service) {
			key := revtest.NewKey(s.t)
			holder := revtest.Sign(s.t, s.leaves[0], s.ca.Cert, key.Public(), s.ca.Key)
			s.instead = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet || !strings.HasPrefix(r.URL.Path, "/ocsp/") {
					return false
				}
				request, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.URL.Path, "/ocsp/"))
				if err != nil {
					s.t.Error(err)
				}
				asked, err := ocsp.ParseRequest(request)
				if err != nil {
					s.t.Error(err)
				}
				answer := ocsp.Response{Status: ocsp.Unknown, SerialNumber: asked.SerialNumber, ThisUpdate: s.clock, NextUpdate: s.clock.Add(time.Hour), Certificate: holder}
				if e, ok := s.revoked[must(ca.SerialOf(asked.SerialNumber))]; ok {
					answer.Status, answer.RevokedAt, answer.RevocationReason = ocsp.Revoked, e.At, int(e.Reason)
				} else if s.good[must(ca.SerialOf(asked.SerialNumber))] {
					answer.Status = ocsp.Good
				}
				der, err := ocsp.CreateResponse(s.ca.Cert, holder, answer, key)
				if err != nil {
					s.t.Error(err)
				}
				w.Header().Set("Content-Type", typeOCSP)
				w.Header().Set("Cache-Control", "no-store")
				w.Write(der)
				return true
			}
		}, "failure ocsp.signer, warning clock.skew"},
		{"revoked CA", func(s *service) {
			serial, ok := ca.SerialOf(s.ca.Cert.SerialNumber)
			if !ok {
				s.t.Fatal("the CA's serial is not ours")
			}
			s.put("/crl/root/0.crl", s.root, crl.List{Number: 2, ThisUpdate: s.clock, NextUpdate: s.clock.AddDate(1, 0, 0),
				Entries: []crl.Revoked{{Serial: serial, At: s.clock, Reason: ca.CACompromise}}})
		}, "failure ca.ends"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newService(t)
			s.change(func() { test.spoil(s) })
			wantCodes(t, s.round(s.checker(func(c *Config) { c.Serials = partitions*perList + 1 })), test.want)
		})
	}
}

// foreign signs the list at path by other code, which signs what ours would refuse.
func (s *service) foreign(path string, change func(*x509.RevocationList)) {
	list, err := x509.ParseRevocationList(s.files[path])
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range list.Extensions {
		if e.Critical {
			list.ExtraExtensions = append(list.ExtraExtensions, e)
		}
	}
	change(list)
	if s.files[path], err = x509.CreateRevocationList(rand.Reader, list, s.ca.Cert, s.ca.Key); err != nil {
		s.t.Fatal(err)
	}
}

// renewSigner gives the CA a signer whose certificate ends after a time.
func (s *service) renewSigner(life time.Duration) {
	key := revtest.NewKey(s.t)
	cert := s.ca.Signer(s.t, key, func(c *x509.Certificate) { c.NotAfter = s.clock.Add(life) })
	signer, err := ca.NewResponder(s.ca.Cert, cert, key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.signer = signer
}

func flipped(der []byte) []byte {
	der = bytes.Clone(der)
	der[len(der)-1] ^= 1
	return der
}

// TestNumbersNeverGoBack: between rounds of one process, and of processes that keep a state.
func TestNumbersNeverGoBack(t *testing.T) {
	for _, test := range []struct {
		name  string
		later func(s *service)
		want  string
	}{
		{"number back", func(s *service) { s.partition(0, func(l *crl.List) { l.Number = 1 }) }, "failure crl.backwards"},
		{"time back", func(s *service) {
			s.partition(0, func(l *crl.List) { l.Number = 9; l.ThisUpdate = l.ThisUpdate.Add(-time.Hour) })
		}, "failure crl.backwards"},
		{"number used twice", func(s *service) { s.partition(0, func(l *crl.List) { l.NextUpdate = l.NextUpdate.Add(time.Minute) }) }, "failure crl.reused"},
		{"partition gone", func(s *service) { delete(s.files, fmt.Sprintf("/crl/%s/2.crl", name)) }, "failure crl.missing"},
		{"forward", func(s *service) { s.partition(0, func(l *crl.List) { l.Number = 9 }) }, ""},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %v", test.name, restart), func(t *testing.T) {
				s := newService(t)
				s.change(func() { s.clock = s.clock.Add(time.Minute); s.publish() }) // number 2
				path := filepath.Join(t.TempDir(), "state")
				unknowing := func(c *Config) { // of how many partitions there are
					c.Partitions, c.Certificates = 0, s.leaves[:1]
					var err error
					if c.State, err = LoadState(path); err != nil {
						t.Fatal(err)
					}
				}
				k := s.checker(unknowing)
				wantCodes(t, s.round(k), "")
				if err := k.State.Save(path); err != nil {
					t.Fatal(err)
				}
				s.change(func() { test.later(s) })
				if restart {
					k = s.checker(unknowing)
				}
				wantCodes(t, s.round(k), test.want)
				wantCodes(t, s.round(k), test.want) // and it is not forgotten by being told
			})
		}
	}
}

// TestRevokedDuringARound: what comes between list and answer is no difference.
func TestRevokedDuringARound(t *testing.T) {
	s := newService(t)
	serial, _ := ca.SerialOf(s.leaves[0].SerialNumber)
	s.change(func() {
		s.instead = func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/ocsp") && s.revoked[serial].At.IsZero() {
				s.clock = s.clock.Add(time.Second)
				s.revoked[serial] = crl.Revoked{Serial: serial, At: s.clock, Reason: ca.KeyCompromise}
				s.lists[0] = append(s.lists[0], s.revoked[serial])
				s.numbers++
				s.partition(0, func(*crl.List) {})
			}
			return false
		}
	})
	wantCodes(t, s.round(s.checker(func(*Config) {})), "")
}

// TestRevokedJustNow: what a cache may not know yet is no difference, and after a while is.
func TestRevokedJustNow(t *testing.T) {
	s := newService(t)
	serial, _ := ca.SerialOf(s.leaves[0].SerialNumber)
	s.change(func() { s.revoked[serial] = crl.Revoked{Serial: serial, At: s.clock, Reason: ca.KeyCompromise} }) // on no list yet
	k := s.checker(func(*Config) {})
	wantCodes(t, s.round(k), "")
	s.change(func() { s.clock = s.clock.Add(3 * time.Minute) })
	wantCodes(t, s.round(k), "failure ocsp.differs")
}

// TestUnchangedListsAreNotReadAgain: a round each minute costs what has changed.
func TestUnchangedListsAreNotReadAgain(t *testing.T) {
	s := newService(t)
	sent := 0
	s.change(func() {
		s.instead = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/crl/") && r.Header.Get("If-None-Match") == "" {
				sent++
			}
			return false
		}
	})
	k := s.checker(func(*Config) {})
	wantCodes(t, s.round(k), "")
	all := sent
	s.change(func() { s.clock = s.clock.Add(time.Minute) })
	r := s.round(k)
	wantCodes(t, r, "")
	if sent-all > 2 || len(r.Lists) != partitions+2 { // where partitions end is asked without
		t.Errorf("%d lists of %d were read again", sent-all, all)
	}
	// An old list under an old tag is judged by the clock all the same.
	s.change(func() { s.clock = s.clock.Add(13 * time.Hour) })
	wantCodes(t, s.round(k), "warning crl.late")
}

func TestClaims(t *testing.T) {
	s := newService(t)
	good, revoked := s.leaves[0].SerialNumber, s.leaves[partitions].SerialNumber
	at := s.revoked[must(ca.SerialOf(revoked))].At.UTC().Format(time.RFC3339)
	for _, test := range []struct{ claim, want string }{
		{fmt.Sprintf(`{"serial":"%x","status":"good"}`, good), ""},
		{fmt.Sprintf(`{"serial":"%x","status":"revoked","at":%q,"reason":"keyCompromise"}`, revoked, at), ""},
		{fmt.Sprintf(`{"serial":"%x","status":"revoked","issuer":%q}`, revoked, name), ""},
		{`{"serial":"41:00:00:01","status":"unknown"}`, ""},
		{fmt.Sprintf(`{"serial":"%x","status":"revoked"}`, good), "failure claim.differs"},
		{fmt.Sprintf(`{"serial":"%x","status":"good"}`, revoked), "failure claim.differs"},
		{fmt.Sprintf(`{"serial":"%x","status":"unknown"}`, good), "failure claim.differs"},
		{fmt.Sprintf(`{"serial":"%x","status":"revoked","at":"2020-01-01T00:00:00Z"}`, revoked), "failure claim.differs"},
		{fmt.Sprintf(`{"serial":"%x","status":"revoked","reason":"superseded"}`, revoked), "failure claim.differs"},
		{fmt.Sprintf(`{"serial":"%x","status":"revoked","issuer":"another"}`, revoked), "failure claim.differs"},
	} {
		claims, err := ReadClaims(strings.NewReader("\n" + test.claim + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		r := s.round(s.checker(func(c *Config) { c.Claims = claims }))
		if codes(r) != test.want || r.Claims != 1 {
			t.Errorf("%s: %s, want %q", test.claim, codes(r), test.want)
		}
	}
}

func must(s ca.Serial, ok bool) ca.Serial {
	if !ok {
		panic("no serial of ours")
	}
	return s
}

func TestReadClaimsRefuses(t *testing.T) {
	for _, line := range []string{"x", `{}`, `{"serial":"zz","status":"good"}`, `{"serial":"-1","status":"good"}`, `{"serial":"0","status":"good"}`,
		`{"serial":"1","status":"fine"}`, `{"serial":"1","status":"good","reason":"superseded"}`, `{"serial":"1","status":"good","at":"2026-01-01T00:00:00Z"}`,
		`{"serial":"1","status":"revoked","reason":"whatever"}`, `{"serial":"1","status":"good","more":1}`, `{"serial":"` + strings.Repeat("1", 41) + `","status":"good"}`,
		`{"serial":"1","status":"good"` + strings.Repeat(" ", maxClaimLine) + `}`} {
		if c, err := ReadClaims(strings.NewReader(line + "\n")); err == nil {
			t.Errorf("%.60s is read as %+v", line, c)
		}
	}
}

func FuzzReadClaims(f *testing.F) {
	f.Add([]byte(`{"serial":"47f1","status":"revoked","at":"2026-03-14T09:26:53Z","reason":"keyCompromise"}`))
	f.Add([]byte("{\"serial\":\"1\",\"status\":\"good\"}\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		claims, err := ReadClaims(bytes.NewReader(b))
		for _, c := range claims {
			if err == nil && (c.Serial.Sign() <= 0 || c.Status != Revoked && (!c.At.IsZero() || c.Reason != nil)) {
				t.Errorf("%q is read as %+v", b, c)
			}
		}
	})
}

// TestNonceOf reads what the real signer writes, and nothing else.
func TestNonceOf(t *testing.T) {
	for _, b := range [][]byte{nil, {0x30, 0}, bytes.Repeat([]byte{0x30, 0x80}, 40)} {
		if n := nonceOf(b); n != nil {
			t.Errorf("%x has nonce %x", b, n)
		}
	}
}

func FuzzNonceOf(f *testing.F) {
	f.Add([]byte{0x30, 3, 2, 1, 1})
	f.Fuzz(func(_ *testing.T, b []byte) { nonceOf(b) })
}

// TestNames: what CAs are called is known from certificates, by being told, or by a guess
// that is tried.
func TestNames(t *testing.T) {
	s := newService(t)
	only := func(a ...Authority) func(*Config) {
		return func(c *Config) { c.Authorities, c.Certificates = a, nil }
	}
	root, person := Authority{Certificate: s.root.Cert}, Authority{Certificate: s.ca.Cert}
	r := s.round(s.checker(only(root, person)))
	wantCodes(t, r, "warning ca.unnamed")
	if len(r.Lists) != 1 {
		t.Errorf("the root's list is not among %v", r.Lists)
	}
	person.Guess = "something-else"
	wantCodes(t, s.round(s.checker(only(root, person))), "warning ca.unnamed")
	person.Guess = name
	wantCodes(t, s.round(s.checker(only(root, person))), "")
	person.Guess, person.Name = "", name
	wantCodes(t, s.round(s.checker(only(root, person))), "")
	stranger := revtest.NewAuthority(t, revtest.Another, nil).Leaf(t, serialOfCert(s.leaves[0]), 0)
	wantCodes(t, s.round(s.checker(func(c *Config) { c.Certificates = append(c.Certificates, stranger) })), "warning cert.foreign")
}

func TestNewRefuses(t *testing.T) {
	s := newService(t)
	good := Config{Authorities: []Authority{{Certificate: s.root.Cert}}, Base: s.base, Now: s.now}
	for name, change := range map[string]func(*Config){
		"no CA":         func(c *Config) { c.Authorities = nil },
		"a leaf as CA":  func(c *Config) { c.Authorities = []Authority{{Certificate: s.leaves[0]}} },
		"no address":    func(c *Config) { c.Base = "" },
		"no http":       func(c *Config) { c.Base = "ftp://status.example" },
		"no clock":      func(c *Config) { c.Now = nil },
		"with question": func(c *Config) { c.Base += "?x" },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "", "other": `{"version":2,"lists":{}}`, "more": `{"version":1,"lists":{},"x":1}`,
		"number": `{"version":1,"lists":{"/crl/a/0.crl":{"number":"x","this_update":"2026-01-01T00:00:00Z","sha256":""}}}`} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadState(path); err == nil {
			t.Errorf("%s is a state", text)
		}
	}
	if _, err := LoadState(filepath.Join(dir, "none")); err != nil {
		t.Error(err)
	}
}

// TestReport: what people, monitoring and machines read.
func TestReport(t *testing.T) {
	s := newService(t)
	k := s.checker(func(*Config) {})
	first := s.round(k)
	if lines := first.Changes(nil); len(lines) != 1 || !strings.Contains(lines[0], "ok") {
		t.Errorf("the first round says %q", lines)
	}
	s.change(func() { s.partition(0, func(l *crl.List) { l.DistributionPoint = "" }) })
	second := s.round(k)
	lines := second.Changes(first)
	if len(lines) != 2 || !strings.Contains(strings.Join(lines, "\n"), "failure  crl.scope") { // the number was used twice, too
		t.Errorf("the second round says %q", lines)
	}
	if lines := s.round(k).Changes(second); len(lines) != 0 {
		t.Errorf("nothing changed, and it says %q", lines)
	}
	if lines := first.Changes(second); len(lines) != 2 || !strings.Contains(lines[0], "no longer") {
		t.Errorf("all is well again, and it says %q", lines)
	}
	if text := second.String(); !strings.HasPrefix(text, "failure ") || !strings.Contains(text, "2 failures, 0 warnings") {
		t.Errorf("report: %s", text)
	}
	path := filepath.Join(t.TempDir(), "sigill.prom")
	if err := second.WriteMetrics(path); err != nil {
		t.Fatal(err)
	}
	text := string(revtest.Read(t, path))
	for _, want := range []string{`sigill_check_findings{grade="failure"} 2`, `sigill_check_findings{grade="warning"} 0`, `sigill_check_finding{code="crl.scope",grade="failure"} 1`,
		"sigill_check_crl_number{url=", "sigill_check_crl_remaining_seconds{url=", "sigill_check_ocsp_signer_remaining_seconds{authority="} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics have no %s:\n%s", want, text)
		}
	}
	if b, err := json.Marshal(first); err != nil || !strings.Contains(string(b), `"findings":[]`) {
		t.Errorf("JSON: %s, %v", b, err)
	}
}
