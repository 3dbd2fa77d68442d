package alert_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
)

// epoch is the start of the first window; the demo clock starts there too.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func mustCompile(t testing.TB, spec alert.Spec, metrics ...string) *alert.Rule {
	t.Helper()
	if spec.Name == "" {
		spec.Name = "AmountDrift"
	}
	if spec.Window == 0 {
		spec.Window = time.Hour
	}
	r, err := alert.Compile(spec, metrics...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// window returns the i-th closed hour.
func window(i int) alert.Window {
	start := epoch.Add(time.Duration(i) * time.Hour)
	return alert.Window{Start: start, End: start.Add(time.Hour), State: drift.Closed}
}

// input makes what the rule "psi > 0.2, clear psi < 0.05" sees, by one letter:
//
//	H hot, B between the thresholds, q quiet, ? undefined, n too few values, 0 none,
//	h and x hot and quiet on an incomplete window, b between on one, o hot on an
//	open window, L hot but learning
func input(i int, letter rune) alert.Input {
	psi := map[rune]float64{
		'H': 0.31, 'h': 0.31, 'o': 0.31, 'n': 0.31, 'L': 0.31, 'B': 0.1, 'b': 0.1, 'q': 0.01, 'x': 0.01, '?': math.NaN(), '0': math.NaN(),
	}[letter]
	in := alert.Input{
		Key:    drift.Key{Group: drift.Group{Model: "fraud", Version: "42"}, Signal: "amount"},
		Window: window(i), N: 5000, Vars: alert.NewVars(map[string]float64{"psi": psi, "n": 5000}),
		Approved: true, Baseline: "b-1",
	}
	switch letter {
	case 'n':
		in.N = 99 // one fewer than the default minimum
	case '0':
		in.N = 0
	case 'h', 'x', 'b':
		in.Window.State = drift.Incomplete
	case 'o':
		in.Window.State = drift.Open
	case 'L':
		in.Window.Learning = true
	}
	return in
}

// picture writes a state as a letter of its phase and the first of its flag.
func picture(s alert.State) string {
	out := map[alert.Phase]string{alert.Inactive: "I", alert.Pending: "P", alert.Firing: "F", alert.Recovering: "R", alert.Resolved: "D"}[s.Phase]
	if s.Flag != "" {
		out += map[alert.Flag]string{alert.NoData: "0", alert.Undefined: "?", alert.Insufficient: "n", alert.Incomplete: "h"}[s.Flag]
	}
	return out
}

func TestStep(t *testing.T) {
	const clear = "psi < 0.05"
	threeOfFive := alert.Hold{Windows: 3, Of: 5}
	two, any := alert.Hold{Windows: 2}, new(uint64)
	tests := map[string]struct {
		spec    alert.Spec
		windows string // a letter of input each, a space skips one window
		want    string // a picture each
	}{
		"never":                         {alert.Spec{}, "qqq", "I I I"},
		"fires at once without for":     {alert.Spec{}, "qHHq", "I F F D"},
		"for 1 is at once":              {alert.Spec{For: alert.Hold{Windows: 1}}, "Hq", "F D"},
		"for 2":                         {alert.Spec{For: two}, "HHHq", "P F F D"},
		"for 2 not reached":             {alert.Spec{For: two}, "HqHq", "P I P I"},
		"for 2h of 1h windows":          {alert.Spec{For: alert.Hold{Duration: 2 * time.Hour}}, "HHq", "P F D"},
		"for 61m rounds up":             {alert.Spec{For: alert.Hold{Duration: 61 * time.Minute}}, "HHq", "P F D"},
		"for 10m is one window":         {alert.Spec{For: alert.Hold{Duration: 10 * time.Minute}}, "Hq", "F D"},
		"keep_firing_for 2":             {alert.Spec{KeepFiringFor: two}, "Hqqq", "F R D D"},
		"keep_firing_for starts over":   {alert.Spec{KeepFiringFor: two}, "HqHqq", "F R F R D"},
		"clear holds it":                {alert.Spec{Clear: clear}, "HBBqB", "F F F D D"},
		"clear interrupted":             {alert.Spec{Clear: clear, KeepFiringFor: two}, "HqBqq", "F R F R D"},
		"clear is not needed to pend":   {alert.Spec{Clear: clear, For: two}, "HBHH", "P I P F"},
		"undefined keeps inactive":      {alert.Spec{}, "??q", "I? I? I"},
		"undefined keeps pending":       {alert.Spec{For: two}, "H?H", "P P? F"},
		"undefined keeps firing":        {alert.Spec{}, "H????q", "F F? F? F? F? D"},
		"undefined keeps recovering":    {alert.Spec{KeepFiringFor: two}, "Hq?q", "F R R? D"},
		"undefined keeps resolved":      {alert.Spec{}, "Hq?q", "F D D? D"},
		"too few keeps":                 {alert.Spec{For: two}, "nHnHnq", "In P Pn F Fn D"},
		"flag changes":                  {alert.Spec{}, "?n?H", "I? In I? F"},
		"undefined is not without data": {alert.Spec{NoData: "resolve", MinN: any}, "H???q", "F F? F? F? D"},
		"no_data resolve after 2":       {alert.Spec{NoData: "resolve", MinN: any}, "H00", "F F0 D0"},
		"no_data_for 3":                 {alert.Spec{NoData: "resolve", NoDataFor: alert.Hold{Windows: 3}, MinN: any}, "H000", "F F0 F0 D0"},
		"no_data counts in a row":       {alert.Spec{NoData: "resolve", MinN: any}, "H0?0H00", "F F0 F? F0 F F0 D0"},
		"no_data does not end pending":  {alert.Spec{NoData: "resolve", For: two, MinN: any}, "H000H", "P P0 P0 P0 F"},
		"no_data keep":                  {alert.Spec{NoData: "keep", MinN: any}, "H000q", "F F0 F0 F0 D"},
		"no_data ok is quiet":           {alert.Spec{NoData: "ok", KeepFiringFor: two, MinN: any}, "H0H00", "F R F R D"},
		"no_data ok ends pending":       {alert.Spec{NoData: "ok", For: two, MinN: any}, "H0HH", "P I P F"},
		"3 of 5":                        {alert.Spec{For: threeOfFive}, "HqHqH", "P P P P F"},
		"3 of 5 as soon as there are 3": {alert.Spec{For: threeOfFive}, "HHH", "P P F"},
		"3 of 5 forgets the sixth":      {alert.Spec{For: threeOfFive}, "HHqqqHHH", "P P P P P P P F"},
		"3 of 5 gives up":               {alert.Spec{For: threeOfFive}, "HqqqqqHH", "P P P P P I P P"},
		"3 of 5 counts what decides":    {alert.Spec{For: threeOfFive}, "H??nhH?H", "P P? P? Pn Ph P P? F"},
		"3 of 5 begins anew":            {alert.Spec{For: threeOfFive}, "HHHqHHqH", "P P F D P P P F"},
		"64 of 64":                      {alert.Spec{For: alert.Hold{Windows: 64, Of: 64}}, strings.Repeat("H", 64), strings.Repeat("P ", 63) + "F"},
		"incomplete never pends":        {alert.Spec{}, "hhH", "Ih Ih F"},
		"incomplete never completes":    {alert.Spec{For: two}, "HhhH", "P Ph Ph F"},
		"incomplete calms":              {alert.Spec{For: two}, "Hx", "P I"},
		"incomplete resolves":           {alert.Spec{}, "Hx", "F D"},
		"incomplete keeps firing":       {alert.Spec{}, "Hhq", "F F D"},
		"incomplete not back up":        {alert.Spec{KeepFiringFor: two}, "Hqhq", "F R Rh D"},
		"incomplete between not up":     {alert.Spec{KeepFiringFor: two, Clear: clear}, "Hqbq", "F R Rh D"},
		"open is not looked at":         {alert.Spec{}, "ooq", "I I I"},
		"learning has no reference":     {alert.Spec{}, "LLH", "I0 I0 F"},
		"pends again from resolved":     {alert.Spec{For: two}, "HHqHqHH", "P F D P D P F"},
		"a gap does not reset":          {alert.Spec{For: two}, "H  H", "P F"},
		"resolved is forgotten in 24h":  {alert.Spec{}, "Hq" + strings.Repeat("q", 24), "F " + strings.Repeat("D ", 24) + "I"},
		"pending waits 25h at most":     {alert.Spec{For: two}, "H" + strings.Repeat(" ", 24) + "H", "P F"},
		"pending expires after 25h":     {alert.Spec{For: two}, "H" + strings.Repeat(" ", 25) + "HH", "P P F"},
		"pending without data expires":  {alert.Spec{For: two}, "H" + strings.Repeat("?", 26) + "?H", "P " + strings.Repeat("P? ", 26) + "I? P"},
		"pending expires into resolved": {alert.Spec{For: two}, "HHqH" + strings.Repeat("?", 27), "P F D P " + strings.Repeat("P? ", 26) + "I?"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.spec.Expr = "psi > 0.2"
			r := mustCompile(t, test.spec)
			var s alert.State
			var got []string
			for i, letter := range []rune(test.windows) {
				if letter == ' ' {
					continue
				}
				before := s
				var changes []alert.Change
				s, changes = r.Step(s, input(i, letter))
				got = append(got, picture(s))
				checkChain(t, before, s, changes)
			}
			if want := strings.Fields(test.want); !cmp.Equal(got, want) {
				t.Errorf("windows %q:\ngot  %v\nwant %v", test.windows, got, want)
			}
		})
	}
}

// checkChain says that changes lead from one state to the next without a gap.
func checkChain(t *testing.T, from, to alert.State, changes []alert.Change) {
	t.Helper()
	phase := from.Phase
	for _, c := range changes {
		if c.From != phase || c.To == c.From {
			t.Errorf("change %v -> %v does not follow %v", c.From, c.To, phase)
		}
		if c.Reason == "" || c.At.IsZero() || c.Series.Rule == "" {
			t.Errorf("change %v -> %v lacks a reason, time or rule: %+v", c.From, c.To, c)
		}
		phase = c.To
	}
	if phase != to.Phase {
		t.Errorf("changes lead to %v, the state is %v", phase, to.Phase)
	}
}

// relative is the distance of x past a threshold, in float64 as the rule has it.
func relative(x, threshold float64) float64 { return (x - threshold) / threshold }

func TestChange(t *testing.T) {
	r := mustCompile(t, alert.Spec{
		Expr: "psi > 0.2 and n >= 1000", Clear: "psi < 0.05", Severity: "page", Actions: []string{"retrain"},
		Labels: map[string]string{"team": "risk"}, Annotations: map[string]string{"summary": "look"},
	})
	s, changes := r.Step(alert.State{}, input(0, 'H'))
	if len(changes) != 1 || !changes[0].Fired() || changes[0].Resolved() {
		t.Fatalf("got %+v, want one change that fires", changes)
	}
	// psi .31 is .55 above .2, relatively; n does not count as an effect.
	peak := alert.Peak{Effect: relative(0.31, 0.2), Reason: "psi 0.31 > 0.2, n 5000 >= 1000", At: epoch.Add(time.Hour)}
	want := alert.Change{
		Series: alert.Series{Rule: "AmountDrift", Key: input(0, 'H').Key}, From: alert.Inactive, To: alert.Firing,
		At: epoch.Add(time.Hour), Window: window(0), Reason: "psi 0.31 > 0.2, n 5000 >= 1000",
		Stats: map[string]float64{"psi": 0.31, "n": 5000}, Severity: "page", StartsAt: epoch.Add(time.Hour),
		Peak: peak, Expr: "psi > 0.2 and n >= 1000", Baseline: "b-1", Actions: []string{"retrain"},
		Labels: map[string]string{"team": "risk"}, Annotations: map[string]string{"summary": "look"},
	}
	if diff := cmp.Diff(want, changes[0]); diff != "" {
		t.Error(diff)
	}
	wantLabels := map[string]string{
		"alertname": "AmountDrift", "model": "fraud", "model_version": "42", "variant": "primary",
		"feature": "amount", "severity": "page", "team": "risk",
	}
	if diff := cmp.Diff(wantLabels, changes[0].LabelSet()); diff != "" {
		t.Error(diff)
	}

	s.DedupKey = "01KDW"
	worse := input(1, 'H')
	worse.Vars.Set("psi", 0.4)
	s, changes = r.Step(s, worse)
	if len(changes) != 0 {
		t.Fatalf("got %+v, want no change while firing", changes)
	}
	_, changes = r.Step(s, input(2, 'q'))
	if len(changes) != 1 || !changes[0].Resolved() || changes[0].Fired() {
		t.Fatalf("got %+v, want one change that resolves", changes)
	}
	got := changes[0]
	got.Window, got.Labels, got.Annotations, got.Actions = alert.Window{}, nil, nil, nil
	want = alert.Change{
		Series: want.Series, From: alert.Firing, To: alert.Resolved, At: epoch.Add(3 * time.Hour),
		Reason: "psi 0.01 < 0.05", Stats: map[string]float64{"psi": 0.01, "n": 5000}, Severity: "page",
		StartsAt: epoch.Add(time.Hour), EndsAt: epoch.Add(3 * time.Hour), DedupKey: "01KDW",
		Peak: alert.Peak{Effect: relative(0.4, 0.2), Reason: "psi 0.4 > 0.2, n 5000 >= 1000", At: epoch.Add(2 * time.Hour)},
		Expr: want.Expr, Baseline: "b-1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestChangeReasons(t *testing.T) {
	two := alert.Hold{Windows: 2}
	tests := map[string]struct {
		spec    alert.Spec
		windows string
		want    string // reason of the last change
	}{
		"clear interrupted":      {alert.Spec{Clear: "psi < 0.05", KeepFiringFor: two}, "HqB", "psi 0.1 >= 0.05"},
		"back to firing":         {alert.Spec{Clear: "psi < 0.05", KeepFiringFor: two}, "HqH", "psi 0.31 > 0.2"},
		"not for long enough":    {alert.Spec{For: two}, "Hq", "psi 0.01 <= 0.2"},
		"resolved without clear": {alert.Spec{}, "Hq", "psi 0.01 <= 0.2"},
		"no data":                {alert.Spec{NoData: "resolve", MinN: new(uint64)}, "H00", "no data for 2 windows; at its peak: psi 0.31 > 0.2"},
		"forgotten":              {alert.Spec{}, "Hq" + strings.Repeat(" ", 23) + "q", "resolved 24h ago"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.spec.Expr = "psi > 0.2"
			r := mustCompile(t, test.spec)
			var s alert.State
			var last alert.Change
			for i, letter := range []rune(test.windows) {
				if letter == ' ' {
					continue
				}
				var changes []alert.Change
				if s, changes = r.Step(s, input(i, letter)); len(changes) > 0 {
					last = changes[len(changes)-1]
				}
			}
			if last.Reason != test.want {
				t.Errorf("got reason %q, want %q", last.Reason, test.want)
			}
		})
	}
}

func TestUnapprovedBaseline(t *testing.T) {
	tests := map[string]struct {
		expr, severity string
		approved       bool
		wantSeverity   string
		wantUnapproved bool
		wantReason     string
	}{
		"page becomes ticket":      {"psi > 0.2", "page", false, "ticket", true, "psi 0.31 > 0.2; sent as ticket, not page: baseline b-1 is not approved"},
		"ticket stays":             {"psi > 0.2", "ticket", false, "ticket", true, "psi 0.31 > 0.2"},
		"approved pages":           {"psi > 0.2", "page", true, "page", false, "psi 0.31 > 0.2"},
		"needs no baseline":        {"n > 10", "page", false, "page", false, "n 5000 > 10"},
		"holds without baseline":   {"psi > 0.2 or n > 10", "page", false, "page", false, "psi 0.31 > 0.2, n 5000 > 10"},
		"holds with baseline only": {"psi > 0.2 and n > 10", "page", false, "ticket", true, "psi 0.31 > 0.2, n 5000 > 10; sent as ticket, not page: baseline b-1 is not approved"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := mustCompile(t, alert.Spec{Expr: test.expr, Severity: test.severity})
			in := input(0, 'H')
			in.Approved = test.approved
			s, changes := r.Step(alert.State{}, in)
			if len(changes) != 1 {
				t.Fatalf("got %d changes, want 1", len(changes))
			}
			c := changes[0]
			if c.Severity != test.wantSeverity || s.Severity != test.wantSeverity || c.Unapproved != test.wantUnapproved || c.Reason != test.wantReason {
				t.Errorf("got severity %s, unapproved %v, reason %q", c.Severity, c.Unapproved, c.Reason)
			}
			// The resolve is of the severity that was sent, whatever was approved since.
			if _, changes = r.Step(s, input(1, 'q')); test.expr == "psi > 0.2" && changes[0].Severity != test.wantSeverity {
				t.Errorf("resolved as %s", changes[0].Severity)
			}
		})
	}
}

// Silence must see windows without events: n of them is 0 and all else undefined.
func TestSilence(t *testing.T) {
	r := mustCompile(t, alert.Spec{Name: "Silence", Expr: "events == 0", For: alert.Hold{Windows: 3}, Severity: "page", Window: 5 * time.Minute})
	var s alert.State
	var got []string
	for i, events := range []float64{7, 0, 0, 0, 0, 3} {
		w := alert.Window{Start: epoch.Add(time.Duration(i) * 5 * time.Minute), State: drift.Closed}
		w.End = w.Start.Add(5 * time.Minute)
		vars := map[string]float64{"events": events, "error_ratio": math.NaN()}
		s, _ = r.Step(s, alert.Input{Key: drift.Key{Group: drift.Group{Model: "churn"}}, Window: w, N: uint64(events), Vars: alert.NewVars(vars)})
		got = append(got, picture(s))
	}
	if want := strings.Fields("I P P F F D"); !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if s.Peak.Reason != "events 0 == 0" {
		t.Errorf("got reason %q", s.Peak.Reason)
	}
}

func TestStepIgnoresOldWindows(t *testing.T) {
	r := mustCompile(t, alert.Spec{Expr: "psi > 0.2", For: alert.Hold{Windows: 2}})
	s, _ := r.Step(alert.State{}, input(5, 'H'))
	for _, i := range []int{5, 4} {
		again, changes := r.Step(s, input(i, 'H'))
		if again != s || changes != nil {
			t.Errorf("window %d after 5: got %+v, %v", i, again, changes)
		}
	}
}

// A random walk over all letters and specs: a rule never fires before its hold,
// the same inputs give the same changes, and states that went through JSON after
// each window give them too.
func TestStepProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2)) // any seed; fixed so that a failure repeats
	letters := []rune("HHHHqqqBn0x?hbL")
	for range 300 {
		spec := alert.Spec{
			Expr: "psi > 0.2", For: alert.Hold{Windows: rng.IntN(5)}, KeepFiringFor: alert.Hold{Windows: rng.IntN(4)},
			NoData: []string{"keep", "resolve", "ok"}[rng.IntN(3)], MinN: new(uint64),
		}
		if rng.IntN(2) == 0 {
			spec.Clear = "psi < 0.05"
		}
		r := mustCompile(t, spec)
		walk := make([]rune, 60)
		for i := range walk {
			walk[i] = letters[rng.IntN(len(letters))]
		}
		direct, stored := alert.State{}, alert.State{}
		hot := 0 // hot windows since the last one that was not
		for i, letter := range walk {
			var a, b []alert.Change
			direct, a = r.Step(direct, input(i, letter))
			stored, b = r.Step(reload(t, stored), input(i, letter))
			if diff := cmp.Diff(a, b); diff != "" || direct != stored {
				t.Fatalf("%+v on %q: stored state differs at %d: %s", spec, string(walk), i, diff)
			}
			switch letter {
			case 'H', 'n':
				hot++
			case '0':
				if spec.NoData == alert.NoDataOK {
					hot = 0
				}
			case 'q', 'x', 'B', 'b':
				hot = 0
			}
			for _, c := range a {
				if c.Fired() && hot < spec.For.Windows {
					t.Fatalf("%+v on %q: fired at %d after %d hot windows", spec, string(walk), i, hot)
				}
			}
			if direct.Phase == alert.Inactive && direct.Flag == "" && direct != (alert.State{}) {
				t.Fatalf("an inactive state is not zero: %+v", direct)
			}
		}
	}
}

func reload(t *testing.T, s alert.State) alert.State {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var out alert.State
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// The stored form is written in the database; changing it needs a new schema.
func TestStateJSON(t *testing.T) {
	r := mustCompile(t, alert.Spec{Expr: "psi > 0.2"})
	s, _ := r.Step(alert.State{}, input(0, 'H'))
	s.DedupKey = "01KDW"
	s, _ = r.Step(s, input(1, '?'))
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"phase":"firing","since":"2026-01-01T01:00:00Z","last":"2026-01-01T02:00:00Z","flag":"undefined",` +
		`"flag_since":"2026-01-01T02:00:00Z","fired_at":"2026-01-01T01:00:00Z","fires":1,"severity":"ticket",` +
		`"peak":{"effect":0.5499999999999999,"reason":"psi 0.31 \u003e 0.2","at":"2026-01-01T01:00:00Z"},"dedup_key":"01KDW"}`
	if string(data) != want {
		t.Errorf("got  %s\nwant %s", data, want)
	}
	var p alert.Phase
	if err := json.Unmarshal([]byte(`"asleep"`), &p); err == nil {
		t.Error("an unknown phase was accepted")
	}
}

func BenchmarkStep(b *testing.B) {
	for name, expr := range map[string]string{
		"two clauses": "psi > 0.2 and n >= 1000",
		"arithmetic":  "psi - noise_floor > 0.1 and n >= 1000",
	} {
		b.Run(name, func(b *testing.B) {
			r := mustCompile(b, alert.Spec{Expr: expr})
			in := input(0, 'H')
			in.Vars.Set("noise_floor", 0.01)
			s, _ := r.Step(alert.State{}, in) // it fires, so no step below makes a change
			in.Window = window(1)
			b.ReportAllocs()
			for b.Loop() {
				r.Step(s, in)
			}
		})
	}
}

// A run began with its first window, whatever the phase it has reached.
func TestBegan(t *testing.T) {
	r := mustCompile(t, alert.Spec{Expr: "psi > 0.2", For: alert.Hold{Windows: 3}})
	var s alert.State
	for i, want := range []time.Time{{}, epoch.Add(time.Hour), epoch.Add(time.Hour), epoch.Add(time.Hour), epoch.Add(time.Hour), {}} {
		if s, _ = r.Step(s, input(i, []rune("qHHHHq")[i])); !r.Began(s).Equal(want) {
			t.Errorf("window %d: %v began at %v, want %v", i, s.Phase, r.Began(s), want)
		}
	}
}
