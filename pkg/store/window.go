package store

import (
	"encoding/binary"
	"fmt"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

// A window was one long record as follows, closed ones up to schema 3 and open ones in
// schema 6 too, and is read so; now it is packed (pack.go). Group and start are in its key;
// numbers are unsigned varints (LEB128) unless said otherwise.
//
//	length in nanoseconds
//	state          1 byte: 0 open, 1 closed, 2 incomplete
//	learning       1 byte: 0 or 1
//	baseline       length, id
//	events, failed, first sequence, last sequence
//	signals        until the record ends
//
// A signal:
//
//	length of the name, name
//	form           1 byte, as below
//	mismatched
//	form 1         stats.AppendNumeric: id of the edges (8 bytes, little-endian), moments, counts
//	form 2         stats.AppendCategorical: id of the dictionary (8 bytes, little-endian), counts
//	form 3         categorical without a dictionary: values, other, unseen, then
//	               1 byte: bit 0 stats.AppendSpaceSaving follows, bit 1 stats.AppendHLL follows
//
// Edges (stats.AppendEdges) and dictionaries (stats.AppendDictionary) are long
// records of their own, each written once.
const (
	formNumeric     = 1
	formCategorical = 2
	formLearning    = 3

	hasNew      = 1
	hasDistinct = 2
)

// appendHead writes what is before the signals.
func appendHead(b []byte, w *drift.Window) []byte {
	b = binary.AppendUvarint(b, uint64(w.End.Sub(w.Start)))
	b = appendFlag(append(b, byte(w.State)), w.Learning)
	b = appendText(b, w.Baseline)
	for _, n := range [...]uint64{w.Events, w.Failed, w.FromSeq, w.ToSeq} {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func form(s *drift.Signal) byte {
	switch {
	case s.Type == drift.Numeric:
		return formNumeric
	case s.Categorical.Dict != nil:
		return formCategorical
	}
	return formLearning
}

func appendSignal(b []byte, s *drift.Signal) []byte {
	b = binary.AppendUvarint(append(appendText(b, s.Name), form(s)), s.Mismatched)
	if s.Type == drift.Numeric {
		return stats.AppendNumeric(b, s.Numeric)
	}
	return appendCategories(b, s.Categorical)
}

// appendCategories writes forms 2 and 3.
func appendCategories(b []byte, c *stats.Categorical) []byte {
	if c.Dict != nil {
		return stats.AppendCategorical(b, c)
	}
	for _, n := range [...]uint64{c.N, c.Other, c.Unseen} {
		b = binary.AppendUvarint(b, n)
	}
	at := len(b)
	b = append(b, 0)
	if c.New != nil {
		b = stats.AppendSpaceSaving(b, c.New)
		b[at] |= hasNew
	}
	if c.Distinct != nil {
		b = stats.AppendHLL(b, c.Distinct)
		b[at] |= hasDistinct
	}
	return b
}

// decodeWindow reads a window from its key (less the chunk) and record.
func decodeWindow(r resolver, key, record []byte) (*drift.Window, error) {
	f := fields{rest: record}
	w, columns, err := decodeHead(key, &f)
	if err != nil {
		return nil, err
	}
	if columns && f.err == nil {
		r.unpack.signals(r, &f, w)
	}
	for f.err == nil && !columns && len(f.rest) > 0 {
		w.Signals = append(w.Signals, decodeSignal(r, &f))
	}
	if f.err == nil && len(f.rest) > 0 {
		f.fail(fmt.Errorf("%d bytes are left over", len(f.rest)))
	}
	if f.err != nil {
		return nil, damaged(key, f.err, nil)
	}
	return w, nil
}

// decodeTotals is decodeWindow without the signals.
func decodeTotals(_ resolver, key, record []byte) (*drift.Window, error) {
	f := fields{rest: record}
	w, _, err := decodeHead(key, &f)
	if err == nil && f.err != nil {
		err = damaged(key, f.err, nil)
	}
	return w, err
}

// decodeHead reads what is before the signals, and whether they are columns.
func decodeHead(key []byte, f *fields) (w *drift.Window, columns bool, err error) {
	if w, err = decodeSpan(key); err != nil {
		return nil, false, err
	}
	if columns = len(f.rest) > 0 && f.rest[0] == packed; columns {
		f.byte()
	}
	w.End = w.Start.Add(time.Duration(f.uvarint()))
	w.State = drift.WindowState(f.byte())
	w.Learning = f.byte() == 1
	w.Baseline = f.text()
	w.Events, w.Failed, w.FromSeq, w.ToSeq = f.uvarint(), f.uvarint(), f.uvarint(), f.uvarint()
	if w.State > drift.Incomplete {
		f.fail(fmt.Errorf("window state %d is unknown", w.State))
	}
	return w, columns, nil
}

// decodeSpan reads group and start from the key of a window, less the chunk.
func decodeSpan(key []byte) (*drift.Window, error) {
	k := readKey(key)
	w := &drift.Window{Group: k.group(), Start: k.time()}
	return w, k.end(key)
}

func decodeSignal(r resolver, f *fields) (s drift.Signal) {
	s.Name = f.text()
	form := f.byte()
	s.Mismatched = f.uvarint()
	var err error
	switch {
	case f.err != nil:
	case form == formNumeric:
		s.Type = drift.Numeric
		var edges *stats.Edges
		if edges, err = r.edges(f.peek()); err == nil {
			s.Numeric, f.rest, err = stats.DecodeNumeric(f.rest, edges)
		}
	default:
		s.Type = drift.Categorical
		s.Categorical, err = decodeCategories(r, form, f)
	}
	if err != nil {
		f.fail(fmt.Errorf("signal %q: %w", s.Name, err))
	}
	return s
}

// decodeCategories reads what appendCategories wrote.
func decodeCategories(r resolver, form byte, f *fields) (c *stats.Categorical, err error) {
	switch form {
	case formCategorical:
		dict, err := r.dictionary(f.peek())
		if err == nil {
			c, f.rest, err = stats.DecodeCategorical(f.rest, dict)
		}
		return c, err
	case formLearning:
		return decodeLearning(f)
	}
	return nil, fmt.Errorf("form %d is unknown", form)
}

// peek returns the id that comes next without taking it; the codec of the
// counts checks it.
func (f *fields) peek() uint64 {
	if len(f.rest) < 8 {
		f.fail(errShort)
		return 0
	}
	return binary.LittleEndian.Uint64(f.rest)
}

func decodeLearning(f *fields) (c *stats.Categorical, err error) {
	c = &stats.Categorical{N: f.uvarint(), Other: f.uvarint(), Unseen: f.uvarint()}
	flags := f.byte()
	if flags > hasNew|hasDistinct {
		return nil, fmt.Errorf("flags %#x are unknown", flags)
	}
	if flags&hasNew != 0 {
		if c.New, f.rest, err = stats.DecodeSpaceSaving(f.rest); err != nil {
			return nil, err
		}
	}
	if flags&hasDistinct != 0 {
		c.Distinct, f.rest, err = stats.DecodeHLL(f.rest)
	}
	return c, err
}
