package daemon_test

import (
	"encoding/json"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

// alerts returns the bodies of the alert entries of a rule, oldest first.
func alerts(t *testing.T, st *store.Store, rule string) (out []ledger.Alert) {
	t.Helper()
	entries, err := st.Entries(0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var a ledger.Alert
		if e.Kind != ledger.KindAlert {
			continue
		}
		if err := json.Unmarshal(e.Body, &a); err != nil {
			t.Fatal(err)
		}
		if a.Rule == rule {
			out = append(out, a)
		}
	}
	return out
}

// TestARuleThatGoesResolvesItsAlerts stops while alerts fire and starts again
// without their rule, or with one that looks elsewhere.
func TestARuleThatGoesResolvesItsAlerts(t *testing.T) {
	w := emptyWorld(t, hour())
	w.publishSpan(0, 25*time.Minute) // drift fires from minute 20 on
	s := newSweep(w)
	fired := s.copyOf(s.prepared)
	always := alert.Spec{Name: "Busy", Model: "fraud", Window: 5 * time.Minute, Expr: "events > 0", Severity: "page", Labels: map[string]string{"team": "risk"}}
	elsewhere := always
	elsewhere.Model = "churn"
	for _, c := range []struct {
		name, reason string
		rules        []alert.Spec
	}{
		{"fires", "", []alert.Spec{always}},
		{"stays", "", []alert.Spec{always}},
		{"removed", "the rule was removed from the configuration", nil},
		{"changed", "the rule was changed and does not select this series any more", []alert.Spec{elsewhere}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := fired
			if c.name != "fires" {
				dir = s.copyOf(fired)
			}
			st := open(t, dir)
			defer st.Close()
			o := s.options(st)
			o.Rules = s.rules(c.rules...)
			d, stop := s.start(o)
			w.caughtUp(d)
			w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "everybody is told")
			w.until(func() bool {
				active := 0
				for _, a := range d.Snapshot().Alerts {
					if a.Active() && a.Series.Model == "fraud" {
						active++
					}
				}
				return (active == 0) == (c.reason != "") && (c.reason == "" || len(alerts(t, st, "Busy")) > 1)
			}, "the alert of fraud is as it should be")
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			got := alerts(t, st, "Busy")
			if c.reason == "" {
				if len(got) != 1 || got[0].Status != "firing" {
					t.Fatalf("%d alerts, want one that fires: %+v", len(got), got)
				}
				return
			}
			end := got[1]
			if len(got) < 2 || end.Status != "resolved" || end.Reason != c.reason || end.DedupKey != got[0].DedupKey || end.Labels["team"] != "risk" || end.EndsAt == nil || !end.EndsAt.After(got[0].StartsAt) {
				t.Fatalf("after %+v: %+v", got[0], end)
			}
			if n := w.heard.count(st, t, end.DedupKey); n < 2 {
				t.Errorf("people heard %d entries of the alert, want its start and its end", n)
			}
			if _, err := st.LedgerVerify(func(_, _ uint64) {}); err != nil {
				t.Error(err)
			}
		})
	}
}

// count returns how many alert entries of one dedup key the sink was told.
func (s *sink) count(st *store.Store, t *testing.T, key string) (n int) {
	t.Helper()
	entries, order := told(t, st)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		if order[e.ID] == key && s.got[e.ID] > 0 {
			n++
		}
	}
	return n
}
