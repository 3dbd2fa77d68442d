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

type sampleRow struct {
	key  uint64
	data []byte // appendRow
}

func newSample() *sample { return &sample{threshold: math.MaxUint64} }

// learn offers an event to the model's sample and freezes a baseline when the
// sample is large and long enough.
func (g *Engine) learn(m *model, e *event.Event, at int64, key uint64) {
	s := m.sample
	if e.Variant == event.Shadow {
		return
	}
	s.seen++
	if s.from == 0 || at < s.from {
		s.from = at
	}
	s.to = max(s.to, at)
	if key <= s.threshold {
		row := sampleRow{key, appendRow(nil, key, e)}
		s.rows = append(s.rows, row)
		s.bytes += int64(len(row.data))
		s.unsaved += len(row.data)
		g.learned += int64(len(row.data))
		for len(s.rows) > g.spec.Sample.MaxRows || g.learned > g.spec.Sample.Bytes && len(s.rows) > 0 {
			g.learned -= s.halve()
		}
	}
	if s.seen >= g.spec.Sample.MinRows && s.to-s.from >= int64(g.spec.Sample.MinSpan) && len(s.rows) > 0 {
		g.freeze(m)
	}
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

// freeze makes the sample the model's baseline.
func (g *Engine) freeze(m *model) {
	s := m.sample
	b := NewBuilder(BuilderOptions{Model: m.name, Categories: g.spec.Limits.Categories, Segments: m.spec.Segments})
	var parsed row
	for _, r := range s.rows {
		if err := parseRow(r.data, &parsed); err != nil {
			g.err = fmt.Errorf("sample of model %s: %w", m.name, err)
			return
		}
		b.add(&parsed)
	}
	baseline := b.Build(Frozen, Origin{Kind: "auto", Actor: "driftd", From: clock(s.from), To: clock(s.to), Rows: uint64(len(s.rows))})
	g.learned -= s.bytes
	m.adopt(baseline)
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
	s := &sample{seen: st.Seen, threshold: st.Threshold, from: nanos(st.From), to: nanos(st.To), chunks: len(chunks)}
	for _, chunk := range chunks {
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

// A row is: key (8 bytes), then for each signal that the event gives its
// baseline name, one byte of kind (bit 7: a feature), and the value; then the
// segments behind an empty name. Texts are length-prefixed.
func appendRow(b []byte, key uint64, e *event.Event) []byte {
	b = binary.BigEndian.AppendUint64(b, key)
	eachSignal(e, func(name string, feature bool, v event.Value) {
		kind := byte(v.Kind)
		if feature {
			kind |= 0x80
		}
		b = appendText(b, name)
		b = append(b, kind)
		if v.Kind == event.Category {
			b = appendText(b, v.Str)
		} else {
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(v.Num))
		}
	})
	b = appendText(b, "")
	for _, s := range e.Segments {
		b = appendText(appendText(b, s.Name), s.Value)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
