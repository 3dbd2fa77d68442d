package drift

import (
	"math"
	"slices"
	"strings"

	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stats"
)

// signals are what a model's events have given so far, numbered as they came. A
// number never changes its meaning: panes and resolvers hold it. A name that a
// baseline gives another type gets a second number, for the panes to come.
type signals struct {
	defs  []SignalDef
	names map[string]int // the last number of a name
	order []int          // numbers, ascending by name
	bytes int            // bounds the JSON of defs
}

// define gives the next number to a signal.
func (s *signals) define(name string, t SignalType) int {
	k := len(s.defs)
	name = strings.Clone(name) // it may alias a message
	s.defs = append(s.defs, SignalDef{Name: name, Type: t, Feature: isFeature(name)})
	if s.names == nil {
		s.names = map[string]int{}
	}
	s.names[name] = k
	at, _ := slices.BinarySearchFunc(s.order, name, func(i int, name string) int { return strings.Compare(s.defs[i].Name, name) })
	s.order = slices.Insert(s.order, at, k)
	s.bytes += 64 + 6*len(name)
	return k
}

// fixedNames are the signals that are neither features nor scores.
var fixedNames = [...]string{SignalPrediction, SignalConfidence, SignalLatency, SignalError, SignalCost}

const (
	fixedPrediction = iota
	fixedConfidence
	fixedLatency
	fixedError
	fixedCost
)

func scoreName(class string) string { return ScorePrefix + class }

// prefixes begin the names of signals that are not named like a feature.
var prefixes = [...]string{ScorePrefix, FeaturePrefix, ProjectionPrefix}

// featureName keeps a feature apart from the signals of the model itself, and
// its signal from having no name.
func featureName(name string) string {
	if name == "" || slices.Contains(fixedNames[:], name) || slices.ContainsFunc(prefixes[:], func(p string) bool { return strings.HasPrefix(name, p) }) {
		return FeaturePrefix + name
	}
	return name
}

// isFeature reports whether a signal is one of the model's inputs.
func isFeature(signal string) bool {
	return !slices.Contains(fixedNames[:], signal) && !strings.HasPrefix(signal, ScorePrefix)
}

const (
	unresolved = -1 // nothing is known of the name yet
	overLimit  = -2 // the name came after the limit was reached
)

// A resolver remembers the signal numbers of the names of each shape.
type resolver struct {
	name  func(string) string // of the signal, from the name in the event
	cache map[*event.Shape][]int32
	last  *event.Shape
	index []int32 // of last
}

// resolve returns the numbers of a shape's names, as far as known. The caller
// fills in what is unresolved.
func (r *resolver) resolve(s *event.Shape, known *signals) []int32 {
	if s == nil {
		return nil
	}
	if r.last == s {
		return r.index
	}
	index := r.cache[s]
	if index == nil {
		index = make([]int32, len(s.Names))
		for i, n := range s.Names {
			index[i] = unresolved
			if k, ok := known.names[r.name(n)]; ok {
				index[i] = int32(k)
			}
		}
		if s.Transient {
			return index
		}
		r.cache[s] = index
	}
	r.last, r.index = s, index
	return index
}

// A layout fixes how the signals of a model are counted: on which edges, by
// which dictionary. Panes keep the layout that they began with, so a new
// baseline never changes the meaning of counts.
type layout struct {
	baseline *Baseline // nil while the model learns
	signals  *signals  // of the model: they grow while panes are open
	slots    []slot    // by number, as far as needed; see slot

	projections []projector // of the baseline; see projectors
	projected   bool        // they are made
}

type slot struct {
	def   SignalDef
	edges *stats.Edges
	dict  *stats.Dictionary
}

// slot returns how signal i is counted. A pane meets signals that were defined
// after it began, so the slots follow when they are asked for.
func (l *layout) slot(i int) *slot {
	for len(l.slots) <= i {
		l.slots = append(l.slots, l.place(l.signals.defs[len(l.slots)]))
	}
	return &l.slots[i]
}

// place finds edges or dictionary of a signal; one that the baseline lacks, or
// knows as another type, has none.
func (l *layout) place(def SignalDef) slot {
	s := slot{def: def}
	if l.baseline != nil {
		if ref := l.baseline.Parts[0].Reference(def.Name); ref != nil && ref.Type == def.Type {
			if ref.Type == Numeric {
				s.edges = ref.Numeric.Edges
			} else {
				s.dict = ref.Categorical.Dict
			}
		}
	}
	if s.edges == nil && def.Name == SignalLatency && def.Type == Numeric {
		s.edges = latencyEdges
	}
	return s
}

// latencyEdges count latencies that no baseline covers, so that quantiles are
// known from the first event on: 8 bins an octave from 16 us to 35 min, which
// puts a quantile within 4.5 %.
var latencyEdges = octaves(-6, 21, 8)

func octaves(from, to, perOctave int) *stats.Edges {
	var values []float64
	for i := from * perOctave; i <= to*perOctave; i++ {
		values = append(values, math.Exp2(float64(i)/float64(perOctave)))
	}
	edges, err := stats.NewEdges(values)
	if err != nil {
		panic(err) // powers of two ascend
	}
	return edges
}

// id names the layout's baseline, "" while there is none.
func (l *layout) id() string {
	if l.baseline == nil {
		return ""
	}
	return l.baseline.ID
}
