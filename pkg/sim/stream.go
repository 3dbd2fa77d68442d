package sim

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// Stream makes the events of a scenario in time order.
type Stream struct {
	scenario Scenario
	seed     uint64
	start    int64
	end      int64 // unix ns, MaxInt64 = without end
	models   []*modelStream
	pending  pending // outcomes still to come
	events   uint64
}

// modelStream is one model's state. Each source of chance has its own generator,
// so that no injection moves another's draws.
type modelStream struct {
	spec     *Model
	shape    *event.Shape
	scores   *event.Shape
	weights  []scoreWeight
	features []*featureStream
	segments []*featureStream
	versions []Version
	shares   []float64 // cumulative, ends at 1
	routes   []route
	faults   []Injection // of the traffic: errors, latency, score shift, silence

	arrivals, traffic, answer, late *rand.Rand

	next int64 // time of the next prediction, unix ns
	seq  uint64
}

type scoreWeight struct {
	index         int
	slope, center float64
}

// featureStream draws one feature.
type featureStream struct {
	spec   *Feature
	rng    *rand.Rand
	sums   []float64 // cumulative weights of the categories, ends at 1
	faults []featureFault
}

type featureFault struct {
	Injection
	sums []float64 // DropCategory: cumulative weights without the category
}

// route is one decision of the router: from at on and before until, the traffic
// of one version goes to another.
type route struct {
	from, to  int
	at, until int64
}

// New checks the scenario and returns its stream from the start.
func New(s Scenario, seed uint64) (*Stream, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("scenario %q: %w", s.Name, err)
	}
	st := &Stream{scenario: s, seed: seed, start: s.Start.UnixNano(), end: math.MaxInt64}
	if s.Length > 0 {
		st.end = st.start + int64(s.Length)
	}
	for i := range s.Models {
		m := newModelStream(&s.Models[i], seed, s.Injections)
		m.next = st.start + m.gap()
		st.models = append(st.models, m)
	}
	return st, nil
}

// source is the generator of one purpose: PCG seeded with the seed and the names.
func source(seed uint64, names ...string) *rand.Rand {
	h := uint64(14695981039346656037) // FNV-1a
	for _, name := range names {
		for i := range len(name) {
			h = (h ^ uint64(name[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, h))
}

func newModelStream(spec *Model, seed uint64, injections []Injection) *modelStream {
	m := &modelStream{
		spec: spec, shape: &event.Shape{}, versions: spec.Versions,
		arrivals: source(seed, spec.Name, "arrivals"), traffic: source(seed, spec.Name, "traffic"),
		answer: source(seed, spec.Name, "answer"), late: source(seed, spec.Name, "outcomes"),
	}
	for _, j := range injections {
		if j.Model == spec.Name && !j.Effect.onFeature() {
			m.faults = append(m.faults, j)
		}
	}
	for i := range spec.Features {
		f := newFeatureStream(&spec.Features[i], source(seed, spec.Name, "feature", spec.Features[i].Name))
		for _, j := range injections {
			if j.Model == spec.Name && j.Effect.onFeature() && j.Feature == f.spec.Name {
				f.faults = append(f.faults, f.fault(j))
			}
		}
		m.features = append(m.features, f)
		m.shape.Names = append(m.shape.Names, f.spec.Name)
	}
	for i := range spec.Segments {
		m.segments = append(m.segments, newFeatureStream(&spec.Segments[i], source(seed, spec.Name, "segment", spec.Segments[i].Name)))
	}
	weights := make([]float64, len(spec.Versions))
	for i, v := range spec.Versions {
		weights[i] = v.Share
	}
	m.shares = cumulative(weights)
	m.prepareScore()
	return m
}

func (m *modelStream) prepareScore() {
	sc := &m.spec.Score
	if sc.Positive == "" {
		return
	}
	m.scores = &event.Shape{Names: []string{sc.Positive, sc.Negative}}
	for _, w := range sc.Weights {
		m.weights = append(m.weights, scoreWeight{index: m.spec.feature(w.Feature), slope: w.Weight / w.Scale, center: w.Center})
	}
}

func newFeatureStream(spec *Feature, rng *rand.Rand) *featureStream {
	f := &featureStream{spec: spec, rng: rng}
	if spec.Dist == nil {
		f.sums = f.weights("")
	}
	return f
}

func (f *featureStream) weights(without string) []float64 {
	w := make([]float64, len(f.spec.Categories))
	for i, c := range f.spec.Categories {
		if c.Name != without {
			w[i] = c.Weight
		}
	}
	return cumulative(w)
}

func (f *featureStream) fault(j Injection) featureFault {
	fault := featureFault{Injection: j}
	if j.Effect == DropCategory {
		fault.sums = f.weights(j.Category)
	}
	return fault
}

// cumulative returns the running sums of the weights as shares of their total.
func cumulative(weights []float64) []float64 {
	total := 0.0
	for _, w := range weights {
		total += w
	}
	out, sum := make([]float64, len(weights)), 0.0
	for i, w := range weights {
		sum += w
		out[i] = sum / total
	}
	return out
}

// pick returns the first index whose cumulative share is above u in [0, 1).
func pick(sums []float64, u float64) int {
	for i, s := range sums {
		if u < s {
			return i
		}
	}
	return len(sums) - 1
}

// gap is the time to the next arrival, at least 1 ns.
func (m *modelStream) gap() int64 {
	seconds := 1 / m.spec.Rate
	if !m.spec.Even {
		seconds *= m.arrivals.ExpFloat64()
	}
	return max(1, int64(seconds*float64(time.Second)))
}

// Next fills e with the next event; false after the end, when every outcome due
// before it has come too. e's slices are reused.
func (s *Stream) Next(e *event.Event) bool {
	for {
		m := s.earliest()
		if len(s.pending) > 0 && s.pending[0].at <= m.next {
			o := s.pending.pop()
			if o.at >= s.end {
				return false
			}
			o.fill(e)
			s.events++
			return true
		}
		if m.next >= s.end {
			return false
		}
		at := m.next
		m.next += m.gap()
		silent := m.predict(e, at, at-s.start, true)
		if silent {
			continue
		}
		s.outcomes(m, e)
		s.events++
		return true
	}
}

func (s *Stream) earliest() *modelStream {
	first := s.models[0]
	for _, m := range s.models[1:] {
		if m.next < first.next {
			first = m
		}
	}
	return first
}

// Events returns the number of events made so far.
func (s *Stream) Events() uint64 { return s.events }

// Scenario returns what the stream plays.
func (s *Stream) Scenario() *Scenario { return &s.scenario }

// Elapsed returns how far into the scenario a time is.
func (s *Stream) Elapsed(t time.Time) time.Duration { return t.Sub(s.scenario.Start) }

// Rollback routes the traffic of version from to version to, for predictions from
// the time at on: what a router does when it obeys a rollback signal. Outcomes of
// earlier predictions still come. late reports that the stream has already passed
// at, so that some predictions went the old way: a caller who needs the same
// events on every run must call before the stream gets there.
func (s *Stream) Rollback(model, from, to string, at time.Time) (late bool, err error) {
	for _, m := range s.models {
		if m.spec.Name != model {
			continue
		}
		i, j := m.version(from), m.version(to)
		if i < 0 || j < 0 || i == j {
			return false, fmt.Errorf("rollback of %s from %q to %q: no such pair of versions", model, from, to)
		}
		m.routes = append(m.routes, route{from: i, to: j, at: at.UnixNano(), until: math.MaxInt64})
		return m.next > at.UnixNano(), nil
	}
	return false, fmt.Errorf("rollback: no model %q", model)
}

// Resume gives a version that was rolled back its own traffic again from the time
// at on, as when a fixed canary is released once more. late is as in Rollback.
func (s *Stream) Resume(model, version string, at time.Time) (late bool, err error) {
	for _, m := range s.models {
		if m.spec.Name != model {
			continue
		}
		i, found := m.version(version), false
		for k := range m.routes {
			if r := &m.routes[k]; r.from == i && r.until == math.MaxInt64 {
				r.until, found = at.UnixNano(), true
			}
		}
		if !found {
			return false, fmt.Errorf("resume %s %q: it was not rolled back", model, version)
		}
		return m.next > at.UnixNano(), nil
	}
	return false, fmt.Errorf("resume: no model %q", model)
}

func (m *modelStream) version(name string) int {
	for i, v := range m.versions {
		if v.Name == name {
			return i
		}
	}
	return -1
}

// routed follows the routes in the order in which they were made, each once.
func (m *modelStream) routed(v int, at int64) int {
	for _, r := range m.routes {
		if r.at <= at && at < r.until && r.from == v {
			v = r.to
		}
	}
	return v
}

// Reference yields n predictions of the model's primary version (the first
// version, if none is primary) from before the start: no injections, no errors,
// at the model's rate, in time order. They share no chance with the stream. The
// event is reused.
func (s *Stream) Reference(model string, n int) iter.Seq[*event.Event] {
	return func(yield func(*event.Event) bool) {
		spec := s.scenario.Model(model)
		if spec == nil {
			return
		}
		quiet := *spec
		quiet.Even, quiet.Versions = true, []Version{primary(spec.Versions)}
		quiet.Versions[0].ErrorRate = 0
		m := newModelStream(&quiet, s.seed^0x9e3779b97f4a7c15, nil)
		var e event.Event
		at := s.start - int64(n)*m.gap()
		for range n {
			m.predict(&e, at, -1, false)
			if !yield(&e) {
				return
			}
			at += m.gap()
		}
	}
}

func primary(versions []Version) Version {
	for _, v := range versions {
		if v.Variant == event.Primary {
			return v
		}
	}
	return versions[0]
}

// id is the model's name and a number: unique in the stream, or in the reference.
func (m *modelStream) id(live bool) string {
	m.seq++
	b := make([]byte, 0, len(m.spec.Name)+16)
	b = append(b, m.spec.Name...)
	if !live {
		b = append(b, "-ref"...)
	}
	b = append(b, '-')
	for pad := uint64(1_000_000); pad > m.seq && pad > 1; pad /= 10 {
		b = append(b, '0')
	}
	return string(strconv.AppendUint(b, m.seq, 10))
}
