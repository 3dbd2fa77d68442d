package event

import (
	"math"
	"strings"
)

// JoinLimits bound what a Joiner holds. Zero fields take their default.
type JoinLimits struct {
	Wait  int64 // nanoseconds of stream time which a half waits for the other
	Parts int   // halves held, a row being one
	Bytes int   // of them, about as much as AppendState writes
}

// DefaultJoinLimits wait a minute for up to 16,384 halves or 2 MiB.
var DefaultJoinLimits = JoinLimits{Wait: 60e9, Parts: 16384, Bytes: 2 << 20}

// JoinStats count what became of halves. Received = 2*Joined + Duplicate +
// ExpiredRequests + ExpiredResponses + OverflowRequests + OverflowResponses +
// Waiting.
type JoinStats struct {
	Received          uint64
	Joined            uint64 // predictions made of two halves
	Duplicate         uint64 // the same half again while the first waits: dropped
	ExpiredRequests   uint64 // no response in time: features only
	ExpiredResponses  uint64 // no request in time: prediction only
	OverflowRequests  uint64 // given up before their time because of a limit
	OverflowResponses uint64
	Waiting           uint64 // held now
	Bytes             uint64 // held now
}

// Joiner makes predictions of requests and responses which share model, id and
// row, in whatever order they come. It is a pure function of the halves and the
// stream times given to it, bounded, and belongs to one goroutine.
//
// A half whose time is up, or which is the oldest when a limit is reached, is
// released as it is: a request as a prediction with features and without an
// answer, a response as one without features. The other half, should it come
// after all, waits and is released in turn, and has the same identity: who
// looks for duplicates counts a prediction once, with what came first.
type Joiner struct {
	limits JoinLimits
	clock  int64 // the latest stream time seen
	parts  map[partKey]*heldPart
	queue  []*heldPart // in order of arrival; joined ones stay until they are first
	head   int
	stats  JoinStats

	scratch []byte
}

type partKey struct {
	model, id string
	row       int32
}

// heldPart is a half, packed so that it does not keep its message alive. Shapes
// are shared with its producer's, which consumers know by pointer.
type heldPart struct {
	key              partKey
	part             Part
	arrival          int64
	features, scores *Shape
	packed           string
	gone             bool
}

// partCost is what a half costs beside its packed fields.
const partCost = 200

func (h *heldPart) size() int {
	n := partCost + len(h.packed)
	for _, s := range []*Shape{h.features, h.scores} {
		if s != nil && s.Transient {
			for _, name := range s.Names {
				n += len(name) + 16
			}
		}
	}
	return n
}

// NewJoiner returns an empty Joiner.
func NewJoiner(l JoinLimits) *Joiner {
	if l.Wait <= 0 {
		l.Wait = DefaultJoinLimits.Wait
	}
	if l.Parts <= 0 {
		l.Parts = DefaultJoinLimits.Parts
	}
	if l.Bytes <= 0 {
		l.Bytes = DefaultJoinLimits.Bytes
	}
	return &Joiner{limits: l, parts: map[partKey]*heldPart{}}
}

// Stats returns the counts so far.
func (j *Joiner) Stats() JoinStats { return j.stats }

// Join replaces the halves among b.Events[from:], which came at a stream time
// (Unix nanoseconds of JetStream; it never runs backwards here), by what they
// complete: a first half leaves the batch and waits, the second becomes the
// prediction. Whole events stay in place. Halves which this made expire or
// overflow are appended. It returns the number of events appended.
//
// A prediction takes features from the request; answers from the response; and
// version, variant, time and the rest from the request unless it lacks them,
// save that the response's version and variant go first: it is the server's own
// word. A half without a time has the stream time it arrived at.
func (j *Joiner) Join(b *Batch, from int, at int64) (released int) {
	j.clock = max(j.clock, at)
	kept := from
	for i := from; i < len(b.Events); i++ {
		e := &b.Events[i]
		if e.Part != Whole && !j.half(b, e) {
			continue
		}
		if kept != i {
			b.Events[kept] = *e
		}
		kept++
	}
	clear(b.Events[kept:])
	b.Events = b.Events[:kept]
	j.expire(b)
	return len(b.Events) - kept
}

// half takes a half; true: it is now the whole.
func (j *Joiner) half(b *Batch, e *Event) bool {
	j.stats.Received++
	if e.Time == 0 {
		e.Time = j.clock
	}
	h, ok := j.parts[partKey{e.Model, e.ID, e.Row}]
	switch {
	case !ok:
		j.hold(e)
		return false
	case h.part == e.Part:
		j.stats.Duplicate++
		return false
	}
	j.drop(h)
	j.stats.Joined++
	other := h.unpack(b)
	if e.Part == Request {
		*e = merge(*e, other)
	} else {
		*e = merge(other, *e)
	}
	return true
}

// hold keeps a first half.
func (j *Joiner) hold(e *Event) {
	h := &heldPart{part: e.Part, arrival: j.clock, features: e.Features, scores: e.Scores}
	j.scratch = packPart(j.scratch[:0], e)
	h.packed = string(j.scratch)
	h.key = partKey{strings.Clone(e.Model), strings.Clone(e.ID), e.Row}
	j.add(h)
}

func (j *Joiner) add(h *heldPart) {
	j.parts[h.key] = h
	j.queue = append(j.queue, h)
	j.stats.Waiting++
	j.stats.Bytes += uint64(h.size())
}

// drop takes a half out; its place in the queue stays until it is first, but
// never more than half of the queue is such places.
func (j *Joiner) drop(h *heldPart) {
	delete(j.parts, h.key)
	h.gone = true
	j.stats.Waiting--
	j.stats.Bytes -= uint64(h.size())
	if len(j.queue) < 64 || len(j.queue) < 2*len(j.parts) {
		return
	}
	live := j.queue[:0]
	for _, q := range j.queue[j.head:] {
		if !q.gone {
			live = append(live, q)
		}
	}
	clear(j.queue[len(live):])
	j.queue, j.head = live, 0
}

// expire releases halves whose time is up, and the oldest above a limit.
func (j *Joiner) expire(b *Batch) {
	for j.head < len(j.queue) {
		h := j.queue[j.head]
		late := h.arrival <= j.clock-j.limits.Wait
		full := len(j.parts) > j.limits.Parts || j.stats.Bytes > uint64(j.limits.Bytes)
		if !h.gone && !late && !full {
			return
		}
		j.queue[j.head] = nil
		j.head++
		if !h.gone {
			j.count(h.part, late)
			j.release(b, h)
		}
	}
	j.queue, j.head = j.queue[:0], 0
}

func (j *Joiner) count(p Part, late bool) {
	switch {
	case late && p == Request:
		j.stats.ExpiredRequests++
	case late:
		j.stats.ExpiredResponses++
	case p == Request:
		j.stats.OverflowRequests++
	default:
		j.stats.OverflowResponses++
	}
}

func (j *Joiner) release(b *Batch, h *heldPart) {
	j.drop(h)
	e := h.unpack(b)
	e.Part = Whole
	b.Events = append(b.Events, e)
}

// Flush releases every half as if its time were up: at the end of a replay.
func (j *Joiner) Flush(b *Batch) (released int) {
	before := len(b.Events)
	waiting := j.queue[j.head:]
	j.queue, j.head = nil, 0
	for _, h := range waiting {
		if !h.gone {
			j.count(h.part, true)
			j.release(b, h)
		}
	}
	return len(b.Events) - before
}

// merge makes the prediction of a request and its response.
func merge(req, res Event) Event {
	e := req
	e.Part = Whole
	e.Prediction, e.Scores, e.ScoreValues = res.Prediction, res.Scores, res.ScoreValues
	e.Confidence, e.Failed, e.Error = res.Confidence, res.Failed, res.Error
	if pv := res.PredictionVector(); pv != nil {
		e.Vectors = append(e.Vectors[:len(e.Vectors):len(e.Vectors)], pv)
	}
	if res.Version != "" {
		e.Version = res.Version
	}
	if res.Variant != Primary {
		e.Variant = res.Variant
	}
	e.LatencyMS, e.Cost = known(req.LatencyMS, res.LatencyMS), known(req.Cost, res.Cost)
	e.EntityID, e.TraceID = firstOf(req.EntityID, res.EntityID), firstOf(req.TraceID, res.TraceID)
	if len(e.Segments) == 0 {
		e.Segments = res.Segments
	}
	e.UnknownFields += res.UnknownFields
	return e
}

func known(a, b float64) float64 {
	if math.IsNaN(a) {
		return b
	}
	return a
}
