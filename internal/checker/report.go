package checker

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// String tells a report to people, what is worst first.
func (r *Report) String() string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s\n", f)
	}
	entries := 0
	for _, l := range r.Lists {
		entries += l.Entries
	}
	fmt.Fprintf(&b, "%-8s %d lists with %d entries, %d OCSP answers, %d claims; %d failures, %d warnings\n", r.Grade, len(r.Lists), entries, r.Answers, r.Claims,
		r.count(Failure), r.count(Warning))
	return b.String()
}

// String is the finding in one line.
func (f Finding) String() string {
	return fmt.Sprintf("%-8s %-16s %s: %s", f.Grade, f.Code, f.Subject, f.Text)
}

func (r *Report) count(g Grade) int {
	n := 0
	for _, f := range r.Findings {
		if f.Grade == g {
			n++
		}
	}
	return n
}

// Changes tells in lines what is new since an earlier report, nil for none, and what is gone.
// No line: nothing changed.
func (r *Report) Changes(before *Report) []string {
	at := r.At.Format("2006-01-02T15:04:05Z")
	var old []Finding
	if before != nil {
		old = before.Findings
	}
	var out []string
	for _, f := range r.Findings {
		if !slices.Contains(old, f) {
			out = append(out, at+" "+f.String())
		}
	}
	for _, f := range old {
		if !slices.Contains(r.Findings, f) {
			f.Grade, f.Text = OK, "no longer: "+f.Text
			out = append(out, at+" "+f.String())
		}
	}
	if before == nil && len(out) == 0 {
		out = append(out, at+" "+strings.TrimSuffix(r.String(), "\n"))
	}
	return out
}

// WriteMetrics writes a report as a file for Prometheus' node exporter (textfile collector),
// in place of the one before.
func (r *Report) WriteMetrics(path string) error {
	registry := prometheus.NewRegistry()
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		registry.MustRegister(g)
		return g
	}
	grades := gauge("sigill_check_findings", "Findings of the last round of sigill check, by grade.", "grade")
	codes := gauge("sigill_check_finding", "Findings of the last round by grade and code.", "grade", "code")
	last := gauge("sigill_check_last_round_seconds", "When the last round was, Unix time.")
	number := gauge("sigill_check_crl_number", "Number of a list.", "url")
	remaining := gauge("sigill_check_crl_remaining_seconds", "How long a list is valid still.", "url")
	entries := gauge("sigill_check_crl_entries", "Entries of a list.", "url")
	signer := gauge("sigill_check_ocsp_signer_remaining_seconds", "How long the certificate of an OCSP signer is valid still.", "authority")
	for _, g := range []Grade{Warning, Failure} {
		grades.WithLabelValues(string(g)).Set(float64(r.count(g)))
	}
	for _, f := range r.Findings {
		codes.WithLabelValues(string(f.Grade), string(f.Code)).Inc()
	}
	last.WithLabelValues().Set(float64(r.At.Unix()))
	var errs []error
	for _, l := range r.Lists {
		n, err := strconv.ParseFloat(l.Number, 64)
		errs = append(errs, err)
		number.WithLabelValues(l.URL).Set(n)
		remaining.WithLabelValues(l.URL).Set(l.NextUpdate.Sub(r.At).Seconds())
		entries.WithLabelValues(l.URL).Set(float64(l.Entries))
	}
	for _, s := range r.Signers {
		signer.WithLabelValues(s.Authority).Set(s.NotAfter.Sub(r.At).Seconds())
	}
	return errors.Join(append(errs, prometheus.WriteToTextfile(path, registry))...)
}
