package api

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// ingestBounds are the buckets of driftd_ingest_duration_seconds; nothing takes
// longer than a second.
var ingestBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1}

// An inlet bounds and counts what comes in over HTTP. It is safe for concurrent
// use.
type inlet struct {
	limits   ingestLimits
	options  *Ingest      // nil: nothing comes in
	bytes    atomic.Int64 // of bodies without an answer
	requests atomic.Int64 // without an answer
	duration *Histogram

	mu      sync.Mutex // guards the rest
	readers chan *ingestReader
	answers map[ingestWay]uint64
	events  map[ingestFate]uint64
	reasons map[event.Reason]uint64
}

type ingestWay struct{ way, code string }

type ingestFate struct {
	kind event.Kind
	fate string
}

func newInlet(o *Ingest, limits ingestLimits) *inlet {
	in := &inlet{
		options: o, limits: limits, duration: NewHistogram("driftd_ingest_duration_seconds", ingestBounds...),
		answers: map[ingestWay]uint64{}, events: map[ingestFate]uint64{}, reasons: map[event.Reason]uint64{},
	}
	if o != nil {
		in.use(o.Decoders)
	}
	return in
}

// use reads what comes in from now on with other decoders.
func (in *inlet) use(decoders []*event.Decoder) {
	readers := make(chan *ingestReader, len(decoders))
	for _, d := range decoders {
		readers <- &ingestReader{Decoder: d, subjects: in.options.Subjects, maxBytes: in.options.Publisher.MaxBytes}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.readers = readers
}

// decoders returns the readers that are free, and where a reader goes back to.
func (in *inlet) decoders() chan *ingestReader {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.readers
}

// admit reserves memory for a body, of at most limits.body where its length is
// not known (-1), and for what a zipped one unpacks to, or refuses at once.
func (in *inlet) admit(length int64, zipped bool) (release func(), err error) {
	if length < 0 {
		length = in.limits.body
	}
	if zipped {
		length += in.limits.body
	}
	release = func() {
		in.bytes.Add(-length)
		in.requests.Add(-1)
	}
	bytes, requests := in.bytes.Add(length), in.requests.Add(1)
	if bytes > in.limits.inFlight || requests > int64(in.limits.requests) {
		release()
		return nil, ErrBusy
	}
	return release, nil
}

func (in *inlet) answered(way string, status int, took time.Duration) {
	in.duration.Update(took.Seconds())
	in.mu.Lock()
	defer in.mu.Unlock()
	in.answers[ingestWay{way, strconv.Itoa(status)}]++
}

func (in *inlet) rejected(f *finding) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, r := range f.refused {
		in.reasons[r.Reason]++
	}
}

func (in *inlet) stored(f *finding, duplicates []int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i, n := range f.events {
		in.events[ingestFate{f.kinds[i], "stored"}] += uint64(n)
	}
	for _, i := range duplicates {
		in.events[ingestFate{f.kinds[i], "stored"}] -= uint64(f.events[i])
		in.events[ingestFate{f.kinds[i], "duplicate"}] += uint64(f.events[i])
	}
}

func ingestFamilies() []Family {
	return []Family{
		{
			Name: "driftd_ingest_requests_total", Type: "counter", Help: "Requests with events, by the last element of their path and the status of the answer.", Labels: []string{"way", "code"},
			series: func(s *scrape, emit emitter) {
				in := s.server.inlet
				in.mu.Lock()
				defer in.mu.Unlock()
				for _, k := range sortedKeys(in.answers, func(k ingestWay) string { return k.way + k.code }) {
					emit(float64(in.answers[k]), k.way, k.code)
				}
			},
		},
		{
			Name: "driftd_ingest_events_total", Type: "counter", Help: "Events over HTTP that the stream acknowledged, by kind; duplicate ones it had already.", Labels: []string{"kind", "outcome"},
			series: func(s *scrape, emit emitter) {
				in := s.server.inlet
				in.mu.Lock()
				defer in.mu.Unlock()
				for kind := event.Prediction; kind <= event.KPI; kind++ {
					for _, fate := range []string{"stored", "duplicate"} {
						emit(float64(in.events[ingestFate{kind, fate}]), kind.String(), fate)
					}
				}
			},
		},
		{
			Name: "driftd_ingest_rejected_total", Type: "counter", Help: "Events over HTTP that were refused and not stored, by reason.", Labels: []string{"reason"},
			series: func(s *scrape, emit emitter) {
				in := s.server.inlet
				in.mu.Lock()
				defer in.mu.Unlock()
				for _, r := range sortedKeys(in.reasons, func(r event.Reason) string { return string(r) }) {
					emit(float64(in.reasons[r]), string(r))
				}
			},
		},
		{
			Name: "driftd_ingest_in_flight_requests", Type: "gauge", Help: "Requests with events that have no answer yet.",
			series: single(func(s *scrape) float64 { return float64(s.server.inlet.requests.Load()) }),
		},
		{
			Name: "driftd_ingest_duration_seconds", Type: "histogram", Help: "Time from a request with events to its answer.",
			histogram: func(s *scrape) *Histogram { return s.server.inlet.duration },
		},
	}
}
