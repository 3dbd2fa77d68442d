package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/event"
)

// Map turns rows into events. It is written as clauses with commas between them:
//
//	id=id,time=2016-01-05T13:20Z+1m*row,prediction=prediction,scores.1=p,features=AGEP,SCHL
//
// A clause is FIELD=SOURCE. A source is a column, a 'literal', row (the number of
// the row from 0) or 'literal'+row; of time also START+STEP*row; of features a
// list of columns or * (every numeric or categorical column that no other clause
// uses). A column named like a keyword is written "row", in double quotes.
//
// Fields of a prediction: id time version variant prediction scores.<class>
// confidence latency_ms cost error entity_id trace_id segments.<name> features.
// Fields of an outcome: id time prediction_id entity_id name label value source
// annotator explanation version variant cost.
type Map struct {
	kind     event.Kind
	clauses  []clause
	features []string
	all      bool
	hasFeats bool

	bound   bool
	cols    []Column
	featIdx []int
	shape   *event.Shape
	scores  *event.Shape
}

// clause is one FIELD=SOURCE.
type clause struct {
	text    string
	field   string // "scores" for scores.x
	name    string // the x of scores.x and segments.x
	column  string
	index   int // of the column, -1 = none
	literal string
	row     bool
	start   int64 // of time
	step    int64
}

var (
	predictionFields = []string{"id", "time", "version", "variant", "prediction", "scores", "confidence", "latency_ms", "cost", "error", "entity_id", "trace_id", "segments", "features"}
	outcomeFields    = []string{"id", "time", "version", "variant", "prediction_id", "entity_id", "name", "label", "value", "source", "annotator", "explanation", "cost"}
	named            = []string{"scores", "segments"}
	timeStep         = regexp.MustCompile(`^(.+)([+-])([0-9][^+-]*)\*row$`)
)

// ParseMap reads a mapping. Whether it makes predictions or outcomes follows from
// its fields: prediction_id, label or value make an outcome. Every error names
// the faulty clause.
func ParseMap(text string) (*Map, error) {
	m := &Map{kind: event.Prediction}
	var errs []error
	seen := map[string]bool{}
	for _, part := range split(text) {
		if err := m.parseClause(part, seen); err != nil {
			errs = append(errs, fmt.Errorf("map clause %q: %w", part, err))
		}
	}
	if seen["prediction_id"] || seen["label"] || seen["value"] {
		m.kind = event.Outcome
	}
	allowed := predictionFields
	if m.kind == event.Outcome {
		allowed = outcomeFields
	}
	for _, c := range m.clauses {
		if !slices.Contains(allowed, c.field) {
			errs = append(errs, fmt.Errorf("map clause %q: an %s has no field %q", c.text, m.kind, c.field))
		}
	}
	if m.hasFeats && m.kind == event.Outcome {
		errs = append(errs, errors.New("map clause features: an outcome has no features"))
	}
	if len(errs) == 0 {
		errs = m.complete(seen)
	}
	return m, errors.Join(errs...)
}

func (m *Map) complete(seen map[string]bool) (errs []error) {
	switch {
	case !seen["id"] && m.kind == event.Prediction:
		errs = append(errs, errors.New("map: id is missing: add id=COLUMN or id='prefix-'+row"))
	case m.kind == event.Prediction && !m.hasFeats && !seen["prediction"]:
		errs = append(errs, errors.New("map: a prediction needs features or prediction: add features=*"))
	case m.kind == event.Outcome && !seen["prediction_id"] && !seen["entity_id"]:
		errs = append(errs, errors.New("map: an outcome needs prediction_id or entity_id"))
	case m.kind == event.Outcome && !seen["label"] && !seen["value"]:
		errs = append(errs, errors.New("map: an outcome needs label or value"))
	}
	return errs
}

// split cuts at the commas that are not in quotes; parts without "=" belong to a
// features list before them and stay with it.
func split(text string) []string {
	var out []string
	for _, part := range cut(text, ',') {
		part = strings.TrimSpace(part)
		last := len(out) - 1
		if last >= 0 && strings.HasPrefix(out[last], "features") && indexOutside(part, '=') < 0 {
			out[last] += "," + part
			continue
		}
		out = append(out, part)
	}
	return out
}

// cut splits at sep outside of quotes.
func cut(s string, sep byte) []string {
	var out []string
	for {
		i := indexOutside(s, sep)
		if i < 0 {
			return append(out, s)
		}
		out, s = append(out, s[:i]), s[i+1:]
	}
}

func indexOutside(s string, sep byte) int {
	var quote byte
	for i := range len(s) {
		switch c := s[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == 0 && c == sep:
			return i
		}
	}
	return -1
}

func (m *Map) parseClause(part string, seen map[string]bool) error {
	eq := indexOutside(part, '=')
	if eq <= 0 || eq == len(part)-1 {
		return errors.New("must be FIELD=SOURCE")
	}
	field, source := strings.TrimSpace(part[:eq]), strings.TrimSpace(part[eq+1:])
	if seen[field] {
		return errors.New("field is set twice")
	}
	seen[field] = true
	if field == "features" {
		return m.parseFeatures(source)
	}
	c := clause{text: part, field: field, index: -1}
	if head, name, ok := strings.Cut(field, "."); ok {
		if c.field, c.name = head, name; !slices.Contains(named, head) || name == "" {
			return fmt.Errorf("field %q: only scores.CLASS and segments.NAME have a part after the dot", field)
		}
	} else if slices.Contains(named, field) {
		return fmt.Errorf("field %q needs a name: %s.NAME", field, field)
	}
	if !slices.Contains(predictionFields, c.field) && !slices.Contains(outcomeFields, c.field) {
		return fmt.Errorf("unknown field %q; fields are %s and, of outcomes, %s", field, strings.Join(predictionFields, " "), strings.Join(outcomeFields, " "))
	}
	if err := c.parseSource(source); err != nil {
		return err
	}
	m.clauses = append(m.clauses, c)
	return nil
}

func (m *Map) parseFeatures(source string) error {
	m.hasFeats = true
	if source == "*" {
		m.all = true
		return nil
	}
	for _, name := range cut(source, ',') {
		if name = unquote(strings.TrimSpace(name)); name == "" {
			return errors.New("empty name in the list of features")
		}
		if slices.Contains(m.features, name) {
			return fmt.Errorf("feature %q is listed twice", name)
		}
		m.features = append(m.features, name)
	}
	return nil
}

func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

func (c *clause) parseSource(source string) error {
	if c.field == "time" {
		if start, ok := parseTime(source); ok {
			c.start, c.row = start, true
			return nil
		}
		if g := timeStep.FindStringSubmatch(source); g != nil {
			return c.parseTime(g[1], g[2], g[3])
		}
	}
	switch {
	case source == "row":
		c.row = true
	case source[0] == '\'':
		literal, rest, ok := strings.Cut(source[1:], "'")
		if !ok || rest != "" && rest != "+row" {
			return fmt.Errorf("source %s: must be 'literal' or 'literal'+row", source)
		}
		c.literal, c.row = literal, rest != ""
		if c.field == "variant" {
			if _, ok := event.ParseVariant(literal); !ok {
				return fmt.Errorf("variant %q: must be primary, canary or shadow", literal)
			}
		}
	default:
		c.column = unquote(source)
	}
	return nil
}

func (c *clause) parseTime(start, sign, step string) error {
	t, ok := parseTime(strings.TrimSpace(start))
	if !ok {
		return fmt.Errorf("start %q: must be a date or RFC 3339, such as 2016-01-05T13:20Z", start)
	}
	d, err := time.ParseDuration(strings.TrimSpace(step))
	if err != nil {
		return fmt.Errorf("step %q: must be a duration, such as 1m or 250ms", step)
	}
	if sign == "-" {
		d = -d
	}
	c.start, c.step, c.row = t, int64(d), true
	return nil
}

// Kind returns event.Prediction or event.Outcome.
func (m *Map) Kind() event.Kind { return m.kind }

// Bind looks up the columns of a table. An unknown name is an error that lists
// the columns there are.
func (m *Map) Bind(cols []Column) error {
	var errs []error
	used := make([]bool, len(cols))
	scores := &event.Shape{}
	for i := range m.clauses {
		c := &m.clauses[i]
		if c.column != "" {
			if c.index = indexOf(cols, c.column); c.index < 0 {
				errs = append(errs, fmt.Errorf("map clause %q: no column %q; there are %s", c.text, c.column, names(cols)))
				continue
			}
			used[c.index] = true
		}
		if c.field == "scores" {
			scores.Names = append(scores.Names, c.name)
		}
	}
	errs = append(errs, m.bindFeatures(cols, used)...)
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	m.scores, m.cols, m.bound = nil, cols, true
	if len(scores.Names) > 0 {
		m.scores = scores
	}
	return nil
}

func (m *Map) bindFeatures(cols []Column, used []bool) (errs []error) {
	m.featIdx, m.shape = m.featIdx[:0], nil
	if !m.hasFeats {
		return nil
	}
	shape := &event.Shape{}
	for _, name := range m.features {
		i := indexOf(cols, name)
		if i < 0 {
			errs = append(errs, fmt.Errorf("map clause features: no column %q; there are %s", name, names(cols)))
			continue
		}
		m.featIdx = append(m.featIdx, i)
		shape.Names = append(shape.Names, name)
	}
	for i, c := range cols {
		if m.all && !used[i] && c.Type.Compared() {
			m.featIdx = append(m.featIdx, i)
			shape.Names = append(shape.Names, c.Name)
		}
	}
	m.shape = shape
	return errs
}

// Event fills e with the event of row n. It resets e and reuses its slices; the
// model is the caller's to set. Errors name the clause and the column.
func (m *Map) Event(row Row, n int64, e *event.Event) error {
	if !m.bound {
		return errors.New("map: Bind must be called before Event")
	}
	values, scores, segments, vectors := e.Values[:0], e.ScoreValues[:0], e.Segments[:0], e.Vectors[:0]
	*e = event.New(m.kind)
	e.Features, e.Scores = m.shape, m.scores
	e.Values, e.ScoreValues, e.Segments, e.Vectors = values, scores, segments, vectors
	for i := range m.clauses {
		c := &m.clauses[i]
		var cell Cell
		if c.index >= 0 {
			cell = row.Cells[c.index]
		}
		if err := c.apply(m, cell, n, e); err != nil {
			return fmt.Errorf("line %d: map clause %q: %w", row.Line, c.text, err)
		}
	}
	for _, i := range m.featIdx {
		if v := vector(row.Cells[i]); v != nil {
			e.Values, e.Vectors = append(e.Values, event.Value{Kind: event.Vector, Num: float64(len(v))}), append(e.Vectors, v)
			continue
		}
		e.Values = append(e.Values, m.cols[i].Value(row.Cells[i]))
	}
	if e.Kind == event.Prediction && e.ID == "" || e.Kind == event.Outcome && e.PredictionID == "" && e.EntityID == "" {
		return fmt.Errorf("line %d: map: the id is missing", row.Line)
	}
	if e.Kind == event.Outcome && e.ID == "" {
		e.ID = e.PredictionID + e.EntityID + "/" + e.Name
	}
	return nil
}

// vector returns the numbers of a cell that is an array of them, nil of any
// other. Lists in Parquet have no text, so they are none.
func vector(c Cell) (numbers []float64) {
	if c.Kind != Nested || !strings.HasPrefix(c.Str, "[") || json.Unmarshal([]byte(c.Str), &numbers) != nil {
		return nil
	}
	return numbers
}

// Value returns a cell as a feature of the column's type: a number (Null where a
// numeric column holds something else) or a category.
func (c Column) Value(cell Cell) event.Value {
	switch {
	case cell.Kind == Null:
		return event.Value{}
	case c.Type == Numeric:
		f, ok := cell.Float()
		if !ok {
			return event.Value{}
		}
		return event.Num(f)
	}
	return event.Cat(cell.Text())
}

func (c *clause) apply(m *Map, cell Cell, n int64, e *event.Event) error {
	switch c.field {
	case "time":
		return c.setTime(cell, n, e)
	case "prediction", "label":
		v := event.Value{Kind: event.Category, Str: c.source(cell, n)}
		if c.index >= 0 {
			v = m.cols[c.index].Value(cell)
		}
		if c.field == "label" {
			e.Label = v
		} else {
			e.Prediction = v
		}
		return nil
	case "scores", "confidence", "latency_ms", "cost", "value":
		return c.setNumber(cell, n, e)
	case "variant":
		name, ok := c.source(cell, n), false
		if e.Variant, ok = event.ParseVariant(name); !ok && name != "" {
			return fmt.Errorf("variant %q: must be primary, canary or shadow", clip(name))
		}
		return nil
	case "segments":
		e.Segments = append(e.Segments, event.Segment{Name: c.name, Value: c.source(cell, n)})
		return nil
	}
	*c.target(e) = c.source(cell, n)
	e.Failed = e.Error != ""
	return nil
}

// target is the string field that the clause sets.
func (c *clause) target(e *event.Event) *string {
	switch c.field {
	case "id":
		return &e.ID
	case "version":
		return &e.Version
	case "error":
		return &e.Error
	case "entity_id":
		return &e.EntityID
	case "trace_id":
		return &e.TraceID
	case "prediction_id":
		return &e.PredictionID
	case "name":
		return &e.Name
	case "source":
		return &e.Source
	case "annotator":
		return &e.Annotator
	}
	return &e.Explanation
}

func (c *clause) source(cell Cell, n int64) string {
	switch {
	case c.index >= 0:
		return cell.Text()
	case c.row:
		return fmt.Sprintf("%s%d", c.literal, n)
	}
	return c.literal
}

func (c *clause) setTime(cell Cell, n int64, e *event.Event) error {
	if c.index < 0 {
		e.Time = c.start + c.step*n
		return nil
	}
	t, ok := cell.UnixNano()
	if !ok && cell.Kind != Null {
		return fmt.Errorf("column %q: %s %q is no time of the years 1678 to 2261", c.column, cell.Kind, clip(cell.Text()))
	}
	e.Time = t
	return nil
}

func (c *clause) setNumber(cell Cell, n int64, e *event.Event) error {
	f, ok := math.NaN(), true
	switch {
	case c.index >= 0 && cell.Kind != Null:
		f, ok = cell.Float()
	case c.index < 0:
		f, ok = parseNumber(c.source(Cell{}, n))
	}
	if !ok {
		return fmt.Errorf("%q is no number", clip(c.source(cell, n)))
	}
	switch c.field {
	case "scores":
		e.ScoreValues = append(e.ScoreValues, f)
	case "confidence":
		e.Confidence = f
	case "latency_ms":
		e.LatencyMS = f
	case "cost":
		e.Cost = f
	default:
		e.Value = f
	}
	return nil
}
