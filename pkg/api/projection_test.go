package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// projected is a baseline of two features that nearly agree, and of a vector.
func projected(t *testing.T) *drift.Baseline {
	t.Helper()
	b := drift.NewBuilder(drift.BuilderOptions{Model: "fraud", Multivariate: drift.Multivariate{Features: []string{"a", "b"}, Vectors: []string{"v"}}})
	shape := &event.Shape{Names: []string{"a", "b", "v"}}
	for i := range 600 {
		x, y := float64(i*37%101), float64(i*53%103)
		e := event.New(event.Prediction)
		e.Features, e.Vectors = shape, [][]float64{{y, x + y, 7}}
		e.Values = []event.Value{event.Num(x), event.Num(x + y/10), {Kind: event.Vector, Num: 3}}
		b.Add(&e)
	}
	return b.Build(drift.Approved, drift.Origin{Kind: "import", Source: "f.csv"})
}

// TestProjectionsAreTold: by a baseline's item, by its export and by the metrics.
func TestProjectionsAreTold(t *testing.T) {
	w, base := newWorld(t), projected(t)
	w.baselines[base.ID] = base
	w.change(func(s *api.Snapshot) { s.Models[1].Baseline = base })
	h := newServer(t, w).Handler()

	res := call(t, h, "GET", "/api/v1/baselines/"+base.ID, "")
	var item struct {
		Projections []struct {
			Feature          string
			Inputs           []string
			Components, Axes int
			Kept             float64 `json:"variance_kept"`
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&item); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%+v", item.Projections); got != "[{Feature: Inputs:[a b] Components:2 Axes:2 Kept:1} {Feature:v Inputs:[] Components:3 Axes:2 Kept:1}]" {
		t.Errorf("the item says %s", got)
	}
	page := text(t, call(t, h, "GET", "/metrics", ""))
	for _, want := range []string{
		"driftd_projection_variance_ratio{model=\"fraud\",feature=\"\"} 1\n", "driftd_projection_variance_ratio{model=\"fraud\",feature=\"v\"} 1\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
}

func TestProjectionCodec(t *testing.T) {
	base := projected(t)
	body := encode(t, base)
	back, err := api.DecodeBaseline([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if again := encode(t, back); again != body || len(back.Projections()) != 2 {
		t.Errorf("%d projections; it comes back as\n%s\nfrom\n%s", len(back.Projections()), again, body)
	}
	for name, change := range map[string][2]string{
		"an input is gone":     {`"inputs":["a","b"]`, `"inputs":["a"]`},
		"a vector of features": {`{"feature":"v",`, `{"feature":"v","inputs":["a","b","c"],`},
		"no axes":              {`"inputs":["a","b"],"axes":"`, `"inputs":["a","b"],"axes":"","x":"`},
		"damaged axes":         {`"inputs":["a","b"],"axes":"`, `"inputs":["a","b"],"axes":"////`},
	} {
		spoilt := strings.Replace(body, change[0], change[1], 1)
		if spoilt == body {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := api.DecodeBaseline([]byte(spoilt)); err == nil || !strings.HasPrefix(err.Error(), "decode baseline: ") {
			t.Errorf("%s: %v, want an error", name, err)
		}
	}
}
