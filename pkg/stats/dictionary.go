package stats

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

const (
	// DefaultCategories is the size of a dictionary unless asked otherwise.
	DefaultCategories = 256
	// MaxCategories is the largest dictionary.
	MaxCategories = 1000
	// maxKnown bounds the exact set of categories beyond the dictionary.
	maxKnown = 100_000
)

// What Index returns of a value that is not in the dictionary.
const (
	// KnownOther is a value of the baseline beyond the dictionary.
	KnownOther = -1
	// UnseenValue is a value the baseline did not have.
	UnseenValue = -2
)

// Dictionary is the immutable list of a baseline's categories.
//
// The most frequent categories have a cell of their own, the other known ones
// share the cell `other`, and what the baseline never had is `unseen`. Of a
// baseline with more than 100,000 categories beyond the dictionary the known
// set is not kept: every value outside of the dictionary is then `other`, and
// nothing is unseen.
type Dictionary struct {
	// Categories by rank: count descending, then name. Read only.
	Categories []string
	// Singles is the number of categories seen exactly once (f1), Total the
	// number of values (m): f1/m is the Good-Turing mass of unseen values.
	Singles, Total uint64

	index map[string]int32
	known map[uint64]struct{} // hashes beyond the dictionary
	open  bool                // too many to know
	id    uint64
}

// BuildDictionary returns the dictionary of a baseline's category counts and
// the baseline's histogram on it. limit <= 0 means DefaultCategories; more
// than MaxCategories means MaxCategories. Zero counts are ignored.
func BuildDictionary(counts map[string]uint64, limit int) (*Dictionary, *Categorical) {
	if limit <= 0 {
		limit = DefaultCategories
	}
	ranked := make([]Heavy, 0, len(counts))
	d := &Dictionary{}
	for name, n := range counts {
		if n == 0 {
			continue
		}
		if n == 1 {
			d.Singles++
		}
		d.Total += n
		ranked = append(ranked, Heavy{Name: name, Count: n})
	}
	slices.SortFunc(ranked, heavier)
	kept := ranked[:min(len(ranked), limit, MaxCategories)]
	for _, item := range kept {
		d.Categories = append(d.Categories, strings.Clone(item.Name))
	}
	beyond := ranked[len(kept):]
	d.open = len(beyond) > maxKnown
	hashes := make([]uint64, 0, len(beyond))
	for _, item := range beyond {
		hashes = append(hashes, xxhash.Sum64String(item.Name))
	}
	d.finish(hashes)

	c := NewCategorical(d)
	for _, item := range ranked {
		c.AddN(item.Name, item.Count)
	}
	return d, c
}

// finish builds the lookups and the name of the dictionary.
func (d *Dictionary) finish(hashes []uint64) {
	d.index = make(map[string]int32, len(d.Categories))
	for i, name := range d.Categories {
		d.index[name] = int32(i)
	}
	d.known = make(map[uint64]struct{})
	if !d.open {
		for _, h := range hashes {
			d.known[h] = struct{}{}
		}
	}
	d.id = xxhash.Sum64(AppendDictionary(nil, d))
}

// ID names the dictionary: the xxHash64 of its encoding.
func (d *Dictionary) ID() uint64 { return d.id }

// Index returns the rank of a category (>= 0), KnownOther or UnseenValue.
func (d *Dictionary) Index(s string) int {
	i, _ := d.find(s)
	return i
}

// find also returns the hash of a value outside of the dictionary.
func (d *Dictionary) find(s string) (index int, hash uint64) {
	if i, ok := d.index[s]; ok {
		return int(i), 0
	}
	hash = xxhash.Sum64String(s)
	if _, ok := d.known[hash]; ok || d.open {
		return KnownOther, hash
	}
	return UnseenValue, hash
}

// UnseenRate returns the share of values expected to be unseen when nothing
// changed: Good's f1/m. Special cases are: 0 of an empty baseline, and of one
// with too many categories to know.
func (d *Dictionary) UnseenRate() float64 {
	if d.Total == 0 || d.open {
		return 0
	}
	return float64(d.Singles) / float64(d.Total)
}

// AppendDictionary appends the encoding of d: Singles, Total, the number of
// categories and each as length and bytes, a byte that is 1 when the known set
// was too large to keep, the number of known hashes and each as 8 bytes,
// ascending.
func AppendDictionary(dst []byte, d *Dictionary) []byte {
	dst = binary.AppendUvarint(dst, d.Singles)
	dst = binary.AppendUvarint(dst, d.Total)
	dst = binary.AppendUvarint(dst, uint64(len(d.Categories)))
	for _, name := range d.Categories {
		dst = appendString(dst, name)
	}
	if d.open {
		return binary.AppendUvarint(append(dst, 1), 0)
	}
	hashes := make([]uint64, 0, len(d.known))
	for h := range d.known {
		hashes = append(hashes, h)
	}
	slices.Sort(hashes)
	dst = binary.AppendUvarint(append(dst, 0), uint64(len(hashes)))
	for _, h := range hashes {
		dst = binary.LittleEndian.AppendUint64(dst, h)
	}
	return dst
}

// DecodeDictionary reads what AppendDictionary wrote and returns the bytes after it.
func DecodeDictionary(data []byte) (d *Dictionary, rest []byte, err error) {
	r := reader{data: data}
	d = &Dictionary{Singles: r.uvarint(), Total: r.uvarint()}
	names := r.length(1)
	if names > MaxCategories {
		r.fail("%d categories of at most %d", names, MaxCategories)
	}
	for i := 0; i < names && r.err == nil; i++ {
		d.Categories = append(d.Categories, r.string())
	}
	d.open = r.byte() == 1
	hashes := make([]uint64, r.length(8))
	for i := range hashes {
		hashes[i] = r.uint64()
	}
	if r.err != nil {
		return nil, nil, r.wrap("dictionary")
	}
	d.finish(hashes)
	if len(d.index) != len(d.Categories) || (d.open && len(hashes) > 0) || len(d.known) != len(hashes) {
		return nil, nil, fmt.Errorf("decode dictionary: an entry stands twice: %w", ErrCodec)
	}
	return d, r.data, nil
}
