package stats

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Categorical is the histogram of one categorical feature over one set of
// values.
//
// N = sum(Counts) + Other + Unseen. New and Distinct describe values outside
// of the dictionary: the names of unseen ones, and the number of distinct ones
// (known or not). Both are nil until such a value comes.
type Categorical struct {
	Dict          *Dictionary
	Counts        []uint64 // by rank in Dict
	Other, Unseen uint64
	N             uint64
	New           *SpaceSaving
	Distinct      *HLL
}

// NewCategorical returns an empty histogram on a dictionary.
func NewCategorical(d *Dictionary) *Categorical {
	return &Categorical{Dict: d, Counts: make([]uint64, len(d.Categories))}
}

// Add counts one value.
func (c *Categorical) Add(s string) { c.AddN(s, 1) }

// AddN counts n occurrences of a value.
func (c *Categorical) AddN(s string, n uint64) {
	i, hash := c.Dict.find(s)
	c.N += n
	if i >= 0 {
		c.Counts[i] += n
		return
	}
	if c.Distinct == nil {
		c.Distinct = &HLL{}
	}
	c.Distinct.AddHash(hash)
	if i == KnownOther {
		c.Other += n
		return
	}
	c.Unseen += n
	if c.New == nil {
		c.New = &SpaceSaving{}
	}
	c.New.Add(s, n)
}

// Merge adds the values behind o, which must be on the same dictionary.
func (c *Categorical) Merge(o *Categorical) error {
	if c.Dict.id != o.Dict.id || len(c.Counts) != len(o.Counts) {
		return fmt.Errorf("merge dictionary %016x into %016x: %w", o.Dict.id, c.Dict.id, ErrEdges)
	}
	for i, n := range o.Counts {
		c.Counts[i] += n
	}
	c.N, c.Other, c.Unseen = c.N+o.N, c.Other+o.Other, c.Unseen+o.Unseen
	if o.New != nil {
		if c.New == nil {
			c.New = &SpaceSaving{}
		}
		c.New.Merge(o.New)
	}
	if o.Distinct != nil {
		if c.Distinct == nil {
			c.Distinct = &HLL{}
		}
		c.Distinct.Merge(o.Distinct)
	}
	return nil
}

// Clone returns a copy that shares the immutable dictionary.
func (c *Categorical) Clone() *Categorical {
	out := *c
	out.Counts = slices.Clone(c.Counts)
	if c.New != nil {
		out.New = c.New.Clone()
	}
	if c.Distinct != nil {
		out.Distinct = c.Distinct.Clone()
	}
	return &out
}

// cells returns the counts of all cells: the dictionary, other, unseen.
func (c *Categorical) cells() []uint64 {
	return append(slices.Clone(c.Counts), c.Other, c.Unseen)
}

// referenceCells returns the cells with the mass a baseline must lend to
// `unseen`: its own count there is zero by construction, but the next values
// will not be (statistics.md 2: with a long tail, 6 % of them). Good-Turing's
// f1 is taken from `other`, where the singles of a long tail are; as far as
// they are in the dictionary itself it is added. Only the baseline needs this:
// a window used as the reference has counted its unseen values.
func (c *Categorical) referenceCells() []uint64 {
	cells := c.cells()
	if c.Unseen == 0 && !c.Dict.open && c.N == c.Dict.Total {
		f1 := c.Dict.Singles
		cells[len(cells)-1] = f1
		cells[len(cells)-2] -= min(f1, c.Other)
	}
	return cells
}

// Categorical is encoded as the dictionary's id (8 bytes), Other, Unseen, the
// counts, then a byte with bit 0 set when New follows and bit 1 when Distinct
// follows.
const (
	hasNew      = 1
	hasDistinct = 2
)

// AppendCategorical appends the encoding of c; its dictionary only by name.
func AppendCategorical(dst []byte, c *Categorical) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, c.Dict.id)
	dst = binary.AppendUvarint(dst, c.Other)
	dst = binary.AppendUvarint(dst, c.Unseen)
	dst = AppendCounts(dst, c.Counts)
	flags := byte(0)
	if c.New != nil {
		flags |= hasNew
	}
	if c.Distinct != nil {
		flags |= hasDistinct
	}
	dst = append(dst, flags)
	if c.New != nil {
		dst = AppendSpaceSaving(dst, c.New)
	}
	if c.Distinct != nil {
		dst = AppendHLL(dst, c.Distinct)
	}
	return dst
}

// DecodeCategorical reads what AppendCategorical wrote and returns the bytes
// after it. d must be the dictionary it was counted on.
func DecodeCategorical(data []byte, d *Dictionary) (c *Categorical, rest []byte, err error) {
	r := reader{data: data}
	id := r.uint64()
	if r.err == nil && id != d.id {
		return nil, nil, fmt.Errorf("decode categories: they were counted on dictionary %016x, not %016x: %w", id, d.id, ErrEdges)
	}
	c = NewCategorical(d)
	c.Other, c.Unseen = r.uvarint(), r.uvarint()
	if r.err == nil {
		if r.data, err = DecodeCounts(r.data, c.Counts); err != nil {
			return nil, nil, err
		}
	}
	c.N = total(c.Counts) + c.Other + c.Unseen
	flags := r.byte()
	if flags > hasNew|hasDistinct {
		r.fail("unknown flags %#x", flags)
	}
	if flags&hasNew != 0 {
		c.New = r.spaceSaving()
	}
	if flags&hasDistinct != 0 {
		c.Distinct = r.hll()
	}
	if r.err != nil {
		return nil, nil, r.wrap("categories")
	}
	return c, r.data, nil
}
