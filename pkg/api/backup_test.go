package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"driftd.dev/driftd/pkg/api"
)

// TestBackupRoute: what the daemon writes comes through; one backup at a time; what
// fails before its first byte is a problem, and what fails later is cut off.
func TestBackupRoute(t *testing.T) {
	began, goOn := make(chan struct{}), make(chan struct{})
	fault := errors.New("the disk went away")
	s := newServer(t, newWorld(t), func(o *api.Options) {
		n := 0
		o.Backup = func(_ context.Context, w io.Writer) error {
			switch n++; n {
			case 1:
				close(began)
				<-goOn
				_, err := w.Write(bytes.Repeat([]byte("driftd"), 100_000))
				return err
			case 2:
				_, _ = w.Write(bytes.Repeat([]byte("driftd"), 100_000)) // less would stay in the buffer, and the client would ask again
				return fault
			}
			return fault
		}
	})
	addr, end := serve(t, s)
	get := func() (*http.Response, []byte, error) {
		r, err := http.Get("http://" + addr + "/api/v1/store/backup")
		if err != nil {
			return nil, nil, err
		}
		defer func() { _ = r.Body.Close() }()
		body, err := io.ReadAll(r.Body)
		return r, body, err
	}
	first := make(chan error, 1)
	go func() {
		r, body, err := get()
		if err == nil && (r.StatusCode != 200 || len(body) != 600_000) {
			err = errors.New(r.Status)
		}
		first <- err
	}()
	<-began
	if r, _, err := get(); err != nil || r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a second backup: %v, %v, want 503", r, err)
	}
	close(goOn)
	if err := <-first; err != nil {
		t.Errorf("the first: %v", err)
	}
	if _, body, err := get(); err == nil {
		t.Errorf("a backup that failed on its way came as %d bytes without an error", len(body))
	}
	if r, _, err := get(); err != nil || r.StatusCode != http.StatusInternalServerError {
		t.Errorf("a backup that failed at once: %v, %v, want 500", r, err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}
