package alert_test

import (
	"errors"
	"maps"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

var hours = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// hourly counts n amounts of fraud 42 in the i-th hour, all about mean.
func hourly(b *drift.Baseline, i, n int, mean float64) *drift.Closing {
	w, err := b.Part("").Count(func(yield func(*event.Event) bool) {
		for k := range n {
			e := event.New(event.Prediction)
			e.Features = &event.Shape{Names: []string{"amount"}}
			e.Values = []event.Value{event.Num(mean + float64(k*37%100))}
			if !yield(&e) {
				return
			}
		}
	})
	if err != nil {
		panic(err)
	}
	start := hours.Add(time.Duration(i) * time.Hour)
	w.Group, w.Start, w.End, w.State = drift.Group{Model: "fraud", Version: "42"}, start, start.Add(time.Hour), drift.Closed
	return &drift.Closing{Model: "fraud", Size: time.Hour, Start: w.Start, End: w.End, Windows: []*drift.Window{w}}
}

func reference() *drift.Baseline {
	b := drift.NewBuilder(drift.BuilderOptions{Model: "fraud"})
	for k := range 1000 {
		e := event.New(event.Prediction)
		e.Features = &event.Shape{Names: []string{"amount"}}
		e.Values = []event.Value{event.Num(float64(k * 37 % 100))}
		b.Add(&e)
	}
	return b.Build(drift.Approved, drift.Origin{Kind: "import"})
}

// TestJudge: a rule sees the baseline or the window before, only closings of its
// size and models that it watches, and what fires on a model on trial is in shadow.
func TestJudge(t *testing.T) {
	base := reference()
	var rules []*alert.Rule
	for _, spec := range []alert.Spec{
		{Name: "Drift", Window: time.Hour, Feature: "amount", Expr: "psi_debiased > 0.1"},
		{Name: "Sudden", Window: time.Hour, Feature: "amount", Reference: alert.ReferencePreviousWindow, Expr: "psi_debiased > 0.1"},
		{Name: "OnTrial", Window: time.Hour, Feature: "amount", Expr: "psi_debiased > 0.1", Notify: alert.NotifyShadow},
		{Name: "Other", Model: "churn", Window: time.Hour, Expr: "events >= 0"},
		{Name: "Shorter", Window: time.Minute, Expr: "events >= 0"},
	} {
		rules = append(rules, mustCompile(t, spec))
	}
	var before *drift.Closing
	j := alert.Judge{Rules: rules, Baseline: base, Past: func(w *drift.Window, whole bool, start time.Time) (*drift.Window, error) {
		if before == nil || !start.Equal(before.Start) {
			return nil, nil
		}
		if whole {
			return before.Total()
		}
		return before.Windows[0], nil
	}}
	states := map[*alert.Rule]map[alert.Series]alert.State{}
	for _, r := range rules {
		states[r] = map[alert.Series]alert.State{}
	}
	of := func(r *alert.Rule) map[alert.Series]alert.State { return states[r] }
	fired := map[string]int{}
	for i, mean := range []float64{0, 0, 50, 50, 0} {
		c := hourly(base, i, 200, mean)
		view, err := j.See(c, alert.ReferenceBaseline)
		if err != nil {
			t.Fatal(err)
		}
		if view.Of(c.Windows[0].Group) != c.Windows[0] || view.Of(drift.Group{Model: "fraud"}) != view.Total.Window || view.Of(drift.Group{Version: "7"}) != nil {
			t.Error("the windows of series are not those of the view")
		}
		for f, err := range j.Findings(c, view, of) {
			if err != nil {
				t.Fatal(err)
			}
			if len(f.Inputs) != 1 {
				t.Errorf("%s judged %d series", f.Rule.Name(), len(f.Inputs))
			}
			for _, ch := range f.Changes {
				if ch.Fired() {
					fired[f.Rule.Name()]++
				}
				if ch.Resolved() {
					fired["end of "+f.Rule.Name()]++
				}
				if ch.Fired() && ch.Shadow != (f.Rule.Name() == "OnTrial") {
					t.Errorf("%s fired, shadow %v", f.Rule.Name(), ch.Shadow)
				}
				if ch.Resolved() && ch.Shadow != (f.Rule.Name() == "OnTrial") {
					t.Errorf("%s resolved, shadow %v", f.Rule.Name(), ch.Shadow)
				}
			}
			alert.Apply(states[f.Rule], f.Next)
		}
		before = c
	}
	// Drift lasts from hour 2 to 3. Against the hour before, 2 and 4 are sudden.
	for name, want := range map[string]int{"Drift": 1, "end of Drift": 1, "OnTrial": 1, "end of OnTrial": 1, "Sudden": 2, "end of Sudden": 1, "Other": 0, "Shorter": 0} {
		if fired[name] != want {
			t.Errorf("%s: %d, want %d", name, fired[name], want)
		}
	}

	j.Shadow = true
	c := hourly(base, 9, 200, 50)
	view, err := j.See(c, alert.ReferenceBaseline)
	if err != nil {
		t.Fatal(err)
	}
	shadows := 0
	for f, err := range j.Findings(c, view, func(*alert.Rule) map[alert.Series]alert.State { return nil }) {
		if err != nil {
			t.Fatal(err)
		}
		for _, ch := range f.Changes {
			if ch.Fired() && ch.Shadow {
				shadows++
			}
		}
	}
	if shadows != 2 { // Drift and OnTrial; there is no hour 8 to be sudden against
		t.Errorf("%d alerts in shadow on a model on trial, want 2", shadows)
	}
}

// TestJudgeWithoutAPast: a rule on earlier windows says nothing when there are
// none, and an error of the past ends the judging.
func TestJudgeWithoutAPast(t *testing.T) {
	base := reference()
	sudden := mustCompile(t, alert.Spec{Name: "Sudden", Window: time.Hour, Feature: "amount", Reference: alert.ReferenceSameHourLastWeek, Expr: "psi_debiased > 0.1"})
	c := hourly(base, 0, 200, 50)
	judge := func(past alert.Past) (decided int, err error) {
		j := alert.Judge{Rules: []*alert.Rule{sudden}, Baseline: base, Past: past}
		view, err := j.See(c, alert.ReferenceBaseline)
		if err != nil {
			t.Fatal(err)
		}
		for f, failed := range j.Findings(c, view, func(*alert.Rule) map[alert.Series]alert.State { return nil }) {
			if failed != nil {
				return decided, failed
			}
			for _, in := range f.Inputs {
				if f.Rule.Decides(in) {
					decided++
				}
			}
		}
		return decided, nil
	}
	if n, err := judge(nil); n != 0 || err != nil {
		t.Errorf("without a past %d windows decide, %v", n, err)
	}
	n, err := judge(func(_ *drift.Window, whole bool, start time.Time) (*drift.Window, error) {
		if want := c.Start.Add(-7 * 24 * time.Hour); !start.Equal(want) {
			t.Errorf("asked for %v, want %v", start, want)
		}
		if whole {
			return nil, nil
		}
		return hourly(base, 0, 200, 0).Windows[0], nil
	})
	if n != 1 || err != nil {
		t.Errorf("with a past %d windows decide, %v", n, err)
	}
	broken := errors.New("broken")
	if _, err := judge(func(*drift.Window, bool, time.Time) (*drift.Window, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("a broken past gives %v", err)
	}
	learning := hourly(base, 1, 200, 50)
	learning.Windows[0].Learning = true
	drifts := mustCompile(t, alert.Spec{Name: "Drift", Window: time.Hour, Feature: "amount", Expr: "psi_debiased > 0.1"})
	j := alert.Judge{Rules: []*alert.Rule{drifts}, Baseline: base}
	view, err := j.See(learning, alert.ReferenceBaseline)
	if err != nil {
		t.Fatal(err)
	}
	for f, err := range j.Findings(learning, view, func(*alert.Rule) map[alert.Series]alert.State { return nil }) {
		if err != nil || f.Rule.Decides(f.Inputs[0]) {
			t.Errorf("a window of a learning model decides, or fails: %v", err)
		}
	}
}

// TestOverflowInShadow: the series that stands for those beyond a limit is in
// shadow with them, and so is one that is withdrawn.
func TestOverflowInShadow(t *testing.T) {
	r := mustCompile(t, alert.Spec{Name: "AmountDrift", Feature: "*", Window: time.Hour, Expr: "psi > 0.1", Limit: 1, Notify: alert.NotifyShadow})
	next, changes := r.StepAll(nil, pass(0, psis{"a": .5, "b": .6}))
	inShadow := 0
	for _, ch := range changes {
		if ch.Fired() && ch.Shadow {
			inShadow++
		}
	}
	if inShadow != 2 {
		t.Errorf("%d alerts in shadow of %v", inShadow, summary(changes))
	}
	for series, s := range next {
		for _, ch := range alert.Withdraw(series, s, window(1), "gone") {
			if !ch.Shadow {
				t.Errorf("%s is withdrawn in earnest", series)
			}
		}
	}
	if _, err := alert.Compile(alert.Spec{Name: "A", Window: time.Hour, Expr: "events > 0", Notify: "nobody"}); err == nil {
		t.Error("notify: nobody compiles")
	}
}

// The hard limits of a model whose budget is on trial are in shadow, and no other rule.
func TestLimitsInShadow(t *testing.T) {
	own := alert.HardLimits(time.Hour)
	loud := mustCompile(t, alert.Spec{Name: "Silence", Window: time.Hour, Expr: "events == 0"})
	j := alert.Judge{Rules: append(own, loud), ShadowLimits: true}
	states := map[*alert.Rule]map[alert.Series]alert.State{}
	fired := map[string]bool{}
	for hour := range 3 {
		start := epoch.Add(time.Duration(hour) * time.Hour)
		c := &drift.Closing{Model: "fraud", Start: start, End: start.Add(time.Hour), Size: time.Hour}
		view, err := j.See(c, alert.ReferenceBaseline)
		if err != nil {
			t.Fatal(err)
		}
		for f, err := range j.Findings(c, view, func(r *alert.Rule) map[alert.Series]alert.State { return states[r] }) {
			if err != nil {
				t.Fatal(err)
			}
			if states[f.Rule] == nil {
				states[f.Rule] = map[alert.Series]alert.State{}
			}
			alert.Apply(states[f.Rule], f.Next)
			for _, ch := range f.Changes {
				if ch.Fired() {
					fired[f.Rule.Name()] = ch.Shadow
				}
			}
		}
	}
	want := map[string]bool{alert.RuleSilent: true, "Silence": false}
	if !maps.Equal(fired, want) {
		t.Errorf("in shadow fired %v, want %v", fired, want)
	}
}
