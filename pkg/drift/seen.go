package drift

import (
	"cmp"
	"slices"
)

// seenChunk is the number of ids that are persisted together.
const seenChunk = 8192

// Seen remembers the identities of the last events, exactly: between one and
// two generations of ids, the older one forgotten as a whole when the younger
// one is full. It never takes a new event for an old one, save when two of the
// remembered ids agree in all 64 bits of their hash.
//
// Ids are numbered as they come; number i lies in chunk i / seenChunk, and chunk
// c is persisted in slot c mod Slots, which so overwrites a forgotten one.
type Seen struct {
	size  int      // ids a generation, a multiple of seenChunk; 0: remember nothing
	count uint64   // ids ever inserted
	young []uint64 // open addressing, power of two, 0 = free
	old   []uint64
	chunk []uint64   // ids of the chunk being filled
	full  [][]uint64 // chunks filled since the last Dirty
	dirty bool
}

// NewSeen returns an empty table of at least ids ids a generation.
func NewSeen(ids int) *Seen {
	return &Seen{size: (ids + seenChunk - 1) / seenChunk * seenChunk}
}

// Slots returns the number of slots that chunks are persisted in.
func (s *Seen) Slots() int { return 2 * s.size / seenChunk }

// Len returns how many ids are remembered.
func (s *Seen) Len() int {
	if s.size == 0 {
		return 0
	}
	if s.count == 0 {
		return 0
	}
	young := (s.count-1)%uint64(s.size) + 1 // a full generation is the young one until the next id
	return int(min(s.count, young+uint64(s.size)))
}

// Has reports whether id, which must not be 0, is remembered.
func (s *Seen) Has(id uint64) bool {
	return has(s.young, id) || has(s.old, id)
}

// Insert remembers an id that is not 0 and that Has does not report.
func (s *Seen) Insert(id uint64) {
	if s.size == 0 {
		return
	}
	if s.young == nil || s.count%uint64(s.size) == 0 {
		s.turn()
	}
	put(s.young, id)
	s.chunk = append(s.chunk, id)
	s.count++
	s.dirty = true
	if len(s.chunk) == seenChunk {
		s.full = append(s.full, s.chunk)
		s.chunk = make([]uint64, 0, seenChunk)
	}
}

// turn begins a generation; the table of the forgotten one is used again.
func (s *Seen) turn() {
	spare := s.old
	s.old = s.young
	clear(spare)
	if spare == nil {
		places := 1
		for places < 2*s.size {
			places *= 2
		}
		spare = make([]uint64, places)
	}
	s.young = spare
}

func has(table []uint64, id uint64) bool {
	mask := uint64(len(table) - 1)
	if len(table) == 0 {
		return false
	}
	for i := id & mask; ; i = (i + 1) & mask {
		switch table[i] {
		case id:
			return true
		case 0:
			return false
		}
	}
}

func put(table []uint64, id uint64) {
	mask := uint64(len(table) - 1)
	i := id & mask
	for table[i] != 0 {
		i = (i + 1) & mask
	}
	table[i] = id
}

// dirtyBytes bounds the bytes of what Dirty yields.
func (s *Seen) dirtyBytes() int {
	if !s.dirty {
		return 0
	}
	const id, key = 8, 32
	return (len(s.full)+1)*key + (len(s.full)*seenChunk+len(s.chunk))*id
}

// Dirty yields the chunks changed since the last call, each with its slot. The
// first element of a chunk is its number; the ids follow.
func (s *Seen) Dirty(yield func(slot int, chunk []uint64)) {
	if !s.dirty {
		return
	}
	number := s.count/seenChunk - uint64(len(s.full))
	for _, ids := range append(s.full, s.chunk) {
		if len(ids) > 0 {
			yield(int(number%uint64(s.Slots())), append([]uint64{number}, ids...))
		}
		number++
	}
	s.full, s.dirty = nil, false
}

// Restore fills an empty table from the chunks that Dirty gave, in any order.
// Chunks too old to be remembered are left out, so the size may have changed;
// then a chunk may also lie in two slots, and the longer one is the later.
func (s *Seen) Restore(chunks [][]uint64) {
	if s.size == 0 || len(chunks) == 0 {
		return
	}
	chunks = slices.SortedFunc(slices.Values(chunks), func(a, b []uint64) int {
		return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(len(b), len(a)))
	})
	chunks = slices.CompactFunc(chunks, func(a, b []uint64) bool { return a[0] == b[0] })
	last := chunks[len(chunks)-1][0]
	perGeneration := uint64(s.size / seenChunk)
	first := last/perGeneration*perGeneration - min(perGeneration, last/perGeneration*perGeneration)
	for _, c := range chunks {
		if c[0] < first {
			continue
		}
		s.count, s.chunk = c[0]*seenChunk, s.chunk[:0]
		for _, id := range c[1:] {
			s.Insert(id)
		}
	}
	s.full, s.dirty = nil, false
}
