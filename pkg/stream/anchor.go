package stream

import (
	"hash/fnv"
	"slices"
	"time"
)

// Anchor is a position in a stream together with the proof that it is the same
// stream: sequences alone do not survive a recreated or restored stream. The
// daemon commits it with its state; the zero Anchor starts at the first message.
type Anchor struct {
	Stream     string
	Created    time.Time // of the stream: its identity on the server
	FilterHash uint64    // of the subjects read; 0 = all
	Seq        uint64    // last sequence dealt with; First-1 at the start of an epoch
	Time       int64     // JetStream time of Seq, unix ns; 0 = unknown, not compared
}

// NoticeKind tells what a Notice reports.
type NoticeKind uint8

const (
	// NewEpoch: sequences start anew at To; nothing links them to older ones.
	NewEpoch NoticeKind = iota + 1
	// Gap: sequences From..To were not read and never will be. Count of them
	// are accounted as gap; 0 = in doubt: some of the range may be lost but has
	// been counted as filtered.
	Gap
	// FilterChanged: reading goes on at To with other subjects; what the old
	// filter skipped stays skipped.
	FilterChanged
)

func (k NoticeKind) String() string {
	switch k {
	case NewEpoch:
		return "new_epoch"
	case Gap:
		return "gap"
	case FilterChanged:
		return "filter_changed"
	}
	return "unknown"
}

// Causes of a Notice.
const (
	CauseFirst     = "first"     // the anchor was zero
	CauseRecreated = "recreated" // the stream's creation time differs
	CauseRewound   = "rewound"   // the stream ends before the anchor: its server lost its tail
	CauseRewritten = "rewritten" // another message stands at the anchor: rewound, then grown again
	CauseRemoved   = "removed"   // the stream begins after the anchor: limits, purge or a long absence
	CauseMissing   = "missing"   // sequences absent from an unfiltered delivery: deleted, or removed while we were behind
	CauseOverrun   = "overrun"   // limits removed messages near our position while subjects are filtered: in doubt
	CauseFilter    = "filter"    // the subjects read differ from the anchor's
)

// Notice is a finding about the stream, delivered in order with the messages: it
// holds before the messages of its Batch.
type Notice struct {
	Kind     NoticeKind
	Cause    string
	From, To uint64 // NewEpoch: sequence expected, first of the new epoch. Gap: first and last sequence missing
	Count    uint64 // of a Gap: sequences to be accounted as gap
	Anchor   Anchor // position after the notice
}

// view is what the server says about the stream at one moment.
type view struct {
	created     time.Time
	first, last uint64
	time        int64 // of the message at the anchor; 0 = no longer stored, or not asked
}

// check compares an anchor with the stream.
//
// Special cases are: a zero anchor begins the first epoch; an anchor without a
// Time, or whose message is no longer stored, is not compared by time. ok is
// true when reading may go on at a.Seq+1 without a word.
//
// Source: nats-server #7564 (acknowledged writes are lost before the periodic
// fsync) and stream identity = hash of the creation time.
func (a Anchor) check(v view) (n Notice, ok bool) {
	epoch := func(cause string) Notice {
		first := max(v.first, 1)
		next := Anchor{Stream: a.Stream, Created: v.created, FilterHash: a.FilterHash, Seq: first - 1}
		return Notice{Kind: NewEpoch, Cause: cause, From: a.Seq + 1, To: first, Anchor: next}
	}
	switch {
	case a.Created.IsZero():
		return epoch(CauseFirst), false
	case !a.Created.Equal(v.created):
		return epoch(CauseRecreated), false
	case v.last < a.Seq:
		return epoch(CauseRewound), false
	case v.time != 0 && a.Time != 0 && v.time != a.Time:
		return epoch(CauseRewritten), false
	case v.first > a.Seq+1:
		return a.gap(CauseRemoved, v.first-1), false
	}
	return Notice{}, true
}

// gap is the notice that everything after a up to and including to is lost.
func (a Anchor) gap(cause string, to uint64) Notice {
	next := a
	next.Seq, next.Time = to, 0
	return Notice{Kind: Gap, Cause: cause, From: a.Seq + 1, To: to, Count: to - a.Seq, Anchor: next}
}

// filterHash identifies a set of subjects: FNV-1a 64 over the sorted subjects,
// each followed by a zero byte; 0 for none.
func filterHash(subjects []string) uint64 {
	if len(subjects) == 0 {
		return 0
	}
	h := fnv.New64a()
	for _, s := range slices.Sorted(slices.Values(subjects)) {
		_, _ = h.Write(append([]byte(s), 0)) // a hash never fails
	}
	return h.Sum64()
}
