package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// csvSource reads RFC 4180 with the liberties that real files take: a byte order
// mark, LF or CRLF, empty lines (skipped), trailing commas, a separator other
// than the comma. A row with too few or too many fields is an error: its values
// would stand in the wrong columns.
type csvSource struct {
	*text
	comma   byte
	cols    []Column
	strings []interned
	record  []byte // unquoted bytes of the current record
	ends    []int  // end of each field in record
	known   bool   // types are known
}

func newCSV(t *text, cols []Column) (*csvSource, error) {
	s := &csvSource{text: t, comma: ','}
	head, err := t.br.Peek(64 << 10)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, t.fail(1, "", err)
	}
	if i := bytes.IndexByte(head, '\n'); i >= 0 {
		head = head[:i]
	}
	s.comma = separator(head)
	if err := s.scan(); err != nil {
		return nil, err
	}
	s.cols, err = header(s.fields())
	if err != nil {
		return nil, t.fail(1, "", err)
	}
	if len(s.cols) > t.limits.Columns {
		return nil, t.fail(1, "", fmt.Errorf("%d columns, allowed are %d: %w", len(s.cols), t.limits.Columns, ErrLimit))
	}
	if cols != nil {
		s.cols = cols
	}
	s.strings = make([]interned, len(s.cols))
	for i := range s.strings {
		s.strings[i] = interned{}
	}
	return s, nil
}

// separator returns the comma unless the header has none and has one of the others.
func separator(header []byte) byte {
	for _, c := range []byte(",;\t|") {
		if bytes.IndexByte(header, c) >= 0 {
			return c
		}
	}
	return ','
}

// header names the columns: the second "x" becomes "x.1" as in pandas. Only the
// first may stay without a name.
func header(fields []string) ([]Column, error) {
	used, cols := map[string]bool{}, make([]Column, len(fields))
	for _, f := range fields {
		used[strings.TrimSpace(f)] = true
	}
	first := map[string]bool{}
	empty := true
	for i, f := range fields {
		name := strings.TrimSpace(f)
		empty = empty && name == ""
		for n := 1; name != "" && first[name]; n++ {
			if next := fmt.Sprintf("%s.%d", strings.TrimSpace(f), n); !used[next] {
				name = next
			}
		}
		first[name], used[name] = true, true
		cols[i] = Column{Name: name, Path: name}
	}
	if empty {
		return nil, errors.New("the header line names no column")
	}
	return cols, nil
}

func (s *csvSource) columns() []Column { return s.cols }

func (s *csvSource) use(cols []Column) { s.cols, s.known = cols, true }

func (s *csvSource) fields() []string {
	out, start := make([]string, len(s.ends)), 0
	for i, end := range s.ends {
		out[i] = string(s.record[start:end])
		start = end
	}
	return out
}

func (s *csvSource) next(cells []Cell) (int64, error) {
	if err := s.scan(); err != nil {
		return 0, err
	}
	line, n := s.line, len(s.ends)
	for n > len(s.cols) && s.width(n-1) == 0 { // trailing commas
		n--
	}
	if n != len(s.cols) {
		return 0, s.fail(line, "", fmt.Errorf("%d fields, the header has %d", len(s.ends), len(s.cols)))
	}
	start := 0
	for i, end := range s.ends[:n] {
		cells[i] = s.cell(i, s.record[start:end])
		start = end
	}
	return line, nil
}

func (s *csvSource) width(i int) int {
	if i == 0 {
		return s.ends[0]
	}
	return s.ends[i] - s.ends[i-1]
}

// cell reads a field by its column's type: categories keep their text, so that
// "01" and "1" stay two codes, and a numeric column has numbers or nothing.
func (s *csvSource) cell(i int, b []byte) Cell {
	if len(b) == 0 {
		return Cell{}
	}
	c := &s.cols[i]
	if !s.known || c.Type == Numeric || c.bool {
		v := textCell(string(b))
		if v.Kind == String {
			v.Str = s.strings[i].get(b)
		}
		return v
	}
	str := s.strings[i].get(b)
	if Missing(str) {
		return Cell{}
	}
	return Cell{Kind: String, Str: str}
}

// scan reads the next record that is not an empty line.
func (s *csvSource) scan() error {
	s.record, s.ends = s.record[:0], s.ends[:0]
	line, err := s.readLine()
	for err == nil && len(line) == 0 {
		line, err = s.readLine()
	}
	if err != nil {
		return err
	}
	if bytes.IndexByte(line, '"') >= 0 {
		return s.quoted(line)
	}
	for {
		i := bytes.IndexByte(line, s.comma)
		if i < 0 {
			s.record = append(s.record, line...)
			s.ends = append(s.ends, len(s.record))
			return nil
		}
		s.record = append(s.record, line[:i]...)
		s.ends = append(s.ends, len(s.record))
		line = line[i+1:]
	}
}

// quoted splits a record that holds quotes; a quoted field may span lines. A
// quote inside an unquoted field is an ordinary character.
func (s *csvSource) quoted(line []byte) error {
	first := s.line
	for {
		if len(line) == 0 || line[0] != '"' {
			i := bytes.IndexByte(line, s.comma)
			if i < 0 {
				s.record = append(s.record, line...)
				s.ends = append(s.ends, len(s.record))
				return nil
			}
			s.record = append(s.record, line[:i]...)
			s.ends = append(s.ends, len(s.record))
			line = line[i+1:]
			continue
		}
		rest, err := s.quotedField(line[1:], first)
		if err != nil {
			return err
		}
		s.ends = append(s.ends, len(s.record))
		switch {
		case len(rest) == 0:
			return nil
		case rest[0] != s.comma:
			return s.fail(s.line, "", fmt.Errorf("field %d: text after the closing quote", len(s.ends)))
		}
		line = rest[1:]
	}
}

// quotedField appends a field up to its closing quote and returns what follows.
func (s *csvSource) quotedField(line []byte, first int64) ([]byte, error) {
	for {
		i := bytes.IndexByte(line, '"')
		switch {
		case i >= 0 && i+1 < len(line) && line[i+1] == '"':
			s.record = append(s.record, line[:i+1]...)
			line = line[i+2:]
			continue
		case i >= 0:
			s.record = append(s.record, line[:i]...)
			return line[i+1:], nil
		}
		s.record = append(append(s.record, line...), '\n')
		if len(s.record) > s.limits.RecordBytes {
			return nil, s.fail(first, "", fmt.Errorf("record of more than %d bytes (a quote that is never closed?): %w", s.limits.RecordBytes, ErrLimit))
		}
		var err error
		if line, err = s.readLine(); errors.Is(err, io.EOF) && !isTyped(err) {
			return nil, s.fail(first, "", fmt.Errorf("field %d: quote is never closed", len(s.ends)+1))
		} else if err != nil {
			return nil, err
		}
	}
}
