package trial

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

// A World says how a model's features vary while nothing is wrong. Sizes are in
// standard deviations of a feature, which is normal.
type World struct {
	Name    string
	Jitter  float64 // of a window's mean, and of the logarithm of its spread
	Heavy   bool    // the jitter is Student's t with 3 degrees of freedom, of the same variance, not normal
	AR      float64 // first autocorrelation of the jitter
	Cycle   float64 // daily cycle of the mean: amplitude at most this, each feature its own
	Weekend float64 // shift of the mean at weekends, up or down
	Traffic float64 // daily cycle of the number of events, as a share
}

// Worlds returns the null worlds of statistics.md 5.3.
func Worlds() []World {
	return []World{
		{Name: "iid"},
		{Name: "over", Jitter: 0.05},
		{Name: "heavy", Jitter: 0.05, Heavy: true},
		{Name: "season", Jitter: 0.05, AR: 0.7, Cycle: 0.3, Weekend: 0.1, Traffic: 0.6},
	}
}

// shared is the part of a jitter's variance that all features have in common.
const shared = 0.3

// grid cells of 1/256 sd between -8 and 8 sd; edges lie on it, so that a value's
// bin is one look.
const (
	cellsPerSD = 256
	cells      = 16 * cellsPerSD
)

// Traffic draws the windows of one model in one world.
type Traffic struct {
	world    World
	events   int
	random   *rand.Rand
	source   *rand.PCG
	features []feature
	common   [2]float64 // jitter of mean and spread that all share
	hour     int        // windows drawn
	shape    *shape
}

type feature struct {
	name      string
	amplitude float64
	phase     float64
	weekend   float64
	own       [2]float64 // jitter of mean and spread
}

// A shape is what all features have in common: the bins of a normal value.
type shape struct {
	edges   *stats.Edges
	deciles *stats.Edges
	bin     [cells]uint16    // of a cell
	normal  [1 << 16]float64 // quantiles
}

func newShape() *shape {
	s := &shape{}
	cuts := func(parts int) *stats.Edges {
		var values []float64
		for i := 1; i < parts; i++ {
			x := math.Round(stats.NormalQuantile(float64(i)/float64(parts))*cellsPerSD) / cellsPerSD
			if len(values) == 0 || x > values[len(values)-1] {
				values = append(values, x+0)
			}
		}
		edges, err := stats.NewEdges(values)
		if err != nil {
			panic(err) // quantiles ascend
		}
		return edges
	}
	// Deciles are among the edges of 250 parts.
	s.edges, s.deciles = cuts(250), cuts(10)
	values := s.edges.Values()
	for i, bin := 0, 0; i < cells; i++ {
		at := float64(i)/cellsPerSD - 8
		for bin < len(values) && values[bin] <= at {
			bin++
		}
		s.bin[i] = uint16(bin)
	}
	for i := range s.normal {
		s.normal[i] = stats.NormalQuantile((float64(i) + 0.5) / float64(len(s.normal)))
	}
	return s
}

// NewTraffic returns the traffic of a model: windows of one hour from
// 2026-01-01T00:00Z on, with so many events each on average.
func NewTraffic(w World, features, events int, seed uint64) *Traffic {
	source := rand.NewPCG(seed, 0x7472_6961_6c)
	t := &Traffic{world: w, events: events, source: source, random: rand.New(source), shape: newShape()}
	for i := range features {
		f := feature{
			name: fmt.Sprintf("f%03d", i), amplitude: w.Cycle * t.random.Float64(),
			phase: 2 * math.Pi * t.random.Float64(), weekend: w.Weekend,
		}
		if t.random.Float64() < 0.5 {
			f.weekend = -f.weekend
		}
		t.features = append(t.features, f)
	}
	return t
}

// fork returns the same traffic with another future.
func (t *Traffic) fork(seed uint64) *Traffic {
	out := *t
	out.features = append([]feature(nil), t.features...)
	out.source = rand.NewPCG(seed, uint64(t.hour))
	out.random = rand.New(out.source)
	return &out
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Next draws the next window's counts, feature by feature; shift, which may be
// nil, moves the mean of a feature.
func (t *Traffic) Next(shift []float64) *Counts {
	w := &t.world
	start := epoch.Add(time.Duration(t.hour) * time.Hour)
	t.hour++
	day := 2 * math.Pi * float64(start.Hour()) / 24
	n := int(math.Round(float64(t.events) * (1 + w.Traffic*math.Sin(day-2))))
	out := &Counts{Start: start, Events: n, bins: t.shape.edges.Bins(), counts: make([]uint16, len(t.features)*t.shape.edges.Bins())}
	weekend := start.Weekday() == time.Saturday || start.Weekday() == time.Sunday
	t.move(&t.common)
	for i := range t.features {
		f := &t.features[i]
		t.move(&f.own)
		mean := f.amplitude*math.Sin(day+f.phase) + t.jitter(f, 0)
		if weekend {
			mean += f.weekend
		}
		if shift != nil {
			mean += shift[i]
		}
		t.draw(out.feature(i), n, mean, math.Exp(t.jitter(f, 1)))
	}
	return out
}

// move takes one step of a jitter whose variance stays what it is.
func (t *Traffic) move(j *[2]float64) {
	if t.world.Jitter == 0 {
		return
	}
	fresh := math.Sqrt(1 - t.world.AR*t.world.AR)
	for k := range j {
		j[k] = t.world.AR*j[k] + fresh*t.noise()
	}
}

func (t *Traffic) jitter(f *feature, k int) float64 {
	return t.world.Jitter * (math.Sqrt(shared)*t.common[k] + math.Sqrt(1-shared)*f.own[k])
}

// noise is a standard normal, or Student's t with 3 degrees of freedom scaled to
// the same variance: a normal over the root of a chi-square.
func (t *Traffic) noise() float64 {
	z := t.random.NormFloat64()
	if !t.world.Heavy {
		return z
	}
	a, b, c := t.random.NormFloat64(), t.random.NormFloat64(), t.random.NormFloat64()
	return z / math.Sqrt(a*a+b*b+c*c)
}

// draw counts n normal values: four to a random word.
func (t *Traffic) draw(counts []uint16, n int, mean, sd float64) {
	offset, word := (mean+8)*cellsPerSD, uint64(0)
	sd *= cellsPerSD
	for i := range n {
		if i%4 == 0 {
			word = t.source.Uint64()
		}
		cell := int(offset + sd*t.shape.normal[word&0xffff])
		word >>= 16
		counts[t.shape.bin[min(max(cell, 0), cells-1)]]++
	}
}

// Counts is one window, compact: 200 features are 100 kB.
type Counts struct {
	Start  time.Time
	Events int
	bins   int
	counts []uint16
}

func (c *Counts) feature(i int) []uint16 { return c.counts[i*c.bins : (i+1)*c.bins] }

// Window returns the sum of consecutive windows as package drift has it.
func (t *Traffic) Window(sum ...*Counts) *drift.Window {
	last := sum[len(sum)-1]
	w := &drift.Window{Group: drift.Group{Model: "trial"}, Start: sum[0].Start, End: last.Start.Add(time.Hour), State: drift.Closed}
	for _, c := range sum {
		w.Events += uint64(c.Events)
	}
	for i := range t.features {
		h := stats.NewNumeric(t.shape.edges)
		for _, c := range sum {
			for bin, n := range c.feature(i) {
				h.Counts[bin] += uint64(n)
			}
		}
		// What is known of normal values; nothing that decides reads it.
		h.Moments = stats.Moments{N: w.Events, Min: -8, Max: 8, M2: float64(w.Events)}
		w.Signals = append(w.Signals, drift.Signal{Name: t.features[i].name, Type: drift.Numeric, Numeric: h})
	}
	return w
}

// Reference returns windows as a baseline's whole.
func (t *Traffic) Reference(sum ...*Counts) *drift.Part {
	w := t.Window(sum...)
	p := &drift.Part{Rows: w.Events}
	for _, s := range w.Signals {
		p.Signals = append(p.Signals, drift.Reference{Signal: s, PSI: t.shape.deciles, Feature: true})
	}
	return p
}
