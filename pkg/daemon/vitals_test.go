package daemon_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/daemon"
)

// TestVitals is the whole decision whether a heartbeat is sent.
func TestVitals(t *testing.T) {
	now := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, c := range map[string]struct {
		change func(v *daemon.Vitals)
		unwell []string
	}{
		"well": {change: func(*daemon.Vitals) {}},
		"just started": {
			change: func(v *daemon.Vitals) { v.Canary, v.Judged = time.Time{}, time.Time{} },
			unwell: []string{api.OrganCanary, api.OrganRules},
		},
		"a canary at the bound":      {change: func(v *daemon.Vitals) { v.Canary = ago(time.Minute) }},
		"a canary beyond it":         {change: func(v *daemon.Vitals) { v.Canary = ago(time.Minute + 1) }, unwell: []string{api.OrganCanary}},
		"a canary of a clock ahead":  {change: func(v *daemon.Vitals) { v.Canary = now.Add(time.Second) }},
		"an old judgement":           {change: func(v *daemon.Vitals) { v.Judged = ago(61 * time.Second) }, unwell: []string{api.OrganRules}},
		"an old commit with a lag":   {change: func(v *daemon.Vitals) { v.LastCommit, v.Lag = ago(61*time.Second), 1 }, unwell: []string{api.OrganCommit}},
		"an old commit and no lag":   {change: func(v *daemon.Vitals) { v.LastCommit = ago(time.Hour) }},
		"no commit yet and no lag":   {change: func(v *daemon.Vitals) { v.LastCommit = time.Time{} }},
		"no commit yet, with a lag":  {change: func(v *daemon.Vitals) { v.LastCommit, v.Lag = time.Time{}, 7 }, unwell: []string{api.OrganCommit}},
		"a lag that is worked off":   {change: func(v *daemon.Vitals) { v.Lag = 1_000_000 }},
		"a short interval, a commit": {change: func(v *daemon.Vitals) { v.Every, v.LastCommit, v.Lag = 20*time.Second, ago(39*time.Second), 1 }},
		"an interval of a second": {
			change: func(v *daemon.Vitals) { v.Every, v.LastCommit, v.Lag = time.Second, ago(29*time.Second), 1 },
			unwell: []string{api.OrganCanary, api.OrganRules}, // 10 s old
		},
		"owed for 5 minutes":           {change: func(v *daemon.Vitals) { v.Oldest = ago(5 * time.Minute) }},
		"owed for longer":              {change: func(v *daemon.Vitals) { v.Oldest = ago(5*time.Minute + time.Second) }, unwell: []string{api.OrganNotifier}},
		"a failure that may be mended": {change: func(v *daemon.Vitals) { v.Troubles = []daemon.Trouble{{Receiver: "a", Since: ago(30 * time.Second)}} }},
		"a failure for longer": {
			change: func(v *daemon.Vitals) { v.Troubles = []daemon.Trouble{{Receiver: "a", Since: ago(31 * time.Second)}} },
			unwell: []string{api.OrganReceivers},
		},
		"a notification given up": {
			change: func(v *daemon.Vitals) { v.Troubles = []daemon.Trouble{{Receiver: "a", Since: now, GivenUp: true}} },
			unwell: []string{api.OrganReceivers},
		},
		"little room":      {change: func(v *daemon.Vitals) { v.Disk = "low" }},
		"no room":          {change: func(v *daemon.Vitals) { v.Disk = "paused" }, unwell: []string{api.OrganDisk}},
		"an unknown disk":  {change: func(v *daemon.Vitals) { v.Disk = "unknown" }, unwell: []string{api.OrganDisk}},
		"a refused reload": {change: func(v *daemon.Vitals) { v.Reloaded = false }, unwell: []string{api.OrganConfig}},
		"not verified":     {change: func(v *daemon.Vitals) { v.Verified = false }, unwell: []string{api.OrganStore}},
		"two at once": {
			change: func(v *daemon.Vitals) { v.Disk, v.Reloaded = "paused", false },
			unwell: []string{api.OrganDisk, api.OrganConfig},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := daemon.Vitals{
				Now: now, Every: 30 * time.Second, Canary: ago(10 * time.Second), Judged: ago(10 * time.Second), LastCommit: ago(9 * time.Second),
				Disk: "ok", Reloaded: true, Verified: true,
			}
			c.change(&v)
			checks := v.Checks()
			var organs []string
			for _, check := range checks {
				organs = append(organs, check.Organ)
				if check.Detail == "" {
					t.Errorf("%s says nothing", check.Organ)
				}
			}
			want := []string{
				api.OrganCanary, api.OrganRules, api.OrganCommit, api.OrganNotifier, api.OrganReceivers, api.OrganDisk, api.OrganConfig, api.OrganStore,
			}
			if diff := cmp.Diff(want, organs); diff != "" {
				t.Errorf("organs (-want +got):\n%s", diff)
			}
			watch := api.Watch{Every: v.Every, Checks: checks}
			if got := unwell(watch); !slices.Equal(got, c.unwell) {
				t.Errorf("unwell are %v, want %v: %v", got, c.unwell, checks)
			}
			if watch.Healthy() != (len(c.unwell) == 0) {
				t.Errorf("healthy is %t", watch.Healthy())
			}
		})
	}
}
