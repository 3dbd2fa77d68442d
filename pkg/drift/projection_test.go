package drift_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// A scene draws vectors that six latent factors move.
type scene struct {
	dim     int
	weights []float64
	random  *rand.Rand
}

const latent = 6

func newScene(dim int, seed uint64) *scene {
	s := &scene{dim: dim, random: rand.New(rand.NewPCG(seed, 2))}
	load := rand.New(rand.NewPCG(11, uint64(dim))) // one world, whatever the seed
	for range dim * latent {
		s.weights = append(s.weights, load.NormFloat64()/math.Sqrt(latent))
	}
	return s
}

func (s *scene) vector() []float64 {
	var f [latent]float64
	for k := range f {
		f[k] = s.random.NormFloat64()
	}
	x := make([]float64, s.dim)
	for i := range x {
		x[i] = s.random.NormFloat64() / 2
		for k := range f {
			x[i] += s.weights[i*latent+k] * f[k]
		}
	}
	return x
}

// Changes that leave every single distribution as it was.
var changes = map[string]func(s *scene, x []float64){
	"none": func(*scene, []float64) {},
	"correlation flip": func(_ *scene, x []float64) { // every marginal is symmetric
		for i := 0; i < len(x); i += 2 {
			x[i] = -x[i]
		}
	},
	"correlations lost": func(s *scene, x []float64) { // every fourth component is of one draw
		for k := range 3 {
			other := s.vector()
			for i := k; i < len(x); i += 4 {
				x[i] = other[i]
			}
		}
	},
}

// asEvent makes an event of a vector: a feature each, or one array.
func asEvent(x []float64, whole bool) event.Event {
	if whole {
		return prediction("m", 0, "embedding", x)
	}
	pairs := make([]any, 0, 2*len(x))
	for i, v := range x {
		pairs = append(pairs, fmt.Sprintf("f%02d", i), v)
	}
	return prediction("m", 0, pairs...)
}

func together(dim int, whole bool) drift.Multivariate {
	if whole {
		return drift.Multivariate{Vectors: []string{"embedding"}}
	}
	var m drift.Multivariate
	for i := range dim {
		m.Features = append(m.Features, fmt.Sprintf("f%02d", i))
	}
	return m
}

// moved returns the signals that moved: those of the projection, and others.
func moved(t *testing.T, base *drift.Baseline, s *scene, change func(*scene, []float64), n int, whole bool) (projected, single []string) {
	t.Helper()
	part := base.Part("")
	w, err := part.Count(func(yield func(*event.Event) bool) {
		for range n {
			x := s.vector()
			change(s, x)
			if e := asEvent(x, whole); !yield(&e) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range drift.Compare(part, base.ID, true, w).Signals {
		switch {
		case r.Verdict != drift.Material && r.Verdict != drift.Minor:
		case strings.HasPrefix(r.Name, drift.ProjectionPrefix):
			projected = append(projected, r.Name)
		default:
			single = append(single, r.Name)
		}
	}
	return projected, single
}

func sceneBaseline(dim, rows int, whole bool) *drift.Baseline {
	s := newScene(dim, 1)
	var events []event.Event
	for range rows {
		events = append(events, asEvent(s.vector(), whole))
	}
	return baselineOf("m", drift.BuilderOptions{Multivariate: together(dim, whole)}, events...)
}

// TestProjectionsSeeWhatFeaturesDoNot: 1,000 events a window.
func TestProjectionsSeeWhatFeaturesDoNot(t *testing.T) {
	for _, c := range []struct {
		name  string
		dim   int
		rows  int
		whole bool
	}{{"30 features", 30, 6000, false}, {"a vector of 100", 100, 6000, true}} {
		base := sceneBaseline(c.dim, c.rows, c.whole)
		for name, change := range changes {
			projected, single := moved(t, base, newScene(c.dim, 5), change, 1000, c.whole)
			t.Logf("%s, %s: %v moved, and single features %v", c.name, name, projected, single)
			has := func(suffix string) bool {
				return slices.ContainsFunc(projected, func(s string) bool { return strings.HasSuffix(s, suffix) })
			}
			switch {
			case name == "none":
				if len(projected)+len(single) > 0 {
					t.Errorf("%s: nothing changed, and %v %v moved", c.name, projected, single)
				}
			case len(single) > 0 && !c.whole: // of a whole vector the length is watched, which may move
				t.Errorf("%s, %s: single features %v moved: their marginals are as before", c.name, name, single)
			case !has(".mahalanobis"):
				t.Errorf("%s, %s: the Mahalanobis distance did not move, only %v", c.name, name, projected)
			case !has(".1") && !has(".2") && !has(".3") && !has(".4") && !has(".5") && !has(".6"):
				t.Errorf("%s, %s: no axis of the factors moved, only %v", c.name, name, projected)
			case c.dim > 64 && !has(".residual"):
				t.Errorf("%s, %s: the residual did not move, only %v", c.name, name, projected)
			}
		}
	}
}

// TestProjectionsOfShortReferencesAreHonest: axes fit best the rows that they
// were found in. Those are not counted, so that fresh rows are as the reference.
func TestProjectionsOfShortReferencesAreHonest(t *testing.T) {
	base := sceneBaseline(40, 600, false)
	ref := base.Part("").Reference("pca.mahalanobis")
	for i := range uint64(20) {
		projected, single := moved(t, base, newScene(40, 100+i), changes["none"], 500, false)
		if len(projected)+len(single) > 0 {
			t.Errorf("window %d: nothing changed, and %v %v moved", i, projected, single)
		}
	}
	w, err := base.Part("").Count(func(yield func(*event.Event) bool) {
		s := newScene(40, 99)
		for range 4000 {
			if e := asEvent(s.vector(), false); !yield(&e) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	mean := w.Signal("pca.mahalanobis").Numeric.Mean
	sd := math.Sqrt(ref.Numeric.M2 / float64(ref.Numeric.N))
	if d := math.Abs(mean-ref.Numeric.Mean) / sd; d > .2 {
		t.Errorf("fresh rows lie %.2f standard deviations from the reference", d)
	}
}

// TestProjectionCountsWhatItCan: events without the vector are missing in its
// signals, rows that taught the axes are not.
func TestProjectionCountsWhatItCan(t *testing.T) {
	s := newScene(4, 1)
	var events []event.Event
	for i := range 1000 {
		e := asEvent(s.vector(), false)
		if i%10 == 0 {
			e.Values = append([]event.Value{{}}, e.Values[1:]...)
		}
		events = append(events, e)
	}
	base := baselineOf("m", drift.BuilderOptions{Multivariate: together(4, false), Segments: [][]string{{"channel"}}}, events...)
	for _, name := range []string{"pca.1", "pca.4", "pca.mahalanobis", "pca.norm"} {
		r := base.Part("").Reference(name)
		if r == nil || !r.Feature || r.Missing != 100 || r.Numeric.N < 350 || r.Numeric.N > 550 {
			t.Fatalf("reference %s: %+v, want a feature, missing in 100 of 1000 rows, counted in half of the others", name, r)
		}
	}
	whole, odd := asEvent(s.vector(), false), asEvent(s.vector(), false)
	odd.Values[2].Num = math.Inf(1)
	none := prediction("m", 0, "f00", 1.0)
	text := prediction("m", 0, "f00", "x", "f01", 1.0, "f02", 1.0, "f03", 1.0)
	bare := event.New(event.Prediction)
	bare.ID = "bare"
	w, err := base.Part("").Count(slices.Values([]*event.Event{&whole, &odd, &none, &text, &bare, &whole}))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pca.1", "pca.norm"} {
		if got := w.Signal(name); got == nil || got.Numeric.N != 2 || w.Missing(got) != 4 {
			t.Errorf("%s: %+v, want the two events with all four features", name, got)
		}
	}
}

// TestProjectionsOfAHistory: windows of rows that have a time have them too.
func TestProjectionsOfAHistory(t *testing.T) {
	base, s := sceneBaseline(4, 400, false), newScene(4, 8)
	windows, err := base.Part("").History("m", time.Hour, func(yield func(*event.Event) bool) {
		for i := range 30 {
			e := asEvent(s.vector(), false)
			e.Time = ns(time.Duration(i) * 6 * time.Minute)
			if !yield(&e) {
				return
			}
		}
	})
	if err != nil || len(windows) != 3 {
		t.Fatalf("%d windows, %v; want 3", len(windows), err)
	}
	for _, w := range windows {
		if got := w.Signal("pca.mahalanobis"); got == nil || got.Numeric.N != 10 {
			t.Errorf("window of %v: %+v, want 10 values", w.Start, got)
		}
	}
}

// TestProjectionNames: a feature never takes the name of a projection's signal.
func TestProjectionNames(t *testing.T) {
	base := baselineOf("m", drift.BuilderOptions{}, prediction("m", 0, "pca.1", 3, "pca", 4))
	if base.Part("").Reference("features.pca.1") == nil || base.Part("").Reference("pca") == nil || base.Part("").Reference("pca.1") != nil {
		t.Errorf("references %v", base.Part("").Signals)
	}
}

func TestMultivariateNeedsNames(t *testing.T) {
	for _, m := range []drift.Multivariate{{Features: []string{"a"}}, {Features: []string{"a", ""}}, {Vectors: []string{""}}} {
		spec := testSpec()
		spec.Models = []drift.ModelSpec{{Glob: "m*", Multivariate: m}}
		if err := spec.Validate(); err == nil || !strings.Contains(err.Error(), "model m*: ") {
			t.Errorf("%+v: %v, want a fault of model m*", m, err)
		}
	}
}

// TestProjectionIsPartOfTheIdentity: two baselines with other axes are two.
func TestProjectionIsPartOfTheIdentity(t *testing.T) {
	with, without := sceneBaseline(4, 400, false), *sceneBaseline(4, 400, false)
	if with.ID != without.ID {
		t.Fatal("one baseline has two ids")
	}
	captured := drift.FromWindow(&drift.Window{Group: drift.Group{Model: "m"}}, with, drift.Origin{Kind: "capture"})
	if len(captured.Projections()) != 1 {
		t.Error("a captured baseline has lost the axes that its window was counted by")
	}
	without.SetProjections(nil)
	other := drift.FromWindow(&drift.Window{Group: drift.Group{Model: "m"}}, &without, drift.Origin{Kind: "capture"})
	if captured.ID == other.ID {
		t.Error("the id of a baseline does not depend on its axes")
	}
}

// learning runs a model with vectors and segments from its first event over its
// baseline and beyond; restarts happen before the events that restart names.
func learning(t *testing.T, restart func(i int) bool) *world {
	t.Helper()
	spec := testSpec()
	spec.Sample = drift.SampleSpec{MinRows: 600, MinSpan: 20 * time.Minute, MaxRows: 500, Bytes: 4 << 20}
	spec.Models = []drift.ModelSpec{{Glob: "*", Segments: [][]string{{"channel"}}, Multivariate: drift.Multivariate{Features: []string{"a", "b"}, Vectors: []string{"embedding"}}}}
	w, s := newWorld(t, spec), newScene(70, 3)
	serial = 0
	for i := range 1500 {
		if restart(i) {
			w.restart()
		}
		x := s.vector()
		e := prediction("m", time.Duration(i)*3*time.Second, "embedding", x, "b", x[1], "a", x[0])
		e.Segments = []event.Segment{{Name: "channel", Value: []string{"app", "web"}[i%2]}}
		w.add(e)
	}
	return w
}

func TestProjectionsAreLearnedAndSurviveRestarts(t *testing.T) {
	calm := learning(t, func(int) bool { return false })
	if len(calm.frozen) != 1 {
		t.Fatalf("%d baselines, want 1", len(calm.frozen))
	}
	all := calm.frozen[0].Projections()
	if len(all) != 2 || all[0].Feature != "" || all[0].Axes.Dim() != 2 || all[1].Feature != "embedding" || all[1].Axes.Dim() != 70 {
		t.Fatalf("projections %+v, want the group of 2 and the vector of 70", all)
	}
	pane := calm.panes[len(calm.panes)-1] // of a segment
	whole := calm.panes[len(calm.panes)-3]
	for _, signal := range append(all[0].Signals(), all[1].Signals()...) {
		part, sum := pane.Signal(signal), whole.Signal(signal)
		if part == nil || sum == nil || part.Numeric.N != pane.Events || sum.Numeric.N != whole.Events || part.Numeric.Edges == nil {
			t.Fatalf("%s in the panes %v and %v: %+v and %+v, want it in every event", signal, whole.Group, pane.Group, sum, part)
		}
	}
	restarted := learning(t, func(i int) bool { return i%97 == 0 })
	same(t, restarted.told, calm.told, "with restarts")
}

// BenchmarkProject is one event of an embedding, with its projection and without.
func BenchmarkProject(b *testing.B) {
	for _, dim := range []int{0, 50, 384, 768} {
		b.Run(fmt.Sprint(dim), func(b *testing.B) {
			g, s := drift.NewEngine(drift.DefaultSpec()), newScene(max(dim, 8), 1)
			var m drift.Multivariate
			if dim > 0 {
				m.Vectors = []string{"embedding"}
			}
			builder := drift.NewBuilder(drift.BuilderOptions{Model: "m", Multivariate: m})
			events := make([]event.Event, 500)
			for i := range events {
				events[i] = asEvent(s.vector(), true)
				builder.Add(&events[i])
			}
			g.SetBaseline(builder.Build(drift.Approved, drift.Origin{Kind: "import"}))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				e := &events[i%len(events)]
				e.Time, e.ID = t0.UnixNano()+int64(i)*int64(time.Microsecond), ""
				if got := g.Add(e, drift.Position{Seq: uint64(i + 1), Time: e.Time}); got != drift.Counted {
					b.Fatal(got)
				}
				i++
			}
		})
	}
}
