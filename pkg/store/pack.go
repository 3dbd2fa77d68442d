package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/klauspost/compress/huff0"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

// Windows are most of what a store holds, and open ones of what a checkpoint writes, so
// they are packed: the same fields as in window.go, sorted into columns of one kind each, for these shrink
// by half and the whole does not.
//
//	0              1 byte; a window that is not packed begins with its length, never 0
//	head           as in window.go
//	names          column: of each signal how many bytes its name shares with the one
//	               before, the length of the rest and the rest, form, mismatched, and
//	               the id of form 1
//	moments        column: stats.AppendMoments of each signal of form 1
//	counts         column: stats.AppendCounts of each signal of form 1 that has an id,
//	               all behind mismatched of the others
//
// A column is its length, then blocks until that is reached. A block is a varint:
// twice its stored length, plus 1 if it is Huffman-coded (huff0, one stream), and
// the bytes. Decoded it has 64 KiB or ends the column.
const packed = 0

const columnBlock = 64 << 10

// A packer writes columns. It belongs to one goroutine.
type packer struct {
	names, moments, counts []byte
	huffman                huff0.Scratch
}

// append appends the packed form of a window.
func (p *packer) append(b []byte, w *drift.Window) []byte {
	p.names, p.moments, p.counts = p.names[:0], p.moments[:0], p.counts[:0]
	p.huffman.Reuse = huff0.ReusePolicyNone // every block brings its own table
	last := ""
	for i := range w.Signals {
		p.signal(&w.Signals[i], last)
		last = w.Signals[i].Name
	}
	b = appendHead(append(b, packed), w)
	for _, column := range [...][]byte{p.names, p.moments, p.counts} {
		b = p.column(b, column)
	}
	return b
}

func (p *packer) signal(s *drift.Signal, last string) {
	shared := 0
	for shared < min(len(last), len(s.Name)) && last[shared] == s.Name[shared] {
		shared++
	}
	p.names = append(appendText(binary.AppendUvarint(p.names, uint64(shared)), s.Name[shared:]), form(s))
	p.names = binary.AppendUvarint(p.names, s.Mismatched)
	if s.Type != drift.Numeric {
		p.counts = appendCategories(p.counts, s.Categorical)
		return
	}
	id := uint64(0)
	if s.Numeric.Edges != nil {
		id = s.Numeric.Edges.ID()
		p.counts = stats.AppendCounts(p.counts, s.Numeric.Counts)
	}
	p.names = binary.LittleEndian.AppendUint64(p.names, id)
	p.moments = stats.AppendMoments(p.moments, s.Numeric.Moments)
}

func (p *packer) column(b, column []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(column)))
	for len(column) > 0 {
		block := column[:min(len(column), columnBlock)]
		column = column[len(block):]
		// It fails where it does not shrink, and on a single repeated byte.
		coded, _, err := huff0.Compress1X(block, &p.huffman)
		if err == nil {
			b = append(binary.AppendUvarint(b, uint64(len(coded))<<1|1), coded...)
		} else {
			b = append(binary.AppendUvarint(b, uint64(len(block))<<1), block...)
		}
	}
	return b
}

// An unpacker reads columns. It belongs to one goroutine.
type unpacker struct {
	names, moments, counts []byte
	huffman                *huff0.Scratch
}

// signals reads what is behind the head of a packed window into w.
func (u *unpacker) signals(r resolver, f *fields, w *drift.Window) {
	for _, column := range [...]*[]byte{&u.names, &u.moments, &u.counts} {
		if err := u.column(f, column); err != nil {
			f.fail(err)
		}
	}
	names, last := fields{rest: u.names}, ""
	for f.err == nil && names.err == nil && len(names.rest) > 0 {
		s, err := u.signal(r, &names, last)
		last = s.Name
		if err != nil {
			f.fail(fmt.Errorf("signal %q: %w", s.Name, err))
		}
		w.Signals = append(w.Signals, s)
	}
	switch {
	case names.err != nil:
		f.fail(names.err)
	case f.err == nil && len(u.moments)+len(u.counts) > 0:
		f.fail(errors.New("a column has more than its signals"))
	}
}

var errColumn = errors.New("a column cannot be decoded")

// column reads one column.
func (u *unpacker) column(f *fields, into *[]byte) (err error) {
	const longest = 1 << 28 // far above what limits let a window have
	total := f.uvarint()
	if f.err == nil && total > longest {
		return errColumn
	}
	out := (*into)[:0]
	for f.err == nil && uint64(len(out)) < total {
		want := int(min(total-uint64(len(out)), columnBlock))
		length := f.uvarint()
		block := f.take(length >> 1)
		if f.err == nil && length&1 == 1 {
			if u.huffman, block, err = huff0.ReadTable(block, u.huffman); err != nil {
				return errColumn
			}
			u.huffman.MaxDecodedSize = want
			if block, err = u.huffman.Decompress1X(block); err != nil {
				return errColumn
			}
		}
		if f.err == nil && len(block) != want {
			return errColumn
		}
		out = append(out, block...)
	}
	*into = out
	return f.err
}

func (u *unpacker) signal(r resolver, names *fields, last string) (s drift.Signal, err error) {
	shared := names.uvarint()
	if shared > uint64(len(last)) {
		return s, errColumn
	}
	s.Name = last[:shared] + names.text()
	form := names.byte()
	s.Mismatched = names.uvarint()
	if form != formNumeric {
		counts := fields{rest: u.counts}
		s.Type = drift.Categorical
		s.Categorical, err = decodeCategories(r, form, &counts)
		u.counts = counts.rest
		return s, errors.Join(err, counts.err)
	}
	edges, err := r.edges(names.peek())
	names.take(8)
	if err != nil || names.err != nil {
		return s, errors.Join(err, names.err)
	}
	s.Type, s.Numeric = drift.Numeric, stats.NewNumeric(edges)
	if s.Numeric.Moments, u.moments, err = stats.DecodeMoments(u.moments); err != nil || edges == nil {
		return s, err
	}
	if u.counts, err = stats.DecodeCounts(u.counts, s.Numeric.Counts); err != nil {
		return s, err
	}
	sum := uint64(0)
	for _, n := range s.Numeric.Counts {
		sum += n
	}
	if sum != s.Numeric.N {
		return s, fmt.Errorf("counts sum to %d of %d values", sum, s.Numeric.N)
	}
	return s, nil
}
