package alert

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Phase is where a series stands.
type Phase uint8

// The phases. A State starts, and after a day ends, Inactive.
const (
	Inactive   Phase = iota
	Pending          // the condition holds, not yet for long enough
	Firing           // somebody was told
	Recovering       // still firing; the condition stopped, not yet for long enough
	Resolved         // kept for a day
)

var phases = [...]string{"inactive", "pending", "firing", "recovering", "resolved"}

// String returns the phase in lower case.
func (p Phase) String() string { return phases[p] }

// MarshalText implements encoding.TextMarshaler.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Phase) UnmarshalText(text []byte) error {
	i := slices.Index(phases[:], string(text))
	if i < 0 {
		return fmt.Errorf("alert phase %.20q is not one of %v", text, phases)
	}
	*p = Phase(i)
	return nil
}

// A Flag says why the last window decided nothing. The phase is kept.
type Flag string

// The flags.
const (
	NoData       Flag = "no_data"      // the series had no events, or the model learns what to compare it with
	Undefined    Flag = "undefined"    // it had, and an input has no value all the same: the rule cannot be evaluated
	Insufficient Flag = "insufficient" // fewer values than the rule's minimum
	Incomplete   Flag = "incomplete"   // the condition holds, but on a window that lost messages
)

// A State is what a rule remembers of one series. It is comparable, survives
// JSON unchanged, and needs no storage when it is zero. Step makes the next one;
// a caller sets DedupKey and Muted only, and may lower Severity.
type State struct {
	Phase Phase     `json:"phase"`
	Since time.Time `json:"since,omitzero"` // end of the window that entered the phase
	Last  time.Time `json:"last,omitzero"`  // end of the last window seen; zero while Inactive
	Held  int       `json:"held,omitzero"`  // windows counted toward leaving Pending or Recovering
	// Recent has a bit for each of the last windows of a Pending series that decided,
	// the last one lowest: 1 if the condition held. Of a rule with Hold.Of only.
	Recent uint64 `json:"recent,omitzero"`

	Flag      Flag      `json:"flag,omitzero"`
	FlagSince time.Time `json:"flag_since,omitzero"` // end of the first window under the flag
	Lost      int       `json:"lost,omitzero"`       // windows without data while firing

	FiredAt    time.Time `json:"fired_at,omitzero"`
	ResolvedAt time.Time `json:"resolved_at,omitzero"`
	Fires      int       `json:"fires,omitzero"`    // how often it fired, each time within a day of its last end
	Limited    bool      `json:"limited,omitzero"`  // would fire, but the rule's Limit is reached
	Beyond     int       `json:"beyond,omitzero"`   // of an OverflowSignal: series held back in the last window
	Severity   string    `json:"severity,omitzero"` // of this firing
	Shadow     bool      `json:"shadow,omitzero"`   // this firing is told to nobody
	Muted      string    `json:"muted,omitzero"`    // neither is this, which began in the maintenance of that id
	Peak       Peak      `json:"peak,omitzero"`     // of this firing
	DedupKey   string    `json:"dedup_key,omitzero"`
}

// A Peak is the worst window of a firing.
type Peak struct {
	Effect float64   `json:"effect"` // relative distance past the threshold
	Reason string    `json:"reason"`
	At     time.Time `json:"at"` // end of the window
}

// Untold reports whether nobody is told of this firing.
func (s State) Untold() bool { return s.Shadow || s.Muted != "" }

// Active reports whether the series counts as firing to the outside.
func (s State) Active() bool { return s.Phase == Firing || s.Phase == Recovering }

// Flaps returns how often the series has started again within a day of its end. A
// series that flaps must be quiet for longer to resolve: twice Spec.KeepFiringFor
// after the first time, then four times, up to a day.
func (s State) Flaps() int { return max(0, s.Fires-1) }

// A Change is one transition, with what a ledger entry about it needs.
type Change struct {
	Series   Series
	From, To Phase
	At       time.Time // end of the window that caused it, event time
	Window   Window
	Reason   string             // each clause with its values
	Stats    map[string]float64 // the rule's variables that are defined

	Severity string    // after any downgrade
	Shadow   bool      // nobody is told of this firing, and no action follows
	Muted    string    // State.Muted; the same, if it is not ""
	StartsAt time.Time // when it fired; zero before
	EndsAt   time.Time // when it resolved; zero before
	Peak     Peak      // the worst window, from firing on
	Flaps    int       // State.Flaps of this firing
	DedupKey string    // State.DedupKey; "" when it fires, for the caller knows the id then

	Expr        string // Spec.Expr, as evidence
	Baseline    string
	Unapproved  bool // it rests on a reference that nobody approved: no action may follow
	Actions     []string
	Labels      map[string]string // shared with the rule: read only
	Annotations map[string]string // shared with the rule: read only
}

// Fired reports whether the change is the start of an alert.
func (c Change) Fired() bool { return c.To == Firing && c.From != Recovering }

// Untold reports whether nobody is told of the alert and no action follows.
func (c Change) Untold() bool { return c.Shadow || c.Muted != "" }

// Resolved reports whether the change is the end of an alert.
func (c Change) Resolved() bool {
	return c.To == Resolved && (c.From == Firing || c.From == Recovering)
}

// Variant returns the variant's name, "" for an alert on a whole model.
func (c Change) Variant() string {
	if c.Series.Version == "" {
		return ""
	}
	return c.Series.Variant.String()
}

// LabelSet returns all labels of the alert, for Routes and for receivers.
func (c Change) LabelSet() map[string]string {
	out := maps.Clone(c.Labels)
	if out == nil {
		out = make(map[string]string, len(reserved))
	}
	for name, value := range map[string]string{
		"alertname": c.Series.Alertname(), "model": c.Series.Model, "model_version": c.Series.Version,
		"variant": c.Variant(), "segment": c.Series.Segment, "feature": c.Series.Feature(), "severity": c.Severity,
	} {
		if value != "" {
			out[name] = value
		}
	}
	return out
}

// Withdraw ends a series whose rule no longer exists or no longer selects it. A
// firing one resolves, for the reason given, so that no incident stays open with
// nobody to close it; its state is forgotten at once.
func Withdraw(series Series, s State, w Window, reason string) []Change {
	if !s.Active() {
		return nil
	}
	w.Start, w.End = w.Start.UTC(), w.End.UTC()
	return []Change{{
		Series: series, From: s.Phase, To: Resolved, At: w.End, Window: w, Reason: reason,
		Stats: map[string]float64{}, Severity: s.Severity, Shadow: s.Shadow, Muted: s.Muted, StartsAt: s.FiredAt, EndsAt: w.End,
		Peak: s.Peak, Flaps: s.Flaps(), DedupKey: s.DedupKey,
	}}
}
