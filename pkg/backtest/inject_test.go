package backtest_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/backtest"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

func TestParseInjection(t *testing.T) {
	noon := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]backtest.Injection{
		"amount+0.25sd@2026-01-05T12:00:00Z":    {Feature: "amount", Effect: backtest.Shift, Amount: .25, At: noon},
		"a-b-1sd@2026-01-05T13:00:00+01:00":     {Feature: "a-b", Effect: backtest.Shift, Amount: -1, At: noon},
		"amount*1.3":                            {Feature: "amount", Effect: backtest.Scale, Amount: 1.3},
		"amount:missing=0.3":                    {Feature: "amount", Effect: backtest.Missing, Amount: .3},
		"country:new=1e-2":                      {Feature: "country", Effect: backtest.NewCategory, Amount: .01, Category: backtest.DefaultCategory},
		"country:new=1,XX@2026-01-05T12:00:00Z": {Feature: "country", Effect: backtest.NewCategory, Amount: 1, Category: "XX", At: noon},
		"features.confidence:missing=0.5":       {Feature: "features.confidence", Effect: backtest.Missing, Amount: .5},
		"user@home*2@2026-01-05T12:00:00.000Z":  {Feature: "user@home", Effect: backtest.Scale, Amount: 2, At: noon},
		"amount:missing=1@2026-01-05T12:00:00Z": {Feature: "amount", Effect: backtest.Missing, Amount: 1, At: noon},
	} {
		want.Text = text
		if got, err := backtest.ParseInjection(text); err != nil || got != want {
			t.Errorf("%s: %+v %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"amount":             "write FEATURE+0.25sd",
		"amount+0.25":        "write FEATURE+0.25sd",
		"amount+0.25sd@noon": "is no time",
		"amount+1.2.3sd":     "is no number",
		"amount:missing=0":   "a share is above 0 and at most 1",
		"country:new=1.5":    "a share is above 0 and at most 1",
		"amount*0":           "a factor is above 0",
		"amount*1e999":       "is no number",
	} {
		if _, err := backtest.ParseInjection(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func injections(t *testing.T, b *drift.Baseline, events bool, texts ...string) []backtest.Injection {
	t.Helper()
	var out []backtest.Injection
	for _, text := range texts {
		i, err := backtest.ParseInjection(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, i)
	}
	bound, err := backtest.Bind(out, b, events)
	if err != nil {
		t.Fatal(err)
	}
	return bound
}

func TestBind(t *testing.T) {
	b := drift.NewBuilder(drift.BuilderOptions{Model: "fraud"})
	predictions(1, 1, func(e *event.Event) {
		e.Features, e.Values = &event.Shape{Names: append(shape.Names, "constant")}, append(e.Values, event.Num(1))
		b.Add(e)
	})
	base := b.Build(drift.Approved, drift.Origin{})
	for text, want := range map[string]string{
		"amuont*2":        `the baseline has no feature "amuont"`,
		"prediction*2":    "an output of the model",
		"country*2":       "country is categorical",
		"amount:new=0.1":  "amount is numeric",
		"constant+0.25sd": "no standard deviation",
	} {
		i, err := backtest.ParseInjection(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := backtest.Bind([]backtest.Injection{i}, base, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if _, err := backtest.Bind([]backtest.Injection{i}, nil, true); err == nil {
			t.Errorf("%s binds to no baseline", text)
		}
	}
	if out, err := backtest.Bind(nil, nil, true); len(out) != 0 || err != nil {
		t.Error("nothing to bind needs no baseline")
	}
}

// TestInjectedWindowsAreLikeInjectedEvents: a fault put into the windows moves
// every statistic as the same fault in the events does, but for the spread within
// bins and the chance of draws.
func TestInjectedWindowsAreLikeInjectedEvents(t *testing.T) {
	b := reference()
	const from = "@2026-01-05T02:00:00Z"
	for _, text := range []string{"amount+0.5sd", "amount-0.25sd", "amount*1.3", "amount:missing=0.3", "country:missing=0.2", "country:new=0.1,XX", "confidence*1.2"} {
		inEvents := injections(t, b, true, text+from)
		exact := closings(t, b, 4, func(i uint64, e *event.Event) { inEvents[0].Event(e, i) })
		inWindows := injections(t, b, false, text+from)
		for h, plain := range closings(t, b, 4, nil) {
			before := plain.Windows[0].Digest()
			c := backtest.Inject(plain, inWindows)
			if plain.Windows[0].Digest() != before {
				t.Fatalf("%s changed the window it was given", text)
			}
			got := drift.Compare(b.Part(""), b.ID, true, c.Windows[0])
			want := drift.Compare(b.Part(""), b.ID, true, exact[h].Windows[0])
			for i, s := range got.Signals {
				x := want.Signals[i]
				// .03: 1/256 of a bin's spread, and three standard errors of a share of 1000
				// (.0095 at 10 %). PSI rises steeply with a share that was 0.
				if math.Abs(s.Missing-x.Missing) > .04 || differs(s.PSI, x.PSI, .06+3*x.Unseen) || differs(s.KSLo, x.KSLo, .03) || differs(s.Unseen, x.Unseen, .03) {
					t.Errorf("%s, hour %d, %s: missing %.3f psi %.3f ks %.3f unseen %.3f, with the fault in the events %.3f %.3f %.3f %.3f",
						text, h, s.Name, s.Missing, s.PSI, s.KSLo, s.Unseen, x.Missing, x.PSI, x.KSLo, x.Unseen)
				}
			}
			if h < 2 && c.Windows[0] != plain.Windows[0] {
				t.Errorf("%s acts on hour %d, before it begins", text, h)
			}
			if h >= 2 && c.Windows[0].Digest() == before {
				t.Errorf("%s does nothing in hour %d", text, h)
			}
		}
	}
}

func differs(x, y, by float64) bool { return math.IsNaN(x) != math.IsNaN(y) || math.Abs(x-y) > by }

// TestInjectWhatIsNotCounted: windows of a learning model, of another dictionary or
// without the feature stay as they are.
func TestInjectWhatIsNotCounted(t *testing.T) {
	b := reference()
	all := injections(t, b, false, "amount+1sd", "country:new=0.5")
	empty := &drift.Window{Group: drift.Group{Model: "fraud"}, Start: day0, End: day0.Add(time.Hour)}
	if backtest.InjectWindow(empty, all) != empty {
		t.Error("a window without the features is not itself")
	}
	w := *closings(t, b, 1, nil)[0].Windows[0]
	other := *w.Signal("country").Categorical
	other.Dict, other.Counts = nil, nil
	for i := range w.Signals {
		if w.Signals[i].Name == "country" {
			w.Signals[i].Categorical = &other
		}
	}
	if got := backtest.InjectWindow(&w, all).Signal("country").Categorical; got.N != other.N || got.Unseen != 0 {
		t.Errorf("categories of no one dictionary became %+v", got)
	}
}

// TestDelay: half a standard deviation at 05:30 is noticed by a rule of two windows
// in the second whole hour at the latest, by none that looks elsewhere, and what
// fires anyway is no notice.
func TestDelay(t *testing.T) {
	b := reference()
	tried := rules(t, amountDrift,
		alert.Spec{Name: "Always", Expr: "events > 0"},
		alert.Spec{Name: "Country", Feature: "country", Expr: "psi_debiased > 0.1"},
	)
	const fault = "amount+0.5sd@2026-01-05T05:30:00Z"
	for name, c := range map[string]struct {
		events bool
		delay  time.Duration
	}{"in windows": {false, 150 * time.Minute}, "in events": {true, 150 * time.Minute}} {
		parts := backtest.Parts{
			Main: backtest.NewRun(alert.Judge{Rules: tried, Baseline: b}), Plain: backtest.NewRun(alert.Judge{Rules: tried, Baseline: b}),
			Against: backtest.NewRun(alert.Judge{Rules: tried[1:], Baseline: b}), Injections: injections(t, b, c.events, fault, "country:missing=0.01"),
		}
		if c.events {
			add(t, parts.Plain, closings(t, b, 12, nil))
			for _, closed := range closings(t, b, 12, func(i uint64, e *event.Event) {
				for k := range parts.Injections {
					parts.Injections[k].Event(e, i)
				}
			}) {
				if err := parts.AddInjected(closed); err != nil {
					t.Fatal(err)
				}
			}
		} else {
			add(t, parts, closings(t, b, 12, nil))
		}
		report := backtest.NewReport("fraud", parts)
		d := report.Injections[0]
		if d.Rule != "AmountDrift" || d.DelayS == nil || *d.DelayS != c.delay.Seconds() || d.Exact != c.events || !d.AlertAt.Equal(d.At.Add(c.delay)) {
			t.Errorf("%s: noticed %+v, want after %v", name, d, c.delay)
		}
		if d := report.Injections[1]; d.Rule != "" || d.AlertAt != nil || !d.Exact || !d.At.Equal(day0) {
			t.Errorf("%s: 1 %% missing was noticed: %+v", name, d)
		}
		if a := report.Against; len(a.New) != 1 || a.New[0].Rule != "AmountDrift" || a.Same != 1 || len(a.Gone)+len(a.Changed) != 0 {
			t.Errorf("%s: against the other rules %+v", name, a)
		}
	}
}
