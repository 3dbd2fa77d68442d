package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// Closed windows are nearly all of a large store, and decisions are made of few of
// them. So that these can be proven to be all there without reading the others, the
// directory has not one line for each of their tables only but also one for each of
// shelfCount shelves: a window is on the shelf of the span in which it begins, and
// spans take the shelves in turn. Spans are counted from -2^63 ns, as keys are.
const (
	shelfCount    = 64
	shelvedTables = 3
)

// shelfSpans are the lengths of the spans: with panes kept for a week a shelf has 3
// hours of them, with hours for two months a day, with days for a year one of 8 days.
var shelfSpans = [shelvedTables]uint64{uint64(drift.RollupSize), uint64(DaySize), uint64(8 * DaySize)}

// shelved returns the index of a table among those that have shelves, -1 for others.
func shelved(table int) int {
	switch tables[table] {
	case tablePane:
		return 0
	case tableHour:
		return 1
	case tableDay:
		return 2
	}
	return -1
}

// spanTail is what a key of a closed window has behind the group: time and chunk.
const spanTail = 8 + 2

// keyTime returns when the window of a key begins, as the key has it.
func keyTime(key []byte) (at uint64, ok bool) {
	if len(key) < tableLen+spanTail {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[len(key)-spanTail:]), true
}

// shelf returns the shelf on which a record is, nil if its table has none.
func (d *directory) shelf(table int, key []byte) *tally {
	i := shelved(table)
	if i < 0 {
		return nil
	}
	at, ok := keyTime(key)
	if !ok {
		return nil
	}
	return &d.shelves[i][at/shelfSpans[i]%shelfCount]
}

// shelve takes over the shelves of what was found, which must be what the
// directory of an older schema counts.
func (d *directory) shelve(found *directory) error {
	for i := range tables {
		if shelved(i) >= 0 && d.tables[i] != found.tables[i] {
			return fmt.Errorf("%w: the table of %s is not the one that commit %d knows: %s", ErrDamaged, tableNames[i], d.generation, Remedy)
		}
	}
	d.shelves = found.shelves
	return nil
}

// A Need is what is read of closed windows, of whatever model: those that begin in
// one of the spans. Span bounds are inclusive.
type Need struct{ Panes, Hours, Days []Span }

// A Span is the time from From to To.
type Span struct{ From, To time.Time }

// A part says which shelves are to be verified.
type part [shelvedTables][shelfCount]bool

func (n Need) part() *part {
	var p part
	for i, spans := range [shelvedTables][]Span{n.Panes, n.Hours, n.Days} {
		for _, s := range spans {
			first, last := keyNanos(s.From)/shelfSpans[i], keyNanos(s.To)/shelfSpans[i]
			for span := first; span <= last && span-first < shelfCount; span++ {
				p[i][span%shelfCount] = true
			}
		}
	}
	return &p
}

// records returns how many records a part has by the directory; nil is everything.
func (p *part) records(d *directory) (n uint64) {
	if p == nil {
		return d.records()
	}
	for i := range tables {
		if shelved(i) < 0 {
			n += d.tables[i].records
		}
	}
	for i := range p {
		for j, wanted := range p[i] {
			if wanted {
				n += d.shelves[i][j].records
			}
		}
	}
	return n
}

// next returns the first key that may be in the part if the given one is not, nil if
// it is. It is behind the given one.
func (p *part) next(key []byte) []byte {
	table := tableOf(key)
	if p == nil || table < 0 || shelved(table) < 0 {
		return nil
	}
	at, ok := keyTime(key)
	if !ok {
		return nil
	}
	i := shelved(table)
	first := at / shelfSpans[i]
	for span := first; span < first+shelfCount && span <= ^uint64(0)/shelfSpans[i]; span++ {
		switch {
		case !p[i][span%shelfCount]:
		case span == first:
			return nil
		default:
			return binary.BigEndian.AppendUint64(bytes.Clone(key[:len(key)-spanTail]), span*shelfSpans[i])
		}
	}
	return append(bytes.Clone(key[:len(key)-spanTail]), bytes.Repeat([]byte{0xff}, spanTail+1)...) // behind the group
}
