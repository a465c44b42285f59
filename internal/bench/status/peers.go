package status

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"sigill/ca"
	"sigill/internal/bench/figure"
	"sigill/internal/bench/httpload"
	"sigill/internal/bench/process"
	"sigill/internal/loopback"
	"sigill/internal/peers"
)

const (
	// peerSet is how many certificates peers are asked for: few enough that each
	// of them has all in memory.
	peerSet = 2000
	// peerList is the length of step-ca's list: filling its database takes longer
	// than everything else here.
	peerList = 100_000
)

// leftOut says that a peer is not measured, and why.
func (s *Session) leftOut(name string, err error) {
	text, _, _ := bytes.Cut([]byte(err.Error()), []byte("\n"))
	s.c.Progress("%s is left out: %s", name, text)
}

// peersOCSP: the responders of others, by the same generator. Their ceiling is what
// Sigill does with the same requests at the same time.
func (s *Session) peersOCSP(ctx context.Context, emit func(figure.Figure)) error {
	serve, err := s.served(ctx)
	if err != nil {
		return err
	}
	questions, err := s.questions(ctx, s.few(peerSet), true, 3)
	if err != nil {
		return err
	}
	if err := s.warm(ctx, serve, questions); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.c.Dir, "sigill-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := s.cfssl(ctx, dir, serve, questions, emit); err != nil {
		return fmt.Errorf("CFSSL: %w", err)
	}
	if err := s.openssl(ctx, dir, serve, questions, emit); err != nil {
		return fmt.Errorf("OpenSSL: %w", err)
	}
	return nil
}

// cfssl serves Sigill's own answers, signed beforehand, which is how it is meant.
func (s *Session) cfssl(ctx context.Context, dir string, serve *service, questions [][]byte, emit func(figure.Figure)) error {
	s.c.Progress("building CFSSL, if it is not yet")
	program, err := peers.Build(ctx, peers.CFSSL)
	if err != nil {
		s.leftOut("CFSSL's responder", err)
		return nil
	}
	var answers bytes.Buffer
	for _, q := range questions {
		der, err := fetchPost(ctx, "http://"+serve.Status+"/ocsp", q)
		if err != nil {
			return err
		}
		answers.WriteString(base64.StdEncoding.EncodeToString(der) + "\n")
	}
	file := filepath.Join(dir, "answers")
	if err := os.WriteFile(file, answers.Bytes(), 0o600); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	address, stop, err := started(ctx, port, program, "ocspserve", "-address", "127.0.0.1", "-port", port, "-responses", file, "-loglevel", "5")
	if err != nil {
		return err
	}
	defer stop()
	for _, each := range []struct {
		name      string
		one, ours func(string, []byte) []byte
	}{
		{"peer_cfssl_get", func(host string, der []byte) []byte {
			return httpload.Get(host, "/"+string(bytes.TrimPrefix(pathOf(get(host, der)), []byte("/ocsp/"))))
		}, get},
		{"peer_cfssl_post", func(host string, der []byte) []byte {
			return httpload.Post(host, "/", "application/ocsp-request", der)
		}, post},
	} {
		j := httpload.Job{Connections: connections, Depth: depth, Time: s.long(), Want: successful}
		theirs, ours, err := s.both(ctx, address, serve.Status, requests(address, questions, each.one), requests(serve.Status, questions, each.ours), j, j)
		if err != nil {
			return err
		}
		emit(figure.More(each.name, theirs.PerSecond(), "1/s", ours.PerSecond(), fmt.Sprintf(
			"`cfssl ocspserve` v1.6.5 with %d answers in memory, signed beforehand (they are Sigill's); ceiling: Sigill, the same certificates and the same load, from its cache", len(questions))))
	}
	return nil
}

// pathOf returns the path of a request.
func pathOf(request []byte) []byte {
	_, rest, _ := bytes.Cut(request, []byte(" "))
	path, _, _ := bytes.Cut(rest, []byte(" "))
	return path
}

// openssl signs each answer, over a connection each.
func (s *Session) openssl(ctx context.Context, dir string, serve *service, questions [][]byte, emit func(figure.Figure)) error {
	program, err := exec.LookPath("openssl")
	if err != nil {
		s.leftOut("openssl ocsp", err)
		return nil
	}
	issuer, serials, err := index(dir, len(questions))
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	const processes = 2
	address, stop, err := started(ctx, port, program, "ocsp", "-port", port, "-index", filepath.Join(dir, "index.txt"), "-CA", filepath.Join(dir, "ca.pem"),
		"-rsigner", filepath.Join(dir, "ca.pem"), "-rkey", filepath.Join(dir, "ca.key"), "-nmin", "60", "-multi", strconv.Itoa(processes))
	if err != nil {
		return err
	}
	defer stop()
	theirs := make([][]byte, len(serials))
	ours := make([][]byte, len(questions))
	for i := range serials {
		der, err := question(issuer, serials[i])
		if err != nil {
			return err
		}
		theirs[i] = httpload.Post(address, "/", "application/ocsp-request", der)
		if questions[i], err = withNonce(questions[i]); err != nil {
			return err
		}
		ours[i] = post(serve.Status, questions[i])
	}
	j := httpload.Job{Connections: 8, Anew: true, Time: s.long(), Want: successful}
	got, own, err := s.both(ctx, address, serve.Status, theirs, ours, j, j)
	if err != nil {
		return err
	}
	emit(figure.More("peer_openssl_ocsp", got.PerSecond(), "1/s", own.PerSecond(), fmt.Sprintf(
		"`openssl ocsp -multi %d` over an index of %d certificates: it signs each answer and closes each connection; ceiling: Sigill, a connection for each request and a nonce in it, so that it signs each too", processes, len(serials))))
	return nil
}

// both loads theirs and ours in turn.
func (s *Session) both(ctx context.Context, their, our string, theirs, ours [][]byte, tj, oj httpload.Job) (t, o httpload.Report, err error) {
	g, err := s.generator(ctx)
	if err != nil {
		return t, o, err
	}
	for i := range rounds {
		tj.Address, tj.Requests, tj.Seed = their, theirs, uint64(i)
		r, err := g.Do(tj)
		if err != nil {
			return t, o, err
		}
		t = added(t, r)
		oj.Address, oj.Requests, oj.Seed = our, ours, uint64(i)
		if r, err = g.Do(oj); err != nil {
			return t, o, fmt.Errorf("of this program: %w", err)
		}
		o = added(o, r)
	}
	return t, o, nil
}

// index makes a CA with n certificates as `openssl ca` would keep them.
func index(dir string, n int) (*x509.Certificate, []ca.Serial, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Peer CA"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	serials := make([]ca.Serial, n)
	var text bytes.Buffer
	for i := range serials {
		serials[i] = ca.NewSerial()
		fmt.Fprintf(&text, "V\t%s\t\t%X\tunknown\t/CN=%d\n", now.AddDate(1, 0, 0).UTC().Format("060102150405Z"), serials[i][:], i)
	}
	return cert, serials, errors.Join(
		os.WriteFile(filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(dir, "ca.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
		os.WriteFile(filepath.Join(dir, "index.txt"), text.Bytes(), 0o600))
}

// freePort returns a port that was free a moment ago.
func freePort() (string, error) {
	free, err := loopback.Free(1)
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(free[0])
	return port, err
}

// started starts a program and waits until it listens.
func started(ctx context.Context, port, program string, args ...string) (address string, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, program, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	group(cmd)
	if err := cmd.Start(); err != nil {
		cancel()
		return "", nil, err
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	stop = func() { cancel(); <-ended }
	address = net.JoinHostPort("127.0.0.1", port)
	for began := time.Now(); time.Since(began) < patience; time.Sleep(10 * time.Millisecond) {
		select {
		case <-ended:
			return "", nil, fmt.Errorf("%s has ended: %s", filepath.Base(program), said.Bytes())
		default:
		}
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			return address, stop, conn.Close()
		}
	}
	stop()
	return "", nil, fmt.Errorf("%s does not listen: %s", filepath.Base(program), said.Bytes())
}

// peersCRL: step-ca makes its list anew whenever it is due, out of its database.
func (s *Session) peersCRL(ctx context.Context, emit func(figure.Figure)) error {
	s.c.Progress("building step-ca's authority, if it is not yet")
	program, err := peers.Build(ctx, peers.StepCRL)
	if err != nil {
		s.leftOut("step-ca's CRL", err)
		return nil
	}
	dir, err := os.MkdirTemp(s.c.Dir, "sigill-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	n := s.few(peerList)
	s.c.Progress("step-ca: %d revocations, and its list of them", n)
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, program, strconv.Itoa(n), dir)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("step-ca: %w\n%s", err, said.Bytes())
	}
	var r struct {
		Entries, Octets  int
		MedianMs, PeakMB float64
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return fmt.Errorf("step-ca: %w", err)
	}
	s.c.Progress("Sigill: a list as long")
	own, err := s.listOf(ctx, n)
	if err != nil {
		return err
	}
	emit(figure.Less("peer_stepca_crl_ms", r.MedianMs, "ms", figure.Milli(figure.Median(own.Times)), fmt.Sprintf(
		"median of five lists of %d entries by step-ca's authority v0.30.2 over badger, its default database: it has one list of all and makes it from all rows; %d octets, %.0f MB of memory at the most above what it had; ceiling: Sigill's full list of as many, with all its checks, %.0f MB",
		r.Entries, r.Octets, r.PeakMB, figure.Mega(own.Peak))))
	return nil
}

// listOf issues full lists over a population of so many revoked certificates.
func (s *Session) listOf(ctx context.Context, n int) (process.Outcome, error) {
	dir, err := os.MkdirTemp(s.c.Dir, "sigill-bench-")
	if err != nil {
		return process.Outcome{}, err
	}
	defer os.RemoveAll(dir)
	p, err := s.makePopulation(ctx, filepath.Join(dir, "population"), n+2*process.FullTimes, n, 8)
	if err != nil {
		return process.Outcome{}, err
	}
	child, err := s.begin(ctx, process.Lists, process.Spec{Dir: p.Dir})
	if err != nil {
		return process.Outcome{}, err
	}
	o, err := child.ask(process.Order{})
	return o, orElse(err, child.end())
}
