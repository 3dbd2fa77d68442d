package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stream"
)

const (
	fleetRing      = 4096 // distinct sets of values
	fleetReference = 3000 // rows of a baseline
	fleetBatch     = 64   // messages
)

// fleetStart is where the event time of the traffic begins, but for a full store: that
// is of now.
var fleetStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A fleetTraffic makes the events of a fleet: models take turns, and so do the
// versions of each, at even distances. Every feature is normal.
type fleetTraffic struct {
	fleetOptions
	start time.Time
	names []string // of features
	ring  [][]byte // what stands behind the version in a message
	seed  uint64
}

func newFleetTraffic(o fleetOptions) *fleetTraffic {
	t := &fleetTraffic{fleetOptions: o, start: fleetStart, seed: 1}
	if o.full {
		t.start = time.Now().UTC().Add(-o.length - o.steady).Truncate(time.Hour)
	}
	for i := range o.features {
		t.names = append(t.names, fmt.Sprintf("feature_%03d", i))
	}
	r := rand.New(rand.NewPCG(t.seed, 0))
	for range fleetRing {
		t.ring = append(t.ring, t.body(r))
	}
	return t
}

// body makes the part of an event that is values.
func (t *fleetTraffic) body(r *rand.Rand) []byte {
	number := func(b []byte, x float64) []byte { return strconv.AppendFloat(b, x, 'g', 7, 64) }
	b := []byte(`,"features":{`)
	for i, name := range t.names {
		if i > 0 {
			b = append(b, ',')
		}
		b = number(append(strconv.AppendQuote(b, name), ':'), r.NormFloat64())
	}
	b = number(append(b, `},"prediction":`...), r.Float64())
	b = number(append(b, `,"confidence":`...), r.Float64())
	return append(number(append(b, `,"latency_ms":`...), 10*r.ExpFloat64()), '}')
}

func (t *fleetTraffic) model(i int) string { return fmt.Sprintf("model-%03d", i) }

// backlog is how many events are read as fast as possible, count how many there are.
func (t *fleetTraffic) backlog() int { return int(t.events * t.length.Seconds()) }
func (t *fleetTraffic) count() int   { return t.backlog() + int(t.events*t.steady.Seconds()) }

// at is when event i happens.
func (t *fleetTraffic) at(i int) time.Time {
	return t.start.Add(time.Duration(float64(i) / t.events * float64(time.Second)))
}

func (t *fleetTraffic) group(i int) int { return i / t.models % t.groups }

func (t *fleetTraffic) version(i int) string { return strconv.Itoa(1 + t.group(i)) }

// append writes event i.
func (t *fleetTraffic) append(b []byte, i int) []byte {
	b = fmt.Appendf(b, `{"id":"e-%012d","time":%q,"model":%q,"model_version":%q`, i, t.at(i).Format("2006-01-02T15:04:05.000Z"), t.model(i%t.models), t.version(i))
	if t.group(i) > 0 {
		b = append(b, `,"variant":"canary"`...)
	}
	// A step that is odd meets every set of the ring; one ring a model and version.
	return append(b, t.ring[(uint64(i/t.models)*1597+uint64(i%t.models)*7919)%fleetRing]...)
}

// baseline makes the reference of a model, of values that the traffic does not
// hold but of the same laws.
func (t *fleetTraffic) baseline(model int) (*drift.Baseline, error) {
	b := drift.NewBuilder(drift.BuilderOptions{Model: t.model(model)})
	decoder := event.NewDecoder(nil, event.DefaultLimits)
	r := rand.New(rand.NewPCG(t.seed, uint64(1+model)))
	var batch event.Batch
	for i := range fleetReference {
		batch.Reset()
		body := append(fmt.Appendf(nil, `{"id":"r-%d","model":%q`, i, t.model(model)), t.body(r)...)
		if reject := decoder.Decode(&batch, event.Prediction, "", body); reject != nil {
			return nil, fmt.Errorf("reference row of %s: %s", t.model(model), reject.Detail)
		}
		b.Add(&batch.Events[0])
	}
	return b.Build(drift.Approved, drift.Origin{Kind: "import", Source: "bench", Rows: b.Rows()}), nil
}

// A fleetSource is the traffic as a stream.
type fleetSource struct {
	*fleetTraffic
	start  chan struct{} // closed by the bench
	caught chan struct{} // closed when the backlog was taken
	done   chan struct{} // closed when the last message was taken
	tell   func(events int)
}

// Run implements daemon.Source.
func (s *fleetSource) Run(ctx context.Context, from stream.Anchor, out chan<- *stream.Batch) error {
	select {
	case <-s.start:
	case <-ctx.Done():
		return nil
	}
	i := int(from.Seq)
	for i < s.backlog() && ctx.Err() == nil {
		i = s.send(ctx, out, i, min(s.backlog(), i+fleetBatch))
	}
	awaitTaken(ctx, out)
	close(s.caught)
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	for began := time.Now(); i < s.count() && ctx.Err() == nil; <-pace.C {
		due := s.backlog() + int(s.events*time.Since(began).Seconds())
		i = s.send(ctx, out, i, min(s.count(), max(i, due)))
	}
	awaitTaken(ctx, out)
	close(s.done)
	<-ctx.Done()
	return nil
}

// send hands over events [i, to) and returns to.
func (s *fleetSource) send(ctx context.Context, out chan<- *stream.Batch, i, to int) int {
	b := &stream.Batch{Anchor: stream.Anchor{Stream: "ML", Created: s.fleetTraffic.start, Seq: uint64(i)}}
	for ; i < to; i++ {
		m := stream.Message{Seq: uint64(i + 1), Time: s.at(i).UnixNano(), Subject: "ml.predictions." + s.model(i%s.models) + "." + s.version(i), Data: s.append(nil, i)}
		b.Messages = append(b.Messages, m)
		b.Anchor.Seq, b.Anchor.Time = m.Seq, m.Time
	}
	if len(b.Messages) > 0 {
		select {
		case out <- b:
			s.tell(to)
		case <-ctx.Done():
		}
	}
	return to
}

// awaitTaken waits until the loop has taken every batch. What it took it applies
// before it looks up again.
func awaitTaken(ctx context.Context, out chan<- *stream.Batch) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(out) > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
