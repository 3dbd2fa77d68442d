package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// A Source delivers messages in order, from behind an anchor, until ctx ends.
// stream.Reader is one; replays and tests bring their own.
type Source interface {
	Run(ctx context.Context, from stream.Anchor, out chan<- *stream.Batch) error
}

// DeadLetters takes what could not be counted. stream.Publisher is one.
type DeadLetters interface {
	// DeadLetter sends in the background; false: withheld, above the rate.
	DeadLetter(now time.Time, d stream.DeadLetter) bool
	// Flush waits until everything sent is stored.
	Flush(ctx context.Context) error
}

// A Ticker makes stream time pass while nobody publishes: it stores a message
// that every replica and every replay sees alike.
type Ticker interface {
	Tick(ctx context.Context, after uint64) error
}

// Options are the daemon's parts and settings.
type Options struct {
	Spec    drift.Spec
	Decoder *event.Decoder
	Tick    string // subject of ticks: counted as filtered
	Rules   []*alert.Rule
	Routes  *alert.Routes
	Owner   func(model string) string

	Detection Detection

	Store       *store.Store
	Source      Source
	DeadLetters DeadLetters
	Ticker      Ticker        // nil: none
	Idle        time.Duration // of the stream, until a tick is published; 0: 10 s
	Receivers   []notify.Receiver
	Notify      notify.Options

	Checkpoint Checkpoint
	Retention  store.Retention
	ConfigHash string
	Version    string
	Log        zerolog.Logger
	// Committed is told, by the loop, what has become durable; nil: nobody. It must
	// not block.
	Committed func(stream.Anchor)
	// Status tells what the stream looks like now.
	Status func() stream.ReaderStatus
	// Link tells how the connection to NATS does; nil: unknown.
	Link func() stream.Status
	// Verify reads the whole store beside everything else before anybody is told
	// anything; until it has ended the daemon is not ready, and damage stops it.
	Verify bool
	// VerifyEvery is how often the whole store is read again, without haste; damage
	// stops the daemon. 0: never.
	VerifyEvery time.Duration
	// Probe is called at named points; an error stops the daemon there and
	// then. For crash tests; nil otherwise.
	Probe func(point string) error
}

// Checkpoint says when state is committed: whichever comes first.
type Checkpoint struct {
	Every  time.Duration
	Events int
	Bytes  int64
}

// DefaultCheckpoint is that of architecture.md section 3.
func DefaultCheckpoint() Checkpoint {
	return Checkpoint{Every: time.Second, Events: 64 << 10, Bytes: 4 << 20}
}

// SignalReceiver is the name of the receiver to which every decision is owed:
// the NATS signals of contract.md section 3.
const SignalReceiver = "nats"

// Validate returns every fault of the options, joined.
func (o Options) Validate() error {
	var faults []error
	missing := func(bad bool, what string) {
		if bad {
			faults = append(faults, errors.New("daemon needs "+what))
		}
	}
	missing(o.Decoder == nil, "a decoder")
	missing(o.Store == nil, "a store")
	missing(o.Source == nil, "a source")
	missing(o.DeadLetters == nil, "a place for dead letters")
	missing(o.Routes == nil, "routes")
	missing(o.Checkpoint.Every <= 0 || o.Checkpoint.Events <= 0 || o.Checkpoint.Bytes <= 0, "a checkpoint policy")
	return errors.Join(append(faults, o.Spec.Validate())...)
}
