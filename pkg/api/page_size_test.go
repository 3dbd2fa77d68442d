package api_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// TestPagesAreSmall: the pages of a wide model, and of a fleet that fills a page,
// stay within their bound, whatever the heat map shows.
func TestPagesAreSmall(t *testing.T) {
	w, hours := wideWorld(t)
	s := newServer(t, w)
	for _, target := range []string{
		"/models/wide?windows=24", "/models/wide?windows=72", "/models/wide?windows=168&stat=ks", "/models/wide?windows=24&row=140",
		"/models/wide/feature?name=" + wideNames()[7],
	} {
		read(t, s, target) // fails on what is too large
	}
	seen := map[string]bool{}
	for target, pages := "/models/wide", 0; target != ""; pages++ {
		if pages > 50 {
			t.Fatal("further signals do not end")
		}
		p := read(t, s, target)
		target = ""
		for i, e := range p.elements {
			if e.attr["rel"] == "next" {
				target = e.attr["href"]
			}
			if e.name == "a" && i > 0 && p.elements[i-1].name == "th" {
				seen[e.attr["href"]] = true
			}
		}
	}
	if len(seen) < len(wideNames()) {
		t.Errorf("the pages of the table show %d signals of %d", len(seen), len(wideNames()))
	}
	body := []byte(text(t, call(t, s.Handler(), http.MethodGet, "/api/v1/models/wide/heatmap?windows=168", "")))
	n := binary.BigEndian.Uint32(body)
	if cells := len(body) - 4 - int(n); cells != 168*(len(wideNames())+2) { // and the prediction and the error
		t.Errorf("%d cells", cells)
	}
	if full := len(body) - 4 - int(n) - strings.Count(string(body[4+n:]), "\x00"); full < hours*len(wideNames())/2 {
		t.Errorf("only %d cells have a number", full)
	}
	w.change(func(snapshot *api.Snapshot) {
		wide := snapshot.Models[0]
		snapshot.Models = nil
		for i := range 200 {
			m := wide
			m.Model, m.Owner = fmt.Sprintf("a-model-with-quite-a-long-name-%03d", i), fmt.Sprint("owner-", i%20)
			snapshot.Models = append(snapshot.Models, m)
		}
	})
	if p := read(t, s, "/"); len(names(p)) != 50 {
		t.Errorf("%d models on a page, want 50", len(names(p)))
	}
}

func wideNames() []string {
	out := make([]string, 150)
	for i := range out {
		out[i] = fmt.Sprintf("a_feature_of_usual_length_%03d", i)
	}
	return out
}

// wideWorld has a model of 150 features that was counted for a day.
func wideWorld(t testing.TB) (w *world, hours int) {
	t.Helper()
	w, hours = &world{baselines: map[string]*drift.Baseline{}}, 24
	spec := drift.DefaultSpec()
	spec.Sizes = []time.Duration{time.Hour}
	engine, builder := drift.NewEngine(spec), drift.NewBuilder(drift.BuilderOptions{Model: "wide", TiePoints: 1})
	shape := &event.Shape{Names: wideNames()}
	one := func(i int, at time.Time) *event.Event {
		e := &event.Event{
			Kind: event.Prediction, Row: -1, ID: fmt.Sprint("e", i, at.Unix()), Model: "wide", Version: "1", Time: at.UnixNano(), Features: shape,
			Prediction: event.Value{Kind: event.Category, Str: "ok"}, Confidence: math.NaN(), LatencyMS: math.NaN(), Cost: math.NaN(),
		}
		for k := range shape.Names {
			e.Values = append(e.Values, event.Value{Kind: event.Number, Num: float64((i*37 + k) % 101)})
		}
		return e
	}
	for i := range 150 {
		builder.Add(one(i, start.Add(-time.Hour)))
	}
	base := builder.Build(drift.Approved, drift.Origin{Kind: "import", Rows: 150})
	if w.baselines[base.ID] = base; !engine.SetBaseline(base) {
		t.Fatal("the engine does not follow wide")
	}
	seq := uint64(0)
	for h := range hours {
		for i := range 3 {
			seq++
			pos := drift.Position{Seq: seq, Time: start.Add(time.Duration(h)*time.Hour + time.Duration(i)*time.Second).UnixNano()}
			engine.Tick(pos)
			engine.Add(one(h*3+i, time.Unix(0, pos.Time).UTC()), pos)
		}
	}
	w.take(t, engine)
	w.snapshot = api.Snapshot{At: wall, Models: []api.Model{{ModelState: engine.Models()[0], Status: "ok", Baseline: base}}}
	return w, hours
}
