package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonlSource reads one JSON object a line. Objects are flattened to dotted
// columns four levels deep; the members of a top-level "features" object, as in
// a prediction event, go by their own name unless a top-level field has it.
type jsonlSource struct {
	*text
	cols    []Column
	index   map[string]int // by path
	strings []interned
	known   bool
	pending []byte // a line that has to be read again with wider cells
	path    []byte
	seen    []int64 // line in which a column was last set: a repeated key is an error
}

const flattenDepth = 4

// growError asks the caller of next for more cells: the row has new columns.
type growError struct{ width int }

// Error says what the caller has to do.
func (g *growError) Error() string { return fmt.Sprintf("row needs %d cells", g.width) }

func newJSONL(t *text, cols []Column) *jsonlSource {
	s := &jsonlSource{text: t, index: map[string]int{}}
	for _, c := range cols {
		s.add(c)
	}
	s.known = cols != nil
	return s
}

func (s *jsonlSource) add(c Column) {
	s.index[c.Path] = len(s.cols)
	s.cols = append(s.cols, c)
	s.strings = append(s.strings, interned{})
	s.seen = append(s.seen, 0)
}

// columns returns the columns found so far; features lose their prefix where
// that leaves one column a name.
func (s *jsonlSource) columns() []Column {
	out := append([]Column(nil), s.cols...)
	for i := range out {
		if bare, ok := strings.CutPrefix(out[i].Path, "features."); ok {
			if _, taken := s.index[bare]; !taken {
				out[i].Name = bare
			}
		}
	}
	return out
}

func (s *jsonlSource) use(cols []Column) { s.cols, s.known = cols, true }

func (s *jsonlSource) next(cells []Cell) (int64, error) {
	line := s.pending
	s.pending = nil
	for len(line) == 0 {
		var err error
		if line, err = s.readLine(); err != nil {
			return 0, err
		}
		line = trimSpace(line)
	}
	if err := s.check(line); err != nil {
		return 0, err
	}
	clear(cells)
	clear(s.seen)
	w := walker{s: s, cells: cells, data: line}
	s.path = s.path[:0]
	w.object(0)
	if w.err != nil {
		return 0, w.err
	}
	if len(s.cols) > s.limits.Columns {
		return 0, s.fail(s.line, "", fmt.Errorf("more than %d columns: %w", s.limits.Columns, ErrLimit))
	}
	if len(s.cols) > len(cells) {
		s.pending = append([]byte(nil), line...)
		return 0, &growError{width: len(s.cols)}
	}
	return s.line, nil
}

// check lets encoding/json find the faults, so that the walker may trust its input.
func (s *jsonlSource) check(line []byte) error {
	if line[0] != '{' {
		return s.fail(s.line, "", errors.New("is not a JSON object"))
	}
	if json.Valid(line) {
		return nil
	}
	var v any
	err := json.Unmarshal(line, &v)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		err = fmt.Errorf("byte %d: %w", syntax.Offset, err)
	}
	return s.fail(s.line, "", err)
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// walker goes through one valid JSON object.
type walker struct {
	s     *jsonlSource
	cells []Cell
	data  []byte
	pos   int
	err   error
}

func (w *walker) space() {
	for w.data[w.pos] == ' ' || w.data[w.pos] == '\t' || w.data[w.pos] == '\r' || w.data[w.pos] == '\n' {
		w.pos++
	}
}

// object reads members into cells, with the path of the object as prefix.
func (w *walker) object(depth int) {
	w.pos++ // {
	base := len(w.s.path)
	for {
		w.space()
		switch w.data[w.pos] {
		case '}':
			w.pos++
			return
		case ',':
			w.pos++
			continue
		}
		key := w.raw()
		w.space()
		w.pos++ // :
		w.space()
		if base > 0 {
			w.s.path = append(w.s.path, '.')
		}
		w.s.path = appendUnquoted(w.s.path, key)
		if w.data[w.pos] == '{' && depth+1 < flattenDepth && !w.emptyObject() {
			w.object(depth + 1)
		} else {
			w.leaf()
		}
		w.s.path = w.s.path[:base]
	}
}

func (w *walker) emptyObject() bool {
	i := w.pos + 1
	for w.data[i] == ' ' || w.data[i] == '\t' {
		i++
	}
	return w.data[i] == '}'
}

// leaf reads a value into the cell of the current path.
func (w *walker) leaf() {
	i, ok := w.s.index[string(w.s.path)]
	if !ok && !w.s.known && len(w.s.cols) <= w.s.limits.Columns {
		name := string(w.s.path)
		w.s.add(Column{Name: name, Path: name})
		i = len(w.s.cols) - 1
		ok = true
	}
	raw := w.raw()
	if !ok || i >= len(w.cells) {
		return
	}
	if w.s.seen[i] == w.s.line && w.err == nil {
		w.err = w.s.fail(w.s.line, string(w.s.path), errors.New("key appears twice"))
	}
	w.s.seen[i] = w.s.line
	w.cells[i] = w.cell(i, raw)
}

func (w *walker) cell(i int, raw []byte) Cell {
	switch raw[0] {
	case 'n':
		return Cell{}
	case 't':
		return Cell{Kind: Bool, Int: 1}
	case 'f':
		return Cell{Kind: Bool}
	case '"':
		return Cell{Kind: String, Str: w.s.decode(i, raw)}
	case '[', '{':
		if string(raw) == "{}" || string(raw) == "[]" {
			return Cell{}
		}
		return Cell{Kind: Nested, Str: string(raw)}
	}
	if n, ok := parseInteger(string(raw)); ok {
		return Cell{Kind: Integer, Num: float64(n), Int: n}
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil && !math.IsInf(f, 0) {
		return Cell{}
	}
	return Cell{Kind: Number, Num: f + 0}
}

// decode reads a JSON string of column i.
func (s *jsonlSource) decode(i int, raw []byte) string {
	in := raw[1 : len(raw)-1]
	for _, c := range in {
		if c == '\\' || c >= utf8.RuneSelf {
			return s.strings[i].get(appendUnquoted(nil, raw))
		}
	}
	return s.strings[i].get(in)
}

// appendUnquoted appends the text of a JSON string literal.
func appendUnquoted(dst, raw []byte) []byte {
	in := raw[1 : len(raw)-1]
	for _, c := range in {
		if c == '\\' {
			var str string
			if json.Unmarshal(raw, &str) == nil {
				return append(dst, str...)
			}
		}
	}
	return append(dst, in...)
}

// raw returns the next value as it stands and moves behind it.
func (w *walker) raw() []byte {
	start := w.pos
	switch w.data[w.pos] {
	case '"':
		w.skipString()
	case '{', '[':
		for depth := 0; ; {
			switch w.data[w.pos] {
			case '"':
				w.skipString()
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			w.pos++
			if depth == 0 {
				return w.data[start:w.pos]
			}
		}
	default:
		for w.pos < len(w.data) && !strings.ContainsRune(",}] \t\r\n", rune(w.data[w.pos])) {
			w.pos++
		}
	}
	return w.data[start:w.pos]
}

func (w *walker) skipString() {
	for w.pos++; w.data[w.pos] != '"'; w.pos++ {
		if w.data[w.pos] == '\\' {
			w.pos++
		}
	}
	w.pos++
}
