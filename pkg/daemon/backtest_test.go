package daemon_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/backtest"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/store"
)

// trialSpecs are rules of every sort, reference and memory. The last selects nothing.
func trialSpecs() []alert.Spec {
	return append(specs(),
		alert.Spec{Name: "Sudden", Window: 5 * time.Minute, Reference: alert.ReferencePreviousWindow, Expr: "psi_debiased > 0.05", Limit: 3},
		alert.Spec{Name: "Hourly", Window: time.Hour, Expr: "drifting_features > 0", Severity: "page"},
		alert.Spec{
			Name: "Flappy", Window: 5 * time.Minute, Expr: "psi_debiased > 0.01 and n >= 100", For: alert.Hold{Windows: 2, Of: 4},
			KeepFiringFor: alert.Hold{Windows: 1}, NoData: alert.NoDataAlert, Severity: "info",
		},
		alert.Spec{Name: "Typo", Window: 5 * time.Minute, Model: "fraud", Feature: "amuont", Expr: "psi_debiased > 0.1", UndecidedFor: alert.Hold{Windows: 4}},
	)
}

// backtest asks the API on a store what rules would have fired on a model.
func (w *world) backtest(st *store.Store, model string, specs []alert.Spec, gap func(string) time.Duration) *backtest.Report {
	w.t.Helper()
	ask := api.BacktestJSON{From: w.scenario.Start.Format(time.RFC3339)}
	for _, r := range w.rules(specs...) {
		ask.Rules = append(ask.Rules, api.NewRuleJSON(r.Spec()))
	}
	o := w.options(st)
	o.ExpectedGap = gap
	return w.tryOn(st, model, ask, o)
}

// tryOn asks the API on a store for a backtest, beside a daemon of these options.
func (w *world) tryOn(st *store.Store, model string, ask api.BacktestJSON, o daemon.Options) *backtest.Report {
	w.t.Helper()
	d, err := daemon.New(o) // reads only
	if err != nil {
		w.t.Fatal(err)
	}
	server, err := api.New(api.Options{Reader: d})
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := json.Marshal(ask)
	if err != nil {
		w.t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, "/api/v1/models/"+url.PathEscape(model)+"/backtest", bytes.NewReader(body))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	server.Handler().ServeHTTP(answer, r)
	if answer.Code != http.StatusOK {
		w.t.Fatalf("backtest of %s: %d %s", model, answer.Code, answer.Body)
	}
	report := &backtest.Report{}
	if err := json.Unmarshal(answer.Body.Bytes(), report); err != nil {
		w.t.Fatal(err)
	}
	return report
}

// recorded makes intervals of the ledger's alerts on a model.
func (w *world) recorded(st *store.Store, model string) []backtest.Interval {
	w.t.Helper()
	entries, err := st.Entries(0, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	at := map[string]int{}
	var out []backtest.Interval
	for _, e := range entries {
		var a ledger.Alert
		if e.Kind != ledger.KindAlert || e.Model != model {
			continue
		}
		if err := json.Unmarshal(e.Body, &a); err != nil {
			w.t.Fatal(err)
		}
		if a.Status == "firing" {
			at[a.DedupKey] = len(out)
			out = append(out, backtest.Interval{
				Rule: a.Rule, Model: a.Model, Version: a.ModelVersion, Variant: a.Variant, Segment: a.Segment, Feature: a.Feature,
				Severity: a.Severity, StartsAt: a.StartsAt, Reason: a.Reason,
			})
			continue
		}
		i := &out[at[a.DedupKey]]
		i.EndsAt, i.Peak = a.EndsAt, a.Evidence.Peak
	}
	return out
}

// printed tells intervals in one order, for comparison.
func printed(in []backtest.Interval) []string {
	var out []string
	for _, i := range in {
		end := "fires"
		if i.EndsAt != nil {
			end = i.EndsAt.Format(time.RFC3339)
		}
		out = append(out, fmt.Sprintf("%s to %s %s %s %s/%s{%s}%s %s; %s; %s",
			i.StartsAt.Format(time.RFC3339), end, i.Rule, i.Model, i.Version, i.Variant, i.Segment, i.Feature, i.Severity, i.Reason, i.Peak))
	}
	slices.Sort(out)
	return out
}

// TestABacktestSaysWhatTheDaemonSaid: on the stored windows of the demo's seven
// hours, the same rules fire at the same windows, for the same reasons, as they did
// live.
func TestABacktestSaysWhatTheDaemonSaid(t *testing.T) {
	scenario := story()
	scenario.Injections = append(scenario.Injections, sim.Injection{Model: "churn", Effect: sim.Silence, From: 150 * time.Minute, To: 4 * time.Hour})
	w := newWorld(t, scenario)
	st := open(t, newSweep(w).prepared)
	defer st.Close()
	o := w.options(st)
	o.ExpectedGap = func(string) time.Duration { return 20 * time.Minute }
	o.Rules = w.rules(trialSpecs()...)
	if err := w.run(o); err != nil {
		t.Fatal(err)
	}
	rules := map[string]int{}
	for _, m := range w.scenario.Models {
		want := w.recorded(st, m.Name)
		report := w.backtest(st, m.Name, trialSpecs(), o.ExpectedGap)
		if got := report.Intervals; !slices.Equal(printed(got), printed(want)) {
			t.Errorf("%s: a backtest gives\n%q\nthe daemon said\n%q", m.Name, printed(got), printed(want))
		}
		for _, i := range want {
			rules[i.Rule]++
		}
		watching := 0
		for _, r := range o.Rules {
			if r.Watches(m.Name) {
				watching++
			}
		}
		if len(report.Rules) != watching {
			t.Errorf("%s: %d rules in the report, %d watch it", m.Name, len(report.Rules), watching)
		}
	}
	for _, name := range []string{"FeatureDrift", "Silence", "CanaryErrors", "Sudden", "Hourly", "Flappy", alert.RuleNoData, alert.RuleUndecided} {
		if rules[name] == 0 {
			t.Errorf("%s never fired, so the test says nothing of it: %v", name, rules)
		}
	}
}

// flights is a model like one of an airline's departures, whose reference period
// is 168 windows of 5 minutes: departures are late for two hours; later some distances
// are missing, and then a carrier flies for the others too, until the end.
func flights() sim.Scenario {
	const quiet = 14 * time.Hour
	return sim.Scenario{
		Name: "flights", Start: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), Length: quiet + 11*time.Hour,
		Models: []sim.Model{{
			Name: "delays", Rate: 0.35, Even: true,
			Versions: []sim.Version{{Name: "1", Share: 0.8, Latency: sim.Normal{Mean: 12, Sigma: 2}}, {Name: "2", Variant: event.Canary, Share: 0.2, Latency: sim.Normal{Mean: 12, Sigma: 2}}},
			Features: []sim.Feature{
				{Name: "departure_delay", Dist: sim.Normal{Mean: 9, Sigma: 30}, Unit: 1},
				{Name: "distance", Dist: sim.LogNormal{Mu: 6.5, Sigma: 0.6}, Missing: 0.01, Unit: 1},
				{Name: "airline", Categories: []sim.Category{{Name: "WN", Weight: 22}, {Name: "DL", Weight: 15}, {Name: "AA", Weight: 12}, {Name: "OO", Weight: 10}, {Name: "EV", Weight: 10}}},
			},
		}},
		Injections: []sim.Injection{
			{Model: "delays", Feature: "departure_delay", Effect: sim.Shift, Amount: 0.5, From: quiet + 30*time.Minute, To: quiet + 150*time.Minute},
			{Model: "delays", Feature: "airline", Effect: sim.NewCategory, Category: "AA", Amount: 0.15, From: quiet + 8*time.Hour},
			{Model: "delays", Feature: "distance", Effect: sim.Nulls, Amount: 0.03, From: quiet + 4*time.Hour},
		},
	}
}

// changed tells what a ledger or a backtest says of drift in one form.
func changed(kind string, at time.Time, severity, reason string, findings ...string) string {
	return fmt.Sprintf("%s %s %s: %s %q", at.Format(time.RFC3339), kind, severity, reason, findings)
}

// TestABacktestWithinABudgetSaysWhatTheDaemonSaid: from the end of the reference
// period on, the stored windows give the incidents that the ledger has: the same
// changes at the same windows, for the same reasons, with the same findings.
func TestABacktestWithinABudgetSaysWhatTheDaemonSaid(t *testing.T) {
	w := newWorld(t, flights())
	st := open(t, newSweep(w).prepared)
	defer st.Close()
	if err := w.run(within(w.options(st), w)); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, a := range driftOf(t, st) {
		kind, severity := a.Change, a.Severity
		if a.Rule != alert.RuleDrift {
			continue
		}
		if a.Status == "noted" {
			severity = detect.None.String()
		}
		var findings []string
		for _, f := range a.Findings {
			findings = append(findings, fmt.Sprintf("%s %s %s since %s, %.12g in %d, %.6g", f.Signal, f.Component, f.Level, f.Since.Format(time.RFC3339), f.Distance, f.N, f.LogR))
		}
		want = append(want, changed(kind, a.Window.End, severity, a.Reason, findings...))
	}
	from := w.scenario.Start.Add(14 * time.Hour)
	report := w.tryOn(st, "delays", api.BacktestJSON{Rules: []api.RuleJSON{}, Budget: &api.BudgetJSON{Running: true}, From: from.Format(time.RFC3339)}, within(w.options(st), w))
	d := report.Drift
	if d == nil || d.Learned != 168 || !d.Status.Judging || d.Budget != "oncall" || d.Allowed != 1 {
		t.Fatalf("drift %+v", d)
	}
	var got []string
	for _, c := range d.Changes {
		var findings []string
		for _, f := range c.Findings {
			findings = append(findings, fmt.Sprintf("%s %s %s since %s, %.12g in %d, %.6g", f.Signal, f.Component, f.Level, f.Since.Format(time.RFC3339), f.Effect.Distance, f.Effect.N, f.LogR))
		}
		got = append(got, changed(string(c.Kind), c.At, c.Level.String(), c.Reason, findings...))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-the daemon +a backtest):\n%s", diff)
	}
	if len(report.Intervals) < 2 || report.Intervals[0].EndsAt == nil || d.Pages < 2 || !report.From.Equal(from) {
		t.Errorf("the story should have two incidents: %+v", report.Intervals)
	}
}

// inShadow returns rules that are on trial.
func inShadow(specs []alert.Spec) []alert.Spec {
	out := slices.Clone(specs)
	for i := range out {
		out[i].Notify = alert.NotifyShadow
	}
	return out
}

// TestShadow: rules on trial, or rules on a model that is, fire at the same windows
// as in earnest; the ledger says so, nobody hears of it, and nothing is asked for.
func TestShadow(t *testing.T) {
	w := newWorld(t, story())
	for name, change := range map[string]func(*daemon.Options){
		"in earnest":         func(*daemon.Options) {},
		"rules on trial":     func(o *daemon.Options) { o.Rules = w.rules(inShadow(specs())...) },
		"the model on trial": func(o *daemon.Options) { o.OnTrial = func(model string) bool { return model == "fraud" } },
	} {
		t.Run(name, func(t *testing.T) {
			earnest := name == "in earnest"
			st := open(t, newSweep(w).prepared)
			defer st.Close()
			o := w.options(st)
			change(&o)
			heard := &sink{got: map[string]int{}}
			for i := range o.Receivers {
				o.Receivers[i].Sink = heard
			}
			if err := w.run(o); err != nil {
				t.Fatal(err)
			}
			entries, err := st.Entries(0, 10_000)
			if err != nil {
				t.Fatal(err)
			}
			fired := 0
			for _, e := range entries {
				if e.Model != "fraud" {
					continue
				}
				switch e.Kind {
				case ledger.KindRetrain, ledger.KindRollback:
					if !earnest {
						t.Errorf("%s was asked for: %s", e.Kind, e.Body)
					}
				case ledger.KindAlert:
					var a ledger.Alert
					if err := json.Unmarshal(e.Body, &a); err != nil {
						t.Fatal(err)
					}
					if (a.Notify == alert.NotifyShadow) == earnest {
						t.Errorf("notify %q in %s", a.Notify, e.Body)
					}
					if !earnest && heard.got[e.ID] > 0 {
						t.Errorf("somebody heard of %s", e.Body)
					}
					fired++
				}
			}
			if got, want := printed(w.recorded(st, "fraud")), printed(w.backtest(st, "fraud", specs(), nil).Intervals); fired == 0 || !slices.Equal(got, want) {
				t.Errorf("%d entries; in shadow\n%q\nin earnest\n%q", fired, got, want)
			}
		})
	}
}

// TestATrialThatEnds stops while an alert fires in shadow, and starts again with
// the rule in earnest: the trial's alert ends in shadow, and one that people hear
// of begins. The other way round people hear of the end.
func TestATrialThatEnds(t *testing.T) {
	w := emptyWorld(t, hour())
	w.publishSpan(0, 25*time.Minute)
	st := open(t, newSweep(w).prepared)
	defer st.Close()
	busy := alert.Spec{Name: "Busy", Model: "fraud", Window: 5 * time.Minute, Expr: "events > 0", Severity: "page"}
	spans := []time.Duration{25 * time.Minute, 40 * time.Minute, 55 * time.Minute, time.Hour}
	for i, notify := range []string{alert.NotifyShadow, alert.NotifyReceivers, alert.NotifyShadow} {
		busy.Notify = notify
		o := w.options(st)
		o.Rules = w.rules(busy)
		if err := w.run(o); err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			w.publishSpan(spans[i], spans[i+1])
			if err := w.run(o); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := alerts(t, st, "Busy")
	var said []string
	for _, a := range got {
		said = append(said, a.Status+" "+a.Notify+" "+a.Reason)
	}
	want := []string{
		"firing shadow events ", "resolved shadow its trial in shadow has ended", "firing  events ", "resolved  it is on trial in shadow now",
	}
	if len(said) < len(want) {
		t.Fatalf("the ledger says %q", said)
	}
	for i := range want {
		if len(said[i]) < len(want[i]) || said[i][:len(want[i])] != want[i] {
			t.Errorf("entry %d says %q, want %q", i, said[i], want[i])
		}
	}
}

// TestABudgetsTrialThatEnds: so it is with a hard limit of a model whose budget is
// on trial, and only the page in earnest is drawn.
func TestABudgetsTrialThatEnds(t *testing.T) {
	s := calibrated()
	s.Length = 3 * time.Hour
	s.Injections = []sim.Injection{{Model: "fraud", Effect: sim.Errors, Amount: 0.8, From: time.Hour, To: s.Length}}
	w := emptyWorld(t, s)
	st := open(t, newSweep(w).prepared)
	defer st.Close()
	for _, part := range []struct {
		from, to time.Duration
		options  func(daemon.Options) daemon.Options
	}{
		{0, 90 * time.Minute, func(o daemon.Options) daemon.Options { return onTrial(within(o, w)) }},
		{90 * time.Minute, s.Length, func(o daemon.Options) daemon.Options { return within(o, w) }},
	} {
		w.publishSpan(part.from, part.to)
		d, stop := w.start(part.options(w.options(st)))
		w.caughtUp(d)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if b := d.Snapshot().Budgets[0]; len(b.Shadow) == 0 || b.OnTrial != (part.from == 0) || (len(b.Spent) > 0) == b.OnTrial {
			t.Errorf("budget %+v after %v", b, part.to)
		}
	}
	var said []string
	for _, a := range alerts(t, st, alert.RuleFails) {
		said = append(said, strings.TrimSpace(a.Status+" "+a.Notify))
		if a.Status == "resolved" && !strings.HasSuffix(a.Reason, "its trial in shadow has ended") {
			t.Errorf("resolved because %s", a.Reason)
		}
	}
	if want := []string{"firing shadow", "resolved shadow", "firing"}; !slices.Equal(said, want) {
		t.Errorf("the ledger says %q, want %q", said, want)
	}
}

// onTrial puts the budget of options into shadow.
func onTrial(o daemon.Options) daemon.Options {
	budget := o.Detection.Budget
	o.Detection.Budget = func(model string) *daemon.Budget {
		b := budget(model)
		b.Shadow = true
		return b
	}
	return o
}

// TestDriftInShadow: the drift that a budget finds while it or the model is on
// trial is recorded, from its opening to its end, nobody hears of it, and no page is
// drawn; of a budget on trial it is counted what would have been.
func TestDriftInShadow(t *testing.T) {
	w := newWorld(t, calibrated())
	for name, c := range map[string]struct {
		trial func(daemon.Options) daemon.Options
		would int
	}{
		"model": {func(o daemon.Options) daemon.Options {
			o.OnTrial = func(string) bool { return true }
			return o
		}, 0},
		"budget": {onTrial, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			st := open(t, newSweep(w).prepared)
			defer st.Close()
			w.judgesInShadow(c.trial(within(w.options(st), w)), c.would)
		})
	}
}

// judgesInShadow reads the whole stream and finds every alert recorded, told to
// nobody and, would times, as what would have been a page.
func (w *world) judgesInShadow(o daemon.Options, would int) {
	w.t.Helper()
	d, stop := w.start(o)
	w.until(func() bool {
		s := d.Snapshot()
		for _, a := range s.Alerts {
			if a.Rule == alert.RuleDrift && !a.Shadow {
				w.t.Error("an incident is shown as if somebody had been told of it")
			}
		}
		return s.Stream.CommittedSeq >= w.last()
	}, "all is committed")
	if err := stop(); err != nil {
		w.t.Fatal(err)
	}
	var said []string
	for _, a := range driftOf(w.t, o.Store) {
		if a.Status == "noted" {
			continue
		}
		if said = append(said, a.Change); a.Notify != alert.NotifyShadow {
			w.t.Errorf("%s %s is not in shadow", a.Change, a.Rule)
		}
	}
	if len(said) < 2 || said[0] != "opened" || said[len(said)-1] != "resolved" {
		w.t.Errorf("the ledger says %q", said)
	}
	if b := d.Snapshot().Budgets; len(b) != 1 || len(b[0].Spent) != 0 || len(b[0].Shadow) != would || b[0].OnTrial != (would > 0) {
		w.t.Errorf("budgets %+v, want %d pages in shadow and none drawn", b, would)
	}
	w.heard.mu.Lock()
	defer w.heard.mu.Unlock()
	entries, err := o.Store.Entries(0, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Kind == ledger.KindAlert && w.heard.got[e.ID] > 0 {
			w.t.Errorf("somebody heard of %s", e.Body)
		}
	}
}
