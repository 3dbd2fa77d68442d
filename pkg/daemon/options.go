package daemon

import (
	"context"
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/incident"
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

// Settings are what a reload can exchange while everything runs. The loop holds
// those that decide; see Daemon.Reconfigure.
type Settings struct {
	Spec    drift.Spec // of which Engine.Reconfigure says what may change
	Decoder *event.Decoder
	Rules   []*alert.Rule
	Routes  *alert.Routes
	Owner   func(model string) string
	OnTrial func(model string) bool // its alerts are recorded and told to nobody; nil: none is
	// ExpectedGap returns the longest silence of a model that is usual, 0 if nobody
	// said; nil: nobody did of any.
	ExpectedGap func(model string) time.Duration
	Receivers   []notify.Receiver
	// Grouped reports whether a receiver hears of incidents, as people do, and not of
	// each alert; nil: none does.
	Grouped   func(receiver string) bool
	Policy    incident.Policy // of what people say about incidents
	Digests   Digests
	Summaries Summaries
	Retention store.Retention

	TimeIntervals incident.TimeIntervals // that routes name

	Detection Detection

	ConfigHash string
}

// Options are the daemon's parts, and the settings that it starts with.
type Options struct {
	Settings

	Tick        string // subject of ticks: counted as filtered
	Store       *store.Store
	Source      Source
	DeadLetters DeadLetters
	Ticker      Ticker        // nil: none
	Idle        time.Duration // of the stream, until a tick is published; 0: 10 s
	Notify      notify.Options

	// Watch is how often a canary is sent through the whole daemon, and Canary publishes
	// one on the subject Tick and returns when the stream has confirmed it; 0 or nil:
	// driftd does not watch itself, and sends no heartbeats.
	Watch  time.Duration
	Canary func(ctx context.Context, id string, body []byte) error

	// Publish publishes to machines what is no decision, closed windows and heads of the
	// ledger, and returns when the stream has confirmed it; nil: nothing is published. id
	// is the Nats-Msg-Id.
	Publish func(ctx context.Context, subject, id string, body []byte) error
	// AttestEvery is how often the head of the ledger is signed by AttestKey and told;
	// 0: never.
	AttestEvery time.Duration
	AttestKey   ed25519.PrivateKey

	Checkpoint Checkpoint
	Version    string
	Log        zerolog.Logger
	// Committed is told, by the loop, what has become durable; nil: nobody. It must
	// not block.
	Committed func(stream.Anchor)
	// Status tells what the stream looks like now.
	Status func() stream.ReaderStatus
	// Link tells how the connection to NATS does; nil: unknown.
	Link func() stream.Status
	// Verify reads the store beside everything else: what decisions are made of before
	// anybody is told anything and the daemon is ready, then the rest, without haste.
	// Damage stops the daemon.
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
	// Bytes of changes. What one message more may close should fit into the same commit,
	// so 0 means four fifths of what the store takes without growing.
	Bytes int64
}

// DefaultCheckpoint bounds what a crash makes driftd read again.
func DefaultCheckpoint() Checkpoint { return Checkpoint{Every: time.Second, Events: 64 << 10} }

// SignalReceiver is the name of the receiver to which every decision is owed:
// the NATS signals of contract.md section 3.
const SignalReceiver = "nats"

// A missing is a list of faults that grows.
type missing []error

func (m *missing) part(absent bool, what string) {
	if absent {
		*m = append(*m, errors.New("daemon needs "+what))
	}
}

// Validate returns every fault of the settings, joined.
func (s Settings) Validate() error {
	var faults missing
	faults.part(s.Decoder == nil, "a decoder")
	faults.part(s.Routes == nil, "routes")
	return errors.Join(append(faults, s.Spec.Validate())...)
}

// Validate returns every fault of the options, joined.
func (o Options) Validate() error {
	var faults missing
	faults.part(o.Store == nil, "a store")
	faults.part(o.Source == nil, "a source")
	faults.part(o.DeadLetters == nil, "a place for dead letters")
	faults.part(o.Checkpoint.Every <= 0 || o.Checkpoint.Events <= 0 || o.Checkpoint.Bytes < 0, "a checkpoint policy")
	faults.part(o.AttestEvery > 0 && len(o.AttestKey) != ed25519.PrivateKeySize, "a key to sign the head of the ledger")
	return errors.Join(append(faults, o.Settings.Validate())...)
}
