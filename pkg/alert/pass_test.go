package alert_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
)

// seriesOf names the series of the rule AmountDrift on a feature of fraud 42.
func seriesOf(feature string) alert.Series {
	return alert.Series{Rule: "AmountDrift", Key: drift.Key{Group: drift.Group{Model: "fraud", Version: "42"}, Signal: feature}}
}

var overflowSeries = alert.Series{Rule: "AmountDrift", Key: drift.Key{Group: drift.Group{Model: "fraud"}, Signal: alert.OverflowSignal}}

// pass makes the i-th window with a psi for each feature.
func pass(i int, psi map[string]float64) alert.Pass {
	p := alert.Pass{Model: "fraud", Window: window(i)}
	for feature, x := range psi {
		in := input(i, 'H')
		in.Key.Signal = feature
		in.Vars.Set("psi", x)
		p.Inputs = append(p.Inputs, in)
	}
	return p
}

func summary(changes []alert.Change) string {
	var out []string
	for _, c := range changes {
		out = append(out, fmt.Sprintf("%s:%v>%v", c.Series.Signal, c.From, c.To))
	}
	return strings.Join(out, " ")
}

type psis map[string]float64

func TestStepAllLimit(t *testing.T) {
	tests := map[string]struct {
		spec   alert.Spec
		passes []psis
		want   []string // the changes of each pass
	}{
		"no limit": {
			alert.Spec{},
			[]psis{{"a": 0.3, "b": 0.3}, {"a": 0.1, "b": 0.3}},
			[]string{"a:inactive>firing b:inactive>firing", "a:firing>resolved"},
		},
		"within the limit": {
			alert.Spec{Limit: 2},
			[]psis{{"a": 0.3, "b": 0.3}, {"a": 0.1, "b": 0.3}},
			[]string{"a:inactive>firing b:inactive>firing", "a:firing>resolved"},
		},
		"the worst fire": {
			alert.Spec{Limit: 2},
			[]psis{{"a": 0.3, "b": 0.5, "c": 0.4, "d": 0.1}},
			[]string{"__overflow__:inactive>firing a:inactive>pending b:inactive>firing c:inactive>firing"},
		},
		"a firing one is never dropped": {
			alert.Spec{Limit: 1},
			[]psis{{"a": 0.3}, {"a": 0.3, "b": 0.9}, {"a": 0.3, "b": 0.9}, {"a": 0.1, "b": 0.9}},
			[]string{
				"a:inactive>firing", "__overflow__:inactive>firing b:inactive>pending", "",
				"__overflow__:firing>resolved a:firing>resolved b:pending>firing",
			},
		},
		"equal effects go by name": {
			alert.Spec{Limit: 1},
			[]psis{{"b": 0.3, "a": 0.3, "c": 0.3}, {"b": 0.1, "a": 0.3, "c": 0.1}},
			[]string{
				"__overflow__:inactive>firing a:inactive>firing b:inactive>pending c:inactive>pending",
				"__overflow__:firing>resolved b:pending>inactive c:pending>inactive",
			},
		},
		"a hold is served before the limit": {
			alert.Spec{Limit: 1, For: alert.Hold{Windows: 2}},
			[]psis{{"a": 0.3, "b": 0.4}, {"a": 0.3, "b": 0.4}, {"a": 0.3, "b": 0.1}},
			[]string{
				"a:inactive>pending b:inactive>pending", "__overflow__:inactive>firing b:pending>firing",
				"__overflow__:firing>resolved a:pending>firing b:firing>resolved",
			},
		},
		"without data it stays held back": {
			alert.Spec{Limit: 1},
			[]psis{{"a": 0.3, "b": 0.2001}, {"a": 0.3}, {"a": 0.3, "b": 0.1}},
			[]string{"__overflow__:inactive>firing a:inactive>firing b:inactive>pending", "", "__overflow__:firing>resolved b:pending>inactive"},
		},
		"a vanished series resolves if asked to": {
			alert.Spec{NoData: "resolve"},
			[]psis{{"a": 0.3, "b": 0.3}, {"a": 0.3}, {"a": 0.3}, {}},
			[]string{"a:inactive>firing b:inactive>firing", "", "b:firing>resolved", ""},
		},
		"a vanished series stays otherwise": {
			alert.Spec{},
			[]psis{{"a": 0.3}, {}, {}, {}},
			[]string{"a:inactive>firing", "", "", ""},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.spec.Expr = "psi > 0.2"
			r := mustCompile(t, test.spec)
			states := map[alert.Series]alert.State{
				{Rule: "Other", Key: seriesOf("a").Key}: {Phase: alert.Firing}, // not ours to touch
			}
			var got []string
			for i, psi := range test.passes {
				next, changes := r.StepAll(states, pass(i, psi))
				alert.Apply(states, next)
				got = append(got, summary(changes))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOverflowSeries(t *testing.T) {
	r := mustCompile(t, alert.Spec{Expr: "psi > 0.2", Limit: 1, Severity: "page", Actions: []string{"retrain"}})
	states := map[alert.Series]alert.State{}
	p := pass(0, psis{"a": 0.3, "b": 0.5, "c": 0.4})
	for i := range p.Inputs {
		p.Inputs[i].Approved = false
	}
	next, changes := r.StepAll(states, p)
	alert.Apply(states, next)
	got := changes[0]
	want := "2 more series would fire, the limit is 1; the worst: AmountDrift fraud/42/primary c, psi 0.4 > 0.2; sent as ticket, not page: baseline b-1 is not approved"
	if got.Reason != want || got.Severity != "ticket" || got.Actions != nil || !got.Fired() || got.Series != overflowSeries {
		t.Errorf("got %+v", got)
	}
	if !states[seriesOf("c")].Limited || states[seriesOf("b")].Phase != alert.Firing {
		t.Errorf("got states %+v", states)
	}
	next, changes = r.StepAll(states, pass(1, psis{"a": 0.1, "b": 0.5, "c": 0.1}))
	alert.Apply(states, next)
	if changes[0].Reason != "no series is held back by the limit of 1" || !changes[0].Resolved() {
		t.Errorf("got %+v", changes[0])
	}
	// All of it is forgotten a day after b has resolved too.
	for i := 2; i < 30; i++ {
		next, _ = r.StepAll(states, pass(i, psis{"b": 0.1}))
		alert.Apply(states, next)
	}
	if len(states) != 0 {
		t.Errorf("not forgotten: %+v", states)
	}
}

// TestAnOverflowThatIsOver: a series that was held back and calms down before it fires
// is held back no longer, also if it remembers that it fired earlier that day.
func TestAnOverflowThatIsOver(t *testing.T) {
	r := mustCompile(t, alert.Spec{Expr: "psi > 0.2", Limit: 1})
	states := map[alert.Series]alert.State{}
	for i, p := range []psis{{"a": 0.5}, {"a": 0.1}, {"a": 0.3, "b": 0.5}, {"a": 0.1, "b": 0.5}} {
		next, _ := r.StepAll(states, pass(i, p))
		alert.Apply(states, next)
		if held, want := states[overflowSeries].Active(), i == 2; held != want {
			t.Errorf("window %d: the overflow fires: %v, want %v; states %+v", i, held, want, states)
		}
	}
	if a := states[seriesOf("a")]; a.Phase != alert.Resolved || a.Limited {
		t.Errorf("%+v, want what it was before it was held back", a)
	}
}

// Only what differs is returned, so a quiet model writes nothing.
func TestStepAllReturnsDifferences(t *testing.T) {
	r := mustCompile(t, alert.Spec{Expr: "psi > 0.2", Limit: 3})
	next, changes := r.StepAll(nil, pass(0, psis{"a": 0.1, "b": 0.1}))
	if len(next) != 0 || len(changes) != 0 {
		t.Errorf("got %v, %v", next, changes)
	}
	states := map[alert.Series]alert.State{seriesOf("gone"): {Flag: alert.NoData, FlagSince: epoch}}
	next, _ = r.StepAll(states, pass(1, nil))
	if s, ok := next[seriesOf("gone")]; !ok || s != (alert.State{}) {
		t.Errorf("a series that is gone is not forgotten: %v", next)
	}
}

// On random traffic: never more than the limit fires unless it fired before, the
// order of the inputs does not matter, and the overflow fires exactly while a
// series is held back.
func TestStepAllProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4)) // any seed; fixed so that a failure repeats
	for range 50 {
		limit := 1 + rng.IntN(3)
		r := mustCompile(t, alert.Spec{Expr: "psi > 0.2", Limit: limit, For: alert.Hold{Windows: rng.IntN(3)}, KeepFiringFor: alert.Hold{Windows: rng.IntN(3)}})
		states := map[alert.Series]alert.State{}
		for i := range 40 {
			psi := psis{}
			for feature := range strings.SplitSeq("abcdefgh", "") {
				if rng.IntN(4) > 0 {
					psi[feature] = rng.Float64() * 0.4
				}
			}
			p := pass(i, psi)
			next, changes := r.StepAll(states, p)
			slices.Reverse(p.Inputs)
			next2, changes2 := r.StepAll(states, p)
			if diff := cmp.Diff(changes, changes2) + cmp.Diff(next, next2); diff != "" {
				t.Fatal(diff)
			}
			for series, s := range states {
				if n, ok := next[series]; ok && s.Active() && !n.Active() && n.Phase != alert.Resolved {
					t.Fatalf("%v was dropped while firing", series)
				}
			}
			alert.Apply(states, next)
			active, limited := 0, 0
			for series, s := range states {
				if s.Active() && series != overflowSeries {
					active++
				}
				if s.Limited {
					limited++
				}
			}
			if active > limit || (limited > 0) != (states[overflowSeries].Phase == alert.Firing) || limited != states[overflowSeries].Beyond {
				t.Fatalf("limit %d: %d fire, %d held back, overflow %v", limit, active, limited, states[overflowSeries].Phase)
			}
		}
	}
}

// A rule that was removed while it fired must not leave its incident open.
func TestWithdraw(t *testing.T) {
	r := mustCompile(t, alert.Spec{Expr: "psi > 0.2", Severity: "page"})
	s, _ := r.Step(alert.State{}, input(0, 'H'))
	s.DedupKey = "01KDW"
	got := alert.Withdraw(seriesOf("amount"), s, window(1), "the rule was removed")
	want := []alert.Change{{
		Series: seriesOf("amount"), From: alert.Firing, To: alert.Resolved, At: window(1).End, Window: window(1),
		Reason: "the rule was removed", Stats: map[string]float64{}, Severity: "page",
		StartsAt: window(0).End, EndsAt: window(1).End, Peak: s.Peak, DedupKey: "01KDW",
	}}
	if diff := cmp.Diff(want, got); diff != "" || !got[0].Resolved() {
		t.Error(diff)
	}
	if got := alert.Withdraw(seriesOf("amount"), alert.State{Phase: alert.Pending}, window(1), "the rule was removed"); got != nil {
		t.Errorf("a pending series told somebody: %v", got)
	}
}
