package drift

import "time"

// A ModelState is what an Engine knows about one model besides its windows. It
// is persisted at every checkpoint in which it changed, as JSON.
type ModelState struct {
	Model       string       `json:"model"`
	Started     time.Time    `json:"started"`           // of the first event
	Watermark   time.Time    `json:"watermark"`         // panes that end at or before it are closed
	MaxTime     time.Time    `json:"max_time"`          // latest event time counted
	LastMessage time.Time    `json:"last_message"`      // JetStream time of the model's last message
	LastSeq     uint64       `json:"last_seq"`          // its sequence
	Gap         bool         `json:"gap,omitempty"`     // messages were lost and no pane has closed since
	GapFrom     time.Time    `json:"gap_from,omitzero"` // event times of which messages may be lost, the last gap's
	GapTo       time.Time    `json:"gap_to,omitzero"`
	Signals     []SignalDef  `json:"signals"` // by number; a number never changes its meaning
	Groups      []GroupState `json:"groups"`
	Baseline    string       `json:"baseline"` // id of the active baseline, "" while learning
	Since       time.Time    `json:"since"`    // event time and message at which it became active, or of the first event
	SinceSeq    uint64       `json:"since_seq"`
	Labels      Tracked      `json:"labels"`  // labels since then
	Samples     uint64       `json:"samples"` // sum of the keys of the predictions counted since then
	Sample      *SampleState `json:"sample,omitempty"`
	Overflow    Overflow     `json:"overflow"`
}

// Tracked identifies a set of events regardless of their order: how many there
// are, and the sum of their keys modulo 2^64.
type Tracked struct {
	Count uint64 `json:"count"`
	Sum   uint64 `json:"sum"`
}

// A SignalDef names a signal of a model.
type SignalDef struct {
	Name    string     `json:"name"`
	Type    SignalType `json:"type"`
	Feature bool       `json:"feature"`
}

// A GroupState says when a group was last seen, in event time.
type GroupState struct {
	Group    Group     `json:"group"`
	LastSeen time.Time `json:"last_seen"`
}

// A SampleState describes the sample of events that a learning model keeps
// until its baseline is frozen.
type SampleState struct {
	Seen      uint64    `json:"seen"`      // events offered
	Kept      uint64    `json:"kept"`      // rows held
	Threshold uint64    `json:"threshold"` // an event is kept if its key is at most this
	Chunks    int       `json:"chunks"`    // persisted pieces that count; later ones are of a sample given up
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
}

// An Overflow counts what a limit kept from being told apart. Nothing of it is
// lost from the totals: the event is still counted where it fits.
type Overflow struct {
	Features   uint64 `json:"features,omitempty"`   // values of features beyond the limit
	Versions   uint64 `json:"versions,omitempty"`   // events counted under version __other__
	Segments   uint64 `json:"segments,omitempty"`   // events counted under segment __other__, once for each list of segments
	Mismatched uint64 `json:"mismatched,omitempty"` // values of another type than their signal
	SkippedGap uint64 `json:"skipped,omitempty"`    // empty windows of a long silence not evaluated
}
