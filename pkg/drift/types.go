package drift

import (
	"sort"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stats"
)

// A Group is one flow of a model's traffic: what one version serves in one
// role, as a whole or cut down to one segment. It is the unit in which events
// are counted. Names are as the events give them, bounded by Limits.
type Group struct {
	Model   string
	Version string
	Variant event.Variant
	Segment string // "" is the whole; otherwise "channel=app" or "channel=app,country=DE"
}

// A Key names one monitored series.
type Key struct {
	Group
	Signal string
}

// Names of the signals that are not features. A feature of the same name is
// called "features.<name>"; a score is "scores.<class>".
const (
	SignalPrediction = "prediction"
	SignalConfidence = "confidence"
	SignalLatency    = "latency_ms"
	SignalError      = "error"
	SignalCost       = "cost"

	ScorePrefix   = "scores."
	FeaturePrefix = "features."
)

// NoError is the category of the signal "error" for an event that has none.
const NoError = "none"

// A SignalType says how a signal is summarised. It is fixed by the baseline,
// or else by the first value that is not null.
type SignalType uint8

// The types of signals.
const (
	Numeric SignalType = iota + 1
	Categorical
)

// String returns "numeric" or "categorical".
func (t SignalType) String() string {
	switch t {
	case Numeric:
		return "numeric"
	case Categorical:
		return "categorical"
	}
	return "unknown"
}

// A Signal is the summary of one signal over a window. One of Numeric and
// Categorical is set, as Type says.
type Signal struct {
	Name        string
	Type        SignalType
	Numeric     *stats.Numeric // Edges nil while the model learns: moments only
	Categorical *stats.Categorical
	Mismatched  uint64 // values of another type; they count as missing too
}

// Values returns how many events gave a usable value: finite or a category.
func (s *Signal) Values() uint64 {
	if s.Type == Categorical {
		return s.Categorical.N
	}
	return s.Numeric.N
}

// NonFinite returns how many values were NaN or infinite.
func (s *Signal) NonFinite() uint64 {
	if s.Type == Categorical {
		return 0
	}
	return s.Numeric.NaN + s.Numeric.PosInf + s.Numeric.NegInf
}

// A WindowState says whether a window can still change and whether it can be
// trusted.
type WindowState uint8

// The states of a window.
const (
	Open       WindowState = iota // events may still be added
	Closed                        // the watermark has passed its end; it never changes
	Incomplete                    // closed, but messages of its time are known to be lost
)

// String returns "open", "closed" or "incomplete".
func (s WindowState) String() string {
	return [...]string{"open", "closed", "incomplete"}[s]
}

// A Window is the summary of one Group over [Start, End) of event time. Panes,
// hourly rollups and the windows that rules see are all Windows: they differ in
// length only, and a longer one is the sum of shorter ones.
type Window struct {
	Group      Group
	Start, End time.Time // UTC, multiples of the length since the Unix epoch
	State      WindowState
	Learning   bool     // some of it was counted before the model had a baseline
	Baseline   string   // of a pane: id of the baseline whose edges it counts on; "" while learning
	Events     uint64   // predictions counted
	Failed     uint64   // predictions that carried an error
	FromSeq    uint64   // first and last message counted here, 0 for none
	ToSeq      uint64   //
	Signals    []Signal // ascending by Name; signals that no event gave are absent
}

// Signal returns the summary of the named signal, nil if no event gave one.
func (w *Window) Signal(name string) *Signal {
	i, found := sort.Find(len(w.Signals), func(i int) int { return strings.Compare(name, w.Signals[i].Name) })
	if !found {
		return nil
	}
	return &w.Signals[i]
}

// Missing returns how many of the window's events gave no usable value for s.
func (w *Window) Missing(s *Signal) uint64 {
	return w.Events - min(w.Events, s.Values()+s.NonFinite())
}

// A Verdict is what a report says about one signal.
type Verdict string

// The verdicts, by contract.md section 1.
const (
	Stable       Verdict = "stable"
	Minor        Verdict = "minor"        // significant, effect above the ticket gate
	Material     Verdict = "material"     // significant, effect above the page gate
	Insufficient Verdict = "insufficient" // fewer than 100 values
	Ignored      Verdict = "ignored"      // an id or time column, or no reference to compare with
)

// A Report says how far one window moved from its reference, signal by signal.
// Values that are not defined are NaN.
type Report struct {
	Window    *Window
	Reference string         // the baseline's id, or the moving reference's name; "" without one
	Approved  bool           // the reference may page
	Against   *Part          // the reference; nil without one
	Signals   []SignalReport // in the order of Window.Signals, then the baseline's that are gone
	Drifting  int            // signals whose verdict is Material

	ErrorRatio float64
	LatencyP50 float64 // milliseconds
	LatencyP95 float64
	LatencyP99 float64
}

// A SignalReport is the part of a Report about one signal.
type SignalReport struct {
	Name             string
	Type             SignalType
	Feature          bool // a feature, not one of the model's outputs
	Missing          float64
	ReferenceMissing float64
	MissingP         float64 // two-sided test of the two missing rates
	Mean             float64
	stats.Shift      // N and M are values, not events
	AdjustedP        float64
	Verdict          Verdict
	Because          string   // the verdict's reason in a few words
	New              []string // most frequent categories unknown to the reference
	Gone             []string // categories of the reference that should be there and are not
}

// A BaselineState says how far a baseline may be trusted.
type BaselineState string

// The states of a baseline.
const (
	Learning BaselineState = "learning" // no baseline yet: nothing is compared
	Frozen   BaselineState = "frozen"   // learned by itself: compared, and pages are sent as tickets
	Approved BaselineState = "approved" // imported or approved by somebody: may page
)

// A Baseline is a reference: a pinned window with its provenance.
type Baseline struct {
	ID      string // "b-" and 16 hex digits of the hash of everything but State
	Model   string
	Version string // "" for every version of the model
	State   BaselineState
	Origin  Origin
	Parts   []Part // Parts[0] is the whole; the others are segments on the same edges
}

// An Origin is where a baseline came from.
type Origin struct {
	Kind   string // "import", "capture", "version" or "auto"
	Source string // file name, other version, or ""
	Digest string // "sha256:..." of the file, "" otherwise
	Actor  string // who asked for it; "driftd" for auto
	From   time.Time
	To     time.Time
	Rows   uint64
}

// A Part is the reference of one segment.
type Part struct {
	Segment string // "" for the whole
	Rows    uint64
	Signals []Reference // ascending by Name

	Projections []Projection // the same for all parts; those that Signals has signals of
}

// A Reference is the reference distribution of one signal.
type Reference struct {
	Signal
	Missing uint64          // rows without a usable value
	PSI     *stats.Edges    // the deciles, a subset of Numeric.Edges; nil if categorical
	Ties    *stats.TieTable // nil unless the signal has atoms
	Feature bool
}
