package stats

import (
	"encoding/binary"
	"math"
)

// Bins are the counts of a histogram at the least width that holds the largest of
// them: 1, 2, 4 or 8 bytes each. Most histograms that wait for more values never
// need more than one. The zero value has no bins.
type Bins struct {
	width int
	data  []byte // little-endian
}

// NewBins returns n empty bins.
func NewBins(n int) Bins { return Bins{1, make([]byte, n)} }

// Len returns the number of bins.
func (b *Bins) Len() int {
	if b.width == 0 {
		return 0
	}
	return len(b.data) / b.width
}

// Add adds counts, of which there must be Len.
func (b *Bins) Add(counts []uint64) {
	for i, c := range counts {
		if c > 0 {
			b.add(i, c)
		}
	}
}

// add adds to one bin, and widens all of them when it overflows.
func (b *Bins) add(i int, c uint64) {
	if b.width == 1 { // the common case
		if sum := uint64(b.data[i]) + c; sum <= math.MaxUint8 {
			b.data[i] = byte(sum)
			return
		}
	}
	sum := b.at(i) + c
	for b.width < 8 && sum>>(8*b.width) > 0 {
		b.widen()
	}
	b.put(i, sum)
}

func (b *Bins) at(i int) uint64 {
	switch b.width {
	case 1:
		return uint64(b.data[i])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b.data[2*i:]))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b.data[4*i:]))
	}
	return binary.LittleEndian.Uint64(b.data[8*i:])
}

func (b *Bins) put(i int, c uint64) {
	switch b.width {
	case 1:
		b.data[i] = byte(c)
	case 2:
		binary.LittleEndian.PutUint16(b.data[2*i:], uint16(c))
	case 4:
		binary.LittleEndian.PutUint32(b.data[4*i:], uint32(c))
	default:
		binary.LittleEndian.PutUint64(b.data[8*i:], c)
	}
}

func (b *Bins) widen() {
	wide := Bins{2 * b.width, make([]byte, 2*len(b.data))}
	for i := range b.Len() {
		wide.put(i, b.at(i))
	}
	*b = wide
}

// Counts returns the counts as a slice of their own, nil without bins.
func (b *Bins) Counts() []uint64 {
	if b.width == 0 {
		return nil
	}
	out := make([]uint64, b.Len())
	for i := range out {
		out[i] = b.at(i)
	}
	return out
}
