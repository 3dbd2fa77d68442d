package ruletest

import (
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/sim"
)

// A World is what is tested: rules, and what else decides who is told.
type World struct {
	Rules   []*alert.Rule // of alert.HardLimits RuleSilent only, for models with an ExpectedGap
	Routes  *alert.Routes // nil: nobody is told
	Count   drift.Spec    // how events of Traffic are counted; windows close without waiting for late events
	Owner   func(model string) string
	OnTrial func(model string) bool    // the model is in shadow; nil: none is
	Grouped func(receiver string) bool // it hears of incidents, not of alerts; nil: none does

	ExpectedGap func(model string) time.Duration // the longest silence that is usual, 0 if that is not known

	TimeIntervals incident.TimeIntervals // that Routes name
}

// A Test is one story and what is expected of it. Times are since Start.
type Test struct {
	Name   string
	Start  time.Time     // a multiple of Window since the Unix epoch; zero: sim.Epoch
	Window time.Duration // of each value of a Series, and of Traffic.Events
	N      uint64        // values and events of a window whose series do not say; 0: 1000

	Series   []Series
	Traffic  []Traffic
	Faults   []Fault
	Acks     []Ack
	Silences []Silence

	Alerts   []Alerts
	Messages []Messages
	Actions  []Action
}

// DefaultN is how many values and events a window of Series has.
const DefaultN = 1000

// A Series is one statistic of one key, a value a window: a variable of rules, as
// alert.Variables names them. A Key without Signal is of a model or a group.
type Series struct {
	Variable string
	Key      drift.Key
	Values   []Value
}

// Traffic is the events of one model. Windows without a Fault have Events of them,
// evenly spaced.
type Traffic struct {
	Model    sim.Model // Rate is set from Events
	Events   int       // a window
	Seed     uint64
	Baseline drift.BaselineState // "" and Approved: what an approved reference is; Learning: there is none
	Rows     int                 // of the baseline, without any Change; 0: 10 000
	Changes  []sim.Injection     // of Model; From and To since the test's start
}

// DefaultRows is how many rows a Traffic's baseline has.
const DefaultRows = 10_000

// A FaultKind is what a Fault does.
type FaultKind string

// The kinds of faults.
const (
	Incomplete     FaultKind = "incomplete"      // messages of the windows are lost
	Late           FaultKind = "late"            // events come after their window has closed; of Traffic
	NoEvents       FaultKind = "no_events"       // there are none
	MissingFeature FaultKind = "missing_feature" // no event has the feature
	Unapproved     FaultKind = "unapproved"      // the reference is one that nobody approved
	NewVersion     FaultKind = "new_version"     // the version is another
)

// FaultKinds lists the kinds.
func FaultKinds() []FaultKind {
	return []FaultKind{Incomplete, Late, NoEvents, MissingFeature, Unapproved, NewVersion}
}

// A Fault acts on windows that start at From or later and before To.
type Fault struct {
	Kind     FaultKind
	Model    string // "" is every model
	Feature  string // of MissingFeature
	Version  string // of NewVersion
	Share    float64
	From, To time.Duration // To 0: to the end
}

// at reports whether the fault acts on a model's events of a time.
func (f *Fault) at(model string, since time.Duration) bool {
	return (f.Model == "" || f.Model == model) && since >= f.From && (f.To == 0 || since < f.To)
}

// An Ack is somebody who begins to look after the incidents of some groups that are
// open then.
type Ack struct {
	At     time.Duration
	Labels map[string]string // that a group has, beside others
	By     string
}

// A Silence is an incident.Silence that was set before the test begins, for the span
// from StartsAt to before EndsAt.
type Silence struct {
	Kind             incident.SilenceKind
	Matchers         []string
	StartsAt, EndsAt time.Duration
	Comment          string
}

// Alerts says how the alerts of one name stand at one time: of a rule, or of what
// driftd says of rules by itself, alert.RuleNoData and alert.RuleUndecided.
type Alerts struct {
	Line  int // of the file, for reports
	At    time.Duration
	Name  string
	Wants []Want
}

// A Want is one alert. Every series that fires must be wanted by one: of other
// phases only what is wanted is looked at.
type Want struct {
	Labels      map[string]string // that it has, beside others
	Annotations map[string]string
	Phase       alert.Phase
	Flag        string // alert.Flag, "none", or "" for any
	Reason      string // a part of the reason for which it entered the phase
	Muted       *bool  // it began in a maintenance, so that nobody is told; nil: whether or not
}

// NoFlag is the Want.Flag of a series that the last window decided.
const NoFlag = "none"

// Messages says what one receiver was told up to one time.
type Messages struct {
	Line     int
	Receiver string
	At       time.Duration // 0: at the end
	Wants    []Message
}

// A Message is what a receiver was told of an incident or, if it hears of alerts, of
// the start or the end of one. In a Want what has its zero value may be anything.
type Message struct {
	Labels   map[string]string // that the incident is grouped by, or of the alert
	Status   string            // "firing" or "resolved"
	Severity string
	At       time.Duration
	Alerts   []map[string]string // labels of those that it lists
	Firing   int                 // how many fire, of an incident
	Ended    int                 // how many have ended since the last message

	Acknowledged string // by whom
}

// An Action says what was decided when the windows that end at one time closed.
type Action struct {
	Line   int
	At     time.Duration
	Model  string
	Kind   string // alert.ActionRetrain or alert.ActionRollback
	Want   string // Issued, Suppressed or Absent
	Reason string // a part of why: the alerts' reasons, or what suppressed it
}

// Values of Action.Want.
const (
	Issued     = "issued"
	Suppressed = "suppressed"
	Absent     = "none"
)
