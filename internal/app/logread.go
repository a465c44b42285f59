package app

import (
	"crypto/x509"
	"net/http"

	"sigill/ca"
	"sigill/internal/logapi"
	"sigill/revocation/status"
)

// auditing returns who answers auditors.
func (a *App) auditing() (s *logapi.Service, err error) {
	root := a.Hierarchy.Root.Certificate
	s, err = logapi.New(logapi.Config{Trees: a.Logs.Reader, Entries: a.DB, Certificates: a.Logs.Reader.Certificates, Log: a.log,
		Roots: []*x509.Certificate{root}, Chain: func(id ca.IssuerID) []*x509.Certificate {
			for _, each := range a.Hierarchy.Issuers {
				if each.ID == id {
					return []*x509.Certificate{each.Certificate, root}
				}
			}
			return nil
		}})
	a.logReads = s
	return s, err
}

// publicLogs answers everybody what is nobody's data. Its answers count with those of
// OCSP that are made for nobody but who asks.
func (a *App) publicLogs(limit *status.Addresses) http.Handler {
	return logapi.NewPublic(a.Logs.Reader, limit, a.now, a.log)
}

// logMetrics tell what of the logs could not be given out.
func (a *App) logMetrics(m metrics) error {
	return m.counter("sigill_log_broken_total", "Entries of the logs that were not given out to an auditor, because the database has something else than the log.", nil,
		func() int64 {
			if a.logReads == nil {
				return 0
			}
			return a.logReads.Broken()
		})
}
