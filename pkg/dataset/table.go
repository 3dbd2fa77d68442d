package dataset

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// Type is what a column means to a comparison.
type Type uint8

// Types of columns. ID and Time columns identify or order the rows and Nested
// ones cannot be compared: compare ignores all three.
const (
	Numeric Type = iota + 1
	Categorical
	ID
	TimeType
	NestedType
)

var typeNames = [...]string{"unknown", "numeric", "categorical", "id", "time", "nested"}

// String returns the type as contract section 1 spells it.
func (t Type) String() string { return typeNames[t] }

// ParseType reads numeric, categorical, id or time.
func ParseType(s string) (Type, error) {
	if i := slices.Index(typeNames[:], s); i >= int(Numeric) && i <= int(TimeType) {
		return Type(i), nil
	}
	return 0, fmt.Errorf("column type %q: must be numeric, categorical, id or time", s)
}

// Compared reports whether a column of the type takes part in a comparison.
func (t Type) Compared() bool { return t == Numeric || t == Categorical }

// Column describes one column of a table.
type Column struct {
	Name string // as in the header; "" for an unnamed first column, "x.1" for the second x
	Path string // where it stands in a JSON line or a Parquet group ("features.amount"); else Name
	Type Type
	Note string // "" or what the reader should know: why a column is ignored, values that were not numbers
	bool bool   // a CSV column of true and false only
}

// Feature reports whether the column is a member of an event's features object.
func (c Column) Feature() bool { return strings.HasPrefix(c.Path, "features.") }

// Row is one row. Cells is reused for the row behind it; the strings in it are not.
type Row struct {
	N     int64 // 0-based number of the row
	Line  int64 // 1-based line in a text file (header included), N+1 in Parquet
	Cells []Cell
}

// Limits bounds what a file may cost. The zero value of a field means its default.
type Limits struct {
	Rows        int64   // default 50,000,000
	Columns     int     // default 4,096
	Bytes       int64   // after decompression, default 16 GiB
	Ratio       float64 // bytes after / before decompression, default 100 (the first MiB is free)
	RecordBytes int     // one line or cell, default 4 MiB
	Sample      int64   // rows read to infer types and, in JSONL, columns; default 1,000,000
}

// DefaultLimits are the defaults of Limits.
var DefaultLimits = Limits{Rows: 50_000_000, Columns: 4096, Bytes: 16 << 30, Ratio: 100, RecordBytes: 4 << 20, Sample: 1_000_000}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits
	return Limits{
		Rows: or(l.Rows, d.Rows), Columns: or(l.Columns, d.Columns), Bytes: or(l.Bytes, d.Bytes),
		Ratio: or(l.Ratio, d.Ratio), RecordBytes: or(l.RecordBytes, d.RecordBytes), Sample: or(l.Sample, d.Sample),
	}
}

func or[T int | int64 | float64](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// source is a format: it fills the cells of one row after the other.
type source interface {
	columns() []Column
	// next returns the line of the row it filled in, or io.EOF. Other errors are *Error.
	next(cells []Cell) (line int64, err error)
	// use tells the reader the final columns (same order, types known).
	use([]Column)
	progress() (read, total int64)
	Close() error
}

// Table is an open file, read row by row.
type Table struct {
	path   string
	format string
	limits Limits
	cols   []Column
	src    source
	row    Row
	rows   int64
	done   bool
}

// Open opens a table and infers the types of its columns from the first
// Limits.Sample rows. The format follows the content: gzip and Parquet by their
// magic bytes, JSON lines by a leading brace, else CSV (comma, semicolon, tab or
// bar, whichever the header holds).
func Open(path string, l Limits) (*Table, error) {
	l = l.withDefaults()
	format, src, err := openSource(path, l, nil)
	if err != nil {
		return nil, err
	}
	cols, err := infer(src, l)
	_ = src.Close() // only read
	if err != nil {
		return nil, err
	}
	if _, src, err = openSource(path, l, cols); err != nil {
		return nil, err
	}
	src.use(cols)
	return &Table{path: path, format: format, limits: l, cols: cols, src: src, row: Row{N: -1, Cells: make([]Cell, len(cols))}}, nil
}

// Format returns csv, jsonl or parquet.
func (t *Table) Format() string { return t.format }

// Path returns the path the table was opened with.
func (t *Table) Path() string { return t.path }

// Columns returns the columns in file order. The caller must not change them.
func (t *Table) Columns() []Column { return t.cols }

// Index returns the position of a column by name, or -1.
func (t *Table) Index(name string) int { return indexOf(t.cols, name) }

func indexOf(cols []Column, name string) int {
	if i := slices.IndexFunc(cols, func(c Column) bool { return c.Name == name }); i >= 0 {
		return i
	}
	return slices.IndexFunc(cols, func(c Column) bool { return c.Path == name })
}

// Override sets the types of columns by name, before the first row is read. A
// name that the table lacks is an error which lists the table's columns.
func (t *Table) Override(types map[string]Type) error {
	if t.row.N >= 0 {
		return fmt.Errorf("%s: types must be set before the first row is read", t.path)
	}
	for name, typ := range types {
		i := t.Index(name)
		if i < 0 {
			return fmt.Errorf("%s: no column %q; there are %s", t.path, name, names(t.cols))
		}
		if t.cols[i].Type == NestedType {
			return fmt.Errorf("%s: column %q: arrays and objects have no %s form", t.path, name, typ)
		}
		t.cols[i].Type, t.cols[i].Note = typ, ""
	}
	t.src.use(t.cols)
	return nil
}

func names(cols []Column) string {
	var b strings.Builder
	for i, c := range cols {
		if i == 40 {
			fmt.Fprintf(&b, " and %d more", len(cols)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", c.Name)
	}
	return b.String()
}

// next returns the next row, io.EOF alone at the end of the file.
func (t *Table) next() (Row, error) {
	if t.done {
		return Row{}, io.EOF
	}
	line, err := t.src.next(t.row.Cells)
	if err == nil && t.rows >= t.limits.Rows {
		err = &Error{File: t.path, Err: fmt.Errorf("more than %d rows: %w", t.limits.Rows, ErrLimit)}
	}
	if err != nil {
		t.done = true
		return Row{}, err
	}
	t.row.N, t.row.Line = t.rows, line
	t.rows++
	return t.row, nil
}

func isTyped(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// All returns the remaining rows; an error comes last, with an empty row.
func (t *Table) All() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for {
			row, err := t.next()
			if errors.Is(err, io.EOF) && !isTyped(err) {
				return
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// Rows returns the number of rows read so far.
func (t *Table) Rows() int64 { return t.rows }

// Progress returns how much of the file has been read, in units of the total:
// bytes on disk for text, rows for Parquet.
func (t *Table) Progress() (read, total int64) { return t.src.progress() }

// Close closes the file.
func (t *Table) Close() error { return t.src.Close() }
