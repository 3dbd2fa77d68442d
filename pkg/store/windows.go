package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// A Query asks for the windows of one model.
type Query struct {
	Model    string
	Version  string          // "" is every version
	Variants []event.Variant // nil is every variant
	Segment  string          // "" is the whole, not every segment
	From, To time.Time       // windows that overlap [From, To); zero is unbounded
	Size     time.Duration   // a multiple of the pane
	Total    bool            // add the groups up: one window a span, without version and variant
	Segments bool            // every segment too, each by itself; Segment must be ""
	// NoSignals leaves the signals out: they are not decoded.
	NoSignals bool
}

func (q Query) matches(g drift.Group) bool {
	return (q.Segments || g.Segment == q.Segment) && (q.Version == "" || g.Version == q.Version) &&
		(q.Variants == nil || slices.Contains(q.Variants, g.Variant))
}

// Windows returns the sums that a Query asks for, ascending by start and group.
// Spans without an event are absent. Whole days and hours are taken from the rollups,
// everything else from the panes, so an hour whose panes have been swept away
// is found in windows of full hours only, and a day whose hours have been in windows
// of full days only. A window is Open while one of its
// panes is, or while the model's watermark has not passed its end.
func (s *Store) Windows(q Query) (windows []*drift.Window, err error) {
	if q.Size <= 0 || q.Model == "" {
		return nil, fmt.Errorf("read windows: model %q and size %v: both are needed", q.Model, q.Size)
	}
	err = s.view(func(t *badger.Txn) error {
		u := summer{query: q, reader: s.resolver(t)}
		windows, err = u.sums()
		return err
	})
	return windows, wrap(err, "read windows of %s", q.Model)
}

// A summer answers one Query.
type summer struct {
	query   Query
	reader  resolver
	buckets map[bucket]*drift.Window
}

type bucket struct {
	group drift.Group
	start int64
}

func floor(t time.Time, size time.Duration) time.Time { return drift.WindowStart(t, size) }

func (u *summer) sums() ([]*drift.Window, error) {
	u.buckets = map[bucket]*drift.Window{}
	groups, err := u.groups()
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if err := u.group(g); err != nil {
			return nil, err
		}
	}
	watermark, err := u.watermark()
	if err != nil {
		return nil, err
	}
	out := make([]*drift.Window, 0, len(u.buckets))
	for _, w := range u.buckets {
		if w.State == drift.Closed && !watermark.IsZero() && w.End.After(watermark) {
			w.State = drift.Open
		}
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b *drift.Window) int {
		return cmp.Or(a.Start.Compare(b.Start), a.Group.Compare(b.Group))
	})
	return out, nil
}

// groups lists the model's groups that match, jumping from one to the next.
func (u *summer) groups() ([]drift.Group, error) {
	found := map[drift.Group]bool{}
	for _, table := range []string{tableOpen, tablePane, tableHour, tableDay} {
		prefix := appendName([]byte(table), u.query.Model)
		err := scanKeys(u.reader.txn, prefix, func(key []byte) ([]byte, error) {
			k := readKey(key)
			g := k.group()
			if k.err != nil {
				return nil, fmt.Errorf("%w: key %q: %w", ErrDamaged, key, k.err)
			}
			if u.query.matches(g) {
				found[g] = true
			}
			past := key[:len(key)-len(k.rest)]
			return append(bytes.Clone(past), bytes.Repeat([]byte{0xff}, 11)...), nil // longer than time and chunk
		})
		if err != nil {
			return nil, err
		}
	}
	groups := make([]drift.Group, 0, len(found))
	for g := range found {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, drift.Group.Compare) // the order of additions decides how means round
	return groups, nil
}

// group adds the days, hours, panes and open panes of one group to their buckets. An
// hour of a day that is there came later, and is in that day's sum not yet.
func (u *summer) group(g drift.Group) error {
	days, err := u.rollups(tableDay, g, DaySize)
	if err != nil {
		return err
	}
	hours, err := u.rollups(tableHour, g, drift.RollupSize)
	if err != nil {
		return err
	}
	uncovered := func(start time.Time) time.Time {
		if day := floor(start, DaySize); days[day.UnixNano()] {
			return day.Add(DaySize)
		}
		if hour := floor(start, drift.RollupSize); hours[hour.UnixNano()] {
			return hour.Add(drift.RollupSize)
		}
		return start
	}
	if err := u.each(tablePane, g, uncovered, u.add); err != nil {
		return err
	}
	return u.each(tableOpen, g, nil, func(w *drift.Window) error {
		if w.State == drift.Closed {
			w.State = drift.Open
		}
		return u.add(w)
	})
}

// rollups adds the windows of a table, which have one length, unless they lie in two
// windows of the Query: then shorter ones must do. It returns the starts of those added.
func (u *summer) rollups(table string, g drift.Group, length time.Duration) (map[int64]bool, error) {
	added, size := map[int64]bool{}, u.query.Size
	if size < length {
		return added, nil
	}
	whole := func(start time.Time) time.Time {
		if floor(start, size).Add(size).Before(start.Add(length)) {
			return start.Add(length)
		}
		return start
	}
	err := u.each(table, g, whole, func(w *drift.Window) error {
		added[w.Start.UnixNano()] = true
		return u.add(w)
	})
	return added, err
}

// each hands the windows of a group in the Query's time to fn, ascending. skip
// returns the first start wanted at or after a start; nil wants all.
func (u *summer) each(table string, g drift.Group, skip func(time.Time) time.Time, fn func(*drift.Window) error) error {
	prefix := appendGroup([]byte(table), g)
	options := badger.DefaultIteratorOptions
	options.Prefix = prefix
	options.PrefetchValues = false
	it := u.reader.txn.NewIterator(options)
	defer it.Close()
	seek := bytes.Clone(prefix)
	if !u.query.From.IsZero() {
		seek = appendTime(seek, floor(u.query.From, u.query.Size))
	}
	var j joiner
	for it.Seek(seek); it.Valid(); {
		item := it.Item()
		k := keyReader{rest: item.Key()[len(prefix):]}
		start, chunk := k.time(), k.u16()
		if err := k.end(item.Key()); err != nil {
			return err
		}
		if to := u.query.To; !to.IsZero() && !start.Before(to) && !floor(start, u.query.Size).Before(to) {
			break
		}
		if skip != nil && chunk == 0 {
			if next := skip(start); next.After(start) {
				it.Seek(appendTime(bytes.Clone(prefix), next))
				continue
			}
		}
		if err := u.take(&j, item, fn); err != nil {
			return err
		}
		it.Next()
	}
	return j.end()
}

func (u *summer) take(j *joiner, item *badger.Item, fn func(*drift.Window) error) error {
	return payload(item, func(key, chunk []byte) error {
		record, done, err := j.add(key, chunk)
		if err != nil || !done {
			return err
		}
		decode := decodeWindow
		if u.query.NoSignals {
			decode = decodeTotals
		}
		w, err := decode(u.reader, j.key, record)
		if err != nil {
			return err
		}
		return fn(w)
	})
}

// add adds a window just read, which becomes ours, to its bucket.
func (u *summer) add(w *drift.Window) error {
	start := floor(w.Start, u.query.Size)
	end := start.Add(u.query.Size)
	if w.End.After(end) {
		return fmt.Errorf("size %v is not a multiple of the pane from %v to %v", u.query.Size, w.Start, w.End)
	}
	if u.query.Total {
		w.Group = drift.Group{Model: w.Group.Model, Segment: w.Group.Segment}
	}
	at := bucket{w.Group, start.UnixNano()}
	sum := u.buckets[at]
	if sum == nil {
		if w.End.Sub(w.Start) < u.query.Size {
			w.Baseline = "" // only a pane has one
		}
		w.Start, w.End = start, end
		u.buckets[at] = w
		return nil
	}
	return drift.Merge(sum, w)
}

func (u *summer) watermark() (time.Time, error) {
	var state struct {
		Watermark time.Time `json:"watermark"`
	}
	err := readLong(u.reader.txn, modelKey(u.query.Model), func(key, record []byte) error {
		return decodeJSON(key, record, &state)
	})
	return state.Watermark, optional(err)
}

// A Range selects stored windows: of one model or of all, that start in
// [From, To). Its zero value selects everything.
type Range struct {
	Model    string
	From, To time.Time
}

// Panes returns the closed panes of a Range, ascending by group and start.
func (s *Store) Panes(r Range) iter.Seq2[*drift.Window, error] { return s.each(tablePane, r) }

// Hours returns the hourly rollups of a Range, ascending by group and start.
func (s *Store) Hours(r Range) iter.Seq2[*drift.Window, error] { return s.each(tableHour, r) }

func (s *Store) each(table string, r Range) iter.Seq2[*drift.Window, error] {
	return func(yield func(*drift.Window, error) bool) {
		prefix := []byte(table)
		if r.Model != "" {
			prefix = appendName(prefix, r.Model)
		}
		err := s.view(func(t *badger.Txn) error {
			resolve := s.resolver(t)
			return scanLong(t, prefix, nil, func(key, record []byte) error {
				w, err := decodeSpan(key)
				if err != nil {
					return err
				}
				if w.Start.Before(r.From) || !r.To.IsZero() && !w.Start.Before(r.To) {
					return nil
				}
				if w, err = decodeWindow(resolve, key, record); err != nil {
					return err
				}
				if !yield(w, nil) {
					return errYield
				}
				return nil
			})
		})
		if err != nil && !errors.Is(err, errYield) {
			yield(nil, fmt.Errorf("read stored windows: %w", err))
		}
	}
}

// errYield says that the consumer of an iterator has had enough.
var errYield = errors.New("enough")
