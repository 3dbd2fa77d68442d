package api_test

import (
	"net/http"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
)

// TestAlertsSayWhatTheyAre: one that flaps, one about a rule without data, and one that
// stands for series which a limit holds back, as JSON and for people.
func TestAlertsSayWhatTheyAre(t *testing.T) {
	w := newWorld(t)
	w.change(func(s *api.Snapshot) {
		s.Alerts = nil
		for signal, state := range map[string]alert.State{
			"amount": {Fires: 3}, alert.NoDataSignal: {Fires: 1}, alert.OverflowSignal: {Fires: 1, Beyond: 7},
		} {
			state.Phase, state.Since, state.FiredAt = alert.Firing, start, start
			s.Alerts = append(s.Alerts, api.Alert{
				Series: alert.Series{Rule: "AmountDrift", Key: drift.Key{Group: drift.Group{Model: "fraud"}, Signal: signal}}, State: state, Severity: alert.SeverityPage,
			})
		}
	})
	s := newServer(t, w)
	for query, want := range map[string][]string{
		"/api/v1/alerts": {
			`"rule":"NoData","about_rule":"AmountDrift"`, `"rule":"AmountDrift","about_rule":""`,
			`"fires":3,"flaps":2,"limited":false,"held_back":0`, `"fires":1,"flaps":0,"limited":false,"held_back":7`,
		},
		"/alerts": {`NoData <span class="quiet">AmountDrift</span>`, "flapping, 2 restarts", alert.OverflowSignal},
	} {
		got := text(t, call(t, s.Handler(), http.MethodGet, query, ""))
		for _, part := range want {
			if !strings.Contains(got, part) {
				t.Errorf("%s lacks %s:\n%s", query, part, got)
			}
		}
		if strings.Contains(got, alert.NoDataSignal) {
			t.Errorf("%s shows the signal that stands for no data", query)
		}
	}
}
