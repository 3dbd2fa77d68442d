package stats

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

const (
	// heavyNames is k of Space-Saving: every name above 1/k of the additions
	// is among those kept, and a count is at most N/k too high.
	heavyNames = 64
	// heavyNameBytes bounds a kept name; names that differ later are one.
	heavyNameBytes = 128
)

// A Heavy is a frequent name: seen at least Count-Over and at most Count times.
type Heavy struct {
	Name        string
	Count, Over uint64
}

// SpaceSaving keeps the 64 most frequent of an unbounded set of names
// (Metwally 2005). The zero value is empty.
//
// It is deterministic: of several least counts the greatest name gives way, so
// the state is a function of the kept set and the input order, never of a
// map's order. It is exact, and merges exactly, up to 64 names.
type SpaceSaving struct {
	items  []Heavy
	hashes []uint64 // of items[i].Name: compared before the names
}

// Add counts n occurrences of name. The name is copied when kept.
func (s *SpaceSaving) Add(name string, n uint64) {
	if len(name) > heavyNameBytes {
		name = cutName(name)
	}
	s.add(Heavy{Name: name, Count: n}, xxhash.Sum64String(name))
}

func (s *SpaceSaving) add(item Heavy, hash uint64) {
	for i, h := range s.hashes {
		if h == hash && s.items[i].Name == item.Name {
			s.items[i].Count += item.Count
			s.items[i].Over += item.Over
			return
		}
	}
	item.Name = strings.Clone(item.Name) // the caller's may alias a message
	if len(s.items) < heavyNames {
		s.items, s.hashes = append(s.items, item), append(s.hashes, hash)
		return
	}
	least := 0
	for i := range s.items {
		if heavier(s.items[i], s.items[least]) > 0 {
			least = i
		}
	}
	item.Over += s.items[least].Count
	item.Count += s.items[least].Count
	s.items[least], s.hashes[least] = item, hash
}

// heavier orders by count descending, then by name.
func heavier(a, b Heavy) int {
	return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Name, b.Name))
}

// Merge adds the counts behind o: sum, then keep the 64 greatest.
func (s *SpaceSaving) Merge(o *SpaceSaving) {
	sum := make(map[string]Heavy, len(s.items)+len(o.items))
	for _, list := range [...][]Heavy{s.items, o.items} {
		for _, item := range list {
			old := sum[item.Name]
			sum[item.Name] = Heavy{Name: item.Name, Count: old.Count + item.Count, Over: old.Over + item.Over}
		}
	}
	merged := make([]Heavy, 0, len(sum))
	for _, item := range sum {
		merged = append(merged, item)
	}
	slices.SortFunc(merged, heavier)
	s.set(merged[:min(len(merged), heavyNames)])
}

func (s *SpaceSaving) set(items []Heavy) {
	s.items, s.hashes = items, make([]uint64, len(items))
	for i, item := range items {
		s.hashes[i] = xxhash.Sum64String(item.Name)
	}
}

// Top returns the kept names, the most frequent first, equal ones by name.
func (s *SpaceSaving) Top() []Heavy {
	top := slices.Clone(s.items)
	slices.SortFunc(top, heavier)
	return top
}

// Clone returns a copy.
func (s *SpaceSaving) Clone() *SpaceSaving {
	return &SpaceSaving{items: slices.Clone(s.items), hashes: slices.Clone(s.hashes)}
}

// AppendSpaceSaving appends the encoding of s: n, n * (count, over, length of
// the name, name), in the order of Top.
func AppendSpaceSaving(dst []byte, s *SpaceSaving) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s.items)))
	for _, item := range s.Top() {
		dst = binary.AppendUvarint(dst, item.Count)
		dst = binary.AppendUvarint(dst, item.Over)
		dst = appendString(dst, item.Name)
	}
	return dst
}

// DecodeSpaceSaving reads what AppendSpaceSaving wrote and returns the bytes after it.
func DecodeSpaceSaving(data []byte) (s *SpaceSaving, rest []byte, err error) {
	r := reader{data: data}
	s = r.spaceSaving()
	return s, r.data, r.wrap("new names")
}

func (r *reader) spaceSaving() *SpaceSaving {
	n := r.length(3)
	if n > heavyNames {
		r.fail("%d names of at most %d", n, heavyNames)
	}
	items := make([]Heavy, 0, heavyNames)
	for i := 0; i < n && r.err == nil; i++ {
		item := Heavy{Count: r.uvarint(), Over: r.uvarint(), Name: r.string()}
		if i > 0 && heavier(items[i-1], item) >= 0 {
			r.fail("names out of order at %q", item.Name)
		}
		items = append(items, item)
	}
	s := &SpaceSaving{}
	if r.err == nil {
		s.set(items)
	}
	return s
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func (r *reader) string() string { return string(r.bytes(r.length(1))) }

// cutName shortens a name to heavyNameBytes at a rune's start.
func cutName(name string) string {
	end := heavyNameBytes
	for end > 0 && !utf8.RuneStart(name[end]) {
		end--
	}
	if end == 0 { // not UTF-8
		end = heavyNameBytes
	}
	return name[:end]
}
