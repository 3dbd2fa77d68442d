package backtest_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/backtest"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// day0 is when the tests' events begin.
var day0 = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

const perHour = 1000

var shape = &event.Shape{Names: []string{"amount", "country", "confidence"}}

// predictions yields n hours of amounts N(100, 20), with countries and a feature
// that is called like an output.
func predictions(n int, seed uint64, yield func(*event.Event)) {
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range n * perHour {
		e := event.New(event.Prediction)
		e.Model, e.Version, e.Time = "fraud", "42", day0.Add(time.Duration(i)*time.Hour/perHour).UnixNano()
		e.Features = shape
		e.Values = []event.Value{
			event.Num(100 + 20*random.NormFloat64()), event.Cat([]string{"DE", "FR", "US"}[random.IntN(3)]), event.Num(random.Float64()),
		}
		e.Prediction = event.Num(random.Float64())
		yield(&e)
	}
}

func reference() *drift.Baseline {
	b := drift.NewBuilder(drift.BuilderOptions{Model: "fraud"})
	predictions(10, 1, b.Add)
	return b.Build(drift.Approved, drift.Origin{Kind: "import"})
}

func engine(t *testing.T, b *drift.Baseline, sizes ...time.Duration) *drift.Engine {
	t.Helper()
	spec := drift.DefaultSpec()
	spec.Sizes, spec.DedupIDs = sizes, 0
	g := drift.NewEngine(spec)
	if !g.SetBaseline(b) {
		t.Fatal("the engine does not follow fraud")
	}
	return g
}

// closings counts n hours of predictions, changed by change.
func closings(t *testing.T, b *drift.Baseline, n int, change func(i uint64, e *event.Event)) (out []*drift.Closing) {
	t.Helper()
	g := engine(t, b, time.Hour)
	i, last := uint64(0), int64(0)
	predictions(n, 2, func(e *event.Event) {
		i++
		if change != nil {
			change(i, e)
		}
		last = e.Time
		if o := g.Add(e, drift.Position{Seq: i, Time: last}); o != drift.Counted {
			t.Fatalf("event %d is %v", i, o)
		}
	})
	g.Tick(drift.Position{Seq: i + 1, Time: last + int64(5*time.Minute)})
	d, err := g.Drain()
	if err != nil {
		t.Fatal(err)
	}
	for k := range d.Closings {
		out = append(out, &d.Closings[k])
	}
	if len(out) != n {
		t.Fatalf("%d hours closed, want %d", len(out), n)
	}
	return out
}

func rules(t *testing.T, specs ...alert.Spec) (out []*alert.Rule) {
	t.Helper()
	for _, spec := range specs {
		if spec.Window == 0 {
			spec.Window = time.Hour
		}
		r, err := alert.Compile(spec)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func add(t *testing.T, r interface{ Add(*drift.Closing) error }, closings []*drift.Closing) {
	t.Helper()
	for _, c := range closings {
		if err := r.Add(c); err != nil {
			t.Fatal(err)
		}
	}
}

// shifted moves the amounts of hours [from, to) by half a standard deviation.
func shifted(from, to int) func(uint64, *event.Event) {
	return func(i uint64, e *event.Event) {
		if hour := int(i-1) / perHour; hour >= from && hour < to {
			e.Values[0].Num += 10
		}
	}
}

// A shift of .5 sd has PSI .238 (statistics of the field: 10 bins, normal).
var amountDrift = alert.Spec{Name: "AmountDrift", Feature: "amount", Expr: "psi_debiased > 0.1", For: alert.Hold{Windows: 2}, Severity: "page"}

// TestRun: an alert's interval goes from the window that fired to the one that
// resolved, and counts in its rule, its day and its noise.
func TestRun(t *testing.T) {
	b := reference()
	r := backtest.NewRun(alert.Judge{Baseline: b, Rules: rules(t, amountDrift,
		alert.Spec{Name: "Sudden", Feature: "amount", Reference: alert.ReferencePreviousWindow, Expr: "psi_debiased > 0.1"},
		alert.Spec{Name: "LastWeek", Feature: "amount", Reference: alert.ReferenceSameHourLastWeek, Expr: "psi_debiased > 0.1", Severity: "info"},
		alert.Spec{Name: "Other", Model: "churn", Expr: "events == 0"},
		alert.Spec{Name: "Minutes", Window: time.Minute, Expr: "events == 0"},
	)})
	const hours = 30
	add(t, r, closings(t, b, hours, shifted(5, 10)))
	report := backtest.NewReport("fraud", backtest.Parts{Main: r})
	var got []string
	for _, i := range report.Intervals {
		got = append(got, i.Rule+" "+i.Feature+" "+i.Severity+" "+i.StartsAt.Format("15")+"-"+i.EndsAt.Format("15"))
	}
	// Hours 5 to 9 are shifted: the second of them fires at 7, the hour that ends at 11 is normal again.
	want := []string{"AmountDrift amount page 07-11", "Sudden amount ticket 06-07", "Sudden amount ticket 11-12"}
	if !slices.Equal(got, want) {
		t.Fatalf("intervals %q, want %q", got, want)
	}
	if !strings.HasPrefix(report.Intervals[0].Reason, "psi_debiased 0.2") || report.Intervals[0].Peak == "" {
		t.Errorf("reason %q, peak %q", report.Intervals[0].Reason, report.Intervals[0].Peak)
	}
	if len(report.Days) != 1 || report.Days[0] != (backtest.Day{Day: "2026-01-05", Tally: backtest.Tally{Pages: 1, Tickets: 2}}) {
		t.Errorf("days %+v", report.Days)
	}
	if got, want := report.PagesDay, 24./hours; got != want {
		t.Errorf("%v pages a day, want %v", got, want)
	}
	if !report.From.Equal(day0) || !report.To.Equal(day0.Add(hours*time.Hour)) || report.Baseline != b.ID {
		t.Errorf("from %v to %v against %s", report.From, report.To, report.Baseline)
	}
	for _, r := range report.Rules {
		decided := map[string]int{"AmountDrift": hours, "Sudden": hours - 1, "LastWeek": 0, "Minutes": 0}[r.Rule]
		if r.Decided != decided || (r.Noise == nil) != (decided == 0) {
			t.Errorf("%s: %d of %d windows decided, want %d; noise %+v", r.Rule, r.Decided, r.Windows, decided, r.Noise)
		}
		if r.Rule == "Other" {
			t.Error("a rule is in the report of a model that it does not watch")
		}
	}
}

// TestRunRemembersAWeek: a rule on last week's hour decides from the second week on.
func TestRunRemembersAWeek(t *testing.T) {
	b := reference()
	r := backtest.NewRun(alert.Judge{Baseline: b, Rules: rules(t,
		alert.Spec{Name: "LastWeek", Feature: "amount", Reference: alert.ReferenceSameHourLastWeek, Expr: "psi_debiased > 0.1"},
		alert.Spec{Name: "Whole", Reference: alert.ReferenceSameHourLastWeek, Expr: "drifting_features > 0"},
	)})
	const week = 7 * 24
	hour := closings(t, b, 1, nil)[0]
	for i := range week + 3 { // the same hour again and again, shifted at the end
		c := *hour
		if i == week+1 {
			c = *closings(t, b, 1, shifted(0, 1))[0]
		}
		w := *c.Windows[0]
		c.Start = day0.Add(time.Duration(i) * time.Hour)
		c.End = c.Start.Add(time.Hour)
		w.Start, w.End = c.Start, c.End
		c.Windows = []*drift.Window{&w}
		if err := r.Add(&c); err != nil {
			t.Fatal(err)
		}
	}
	report := backtest.NewReport("fraud", backtest.Parts{Main: r})
	for _, rule := range report.Rules {
		if rule.Decided != 3 || rule.Fired != 1 {
			t.Errorf("%s: decided %d, fired %d; want 3 and 1", rule.Rule, rule.Decided, rule.Fired)
		}
	}
}

// TestNoise: the interval is Garwood's. For 0 events it is [0, 3.689], for 1
// [0.0253, 5.572], for 3 [0.619, 8.767] (any table of exact Poisson limits).
func TestNoise(t *testing.T) {
	month := day0.Add(30 * 24 * time.Hour)
	for fired, want := range map[int][2]float64{0: {0, 3.6889}, 1: {.0253, 5.5716}, 3: {.6187, 8.7673}} {
		n := backtest.NewNoise(fired, day0, month)
		if n.Per30d != float64(fired) || !near(n.Low, want[0]) || !near(n.High, want[1]) {
			t.Errorf("%d alerts: %+v, want %v", fired, n, want)
		}
	}
	if n := backtest.NewNoise(2, day0, day0.Add(15*24*time.Hour)); n.Per30d != 4 {
		t.Errorf("2 alerts in half a month are %v", n.Per30d)
	}
	if backtest.NewNoise(0, day0, day0) != nil {
		t.Error("no time at all has a noise")
	}
	one, two := backtest.NewNoise(1, day0, month), backtest.NewNoise(2, day0.Add(-time.Hour), month.Add(-time.Hour))
	sum := one.Add(two)
	if sum.Models != 2 || sum.Per30d != 3 || !near(sum.Low, .6187) || !near(sum.High, 8.7673) || !sum.From.Equal(two.From) || !sum.To.Equal(one.To) {
		t.Errorf("the sum of two models is %+v", sum)
	}
	var none *backtest.Noise
	if none.Add(one) != one || one.Add(nil) != one || none.Add(nil) != nil {
		t.Error("nothing measured adds something")
	}
}

func near(x, y float64) bool { return x-y < 1e-3 && y-x < 1e-3 }

// TestDiff: what two runs tell of the same time is the same or changed, however
// many pieces it has; the rest is new or gone.
func TestDiff(t *testing.T) {
	at := func(from, to int) backtest.Interval {
		i := backtest.Interval{Rule: "R", Model: "m", Feature: "f", Severity: "page", StartsAt: day0.Add(time.Duration(from) * time.Hour)}
		if to > 0 {
			end := day0.Add(time.Duration(to) * time.Hour)
			i.EndsAt = &end
		}
		return i
	}
	other := at(0, 2)
	other.Feature = "g"
	louder := at(20, 22)
	louder.Severity = "ticket"
	d := backtest.Diff(
		[]backtest.Interval{at(0, 2), at(3, 5), at(6, 8), at(10, 12), louder, at(30, 0), other},
		[]backtest.Interval{at(0, 2), at(4, 7), at(14, 15), at(20, 22), at(30, 0)},
	)
	if d.Same != 2 || len(d.New) != 1 || len(d.Gone) != 2 || len(d.Changed) != 2 {
		t.Fatalf("%d as before, %d new, %d gone, %d changed: %+v", d.Same, len(d.New), len(d.Gone), len(d.Changed), d)
	}
	if c := d.Changed[0]; len(c.Before) != 2 || len(c.After) != 1 {
		t.Errorf("two alerts that became one: %+v", c)
	}
	if c := d.Changed[1]; c.Before[0].Severity != "ticket" || c.After[0].Severity != "page" {
		t.Errorf("a louder alert: %+v", c)
	}
	if d.Gone[0].StartsAt.Hour() != 10 || d.Gone[1].Feature != "g" || d.New[0].StartsAt.Hour() != 14 {
		t.Errorf("gone %+v, new %+v", d.Gone, d.New)
	}
}

// TestShadow: alerts in shadow are counted by rule and day, beside those in earnest
// that overlap them, and those that a trial would have missed.
func TestShadow(t *testing.T) {
	at := func(rule, model, severity string, from, to int) backtest.Interval {
		end := day0.Add(time.Duration(to) * time.Hour)
		return backtest.Interval{Rule: rule, Model: model, Severity: severity, StartsAt: day0.Add(time.Duration(from) * time.Hour), EndsAt: &end}
	}
	shadow := []backtest.Interval{
		at("New", "fraud", "page", 30, 31), at("New", "fraud", "page", 1, 3), at("New", "churn", "ticket", 5, 6), at("New", "churn", "info", 7, 8), at("New", "fraud", "page", -9, -8),
	}
	told := []backtest.Interval{
		at("Old", "fraud", "ticket", 2, 4), at("Old", "fraud", "page", 10, 11), at("Old", "other", "page", 12, 13), at("Old", "churn", "page", 1, 3), at("Old", "fraud", "page", -5, -4),
	}
	r := backtest.Shadow(shadow, told, day0, day0.Add(48*time.Hour), func(model string) bool { return model != "other" })
	if want := []backtest.ShadowRule{
		{Rule: "New", Model: "churn", Tally: backtest.Tally{Tickets: 1, Infos: 1}},
		{Rule: "New", Model: "fraud", Tally: backtest.Tally{Pages: 2}, Matched: 1},
	}; !slices.Equal(r.Rules, want) {
		t.Errorf("rules %+v, want %+v", r.Rules, want)
	}
	if want := []backtest.ShadowDay{
		{Day: "2026-01-05", Shadow: backtest.Tally{Pages: 1, Tickets: 1, Infos: 1}, Told: backtest.Tally{Pages: 3, Tickets: 1}},
		{Day: "2026-01-06", Shadow: backtest.Tally{Pages: 1}},
	}; !slices.Equal(r.Days, want) {
		t.Errorf("days %+v, want %+v", r.Days, want)
	}
	if len(r.Shadow) != 4 || len(r.Shadow[2].Overlaps) != 1 || r.Shadow[2].Overlaps[0].Severity != "ticket" {
		t.Errorf("overlaps %+v", r.Shadow)
	}
	if len(r.Missed) != 2 || r.Missed[0].Model != "churn" || r.Missed[1].StartsAt.Hour() != 10 {
		t.Errorf("missed %+v", r.Missed)
	}
}
