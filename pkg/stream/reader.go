package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ReaderOptions say what to read. Zero values stand for the defaults named.
type ReaderOptions struct {
	Stream   string   // required
	Subjects []string // filters; none, or filters which cover the stream's subjects = everything
	Durable  string   // acknowledge what is committed, by consumers of this name; "" = read by sequence and never acknowledge

	WindowMessages int           // messages asked for ahead; 5,000
	WindowBytes    int           // and bytes; 16 MiB: a server drops a client with 64 MiB pending
	BatchMessages  int           // messages in a batch; 256
	BatchBytes     int           // bytes in a batch, exceeded by at most one message; 1 MiB
	CheckEvery     time.Duration // how often the stream's identity is checked; 2 s
	RequestTimeout time.Duration // of one request to the server; 3 s
}

// DefaultReaderOptions reads all of a stream. The window was measured: 500 costs
// a quarter of the rate, 50,000 is slower again.
func DefaultReaderOptions(stream string) ReaderOptions {
	return ReaderOptions{Stream: stream}.withDefaults()
}

func (o ReaderOptions) withDefaults() ReaderOptions {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.WindowMessages, 5000)
	set(&o.WindowBytes, 16<<20)
	set(&o.BatchMessages, 256)
	set(&o.BatchBytes, 1<<20)
	if o.CheckEvery == 0 {
		o.CheckEvery = 2 * time.Second
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = 3 * time.Second
	}
	return o
}

// Validate reports every fault of o at once.
func (o ReaderOptions) Validate() error {
	var faults []error
	if o.Stream == "" {
		faults = append(faults, errors.New("reader: stream is empty"))
	}
	if strings.ContainsAny(o.Durable, " \t.*>/\\") {
		faults = append(faults, fmt.Errorf("reader: durable %q is no name of a consumer", o.Durable))
	}
	for _, s := range o.Subjects {
		if !validFilter(s) {
			faults = append(faults, fmt.Errorf("reader: subject %q is not a subject filter", s))
		}
	}
	for _, v := range []int{o.WindowMessages, o.WindowBytes, o.BatchMessages, o.BatchBytes} {
		if v < 0 {
			faults = append(faults, fmt.Errorf("reader: limit %d is negative", v))
		}
	}
	if o.CheckEvery < 0 || o.RequestTimeout < 0 {
		faults = append(faults, errors.New("reader: durations must not be negative"))
	}
	return errors.Join(faults...)
}

// ReaderStatus is what a reader knows about itself.
type ReaderStatus struct {
	Ready    bool   // a verified session is receiving
	Reason   string // why not; "" when ready
	Stream   string
	Created  time.Time // of the stream, at the last check
	First    uint64    // first sequence stored, at the last check
	Last     uint64    // last sequence stored, at the last check
	Received uint64    // last sequence received; the daemon's committed one follows it
	Sessions uint64    // consumers created
	Epochs   uint64    // epochs begun by this Run
	Filtered uint64    // sequences skipped by this Run because of filters
	Gaps     uint64    // sequences lost in this Run
	Checked  time.Time // of the last successful check
}

// A Reader delivers one stream in order, every message once per epoch, or says
// what it could not deliver.
//
// It creates an AckNone pull consumer per session and checks the consumer
// sequence itself. nats.go's OrderedConsumer does the same, but holds its lock
// while it retries for up to 10 s against an absent server (Stop hangs, and
// return after a restart takes as long), and runs the callbacks of two consumers
// at once when the first is blocked by back-pressure.
type Reader struct {
	conn    *Conn
	opts    ReaderOptions
	filters []string // minimal form of opts.Subjects
	orphans []string // consumers left behind by cut sessions; only Run touches it

	mu     sync.Mutex
	status ReaderStatus
	hand   *handoff // of the present Run; nil before
}

// NewReader prepares a reader; Run does the work.
func NewReader(conn *Conn, o ReaderOptions) (*Reader, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	return &Reader{
		conn: conn, opts: o, filters: minimalFilters(o.Subjects),
		status: ReaderStatus{Stream: o.Stream, Reason: "not started"},
	}, nil
}

// Run delivers batches to out until ctx ends, then returns nil; out stays open
// and batches not taken are dropped, as they were never committed. Out should be
// unbuffered or small: its capacity adds to the memory bound of the queue.
//
// It waits through cuts, restarts, missing streams and refused requests, visible
// in Status. It returns an error only where waiting cannot help: a
// *RetentionError, or an anchor of another stream.
func (r *Reader) Run(ctx context.Context, from Anchor, out chan<- *Batch) error {
	if from.Stream != "" && from.Stream != r.opts.Stream {
		return fmt.Errorf("read stream %q: the store's anchor belongs to stream %q; "+
			"configure that stream or start with an empty store", r.opts.Stream, from.Stream)
	}
	hash := filterHash(r.filters)
	changed := !from.Created.IsZero() && from.FilterHash != hash
	from.Stream, from.FilterHash = r.opts.Stream, hash
	h := newHandoff(r.opts, from)
	h.committed = from.Seq
	if changed {
		h.report(Notice{Kind: FilterChanged, Cause: CauseFilter, From: from.Seq + 1, To: from.Seq + 1, Anchor: from})
	}
	r.mu.Lock()
	r.hand = h
	r.mu.Unlock()

	ctx, cancel := context.WithCancel(ctx)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		h.run(ctx, out)
	}()
	err := r.sessions(ctx, h)
	cancel()
	<-sent
	r.setReady(false, "stopped")
	return err
}

// sessions runs one session after the other until ctx ends or a final error.
func (r *Reader) sessions(ctx context.Context, h *handoff) error {
	const shortest, longest = 20 * time.Millisecond, time.Second
	pause := shortest
	for ctx.Err() == nil {
		before, start := h.position().Seq, time.Now()
		err := r.session(ctx, h)
		var retention *RetentionError
		if errors.As(err, &retention) {
			return err
		}
		if err != nil {
			r.setReady(false, err.Error())
		}
		if h.position().Seq != before || time.Since(start) > 2*longest {
			pause = shortest
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
	}
	return nil
}

// Status returns a copy of the present status.
func (r *Reader) Status() ReaderStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	if h := r.hand; h != nil {
		h.mu.Lock()
		s.Received, s.Epochs, s.Filtered, s.Gaps = h.anchor.Seq, h.epochs, h.skips, h.gaps
		h.mu.Unlock()
	}
	return s
}

func (r *Reader) setReady(ready bool, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Ready, r.status.Reason = ready, reason
}

func (r *Reader) setStream(info *jetstream.StreamInfo, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Created, r.status.Checked = info.Created, now
	r.status.First, r.status.Last = info.State.FirstSeq, info.State.LastSeq
}
