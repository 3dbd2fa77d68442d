package drift

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"driftd.dev/driftd/pkg/event"
)

// sampleChunk bounds the bytes of one persisted piece of a sample.
const sampleChunk = 60 << 10

// A sample holds the events that a learning model's baseline will be made of:
// all of them while they fit, and beyond that a uniform sample. An event is
// kept if its identity, a hash, is at most the threshold; when there is no room
// left the threshold is halved and half of the rows go. So the sample depends on
// the events alone, not on chance, restarts or checkpoints.
type sample struct {
	seen      uint64
	threshold uint64
	from, to  int64
	rows      []sampleRow
	bytes     int64
	chunks    int // persisted
	unsaved   int // bytes
	saved     int // rows persisted, of those held
}

// fewest is the least that a sample may shrink to when memory is short: a
// baseline of fewer rows would call nearly every signal insufficient.
func (s *SampleSpec) fewest() int {
	const rows = 1000
	return int(max(1, min(rows, s.MinRows, uint64(s.MaxRows)/2)))
}

type sampleRow struct {
	key  uint64
	data []byte // appendRow
}

func newSample() *sample { return &sample{threshold: math.MaxUint64} }

// learn offers an event to the model's sample and freezes a baseline when the
// sample is large and long enough.
func (g *Engine) learn(m *model, e *event.Event, at int64, key uint64) {
	if e.Variant == event.Shadow || key == 0 { // without an identity it cannot be drawn
		return
	}
	s, spec := m.sample, &g.spec.Sample
	if s.seen == 0 {
		s.from, s.to = at, at
	}
	s.seen++
	s.from, s.to = min(s.from, at), max(s.to, at)
	if key <= s.threshold {
		row := appendRow(nil, key, e, &m.spec.Multivariate)
		g.grown += len(row)
		g.learned += s.add(sampleRow{key, row})
		for len(s.rows) > spec.MaxRows {
			g.learned -= s.halve()
		}
		if g.makeRoom(); m.sample != s {
			return // given up
		}
	}
	if s.seen >= spec.MinRows && s.to-s.from >= int64(spec.MinSpan) && len(s.rows) >= spec.fewest() {
		g.freeze(m)
	}
}

// makeRoom thins samples until all of them fit together: the largest of those
// that have rows to spare, and when none has, that of which the fewest events
// were seen starts anew. So those which are nearest to a baseline get it, and
// the others wait until these are done.
func (g *Engine) makeRoom() {
	for g.learned > g.spec.Sample.Bytes {
		var largest, youngest *model
		for _, name := range g.names {
			m := g.models[name]
			if m.sample == nil || len(m.sample.rows) == 0 {
				continue
			}
			if s := m.sample; len(s.rows) >= 2*g.spec.Sample.fewest() && (largest == nil || s.bytes > largest.sample.bytes) {
				largest = m
			}
			if youngest == nil || m.sample.seen < youngest.sample.seen {
				youngest = m
			}
		}
		if largest != nil {
			largest.dirty = true
			g.learned -= largest.sample.halve()
			continue
		}
		youngest.dirty = true
		g.learned -= youngest.sample.bytes
		youngest.sample = newSample()
	}
}

// add keeps a row and returns its bytes.
func (s *sample) add(r sampleRow) int64 {
	s.rows = append(s.rows, r)
	s.bytes += int64(len(r.data))
	s.unsaved += len(r.data)
	return int64(len(r.data))
}

// halve drops about half of the rows and returns the bytes freed.
func (s *sample) halve() int64 {
	before := s.bytes
	s.threshold /= 2
	kept, saved := s.rows[:0], 0
	for i, r := range s.rows {
		if r.key > s.threshold {
			s.bytes -= int64(len(r.data))
			continue
		}
		if i < s.saved {
			saved++
		}
		kept = append(kept, r)
	}
	clear(s.rows[len(kept):])
	s.rows, s.saved = kept, saved
	s.unsaved = 0
	for _, r := range kept[saved:] {
		s.unsaved += len(r.data)
	}
	return before - s.bytes
}

// freezeTies bounds the tables of ties that are drawn while the loop waits, to
// some 50 ms; see BuilderOptions.TiePoints.
const freezeTies = 512

// freeze makes the sample the model's baseline.
func (g *Engine) freeze(m *model) {
	s := m.sample
	b := NewBuilder(BuilderOptions{
		Model: m.name, Categories: g.spec.Limits.Categories, Segments: m.spec.Segments, MaxSegments: g.spec.Limits.Segments, TiePoints: freezeTies,
		Multivariate: m.spec.Multivariate,
	})
	var parsed row
	for _, r := range s.rows {
		if err := parseRow(r.data, &parsed); err != nil {
			g.err = fmt.Errorf("sample of model %s: %w", m.name, err)
			return
		}
		b.add(&parsed)
	}
	baseline := b.Build(Frozen, Origin{Kind: "auto", Actor: "driftd", From: clock(s.from), To: clock(s.to), Rows: uint64(len(s.rows))})
	g.adopt(m, baseline)
	g.frozen = append(g.frozen, baseline)
}

// dirtyChunks yields the rows not yet persisted, in numbered chunks.
func (s *sample) dirtyChunks(yield func(n int, chunk []byte)) {
	var chunk []byte
	flush := func() {
		if len(chunk) > 0 {
			yield(s.chunks, chunk)
			s.chunks++
			chunk = nil
		}
	}
	for _, r := range s.rows[s.saved:] {
		if len(chunk)+len(r.data) > sampleChunk {
			flush()
		}
		chunk = binary.AppendUvarint(chunk, uint64(len(r.data)))
		chunk = append(chunk, r.data...)
	}
	flush()
	s.saved, s.unsaved = len(s.rows), 0
}

// restoreSample rebuilds a sample from its state and chunks.
func restoreSample(st SampleState, chunks [][]byte) (*sample, error) {
	if st.Chunks > len(chunks) {
		return nil, fmt.Errorf("learning sample has %d of %d chunks", len(chunks), st.Chunks)
	}
	s := &sample{seen: st.Seen, threshold: st.Threshold, from: nanos(st.From), to: nanos(st.To), chunks: st.Chunks}
	for _, chunk := range chunks[:st.Chunks] {
		for len(chunk) > 0 {
			n, k := binary.Uvarint(chunk)
			if k <= 0 || n < 8 || n > uint64(len(chunk)-k) {
				return nil, errors.New("damaged learning sample")
			}
			data := chunk[k : k+int(n)]
			chunk = chunk[k+int(n):]
			if key := binary.BigEndian.Uint64(data); key <= s.threshold {
				s.rows = append(s.rows, sampleRow{key, data})
				s.bytes += int64(len(data))
			}
		}
	}
	s.saved = len(s.rows)
	return s, nil
}
