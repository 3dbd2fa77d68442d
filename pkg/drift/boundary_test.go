package drift_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// minutes counts one event at each of some times, given in seconds since ten, and
// returns the closings of a minute, by start. before is called before each event.
func minutes(t *testing.T, lateness time.Duration, times []int, before func(g *drift.Engine, at int)) map[string]drift.Closing {
	t.Helper()
	ten := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	spec := drift.DefaultSpec()
	spec.Sizes, spec.Lateness = []time.Duration{time.Minute}, lateness
	g := drift.NewEngine(spec)
	for i, at := range times {
		if before != nil {
			before(g, at)
		}
		e := event.New(event.Prediction)
		e.Model, e.Time, e.Prediction = "fraud", ten.Add(time.Duration(at)*time.Second).UnixNano(), event.Num(1)
		if o := g.Add(&e, drift.Position{Seq: uint64(i + 1), Time: e.Time}); o != drift.Counted {
			t.Fatalf("the event at %d s is %s", at, o)
		}
	}
	d, err := g.Drain()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]drift.Closing{}
	for _, c := range d.Closings {
		out[c.Start.Format("15:04")] = c
	}
	return out
}

// TestNoWindowBeforeTheFirstEvent: a model whose first event is on the minute was not
// silent in the minute before, though its watermark passes that too.
func TestNoWindowBeforeTheFirstEvent(t *testing.T) {
	got := minutes(t, 2*time.Minute, []int{0, 60, 180}, nil)
	if _, ok := got["09:59"]; ok || len(got) != 1 || got["10:00"].Incomplete {
		t.Errorf("closed %+v, want 10:00 alone", got)
	}
}

// TestGapToTheInstant: what is lost before an event may be as young as it, so the
// minute that it begins is incomplete, and the next is not.
func TestGapToTheInstant(t *testing.T) {
	got := minutes(t, 0, []int{30, 300, 420, 480, 540}, func(g *drift.Engine, at int) {
		if at == 420 {
			g.Gap()
		}
	})
	for start, want := range map[string]bool{"10:00": false, "10:04": false, "10:05": true, "10:06": true, "10:07": true, "10:08": false} {
		if c, ok := got[start]; !ok || c.Incomplete != want {
			t.Errorf("%s: closed %v, incomplete %v, want %v", start, ok, c.Incomplete, want)
		}
	}
}

// TestTheLongestUnseenVersionIsForgotten: beyond the limit it gives way, not the one
// that was seen last.
func TestTheLongestUnseenVersionIsForgotten(t *testing.T) {
	spec := drift.DefaultSpec()
	spec.Sizes, spec.Lateness, spec.Limits.Versions = []time.Duration{time.Minute}, 0, 2
	g := drift.NewEngine(spec)
	start := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	for i, version := range []string{"a", "b", "c"} {
		e := event.New(event.Prediction)
		e.Model, e.Version, e.Prediction = "fraud", version, event.Num(1)
		e.Time = start.Add(time.Duration(i) * 2 * time.Hour).UnixNano()
		g.Tick(drift.Position{Seq: uint64(2*i + 1), Time: e.Time}) // closes what is open
		g.Add(&e, drift.Position{Seq: uint64(2*i + 2), Time: e.Time})
	}
	var versions []string
	for _, s := range g.Models()[0].Groups {
		versions = append(versions, s.Group.Version)
	}
	if !slices.Equal(versions, []string{"b", "c"}) {
		t.Errorf("versions %q, want b and c", versions)
	}
}

// TestTheYoungestSampleStartsAnew: when samples do not fit together and none has rows
// to spare, that of which the fewest events were seen makes room.
func TestTheYoungestSampleStartsAnew(t *testing.T) {
	spec := drift.DefaultSpec()
	spec.Sample = drift.SampleSpec{MinRows: 100_000, MaxRows: 10_000, Bytes: 50_000}
	g := drift.NewEngine(spec)
	start := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	seq := uint64(0)
	learn := func(model string, n int) {
		for range n {
			seq++
			e := event.New(event.Prediction)
			e.ID, e.Model, e.Prediction, e.Time = fmt.Sprint(seq), model, event.Num(1), start.UnixNano()
			if o := g.Add(&e, drift.Position{Seq: seq, Time: e.Time}); o != drift.Counted {
				t.Fatalf("event %d is %s", seq, o)
			}
		}
	}
	learn("old", 800)
	learn("young", 700)
	for _, s := range g.Models() {
		if whole := s.Sample.Seen == map[string]uint64{"old": 800, "young": 700}[s.Model]; whole != (s.Model == "old") {
			t.Errorf("%s: %d events seen, %d kept", s.Model, s.Sample.Seen, s.Sample.Kept)
		}
	}
}

func TestMergedSequences(t *testing.T) {
	for _, c := range [][2]drift.Window{
		{{FromSeq: 3, ToSeq: 4}, {FromSeq: 7, ToSeq: 9}}, {{FromSeq: 7, ToSeq: 9}, {FromSeq: 3, ToSeq: 4}}, {{}, {FromSeq: 3, ToSeq: 9}}, {{FromSeq: 3, ToSeq: 9}, {}},
	} {
		if err := drift.Merge(&c[0], &c[1]); err != nil || c[0].FromSeq != 3 || c[0].ToSeq != 9 {
			t.Errorf("%d to %d, %v, want 3 to 9", c[0].FromSeq, c[0].ToSeq, err)
		}
	}
}

// TestLatencyWithoutABaseline: a quantile is within 4.5 %. Of 91 ms it is so near to
// that because 8 bins an octave are so wide; the longest keeps the range from saying it.
func TestLatencyWithoutABaseline(t *testing.T) {
	spec := drift.DefaultSpec()
	spec.Sizes, spec.Lateness = []time.Duration{time.Minute}, 0
	g := drift.NewEngine(spec)
	start := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	for i := range 101 {
		e := event.New(event.Prediction)
		e.Model, e.Prediction, e.LatencyMS, e.Time = "fraud", event.Num(1), 91, start.UnixNano()
		if i == 0 {
			e.LatencyMS = 500
		}
		g.Add(&e, drift.Position{Seq: uint64(i + 1), Time: e.Time})
	}
	g.Tick(drift.Position{Seq: 102, Time: start.Add(time.Hour).UnixNano()})
	d, err := g.Drain()
	if err != nil || len(d.Closings) == 0 {
		t.Fatalf("%d windows closed, %v", len(d.Closings), err)
	}
	r := drift.Compare(nil, "", false, d.Closings[0].Windows[0])
	if math.Abs(r.LatencyP50/91-1) > .045 || math.Abs(r.LatencyP95/91-1) > .09 {
		t.Errorf("median %g, 95 %% %g, want 91 within the width of a bin", r.LatencyP50, r.LatencyP95)
	}
}

// TestNewCategoriesAreBounded: a report names the five most frequent.
func TestNewCategoriesAreBounded(t *testing.T) {
	b := drift.NewBuilder(drift.BuilderOptions{Model: "fraud"})
	shape := &event.Shape{Names: []string{"country"}}
	one := func(name string) *event.Event {
		e := event.New(event.Prediction)
		e.Model, e.Features, e.Values = "fraud", shape, []event.Value{event.Cat(name)}
		return &e
	}
	for range 100 {
		b.Add(one("DE"))
	}
	part := b.Build(drift.Approved, drift.Origin{Kind: "import"}).Part("")
	w, err := part.Count(func(yield func(*event.Event) bool) {
		for i, name := range []string{"A", "B", "C", "D", "E", "F", "G"} {
			for range 10 - i {
				if !yield(one(name)) {
					return
				}
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	r := drift.Compare(part, "b-1", true, w)
	i := slices.IndexFunc(r.Signals, func(s drift.SignalReport) bool { return s.Name == "country" })
	if got := r.Signals[i].New; !slices.Equal(got, []string{"A", "B", "C", "D", "E"}) {
		t.Errorf("new %q, want the first five", got)
	}
}
