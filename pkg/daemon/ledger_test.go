package daemon_test

import (
	"fmt"
	"hash/fnv"
	"math"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/store"
)

// A book is the publisher's ledger: what every pane must hold, counted straight
// from what was sent and without any code of pkg/drift but the baseline's edges.
type book struct {
	baselines map[string]*drift.Baseline
	segments  map[string]string // by model: the segment counted by itself, "" for none
	panes     map[paneKey]*paneBook
	events    uint64 // predictions counted
}

type paneKey struct {
	group drift.Group
	start int64
}

type paneBook struct {
	events, failed uint64
	signals        map[string]*signalBook
}

// A signalBook counts the values of one signal, and where they fell: the sum over
// all values of a hash of their bin or category, which does not depend on order.
type signalBook struct {
	values, place uint64
}

func newBook(baselines []*drift.Baseline) *book {
	b := &book{baselines: map[string]*drift.Baseline{}, segments: map[string]string{}, panes: map[paneKey]*paneBook{}}
	for _, base := range baselines {
		b.baselines[base.Model] = base
	}
	return b
}

// spread is the finaliser of splitmix64 (Steele et al. 2014): bins become
// summands that do not cancel.
func spread(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func nameHash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum64()
}

// Places of categories that have no cell of their own.
const unseenPlace, otherPlace = 0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f

func (b *book) add(e *event.Event) {
	if e.Kind != event.Prediction {
		return
	}
	b.events++
	g := drift.Group{Model: e.Model, Version: e.Version, Variant: e.Variant}
	b.count(g, e)
	for _, s := range e.Segments {
		if s.Name == b.segments[e.Model] {
			g.Segment = s.Name + "=" + s.Value
			b.count(g, e)
		}
	}
}

func (b *book) count(g drift.Group, e *event.Event) {
	key := paneKey{g, time.Unix(0, e.Time).Truncate(time.Minute).UnixNano()}
	p := b.panes[key]
	if p == nil {
		p = &paneBook{signals: map[string]*signalBook{}}
		b.panes[key] = p
	}
	p.events++
	whole := &b.baselines[g.Model].Parts[0]
	if e.Failed {
		p.failed++
		p.add(whole, "error", event.Cat(e.Error))
	} else {
		p.add(whole, "error", event.Cat(drift.NoError))
	}
	for i, v := range e.Values {
		p.add(whole, e.Features.Names[i], v)
	}
	p.add(whole, "prediction", e.Prediction)
	if e.Scores != nil {
		for i, x := range e.ScoreValues {
			p.add(whole, "scores."+e.Scores.Names[i], number(x))
		}
	}
	p.add(whole, "confidence", number(e.Confidence))
	p.add(whole, "latency_ms", number(e.LatencyMS))
	p.add(whole, "cost", number(e.Cost))
}

func number(x float64) event.Value {
	if math.IsNaN(x) {
		return event.Value{}
	}
	return event.Value{Kind: event.Number, Num: x}
}

func (p *paneBook) add(base *drift.Part, name string, v event.Value) {
	var place uint64
	ref := base.Reference(name)
	switch {
	case v.Kind == event.Null:
		return
	case ref == nil: // counted without bins
	case v.Kind == event.Number:
		place = spread(uint64(ref.Numeric.Edges.Bin(v.Num)) + 1)
	default:
		switch i := ref.Categorical.Dict.Index(v.Str); {
		case i >= 0:
			place = spread(nameHash(v.Str))
		case i == -1:
			place = spread(otherPlace)
		default:
			place = spread(unseenPlace)
		}
	}
	s := p.signals[name]
	if s == nil {
		s = &signalBook{}
		p.signals[name] = s
	}
	s.values++
	s.place += place
}

// placeOf sums what a stored signal holds in the same way.
func placeOf(base *drift.Part, s *drift.Signal) uint64 {
	if base.Reference(s.Name) == nil {
		return 0
	}
	var sum uint64
	if s.Type == drift.Numeric {
		for i, n := range s.Numeric.Counts {
			sum += n * spread(uint64(i)+1)
		}
		return sum
	}
	for i, n := range s.Categorical.Counts {
		sum += n * spread(nameHash(s.Categorical.Dict.Categories[i]))
	}
	return sum + s.Categorical.Other*spread(otherPlace) + s.Categorical.Unseen*spread(unseenPlace)
}

// compare checks every pane of the store against the book, both ways. At most
// ten differences are reported.
func (b *book) compare(t *testing.T, st *store.Store) {
	t.Helper()
	seen, faults := 0, 0
	fault := func(format string, args ...any) {
		if faults++; faults <= 10 {
			t.Errorf(format, args...)
		}
	}
	var groups []string
	for g := range b.segmentsSeen() {
		groups = append(groups, g)
	}
	for model, base := range b.baselines {
		for _, segment := range append(groups, "") {
			windows, err := st.Windows(store.Query{Model: model, Size: time.Minute, Segment: segment})
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range windows {
				want := b.panes[paneKey{w.Group, w.Start.UnixNano()}]
				if want == nil {
					fault("%v at %v: %d events that nobody sent", w.Group, w.Start, w.Events)
					continue
				}
				seen++
				if diff := want.diff(&base.Parts[0], w); diff != "" {
					fault("%v at %v: %s", w.Group, w.Start, diff)
				}
			}
		}
	}
	if seen != len(b.panes) {
		fault("%d panes, want %d", seen, len(b.panes))
	}
	if faults > 10 {
		t.Errorf("and %d differences more", faults-10)
	}
}

func (b *book) segmentsSeen() map[string]bool {
	out := map[string]bool{}
	for key := range b.panes {
		if key.group.Segment != "" {
			out[key.group.Segment] = true
		}
	}
	return out
}

func (p *paneBook) diff(base *drift.Part, w *drift.Window) string {
	if w.Events != p.events || w.Failed != p.failed {
		return fmt.Sprintf("%d events and %d failed, want %d and %d", w.Events, w.Failed, p.events, p.failed)
	}
	if len(w.Signals) != len(p.signals) {
		return fmt.Sprintf("%d signals, want %d", len(w.Signals), len(p.signals))
	}
	for i := range w.Signals {
		s := &w.Signals[i]
		want := p.signals[s.Name]
		if want == nil {
			return "signal " + s.Name + " was not sent"
		}
		if s.Values() != want.values || placeOf(base, s) != want.place {
			return fmt.Sprintf("signal %s: %d values in bins %x, want %d in %x", s.Name, s.Values(), placeOf(base, s), want.values, want.place)
		}
	}
	return ""
}
