package main

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"driftd.dev/driftd/pkg/dataset"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// A pair is two files with the columns of both.
type pair struct {
	ref, cur *side
	together drift.Multivariate
	columns  []pairColumn // in the order of the reference, then what only current has
}

// A pairColumn is one column of a pair.
type pairColumn struct {
	name             string
	typ              dataset.Type
	note             string
	inRef, inCur     int // positions in the files; -1 = absent
	ignored          bool
	valuesR, valuesC uint64 // not missing, of an ignored column
}

// A side is one of the files, while it is read.
type side struct {
	name     string // "reference" or "current"
	path     string
	table    *dataset.Table
	from, to int64 // rows to read, counted from 1; to 0 = to the end
	rows     uint64
	raw      map[string]*rawColumn // by name, if keepRaw was called
	err      error
}

// declaredTypes are types that somebody gave to columns.
type declaredTypes struct {
	said  map[string]dataset.Type // on the command line: must exist
	known map[string]dataset.Type // in the configuration: may exist

	together drift.Multivariate // what the configuration watches together
}

func openSide(name, path, rows string) (*side, error) {
	from, to, err := parseRows(rows)
	if err != nil {
		return nil, badUsage("--%s-rows %q: %w", name, rows, err)
	}
	table, err := dataset.Open(path, dataset.Limits{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &side{name: name, path: path, table: table, from: from, to: to}, nil
}

// parseRows reads FROM-TO, rows counted from 1; "" is all.
func parseRows(text string) (from, to int64, err error) {
	if text == "" {
		return 1, 0, nil
	}
	a, b, _ := strings.Cut(text, "-")
	from, err1 := strconv.ParseInt(a, 10, 64)
	to, err2 := strconv.ParseInt(b, 10, 64)
	if err1 != nil || err2 != nil || from < 1 || to < from {
		return 0, 0, fmt.Errorf("write FROM-TO with rows counted from 1, such as 1-1000")
	}
	return from, to, nil
}

func (p *pair) close() {
	for _, s := range []*side{p.ref, p.cur} {
		if s != nil {
			_ = s.table.Close() // it was only read
		}
	}
}

// override sets the declared types and gives the current file those of the
// reference, so that a column is read alike on both sides.
func (p *pair) override(t declaredTypes) error {
	for name := range t.said {
		if p.ref.table.Index(name) < 0 && p.cur.table.Index(name) < 0 {
			return badUsage("no column %q in either file: the reference has %s", name, names(p.ref.table))
		}
	}
	if err := p.ref.table.Override(present(p.ref.table, t.known, t.said)); err != nil {
		return err
	}
	settled := map[string]dataset.Type{}
	for _, c := range p.ref.table.Columns() {
		settled[c.Name] = c.Type
	}
	return p.cur.table.Override(present(p.cur.table, t.known, t.said, settled))
}

// present merges types for the columns that a table has; later maps win.
func present(t *dataset.Table, maps ...map[string]dataset.Type) map[string]dataset.Type {
	out := map[string]dataset.Type{}
	for _, m := range maps {
		for name, typ := range m {
			if i := t.Index(name); i >= 0 && t.Columns()[i].Type != dataset.NestedType && typ != dataset.NestedType {
				out[name] = typ
			}
		}
	}
	return out
}

// names lists the columns of a table for a message, the first twenty of them.
func names(t *dataset.Table) string {
	const most = 20
	var list []string
	for i, c := range t.Columns() {
		if i == most {
			list = append(list, fmt.Sprintf("and %d more", len(t.Columns())-most))
			break
		}
		list = append(list, strconv.Quote(c.Name))
	}
	return strings.Join(list, ", ")
}

// match lists the columns of both files and marks those to ignore.
func (p *pair) match(ignore []string) error {
	for i, c := range p.ref.table.Columns() {
		p.columns = append(p.columns, pairColumn{name: c.Name, typ: c.Type, note: c.Note, inRef: i, inCur: p.cur.table.Index(c.Name)})
	}
	for i, c := range p.cur.table.Columns() {
		if p.ref.table.Index(c.Name) < 0 {
			p.columns = append(p.columns, pairColumn{name: c.Name, typ: c.Type, note: c.Note, inRef: -1, inCur: i})
		}
	}
	for _, name := range ignore {
		at := slices.IndexFunc(p.columns, func(c pairColumn) bool { return c.name == name })
		if at < 0 {
			return badUsage("--ignore: no column %q in either file: the reference has %s", name, names(p.ref.table))
		}
		p.columns[at].ignored, p.columns[at].note = true, "as asked"
	}
	compared := 0
	for i := range p.columns {
		c := &p.columns[i]
		switch {
		case c.ignored:
		case !c.typ.Compared():
			c.ignored = true
		case c.inRef < 0:
			c.ignored, c.note = true, "not in the reference"
		default:
			compared++
		}
	}
	if compared == 0 {
		return fmt.Errorf("%s: nothing to compare: every column is ignored (--types NAME=numeric makes one count)", p.ref.path)
	}
	return nil
}

// events yields the rows of one side as predictions that have only features.
// What stopped it is in s.err.
func (s *side) events(ctx context.Context, e *env, columns []pairColumn) iter.Seq[*event.Event] {
	return func(yield func(*event.Event) bool) {
		_, total := s.table.Progress()
		progress := e.newProgress("read "+s.path, "bytes", total)
		defer progress.end()
		r := s.reader(columns)
		for row, err := range s.table.All() {
			if err != nil {
				s.err = err
				return
			}
			if row.N+1 < s.from {
				continue
			}
			if s.to > 0 && row.N+1 > s.to {
				return
			}
			s.rows++
			if s.rows%4096 == 0 {
				done, _ := s.table.Progress()
				progress.at(done)
				if s.err = ctx.Err(); s.err != nil {
					return
				}
			}
			if !yield(r.event(row)) {
				return
			}
		}
	}
}

// A rowReader makes an event of each row; it reuses the event.
type rowReader struct {
	columns []dataset.Column // of the file
	at      []int            // positions in the file of the features
	raw     []*rawColumn     // of the features, if they are kept
	skipped []skippedColumn
	ev      event.Event
}

type skippedColumn struct {
	at     int
	values *uint64
}

func (s *side) reader(columns []pairColumn) *rowReader {
	r := &rowReader{columns: s.table.Columns(), ev: event.New(event.Prediction)}
	shape := &event.Shape{}
	for i := range columns {
		c := &columns[i]
		at, values := c.inRef, &c.valuesR
		if s.name == "current" {
			at, values = c.inCur, &c.valuesC
		}
		switch {
		case at < 0:
		case c.ignored:
			r.skipped = append(r.skipped, skippedColumn{at, values})
		default:
			shape.Names = append(shape.Names, c.name)
			r.at = append(r.at, at)
			if s.raw != nil {
				r.raw = append(r.raw, s.keep(c.name))
			}
		}
	}
	r.ev.Features, r.ev.Values = shape, make([]event.Value, len(r.at))
	return r
}

func (r *rowReader) event(row dataset.Row) *event.Event {
	for i, at := range r.at {
		r.ev.Values[i] = r.columns[at].Value(row.Cells[at])
		if r.raw != nil {
			r.raw[i].add(r.ev.Values[i], row.Cells[at].Kind)
		}
	}
	for _, s := range r.skipped {
		if row.Cells[s.at].Kind != dataset.Null {
			*s.values++
		}
	}
	return &r.ev
}
