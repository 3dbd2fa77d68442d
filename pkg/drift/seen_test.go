package drift_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// A ledger of ids that Seen is held against: the last ones, oldest first.
func TestSeenIsExact(t *testing.T) {
	const size = 16_384 // two chunks
	s := drift.NewSeen(10_000)
	if s.Slots() != 4 || s.Len() != 0 || s.Has(1) {
		t.Fatalf("%d slots, %d ids", s.Slots(), s.Len())
	}
	random := rand.New(rand.NewPCG(1, 1))
	var ids []uint64
	slots := map[int][]uint64{}
	check := func(s *drift.Seen) {
		t.Helper()
		young := (len(ids)-1)%size + 1
		remembered := min(len(ids), young+size)
		if s.Len() != remembered {
			t.Fatalf("after %d ids: %d are remembered, want %d", len(ids), s.Len(), remembered)
		}
		for i, id := range ids {
			if want := i >= len(ids)-remembered; s.Has(id) != want {
				t.Fatalf("after %d ids: id %d is remembered: %v", len(ids), i, !want)
			}
		}
	}
	for n := range 5*size + 700 {
		id := random.Uint64() | 1
		ids = append(ids, id)
		s.Insert(id)
		if n%5000 == 0 {
			s.Dirty(func(slot int, chunk []uint64) { slots[slot] = slices.Clone(chunk) })
		}
		if n%size == 0 || n%size == size-1 || n%7919 == 0 {
			check(s)
		}
		if n%11_003 == 0 { // a restart
			s.Dirty(func(slot int, chunk []uint64) { slots[slot] = slices.Clone(chunk) })
			s.Dirty(func(int, []uint64) { t.Fatal("dirty twice") })
			s = drift.NewSeen(10_000)
			var chunks [][]uint64
			for _, c := range slots {
				chunks = append(chunks, c)
			}
			s.Restore(chunks)
			check(s)
		}
	}
}

// After a restart with another size no id that both sizes hold is forgotten, no
// new one is taken for an old one, and slots of both sizes live together.
func TestSeenOfAnotherSize(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	var ids []uint64
	slots := map[int][]uint64{}
	size := 0
	for _, generation := range []int{8192, 40_960, 16_384, 8192, 24_576} {
		s := drift.NewSeen(generation)
		var chunks [][]uint64
		for _, c := range slots {
			chunks = append(chunks, c)
		}
		s.Restore(chunks)
		for _, id := range ids[max(0, len(ids)-min(size, generation)):] {
			if !s.Has(id) {
				t.Fatalf("generation of %d after %d: an id is forgotten", generation, size)
			}
		}
		for range 37_123 {
			id := random.Uint64() | 1
			if s.Has(id) {
				t.Fatal("a new id is taken for an old one")
			}
			s.Insert(id)
			ids = append(ids, id)
			if len(ids)%6000 == 0 {
				s.Dirty(func(slot int, chunk []uint64) { slots[slot] = slices.Clone(chunk) })
			}
		}
		s.Dirty(func(slot int, chunk []uint64) { slots[slot] = slices.Clone(chunk) })
		size = generation
	}
}

func TestSeenOff(t *testing.T) {
	s := drift.NewSeen(0)
	s.Insert(1)
	s.Restore([][]uint64{{0, 1}})
	s.Dirty(func(int, []uint64) { t.Error("something to keep") })
	if s.Has(1) || s.Len() != 0 || s.Slots() != 0 {
		t.Error("it remembers")
	}
}

func TestAccount(t *testing.T) {
	a := &drift.Account{First: 10, Accepted: 3, Invalid: 1, Oversize: 1, Filtered: 2, Gap: 3}
	for o := drift.Counted; o <= drift.OverLimit; o++ {
		a.Count("m", event.Prediction, o)
		a.Count("n", event.Outcome, o)
	}
	a.Count("", event.KPI, drift.Counted)
	a.Refuse(event.Late)
	if err := a.Balance(19); err != nil { // 10 messages, 13 events
		t.Error(err)
	}
	if a.Decoded != 13 || a.Total(drift.Counted) != 3 || a.Total(drift.Late) != 2 || a.Refused[event.Late] != 1 {
		t.Errorf("%+v", a)
	}
	if other := a.Models[drift.Other]; other == nil || other[event.Prediction-1][drift.Unconfigured] != 1 || other[event.Outcome-1][drift.OverLimit] != 1 {
		t.Error("names without bound are booked one by one")
	}
	c := a.Clone()
	c.Count("m", event.Prediction, drift.Late)
	c.Refuse(event.Late)
	if a.Total(drift.Late) != 2 || a.Refused[event.Late] != 1 {
		t.Error("a clone shares books")
	}
	if err := a.Balance(20); err == nil || !strings.Contains(err.Error(), "messages do not balance") {
		t.Errorf("one message too many: %v", err)
	}
	a.Turn(19, 1) // the stream was made anew
	if err := a.Balance(0); err != nil {
		t.Error(err)
	}
	a.Accepted++
	if err := a.Balance(1); err != nil {
		t.Error(err)
	}
	a.Decoded++
	if err := a.Balance(1); err == nil || !strings.Contains(err.Error(), "events do not balance") {
		t.Errorf("one event too many: %v", err)
	}
	fresh := &drift.Account{}
	fresh.Turn(0, 5)
	if err := fresh.Balance(4); err != nil || fmt.Sprint(fresh.Past) != "0" {
		t.Errorf("%v, past %d", err, fresh.Past)
	}
}
