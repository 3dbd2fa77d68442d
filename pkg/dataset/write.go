package dataset

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"io"
	"math"
	"strconv"
)

// Writer writes rows as CSV or JSON lines. Close flushes; it does not close the
// stream below.
type Writer struct {
	names  []string
	csv    *csv.Writer
	json   *bufio.Writer
	keys   [][]byte // `"name":` of each column
	record []string
	line   []byte
}

// NewCSVWriter writes the header line at once. Missing values become empty fields.
func NewCSVWriter(w io.Writer, names []string) (*Writer, error) {
	t := &Writer{names: names, csv: csv.NewWriter(w), record: make([]string, len(names))}
	return t, t.csv.Write(names)
}

// NewJSONLWriter writes one object a row. Missing values become null, and so do
// infinities, which JSON cannot hold.
func NewJSONLWriter(w io.Writer, names []string) *Writer {
	t := &Writer{names: names, json: bufio.NewWriter(w), keys: make([][]byte, len(names))}
	for i, name := range names {
		t.keys[i] = append(appendJSON(nil, name), ':')
	}
	return t
}

// Write writes a row: one cell per column.
func (w *Writer) Write(cells []Cell) error {
	if w.csv != nil {
		for i := range w.record {
			w.record[i] = cells[i].exact()
		}
		return w.csv.Write(w.record)
	}
	w.line = append(w.line[:0], '{')
	for i, key := range w.keys {
		if i > 0 {
			w.line = append(w.line, ',')
		}
		w.line = append(append(w.line, key...), cells[i].json()...)
	}
	_, err := w.json.Write(append(w.line, '}', '\n'))
	return err
}

// Close writes what is buffered.
func (w *Writer) Close() error {
	if w.csv == nil {
		return w.json.Flush()
	}
	w.csv.Flush()
	return w.csv.Error()
}

// exact is Text with every digit of a number.
func (c Cell) exact() string {
	if c.Kind == Number {
		return strconv.FormatFloat(c.Num, 'g', -1, 64)
	}
	return c.Text()
}

func (c Cell) json() []byte {
	switch c.Kind {
	case Null:
		return []byte("null")
	case Number:
		if math.IsInf(c.Num, 0) {
			return []byte("null")
		}
		return []byte(c.exact())
	case Integer, Bool:
		return []byte(c.Text())
	case Nested:
		if json.Valid([]byte(c.Str)) {
			return []byte(c.Str)
		}
	}
	return appendJSON(nil, c.Text())
}

func appendJSON(dst []byte, s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // a string always has a JSON form
		return append(dst, "null"...)
	}
	return append(dst, b...)
}
