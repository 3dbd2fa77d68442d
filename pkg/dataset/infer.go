package dataset

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// numericShare is the share of a column's values that must be numbers for the
// column to be numeric: a stray "?" in 100 values must not turn an amount into a
// category. The strays are read as missing and the column's Note says so.
const numericShare = 0.99

// minUnique is the number of rows from which on uniqueness alone makes an id: in
// a handful of rows everything is unique.
const minUnique = 100

// evidence is what one pass learns of a column.
type evidence struct {
	counts    [len(kindNames)]int64
	times     int64 // strings that are ISO times
	unique    map[uint64]struct{}
	repeated  bool
	min, max  float64
	monotone  bool
	previous  float64
	oddLine   int64 // first value that is no number
	odd       string
	lastKnown bool
}

// infer reads the sample and returns the columns with their types.
func infer(src source, l Limits) ([]Column, error) {
	var (
		cells []Cell
		seen  []evidence
		rows  int64
	)
	for ; rows < l.Sample; rows++ {
		n := len(src.columns())
		if cells == nil {
			cells = make([]Cell, n, n+16)
		}
		line, err := src.next(cells)
		var grow *growError
		for errors.As(err, &grow) { // JSONL: the row has columns not seen so far
			cells = make([]Cell, grow.width, grow.width*2)
			line, err = src.next(cells)
		}
		if errors.Is(err, io.EOF) && !isTyped(err) {
			break
		}
		if err != nil {
			return nil, err
		}
		for len(seen) < len(cells) {
			seen = append(seen, evidence{min: math.Inf(1), max: math.Inf(-1), monotone: true})
		}
		for i := range cells {
			seen[i].add(cells[i], line)
		}
	}
	cols := slices.Clone(src.columns())
	for len(seen) < len(cols) {
		seen = append(seen, evidence{})
	}
	for i := range cols {
		if cols[i].Type == NestedType { // repeated Parquet columns are known without reading
			continue
		}
		seen[i].decide(&cols[i], i, rows)
	}
	if n := len(cols); n > 1 && cols[n-1].Name == "" && seen[n-1].values() == 0 {
		cols = cols[:n-1] // a trailing comma, not a column
	}
	return nameUnnamed(cols), nil
}

func nameUnnamed(cols []Column) []Column {
	for i := range cols {
		if i > 0 && cols[i].Name == "" {
			cols[i].Name = fmt.Sprintf("column_%d", i+1)
			cols[i].Path = cols[i].Name
		}
	}
	return cols
}

func (e *evidence) values() int64 {
	var n int64
	for _, c := range e.counts[1:] {
		n += c
	}
	return n
}

func (e *evidence) add(c Cell, line int64) {
	e.counts[c.Kind]++
	switch c.Kind {
	case Null:
		return
	case Number, Integer:
		e.monotone = e.monotone && (!e.lastKnown || c.Num > e.previous)
		e.previous, e.lastKnown = c.Num, true
		e.min, e.max = math.Min(e.min, c.Num), math.Max(e.max, c.Num)
	case String:
		if e.times == e.counts[String]-1 {
			if _, ok := readTime(strings.TrimSpace(c.Str)); ok { // also 9999-12-31, for "never"
				e.times++
			}
		}
		if e.odd == "" {
			e.odd, e.oddLine = c.Str, line
		}
	}
	e.see(c)
}

// see keeps the hashes of the values while all of them are different.
func (e *evidence) see(c Cell) {
	if e.repeated || c.Kind != Integer && c.Kind != String {
		return
	}
	h := uint64(c.Int)
	if c.Kind == String {
		h = xxhash.Sum64String(c.Str)
	}
	if _, dup := e.unique[h]; dup {
		e.repeated, e.unique = true, nil
		return
	}
	if e.unique == nil {
		e.unique = make(map[uint64]struct{})
	}
	e.unique[h] = struct{}{}
}

// decide names the type. The order matters: an unnamed first column is an id
// whatever it holds, a time is never an id, an id is never a feature.
func (e *evidence) decide(c *Column, index int, rows int64) {
	n := e.values()
	numbers := e.counts[Number] + e.counts[Integer]
	switch {
	case c.Name == "" && index == 0 && n > 0:
		c.Type, c.Note = ID, "unnamed first column"
	case n == 0:
		c.Type, c.Note = Numeric, "no values"
	case e.counts[Nested] == n:
		c.Type, c.Note = NestedType, "arrays and objects are not compared"
	case e.counts[Time] == n, e.counts[String] == n && e.times == n:
		c.Type, c.Note = TimeType, "date or time"
	case e.identifies(c.Name, n, rows):
		c.Type, c.Note = ID, "a different value in every row"
		if n < rows {
			c.Note += " that has one"
		}
	case e.counts[Bool] == n:
		c.Type, c.bool = Categorical, true
	case numbers == n:
		c.Type = Numeric
	case float64(numbers) >= numericShare*float64(n):
		c.Type = Numeric
		c.Note = fmt.Sprintf("%d of %d values are not numbers and count as missing, first %q in line %d", n-numbers, n, clip(e.odd), e.oddLine)
	default:
		c.Type = Categorical
	}
}

// identifies reports whether the values are all different and all integers or all
// strings, and whether that is more than chance: by enough strings, or where none is
// missing by the name, by a rising sequence, by integers beyond float precision, or
// by integers so dense that 10 collisions would be expected of random ones.
func (e *evidence) identifies(name string, n, rows int64) bool {
	if e.repeated || n < 2 || e.counts[Integer] != n && e.counts[String] != n {
		return false
	}
	if e.counts[String] == n && n >= minUnique {
		return true
	}
	if n != rows {
		return false
	}
	if idName(name) {
		return true
	}
	if n < minUnique {
		return false
	}
	if e.monotone || e.max > 1<<53 {
		return true
	}
	return float64(n)*float64(n) > 20*(e.max-e.min+1)
}

func idName(name string) bool {
	switch low := strings.ToLower(name); low {
	case "id", "uuid", "guid", "key", "pk", "index", "idx", "row", "rowid", "row_number":
		return true
	default:
		return strings.HasSuffix(low, "_id") || strings.HasSuffix(low, "-id") || strings.HasSuffix(low, " id") ||
			strings.HasSuffix(low, "uuid") || strings.HasSuffix(name, "Id") || strings.HasPrefix(low, "__index_level_")
	}
}

func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}
