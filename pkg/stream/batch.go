package stream

import (
	"sync"

	"github.com/nats-io/nats.go"
)

// Message is one stored message and its place in the stream. Data is never
// changed or reused after delivery: values may alias it for as long as they like.
type Message struct {
	Seq     uint64
	Time    int64 // when JetStream stored it, unix ns
	Subject string
	Data    []byte
	Header  nats.Header // nil = none
}

// Batch is a run of messages in stream order, or a Notice, or a Notice followed
// by messages. The receiver owns it until Release.
//
// Conservation: the sequences from the previous Batch's Anchor.Seq (exclusive) to
// this Anchor.Seq (inclusive) are len(Messages) + Filtered + Notice.Count, except
// across a NewEpoch, where counting starts at Notice.To.
type Batch struct {
	Notice   *Notice // holds before Messages; nil = nothing to report
	Messages []Message
	Filtered uint64 // sequences skipped because their subjects are not read
	Bytes    int    // of all Data
	Anchor   Anchor // position when this batch has been applied: what a checkpoint stores
}

var batches = sync.Pool{New: func() any { return new(Batch) }}

// newBatch takes an empty batch at position a from the pool.
func newBatch(a Anchor) *Batch {
	b := batches.Get().(*Batch)
	b.Anchor = a
	return b
}

// Release gives the batch back; its Messages slice must not be used afterwards.
func (b *Batch) Release() {
	clear(b.Messages) // lets go of the message bytes
	*b = Batch{Messages: b.Messages[:0]}
	batches.Put(b)
}

// absorb puts n into a batch that holds nothing yet, or joins it to a gap of the
// same cause that nothing has followed: a blocked reader must not collect notices
// without bound.
func (b *Batch) absorb(n Notice) bool {
	switch old := b.Notice; {
	case len(b.Messages) > 0 || b.Filtered > 0:
		return false
	case old == nil:
		b.Notice = &n
	case old.Kind == Gap && n.Kind == Gap && old.Cause == n.Cause:
		old.From, old.To = min(old.From, n.From), max(old.To, n.To)
		old.Count += n.Count
		old.Anchor = n.Anchor
	default:
		return false
	}
	b.Anchor = n.Anchor
	return true
}
