package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigill/internal/checker"
)

// Exit codes of check, as monitoring wants them.
const (
	exitWarnings   = 1
	exitFailures   = 2
	exitUnfinished = 3 // it could not look
)

type checkCmd struct {
	CA         []string      `name:"ca" required:"" sep:"none" placeholder:"[NAME=]FILE" help:"CA certificates, root and issuing ones, PEM or DER; or a directory of them. NAME is what the CA is called in addresses, where neither a sample nor the file's name says so. May be repeated."`
	Base       string        `required:"" placeholder:"URL" help:"Address of the status service, http://host; a mirror may be named too."`
	Sample     []string      `sep:"none" placeholder:"FILE" help:"Certificates of holders, PEM or DER, or a directory of them: OCSP and lists must agree about each. May be repeated."`
	Claims     string        `type:"existingfile" placeholder:"FILE" help:"What the operator says of serials, in JSON lines: {\"serial\": \"47f1…\", \"status\": \"revoked\", \"at\": \"…\", \"reason\": \"…\"}."`
	Partitions int           `placeholder:"N" help:"Partitions that each issuing CA has at least. Default: as many as certificates name and are found."`
	Serials    int           `default:"10" help:"Revoked serials of each CA that OCSP is asked for, drawn anew."`
	SignerDays int           `name:"signer-days" default:"3" help:"Days that an OCSP signer's certificate must be valid still."`
	Skew       time.Duration `default:"2m" help:"How far clocks may be apart."`
	Rate       int           `default:"50" help:"Requests a second at most."`
	State      string        `placeholder:"FILE" help:"Remember numbers of lists here, so that one that goes back is noticed."`
	Metrics    string        `placeholder:"FILE" help:"Write metrics for the node exporter's textfile collector, in each round."`
	Every      time.Duration `placeholder:"DURATION" help:"Go on until interrupted, with a line for each change."`
}

// Help implements kong.HelpProvider.
func (checkCmd) Help() string {
	return `Needs nothing of the installation but its addresses and the CA certificates: run it
elsewhere, with another network and another clock.

  sigill check --base http://status.example --ca certificates/ --sample mine.pem
  sigill check --base http://status.example --ca certificates/ --sample mine.pem --state /var/lib/sigill-check \
      --metrics /var/lib/node_exporter/sigill.prom --every 1m

Exit 0: all is well; 1: warnings; 2: failures; 3: it could not look.`
}

func (c *checkCmd) Run(g *globals) error {
	config, err := c.config()
	if err != nil {
		return exitError{exitUnfinished, err}
	}
	k, err := checker.New(config)
	if err != nil {
		return exitError{exitUnfinished, err}
	}
	if c.Every == 0 {
		report, err := c.round(g.ctx, k)
		if err != nil {
			return exitError{exitUnfinished, err}
		}
		return graded(report, g.print(report, report.String()))
	}
	if c.Every < time.Second {
		return usageError{"--every is at least 1s"}
	}
	return c.watch(g, k)
}

// watch goes on until interrupted, whatever it finds.
func (c *checkCmd) watch(g *globals, k *checker.Checker) error {
	ticker := time.NewTicker(c.Every)
	defer ticker.Stop()
	var before *checker.Report
	for {
		report, err := c.round(g.ctx, k)
		switch {
		case g.ctx.Err() != nil:
			return nil
		case err != nil: // the disk, of all that a round needs
			fmt.Fprintln(g.stderr, "sigill:", told(err))
		}
		if report != nil {
			changes := report.Changes(before)
			if g.json && len(changes) > 0 {
				err = g.print(report, "")
			} else if !g.json {
				for _, line := range changes {
					_, err = fmt.Fprintln(g.stdout, clean(line))
				}
			}
			if err != nil {
				return err
			}
			before = report
		}
		select {
		case <-g.ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// round looks once, and writes what is to be kept of it. A report may come beside an error.
func (c *checkCmd) round(ctx context.Context, k *checker.Checker) (*checker.Report, error) {
	report, err := k.Round(ctx)
	if err != nil {
		return nil, err
	}
	if c.State != "" {
		err = k.State.Save(c.State)
	}
	if c.Metrics != "" {
		err = errors.Join(err, report.WriteMetrics(c.Metrics))
	}
	return report, err
}

func graded(report *checker.Report, err error) error {
	switch {
	case err != nil:
		return exitError{exitUnfinished, err}
	case report.Grade == checker.Failure:
		return exitError{exitFailures, errTold}
	case report.Grade == checker.Warning:
		return exitError{exitWarnings, errTold}
	}
	return nil
}

func (c *checkCmd) config() (checker.Config, error) {
	out := checker.Config{Base: c.Base, Partitions: c.Partitions, Serials: c.Serials, Skew: c.Skew, Rate: c.Rate, Now: time.Now,
		SignerLife: time.Duration(c.SignerDays) * 24 * time.Hour}
	for _, each := range c.CA {
		name, path, named := strings.Cut(each, "=")
		if !named {
			name, path = "", each
		}
		files, err := certificateFiles(path)
		if err != nil {
			return out, err
		}
		for _, f := range files {
			for _, cert := range f.certs {
				out.Authorities = append(out.Authorities, checker.Authority{Name: name, Guess: f.stem, Certificate: cert})
			}
		}
		if named && len(files) != 1 {
			return out, fmt.Errorf("--ca %s: a name is for one file", each)
		}
	}
	for _, path := range c.Sample {
		files, err := certificateFiles(path)
		if err != nil {
			return out, err
		}
		for _, f := range files {
			out.Certificates = append(out.Certificates, f.certs...)
		}
	}
	var err error
	if out.Claims, err = c.claims(); err != nil {
		return out, err
	}
	if c.State != "" {
		out.State, err = checker.LoadState(c.State)
	}
	return out, err
}

func (c *checkCmd) claims() ([]checker.Claim, error) {
	if c.Claims == "" {
		return nil, nil
	}
	f, err := os.Open(c.Claims)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	claims, err := checker.ReadClaims(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Claims, err)
	}
	return claims, nil
}

// certificateFile is a file with certificates, and its name without what ends it.
type certificateFile struct {
	stem  string
	certs []*x509.Certificate
}

// certificateFiles reads a file, or the certificates of a directory.
func certificateFiles(path string) ([]certificateFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	names := []string{path}
	if info.IsDir() {
		names = nil
		for _, ending := range []string{"*.cer", "*.crt", "*.pem", "*.der"} {
			found, err := filepath.Glob(filepath.Join(path, ending))
			if err != nil {
				return nil, err
			}
			names = append(names, found...)
		}
		slices.Sort(names)
	}
	var out []certificateFile
	for _, name := range names {
		certs, err := allCertificates(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, certificateFile{strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)), certs})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no certificates (*.cer, *.crt, *.pem, *.der)", path)
	}
	return out, nil
}

// allCertificates reads all certificates of a file, PEM or DER.
func allCertificates(name string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil {
		cert, err := x509.ParseCertificate(text)
		return []*x509.Certificate{cert}, err
	}
	var out []*x509.Certificate
	for ; block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, cert)
	}
	if len(out) == 0 {
		return nil, errors.New("it has no certificate")
	}
	return out, nil
}
