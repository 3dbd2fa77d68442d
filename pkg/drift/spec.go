package drift

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// RollupSize is the length of the rollups that outlive the panes.
const RollupSize = time.Hour

// Other is the name under which events are counted whose version, segment or
// category exceeds a limit.
const Other = "__other__"

// longestWindow keeps window ends and watermarks within what a time in
// nanoseconds can say, for every time that package event lets pass.
const longestWindow = 31 * 24 * time.Hour

// A Spec fixes how events are counted and when windows close.
type Spec struct {
	Pane          time.Duration   // length of a pane
	Lateness      time.Duration   // how far the watermark stays behind the latest event
	MaxFutureSkew time.Duration   // how far an event may be ahead of its message's arrival
	Sizes         []time.Duration // lengths of the windows that rules see
	Discover      bool            // observe models that no ModelSpec names
	Models        []ModelSpec     // the first whose Glob matches applies
	Limits        Limits
	Sample        SampleSpec
	DedupIDs      int // ids per generation of the duplicate table; 0 switches it off
}

// A ModelSpec is what the operator says about the models of one glob.
type ModelSpec struct {
	Glob     string     // of the model's name; see Match
	Segments [][]string // each a list of segment names counted together

	Multivariate Multivariate // watched together from the next baseline on
}

// Limits bound what the names in events can make driftd hold.
type Limits struct {
	Models     int // models followed; events of further ones are refused as limit
	Features   int // features and scores a model; values of further ones are counted, not kept
	Versions   int // version and variant pairs a model; further ones count as Other
	Segments   int // segments a pair, for each list of segment names; further ones count as Other
	Categories int // categories a signal counted by name
	GapWindows int // empty windows of one silence that are evaluated one by one
}

// A SampleSpec says when a learning model has seen enough.
type SampleSpec struct {
	MinRows uint64        // events
	MinSpan time.Duration // event time between the first and the last of them
	MaxRows int           // rows kept at most; beyond it a uniform sample of them
	Bytes   int64         // held by the samples of all models together; some wait when it is too little
}

// DefaultSpec returns the settings of configs/driftd.yaml.
func DefaultSpec() Spec {
	return Spec{
		Pane: time.Minute, Lateness: 2 * time.Minute, MaxFutureSkew: time.Minute,
		Sizes:    []time.Duration{5 * time.Minute, time.Hour, 24 * time.Hour},
		Discover: true,
		Limits:   Limits{Models: 1000, Features: 2000, Versions: 16, Segments: 32, Categories: 256, GapWindows: 2016},
		Sample:   SampleSpec{MinRows: 10_000, MinSpan: 24 * time.Hour, MaxRows: 20_000, Bytes: 64 << 20},
		DedupIDs: 1_000_000,
	}
}

// Validate returns every fault of the Spec, joined.
func (s Spec) Validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(s.Pane < time.Second, "pane %v is shorter than 1s", s.Pane)
	fault(s.Pane > 0 && RollupSize%s.Pane != 0, "pane %v does not divide %v", s.Pane, RollupSize)
	fault(s.Lateness < 0, "lateness %v is negative", s.Lateness)
	fault(s.Lateness > longestWindow, "lateness %v is longer than %v", s.Lateness, longestWindow)
	fault(s.MaxFutureSkew < 0, "max_future_skew %v is negative", s.MaxFutureSkew)
	fault(len(s.Sizes) == 0, "no window sizes")
	for i, size := range s.Sizes {
		fault(size <= 0 || s.Pane > 0 && size%s.Pane != 0, "window size %v is not a multiple of the pane %v", size, s.Pane)
		fault(size > longestWindow, "window size %v is longer than %v", size, longestWindow)
		fault(slices.Contains(s.Sizes[:i], size), "window size %v is listed twice", size)
	}
	for _, m := range s.Models {
		v := m.Multivariate
		fault(len(v.Features) == 1 || slices.Contains(v.Features, ""), "model %s: multivariate features %q are no two or more names", m.Glob, v.Features)
		fault(slices.Contains(v.Vectors, ""), "model %s: a multivariate vector has no name", m.Glob)
	}
	l := s.Limits
	fault(min(l.Models, l.Features, l.Versions, l.Segments, l.Categories, l.GapWindows) < 1, "a limit is below 1: %+v", l)
	fault(s.Sample.MinRows < 1 || s.Sample.MaxRows < 1, "a baseline needs at least 1 row")
	fault(s.Sample.MinSpan < 0 || s.Sample.Bytes < 1, "a sample of %d bytes over %v cannot be taken", s.Sample.Bytes, s.Sample.MinSpan)
	fault(s.DedupIDs < 0, "dedup ids %d is negative", s.DedupIDs)
	return errors.Join(faults...)
}

// Unit returns the length of the windows that those of a size are sums of: of
// rollups where whole ones fit, for it is less to add, and otherwise of panes.
func (s *Spec) Unit(size time.Duration) time.Duration {
	if size > RollupSize && size%RollupSize == 0 {
		return RollupSize
	}
	return s.Pane
}

// model returns the ModelSpec that applies to a model.
func (s *Spec) model(name string) (ModelSpec, bool) {
	for _, m := range s.Models {
		if Match(m.Glob, name) {
			return m, true
		}
	}
	return ModelSpec{}, s.Discover
}

// Match reports whether a name fits a glob; see event.Match.
func Match(glob, name string) bool { return event.Match(glob, name) }

// Compare orders groups by model, version, variant and segment.
func (g Group) Compare(o Group) int {
	return cmp.Or(
		strings.Compare(g.Model, o.Model), strings.Compare(g.Version, o.Version),
		cmp.Compare(g.Variant, o.Variant), strings.Compare(g.Segment, o.Segment))
}
