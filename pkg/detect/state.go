package detect

import (
	"math"
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// A State is what the alarm procedure remembers of one model. In the reference
// period it gathers raw rows; when that ends its Fit is frozen, and from then on
// it judges. The daemon's loop owns it, calls Step and Settle once for every
// closed window of the whole model (all versions and variants but shadow) in the
// order of time, and stores it in the same transaction.
type State struct {
	fit        *Fit
	law        calibration
	rows       uint32    // put so far; the ring's next slot is rows % MaxRows
	calibrated uint32    // rows at the last calibration
	last       time.Time // end of the last window that was looked at
	carry      time.Time // start of the windows that wait for more events; zero: none
	live       []live    // parallel to the Fit's detectors
	together   uint8     // windows in a row in which many detectors were an alarm together
	incident   *Incident
}

// A live is what changes of one detector.
type live struct {
	evidence
	lags  lags
	worth float32 // exponent of its evidence, 1 at most; see calibrate.go
	gross float32 // greatest gross distance of the reference period so far
	level Level   // what became of its last alarm
	known bool    // somebody acknowledged it
	calm  uint8   // quiet windows in a row while level is Ticket or Page
	run   uint8   // windows in a row that were far off
	over  uint8   // windows in a row as an alarm
}

// held reports whether the detector belongs to something that people know of:
// its windows are not quiet ones.
func (l *live) held() bool { return l.level >= Ticket }

// logR returns the detector's evidence in nats, as far as it is worth it.
func (l *live) logR() float64 { return float64(l.worth) * math.Log(l.mean()) }

// eValue returns an e-value of the windows since the evidence was 0: the mean of
// R is at most their number.
func (l *live) eValue() float64 { return math.Exp(l.logR()) / float64(max(1, l.age)) }

// release ends what held a detector: it begins anew.
func (l *live) release() {
	*l = live{lags: l.lags, worth: l.worth, gross: l.gross}
}

// NewState returns the state of a model whose reference period begins, against
// the whole of a baseline. The detectors are those of the part's signals.
func NewState(c *Config, baseline string, p *drift.Part) *State {
	watched, dropped := detectors(p, c.MaxDetectors)
	s := &State{
		fit: &Fit{Baseline: baseline, Window: c.Window, Detectors: watched, Dropped: dropped},
		law: theory, live: make([]live, len(watched)),
	}
	for j := range s.live {
		s.live[j].lags, s.live[j].worth = noLags(), 1
	}
	return s
}

// Fit returns what the reference period taught. It changes only when it ends
// (Decision.Rows), and is to be stored then and with a new State.
func (s *State) Fit() *Fit { return s.fit }

// Baseline returns the id of the baseline that the model is judged against.
func (s *State) Baseline() string { return s.fit.Baseline }

// From returns the start of what Step must be given for a window that starts at
// start: earlier than that when the windows before it had too few events.
func (s *State) From(start time.Time) time.Time {
	if s.carry.IsZero() {
		return start
	}
	return s.carry
}

// A Status is a State for people.
type Status struct {
	Baseline   string    `json:"baseline"`
	Judging    bool      `json:"judging"` // false: the reference period lasts
	Inherited  bool      `json:"inherited,omitempty"`
	Windows    int       `json:"windows"`   // of the reference period so far, then of the calibration list
	Reference  int       `json:"reference"` // windows the reference period needs
	Detectors  int       `json:"detectors"`
	Dropped    int       `json:"dropped,omitempty"`  // detectors beyond the limit
	Theta      float64   `json:"theta"`              // slope of quiet evidence: 1 when the model of it is right
	Restless   int       `json:"restless,omitempty"` // detectors whose evidence is worth less than .6: they moved much while all was quiet
	Guaranteed bool      `json:"guaranteed"`         // the budget holds by theory and not by calibration alone: Theta at least .7, none restless, not inherited
	Threshold  float64   `json:"threshold"`          // log R of an alarm, for a detector of mean weight
	Last       time.Time `json:"last,omitzero"`      // end of the last window that was looked at
	Incident   *Incident `json:"incident,omitempty"`
}

// Status returns the state under a config.
func (s *State) Status(c *Config) Status {
	out := Status{
		Baseline: s.fit.Baseline, Judging: s.fit.Frozen, Inherited: s.fit.Inherited,
		Windows: int(min(s.rows, MaxRows)), Reference: c.reference(len(s.fit.Detectors)),
		Detectors: len(s.fit.Detectors), Dropped: s.fit.Dropped,
		Theta: s.law.theta, Threshold: s.law.threshold(math.Log(c.level() * float64(max(1, len(s.live))))),
		Last: s.last,
	}
	for j := range s.live {
		if s.live[j].worth < restless {
			out.Restless++
		}
	}
	out.Guaranteed = out.Judging && !out.Inherited && out.Theta >= guaranteedTheta && out.Restless == 0
	if s.incident != nil {
		out.Incident = new(s.incident.clone())
	}
	return out
}

// Acknowledge closes the incident because somebody knows of it: its detectors
// stay silent until they have been quiet, those of a ticket also until they are
// worth a page. ok is false without one.
func (s *State) Acknowledge(at time.Time) (change Change, ok bool) {
	for j := range s.live {
		if l := &s.live[j]; l.held() {
			l.known = true
		}
	}
	return s.Close(at, "acknowledged")
}

// Release begins the evidence of every detector anew, as if nothing was known: what it
// was gathered from is not to count. The incident must be closed.
func (s *State) Release() {
	for j := range s.live {
		s.live[j].release()
	}
}

// Close ends the incident for a reason that lies outside: a new baseline, a
// model that is no longer watched. ok is false without one.
func (s *State) Close(at time.Time, reason string) (change Change, ok bool) {
	if s.incident == nil {
		return Change{}, false
	}
	change = Change{Kind: Resolved, At: at.UTC(), Incident: s.incident.clone(), Reason: reason}
	s.incident = nil
	return change, true
}
