package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"container/heap"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"driftd.dev/driftd/pkg/dataset"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/stream"
)

// An eventSource gives the events of a file: lines as they are, or rows through
// a map. Messages that it gives are the receiver's.
type eventSource struct {
	name     string
	unit     string // of total and done
	subjects event.SubjectTemplate
	in       io.Reader      // lines of stdin; nil otherwise
	table    *dataset.Table // rows; nil for lines
	mapping  *dataset.Map
	read     int64 // lines so far
}

// A timedEvent is an event to publish with its time, and the place it came from.
type timedEvent struct {
	stream.OutgoingEvent
	time int64 // unix ns, 0 = none
}

func (e *env) openSource(o sendOptions) (*eventSource, error) {
	subjects, err := event.NewSubjectTemplate(o.subjects)
	if err != nil {
		return nil, badUsage("--subject-template %q: %w", o.subjects, err)
	}
	s := &eventSource{name: o.file, unit: "events", subjects: subjects}
	if o.mapping == "" {
		if o.file == "-" {
			s.name, s.in = "stdin", e.in
			return s, nil
		}
		_, err := os.Stat(o.file)
		return s, err
	}
	types, err := parseTypes(o.types)
	if err != nil {
		return nil, err
	}
	if s.mapping, err = dataset.ParseMap(o.mapping); err != nil {
		return nil, badUsage("--map: %w", err)
	}
	if s.mapping.Kind() != o.kind {
		return nil, badUsage("--map describes events of kind %s, but the command says send %s", s.mapping.Kind(), o.kind)
	}
	if s.table, err = dataset.Open(o.file, dataset.Limits{}); err != nil {
		return nil, err
	}
	if err = s.table.Override(types); err == nil {
		err = s.mapping.Bind(s.table.Columns())
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("%s: %w", o.file, err)
	}
	s.unit = "bytes"
	if s.table.Format() == "parquet" {
		s.unit = "rows"
	}
	return s, nil
}

func (s *eventSource) close() {
	if s.table != nil {
		_ = s.table.Close() // it was only read
	}
}

// total and done measure progress in the source's unit; 0 = unknown.
func (s *eventSource) total() (total int64) {
	if s.table != nil {
		_, total = s.table.Progress()
	}
	return total
}

func (s *eventSource) done() int64 {
	if s.table == nil {
		return s.read
	}
	done, _ := s.table.Progress()
	return done
}

// ordered gives the events to publish in their order, without those to skip.
// An error comes last.
func (s *eventSource) ordered(o sendOptions) iter.Seq2[stream.OutgoingEvent, error] {
	events, skip := s.events(o), o.skip
	if o.shuffle > 0 {
		events = shuffled(events, int64(o.shuffle), o.seed, s.name)
	}
	return func(yield func(stream.OutgoingEvent, error) bool) {
		for ev, err := range events {
			if err == nil && skip > 0 {
				skip--
				continue
			}
			if !yield(ev.OutgoingEvent, err) || err != nil {
				return
			}
		}
	}
}

func (s *eventSource) events(o sendOptions) iter.Seq2[timedEvent, error] {
	if s.table != nil {
		return s.rows(o.model)
	}
	return s.lines(o.kind)
}

// lines checks every line as the daemon would, and gives it unchanged.
func (s *eventSource) lines(kind event.Kind) iter.Seq2[timedEvent, error] {
	return func(yield func(timedEvent, error) bool) {
		checker := newLineChecker(kind, s.subjects)
		for line, err := range s.text() {
			if err != nil {
				yield(timedEvent{}, err)
				return
			}
			if s.read++; len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			data := slices.Clone(line)
			first, err := checker.check(data)
			if err != nil {
				yield(timedEvent{}, fmt.Errorf("%s:%d: %w", s.name, s.read, err))
				return
			}
			if !yield(outgoing(s.subjects, first, data, s.read), nil) {
				return
			}
		}
	}
}

// A lineChecker reads a line as the daemon would.
type lineChecker struct {
	kind    event.Kind
	decoder *event.Decoder
	batch   event.Batch
}

func newLineChecker(kind event.Kind, subjects event.SubjectTemplate) *lineChecker {
	c := &lineChecker{kind: kind, decoder: event.NewDecoder(nil, event.Limits{})}
	c.decoder.SetSubjects(subjects)
	return c
}

// check returns the first event of a line, valid until the next call, or why the
// daemon would refuse the line or a row of it.
func (c *lineChecker) check(line []byte) (*event.Event, error) {
	c.batch.Reset()
	reject := c.decoder.Decode(&c.batch, c.kind, "", line)
	if reject == nil && len(c.batch.Rejects) > 0 {
		reject = &c.batch.Rejects[0]
	}
	if reject != nil {
		return nil, fmt.Errorf("no %s: %w", c.kind, reject)
	}
	return &c.batch.Events[0], nil
}

// text yields the lines of a file or of stdin, gunzipped if need be. A line is
// valid until the next one.
func (s *eventSource) text() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		raw := s.in
		if raw == nil {
			f, err := os.Open(s.name)
			if err != nil {
				yield(nil, err)
				return
			}
			defer func() { _ = f.Close() }() // it was only read
			raw = f
		}
		in, err := gunzipped(raw)
		if err != nil {
			yield(nil, fmt.Errorf("%s: %w", s.name, err))
			return
		}
		lines := bufio.NewScanner(in)
		lines.Buffer(nil, dataset.DefaultLimits.RecordBytes)
		for lines.Scan() {
			if !yield(lines.Bytes(), nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, fmt.Errorf("%s:%d: %w", s.name, s.read+1, err))
		}
	}
}

func gunzipped(raw io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(raw, 1<<16)
	if magic, _ := in.Peek(2); string(magic) == "\x1f\x8b" { // its error comes again with the first line
		return gzip.NewReader(in)
	}
	return in, nil
}

// rows makes an event of every row.
func (s *eventSource) rows(model string) iter.Seq2[timedEvent, error] {
	return func(yield func(timedEvent, error) bool) {
		var ev event.Event
		for row, err := range s.table.All() {
			if err == nil {
				err = s.mapping.Event(row, row.N, &ev)
			}
			if err != nil {
				yield(timedEvent{}, err)
				return
			}
			ev.Model = model
			if !yield(outgoing(s.subjects, &ev, event.AppendJSON(nil, &ev), row.Line), nil) {
				return
			}
		}
	}
}

// outgoing addresses a message whose first event is ev. Events without an id are
// told apart by the number of their line, or what else tells where they stand, and
// by what they say, so that sending a file again counts them once.
func outgoing(subjects event.SubjectTemplate, ev *event.Event, data []byte, line int64) timedEvent {
	id := ev.ID
	if id == "" {
		id = strconv.FormatInt(line, 10) + "-" + strconv.FormatUint(xxhash.Sum64(data), 16)
	}
	return timedEvent{time: ev.Time, OutgoingEvent: stream.OutgoingEvent{Subject: subjects.Subject(ev), Kind: ev.Kind.String(), ID: id, Data: data}}
}

// shuffled gives events out of order: each is delayed by a random part of bound,
// so that no event comes as much as bound of event time after a later one. The
// same seed gives the same order. Events must come ordered by time, roughly: how
// far they do not is added to the bound.
func shuffled(events iter.Seq2[timedEvent, error], bound int64, seed uint64, name string) iter.Seq2[timedEvent, error] {
	return func(yield func(timedEvent, error) bool) {
		chance := rand.New(rand.NewPCG(seed, 0))
		var held delayed
		var n uint64
		for ev, err := range events {
			if err == nil && ev.time == 0 {
				err = fmt.Errorf("%s: event %d has no time, so --shuffle cannot place it", name, n+1)
			}
			if err != nil {
				yield(timedEvent{}, err)
				return
			}
			n++
			heap.Push(&held, delayedEvent{timedEvent: ev, due: ev.time + chance.Int64N(bound), n: n})
			for len(held) > 0 && held[0].due <= ev.time {
				if !yield(heap.Pop(&held).(delayedEvent).timedEvent, nil) {
					return
				}
			}
		}
		for len(held) > 0 {
			if !yield(heap.Pop(&held).(delayedEvent).timedEvent, nil) {
				return
			}
		}
	}
}

// A delayedEvent waits until event time reaches due.
type delayedEvent struct {
	timedEvent
	due int64
	n   uint64 // in the file, to order equal ones
}

// delayed is a heap of events, the next one due first.
type delayed []delayedEvent

func (d delayed) Len() int      { return len(d) }
func (d delayed) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d delayed) Less(i, j int) bool {
	return d[i].due < d[j].due || d[i].due == d[j].due && d[i].n < d[j].n
}
func (d *delayed) Push(x any) { *d = append(*d, x.(delayedEvent)) }
func (d *delayed) Pop() any {
	last := (*d)[len(*d)-1]
	(*d)[len(*d)-1] = delayedEvent{} // lets go of its data
	*d = (*d)[:len(*d)-1]
	return last
}
