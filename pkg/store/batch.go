package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/stats"
)

// Progress is the position that everything committed with it reflects, and the
// counters that must agree with it.
type Progress struct {
	Stream     string          `json:"stream"`
	Created    time.Time       `json:"created"`     // of the stream: another one means it was recreated
	Epoch      uint64          `json:"epoch"`       // counts recreations and rewinds
	FilterHash uint64          `json:"filter_hash"` // of the subjects that are read
	ConfigHash string          `json:"config_hash"`
	FirstSeq   uint64          `json:"first_seq"` // first message of the epoch that was read
	Seq        uint64          `json:"seq"`       // last message that was applied
	Time       int64           `json:"time"`      // its JetStream time, Unix nanoseconds
	Digest     uint64          `json:"digest"`    // of its content, to notice a rewind
	Chain      ledger.Chain    `json:"chain"`     // the ledger's tip
	Counters   json.RawMessage `json:"counters,omitempty"`
}

// A Batch collects what one Commit makes durable. Every Put encodes at once, so
// the caller may go on changing what it has put. The first fault of a Put
// sticks: Err tells it, and Commit returns it.
//
// A Batch belongs to one goroutine. Reset makes it empty and keeps its memory.
type Batch struct {
	store   *Store
	buf     []byte // keys and values, one after the other
	scratch []byte // the signal being encoded
	packer  packer
	ops     []op
	size    int64 // as Badger counts it
	err     error

	at, value int // of the record being written: its key and its value in buf

	opens  map[string]int  // span of an open pane -> chunks put here
	closes []string        // spans of panes closed here
	drops  [][]byte        // prefixes of keys deleted here
	refs   map[string]bool // edges and dictionaries put here
}

// An op sets the key to the value, or deletes the key if it has no value.
type op struct{ key, value, end int }

// opOverhead is what Badger counts for an entry besides key and value: two
// bytes of metadata and ten for the version.
const opOverhead = 12

// NewBatch returns an empty batch.
func (s *Store) NewBatch() *Batch {
	return &Batch{store: s, opens: map[string]int{}, refs: map[string]bool{}}
}

// Reset makes the batch empty.
func (b *Batch) Reset() {
	b.buf, b.ops, b.size, b.err = b.buf[:0], b.ops[:0], 0, nil
	b.closes, b.drops = b.closes[:0], b.drops[:0]
	clear(b.opens)
	clear(b.refs)
}

// Size returns the bytes that the batch takes of Store.CommitLimit.
func (b *Batch) Size() int64 { return b.size }

// Len returns the number of keys written or deleted.
func (b *Batch) Len() int { return len(b.ops) }

// Err returns the first fault of a Put.
func (b *Batch) Err() error { return b.err }

func (b *Batch) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// A record is written in four steps: begin, append the key to buf, payload,
// append the payload to buf, end.
func (b *Batch) begin() { b.at = len(b.buf) }

func (b *Batch) payload() {
	b.value = len(b.buf)
	b.buf = append(b.buf, make([]byte, envelopeLen)...)
}

func (b *Batch) end() {
	key, value := b.buf[b.at:b.value], b.buf[b.value:]
	if limit := b.store.opt.valueLimit(); int64(len(value)) >= limit {
		b.fail(fmt.Errorf("%w: the value of key %.200q has %d bytes, it must have less than %d", ErrTooBig, key, len(value), limit))
		b.buf = b.buf[:b.at]
		return
	}
	seal(key, value)
	b.ops = append(b.ops, op{b.at, b.value, len(b.buf)})
	b.size += int64(len(key) + len(value) + opOverhead)
}

// remove ends a record that has a key only: the key is deleted.
func (b *Batch) remove() {
	b.ops = append(b.ops, op{b.at, len(b.buf), len(b.buf)})
	b.size += int64(len(b.buf) - b.at + opOverhead)
}

// json ends a record with the JSON form of v.
func (b *Batch) json(v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		b.fail(fmt.Errorf("encode the value of key %q: %w", b.buf[b.at:], err))
		b.buf = b.buf[:b.at]
		return
	}
	b.payload()
	b.buf = append(b.buf, raw...)
	b.end()
}

// longJSON writes the JSON form of v in chunks.
func (b *Batch) longJSON(key []byte, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		b.fail(fmt.Errorf("encode the value of key %q: %w", key, err))
		return
	}
	b.long(key, raw)
}

// PutOpen keeps a pane that is still counted into, over what was put before
// for its group and start.
func (b *Batch) PutOpen(w *drift.Window) {
	span := string(appendSpan(nil, "", w.Group, w.Start))
	b.opens[span] = b.window(tableOpen, w)
}

// PutPane keeps a closed pane and forgets the open one of its group and start.
func (b *Batch) PutPane(w *drift.Window) {
	if b.closed(w) {
		b.window(tablePane, w)
		span := string(appendSpan(nil, "", w.Group, w.Start))
		b.closes = append(b.closes, span)
	}
}

// PutHour keeps the sum of the closed panes of one full hour. It stands in for
// them when they have been swept away.
func (b *Batch) PutHour(w *drift.Window) {
	if w.End.Sub(w.Start) != drift.RollupSize || !w.Start.Equal(w.Start.Truncate(drift.RollupSize)) {
		b.fail(fmt.Errorf("put the rollup of %s: %v to %v is not a full hour", w.Group.Model, w.Start, w.End))
		return
	}
	if b.closed(w) {
		b.window(tableHour, w)
	}
}

func (b *Batch) closed(w *drift.Window) bool {
	if w.State == drift.Open {
		b.fail(fmt.Errorf("put a closed window of %s at %v: it is open", w.Group.Model, w.Start))
		return false
	}
	return true
}

// window writes a window and returns its number of chunks.
func (b *Batch) window(table string, w *drift.Window) (chunks int) {
	for i := range w.Signals {
		b.refer(&w.Signals[i])
	}
	b.scratch = b.packer.append(b.scratch[:0], w)
	return b.long(appendSpan(nil, table, w.Group, w.Start), b.scratch)
}

// refer makes sure that the edges or the dictionary of a signal are stored
// under their id.
func (b *Batch) refer(s *drift.Signal) {
	switch {
	case s.Type == drift.Numeric:
		b.edges(s.Numeric.Edges)
	case s.Categorical.Dict != nil:
		d := s.Categorical.Dict
		if key := numberKey(tableDictionary, d.ID()); b.lacks(key, d) {
			b.long(key, stats.AppendDictionary(nil, d))
		}
	}
}

func (b *Batch) edges(e *stats.Edges) {
	if e == nil {
		return
	}
	if key := numberKey(tableEdges, e.ID()); b.lacks(key, e) {
		b.long(key, stats.AppendEdges(nil, e))
	}
}

// lacks reports whether a shared record is neither durable nor in the batch,
// and notes that it now will be.
func (b *Batch) lacks(key []byte, object any) bool {
	if b.refs[string(key)] || !b.store.refs.missing(key, object) {
		return false
	}
	b.refs[string(key)] = true
	return true
}

// PutModel keeps what the engine knows of a model besides its windows.
func (b *Batch) PutModel(m drift.ModelState) {
	b.longJSON(modelKey(m.Model), m)
}

// PutProgress keeps the position that the rest of the batch reflects.
func (b *Batch) PutProgress(p Progress) {
	b.begin()
	b.buf = append(b.buf, keyProgress...)
	b.json(p)
}

// PutDedup keeps one chunk of the ids seen, over what the slot held. No ids
// at all clear the slot.
func (b *Batch) PutDedup(slot int, ids []uint64) {
	b.begin()
	b.buf = binary.BigEndian.AppendUint32(append(b.buf, tableDedup...), uint32(slot))
	if len(ids) == 0 {
		b.remove()
		return
	}
	b.payload()
	for _, id := range ids {
		b.buf = binary.BigEndian.AppendUint64(b.buf, id)
	}
	b.end()
}

// PutLearning keeps chunk n of the sample of a learning model, over what was
// put for it before.
func (b *Batch) PutLearning(model string, n int, chunk []byte) {
	b.begin()
	b.buf = binary.BigEndian.AppendUint64(appendName(append(b.buf, tableLearning...), model), uint64(n))
	b.payload()
	b.buf = append(b.buf, chunk...)
	b.end()
}

// DeleteLearning forgets the sample of a model.
func (b *Batch) DeleteLearning(model string) { b.drop(appendName([]byte(tableLearning), model)) }

// drop deletes every key with the prefix, committed or put into this batch so
// far. Which ones are committed is looked up by Commit: another batch may be on
// its way there now.
func (b *Batch) drop(prefix []byte) {
	kept := b.ops[:0]
	for _, o := range b.ops {
		if !bytes.HasPrefix(b.buf[o.key:o.value], prefix) {
			kept = append(kept, o)
		}
	}
	b.ops = kept
	b.drops = append(b.drops, prefix)
}

// Commit makes the batch durable, whole or not at all, in one transaction. Only of
// one that is too big edges and dictionaries go ahead in transactions of their own:
// until something refers to them they mean nothing. It does not change the batch.
// One that does not fit Badger's memory tables makes them larger first: readers wait
// for a moment, and a backup under way fails with ErrReopened.
// Errors are the batch's own fault, ErrTooBig,
// ErrNoSpace, or Badger's. After the last kind nobody knows what the disk
// holds, so every later Commit fails with ErrFailed.
func (s *Store) Commit(b *Batch) error {
	return s.fitting(func() error { return s.commit(b) })
}

func (s *Store) commit(b *Batch) error {
	p, err := s.prepare(b)
	if err != nil {
		return fmt.Errorf("commit of %d keys: %w", len(b.ops), err)
	}
	if err := s.opt.Crash(BeforeCommit); err != nil {
		return err
	}
	if err := s.goAhead(b, p.ahead); err != nil {
		return err
	}
	if err := s.write(func(w *writer) error { return w.fill(b, p.ops, p.stale) }); err != nil {
		return fmt.Errorf("commit of %d keys, %d bytes: %w", len(b.ops), b.size, err)
	}
	s.remember(b)
	s.needed(p.volume)
	return s.opt.Crash(AfterCommit)
}

// split returns the operations that make one transaction and their size: all if
// they fit, else all but the shared records, which go ahead.
func (b *Batch) split(limit int64) (ops, ahead []op, size int64) {
	if b.size < limit {
		return b.ops, nil, b.size
	}
	size = b.size
	for _, o := range b.ops {
		switch table := string(b.buf[o.key : o.key+tableLen]); table {
		case tableEdges, tableDictionary:
			ahead = append(ahead, o)
			size -= int64(o.end - o.key + opOverhead)
		default:
			ops = append(ops, o)
		}
	}
	return ops, ahead, size
}

// goAhead makes shared records durable, as many at a time as half a transaction
// takes: each is smaller than a quarter.
func (s *Store) goAhead(b *Batch, ops []op) error {
	for len(ops) > 0 {
		n, size := 0, int64(0)
		for n < len(ops) && size < s.CommitLimit()/2 {
			size += int64(ops[n].end - ops[n].key + opOverhead)
			n++
		}
		if err := s.write(func(w *writer) error { return w.fill(b, ops[:n], nil) }); err != nil {
			return fmt.Errorf("commit of %d shared records ahead: %w", n, err)
		}
		ops = ops[n:]
	}
	return nil
}

// A commitPlan is how a batch becomes durable.
type commitPlan struct {
	ahead  []op     // in transactions of their own, first
	ops    []op     // in one transaction
	stale  [][]byte // deleted in the same: committed keys that the batch makes void
	volume          // of the transaction
}

// prepare returns how a batch becomes durable, or a misfit.
func (s *Store) prepare(b *Batch) (p commitPlan, err error) {
	if b.err != nil {
		return p, b.err
	}
	need, err := s.reserve()
	if err != nil {
		return p, err
	}
	if err := s.opt.reserve(s.dir, need); err != nil {
		return p, err
	}
	if p.stale, err = s.dropped(b); err != nil {
		return p, err
	}
	if err := s.fault(); err != nil {
		return p, err
	}
	p.stale = append(p.stale, s.stale(b)...)
	memTable := s.memTable.Load()
	p.ops, p.ahead, p.bytes = b.split(transactionOf(memTable).bytes)
	p.keys = int64(len(p.ops) + len(p.stale))
	for _, key := range p.stale {
		p.bytes += int64(len(key) + opOverhead)
	}
	if !p.fits(transactionOf(memTable)) {
		return p, &misfit{p.volume, memTable}
	}
	return p, nil
}

// stale returns the chunks of open panes that the batch makes void.
func (s *Store) stale(b *Batch) (keys [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	forget := func(span string, from, to int) {
		for ; from < to; from++ {
			keys = append(keys, binary.BigEndian.AppendUint16([]byte(tableOpen+span), uint16(from)))
		}
	}
	for span, chunks := range b.opens {
		forget(span, chunks, s.open[span])
	}
	for _, span := range b.closes {
		forget(span, 0, max(s.open[span], b.opens[span]))
	}
	return keys
}

// dropped returns the committed keys under the batch's dropped prefixes, less
// those that the batch puts again.
func (s *Store) dropped(b *Batch) (keys [][]byte, err error) {
	if len(b.drops) == 0 {
		return nil, nil
	}
	again := map[string]bool{}
	for _, o := range b.ops {
		again[string(b.buf[o.key:o.value])] = true
	}
	err = s.view(func(t *badger.Txn) error {
		for _, prefix := range b.drops {
			err := scanKeys(t, prefix, func(key []byte) ([]byte, error) {
				if !again[string(key)] {
					keys = append(keys, bytes.Clone(key))
				}
				return nil, nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return keys, err
}

// fill puts a batch into a transaction. Badger's WriteBatch would be faster and is
// not atomic.
func (w *writer) fill(b *Batch, ops []op, stale [][]byte) error {
	for _, o := range ops {
		key, value := b.buf[o.key:o.value:o.value], b.buf[o.value:o.end:o.end]
		var err error
		if len(value) == 0 {
			err = w.remove(key)
		} else {
			err = w.set(key, value)
		}
		if err != nil {
			return refused(key, err)
		}
	}
	for _, key := range stale {
		if err := w.remove(key); err != nil {
			return refused(key, err)
		}
	}
	return nil
}

func refused(key []byte, err error) error { return fmt.Errorf("key %.200q: %w", key, err) }

// remember notes what is durable now.
func (s *Store) remember(b *Batch) {
	s.mu.Lock()
	maps.Copy(s.open, b.opens)
	for _, span := range b.closes {
		delete(s.open, span)
	}
	s.mu.Unlock()
	for key := range b.refs {
		s.refs.committed(key)
	}
}
