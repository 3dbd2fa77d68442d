package daemon_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/stream"
)

// refusing is a place for dead letters that fails a number of times, as a
// publisher does that has given up.
type refusing struct {
	mu     sync.Mutex
	fails  int
	down   bool           // the last attempt failed
	sent   map[uint64]int // by sequence, since the last failure
	stored map[uint64]int
}

func (r *refusing) DeadLetter(_ time.Time, d stream.DeadLetter) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent[d.Seq]++
	return true
}

func (r *refusing) Flush(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.sent) > 0 && r.fails > 0 {
		r.fails--
		r.down = true
		clear(r.sent)
		return errors.New("no response from stream")
	}
	r.down = false
	for seq, n := range r.sent {
		r.stored[seq] += n
	}
	clear(r.sent)
	return nil
}

// TestDeadLettersThatCannotBeStored refuses every dead letter three times. While
// NATS is away nothing is committed and each is sent again; when it is there and
// refuses, counting goes on, and the loss is counted.
func TestDeadLettersThatCannotBeStored(t *testing.T) {
	for name, away := range map[string]bool{"NATS is away": true, "NATS refuses": false} {
		t.Run(name, func(t *testing.T) {
			w := emptyWorld(t, hour())
			w.learns = true
			const bad = 5
			for range bad {
				if _, err := w.conn.JetStream().Publish(t.Context(), "ml.predictions.fraud.41", []byte("{")); err != nil {
					t.Fatal(err)
				}
			}
			st := open(t, t.TempDir())
			defer st.Close()
			o := w.options(st)
			r := &refusing{fails: 3, sent: map[uint64]int{}, stored: map[uint64]int{}}
			o.DeadLetters = r
			ready := o.Status
			o.Status = func() stream.ReaderStatus {
				s := ready()
				r.mu.Lock()
				defer r.mu.Unlock()
				s.Ready = !away || !r.down
				return s
			}
			d, stop := w.start(o)
			w.caughtUp(d)
			lost := d.Snapshot().DeadLetters["lost"]
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if got := accountOf(t, st); got.Invalid != bad {
				t.Errorf("%d invalid, want %d", got.Invalid, bad)
			}
			if away && (len(r.stored) != bad || lost != 0) || !away && lost == 0 {
				t.Errorf("%d dead letters of %d stored, %d losses counted", len(r.stored), bad, lost)
			}
			for seq, n := range r.stored {
				if n != 1 {
					t.Errorf("message %d: %d dead letters", seq, n)
				}
			}
		})
	}
}
