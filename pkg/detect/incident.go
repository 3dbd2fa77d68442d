package detect

import "time"

// A Level says what becomes of evidence.
type Level uint8

// The levels, by weight. Their numbers are stored.
const (
	None   Level = iota
	Record       // there was a change, and it is too small to matter
	Ticket       // for working hours
	Page         // for now
)

// String returns the level's name in reports.
func (l Level) String() string { return [...]string{"none", "record", "ticket", "page"}[min(l, Page)] }

// MarshalText returns the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a level's name; an unknown one is None.
func (l *Level) UnmarshalText(text []byte) error {
	*l = None
	for _, known := range []Level{Record, Ticket, Page} {
		if known.String() == string(text) {
			*l = known
		}
	}
	return nil
}

// An Alarm is evidence of a change of one detector, before its effect is known.
type Alarm struct {
	Detector
	Since     time.Time `json:"since"`           // when the change began: start of a window
	LogR      float64   `json:"log_r"`           // evidence, in nats; 0 for none
	Threshold float64   `json:"threshold"`       // the LogR from which on it is an alarm; 0 if Dense or Gross
	Dense     bool      `json:"dense,omitempty"` // too little by itself: many detectors moved a little
	Gross     bool      `json:"gross,omitempty"` // so far off, twice in a row, that no evidence is needed

	index int // of the detector
	span  int // index in Outcome.Spans of the panes to look at
}

// An Outcome is what Step found in one window. Spans are the times whose panes,
// from there to End, Settle wants to see reports of; they ascend.
type Outcome struct {
	Start, End time.Time   // what was looked at: more than a window after windows too small
	Skip       string      // why it was not, "" if it was
	Alarms     []Alarm     // the strongest first
	Spans      []time.Time // at most 8

	// Detectable is the shift, in standard deviations, that this window alone
	// could have told from chance with 80 % power, as rarely as alarms may be
	// false: it could not have seen less. NaN if nothing was looked at.
	Detectable float64

	window   uint32 // its number
	measures []measure
	residual []float32 // NaN where nothing was measured; nil in the reference period
	z        []float64
	rows     *Rows // of the model, without this window
}

// A Finding is an alarm with its effect.
type Finding struct {
	Alarm
	Level     Level   `json:"level"`
	Effect    Effect  `json:"effect"`
	EValue    float64 `json:"e_value"`             // evidence over the number of its windows: chance reaches x once in x
	Reason    string  `json:"reason"`              // one clause for people
	Lowered   string  `json:"lowered,omitempty"`   // why it is a ticket though its effect is that of a page
	Connected bool    `json:"connected,omitempty"` // no alarm by itself: listed because it moved too (e-BH at .05)
}

// An Effect is how far a detector moved over the panes since its change. What a
// component does not have, or what could not be compared, is 0.
type Effect struct {
	Distance float64 `json:"distance"`  // see Gate.Distance
	PSI      float64 `json:"psi"`       // debiased, of the values or of the rate
	Share    float64 `json:"share"`     // of a rate
	Baseline float64 `json:"baseline"`  // the rate's share in the baseline
	N        uint64  `json:"n"`         // values or events compared
	Sign     int     `json:"direction"` // of Location, Spread and rates: 1 greater, -1 smaller; otherwise 0
	// Season is the signed distance that the hour and the weekday explain, of a
	// Location: Distance and PSI are without it. 0 without a season.
	Season float64 `json:"season,omitempty"`
	Moved  []Move  `json:"moved,omitempty"` // of Categories and Unseen: what moved most, at most 3
}

// An Incident is what is wrong with a model: one at a time, whatever the number
// of detectors that see it.
type Incident struct {
	Level    Level     `json:"level"`
	Opened   time.Time `json:"opened"`         // end of the window that opened it
	Since    time.Time `json:"since"`          // when the earliest change began
	Told     time.Time `json:"told"`           // end of the window of the last change that was told
	Paged    time.Time `json:"paged,omitzero"` // end of the window of the last page
	Findings []Finding `json:"findings"`
	More     int       `json:"more,omitempty"`   // findings beyond the 50 that are kept
	Untold   int       `json:"untold,omitempty"` // findings that no change has told yet
}

// A ChangeKind says what became of an incident.
type ChangeKind string

// The kinds of changes. Opened at level Page and Raised are what the budget counts.
const (
	Opened   ChangeKind = "opened"
	Raised   ChangeKind = "raised"   // from ticket to page
	Extended ChangeKind = "extended" // more detectors, at most one note in Config.Interval
	Resolved ChangeKind = "resolved"
	// Superseded is the end of an incident because another change was worth a page
	// of its own: it comes behind the Opened of the incident that goes on.
	Superseded ChangeKind = "superseded"
	Noted      ChangeKind = "noted" // no incident: evidence without an effect that matters
)

// A Change is something about a model that has to be recorded, and told unless
// it is Noted.
type Change struct {
	Kind     ChangeKind `json:"kind"`
	At       time.Time  `json:"at"`       // end of the window
	Incident Incident   `json:"incident"` // as it is after the change; empty if Noted
	New      []Finding  `json:"new"`      // what came with this change, the strongest first
	Reason   string     `json:"reason"`
}

// Ends reports whether the change is the end of its incident.
func (c *Change) Ends() bool { return c.Kind == Resolved || c.Kind == Superseded }

// Page reports whether the change spends a page of the budget.
func (c *Change) Page() bool {
	return c.Kind == Opened && c.Incident.Level == Page || c.Kind == Raised
}

// A Decision is what Settle returns: what to tell, and the row to store.
type Decision struct {
	Changes []Change
	Slot    int       // of Row in Rows
	Row     []float32 // nil if the window adds none
	Rows    *Rows     // not nil when the reference period ends: replaces all rows, and the Fit is new
}
