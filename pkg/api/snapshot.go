package api

import (
	"context"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

// A Snapshot is what the daemon shows of itself: one immutable value, published
// after every commit and every second. HTTP never reads the loop's memory.
type Snapshot struct {
	At       time.Time // wall clock
	Version  string    // of driftd
	Schema   int       // of the store
	StoreID  string
	Role     string // "active"
	Epoch    uint64
	Cause    string   // of "degraded", and how to leave it; "" otherwise
	NotReady []string // reasons: "degraded", "nats", "nats_auth", "nats_permission", "disk", "verify"; empty when ready

	Stream     Stream
	Disk       Disk
	Verified   time.Time // wall clock at which the whole store was read last without a fault, zero before the first
	Config     Config
	Judges     Judges
	LastCommit time.Time // wall clock, zero before the first
	Notifier   Notifier
	Account    *drift.Account
	Models     []Model              // ascending by name
	Alerts     []Alert              // not inactive
	Incidents  []*incident.Incident // that are open, ascending by id
	Policy     incident.Policy      // of what people say about them
	Budgets    []Budget             // ascending by name
	Silences   *incident.Silences
	Rules      []*alert.Rule
	Heartbeat  time.Time // the last that a receiver confirmed, zero before the first
	Watch      Watch
	Published  Published
	Attested   Attested
	Progress   time.Time // when the process was last known to get on: what a restart can mend makes it old
	// LastEvaluated is the wall clock time at which rules were evaluated last.
	LastEvaluated time.Time
	Triggers      map[Trigger]uint64
	DeadLetters   map[string]uint64 // sent, by reason; "limited" counts those above the rate
	Permission    uint64            // NATS permission errors seen
	StoreBytes    int64
	Checkpoint    *Histogram // seconds
	Acknowledging *Histogram // seconds from when an incident was first to be told until it was acknowledged
	EventDelay    *Histogram // seconds between an event's time and its message's
}

// Published says how the publication of closed windows does, since the start.
type Published struct {
	Pending uint64 // windows of a model and a size that have closed and are not published yet
	Sent    uint64 // messages that NATS has confirmed
	Failed  uint64 // attempts that it has not
	Refused uint64 // messages that are larger than it takes: they are left out
	Expired uint64 // windows that were not published while the store kept them
}

// Attested says how the telling of the ledger's head does, since the start.
type Attested struct {
	Every  time.Duration // 0: it is not told
	Sent   uint64        // that NATS has confirmed
	Failed uint64        // attempts that it has not
	Last   time.Time     // when the last was confirmed, zero before the first
}

// A Watch is how driftd watches itself, by canaries: events of its own that go the way
// of all events. Times are those at which canaries were published.
type Watch struct {
	Every     time.Duration // between two canaries; 0: it does not
	Seen      time.Time     // the newest that is counted and committed
	Judged    time.Time     // the newest at whose arrival the rule has fired for the one before
	RoundTrip time.Duration // of the newest, from its publication to its commit
	Sent      uint64        // since the start
	Failed    uint64        // attempts to publish one
	Checks    []Check       // one an organ, always in the same order; none without canaries
}

// A Check is what is wrong with one organ of driftd, or what is right.
type Check struct {
	Organ  string `json:"organ"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// The organs that are checked.
const (
	OrganCanary    = "canary"    // publishing, the stream, the reader and the loop
	OrganRules     = "rules"     // windows close and rules are evaluated
	OrganCommit    = "commit"    // checkpoints become durable
	OrganNotifier  = "notifier"  // notifications leave
	OrganReceivers = "receivers" // each has confirmed something since it failed
	OrganDisk      = "disk"      // there is room
	OrganConfig    = "config"    // the last reload was accepted
	OrganStore     = "store"     // what decisions are made of is undamaged
)

// Healthy reports whether heartbeats are sent: every organ is well.
func (w Watch) Healthy() bool {
	return w.Every > 0 && !slices.ContainsFunc(w.Checks, func(c Check) bool { return !c.OK })
}

// Stream is the state of the input stream.
type Stream struct {
	Name         string
	Created      time.Time
	FirstSeq     uint64
	LastSeq      uint64
	CommittedSeq uint64
	Connected    bool
	Rewinds      uint64
	Gaps         []Gap // newest last, bounded
}

// A Gap is a run of messages that are known to be lost.
type Gap struct {
	From  uint64 `json:"from"`
	To    uint64 `json:"to"`
	Cause string `json:"cause"`
}

// Disk is the room left for the store.
type Disk struct {
	Free  uint64
	State string // "ok", "low", "paused": nothing is committed or read, or "unknown"
}

// Config says which configuration runs.
type Config struct {
	Hash         string
	LoadedAt     time.Time
	LastReloadOK bool
}

// Judges says by which windows drift is judged.
type Judges struct {
	Window    time.Duration
	Reference int           // windows that show what is normal
	MinEvents uint64        // a window with fewer waits for the next
	Interval  time.Duration // between two messages about one incident
}

// Notifier says what is owed to receivers.
type Notifier struct {
	Pending   int
	Oldest    time.Time // when the oldest was issued; zero for none
	GivenUp   uint64    // deliveries to receivers that nobody names any more, since the start
	Receivers []Receiver
}

// A Receiver is the delivery record of one receiver since the start.
type Receiver struct {
	Name    string
	Kind    string
	Sent    uint64
	Failed  map[string]uint64 // by reason
	Unsaid  uint64            // messages that the receiver's template could not say
	Pending int
}

// A Model is one model with its last reports.
type Model struct {
	drift.ModelState
	Status   string // "learning", "ok", "drifting", "alerting"
	Owner    string
	Baseline *drift.Baseline // nil while learning
	Reports  []Report
	Drift    *Drift // nil if the model has no budget

	ExpectedGap time.Duration // the longest silence that is usual, 0 if nobody said
}

// A Drift is how the drift of a model is judged.
type Drift struct {
	Budget string
	Config detect.Config  // Pages in Per is what drift of this model may cost of the budget
	Status *detect.Status // nil until the model has a baseline
	// Standings are the detectors after the last window, ascending.
	Standings []detect.Standing
}

// A Budget is how many false pages some people can bear, and what was drawn from it.
type Budget struct {
	Name     string
	Receiver string
	Pages    float64
	Per      time.Duration
	Models   int
	Spent    []SpentPage // in the last period of event time, the oldest first
	OnTrial  bool        // nobody is told of what would draw from it
	Shadow   []SpentPage // pages of the same period that nobody was told of, because it was on trial
}

// A SpentPage is one page drawn from a budget, false or not.
type SpentPage struct {
	At    time.Time // event time
	Model string
	Rule  string
}

// A Report is the last report of one group and window length. Its Window holds
// no Signals: their histograms are in the store.
type Report struct {
	Size time.Duration
	*drift.Report
}

// An Alert is one rule's state on one series.
type Alert struct {
	alert.Series
	alert.State
	Severity string
}

// A Trigger names a counter of signals to machines.
type Trigger struct{ Kind, Model, Outcome string }

// A Query selects windows of one model: sums of the length Size over the groups
// it matches.
type Query struct {
	Model    string
	Version  string          // "" is every version
	Variants []event.Variant // nil is every variant
	Segment  string          // "" is the whole, not every segment
	From, To time.Time       // windows that overlap [From, To); zero is unbounded
	Size     time.Duration   // a multiple of the pane
	Total    bool            // add the groups up: one window a span
	Segments bool            // every segment too, each by itself; Segment must be ""
	// NoSignals leaves the signals out: events alone, which are read much faster.
	NoSignals bool
}

// Reader gives what is committed. Its values are immutable.
type Reader interface {
	Snapshot() *Snapshot
	Windows(Query) ([]*drift.Window, error)
	Baselines() ([]*drift.Baseline, error)
	Baseline(id string) (*drift.Baseline, error) // ErrNotFound
	Entries(after uint64, limit int) ([]ledger.Entry, error)
	VerifyLedger(ctx context.Context) (ledger.Chain, error)
	// Compare is the report of a window against the model's active baseline.
	Compare(w *drift.Window) *drift.Report
}

// Commander changes what is decided. Each call returns when the change is
// committed; the actor ends up in the ledger.
type Commander interface {
	// ImportBaseline makes b the reference of its model, and h, unless it is nil, what
	// its drift is judged by.
	ImportBaseline(ctx context.Context, b *drift.Baseline, h *History, actor string) error
	ApproveBaseline(ctx context.Context, id, actor string) error
	CaptureBaseline(ctx context.Context, c Capture, actor string) (*drift.Baseline, error)
}

// A History is what detection has learned of the past of a baseline's model.
type History struct {
	State *detect.State
	Rows  *detect.Rows
}

// A Capture names the part of the stream that a baseline is made of: what was
// counted of a model in [From, To), by primary traffic, all or one version's.
type Capture struct {
	Model    string
	Version  string // "" for all
	From, To time.Time
}
