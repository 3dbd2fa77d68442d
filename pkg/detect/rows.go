package detect

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"
)

// ChunkRows is the number of rows that are stored together.
const ChunkRows = 16

// Rows are what a model's detectors are judged by, one row a window: while the
// reference period lasts the raw scores, afterwards the residuals of quiet
// windows, a ring of MaxRows. They are too many to stay in memory: the store
// keeps them in chunks of ChunkRows and loads them for each decision.
//
// Data is row-major, slot i at Data[i*Width:(i+1)*Width]. NaN stands for a
// detector that was not measured, or whose window was not quiet.
type Rows struct {
	Width int
	Data  []float32
}

// Len returns the number of rows.
func (r *Rows) Len() int {
	if r.Width == 0 {
		return 0
	}
	return len(r.Data) / r.Width
}

// Row returns one row, which shares the memory of Data.
func (r *Rows) Row(slot int) []float32 { return r.Data[slot*r.Width : (slot+1)*r.Width] }

// Put sets a row, which may be the one after the last.
func (r *Rows) Put(slot int, row []float32) {
	r.Width = len(row)
	if slot == r.Len() {
		r.Data = append(r.Data, row...)
		return
	}
	copy(r.Row(slot), row)
}

// Chunks returns the number of chunks that hold the rows.
func (r *Rows) Chunks() int { return (r.Len() + ChunkRows - 1) / ChunkRows }

// AppendChunk appends the encoding of one chunk: the width and the number of
// rows as uvarints, then the values as float32, little-endian.
func (r *Rows) AppendChunk(dst []byte, chunk int) []byte {
	from := min(r.Len(), chunk*ChunkRows)
	to := min(r.Len(), from+ChunkRows)
	dst = binary.AppendUvarint(dst, uint64(r.Width))
	dst = binary.AppendUvarint(dst, uint64(to-from))
	dst = slices.Grow(dst, 4*(to-from)*r.Width)
	for _, v := range r.Data[from*r.Width : to*r.Width] {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
	}
	return dst
}

// AddChunk appends the rows of the next chunk, which must be of the same width
// as those before it. Damaged bytes are an error that wraps [ErrCodec].
func (r *Rows) AddChunk(data []byte) error {
	d := decoder{data: data}
	width, rows := d.uvarint(), d.uvarint()
	switch {
	case d.err != nil:
		return d.wrap("calibration rows")
	case rows > ChunkRows || width > 2*maxWidth || uint64(len(d.data)) != 4*width*rows:
		return fmt.Errorf("decode calibration rows: %d bytes for %d rows of %d: %w", len(d.data), rows, width, ErrCodec)
	case r.Width != 0 && r.Width != int(width):
		return fmt.Errorf("decode calibration rows: width %d after width %d: %w", width, r.Width, ErrCodec)
	}
	r.Width = int(width)
	r.Data = slices.Grow(r.Data, len(d.data)/4)
	for ; len(d.data) > 0; d.data = d.data[4:] {
		r.Data = append(r.Data, math.Float32frombits(binary.LittleEndian.Uint32(d.data)))
	}
	return nil
}

// A row of the reference period is the day and the second of the window's
// middle, since the Unix epoch and midnight UTC, and then score and precision of
// every detector.
const rawHead = 2

func rawWidth(detectors int) int { return rawHead + 2*detectors }

func rawRow(middle time.Time, scores []measure) []float32 {
	const day = 24 * 60 * 60
	at := middle.Unix()
	row := make([]float32, 0, rawWidth(len(scores)))
	row = append(row, float32(at/day), float32(at%day))
	for _, m := range scores {
		row = append(row, m.value, m.n)
	}
	return row
}

// A place is where a residual stands in a detector's list.
type place struct {
	below, upTo, of uint32 // values below it, at most it, and all
}

// rank finds the place of every residual. Rows are read in order, four at a
// time: a list of 2,000 rows of 800 detectors is 6 MB, more than the caches that
// columns need, and so a place is touched once for four values. There is no
// branch: whether a residual is greater is as good as chance, and a mispredicted
// branch costs ten compares.
func (r *Rows) rank(residuals []float32) []place {
	places := make([]place, len(residuals))
	n := len(places)
	i := 0
	for ; i+4 <= r.Len(); i += 4 {
		r0, r1, r2, r3 := r.Row(i)[:n], r.Row(i + 1)[:n], r.Row(i + 2)[:n], r.Row(i + 3)[:n]
		for j, x := range residuals {
			a, b, c, d := r0[j], r1[j], r2[j], r3[j]
			p := &places[j]
			p.below += one(a < x) + one(b < x) + one(c < x) + one(d < x)
			p.upTo += one(a <= x) + one(b <= x) + one(c <= x) + one(d <= x)
			p.of += one(a == a) + one(b == b) + one(c == c) + one(d == d)
		}
	}
	for ; i < r.Len(); i++ {
		for j, v := range r.Row(i)[:n] {
			p, x := &places[j], residuals[j]
			p.below += one(v < x)
			p.upTo += one(v <= x)
			p.of += one(v == v)
		}
	}
	return places
}

// one is 1 for true.
func one(b bool) (n uint32) {
	if b {
		n = 1
	}
	return n
}
