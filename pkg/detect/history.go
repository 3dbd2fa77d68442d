package detect

import (
	"fmt"
	"math"

	"driftd.dev/driftd/pkg/drift"
)

// A Learner gathers the reference period of a model whose past is known, one
// window at a time.
type Learner struct {
	config *Config
	part   *drift.Part
	state  *State
	raw    *Rows
	small  *drift.Window // with too few events: it waits for the next
}

// NewLearner returns a Learner of windows that were counted on the edges of the
// baseline that p is the whole of.
func NewLearner(c *Config, baseline string, p *drift.Part) *Learner {
	s := NewState(c, baseline, p)
	return &Learner{config: c, part: p, state: s, raw: &Rows{Width: rawWidth(len(s.live))}}
}

// Add takes the next window of the whole model, and does not keep it. One that
// Step would not look at is left out, and small ones are added up, as Step does.
//
// The error is a defect: windows that do not fit together.
func (l *Learner) Add(w *drift.Window) error {
	s := l.state
	if l.small != nil {
		sum, err := drift.Sum([]*drift.Window{l.small, w})
		if err != nil {
			return fmt.Errorf("history of model %s: %w", l.config.Model, err)
		}
		w = sum
	}
	l.small = nil
	if o := s.look(l.config, nil, l.part, w); o.Skip == "" {
		s.learnGross(o)
		l.raw.Put(int(s.rows), rawRow(o.middle(), o.measures))
		s.rows++
	} else if !s.carry.IsZero() {
		l.small = w
	}
	return nil
}

// State returns the state after the windows so far, and the Rows to be stored
// beside it; the Learner is then of no use. With MinReference windows and more the
// reference period is over at once, and all that fit are used, beyond
// Config.Reference too; with fewer the state goes on learning.
func (l *Learner) State() (*State, *Rows) {
	s, raw := l.state, l.raw
	most := min(MaxRows, max(MinReference, MaxReferenceBytes/4/max(1, len(s.live))))
	if drop := raw.Len() - most; drop > 0 {
		raw.Data = raw.Data[drop*raw.Width:]
		s.rows = uint32(most)
	}
	if raw.Len() < MinReference {
		return s, raw
	}
	return s, s.freeze(l.config, raw)
}

// Learn returns what a Learner knows of windows of the whole model before now,
// ascending.
func Learn(c *Config, baseline string, p *drift.Part, windows []*drift.Window) (*State, *Rows, error) {
	l := NewLearner(c, baseline, p)
	for _, w := range windows {
		if err := l.Add(w); err != nil {
			return nil, nil, err
		}
	}
	s, rows := l.State()
	return s, rows, nil
}

// Inherit returns the state of a model that changes its baseline, or of a version
// that takes over from another, so that it is watched at once: detectors that
// both know keep their season, scale, memory and calibration list, but not their
// level, which is the new baseline's; others take the typical scale of their
// component and begin their list. Its alarms keep the budget as far as the new
// traffic varies as the old did, which nobody has measured: Status.Inherited says
// so until a reference period of its own, which Learn can give it. A state that
// has judged nothing yet has nothing to give: the new one begins to learn.
//
// The incident of old is not taken over; see [State.Close].
func Inherit(old *State, rows *Rows, c *Config, baseline string, p *drift.Part) (*State, *Rows) {
	s := NewState(c, baseline, p)
	if !old.fit.Frozen || old.fit.Window != c.Window {
		return s, &Rows{Width: rawWidth(len(s.live))}
	}
	from := make([]int, len(s.live)) // index in old, -1 for none
	k := 0
	for j, d := range s.fit.Detectors {
		for k < len(old.fit.Detectors) && old.fit.Detectors[k].Compare(d) < 0 {
			k++
		}
		from[j] = -1
		if k < len(old.fit.Detectors) && old.fit.Detectors[k] == d {
			from[j] = k
		}
	}
	typical := old.fit.typical()
	s.fit.Frozen, s.fit.Inherited, s.fit.params = true, true, make([]param, len(from))
	list := &Rows{Width: len(from), Data: make([]float32, len(from)*rows.Len())}
	for j, k := range from {
		if k < 0 {
			s.fit.params[j] = typical[s.fit.Detectors[j].Component]
		} else {
			s.fit.params[j], s.live[j].worth = old.fit.params[k], old.live[k].worth
			s.fit.params[j].season[0] -= s.fit.params[j].meanSeason()
		}
		for i := range rows.Len() {
			list.Row(i)[j] = unmeasured.value
			if k >= 0 {
				list.Row(i)[j] = rows.Row(i)[k]
			}
		}
	}
	s.law, s.rows, s.calibrated = old.law, old.rows, old.calibrated
	s.last, s.carry = old.last, old.carry
	return s, list
}

// meanSeason returns what the season adds over a week.
func (p *param) meanSeason() float32 { return p.season[0] + p.season[1]*2/7 }

// typical returns, by component, the mean scale and memory of the detectors.
func (f *Fit) typical() (out [components]param) {
	var count [components]float32
	for j, d := range f.Detectors {
		count[d.Component]++
		out[d.Component].tau2 += f.params[j].tau2
		out[d.Component].gross = max(out[d.Component].gross, f.params[j].gross)
		for k, phi := range f.params[j].phi {
			out[d.Component].phi[k] += phi
		}
	}
	for c := range out {
		n := max(1, count[c])
		out[c].tau2 /= n
		for k := range out[c].phi {
			out[c].phi[k] /= n
		}
	}
	return out
}

// A Standing is how near a detector is to an alarm.
type Standing struct {
	Detector
	LogR      float64 `json:"log_r"` // evidence, in nats; 0 for none
	Threshold float64 `json:"threshold"`
	Level     Level   `json:"level"`
	Known     bool    `json:"known,omitempty"` // acknowledged
}

// Standings returns every detector's evidence, ascending by signal and component.
func (s *State) Standings(c *Config) []Standing {
	out := make([]Standing, len(s.live))
	for j, w := range c.weights(s.fit.Detectors) {
		l := &s.live[j]
		out[j] = Standing{
			Detector: s.fit.Detectors[j], LogR: max(0, l.logR()), Level: l.level, Known: l.known,
			Threshold: s.law.threshold(math.Log(c.level()) - math.Log(max(w, math.SmallestNonzeroFloat64))),
		}
	}
	return out
}

// Scores returns what the window said to each detector, parallel to the Fit's:
// standard normals while nothing changes, NaN where nothing was measured; nil
// when the window was not judged.
func (o *Outcome) Scores() []float64 { return o.z }

// Explain returns what a window could not have seen, in words: "" if nothing was
// looked at.
func (o *Outcome) Explain() string {
	if o.Skip != "" {
		return ""
	}
	return fmt.Sprintf("this window could not have seen less than %.2g sd", o.Detectable)
}
