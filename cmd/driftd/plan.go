package main

import (
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
	"driftd.dev/driftd/pkg/store"
)

// planOptions are the flags of doctor --plan.
type planOptions struct {
	wanted             bool
	models, features   int
	groups, eventBytes int
	events             float64
	streamAge          time.Duration
	vectors, length    int
}

func (o *planOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.wanted, "plan", false, "say what a fleet needs instead of looking at this one")
	f.IntVar(&o.models, "models", 0, "with --plan: models (default those listed by name in the configuration)")
	f.IntVar(&o.features, "features", 50, "with --plan: features of a model")
	f.IntVar(&o.groups, "groups", 1, "with --plan: groups of a model counted apart: versions x roles x (1 + values of its segments)")
	f.Float64Var(&o.events, "events-per-s", 100, "with --plan: events a second, of all models together")
	f.IntVar(&o.eventBytes, "event-bytes", 0, "with --plan: size of an event (default 200 and 10 for each feature)")
	f.IntVar(&o.vectors, "vectors", -1, "with --plan: vectors watched in each model, up to 67 signals each (default what multivariate of the listed models says, in the mean)")
	f.IntVar(&o.length, "vector-length", 768, "with --plan: numbers in a vector")
	f.DurationVar(&o.streamAge, "stream-age", 7*24*time.Hour, "with --plan: how long JetStream keeps events")
}

// A fleet is what is to be sized.
type fleet struct {
	models, signals, groups int     // signals of a model, its features among them
	features                int     // of a model
	axes                    float64 // of what a model watches together, in numbers
	budgets                 bool    // drift is judged within one
	events                  float64 // a second, of all models
	eventBytes              float64
	streamAge               time.Duration
	spec                    drift.Spec
	keep                    config.Retention
	dedup                   int
	learning                int64 // bytes
}

// A need is what a fleet takes, in bytes unless said otherwise. It is the JSON of
// doctor --plan.
type need struct {
	Models       int     `json:"models"`
	Features     int     `json:"features"`
	Signals      int     `json:"signals"` // of a model
	EventsPerSec float64 `json:"events_per_s"`
	Series       int     `json:"series"` // model, version, role, segment and signal
	SeriesLimit  int     `json:"series_limit"`

	DiskPanes      float64 `json:"disk_panes"`
	DiskHours      float64 `json:"disk_hours"`
	DiskDays       float64 `json:"disk_days"`
	DiskBaselines  float64 `json:"disk_baselines"`
	DiskDetection  float64 `json:"disk_detection"` // calibration lists, when they are full
	DiskFixed      float64 `json:"disk_fixed"`     // Badger's logs, open panes, ids, the reserve
	Disk           float64 `json:"disk"`
	Memory         float64 `json:"memory"`          // resident
	MemoryLearning float64 `json:"memory_learning"` // while models learn
	WritesPerSec   float64 `json:"writes_per_s"`
	WriteBytes     float64 `json:"write_bytes_per_s"`
	StreamBytes    float64 `json:"stream_bytes"`
}

// What the formulas rest on, from docs/decisions/0008-sizing.md.
const (
	planBins       = 257           // of a numeric signal
	planExtra      = 4             // signals beside the features: prediction, confidence, latency, error
	planName       = 12            // bytes of a signal's name
	planSignal     = 55            // of a signal in a window: form, id of the edges, counters, moments
	planWindow     = 90            // of a window: key, header, envelope
	planEdges      = 10e3          // of a baseline's signal in memory: edges, their look-up grid, counts, tie tables
	planCheckpoint = 1.0           // seconds
	planID         = 24            // of a remembered event id in memory
	planProcess    = 60e6          // of a process that does nothing: code, stacks, NATS client, Badger's caches
	planArenas     = 2*9e6 + 8*8e6 // Badger's tables in memory, and its buffers for those that are written
	planMapped     = 40e6          // of its files, those used in the last seconds
	planLogs       = 2*14e6 + 64e6 // Badger's logs beside its tables
	planGarbage    = 1.3           // resident bytes for one that is used
	planFields     = 0.75          // of a packed window's names and moments
	planCounts     = 0.48          // of its counts
	planOverhead   = 1.05          // of Badger's tables: indices, filters, what is not yet compacted away
	planDetectors  = 4             // of a signal
	planMessage    = 80            // of a message in JetStream beside its payload: header, subject, index
)

// countBytes is the size of the counts of n values in equally likely bins, in the
// shorter of both encodings of pkg/stats: what statistics.md 1.4 measured.
func countBytes(n float64) float64 {
	filled := planBins * -math.Expm1(-n/planBins)
	if filled == 0 {
		return 1
	}
	width := 1.0
	if n/filled >= 128 {
		width = 2
	}
	gaps := filled * (1 - filled/planBins)
	return 2 + min(filled*(1+width), filled*width+2*gaps)
}

// window is the size of one open window with n events.
func (f *fleet) window(n float64) float64 {
	return planWindow + float64(f.signals)*(planName+planSignal+countBytes(n))
}

// packed is the size of a closed one.
func (f *fleet) packed(n float64) float64 {
	return planOverhead * (planWindow + float64(f.signals)*(planFields*(planName+planSignal)+planCounts*countBytes(n)))
}

// stored is the size of all windows of a length that are kept for a time. Windows
// without an event are not stored.
func (f *fleet) stored(length, keep time.Duration) float64 {
	groups := float64(f.models * f.groups)
	n := f.events / groups * length.Seconds()
	kept := keep.Hours() / length.Hours()
	if n < 1 {
		kept, n = kept*-math.Expm1(-n), 1
	}
	return groups * kept * f.packed(n)
}

// need applies the formulas.
func (f *fleet) need() need {
	groups := float64(f.models * f.groups)
	perPane := f.events / groups * f.spec.Pane.Seconds()
	open := math.Ceil(f.spec.Lateness.Seconds()/f.spec.Pane.Seconds()) + 1
	out := need{
		Models: f.models, Features: f.features, Signals: f.signals, EventsPerSec: f.events, Series: f.models * f.groups * f.signals,
		DiskPanes:     f.stored(f.spec.Pane, f.keep.Panes.Std()),
		DiskHours:     f.stored(drift.RollupSize, f.keep.Hourly.Std()),
		DiskDays:      f.stored(store.DaySize, f.keep.Daily.Std()-f.keep.Hourly.Std()),
		DiskBaselines: float64(f.models) * (float64(f.signals)*(planBins*(8+2)+planSignal) + 4*f.axes),
		StreamBytes:   f.events * f.streamAge.Seconds() * (f.eventBytes + planMessage),
	}
	if f.budgets {
		out.DiskDetection = float64(f.models*f.signals) * planDetectors * 4 * detect.MaxRows
	}
	// A checkpoint writes each open pane that has grown, ids, and the books.
	dirty := groups * -math.Expm1(-f.events/groups*planCheckpoint)
	out.WritesPerSec = (dirty*math.Ceil(f.window(perPane)/64e3) + 4) / planCheckpoint
	out.WriteBytes = (dirty*f.window(perPane/2) + 8*f.events*planCheckpoint + 2e3) / planCheckpoint
	out.DiskFixed = planLogs + groups*open*f.window(perPane) + 8*float64(f.dedup) + lowDisk
	out.Disk = out.DiskPanes + out.DiskHours + out.DiskDays + out.DiskBaselines + out.DiskDetection + out.DiskFixed
	out.Memory = planProcess + planArenas + planMapped + planGarbage*(f.live(perPane)+planID*float64(f.dedup))
	out.MemoryLearning = out.Memory + float64(f.learning)
	for _, x := range []*float64{
		&out.DiskPanes, &out.DiskHours, &out.DiskDays, &out.DiskBaselines, &out.DiskDetection, &out.DiskFixed, &out.Disk,
		&out.Memory, &out.MemoryLearning, &out.WritesPerSec, &out.WriteBytes, &out.StreamBytes,
	} {
		*x = math.Ceil(*x)
	}
	return out
}

// live is what the engine holds with n events a pane: baselines, open panes and
// the sums of windows that are not full yet.
func (f *fleet) live(n float64) float64 {
	const cell, sum = 200, 220 // a signal's struct in a pane and in a sum
	open := math.Ceil(f.spec.Lateness.Seconds()/f.spec.Pane.Seconds()) + 1
	pane := open * (8*min(n, 256) + cell)
	if n >= 256 {
		pane += open * 4 * planBins
	}
	sums := float64(len(f.spec.Sizes)) * (planBins + sum)
	return float64(f.models) * (float64(f.signals)*(planEdges+float64(f.groups)*(pane+sums)) + 8*f.axes)
}

// plan sizes the fleet of a configuration.
func (e *env) plan(c *config.Config, o planOptions) error {
	listed := c.Models
	if o.models == 0 {
		listed = slices.DeleteFunc(slices.Clone(listed), func(m config.Model) bool { return hasGlob(m.Name) })
		o.models = len(listed)
	}
	for _, f := range []struct {
		name string
		bad  bool
	}{
		{"--models: the configuration lists none by name; say how many, at least 1", o.models < 1},
		{"--features: at least 1", o.features < 1},
		{"--groups: at least 1", o.groups < 1},
		{"--events-per-s: more than 0", !(o.events > 0) || math.IsInf(o.events, 1)},
		{"--event-bytes: at least 1, or 0 for the default", o.eventBytes < 0},
		{"--stream-age: more than 0", o.streamAge <= 0},
		{"--vectors: at least 0", o.vectors < -1},
		{"--vector-length: at least 1", o.length < 1},
	} {
		if f.bad {
			return badUsage("%s", f.name)
		}
	}
	if o.eventBytes == 0 {
		o.eventBytes = 200 + 10*o.features
	}
	together, axes := o.together(listed)
	f := fleet{
		models: o.models, features: o.features, signals: o.features + planExtra + together, axes: axes, budgets: len(c.Budgets) > 0, groups: o.groups, events: o.events, eventBytes: float64(o.eventBytes),
		streamAge: o.streamAge, spec: c.DriftSpec(), keep: c.Store.Retention, dedup: c.Dedup.IDs, learning: int64(c.Limits.LearningBytes),
	}
	n := f.need()
	n.SeriesLimit = c.Limits.Series
	return e.print(n.result(&f))
}

// together returns how many signals a model has because things are watched together in
// it, in the mean of those listed unless --vectors says it, and the numbers of its axes.
func (o *planOptions) together(listed []config.Model) (signals int, axes float64) {
	add := func(length, times int) {
		signals += times * projected(length)
		axes += float64(times * length * min(length, stats.MaxAxes))
	}
	if o.vectors >= 0 {
		add(o.length, o.vectors)
		return signals, axes
	}
	for _, m := range listed {
		if m.Multivariate == nil {
			continue
		}
		if n := len(m.Multivariate.Features); n > 0 {
			add(n, 1)
		}
		add(o.length, len(m.Multivariate.Vectors))
	}
	if n := len(listed); n > 0 {
		signals, axes = (signals+n-1)/n, axes/float64(n)
	}
	return signals, axes
}

// projected is how many signals a vector of a length gives: its coordinates on the axes,
// what they leave if they are fewer, and two amounts. A test compares it with a baseline.
func projected(length int) int {
	if length > stats.MaxAxes {
		return stats.MaxAxes + 3
	}
	return length + 2
}

func hasGlob(name string) bool {
	for _, r := range name {
		if r == '*' || r == '?' {
			return true
		}
	}
	return false
}

func (n need) result(f *fleet) result {
	bytes := func(x float64) string { return size(uint64(x)) }
	out := result{value: n, sheet: sheet{head: []string{"needs", "about", "because"}}}
	row := func(what, about, because string) { out.rows = append(out.rows, []any{what, about, because}) }
	row("disk", bytes(n.Disk), bytes(n.DiskPanes)+" panes of "+config.Duration(f.spec.Pane).String()+" for "+f.keep.Panes.String()+
		", "+bytes(n.DiskHours)+" hours for "+f.keep.Hourly.String()+", "+bytes(n.DiskDays)+" days for "+f.keep.Daily.String()+", "+bytes(n.DiskBaselines)+" baselines, "+bytes(n.DiskDetection)+" detection, "+bytes(n.DiskFixed)+" logs and reserve")
	row("memory", bytes(n.Memory), "resident; "+bytes(f.live(f.events/float64(f.models*f.groups)*f.spec.Pane.Seconds()))+" baselines and open windows, "+count(f.dedup, "event id")+"; "+bytes(n.MemoryLearning)+" while models learn")
	row("series", cellText(n.Series, -1), count(n.Models, "model")+", "+count(f.groups, "group")+" each, "+count(f.signals, "signal")+" each; limits.series is "+cellText(n.SeriesLimit, -1))
	row("writes", cellText(n.WritesPerSec, -1)+"/s", bytes(n.WriteBytes)+" a second, synced once a second")
	row("jetstream", bytes(n.StreamBytes), cellText(n.EventsPerSec, 4)+" events/s of "+bytes(f.eventBytes)+", kept "+config.Duration(f.streamAge).String())
	if n.Series > n.SeriesLimit {
		out.below = append(out.below, "limits.series is lower than the fleet's series: raise it, or cut by fewer segments.")
	}
	if n.DiskPanes > n.DiskHours && n.DiskPanes > n.Disk/2 {
		out.below = append(out.below, "Most of the disk is panes: a shorter store.retention.panes, or a longer windows.pane, saves most.")
	}
	return out
}
