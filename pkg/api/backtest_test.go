package api_test

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/backtest"
)

const backtestPath = "/api/v1/models/fraud/backtest"

// judged posts a backtest of rules on fraud.
func judged(t *testing.T, s *api.Server, body string) *backtest.Report {
	t.Helper()
	r := call(t, s.Handler(), http.MethodPost, backtestPath, body, "Content-Type", jsonType)
	answer := text(t, r)
	report := &backtest.Report{}
	if err := json.Unmarshal([]byte(answer), report); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%d %v: %s", r.StatusCode, err, answer)
	}
	return report
}

// TestBacktest: fraud drifts from hour 2 on, as newWorld says, and three hours have
// closed.
func TestBacktest(t *testing.T) {
	s := newServer(t, newWorld(t))
	const amount = `{"alert":"Amount","window":"1h","feature":"amount","expr":"psi_debiased > 0.1","for":"1","severity":"page"}`
	report := judged(t, s, `{"rules":[`+amount+`,{"alert":"Canary","window":"30m","variant":"canary","expr":"events == 0"}],"against":[]}`)
	if len(report.Intervals) != 1 || report.Intervals[0].Rule != "Amount" || !report.Intervals[0].StartsAt.Equal(start.Add(3*time.Hour)) || report.Intervals[0].EndsAt != nil {
		t.Fatalf("intervals %+v", report.Intervals)
	}
	if len(report.Against.New) != 1 || len(report.Rules) != 2 || report.Rules[0].Windows != 3 || report.Rules[0].Noise == nil || report.Rules[0].Noise.Fired != 1 {
		t.Errorf("report %+v, rules %+v", report, report.Rules)
	}
	if early := judged(t, s, `{"rules":[`+amount+`],"to":"2026-01-01T02:59:00Z","from":"2026-01-01T00:30:00Z"}`); len(early.Intervals) != 0 || !early.From.Equal(start.Add(time.Hour)) || !early.To.Equal(start.Add(2*time.Hour)) {
		t.Errorf("from 00:30 to 02:59: %+v", early)
	}
	if short := judged(t, s, `{"rules":[`+amount+`],"span":"1h"}`); short.Rules[0].Windows > 1 {
		t.Errorf("an hour has %d windows", short.Rules[0].Windows)
	}
	segments := judged(t, s, `{"rules":[{"alert":"Seg","window":"1h","segment":"channel=*","feature":"amount","expr":"psi_debiased > 0.1"}]}`)
	if len(segments.Intervals) != 2 || segments.Intervals[0].Segment != "channel=app" || segments.Intervals[1].Segment != "channel=web" {
		t.Errorf("by segment: %+v", segments.Intervals)
	}
	moving := judged(t, s, `{"rules":[{"alert":"Sudden","window":"1h","version":"1","variant":"primary","feature":"amount","reference":"previous_window","expr":"psi_debiased > 0.1"},
		{"alert":"Whole","window":"1h","reference":"previous_window","expr":"drifting_features > 0"}]}`)
	if len(moving.Intervals) != 2 || !moving.Intervals[0].StartsAt.Equal(start.Add(3*time.Hour)) || !moving.Intervals[1].StartsAt.Equal(start.Add(3*time.Hour)) {
		t.Errorf("against the hour before: %+v", moving.Intervals)
	}
	injected := judged(t, s, `{"rules":[`+amount+`],"inject":["amount+3sd@2026-01-01T01:00:00Z"]}`)
	if d := injected.Injections[0]; d.Rule != "Amount" || *d.DelayS != 3600 || d.Exact || !injected.Intervals[0].StartsAt.Equal(start.Add(2*time.Hour)) {
		t.Errorf("a fault from hour 1 on: %+v, %+v", d, injected.Intervals)
	}
	movingFault := judged(t, s, `{"rules":[{"alert":"Sudden","window":"1h","version":"1","variant":"primary","feature":"amount","reference":"previous_window","expr":"psi_debiased > 0.1"}],
		"inject":["amount+3sd"]}`)
	if len(movingFault.Intervals) > 1 {
		t.Errorf("what is faulty from the start is sudden: %+v", movingFault.Intervals)
	}
}

// TestBacktestWithinABudget: three hours are too few to know what is normal, those
// before from= among them.
func TestBacktestWithinABudget(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	running := judged(t, s, `{"rules":[],"budget":{"running":true},"from":"2026-01-01T01:00:00Z"}`).Drift
	if running == nil || running.Budget != "oncall" || running.Allowed != 0.5 || running.Learned != 3 || running.Noise != nil || running.Status.Windows != 3 || running.Status.Reference != 672 {
		t.Errorf("as it runs: %+v", running)
	}
	report := judged(t, s, `{"rules":[],"budget":{"name":"new","pages":1,"per":"7d","weights":{"amount":0}},"against":[],"against_budget":{"running":true},"inject":["amount+1sd"]}`)
	if d := report.Drift; d == nil || d.Budget != "new" || d.Allowed != 1 || d.PeriodS != 7*24*3600 || report.Against == nil || report.Injections[0].Drift == nil {
		t.Errorf("tried: %+v, %+v", report.Drift, report)
	}
	w.change(func(snapshot *api.Snapshot) {
		for i := range snapshot.Models {
			snapshot.Models[i].Drift = nil
		}
	})
	if d := judged(t, s, `{"rules":[],"budget":{"running":true}}`).Drift; d != nil {
		t.Errorf("a model without a budget: %+v", d)
	}
	w.mu.Lock()
	w.broken = errors.New("broken")
	w.mu.Unlock()
	post(t, s, backtestPath, `{"rules":[],"budget":{"name":"new","pages":1,"per":"7d"},"from":"2026-01-01T01:00:00Z"}`, 500)
}

func TestBacktestRefusals(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w)
	rule := func(fields string) string {
		return `{"rules":[{"alert":"A","window":"1h","expr":"events > 0"` + fields + `}]}`
	}
	for name, c := range map[string]struct {
		body, want string
		status     int
	}{
		"no JSON":         {`rules`, "cannot be read", 400},
		"unknown field":   {`{"rule":[]}`, "unknown field", 400},
		"expression":      {`{"rules":[{"alert":"A","window":"1h","expr":"psi >"}]}`, "rules[0]", 400},
		"window":          {`{"rules":[{"alert":"A","window":"soon","expr":"events > 0"}]}`, "window: must be a duration", 400},
		"odd window":      {`{"rules":[{"alert":"A","window":"90m","expr":"events > 0"}]}`, "above 1h of whole hours", 400},
		"hold":            {rule(`,"for":"x"`), "for: must be a duration", 400},
		"keep":            {rule(`,"keep_firing_for":"x"`), "keep_firing_for: must be a duration", 400},
		"some of":         {rule(`,"for":"3 of five"`), "for: must be so many of the last windows", 400},
		"too many of":     {rule(`,"for":"3 of 99"`), "for: 3 of 99 is not possible", 400},
		"kept some of":    {rule(`,"keep_firing_for":"3 of 5"`), `keep_firing_for: only "for" can be`, 400},
		"no_data":         {rule(`,"no_data":"drop"`), "no_data", 400},
		"no_data_for":     {rule(`,"no_data":"alert","no_data_for":"x"`), "no_data_for: must be a duration", 400},
		"undecided_for":   {rule(`,"undecided_for":"x"`), "undecided_for: must be a duration", 400},
		"twice":           {`{"rules":[],"against":[{"alert":"A","window":"1h","expr":"events > 0"},{"alert":"A","window":"1h","expr":"events > 0"}]}`, "against[1]: this name is given twice", 400},
		"from":            {`{"rules":[],"from":"then"}`, "from: must be a time", 400},
		"span":            {`{"rules":[],"span":"long"}`, "span: must be a duration", 400},
		"too long":        {`{"rules":[{"alert":"A","window":"1m","expr":"events > 0"}],"from":"2020-01-01T00:00:00Z"}`, "more than 11000 windows of 1m", 400},
		"injection":       {`{"rules":[],"inject":["amount"]}`, "write FEATURE", 400},
		"no such feature": {`{"rules":[],"inject":["amuont*2"]}`, "has no feature", 400},
		"baseline":        {`{"rules":[],"baseline":"b-0"}`, "not found", 404},
		"budget period":   {`{"rules":[],"budget":{"name":"b","pages":1,"per":"soon"}}`, "budget.per: must be a duration", 400},
		"no pages":        {`{"rules":[],"against":[],"against_budget":{"name":"b","per":"30d"}}`, "a budget of 0 pages", 400},
		"too many rules":  {`{"rules":[` + strings.Repeat(`{},`, 1000) + `{}]}`, "more than 1000 rules", 400},
	} {
		t.Run(name, func(t *testing.T) {
			if got := post(t, s, backtestPath, c.body, c.status); !strings.Contains(got["detail"].(string), c.want) {
				t.Errorf("%s, want %q", got["detail"], c.want)
			}
		})
	}
	post(t, s, "/api/v1/models/nobody/backtest", `{"rules":[]}`, 404)
	w.mu.Lock()
	w.broken = errors.New("broken")
	w.mu.Unlock()
	post(t, s, backtestPath, rule(""), 500)
}

// TestRulesHaveNoise: the running rule wants two hours of drift and has seen one of
// three hours, so it did not fire; that leaves up to 3.689 in three hours (Garwood),
// 885 in 30 days. Without noise= nothing is measured.
func TestRulesHaveNoise(t *testing.T) {
	s := newServer(t, newWorld(t))
	if n := items(t, s, "/api/v1/rules")[0]["noise"]; n != nil {
		t.Errorf("noise %v, which nobody asked for", n)
	}
	for _, query := range []string{"?noise=7d", "?noise=7d&model=fraud"} {
		item := items(t, s, "/api/v1/rules"+query)[0]
		n, ok := item["noise"].(object)
		if !ok || n["fired"] != 0. || n["per_30d"] != 0. || math.Round(n["high"].(float64)) != 885 || n["models"] != 1. || n["from"] != "2026-01-01T00:00:00Z" || n["to"] != "2026-01-01T03:00:00Z" {
			t.Errorf("%s: %v", query, item["noise"])
		}
		if item["models"] != 1. {
			t.Errorf("it watches %v models", item["models"])
		}
	}
	get(t, s, "/api/v1/rules?noise=7d&model=nobody", 404)
	get(t, s, "/api/v1/rules?noise=0d", 400)
}

// TestAlertsInShadow: they are told apart everywhere, and fire for nobody.
func TestAlertsInShadow(t *testing.T) {
	w := newWorld(t)
	w.change(func(s *api.Snapshot) { s.Alerts[0].Shadow = true })
	s := newServer(t, w)
	if n := items(t, s, "/api/v1/alerts?model=fraud")[0]["notify"]; n != alert.NotifyShadow {
		t.Errorf("notify %v", n)
	}
	page := text(t, call(t, s.Handler(), http.MethodGet, "/metrics", ""))
	for _, line := range []string{`driftd_alerts{state="firing"} 0`, `driftd_alerts{state="shadow"} 1`, `alertname="AmountDrift",alertstate="shadow"`} {
		if !strings.Contains(page, line) {
			t.Errorf("/metrics has no %s", line)
		}
	}
	if !strings.Contains(text(t, call(t, s.Handler(), http.MethodGet, "/alerts", "")), "firing in shadow") {
		t.Error("the page of alerts does not say that it is in shadow")
	}
}
