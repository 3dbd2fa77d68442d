package drift_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/sim"
)

// traffic is the demo's predictions of some length, in order of time.
func traffic(t testing.TB, seed uint64, length time.Duration, rate float64) []event.Event {
	t.Helper()
	story := sim.DefaultStory
	story.Length, story.Rate = length, rate
	s, err := sim.New(sim.Demo(story), seed)
	if err != nil {
		t.Fatal(err)
	}
	var out []event.Event
	for e := event.New(event.Prediction); s.Next(&e); e = event.New(event.Prediction) {
		if e.Kind == event.Prediction {
			out = append(out, e)
		}
	}
	return out
}

// watched is a world with baselines for the models of the traffic.
func watched(t testing.TB, events []event.Event) *world {
	t.Helper()
	spec := testSpec()
	spec.Models = []drift.ModelSpec{{Glob: "fraud", Segments: [][]string{{"channel"}}}, {Glob: "*"}}
	w := newWorld(t, spec)
	for _, model := range []string{"fraud", "churn", "support-llm"} {
		var own []event.Event
		for i := range events {
			if e := events[i]; e.Model == model && len(own) < 200 {
				own = append(own, e)
			}
		}
		if len(own) == 0 {
			t.Fatalf("no traffic of %s", model)
		}
		w.adopt(baselineOf(model, drift.BuilderOptions{Categories: 5}, own...))
	}
	return w
}

func finish(w *world, at time.Duration) *world {
	w.tick(at)
	return w
}

// Events may come in any order within the lateness: the windows are the same.
func TestOrderDoesNotMatter(t *testing.T) {
	events := traffic(t, 1, 62*time.Minute, .08)
	counts := func(order []event.Event) []string {
		w := watched(t, events)
		latest := time.Duration(0)
		for _, e := range order {
			latest = max(latest, time.Duration(e.Time-t0.UnixNano()))
			if o := w.send(e, latest); o != drift.Counted {
				t.Fatalf("%v at %v", o, latest)
			}
		}
		finish(w, 5*time.Hour)
		var out []string
		for _, c := range w.closings {
			for _, x := range c.Windows {
				out = append(out, dumpCounts(x))
			}
		}
		slices.Sort(out)
		return out
	}
	want := counts(events)
	for seed := range uint64(2) {
		random := rand.New(rand.NewPCG(seed, 0))
		late := map[string]int64{}
		for i := range events {
			late[events[i].ID+events[i].Model] = random.Int64N(int64(50 * time.Second)) // lateness is 1m
		}
		shuffled := slices.Clone(events)
		slices.SortStableFunc(shuffled, func(a, b event.Event) int {
			return int(a.Time + late[a.ID+a.Model] - b.Time - late[b.ID+b.Model])
		})
		same(t, counts(shuffled), want, fmt.Sprintf("seed %d", seed))
	}
}

// The counts are those that maps and sort.SearchFloats give.
func TestCountsEqualAnIndependentTally(t *testing.T) {
	events := traffic(t, 2, 62*time.Minute, .1)
	w := watched(t, events)
	want := map[string]uint64{}
	for _, e := range events {
		w.add(e)
		base := w.engine.Baseline(e.Model).Part("")
		groups := []string{""}
		for _, s := range e.Segments {
			if e.Model == "fraud" && s.Name == "channel" {
				groups = append(groups, "channel="+s.Value)
			}
		}
		for _, segment := range groups {
			prefix := fmt.Sprint(e.Model, "/", e.Version, "/", e.Variant, "/", segment, "/")
			want[prefix+"events"]++
			for i, name := range e.Features.Names {
				switch v := e.Values[i]; v.Kind {
				case event.Number:
					edges := base.Reference(name).Numeric.Edges.Values()
					want[fmt.Sprint(prefix, name, "/", sort.SearchFloat64s(edges, v.Num))]++
				case event.Category:
					want[prefix+name+"/"+categoryCell(base.Reference(name), v.Str)]++
				}
			}
		}
	}
	finish(w, 5*time.Hour)
	for _, size := range []time.Duration{5 * time.Minute, time.Hour, 3 * time.Hour} {
		got := map[string]uint64{}
		for _, x := range w.windows(size) {
			prefix := fmt.Sprint(x.Group.Model, "/", x.Group.Version, "/", x.Group.Variant, "/", x.Group.Segment, "/")
			got[prefix+"events"] += x.Events
			for i := range x.Signals {
				s := &x.Signals[i]
				base := w.engine.Baseline(x.Group.Model).Part("").Reference(s.Name)
				if !base.Feature {
					continue
				}
				if s.Type == drift.Numeric {
					for bin, n := range s.Numeric.Counts {
						add(got, fmt.Sprint(prefix, s.Name, "/", bin), n)
					}
					continue
				}
				for k, n := range s.Categorical.Counts {
					add(got, prefix+s.Name+"/"+s.Categorical.Dict.Categories[k], n)
				}
				add(got, prefix+s.Name+"/(other)", s.Categorical.Other)
				add(got, prefix+s.Name+"/(unseen)", s.Categorical.Unseen)
			}
		}
		for k, n := range want {
			if got[k] != n {
				t.Fatalf("%v: %s is %d, want %d", size, k, got[k], n)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%v: %d cells, want %d", size, len(got), len(want))
		}
	}
}

func add(to map[string]uint64, key string, n uint64) {
	if n > 0 {
		to[key] += n
	}
}

func categoryCell(r *drift.Reference, name string) string {
	switch r.Categorical.Dict.Index(name) {
	case -1:
		return "(other)"
	case -2:
		return "(unseen)"
	}
	return name
}

// The hour is the sum of its panes, and the longest window that of its hours.
func TestSumsAgree(t *testing.T) {
	events := traffic(t, 3, 3*time.Hour, .04)
	w := watched(t, events)
	for _, e := range events {
		w.add(e)
	}
	finish(w, 10*time.Hour)
	sums := func(parts []*drift.Window, size time.Duration) (out []string) {
		type span struct {
			group drift.Group
			start time.Time
		}
		byGroup := map[span][]*drift.Window{}
		for _, p := range parts {
			s := span{p.Group, p.Start.Truncate(size)}
			byGroup[s] = append(byGroup[s], p)
		}
		for s, list := range byGroup {
			rand.New(rand.NewPCG(1, 2)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			sum, err := drift.Sum(list)
			if err != nil {
				t.Fatal(err)
			}
			sum.Start, sum.End = s.start, s.start.Add(size)
			out = append(out, dumpCounts(sum))
		}
		slices.Sort(out)
		return out
	}
	direct := func(windows []*drift.Window) (out []string) {
		for _, x := range windows {
			out = append(out, dumpCounts(x))
		}
		slices.Sort(out)
		return out
	}
	for _, size := range []time.Duration{5 * time.Minute, time.Hour, 3 * time.Hour} {
		same(t, direct(w.windows(size)), sums(w.panes, size), size.String())
	}
	same(t, direct(w.hours), direct(w.windows(time.Hour)), "rollups")
	if sum, err := drift.Sum(nil); sum != nil || err != nil {
		t.Error("the sum of no windows is a window")
	}
}

// Sums do not depend on order or grouping, also across baselines that have
// other edges, other dictionaries or another type for a signal.
func TestMergeIsAssociativeAndCommutative(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	windowOf := func(kind int) *drift.Window {
		w := newWorld(t, testSpec())
		var sample, live []event.Event
		for range 60 {
			x, c := any(random.NormFloat64()+float64(kind)), any(fmt.Sprint("c", random.IntN(4+kind)))
			if kind == 2 {
				x, c = c, x
			}
			sample = append(sample, prediction("m", 0, "x", x, "c", c))
			live = append(live, prediction("m", 0, "x", x, "c", c, fmt.Sprint("only", kind), 1))
		}
		if kind < 3 {
			w.adopt(baselineOf("m", drift.BuilderOptions{}, sample...))
		}
		for _, e := range live {
			w.add(e)
		}
		finish(w, time.Hour)
		x := w.panes[0]
		if kind == 1 {
			x.State = drift.Incomplete
		}
		return x
	}
	var all []*drift.Window
	for i := range 8 {
		all = append(all, windowOf(i%4))
	}
	merge := func(parts ...*drift.Window) *drift.Window {
		out := &drift.Window{Group: all[0].Group, Start: t0, End: t0, State: drift.Closed}
		for _, p := range parts {
			if err := drift.Merge(out, p); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	for range 200 {
		a, b, c := all[random.IntN(8)], all[random.IntN(8)], all[random.IntN(8)]
		want := dumpCounts(merge(a, b, c))
		for name, got := range map[string]*drift.Window{"cba": merge(c, b, a), "bac": merge(b, a, c), "a(bc)": merge(a, merge(b, c)), "(ca)b": merge(merge(c, a), b)} {
			if dumpCounts(got) != want {
				t.Fatalf("%s differs from abc\n got %s\nwant %s", name, dumpCounts(got), want)
			}
		}
		if merge(a, b).Digest() != merge(b, a).Digest() {
			t.Fatal("digests depend on the order")
		}
	}
	if all[0].Digest() == all[4].Digest() {
		t.Error("windows of other values have one digest")
	}
}
