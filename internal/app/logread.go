package app

import (
	"net/http"

	"sigill/internal/logapi"
	"sigill/revocation/status"
)

// auditing returns who answers auditors.
func (a *App) auditing() (s *logapi.Service, err error) {
	s, err = readingSide(a.Hierarchy, a.Logs.Reader, a.DB, a.log)
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
