package daemon_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/daemon"
)

// TestDeadMansSwitch runs canaries through a real stream: a switch is called until a
// reload is refused, and again when one is accepted. Canaries are the clock here.
func TestDeadMansSwitch(t *testing.T) {
	r := newReloadable(t)
	text := `nats: {embedded: true, url: "nats://127.0.0.1:0"}
store: {dir: ` + filepath.Dir(r.file) + `/data}
http: {listen: "127.0.0.1:0"}
privacy: {default: drop}
watch: {every: 1s}
receivers: [{name: switch, heartbeat: {url: "` + r.hook.URL + `/ping"}}]
`
	r.write(text)
	r.start()
	beats := func() int { return r.hook.heard(`"status":"ok"`, `"stream":"ML"`) }
	r.wait("two heartbeats", func() bool { return beats() >= 2 })
	s := r.Snapshot()
	if !s.Watch.Healthy() || s.Heartbeat.IsZero() || s.Watch.Sent < 3 || s.Watch.RoundTrip <= 0 {
		t.Errorf("after two heartbeats: %+v, the last at %v", s.Watch, s.Heartbeat)
	}

	r.write("receivers: 7\n")
	if _, err := r.Reload(t.Context(), daemon.ActorSignal); err == nil {
		t.Fatal("a broken configuration was accepted")
	}
	refused, before := r.Snapshot().Watch, beats()
	if got := unwell(refused); !slices.Equal(got, []string{api.OrganConfig}) {
		t.Errorf("after a refused reload unwell are %v, want %s", got, api.OrganConfig)
	}
	r.wait("three more canaries", func() bool { return r.Snapshot().Watch.Seen.Sub(refused.Seen) >= 3*time.Second })
	if got := beats(); got > before+1 { // one may have been under way
		t.Errorf("%d heartbeats after a refused reload", got-before)
	}

	r.write(text)
	if _, err := r.Reload(t.Context(), daemon.ActorSignal); err != nil {
		t.Fatal(err)
	}
	before = beats()
	r.wait("heartbeats go on", func() bool { return beats() > before })
	if s := r.Snapshot(); len(s.Models) != 0 || s.Account.Decoded != 0 {
		t.Errorf("canaries are counted: %d models, %d events", len(s.Models), s.Account.Decoded)
	}
}
