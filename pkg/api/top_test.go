package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

// manySignals is a model whose signals moved by the given PSI.
func manySignals(psi map[string]float64) api.Model {
	r := &drift.Report{Window: &drift.Window{Group: drift.Group{Model: "m", Version: "1"}}}
	for name, x := range psi {
		s := drift.SignalReport{Name: name, Type: drift.Numeric, Shift: stats.UndefinedShift(100, 100)}
		s.PSI, s.PSIDebiased = x, x
		r.Signals = append(r.Signals, s)
	}
	slices.SortFunc(r.Signals, func(a, b drift.SignalReport) int { return strings.Compare(a.Name, b.Name) })
	return api.Model{ModelState: drift.ModelState{Model: "m"}, Reports: []api.Report{{Size: time.Hour, Report: r}}}
}

// shown lists the signals that have a series of PSI.
func shown(t *testing.T, page string) (out []string) {
	t.Helper()
	samples, _ := parse(t, page)
	for name, s := range samples {
		if s.family == "driftd_feature_psi" {
			_, name, _ = strings.Cut(name, `feature="`)
			name, _, _ = strings.Cut(name, `"`)
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// TestTopFeatures: of a wide model those features have series that rules name and
// the 20 that moved most, and one keeps them until it ranks below 30.
func TestTopFeatures(t *testing.T) {
	w := newWorld(t)
	rule, err := alert.Compile(alert.Spec{Name: "Named", Model: "m", Feature: "f49", Window: time.Hour, Expr: "psi > 0.2"})
	if err != nil {
		t.Fatal(err)
	}
	psi := map[string]float64{"prediction": 0}
	for i := range 50 {
		psi[fmt.Sprintf("f%02d", i)] = float64(50 - i) // f00 moved most
	}
	tell := func() {
		w.change(func(s *api.Snapshot) { s.Models, s.Rules = []api.Model{manySignals(psi)}, []*alert.Rule{rule} })
	}
	first := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("f%02d", i))
		}
		return out
	}
	tell()
	s := newServer(t, w)
	want := append(first(20), "f49", "prediction")
	if got := shown(t, scrape(t, s)); !slices.Equal(got, want) {
		t.Fatalf("series of %v, want %v", got, want)
	}
	psi["f00"], psi["f40"] = 25.5, 100 // f00 ranks 26th, f40 first
	tell()
	if got := shown(t, scrape(t, s)); !slices.Equal(got, want) {
		t.Errorf("a feature that ranks 26th, or one more that moved, changed the set to %v", got)
	}
	psi["f00"] = 0
	tell()
	want = append(append(first(20)[1:], "f40"), "f49", "prediction")
	if got := shown(t, scrape(t, s)); !slices.Equal(got, want) {
		t.Errorf("series of %v, want %v", got, want)
	}
	if again := shown(t, scrape(t, s)); !slices.Equal(again, want) {
		t.Errorf("the next scrape has series of %v", again)
	}
	none := newServer(t, w, func(o *api.Options) { o.Features = api.NoFeatures })
	if got := shown(t, scrape(t, none)); !slices.Equal(got, []string{"prediction"}) {
		t.Errorf("with none there are series of %v", got)
	}
	all := newServer(t, w, func(o *api.Options) { o.Features = api.AllFeatures })
	if got := shown(t, scrape(t, all)); len(got) != 51 {
		t.Errorf("with all there are %d series, want 51", len(got))
	}
	if _, err := api.New(api.Options{Reader: w, Features: "some"}); err == nil || !strings.Contains(err.Error(), `"some"`) {
		t.Errorf("features \"some\" are taken: %v", err)
	}
}
