package cardclient_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sigill/internal/cardclient"
	"sigill/internal/token"
	"sigill/internal/wire"
	"sigill/policy"
)

// scene is a card with a current eID, an order to replace it, and a client.
type scene struct {
	*fake
	card   *token.Soft
	client *cardclient.Client
	old    string // fingerprint of the current certificate
	oldID  []byte
}

func newScene(t *testing.T) *scene {
	t.Helper()
	f := newFake(t)
	c, err := token.NewMemory(token.SoftConfig{Number: number})
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{fake: f, card: c}
	s.oldID, s.old = f.certified(t, c, policy.Authentication)
	f.removes = []string{s.old}
	s.client = &cardclient.Client{Server: f.url, Roots: f.roots, Card: c, Version: "1.0.0", Language: "sv",
		Wait: func(context.Context, time.Duration) error { return nil }}
	return s
}

// finished asserts the end of every run that ends well: the new certificate
// alone is on the card, current, and the old one is gone and reported.
func (s *scene) finished(t *testing.T) {
	t.Helper()
	if s.download == nil || s.download.State != "installed" {
		t.Fatalf("download: %+v", s.download)
	}
	now := fingerprint(s.download.Items[0].Certificate)
	if !has(t, s.card, now) || s.accepted[now] == "" {
		t.Error("the new certificate is not on the card, or not current")
	}
	if has(t, s.card, s.old) || s.accepted[s.old] != "" {
		t.Error("the old certificate is still on the card, or still current")
	}
}

// lives asserts what must hold at every moment: a certificate on the card logs
// in.
func (s *scene) lives(t *testing.T, when string) {
	t.Helper()
	if _, err := s.client.Me(t.Context(), cardclient.Identity{}); err != nil {
		t.Errorf("%s: the card does not log in: %v", when, err)
	}
}

func TestFetchReplaces(t *testing.T) {
	s := newScene(t)
	ui := &holder{}
	result, err := s.client.Fetch(t.Context(), "", ui)
	if err != nil {
		t.Fatal(err)
	}
	s.finished(t)
	if len(s.removed) != 1 || s.removed[0] != s.old || len(result.Removed) != 1 || result.Removed[0] != s.old {
		t.Errorf("removed: reported %v, result %v", s.removed, result.Removed)
	}
	if len(result.Installed) != 1 || result.Resumed || result.Order != "ord_1" {
		t.Errorf("result: %+v", result)
	}
	want := "begin generatedauthentication submittedauthentication writtenauthentication read-backauthentication confirmed removed"
	if got := strings.Join(ui.steps, " "); got != want {
		t.Errorf("steps: %s\nwant:  %s", got, want)
	}
	if ui.asked != 1 || ui.plan.Removes[0].Fingerprint != s.old {
		t.Errorf("asked %d times, plan %+v", ui.asked, ui.plan)
	}
	if _, err := s.client.Fetch(t.Context(), "", ui); !errors.Is(err, cardclient.ErrNothing) {
		t.Errorf("again: %v, want ErrNothing", err)
	}
}

func TestFetchFirstWithTransport(t *testing.T) {
	f := newFake(t)
	c, err := token.NewMemory(token.SoftConfig{Number: number})
	if err != nil {
		t.Fatal(err)
	}
	f.signing = true
	_, transport := f.certified(t, c, policy.Transport)
	client := &cardclient.Client{Server: f.url, Roots: f.roots, Card: c, Version: "1.0.0"}
	result, err := client.Fetch(t.Context(), "ord_1", &holder{})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Installed) != 2 || len(result.Removed) != 0 || !has(t, c, transport) {
		t.Errorf("result %+v; the transport certificate stays: %t", result, has(t, c, transport))
	}
	// From now on the eID logs in, not the transport certificate.
	as, me, err := client.Login(t.Context(), cardclient.Identity{})
	if err != nil || as.Slot != policy.Authentication || me.LoggedInWith != "authentication" {
		t.Errorf("log-in afterwards: %+v, %v", as, err)
	}
}

var errPulled = errors.New("card pulled")

// TestPulledCard cuts the run off after each step. The card logs in at every
// moment, and the next run ends right.
func TestPulledCard(t *testing.T) {
	for _, signing := range []bool{false, true} {
		for _, at := range []string{"begin", "generated", "submitted", "written", "read-back", "confirmed", "removed"} {
			t.Run(fmt.Sprintf("%s signing=%t", at, signing), func(t *testing.T) {
				s := newScene(t)
				s.signing = signing
				s.client.After = func(step string) error {
					if step == at {
						return errPulled
					}
					return nil
				}
				if _, err := s.client.Fetch(t.Context(), "", &holder{}); !errors.Is(err, errPulled) {
					t.Fatalf("first run: %v", err)
				}
				confirmed := at == "confirmed" || at == "removed"
				if !confirmed && !has(t, s.card, s.old) {
					t.Error("the old certificate was deleted before the confirm answer")
				}
				s.lives(t, "after the cut")
				s.client.After = nil
				result, err := s.client.Fetch(t.Context(), "", &holder{})
				// After "removed" nothing is left to do.
				if err != nil && (at != "removed" || !errors.Is(err, cardclient.ErrNothing)) {
					t.Fatalf("second run: %v", err)
				}
				if !confirmed && !result.Resumed {
					t.Error("the second run did not go on with the first")
				}
				s.finished(t)
				if want := len(s.plan.Adds); s.issued != want {
					t.Errorf("%d certificates were issued, want %d", s.issued, want)
				}
				if n := count(t, s.card); n != len(s.plan.Adds) {
					t.Errorf("%d objects on the card, want %d", n, len(s.plan.Adds))
				}
			})
		}
	}
}

// TestLostAnswers: the server did it, its answer never came.
func TestLostAnswers(t *testing.T) {
	for _, step := range []string{"me", "begin", "submit", "confirm", "removed"} {
		for _, times := range []int{1, 3} {
			t.Run(fmt.Sprint(step, times), func(t *testing.T) {
				s := newScene(t)
				s.lost[step] = times
				if _, err := s.client.Fetch(t.Context(), "", &holder{}); err != nil {
					t.Fatal(err)
				}
				s.finished(t)
				if s.issued != 1 {
					t.Errorf("%d certificates issued", s.issued)
				}
			})
		}
	}
	t.Run("for good", func(t *testing.T) {
		s := newScene(t)
		s.lost["confirm"] = 1000
		if _, err := s.client.Fetch(t.Context(), "", &holder{}); err == nil {
			t.Fatal("no answer to confirm, and no error")
		}
		if !has(t, s.card, s.old) {
			t.Fatal("the old certificate was deleted without an answer")
		}
		s.lost["confirm"] = 0
		if _, err := s.client.Fetch(t.Context(), "", &holder{}); err != nil {
			t.Fatal(err)
		}
		s.finished(t)
	})
}

// TestInterruptedServer: an attempt was given up by the server, a challenge ran
// out, the server asks to come again.
func TestInterruptedServer(t *testing.T) {
	t.Run("intended", func(t *testing.T) {
		s := newScene(t)
		s.client.After = func(step string) error {
			if step == "generated" {
				return errPulled
			}
			return nil
		}
		s.client.Fetch(t.Context(), "", &holder{})
		s.download.Items[0].State = "intended"
		s.client.After = nil
		if _, err := s.client.Fetch(t.Context(), "", &holder{}); err != nil {
			t.Fatal(err)
		}
		s.finished(t)
	})
	t.Run("old challenge", func(t *testing.T) {
		s := newScene(t)
		s.edit = func(d *wire.Download) { d.Items[0].ChallengeExpires = time.Now().Add(-time.Minute) }
		if _, err := s.client.Fetch(t.Context(), "", &holder{}); err != nil {
			t.Fatal(err)
		}
		s.finished(t)
	})
	t.Run("busy", func(t *testing.T) {
		s := newScene(t)
		busy := 2
		s.fault = func(w http.ResponseWriter, r *http.Request, step string) bool {
			if step != "submit" || busy == 0 {
				return false
			}
			busy--
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		if _, err := s.client.Fetch(t.Context(), "", &holder{}); err != nil {
			t.Fatal(err)
		}
		s.finished(t)
	})
	t.Run("orphan of another download", func(t *testing.T) {
		s := newScene(t)
		s.client.After = func(step string) error { return errPulled }
		s.client.Fetch(t.Context(), "", &holder{})
		id, err := s.card.GenerateKey(t.Context(), policy.Authentication, token.P256)
		if err != nil {
			t.Fatal(err)
		}
		s.fault = func(w http.ResponseWriter, r *http.Request, step string) bool {
			if step != "submit" {
				return false
			}
			s.fault = nil
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(422)
			w.Write([]byte(`{"title":"seen","status":422,"rule":"key.seen"}`))
			return true
		}
		s.client.After = nil
		if _, err := s.client.Fetch(t.Context(), "", &holder{}); err != nil {
			t.Fatal(err)
		}
		s.finished(t)
		if _, err := s.card.Signer(t.Context(), id); !errors.Is(err, token.ErrNotFound) {
			t.Errorf("the refused key was not swept when the download had ended: %v", err)
		}
	})
}

// TestBadServer: what a server, or who sits between, may not make a card do.
func TestBadServer(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*scene, *wire.Download)
		want error
	}{
		"another plan under the hash": {func(s *scene, d *wire.Download) {
			d.Plan = []byte(strings.Replace(string(d.Plan), "Öberg", "Åberg", 1))
		}, cardclient.ErrPlan},
		"another download": {func(s *scene, d *wire.Download) { d.ID = "dl_2" }, cardclient.ErrPlan},
		"another order":    {func(s *scene, d *wire.Download) { d.Order = "ord_9" }, cardclient.ErrPlan},
		"another card":     {func(s *scene, d *wire.Download) { s.plan.Card = "9752000000000000099"; s.rehash(d) }, cardclient.ErrPlan},
		"another log-in":   {func(s *scene, d *wire.Download) { s.plan.Login = strings.Repeat("0", 64); s.rehash(d) }, cardclient.ErrPlan},
		"an item too many": {func(s *scene, d *wire.Download) { d.Items = append(d.Items, wire.Item{Slot: "signing"}) }, cardclient.ErrPlan},
		"nothing to add":   {func(s *scene, d *wire.Download) { s.plan.Adds, d.Items = nil, nil; s.rehash(d) }, cardclient.ErrPlan},
		"a foreign certificate": {func(s *scene, d *wire.Download) {
			d.Items[0].State, d.Items[0].Certificate = "signed", s.ca.Certificate.Raw
		}, cardclient.ErrKeyElsewhere},
		"a certificate of an old key": {func(s *scene, d *wire.Download) {
			d.Items[0].State = "signed"
			d.Items[0].Certificate, _ = s.card.ReadCertificate(context.Background(), s.oldID)
			s.plan.Adds[0].Content.CommonName = "Bo Berg"
			s.rehash(d)
		}, cardclient.ErrCertificate},
		"a longer life": {func(s *scene, d *wire.Download) {
			s.plan.Adds[0].NotAfter = time.Now().UTC().Truncate(time.Second)
			s.rehash(d)
			s.download.Plan, s.download.PlanHash = d.Plan, d.PlanHash
		}, cardclient.ErrCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.edit = func(d *wire.Download) { c.edit(s, d) }
			if _, err := s.client.Fetch(t.Context(), "", &holder{}); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if !has(t, s.card, s.old) {
				t.Error("the old certificate was deleted")
			}
			s.lives(t, "afterwards")
		})
	}
	t.Run("removes what was not planned", func(t *testing.T) {
		s := newScene(t)
		_, other := s.certified(t, s.card, policy.Authentication)
		s.client.After = func(step string) error {
			if step == "begin" {
				s.removes = append(s.removes, other)
			}
			return nil
		}
		if _, err := s.client.Fetch(t.Context(), "", &holder{}); !errors.Is(err, cardclient.ErrPlan) {
			t.Errorf("%v, want ErrPlan", err)
		}
		if !has(t, s.card, other) {
			t.Error("another eID was deleted")
		}
	})
}

func (s *scene) rehash(d *wire.Download) {
	b, hash := s.plan.Bytes()
	d.Plan, d.PlanHash = b, fmt.Sprintf("%x", hash)
}

// liar is a card that gives back another certificate than was written.
type liar struct{ *token.Soft }

func (l liar) ReadCertificate(ctx context.Context, id []byte) ([]byte, error) {
	der, err := l.Soft.ReadCertificate(ctx, id)
	if err == nil {
		der[len(der)-1] ^= 1
	}
	return der, err
}

func TestReadBackIsCompared(t *testing.T) {
	s := newScene(t)
	s.client.Card = liar{s.card}
	if _, err := s.client.Fetch(t.Context(), "", &holder{}); !errors.Is(err, cardclient.ErrReadBack) {
		t.Errorf("%v, want ErrReadBack", err)
	}
	if s.download.State != "planned" {
		t.Error("it was confirmed all the same")
	}
}

func TestDeclined(t *testing.T) {
	s := newScene(t)
	if _, err := s.client.Fetch(t.Context(), "", &holder{no: true}); !errors.Is(err, cardclient.ErrDeclined) {
		t.Errorf("%v, want ErrDeclined", err)
	}
	if s.download.State != "abandoned" || count(t, s.card) != 1 {
		t.Errorf("download %s, %d objects", s.download.State, count(t, s.card))
	}
}

// TestAbandon: another card has the key; giving up frees the order and takes the
// dead certificate off the card.
func TestAbandon(t *testing.T) {
	s := newScene(t)
	if _, err := s.client.Abandon(t.Context()); !errors.Is(err, cardclient.ErrNoneOpen) {
		t.Errorf("nothing open: %v, want ErrNoneOpen", err)
	}
	s.client.After = func(step string) error {
		if step == "read-back" {
			return errPulled
		}
		return nil
	}
	s.client.Fetch(t.Context(), "", &holder{})
	if count(t, s.card) != 2 {
		t.Fatal("the pending certificate is not on the card")
	}
	s.client.After = nil
	if id, err := s.client.Abandon(t.Context()); err != nil || id != "dl_1" {
		t.Fatalf("%q, %v", id, err)
	}
	if count(t, s.card) != 1 || !has(t, s.card, s.old) {
		t.Error("the card does not hold the old certificate alone")
	}
	if _, err := s.client.Fetch(t.Context(), "", &holder{}); err != nil {
		t.Fatalf("anew: %v", err)
	}
	s.finished(t)
}

func TestChoosing(t *testing.T) {
	s := newScene(t)
	s.offers = append(s.offers, wire.Offer{Order: "ord_2"})
	_, err := s.client.Fetch(t.Context(), "", &holder{})
	if e, ok := errors.AsType[*cardclient.ChooseError](err); !ok || len(e.Offers) != 2 {
		t.Errorf("two orders: %v, want ChooseError", err)
	}
	s.client.After = func(string) error { return errPulled }
	s.client.Fetch(t.Context(), "ord_2", &holder{})
	s.client.After = nil
	if _, err := s.client.Fetch(t.Context(), "ord_1", &holder{}); !errors.Is(err, cardclient.ErrOtherOpen) {
		t.Errorf("another is open: %v, want ErrOtherOpen", err)
	}
	if r, err := s.client.Fetch(t.Context(), "", &holder{}); err != nil || r.Order != "ord_2" {
		t.Errorf("the open one: %+v, %v", r, err)
	}
}

func TestLogin(t *testing.T) {
	s := newScene(t)
	delete(s.accepted, s.old)
	_, err := s.client.Me(t.Context(), cardclient.Identity{})
	if p, ok := errors.AsType[*wire.Problem](err); !ok || p.Status != 403 || p.Next == "" {
		t.Errorf("refused: %v, want the server's problem", err)
	}
	s.accepted[s.old] = "authentication"
	s.min = "1.10.0"
	if _, err := s.client.Me(t.Context(), cardclient.Identity{}); !errors.Is(err, cardclient.ErrClientTooOld) {
		t.Errorf("old client: %v", err)
	}
	s.min = ""
	s.client.LoginWith = []byte("none")
	if _, err := s.client.Me(t.Context(), cardclient.Identity{}); !errors.Is(err, cardclient.ErrNoCertificate) {
		t.Errorf("no such object: %v", err)
	}
	s.client.LoginWith = nil
	other, err := token.NewMemory(token.SoftConfig{Number: "9752000000000000099"})
	if err != nil {
		t.Fatal(err)
	}
	if s.client.Card = other; true {
		if _, err := s.client.Me(t.Context(), cardclient.Identity{}); !errors.Is(err, cardclient.ErrNoCertificate) {
			t.Errorf("empty card: %v", err)
		}
		s.certified(t, other, policy.Authentication)
		if _, err := s.client.Me(t.Context(), cardclient.Identity{}); !errors.Is(err, cardclient.ErrOtherCard) {
			t.Errorf("another card: %v, want ErrOtherCard", err)
		}
	}
	for _, server := range []string{"http://127.0.0.1:1", "https://", "https://h/path", "https://u@h", "::"} {
		s.client.Server = server
		if _, err := s.client.Me(t.Context(), cardclient.Identity{}); err == nil || strings.Contains(err.Error(), "refused") {
			t.Errorf("server %q: %v", server, err)
		}
	}
}

// TestOwnCertificateStays: whatever the server says, the certificate that is
// logged in with is not deleted; what it says is superseded beside it is.
func TestOwnCertificateStays(t *testing.T) {
	s := newScene(t)
	_, dead := s.certified(t, s.card, policy.Transport)
	delete(s.accepted, dead)
	s.eids = []wire.EID{{Certificates: []wire.Certificate{
		{Fingerprint: s.old, State: "superseded", Profile: "authentication"}, {Fingerprint: dead, State: "revoked", Profile: "authentication"}}}}
	s.offers = nil
	if r, err := s.client.Fetch(t.Context(), "", &holder{}); err != nil || len(r.Removed) != 1 || r.Removed[0] != dead {
		t.Errorf("%+v, %v", r, err)
	}
	if !has(t, s.card, s.old) || has(t, s.card, dead) {
		t.Error("the card does not hold its own certificate alone")
	}
}

func TestReportLost(t *testing.T) {
	s := newScene(t)
	if _, err := s.client.ReportLost(t.Context()); err != nil || !s.blocked {
		t.Errorf("%v, blocked %t", err, s.blocked)
	}
}

func TestSelfTest(t *testing.T) {
	s := newScene(t)
	run := func() (all []cardclient.Check, ok bool) {
		ok = s.client.SelfTest(t.Context(), func(c cardclient.Check) { all = append(all, c) })
		return all, ok
	}
	if all, ok := run(); !ok || len(all) != 5 {
		t.Errorf("a healthy card: %+v", all)
	}
	_, s.client.Roots = serverCertificate(t, "127.0.0.1")
	if all, ok := run(); ok || len(all) != 4 || !errors.Is(all[3].Err, cardclient.ErrInspected) || !strings.Contains(all[3].Detail, "TEST Function CA") {
		t.Errorf("an inspecting proxy: %+v", all)
	}
	s.client.Roots = s.roots
	s.client.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if all, ok := run(); ok || !errors.Is(all[1].Err, cardclient.ErrNotValidNow) {
		t.Errorf("an expired certificate: %+v", all)
	}
	s.client.Now = nil
	s.client.Server = "https://127.0.0.1:1"
	if all, ok := run(); ok || len(all) != 3 || all[2].Err == nil {
		t.Errorf("a server that does not answer: %+v", all)
	}
}

// TestTLS12IsRefused: the certificate would cross the network in clear.
func TestTLS12IsRefused(t *testing.T) {
	s := newScene(t)
	cert, roots := serverCertificate(t, "127.0.0.1")
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.(*tls.Conn).Handshake()
			c.Close()
		}
	}()
	s.client.Server, s.client.Roots = "https://"+l.Addr().String(), roots
	if _, err := s.client.Me(t.Context(), cardclient.Identity{}); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.2: %v", err)
	}
}
