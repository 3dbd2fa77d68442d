package lifecycle_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/lifecycle"
)

// noon is the end of the window in which the tests' alerts fire.
var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// variants by the numbers of pkg/event, which lifecycle may not import.
const (
	canary = 1
	shadow = 2
)

// trigger makes an alert on a version that fired and asks for an action.
func trigger(id, version, action string, change ...func(*alert.Change)) lifecycle.Trigger {
	c := alert.Change{
		Series: alert.Series{Rule: "Bad", Key: drift.Key{Group: drift.Group{Model: "fraud", Version: version}}},
		From:   alert.Pending, To: alert.Firing, At: noon, Reason: "error_ratio 0.3 > 0.1", Baseline: "b-1",
		Actions: []string{action},
	}
	for _, f := range change {
		f(&c)
	}
	return lifecycle.Trigger{Change: c, EntryID: id}
}

func feature(name string) func(*alert.Change) {
	return func(c *alert.Change) { c.Series.Signal = name }
}
func unapproved(c *alert.Change) { c.Unapproved = true }
func asShadow(c *alert.Change)   { c.Series.Variant = shadow }
func asCanary(c *alert.Change)   { c.Series.Variant = canary }
func phases(from, to alert.Phase) func(*alert.Change) {
	return func(c *alert.Change) { c.From, c.To = from, to }
}

// traffic of three versions: 41 and 42 serve, 43 is the canary.
var traffic = lifecycle.Traffic{End: noon, Versions: []lifecycle.VersionTraffic{
	{Version: "41", Primary: 100}, {Version: "42", Primary: 900}, {Version: "43", Primary: 6, Canary: 95},
}}

var manifest = lifecycle.Manifest{
	Data:     lifecycle.ManifestData{Stream: "ML", FromSeq: 1, ToSeq: 99, From: noon.Add(-time.Hour), To: noon},
	Baseline: "b-1", ConfigHash: "sha256:00", Driftd: "v1",
}

func request(triggers ...lifecycle.Trigger) lifecycle.Request {
	return lifecycle.Request{
		Model: "fraud", At: noon, Triggers: triggers, Traffic: traffic, Manifest: manifest, Policy: lifecycle.DefaultPolicy(),
	}
}

func TestRetrain(t *testing.T) {
	state, got := lifecycle.Decide(lifecycle.State{}, request(
		trigger("01A", "42", "retrain", feature("amount")), trigger("01B", "42", "retrain", feature("country")),
		trigger("01C", "42", "retrain"), trigger("01D", "42", "retrain"), trigger("01E", "42", "rollback", phases(alert.Firing, alert.Resolved)),
		trigger("01F", "42", "retrain", phases(alert.Inactive, alert.Pending)), trigger("01G", "42", "retrain", phases(alert.Recovering, alert.Firing)),
	))
	want := &lifecycle.Retrain{
		Model: "fraud", ModelVersion: "42", AlertIDs: []string{"01A", "01B", "01C", "01D"}, Manifest: manifest,
		Reason: "Bad amount: error_ratio 0.3 > 0.1; Bad country: error_ratio 0.3 > 0.1; Bad: error_ratio 0.3 > 0.1; and 1 more alerts",
	}
	want.Manifest.Seed = lifecycle.Seed("01A")
	if diff := cmp.Diff([]lifecycle.Decision{{Retrain: want}}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(lifecycle.State{RetrainAt: noon, RetrainOpen: true, Leader: "42"}, state); diff != "" {
		t.Error(diff)
	}
}

func TestRetrainOfSeveralVersions(t *testing.T) {
	_, got := lifecycle.Decide(lifecycle.State{}, request(trigger("01A", "42", "retrain"), trigger("01B", "41", "retrain", unapproved), trigger("01C", "43", "retrain")))
	if r := got[0].Retrain; r.ModelVersion != "" || !cmp.Equal(r.AlertIDs, []string{"01A", "01C"}) || r.Suppressed != "" {
		t.Errorf("got %+v", r)
	}
}

func TestRetrainSuppressed(t *testing.T) {
	asked := lifecycle.State{RetrainAt: noon.Add(-time.Hour), RetrainOpen: true, Leader: "42"}
	week := lifecycle.State{RetrainAt: noon.Add(-7 * 24 * time.Hour), RetrainOpen: true, Leader: "42"}
	twoDays := lifecycle.State{RetrainAt: noon.Add(-48 * time.Hour), RetrainOpen: true, Leader: "42"}
	replaced := twoDays
	replaced.Leader = "40"
	tests := map[string]struct {
		state   lifecycle.State
		trigger lifecycle.Trigger
		want    string
	}{
		"first":                    {lifecycle.State{}, trigger("01A", "42", "retrain"), ""},
		"not approved":             {lifecycle.State{}, trigger("01A", "42", "retrain", unapproved), "baseline b-1 is not approved; see driftd baseline approve"},
		"open":                     {twoDays, trigger("01A", "42", "retrain"), "the retrain of 2025-12-30T12:00:00Z is still open"},
		"answered, cooling down":   {asked.Answered(), trigger("01A", "42", "retrain"), "the last retrain was asked for at 2026-01-01T11:00:00Z; no other before 2026-01-02T11:00:00Z"},
		"answered, cooled down":    {twoDays.Answered(), trigger("01A", "42", "retrain"), ""},
		"another version leads":    {replaced, trigger("01A", "42", "retrain"), ""},
		"open for a week: expired": {week, trigger("01A", "42", "retrain"), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			state, got := lifecycle.Decide(test.state, request(test.trigger))
			if len(got) != 1 || got[0].Suppressed() != test.want {
				t.Fatalf("got %+v, want %q", got, test.want)
			}
			if sent := state.RetrainAt.Equal(noon); sent != (test.want == "") {
				t.Errorf("state %+v", state)
			}
		})
	}
}

func TestRollback(t *testing.T) {
	state, got := lifecycle.Decide(lifecycle.State{}, request(trigger("01A", "43", "rollback", asCanary), trigger("01B", "43", "rollback", asCanary, unapproved)))
	want := &lifecycle.Rollback{
		Model: "fraud", FromVersion: "43", ToVersion: "42", Reason: "Bad: error_ratio 0.3 > 0.1", AlertIDs: []string{"01A"},
		Evidence: lifecycle.RollbackEvidence{Test: "rule:Bad", NCanary: 101, NControl: 900}, // 95 as canary and 6 as primary
	}
	if diff := cmp.Diff([]lifecycle.Decision{{Rollback: want}}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(lifecycle.State{Rollbacks: map[string]time.Time{"43": noon}}, state); diff != "" {
		t.Error(diff)
	}
}

func TestRollbackTarget(t *testing.T) {
	only43 := lifecycle.Traffic{Versions: []lifecycle.VersionTraffic{{Version: "43", Primary: 10}, {Version: "44", Canary: 50}, {Version: "__other__", Primary: 70}}}
	equal := lifecycle.Traffic{Versions: []lifecycle.VersionTraffic{{Version: "42", Primary: 10}, {Version: "41", Primary: 10}}}
	earlier := func(version string, ago time.Duration) lifecycle.State {
		return lifecycle.State{Rollbacks: map[string]time.Time{version: noon.Add(-ago)}}
	}
	tests := map[string]struct {
		state      lifecycle.State
		traffic    lifecycle.Traffic
		trigger    lifecycle.Trigger
		to         string
		suppressed string
	}{
		"most primary traffic":          {lifecycle.State{}, traffic, trigger("01A", "43", "rollback"), "42", ""},
		"not itself":                    {lifecycle.State{}, traffic, trigger("01A", "42", "rollback"), "41", ""},
		"equal: the first by name":      {lifecycle.State{}, equal, trigger("01A", "43", "rollback"), "41", ""},
		"unseen version":                {lifecycle.State{}, traffic, trigger("01A", "99", "rollback"), "42", ""},
		"none left":                     {lifecycle.State{}, only43, trigger("01A", "43", "rollback"), "", "no other version of fraud that is not failing had primary traffic in the window ending 2026-01-01T12:00:00Z"},
		"no traffic known":              {lifecycle.State{}, lifecycle.Traffic{}, trigger("01A", "43", "rollback"), "", "no other version of fraud that is not failing had primary traffic in the window ending 2026-01-01T12:00:00Z"},
		"shadow":                        {lifecycle.State{}, traffic, trigger("01A", "43", "rollback", asShadow), "42", "version 43 runs as shadow: nobody gets its answers"},
		"no version":                    {lifecycle.State{}, traffic, trigger("01A", "", "rollback"), "42", "the alert does not say which version fails"},
		"not approved":                  {lifecycle.State{}, traffic, trigger("01A", "43", "rollback", unapproved), "42", "baseline b-1 is not approved; see driftd baseline approve"},
		"asked for a minute ago":        {earlier("43", time.Minute), traffic, trigger("01A", "43", "rollback"), "42", "the rollback of version 43 was asked for at 2026-01-01T11:59:00Z; no other before 2026-01-01T12:59:00Z"},
		"asked for an hour ago":         {earlier("43", time.Hour), traffic, trigger("01A", "43", "rollback"), "42", ""},
		"never to one rolled back from": {earlier("42", time.Minute), traffic, trigger("01A", "43", "rollback"), "41", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := request(test.trigger)
			r.Traffic = test.traffic
			before := len(test.state.Rollbacks)
			state, got := lifecycle.Decide(test.state, r)
			if len(got) != 1 || got[0].Rollback.ToVersion != test.to || got[0].Suppressed() != test.suppressed {
				t.Fatalf("got %+v, want %q %q", got[0].Rollback, test.to, test.suppressed)
			}
			if sent := state.Rollbacks[test.trigger.Change.Series.Version].Equal(noon); sent != (test.suppressed == "") {
				t.Errorf("state %+v", state)
			}
			if len(test.state.Rollbacks) != before {
				t.Error("the state that was given was changed")
			}
		})
	}
}

// Two versions that fail at once are no target for each other.
func TestRollbackOfTwo(t *testing.T) {
	_, got := lifecycle.Decide(lifecycle.State{}, request(trigger("01B", "43", "rollback"), trigger("01A", "42", "rollback")))
	if len(got) != 2 || got[0].Rollback.FromVersion != "42" || got[0].Rollback.ToVersion != "41" || got[1].Rollback.ToVersion != "41" {
		t.Errorf("got %+v, %+v", got[0].Rollback, got[1].Rollback)
	}
}

func TestNothingAsked(t *testing.T) {
	old := lifecycle.State{Rollbacks: map[string]time.Time{"43": noon.Add(-time.Hour)}}
	state, got := lifecycle.Decide(old, request(trigger("01A", "42", "none")))
	if diff := cmp.Diff(lifecycle.State{}, state); diff != "" || got != nil {
		t.Errorf("got %v, state %s", got, diff)
	}
}

func TestStateJSON(t *testing.T) {
	s := lifecycle.State{RetrainAt: noon, RetrainOpen: true, Leader: "42", Rollbacks: map[string]time.Time{"43": noon}}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"retrain_at":"2026-01-01T12:00:00Z","retrain_open":true,"leader":"42","rollbacks":{"43":"2026-01-01T12:00:00Z"}}`
	if string(data) != want {
		t.Errorf("got %s", data)
	}
	var back lifecycle.State
	if err := json.Unmarshal(data, &back); err != nil || !cmp.Equal(s, back) {
		t.Errorf("got %+v, %v", back, err)
	}
	if data, _ = json.Marshal(lifecycle.State{}); string(data) != "{}" {
		t.Errorf("the zero state is %s", data)
	}
}

func TestSeed(t *testing.T) {
	// First 4 bytes of: printf 'driftd/seed/1 01KDVMN0000000000000000000' | sha256sum
	const want = 0xd44a62e3
	if got := lifecycle.Seed("01KDVMN0000000000000000000"); got != want {
		t.Errorf("got %#x, want %#x", got, want)
	}
}

func TestPolicy(t *testing.T) {
	for _, p := range []lifecycle.Policy{lifecycle.DefaultPolicy(), {}} {
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
	}
	for _, p := range []lifecycle.Policy{{RetrainCooldown: -1}, {RetrainExpiry: -1}, {RollbackCooldown: -1}} {
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), "no duration can be negative") {
			t.Errorf("%+v: got %v", p, err)
		}
	}
}

func TestTrafficOf(t *testing.T) {
	window := func(version string, variant int, segment string, events uint64, state drift.WindowState) *drift.Window {
		w := &drift.Window{Group: drift.Group{Model: "fraud", Version: version, Segment: segment}, End: noon, State: state, Events: events}
		for range variant {
			w.Group.Variant++
		}
		return w
	}
	got := lifecycle.TrafficOf([]*drift.Window{
		window("43", canary, "", 95, drift.Closed), window("42", 0, "", 900, drift.Incomplete), window("43", 0, "", 5, drift.Closed),
		window("44", shadow, "", 7, drift.Closed), window("42", 0, "channel=app", 300, drift.Closed), window("45", 0, "", 1, drift.Open),
	})
	want := lifecycle.Traffic{End: noon, Versions: []lifecycle.VersionTraffic{
		{Version: "42", Primary: 900}, {Version: "43", Primary: 5, Canary: 95}, {Version: "44", Shadow: 7},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
