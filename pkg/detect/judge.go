package detect

import (
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// A Since returns the sum of a model's windows from a time to the end of the one
// that is judged, nil if there was no event: what is stored, and that window.
type Since func(from time.Time) (*drift.Window, error)

// A Judgement is what a window has led to.
type Judgement struct {
	*Outcome
	Decision
	Window *drift.Window // that was looked at: longer than one window after windows too small
}

// Judge does all that there is to do about a window of the whole model that has
// closed: Step, the sums that it asks for, and Settle. The state must have been
// made for the baseline. The caller stores the state and brings rows up to the
// Decision, see [Rows.Take]. An error is Since's; the state is then of no use.
func (s *State) Judge(c *Config, rows *Rows, base *drift.Baseline, window *drift.Window, since Since) (Judgement, error) {
	part := base.Part("")
	if from := s.From(window.Start); from.Before(window.Start) {
		sum, err := since(from)
		if err != nil {
			return Judgement{}, err
		}
		if sum != nil {
			window = sum
		}
	}
	o := s.Step(c, rows, part, window)
	reports := make([]*drift.Report, len(o.Spans))
	for i, from := range o.Spans {
		sum, err := since(from)
		if err != nil {
			return Judgement{}, err
		}
		if sum != nil {
			reports[i] = drift.Compare(part, base.ID, base.State == drift.Approved, sum)
		}
	}
	return Judgement{Outcome: o, Decision: s.Settle(c, o, part, reports), Window: window}, nil
}

// Take brings the rows up to a Decision about the model that they are of.
func (r *Rows) Take(d *Decision) {
	switch {
	case d.Rows != nil:
		*r = *d.Rows
	case d.Row != nil:
		r.Put(d.Slot, d.Row)
	}
}
