package api

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// backupType is the media type of a backup: nobody but driftd reads it.
const backupType = "application/octet-stream"

// getBackup streams a backup of the store. One that fails on its way has no end,
// and the connection is cut, so that nobody takes it for a whole one.
func (s *Server) getBackup(w http.ResponseWriter, r *request) error {
	if s.Backup == nil {
		return notFound("this driftd has no store to back up")
	}
	select {
	case s.backups <- struct{}{}:
		defer func() { <-s.backups }()
	default:
		return fmt.Errorf("another backup is being taken: %w", ErrUnavailable)
	}
	out := &patientWriter{w: w, control: http.NewResponseController(w), wait: s.limits.write, stopping: stopping(r.Context())}
	// The connection's read deadline would end the stream with the request's.
	_ = out.control.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", backupType)
	w.Header().Set("Content-Disposition", `attachment; filename="driftd.backup"`)
	err := s.Backup(r.Context(), out)
	if err == nil || !out.began {
		return err
	}
	s.Log.Error().Err(err).Str("request_id", requestID(r.Request)).Msg("a backup was cut off")
	panic(http.ErrAbortHandler)
}

// A patientWriter waits for its reader as long as some of what it writes is taken,
// and the server does not stop.
type patientWriter struct {
	w        io.Writer
	control  *http.ResponseController
	wait     time.Duration
	stopping <-chan struct{}
	began    bool
}

// Write implements io.Writer.
func (p *patientWriter) Write(b []byte) (int, error) {
	select {
	case <-p.stopping:
		return 0, http.ErrServerClosed
	default:
	}
	p.began = true
	_ = p.control.SetWriteDeadline(time.Now().Add(p.wait))
	return p.w.Write(b)
}
