package summary_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stats"
	"driftd.dev/driftd/pkg/summary"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// baseline knows amount, evenly from 0 to 999, and country: 900 DE, 60 FR, 30 IT and 10 AT.
func baseline() *drift.Baseline {
	b := drift.NewBuilder(drift.BuilderOptions{Model: "fraud"})
	shape := &event.Shape{Names: []string{"amount", "country"}}
	for i := range 1000 {
		e := event.New(event.Prediction)
		e.ID, e.Model, e.Version, e.Time, e.Features = fmt.Sprint(i), "fraud", "1", t0.UnixNano()+int64(i), shape
		e.Values = []event.Value{event.Num(float64(i)), event.Cat(country(i))}
		b.Add(&e)
	}
	return b.Build(drift.Approved, drift.Origin{Kind: "import"})
}

func country(i int) string {
	switch {
	case i < 900:
		return "DE"
	case i < 960:
		return "FR"
	case i < 990:
		return "IT"
	}
	return "AT"
}

// window has the given amounts and countries of 200 events.
func window(b *drift.Baseline, amounts []float64, countries map[string]uint64) *drift.Window {
	part := b.Part("")
	n := stats.NewNumeric(part.Reference("amount").Numeric.Edges)
	n.AddColumn(amounts)
	c := stats.NewCategorical(part.Reference("country").Categorical.Dict)
	for _, name := range slices.Sorted(maps.Keys(countries)) {
		c.AddN(name, countries[name])
	}
	failures := stats.NewCategorical(part.Reference(drift.SignalError).Categorical.Dict)
	failures.AddN(drift.NoError, 200)
	return &drift.Window{
		Group: drift.Group{Model: "fraud", Version: "42", Variant: event.Canary, Segment: "channel=app"}, Start: t0, End: t0.Add(time.Hour), State: drift.Closed,
		Events: 200, Failed: 3, FromSeq: 7, ToSeq: 219,
		Signals: []drift.Signal{{Name: "amount", Type: drift.Numeric, Numeric: n}, {Name: "country", Type: drift.Categorical, Categorical: c}, {Name: drift.SignalError, Type: drift.Categorical, Categorical: failures}},
	}
}

func report(b *drift.Baseline, w *drift.Window) *drift.Report {
	return drift.Compare(b.Part(""), b.ID, true, w)
}

func amounts(n int) (out []float64) {
	for i := range n {
		out = append(out, float64(i*1000/n))
	}
	return out
}

func decode(t *testing.T, m summary.Message) (w summary.Window) {
	t.Helper()
	if err := json.Unmarshal(m.Body, &w); err != nil {
		t.Fatal(err)
	}
	if w.ID != m.ID {
		t.Errorf("the body's id is %q, the message's %q", w.ID, m.ID)
	}
	return w
}

func build(t *testing.T, w *drift.Window, r *drift.Report, o summary.Options) []summary.Message {
	t.Helper()
	messages, err := summary.Build(w, r, o)
	if err != nil {
		t.Fatal(err)
	}
	return messages
}

// only returns the one message about a window.
func only(t *testing.T, b *drift.Baseline, w *drift.Window, o summary.Options) summary.Window {
	t.Helper()
	messages := build(t, w, report(b, w), o)
	if len(messages) != 1 {
		t.Fatalf("%d messages, want 1", len(messages))
	}
	return decode(t, messages[0])
}

func TestWindow(t *testing.T) {
	b := baseline()
	w := window(b, amounts(190), map[string]uint64{"DE": 150, "FR": 30, "IT": 20})
	got := only(t, b, w, summary.Options{MinCount: 11, Stream: "ML", Epoch: 2})
	features := got.Features
	got.Features, got.ID = nil, ""
	want := summary.Window{
		Type: "window", Model: "fraud", ModelVersion: "42", Variant: "canary", Segment: "channel=app",
		Span: summary.Span{Start: t0, End: t0.Add(time.Hour), Seconds: 3600}, Complete: true, Part: 1, Parts: 1,
		Stream: "ML", Epoch: 2, FromSeq: 7, ToSeq: 219, Digest: w.Digest(), Events: 200, Failed: 3, Reference: b.ID, Approved: true,
		Drifting: 1, // country
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	amount, country := features[0], features[1]
	if amount.N != 190 || amount.Missing != 10 || amount.Type != "numeric" || !amount.Feature || amount.Verdict != "minor" || amount.Because != "missing 0 % -> 5 %" {
		t.Errorf("amount: %+v", amount)
	}
	// Evenly spread, so that each decile of the reference holds a tenth of the values.
	if diff := cmp.Diff([]uint64{19, 19, 19, 19, 19, 19, 19, 19, 19, 19}, amount.Histogram.Counts); diff != "" || len(amount.Histogram.Edges) != 9 {
		t.Errorf("cells of amount: %v %s", amount.Histogram.Edges, diff)
	}
	if q := amount.Quantiles; !(q.P01 < q.P05 && q.P05 < q.P25 && q.P25 < q.P50 && q.P50 < q.P75 && q.P75 < q.P95 && q.P95 < q.P99) || q.P50 < 490 || q.P50 > 510 {
		t.Errorf("quantiles of amount: %+v", q)
	}
	for _, name := range []string{"n", "m", "psi", "psi_debiased", "ks_lo", "ks_p", "w1_clipped_sd", "mean", "missing_ratio"} {
		if _, ok := amount.Stats[name]; !ok {
			t.Errorf("amount has no %s: %v", name, amount.Stats)
		}
	}
	if country.Stats["ks_lo"] != 0 || country.Stats["chi2_p"] == 0 {
		t.Errorf("stats of country: %v", country.Stats)
	}
	if diff := cmp.Diff(map[string]uint64{"DE": 150, "FR": 30, "IT": 20}, country.Categories); diff != "" {
		t.Error(diff)
	}
}

// TestRareCategories: what few events gave is not told, and cannot be reckoned from
// what is.
func TestRareCategories(t *testing.T) {
	b := baseline()
	for name, c := range map[string]struct {
		least uint64
		in    map[string]uint64
		want  map[string]uint64
	}{
		"none is rare":            {11, map[string]uint64{"DE": 150, "FR": 11}, map[string]uint64{"DE": 150, "FR": 11}},
		"two hide one another":    {11, map[string]uint64{"DE": 150, "IT": 10, "AT": 1}, map[string]uint64{"DE": 150, "__other__": 11}},
		"one alone takes another": {11, map[string]uint64{"DE": 150, "FR": 30, "AT": 1}, map[string]uint64{"DE": 150, "__other__": 31}},
		"one of two":              {11, map[string]uint64{"DE": 150, "AT": 1}, map[string]uint64{"__other__": 151}},
		"unknown ones are a sum":  {11, map[string]uint64{"DE": 150, "XX": 1, "YY": 1}, map[string]uint64{"DE": 150, "__unseen__": 2}},
		"all are told":            {0, map[string]uint64{"DE": 150, "AT": 1}, map[string]uint64{"DE": 150, "AT": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			got := only(t, b, window(b, amounts(200), c.in), summary.Options{MinCount: c.least})
			if diff := cmp.Diff(c.want, got.Features[1].Categories); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestFewValues: of ten values only the number is told, for their mean would tell
// about each.
func TestFewValues(t *testing.T) {
	b := baseline()
	w := window(b, amounts(10), map[string]uint64{"DE": 10})
	for _, f := range only(t, b, w, summary.Options{MinCount: 11}).Features[:2] {
		_, mean := f.Stats["mean"]
		if f.N != 10 || mean || f.Quantiles != nil || f.Histogram != nil || f.Categories != nil {
			t.Errorf("%s tells %+v", f.Name, f)
		}
	}
	all := only(t, b, w, summary.Options{}).Features
	if _, mean := all[0].Stats["mean"]; !mean || all[0].Quantiles == nil || all[1].Categories["DE"] != 10 {
		t.Errorf("with nothing to hide: %+v", all)
	}
}

// TestRareSegments: the name of a segment is a value, and hidden as others are.
func TestRareSegments(t *testing.T) {
	b := baseline()
	w := window(b, amounts(10), map[string]uint64{"DE": 10})
	w.Events = 10
	for least, want := range map[uint64]int{0: 1, 10: 1, 11: 0} {
		if got := build(t, w, report(b, w), summary.Options{MinCount: least}); len(got) != want {
			t.Errorf("of 10 events with a least count of %d there are %d messages, want %d", least, len(got), want)
		}
	}
	w.Group.Segment = ""
	if got := only(t, b, w, summary.Options{MinCount: 11}); got.Events != 10 {
		t.Errorf("the whole has %d events, want 10", got.Events)
	}
}

// TestIDs: the same counts have one id, others another.
func TestIDs(t *testing.T) {
	b := baseline()
	w := window(b, amounts(190), map[string]uint64{"DE": 190})
	first := build(t, w, report(b, w), summary.Options{MinCount: 11})[0]
	again := build(t, w, drift.Compare(nil, "", false, w), summary.Options{Epoch: 3})[0]
	if first.ID != again.ID {
		t.Errorf("one window has the ids %s and %s", first.ID, again.ID)
	}
	w.Start, w.End = w.End, w.End.Add(time.Hour)
	if later := build(t, w, report(b, w), summary.Options{MinCount: 11})[0]; later.ID == first.ID {
		t.Error("the next window has the same id")
	}
}

// TestLearning: without a reference there are counts, and moments.
func TestLearning(t *testing.T) {
	n, c := stats.NewNumeric(nil), &stats.Categorical{N: 200}
	n.AddColumn(amounts(200))
	w := &drift.Window{
		Group: drift.Group{Model: "fraud"}, Start: t0, End: t0.Add(time.Hour), State: drift.Incomplete, Learning: true, Events: 200,
		Signals: []drift.Signal{{Name: "amount", Type: drift.Numeric, Numeric: n}, {Name: "country", Type: drift.Categorical, Categorical: c}},
	}
	got := decode(t, build(t, w, drift.Compare(nil, "", false, w), summary.Options{MinCount: 11})[0])
	if got.Complete || !got.Learning || got.Reference != "" {
		t.Errorf("the window: %+v", got)
	}
	if f := got.Features[0]; f.Quantiles != nil || f.Histogram != nil || f.Stats["mean"] != 497.5 || f.Stats["n"] != 200 {
		t.Errorf("amount: %+v", f)
	}
	if diff := cmp.Diff(map[string]uint64{"__other__": 200}, got.Features[1].Categories); diff != "" {
		t.Error(diff)
	}
}

// TestAbsentFeature: what the reference has and no event gave is told as missing.
func TestAbsentFeature(t *testing.T) {
	b := baseline()
	w := window(b, nil, map[string]uint64{"DE": 200})
	w.Signals = w.Signals[1:]
	got := only(t, b, w, summary.Options{MinCount: 11})
	i := slices.IndexFunc(got.Features, func(f summary.Feature) bool { return f.Name == "amount" })
	if i < 0 || got.Features[i].N != 0 || got.Features[i].Missing != 200 || got.Features[i].Verdict != "material" {
		t.Errorf("amount: %+v", got.Features)
	}
}

// TestParts: however many features there are, and however long their names, a message
// has a bound, and each feature is in one.
func TestParts(t *testing.T) {
	_, dict := stats.BuildDictionary(func() map[string]uint64 {
		all := map[string]uint64{}
		for i := range 300 {
			all[strings.Repeat("\x01", 1000)+fmt.Sprint(i)] = uint64(1000 + i) // six bytes each in JSON
		}
		return all
	}(), 256)
	w := &drift.Window{Group: drift.Group{Model: "wide"}, Start: t0, End: t0.Add(time.Hour), State: drift.Closed, Events: 100}
	want := map[string]bool{}
	for i := range 40 {
		name := fmt.Sprintf("f%02d", i)
		want[name] = true
		w.Signals = append(w.Signals, drift.Signal{Name: name, Type: drift.Categorical, Categorical: dict.Clone()})
	}
	messages := build(t, w, drift.Compare(nil, "", false, w), summary.Options{MinCount: 11})
	ids, got := map[string]bool{}, map[string]bool{}
	for i, m := range messages {
		if len(m.Body) > summary.MaxBytes {
			t.Errorf("message %d has %d bytes", i, len(m.Body))
		}
		part := decode(t, m)
		if ids[m.ID] = true; part.Part != i+1 || part.Parts != len(messages) {
			t.Errorf("message %d is part %d of %d", i, part.Part, part.Parts)
		}
		for _, f := range part.Features {
			got[f.Name] = true
			sum := uint64(0)
			for _, n := range f.Categories {
				sum += n
			}
			if sum != f.N {
				t.Errorf("%s: categories sum to %d of %d", f.Name, sum, f.N)
			}
		}
	}
	if len(messages) < 2 || len(ids) != len(messages) || !maps.Equal(want, got) {
		t.Errorf("%d messages with %d ids and %d features", len(messages), len(ids), len(got))
	}
}

// TestOtherEdges: a window that was counted on edges of another baseline has no cells
// of this one, and its quantiles all the same.
func TestOtherEdges(t *testing.T) {
	b := baseline()
	edges, err := stats.NewEdges([]float64{-1, 250.5, 700.25})
	if err != nil {
		t.Fatal(err)
	}
	w := window(b, nil, map[string]uint64{"DE": 200})
	n := stats.NewNumeric(edges)
	n.AddColumn(amounts(200))
	w.Signals[0].Numeric = n
	if f := only(t, b, w, summary.Options{}).Features[0]; f.Histogram != nil || f.Quantiles == nil {
		t.Errorf("amount: %+v", f)
	}
}

// TestDocs: the example of docs/signals.md has the fields that there are, and no others.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/signals.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```jsonc\n{\"id\":\"w-")
	text, _, found := strings.Cut(text, "```")
	if !found {
		t.Fatal("there is no example of a window")
	}
	text = `{"id":"w-` + text
	b := baseline()
	w := window(b, amounts(190), map[string]uint64{"DE": 150, "FR": 30, "IT": 14, "AT": 6})
	example := only(t, b, w, summary.Options{MinCount: 11, Stream: "ML"})
	var got, want any
	for text, to := range map[string]*any{text: &got, asJSON(t, example): &want} {
		if err := json.Unmarshal([]byte(text), to); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func asJSON(t *testing.T, w summary.Window) string {
	t.Helper()
	text, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// FuzzCategories: whatever the counts, all of them are told, and none of a category
// that is rare.
func FuzzCategories(f *testing.F) {
	f.Add(uint64(150), uint64(30), uint64(20), uint64(1), uint64(11))
	f.Add(uint64(1), uint64(0), uint64(0), uint64(0), uint64(0))
	b := baseline()
	f.Fuzz(func(t *testing.T, de, fr, it, at, least uint64) {
		const most = 1 << 30
		in := map[string]uint64{"DE": de % most, "FR": fr % most, "IT": it % most, "AT": at % most}
		w := window(b, nil, in)
		got := only(t, b, w, summary.Options{MinCount: least}).Features[1]
		sum := uint64(0)
		for name, n := range got.Categories {
			if sum += n; name != summary.Other && n < least {
				t.Errorf("%s is told to have come %d times, fewer than %d", name, n, least)
			}
		}
		if got.Categories != nil && sum != got.N {
			t.Errorf("%v sum to %d of %d", got.Categories, sum, got.N)
		}
	})
}
