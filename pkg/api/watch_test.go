package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/api"
)

// TestHealth: a process that hangs is not alive; one with an organ that fails is alive
// and ready, and says which it is.
func TestHealth(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w, func(*api.Options) {})
	get := func(path string) (int, string) {
		r := call(t, s.Handler(), http.MethodGet, path, "")
		return r.StatusCode, text(t, r)
	}
	if code, body := get("/-/ready"); code != http.StatusOK || !strings.Contains(body, `"unwell":["config"]`) {
		t.Errorf("ready: %d %s, want 200 and the organ that fails", code, body)
	}
	if code, body := get("/metrics"); !strings.Contains(body, "\ndriftd_heartbeat_healthy{organ=\"config\"} 0\n") {
		t.Errorf("metrics: %d, without the organ that fails", code)
	}
	for since, want := range map[time.Duration]int{59 * time.Second: http.StatusOK, 61 * time.Second: http.StatusServiceUnavailable} {
		w.change(func(s *api.Snapshot) { s.Progress = s.At.Add(-since) })
		if code, body := get("/-/healthy"); code != want {
			t.Errorf("healthy, %s after the last progress: %d %s, want %d", since, code, body, want)
		}
	}
	w.change(func(s *api.Snapshot) { s.Watch = api.Watch{} })
	if _, body := get("/metrics"); strings.Contains(body, "\ndriftd_canary_sent_total ") {
		t.Error("without canaries there are series of canaries")
	}
}
