package drift

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// An Outcome says what became of one decoded event. Every event has exactly one.
type Outcome uint8

// The outcomes of events, by contract.md section 5.
const (
	Counted Outcome = iota
	Duplicate
	Late
	Future
	Unconfigured
	OverLimit
)

// String returns the outcome's name in metrics.
func (o Outcome) String() string {
	return [...]string{"counted", "duplicate", "late", "future", "unconfigured", "limit"}[o]
}

// A Position is a message's place in the stream.
type Position struct {
	Seq  uint64
	Time int64 // JetStream timestamp, Unix nanoseconds
}

// A Closing is what one step of a model's watermark closed: the windows of one
// size that end at one instant. Windows is empty when no group had an event,
// which says nothing when it is Incomplete: messages of its time may be lost.
type Closing struct {
	Model   string
	Size    time.Duration
	Start   time.Time
	End     time.Time
	Seq     uint64    // the message that moved the watermark
	Windows []*Window // ascending by Group

	Incomplete bool
}

// Total returns the window of the whole model: the sum of every version and
// variant but shadows. The error is a defect: counts that do not fit their edges.
func (c *Closing) Total() (*Window, error) {
	total := &Window{Group: Group{Model: c.Model}, Start: c.Start, End: c.End, State: Closed}
	if c.Incomplete {
		total.State = Incomplete
	}
	for _, w := range c.Windows {
		if w.Group.Segment == "" && w.Group.Variant != event.Shadow {
			if err := Merge(total, w); err != nil {
				return nil, fmt.Errorf("sum of model %s: %w", c.Model, err)
			}
		}
	}
	return total, nil
}

// An Engine counts events in panes and closes windows. It is not safe for
// concurrent use: the daemon's loop owns it.
type Engine struct {
	spec    Spec
	spans   []span
	models  map[string]*model
	names   []string // of models, ascending
	last    *model   // of the last event: most messages come in runs
	seen    *Seen
	learned int64 // bytes held by the samples of all models
	grown   int   // see Grown
	tick    int64 // JetStream second at which idle models were looked at last, see Tick

	room     scratch   // of the windows that Dirty gives
	panes    []*Window // closed since the last Drain
	hours    []*Window
	closings []Closing
	frozen   []*Baseline
	err      error // a window could not be summed: a defect of ours
}

// NewEngine returns an engine without models. The Spec must be valid.
func NewEngine(spec Spec) *Engine {
	return &Engine{spec: spec, spans: spec.spans(), models: map[string]*model{}, seen: NewSeen(spec.DedupIDs)}
}

// Add counts one event of the message at pos and says what became of it. An
// event without a time takes the message's.
func (g *Engine) Add(e *event.Event, pos Position) Outcome {
	if e.Kind == event.KPI && e.Model == "" {
		return g.once(e)
	}
	m, outcome := g.model(e.Model)
	if m == nil {
		return outcome
	}
	at := cmp.Or(e.Time, pos.Time, 1) // 0 stands for no time; nothing real happened at the epoch
	if at > pos.Time+int64(g.spec.MaxFutureSkew) {
		return Future
	}
	if e.Kind != event.Prediction {
		if outcome = g.once(e); outcome == Counted && e.Kind == event.Outcome && e.Name == "label" {
			m.labels(e.Key())
		}
		return outcome
	}
	key := e.Key()
	if key != 0 && g.seen.Has(key) {
		return Duplicate
	}
	g.begin(m, at, pos)
	if at < m.closed {
		return Late
	}
	if key != 0 {
		g.seen.Insert(key)
	}
	m.count(e, at, key, pos, int64(g.spec.Pane))
	m.lastMessage, m.lastSeq = pos.Time, pos.Seq
	if at > m.maxTime {
		m.maxTime = at
		g.advance(m, at-int64(g.spec.Lateness), pos.Seq)
	}
	if m.sample != nil {
		g.learn(m, e, at, key)
	}
	return Counted
}

// begin sets a model's watermark by its first event.
func (g *Engine) begin(m *model, at int64, pos Position) {
	if m.started != 0 {
		return
	}
	m.started, m.since, m.sinceSeq = at, at, pos.Seq
	m.maxTime, m.watermark = at, at-int64(g.spec.Lateness)
	g.align(m)
}

// align sets what follows from a model's watermark.
func (g *Engine) align(m *model) {
	m.closed = floor(m.watermark, int64(g.spec.Pane))
	m.next = make([]int64, len(g.spans))
	for i, s := range g.spans {
		m.next[i] = floor(m.closed, s.length) + s.length
	}
}

// once counts an event that belongs to no window, unless it was seen before.
func (g *Engine) once(e *event.Event) Outcome {
	key := e.Key()
	if key == 0 {
		return Counted
	}
	if g.seen.Has(key) {
		return Duplicate
	}
	g.seen.Insert(key)
	return Counted
}

// Tick lets time pass for models that get no messages: the watermark of a model
// that has been idle for longer than the lateness moves on with the stream's own
// clock, from where its events left it. Call it with every message, before Add.
//
// It goes by whole seconds and whole panes, so that what it does depends on the
// second and on the models alone: a restart in the middle of a second changes
// nothing, and a model that waits is not written again at every second.
func (g *Engine) Tick(pos Position) {
	for range g.Elapse(pos) { // moving on is all there is to do
	}
}

// Elapse is Tick, one model after the other: it yields the name of each of which
// something has closed, for the caller to Drain, since the windows of many idle
// models may be more than one transaction takes. A loop that is broken off is done
// again by the next Tick, and the models that have moved stay where they are.
func (g *Engine) Elapse(pos Position) iter.Seq[string] {
	return func(yield func(model string) bool) {
		second := floor(pos.Time, int64(time.Second))
		if second == g.tick {
			return
		}
		for _, name := range g.names {
			m := g.models[name]
			idle := second - m.lastMessage
			if m.started == 0 || idle <= int64(max(g.spec.Lateness, g.spec.Pane)) {
				continue
			}
			g.advance(m, floor(m.maxTime+idle-int64(g.spec.Lateness), int64(g.spec.Pane)), pos.Seq)
			if g.Pending() && !yield(name) {
				return
			}
		}
		g.tick = second
	}
}

// model returns the model of an event; without one it says why.
func (g *Engine) model(name string) (*model, Outcome) {
	if g.last != nil && g.last.name == name {
		return g.last, Counted
	}
	m := g.models[name]
	if m == nil {
		spec, ok := g.spec.model(name)
		if !ok {
			return nil, Unconfigured
		}
		if len(g.models) >= g.spec.Limits.Models {
			return nil, OverLimit
		}
		m = g.newModel(strings.Clone(name), spec)
	}
	g.last = m
	return m, Counted
}

// Names returns the names of the models, ascending. The slice is the engine's.
func (g *Engine) Names() []string { return g.names }

func (g *Engine) newModel(name string, spec ModelSpec) *model {
	m := newModel(name, spec, &g.spec.Limits, &g.grown)
	m.sample = newSample()
	g.models[name] = m
	i, _ := slices.BinarySearch(g.names, name)
	g.names = slices.Insert(g.names, i, name)
	return m
}

// Gap marks every pane that is open as incomplete, and every window from there to
// the next step of the model's watermark: messages are known to be lost around the
// stream's present. A rule never fires on an incomplete window, and a model of
// which nothing came in that time is not silent. Of panes it is the model's state
// that says so to a restart: to write all of them at once may be more than a
// transaction takes.
func (g *Engine) Gap() {
	for range g.Lose() { // marking is all there is to do
	}
}

// Lose is Gap, one model after the other: it yields the name of each, since the
// states of all of them may be more than one transaction takes. Doing it again
// changes nothing.
func (g *Engine) Lose() iter.Seq[string] {
	return func(yield func(model string) bool) {
		for _, name := range g.names {
			g.models[name].lose()
			if !yield(name) {
				return
			}
		}
	}
}

// lose marks what may lack messages.
func (m *model) lose() {
	for _, grp := range m.groups {
		for _, p := range grp.panes {
			p.incomplete = true
		}
	}
	if m.started != 0 && !m.gap && m.gapTo < m.closed {
		m.gapFrom = m.closed // else the new gap goes on where the last one has not closed yet
	}
	m.gapTo = max(m.gapTo, m.maxTime)
	m.gap = true
	m.touch()
}

// A Drained is what the engine has produced since the last Drain.
type Drained struct {
	Panes    []*Window // closed, in the order of closing
	Hours    []*Window // hourly rollups
	Closings []Closing // ascending by (message, window end, size, model)
	Frozen   []*Baseline
}

// Drain returns and forgets what was closed. The error is a defect: windows of
// one model that cannot be added.
func (g *Engine) Drain() (Drained, error) {
	slices.SortStableFunc(g.closings, func(a, b Closing) int { // one tick closes windows of many models
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), a.End.Compare(b.End), cmp.Compare(a.Size, b.Size), strings.Compare(a.Model, b.Model))
	})
	d := Drained{g.panes, g.hours, g.closings, g.frozen}
	g.panes, g.hours, g.closings, g.frozen = nil, nil, nil, nil
	return d, g.err
}

// Pending reports whether Drain has something to give.
func (g *Engine) Pending() bool {
	return len(g.panes)+len(g.hours)+len(g.closings)+len(g.frozen) > 0 || g.err != nil
}

// Grown is never less than DirtyBytes, and costs nothing: it counts what events
// could have added since Dirty or DirtyBytes was called last. Look at DirtyBytes
// when it says that there may be too much.
func (g *Engine) Grown() int { return g.grown }

// DirtyBytes bounds the bytes that the next call of Dirty gives to the store. It
// looks at every signal of every changed pane: ask now and then, not always.
func (g *Engine) DirtyBytes() int {
	const row = 3 // the length before a row
	n := g.seen.dirtyBytes()
	for _, m := range g.models {
		for _, grp := range m.groups {
			for _, p := range grp.panes {
				if p.dirty {
					n += p.bytes(grp.Group)
				}
			}
		}
		if m.dirty {
			n += m.stateBytes()
		}
		m.weighed = m.dirty
		if s := m.sample; s != nil {
			n += s.unsaved + row*(len(s.rows)-s.saved)
		}
	}
	g.grown = n
	return n
}

// stateBytes bounds the JSON of the model's state.
func (m *model) stateBytes() int {
	const model = 1400
	n := model + 12*len(m.name) + m.signals.bytes
	for _, grp := range m.groups {
		n += memberBytes(grp.Group)
	}
	return n
}

// memberBytes bounds the JSON of a group in its model's state.
func memberBytes(g Group) int { return 200 + 6*(len(g.Model)+len(g.Version)+len(g.Segment)) }

// chunkBytes is less than what the store puts under one key.
const chunkBytes = 32 << 10

// bytes bounds what a pane takes in the store, with a key for each chunk.
func (p *pane) bytes(g Group) int {
	size := p.size()
	return size + (1+size/chunkBytes)*(2*(len(g.Model)+len(g.Version)+len(g.Segment))+64)
}

// What an event adds to Grown beside its values: its identity, its share of the
// chunk that holds it, and once for a pane what does not depend on values.
const (
	grownEvent = 64
	grownPane  = 512
)

// Dirty yields the state changed since the last call: open panes, models and
// chunks of the duplicate table and of learning samples.
func (g *Engine) Dirty(to DirtySink) {
	g.grown = 8 * seenChunk // a chunk is written whole for its first new id
	for _, name := range g.names {
		m := g.models[name]
		for _, grp := range m.groups {
			for _, p := range grp.panes {
				if p.dirty {
					to.Open(p.window(grp.Group, p.start, p.start+int64(g.spec.Pane), &g.room))
					p.dirty = false
				}
			}
		}
		if m.sample != nil { // before the model, whose state numbers the chunks
			m.sample.dirtyChunks(func(n int, chunk []byte) { to.Sample(name, n, chunk) })
		}
		if m.dirty {
			to.Model(m.state())
			m.dirty, m.weighed = false, false
		}
	}
	g.seen.Dirty(to.Seen)
}

// A DirtySink takes what a checkpoint must keep. Nil functions are not allowed.
type DirtySink struct {
	Open   func(*Window) // which is valid until it returns
	Model  func(ModelState)
	Sample func(model string, n int, chunk []byte)
	Seen   func(slot int, chunk []uint64)
}

// Models returns the state of every model, ascending by name.
func (g *Engine) Models() []ModelState {
	out := make([]ModelState, 0, len(g.names))
	for _, name := range g.names {
		out = append(out, g.models[name].state())
	}
	return out
}

// Watermark returns a model's watermark, zero if it is unknown.
func (g *Engine) Watermark(model string) time.Time {
	if m := g.models[model]; m != nil {
		return clock(m.watermark)
	}
	return time.Time{}
}
