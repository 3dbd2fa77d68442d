package stats

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// ErrCodec is wrapped by every error about bytes that cannot be decoded.
var ErrCodec = errors.New("damaged bytes")

// The encodings below are stored and outlive the process. All numbers are
// unsigned varints (LEB128) unless a width is given; widths are little-endian.
//
//	edges       n, n * float64
//	counts      tag byte, then
//	              1 sparse: k, k * (zero bins before it, count > 0); the rest is zero
//	              2 runs:   a count > 0, or 0 and the length of a run of zeros; until the bins are full
//	moments     N, NaN, PosInf, NegInf, and if N > 0: Min, Max, Mean, M2 as float64
//	numeric     edges id (8 bytes, 0 and no counts without edges), moments, counts
//
// The number of bins is not in the counts: it belongs to the edges, which a
// reader has. Equal values have equal bytes.
const (
	tagSparse = 1
	tagRuns   = 2
)

// AppendCounts appends the shorter of both encodings of counts.
func AppendCounts[C Count](dst []byte, counts []C) []byte {
	sparse, runs, filled, gap := 0, 0, 0, 0
	endGap := func() {
		if gap > 0 {
			runs += 1 + varintLen(uint64(gap))
		}
	}
	for _, c := range counts {
		if c == 0 {
			gap++
			continue
		}
		endGap()
		width := varintLen(uint64(c))
		sparse += varintLen(uint64(gap)) + width
		runs += width
		filled++
		gap = 0
	}
	endGap()
	if sparse+varintLen(uint64(filled)) <= runs {
		return appendSparse(dst, counts, filled)
	}
	return appendRuns(dst, counts)
}

func appendSparse[C Count](dst []byte, counts []C, filled int) []byte {
	dst = binary.AppendUvarint(append(dst, tagSparse), uint64(filled))
	gap := uint64(0)
	for _, c := range counts {
		if c == 0 {
			gap++
			continue
		}
		dst = binary.AppendUvarint(dst, gap)
		dst = binary.AppendUvarint(dst, uint64(c))
		gap = 0
	}
	return dst
}

func appendRuns[C Count](dst []byte, counts []C) []byte {
	dst = append(dst, tagRuns)
	for i := 0; i < len(counts); {
		if counts[i] != 0 {
			dst = binary.AppendUvarint(dst, uint64(counts[i]))
			i++
			continue
		}
		start := i
		for i < len(counts) && counts[i] == 0 {
			i++
		}
		dst = binary.AppendUvarint(append(dst, 0), uint64(i-start))
	}
	return dst
}

// DecodeCounts reads what AppendCounts wrote into counts, whose length is the
// number of bins, and returns the bytes after it. Damaged bytes are an error;
// counts then holds anything.
func DecodeCounts[C Count](data []byte, counts []C) (rest []byte, err error) {
	r := reader{data: data}
	clear(counts)
	switch tag := r.byte(); {
	case r.err != nil:
	case tag == tagSparse:
		decodeSparse(&r, counts)
	case tag == tagRuns:
		decodeRuns(&r, counts)
	default:
		r.fail("counts: unknown tag %d", tag)
	}
	return r.data, r.wrap("counts")
}

func decodeSparse[C Count](r *reader, counts []C) {
	at, filled := 0, r.uvarint()
	for ; filled > 0 && r.err == nil; filled-- {
		gap, c := r.uvarint(), r.uvarint()
		if gap >= uint64(len(counts)-at) || c == 0 {
			r.fail("a count outside of %d bins, or a zero one", len(counts))
			return
		}
		at += int(gap)
		put(r, counts, at, c)
		at++
	}
}

func decodeRuns[C Count](r *reader, counts []C) {
	for at := 0; at < len(counts) && r.err == nil; {
		c := r.uvarint()
		if c != 0 {
			put(r, counts, at, c)
			at++
			continue
		}
		run := r.uvarint()
		if run == 0 || run > uint64(len(counts)-at) {
			r.fail("a run of %d zeros at bin %d of %d", run, at, len(counts))
			return
		}
		at += int(run)
	}
}

func put[C Count](r *reader, counts []C, at int, c uint64) {
	counts[at] = C(c)
	if uint64(counts[at]) != c {
		r.fail("count %d overflows", c)
	}
}

// AppendEdges appends the encoding of e.
func AppendEdges(dst []byte, e *Edges) []byte {
	dst = binary.AppendUvarint(dst, uint64(e.n))
	for i := range e.n {
		dst = appendFloat(dst, e.at(i))
	}
	return dst
}

// DecodeEdges reads what AppendEdges wrote and returns the bytes after it.
func DecodeEdges(data []byte) (e *Edges, rest []byte, err error) {
	r := reader{data: data}
	values := make([]float64, r.length(8))
	for i := range values {
		values[i] = r.float()
	}
	if r.err != nil {
		return nil, nil, r.wrap("edges")
	}
	if e, err = NewEdges(values); err != nil {
		return nil, nil, fmt.Errorf("decode edges: %w: %w", ErrCodec, err)
	}
	return e, r.data, nil
}

// AppendMoments appends the encoding of m.
func AppendMoments(dst []byte, m Moments) []byte {
	for _, c := range [...]uint64{m.N, m.NaN, m.PosInf, m.NegInf} {
		dst = binary.AppendUvarint(dst, c)
	}
	if m.N > 0 {
		for _, v := range [...]float64{m.Min, m.Max, m.Mean, m.M2} {
			dst = appendFloat(dst, v)
		}
	}
	return dst
}

// DecodeMoments reads what AppendMoments wrote and returns the bytes after it.
func DecodeMoments(data []byte) (m Moments, rest []byte, err error) {
	r := reader{data: data}
	m = r.moments()
	return m, r.data, r.wrap("moments")
}

// AppendNumeric appends the encoding of h; its edges only by name.
func AppendNumeric(dst []byte, h *Numeric) []byte {
	id := uint64(0)
	if h.Edges != nil {
		id = h.Edges.id
	}
	dst = binary.LittleEndian.AppendUint64(dst, id)
	dst = AppendMoments(dst, h.Moments)
	if h.Edges == nil {
		return dst
	}
	return AppendCounts(dst, h.Counts)
}

// DecodeNumeric reads what AppendNumeric wrote and returns the bytes after it.
// edges must be those it was counted on (nil for a learning one); others, and
// counts that do not sum to N, are an error.
func DecodeNumeric(data []byte, edges *Edges) (h *Numeric, rest []byte, err error) {
	r := reader{data: data}
	id := r.uint64()
	h = NewNumeric(edges)
	h.Moments = r.moments()
	if r.err != nil {
		return nil, nil, r.wrap("histogram")
	}
	if edges == nil && id == 0 {
		return h, r.data, nil
	}
	if edges == nil || id != edges.id {
		return nil, nil, fmt.Errorf("decode histogram: it was counted on edges %016x: %w", id, ErrEdges)
	}
	if rest, err = DecodeCounts(r.data, h.Counts); err != nil {
		return nil, nil, err
	}
	if sum := total(h.Counts); sum != h.N {
		return nil, nil, fmt.Errorf("decode histogram: counts sum to %d of %d values: %w", sum, h.N, ErrCodec)
	}
	return h, rest, nil
}

func appendFloat(dst []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
}

func varintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// total returns the sum of counts.
func total(counts []uint64) (sum uint64) {
	for _, c := range counts {
		sum += c
	}
	return sum
}

// reader takes fields off the front of data; after the first fault it returns
// zeros, so a decoder checks once.
type reader struct {
	data []byte
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
		r.data = nil
	}
}

func (r *reader) wrap(what string) error {
	if r.err == nil {
		return nil
	}
	return fmt.Errorf("decode %s: %w: %w", what, ErrCodec, r.err)
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.data) {
		r.fail("%d bytes end before a field of %d", len(r.data), n)
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) float() float64 { return math.Float64frombits(r.uint64()) }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.fail("a varint is cut short or too long")
		return 0
	}
	r.data = r.data[n:]
	return v
}

// length reads a number of items of at least width bytes each, and refuses
// what the remaining bytes cannot hold.
func (r *reader) length(width int) int {
	n := r.uvarint()
	if n > uint64(len(r.data)/width) {
		r.fail("%d items do not fit into %d bytes", n, len(r.data))
		return 0
	}
	return int(n)
}

func (r *reader) moments() (m Moments) {
	m.N, m.NaN, m.PosInf, m.NegInf = r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
	if m.N > 0 {
		m.Min, m.Max, m.Mean, m.M2 = r.float(), r.float(), r.float(), r.float()
	}
	return m
}
