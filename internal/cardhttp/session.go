// Package cardhttp makes requests over mutual TLS with a certificate on a card.
// It owns the connection, the second try and the reading of problems, and knows
// no route and no document but [wire.Problem].
//
// Its central rule: a request is sent again only when its answer was lost or the
// server asked for it again. A server that is not who it must be, a handshake that
// was refused and a card that does not sign are final, so that nothing here uses
// up a card's tries of its PIN.
package cardhttp

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"sigill/internal/token"
)

const (
	dialTimeout      = 15 * time.Second
	handshakeTimeout = 30 * time.Second // a slow card signs in it
	idleTimeout      = 30 * time.Second
)

// Config says whom to talk to, and how.
type Config struct {
	Server   string         // "https://card.example:8444"
	Roots    *x509.CertPool // that the server's certificate must lead to; nil: the system's
	Card     token.Card
	Agent    string // User-Agent
	Language string // for the server's texts, "sv" or "en"

	Tries     int   // how often a request is sent at the most
	MaxAnswer int64 // octets of an answer
	// HeaderTimeout bounds the wait for the beginning of an answer. 0: only the
	// request's own time does.
	HeaderTimeout time.Duration
	// Keep keeps a connection for the next request until Close. Otherwise each
	// request makes a handshake of its own.
	Keep bool
	// Redial tries a server again to which no connection could be made.
	Redial bool
	// Wait is how a pause between two tries is made. Nil: a timer.
	Wait func(context.Context, time.Duration) error
	// Transport, if set, makes what carries the requests of a certificate whose
	// key is given, in place of TLS: a network that a test makes itself. It has
	// to prove the key as a handshake does, by letting it sign.
	Transport func(cert *x509.Certificate, key crypto.Signer) http.RoundTripper
}

// ParseServer reads a server's address: a card talks to nothing but https, and to
// a host, not to a part of one.
func ParseServer(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("server address: %w", err)
	}
	if u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("server address %q is not of the form https://host:port", address)
	}
	return u, nil
}

// Session is one certificate's way to one server. A handshake is always a full
// one, because a resumed one would prove nothing about the card. It may be used
// concurrently.
type Session struct {
	config Config
	base   *url.URL
	key    *cardKey
	http   *http.Client
}

// Open prepares connections that present cert, whose key is the object id of the
// card. The PIN is asked for here, not in the middle of a handshake that the
// server times. Close the session.
func Open(ctx context.Context, c Config, id []byte, cert *x509.Certificate) (*Session, error) {
	base, err := ParseServer(c.Server)
	if err != nil {
		return nil, err
	}
	signer, err := c.Card.Signer(ctx, id)
	if err != nil {
		return nil, err
	}
	if !token.SameKey(signer.Public(), cert.PublicKey) {
		return nil, fmt.Errorf("key and certificate %x on the card do not belong together", id)
	}
	s := &Session{config: c, base: base, key: &cardKey{Signer: signer}}
	s.http = &http.Client{
		// The card logs in to the server that was named, not to whom that names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     s.transport(cert),
	}
	return s, nil
}

func (s *Session) transport(cert *x509.Certificate) http.RoundTripper {
	if s.config.Transport != nil {
		return s.config.Transport(cert, s.key)
	}
	own := &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: s.key, Leaf: cert}
	t := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig: &tls.Config{
			// TLS 1.2 sends the client's certificate, with the holder's name, in
			// clear.
			MinVersion: tls.VersionTLS13,
			RootCAs:    s.config.Roots,
			// Whatever issuers the server names: it answers an unknown card with
			// a document, which people can read.
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil },
		},
		TLSHandshakeTimeout: handshakeTimeout, ResponseHeaderTimeout: s.config.HeaderTimeout, DisableCompression: true,
	}
	if s.config.Keep {
		t.MaxConnsPerHost, t.MaxIdleConns, t.IdleConnTimeout = 1, 1, idleTimeout
	} else {
		t.DisableKeepAlives = true
	}
	return t
}

// Key is the key that the session logs in with.
func (s *Session) Key() crypto.Signer { return s.key.Signer }

// Close ends a connection that is kept.
func (s *Session) Close() { s.http.CloseIdleConnections() }

// cardKey remembers why the card did not sign: crypto/tls keeps no more of it than
// its text.
type cardKey struct {
	crypto.Signer

	mu     sync.Mutex
	failed error // guarded by mu
}

// Sign implements [crypto.Signer].
func (k *cardKey) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	signature, err := k.Signer.Sign(rand, digest, opts)
	if err != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.failed = err
	}
	return signature, err
}

// failure returns the last refusal to sign, once.
func (k *cardKey) failure() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.failed
	k.failed = nil
	return err
}
