package api_test

import (
	"net/http"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/api"
)

// TestDegraded: a degraded driftd answers what watches it, on both listeners, with
// the roles as ever, and nothing else.
func TestDegraded(t *testing.T) {
	w := newWorld(t)
	w.change(func(s *api.Snapshot) { s.NotReady, s.Cause = []string{"degraded"}, "it failed <often>" })
	path, secrets := tokens(t)
	s := newServer(t, w, func(o *api.Options) {
		o.Degraded, o.Access = true, openAccess(t, api.AccessOptions{TokensFile: path})
	})
	for _, c := range []struct {
		path string
		code int
		text string
	}{
		{"/-/healthy", 200, "alive"},
		{"/-/ready", 503, `"cause":"it failed \u003coften\u003e"`},
		{"/api/v1/status", 200, `"ready":false`},
		{"/metrics", 200, "driftd_ready 0"},
		{"/api/v1/alerts", 404, ""},
		{"/api/v1/config", 404, ""},
		{"/api/v1/store/backup", 404, ""},
		{"/", 404, ""},
	} {
		r := call(t, s.Handler(), http.MethodGet, c.path, "", "Authorization", "Bearer "+secrets[api.Admin])
		if got := text(t, r); r.StatusCode != c.code || !strings.Contains(got, c.text) {
			t.Errorf("%s: %d, want %d with %s: %s", c.path, r.StatusCode, c.code, c.text, got)
		}
	}
	if r := call(t, s.Handler(), http.MethodGet, "/api/v1/status", ""); r.StatusCode != 401 {
		t.Errorf("the status without a token: %d", r.StatusCode)
	}
	if r := call(t, s.MetricsHandler(), http.MethodGet, "/-/ready", ""); r.StatusCode != 503 {
		t.Errorf("ready on the metrics listener: %d", r.StatusCode)
	}
}
