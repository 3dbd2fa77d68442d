package backtest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/backtest"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

const (
	learned = detect.MinReference // hours of the reference period
	judged  = 72
)

// week is a reference period and three days, of which hours 20 to 39 are shifted by
// half a standard deviation.
func week(t *testing.T, b *drift.Baseline) []*drift.Closing {
	t.Helper()
	return closings(t, b, learned+judged, shifted(learned+20, learned+40))
}

// oncall is a budget of so many pages in 30 days.
func oncall(pages float64) backtest.Budget {
	c := detect.DefaultConfig("fraud")
	c.Pages, c.Reference = pages, detect.MinReference
	return backtest.Budget{Name: "oncall", Config: c}
}

// within returns a Run of no rules that judges drift within a budget.
func within(t *testing.T, base *drift.Baseline, budget backtest.Budget) *backtest.Run {
	t.Helper()
	r := backtest.NewRun(alert.Judge{Baseline: base})
	if err := r.Within(budget); err != nil {
		t.Fatal(err)
	}
	return r
}

// written returns the JSON of a report.
func written(t *testing.T, r *backtest.Report) string {
	t.Helper()
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func learn(t *testing.T, r interface{ Learn(*drift.Window) error }, past []*drift.Closing) {
	t.Helper()
	for _, c := range past {
		total, err := c.Total()
		if err == nil {
			err = r.Learn(total)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestBudget: a shift is one page, within hours; the reference period may come
// before or be the first windows, and sums may be remembered or asked for.
func TestBudget(t *testing.T) {
	base := reference()
	all := week(t, base)
	sum := func(from, to time.Time) (*drift.Window, error) {
		var in []*drift.Window
		for _, c := range all {
			if total, err := c.Total(); err != nil {
				return nil, err
			} else if !c.Start.Before(from) && !c.End.After(to) {
				in = append(in, total)
			}
		}
		return drift.Sum(in)
	}
	var want *backtest.Report
	for name, ask := range map[string]struct{ before, asked bool }{
		"reference before": {before: true}, "reference first": {}, "asked for": {before: true, asked: true},
	} {
		t.Run(name, func(t *testing.T) {
			budget := oncall(1)
			if ask.asked {
				budget.Sum = sum
			}
			run, rest := within(t, base, budget), all
			if ask.before {
				learn(t, run, all[:learned])
				rest = all[learned:]
			}
			add(t, run, rest)
			got := backtest.NewReport("fraud", backtest.Parts{Main: run})
			if want == nil {
				want = got
			}
			if diff := cmp.Diff(written(t, want), written(t, got)); diff != "" {
				t.Errorf("another way to know what is normal (-want +got):\n%.2000s", diff)
			}
		})
	}
	d := want.Drift
	if d.Budget != "oncall" || d.Allowed != 1 || d.PeriodS != (30*24*time.Hour).Seconds() || d.Learned != learned || d.Pages != 1 || d.Noise.Days != judged/24 || !d.Status.Judging {
		t.Errorf("drift %+v", d)
	}
	if len(d.Changes) < 2 || d.Changes[0].Kind != detect.Opened || !d.Changes[0].Page || d.Changes[0].Findings[0].Signal != "amount" {
		t.Fatalf("changes %+v", d.Changes)
	}
	begins, ends := day0.Add((learned+20)*time.Hour), day0.Add((learned+40)*time.Hour)
	i := want.Intervals[0]
	if len(want.Intervals) != 1 || i.Rule != alert.RuleDrift || i.Severity != "page" || i.StartsAt.Sub(begins) > 6*time.Hour || !i.StartsAt.After(begins) || i.EndsAt == nil || !i.EndsAt.After(ends) || i.Reason == "" || i.Peak != i.Reason {
		t.Errorf("intervals %+v", want.Intervals)
	}
	if r := want.Rules[0]; len(want.Rules) != 1 || r.Rule != alert.RuleDrift || r.Windows != judged || r.Decided != judged || r.Fired != 1 || r.Series != d.Status.Detectors || want.PagesDay != 1./3 {
		t.Errorf("rules %+v, %g pages a day", want.Rules, want.PagesDay)
	}
}

// TestSupersededIncident: another change, more than 12 windows after the page for the
// first, is an incident of its own, in which the first one ends.
func TestSupersededIncident(t *testing.T) {
	base := reference()
	amount := shifted(learned+20, learned+50)
	all := closings(t, base, learned+judged, func(i uint64, e *event.Event) {
		amount(i, e)
		if hour := int(i-1) / perHour; hour >= learned+40 && hour < learned+50 && i%3 == 0 {
			e.Values[1] = event.Cat("XX")
		}
	})
	run := within(t, base, oncall(1))
	learn(t, run, all[:learned])
	add(t, run, all[learned:])
	r := backtest.NewReport("fraud", backtest.Parts{Main: run})
	var kinds []detect.ChangeKind
	for _, c := range r.Drift.Changes {
		if c.Kind != detect.Noted && c.Kind != detect.Extended {
			kinds = append(kinds, c.Kind)
		}
	}
	if diff := cmp.Diff([]detect.ChangeKind{detect.Opened, detect.Opened, detect.Superseded, detect.Resolved}, kinds); diff != "" {
		t.Fatalf("changes (-want +got):\n%s", diff)
	}
	if len(r.Intervals) != 2 {
		t.Fatalf("intervals %+v", r.Intervals)
	}
	first, second := r.Intervals[0], r.Intervals[1]
	if first.EndsAt == nil || !first.EndsAt.Equal(second.StartsAt) || first.Peak != first.Reason || !strings.Contains(first.Reason, "amount") {
		t.Errorf("the first incident %+v, want one of amount that ends where %s begins", first, second.StartsAt)
	}
	if second.EndsAt == nil || second.Peak != second.Reason || !strings.Contains(second.Reason, "country") {
		t.Errorf("the second incident %+v, want one of country that has ended", second)
	}
	if r.Drift.Pages != 2 {
		t.Errorf("%d pages, want 2", r.Drift.Pages)
	}
}

// TestBudgetOfTooFewWindows: nothing is judged, and the report says how far it got;
// without a baseline, or with a budget that is none, there is no report.
func TestBudgetOfTooFewWindows(t *testing.T) {
	base := reference()
	few := closings(t, base, 30, nil)
	run := within(t, base, oncall(1))
	learn(t, run, few[:10])
	add(t, run, few[10:])
	r := backtest.NewReport("fraud", backtest.Parts{Main: run})
	if d := r.Drift; d.Learned != 30 || d.Noise != nil || d.Status.Judging || d.Status.Windows != 30 || r.Rules[0].Windows != 0 {
		t.Errorf("drift %+v", d)
	}
	if d := backtest.NewReport("fraud", backtest.Parts{Main: within(t, base, oncall(1))}).Drift; d.Learned != 0 || d.Status.Reference != detect.MinReference {
		t.Errorf("nothing was judged: %+v", d)
	}
	bare := backtest.NewRun(alert.Judge{})
	if err := bare.Within(oncall(1)); err != nil {
		t.Error(err)
	}
	learn(t, bare, few[:1])
	add(t, bare, few)
	if d := backtest.NewReport("fraud", backtest.Parts{Main: bare}).Drift; d != nil {
		t.Errorf("without a baseline: %+v", d)
	}
	if err := backtest.NewRun(alert.Judge{Baseline: base}).Within(oncall(0)); err == nil {
		t.Error("a budget of no pages")
	}
}

// TestSmallWindowsWait: windows that wait for the next are looked at together, by
// what the Run remembers of them.
func TestSmallWindowsWait(t *testing.T) {
	base := reference()
	budget := oncall(1)
	budget.Config.MinEvents = perHour + perHour/2
	run := within(t, base, budget)
	all := closings(t, base, 2*learned+24, shifted(2*learned+6, 2*learned+18))
	learn(t, run, all[:2*learned])
	add(t, run, all[2*learned:])
	r := backtest.NewReport("fraud", backtest.Parts{Main: run})
	if r.Rules[0].Windows != 24 || r.Rules[0].Decided != 12 || r.Drift.Pages != 1 {
		t.Errorf("rules %+v, %d pages", r.Rules, r.Drift.Pages)
	}
}

// TestBudgetDelay: a fault is told and paged for once the evidence is there, a
// small one is not, and a page that comes anyway does not count.
func TestBudgetDelay(t *testing.T) {
	base := reference()
	all := week(t, base)
	at := day0.Add((learned + 5) * time.Hour).Format(time.RFC3339)
	for fault, want := range map[string]bool{
		"amount+0.5sd@" + at: true, "country:new=0.2,XX@" + at: true, "amount+0.001sd@" + at: false,
	} {
		t.Run(fault, func(t *testing.T) {
			i, err := backtest.ParseInjection(fault)
			if err != nil {
				t.Fatal(err)
			}
			faults, err := backtest.Bind([]backtest.Injection{i}, base, false)
			if err != nil {
				t.Fatal(err)
			}
			p := backtest.Parts{Main: within(t, base, oncall(1)), Plain: within(t, base, oncall(1)), Against: within(t, base, oncall(1e-6)), Injections: faults}
			learn(t, p, all[:learned])
			add(t, p, all[learned:])
			r := backtest.NewReport("fraud", p)
			d := r.Injections[0].Drift
			if d == nil || want != (d.PageAt != nil) || want != (d.ToldAt != nil) {
				t.Fatalf("delay %+v", d)
			}
			if want && (*d.PageDelayS <= 0 || *d.PageDelayS > 6*3600 || *d.ToldDelayS > *d.PageDelayS) {
				t.Errorf("a page after %g s, told after %g s", *d.PageDelayS, *d.ToldDelayS)
			}
			if want && len(r.Against.New)+len(r.Against.Changed) == 0 {
				t.Errorf("a budget of a page in 80,000 years tells the same: %+v", r.Against)
			}
		})
	}
}

// TestBudgetFromTheStart: a fault without a time begins with what is judged, and
// not in the reference period.
func TestBudgetFromTheStart(t *testing.T) {
	base := reference()
	all := closings(t, base, learned+24, nil)
	i, err := backtest.ParseInjection("amount+0.5sd")
	if err != nil {
		t.Fatal(err)
	}
	faults, err := backtest.Bind([]backtest.Injection{i}, base, false)
	if err != nil {
		t.Fatal(err)
	}
	p := backtest.Parts{Main: within(t, base, oncall(1)), Plain: within(t, base, oncall(1)), Injections: faults}
	learn(t, p, all[:learned])
	add(t, p, all[learned:])
	d := backtest.NewReport("fraud", p).Injections[0]
	if !d.At.Equal(day0.Add(learned*time.Hour)) || d.Drift.PageDelayS == nil || *d.Drift.PageDelayS > 6*3600 || d.Rule != alert.RuleDrift {
		t.Errorf("delay %+v, %+v", d, d.Drift)
	}
}
