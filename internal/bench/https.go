package bench

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"sigill/ca"
	"sigill/internal/api"
	"sigill/internal/bench/figure"
	"sigill/internal/texts"
	"sigill/internal/wire"
	"sigill/internal/world"
	"sigill/orders/issue"
	"sigill/orders/register"
	"sigill/policy"
)

// certificatesHTTPS: downloads are begun, keys made and connections open; what is
// timed is the submit step alone, from the request to the stored certificate in
// the answer, and beside it the same requests answered by a constant.
func certificatesHTTPS(ctx context.Context, c Config, emit func(Figure)) error {
	n := c.Many(1024)
	with, ceiling, err := submitAll(ctx, c, n, nil)
	if err != nil {
		return err
	}
	without, _, err := submitAll(ctx, c, n, noLint{})
	if err != nil {
		return err
	}
	unlogged, _, err := submitAll(ctx, c, n, nil, withoutLog)
	if err != nil {
		return err
	}
	note := "submit step of prepared downloads on open mutual-TLS connections: CSR, proof of possession, mandate, SCT, lint, intent, leaf in the log under a signed head, signature, certificate, audit; load generator on the same cores; ceiling: the same requests on the same sockets, answered by a constant of the same length"
	emit(Figure{Name: "certificates_https", Value: with, Unit: "1/s", Ceiling: ceiling, Ratio: with / ceiling, Note: note})
	emit(Figure{Name: "certificates_https_no_lint", Value: without, Unit: "1/s", Ceiling: ceiling, Ratio: without / ceiling, Note: "the same with the linter switched off"})
	emit(Figure{Name: "certificates_https_no_log", Value: unlogged, Unit: "1/s", Ceiling: ceiling, Ratio: unlogged / ceiling,
		Note: fmt.Sprintf("the same without the certificate log: with it, issuing has %.2f of this speed", with/unlogged)})
	return nil
}

type noLint struct{}

func (noLint) Lint([]byte, ca.ProfileName) error { return nil }

// prepared is a request that is ready to be sent on its open connection.
type prepared struct {
	client  *http.Client
	address string
	body    []byte
}

func submitAll(ctx context.Context, c Config, n int, linter ca.Linter, change ...func(*world.Config)) (perSecond, ceiling float64, err error) {
	r, err := newRig(ctx, c, n, linter, change...)
	if err != nil {
		return 0, 0, err
	}
	defer r.close()
	orders, err := r.renewals(ctx, n)
	if err != nil {
		return 0, 0, err
	}
	catalogue, err := texts.Load()
	if err != nil {
		return 0, 0, err
	}
	handler := api.New(api.Config{Register: r.Register, Orders: r.Orders, Downloads: r.Downloads, Texts: catalogue,
		Log: slog.New(slog.DiscardHandler), MinClient: "0", IssuerCertificate: func(id string) []byte {
			if i, err := r.Issuers.Issuer(ca.IssuerID(id)); err == nil {
				return i.Certificate().Raw
			}
			return nil
		}})
	server, address, err := r.listen(ctx, handler)
	if err != nil {
		return 0, 0, err
	}
	defer server.Close()
	ready, err := r.prepare(ctx, orders, address)
	if err != nil {
		return 0, 0, err
	}
	c.Progress("%d certificates over mutual TLS", n)
	took, size, err := send(ready)
	if err != nil {
		return 0, 0, err
	}
	constant := bytes.Repeat([]byte("x"), size)
	server.Handler.(*swap).to = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body)
		w.Write(constant)
	})
	bare, _, err := send(ready)
	return float64(n) / took.Seconds(), float64(n) / bare.Seconds(), err
}

// swap is a handler that is exchanged while nothing is under way.
type swap struct{ to http.Handler }

func (s *swap) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.to.ServeHTTP(w, r) }

// listen serves a handler as the card listener does.
func (r *rig) listen(ctx context.Context, h http.Handler) (*http.Server, string, error) {
	server := api.NewServer(&swap{h})
	address, err := r.listenWith(ctx, server)
	return server, address, err
}

// listenWith lets a server serve on a free port.
func (r *rig) listenWith(ctx context.Context, server *http.Server) (address string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	cert, err := r.serverCertificate(ctx, key)
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	config := api.TLS(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}, NextProtos: []string{"http/1.1"}})
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	go server.Serve(tls.NewListener(l, config))
	return "https://" + l.Addr().String(), nil
}

func (r *rig) serverCertificate(ctx context.Context, key *ecdsa.PrivateKey) ([]byte, error) {
	req := ca.Request{Profile: policy.ProfileServer, PublicKey: key.Public(), NotBefore: r.Now().Add(-register.Backdate), NotAfter: r.Now().Add(24 * time.Hour),
		Content: ca.Content{Country: "SE", Organisation: "Sigill", CommonName: "127.0.0.1", DNSNames: []string{"127.0.0.1"}}}
	issuer, err := r.World.Issuers.Issuer("function-v1")
	if err != nil {
		return nil, err
	}
	cert, err := r.Issue.Issue(ctx, issuer.ID(), req, issue.Binding{}, nil)
	if err != nil {
		return nil, err
	}
	return cert.DER, nil
}

// prepare begins each holder's download and opens the connection that the request
// will be sent on.
func (r *rig) prepare(ctx context.Context, orders []policy.OrderID, address string) ([]prepared, error) {
	function, err := r.World.Issuers.Issuer("function-v1")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(function.Certificate())
	out := make([]prepared, len(orders))
	return out, figure.Each(len(orders), holdersAtOnce, func(i int) error {
		h := r.holders[i]
		st, err := r.Begin(ctx, h, orders[i])
		if err != nil {
			return err
		}
		csr, err := h.Request(st)
		if err != nil {
			return err
		}
		body, err := json.Marshal(wire.Submit{CSR: csr})
		if err != nil {
			return err
		}
		config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13,
			Certificates: []tls.Certificate{{Certificate: [][]byte{h.CertificateOf()}, PrivateKey: h.CurrentKey()}}}
		p := prepared{client: &http.Client{Transport: &http.Transport{TLSClientConfig: config}}, body: body,
			address: fmt.Sprintf("%s/card/v1/downloads/%s/items/authentication", address, st.Download.ID)}
		out[i] = p
		resp, err := p.client.Get(fmt.Sprintf("%s/card/v1/downloads/%s", address, st.Download.ID)) // the handshake
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	})
}

// send sends every request, 64 at once, and returns how long that took and the
// length of an answer.
func send(ready []prepared) (took time.Duration, size int, err error) {
	sizes := make([]int, len(ready))
	began := time.Now()
	err = figure.Each(len(ready), holdersAtOnce, func(i int) error {
		p := ready[i]
		resp, err := p.client.Post(p.address, "application/json", bytes.NewReader(p.body))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("submit: %s: %s", resp.Status, b)
		}
		sizes[i] = len(b)
		return nil
	})
	return time.Since(began), sizes[0], err
}
