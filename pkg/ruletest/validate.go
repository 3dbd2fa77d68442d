package ruletest

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/backtest"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/sim"
)

// Bounds of the events of one window, and of all windows of one Traffic.
const (
	maxEvents = 1_000_000
	maxPlayed = 20_000_000
)

// Validate returns what is wrong with traffic in windows of a length, joined.
func (tr *Traffic) Validate(window time.Duration) error {
	if tr.Events < 1 || tr.Events > maxEvents {
		return fmt.Errorf("events: %d a window; 1 to %d are allowed", tr.Events, maxEvents)
	}
	if tr.Rows < 0 || tr.Rows > maxEvents {
		return fmt.Errorf("a baseline of %d rows; 1 to %d are allowed", tr.Rows, maxEvents)
	}
	model := tr.Model
	model.Rate = float64(tr.Events) / window.Seconds()
	return (&sim.Scenario{Start: sim.Epoch, Models: []sim.Model{model}, Injections: tr.Changes}).Validate()
}

// Validate returns what is wrong with a fault, joined.
func (f *Fault) Validate() error {
	var errs []error
	if f.To != 0 && f.To <= f.From {
		errs = append(errs, errors.New("it ends before it begins"))
	}
	if (f.Kind == MissingFeature) != (f.Feature != "") {
		errs = append(errs, fmt.Errorf("feature belongs to %s, which needs it", MissingFeature))
	}
	if (f.Kind == NewVersion) != (f.Version != "") {
		errs = append(errs, fmt.Errorf("version belongs to %s, which needs it", NewVersion))
	}
	if f.Share <= 0 || f.Share > 1 {
		errs = append(errs, fmt.Errorf("a share of %g; above 0 and at most 1 is allowed", f.Share))
	}
	if f.Share != 1 && f.Kind != NoEvents && f.Kind != Late {
		errs = append(errs, fmt.Errorf("a share belongs to %s and %s", NoEvents, Late))
	}
	return errors.Join(errs...)
}

// Validate returns what is wrong with a silence, joined: an *alert.Fault for each
// field.
func (s *Silence) Validate() error { return s.from(sim.Epoch, "").Validate() }

// from returns the silence of a test with a start.
func (s *Silence) from(start time.Time, id string) incident.Silence {
	return incident.Silence{ID: id, Kind: s.Kind, Matchers: s.Matchers, StartsAt: start.Add(s.StartsAt), EndsAt: start.Add(s.EndsAt), Comment: s.Comment}
}

// silences returns the silences of a test, in whose order they have their ids.
func (t *Test) silences() (*incident.Silences, error) {
	var all []incident.Silence
	for i := range t.Silences {
		all = append(all, t.Silences[i].from(t.Start, fmt.Sprintf("silence-%06d", i+1)))
	}
	return incident.NewSilences(all)
}

var (
	infinite = regexp.MustCompile(`^(.+):inf=([0-9.eE+-]+)$`)
	gone     = regexp.MustCompile(`^(.+):gone=(.+)$`)
)

// ParseChange reads what happens to a feature: as backtest.ParseInjection without
// a time, or FEATURE:inf=SHARE and FEATURE:gone=CATEGORY.
func ParseChange(text string) (sim.Injection, error) {
	if m := infinite.FindStringSubmatch(text); m != nil {
		share, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return sim.Injection{}, fmt.Errorf("%q is no share", m[2])
		}
		return sim.Injection{Feature: m[1], Effect: sim.Infinities, Amount: share}, nil
	}
	if m := gone.FindStringSubmatch(text); m != nil {
		return sim.Injection{Feature: m[1], Effect: sim.DropCategory, Category: m[2]}, nil
	}
	i, err := backtest.ParseInjection(text)
	if err == nil && !i.At.IsZero() {
		err = fmt.Errorf("inject %q: say from when by from", text)
	}
	effects := map[backtest.Effect]sim.Effect{
		backtest.Shift: sim.Shift, backtest.Scale: sim.Factor, backtest.Missing: sim.Nulls, backtest.NewCategory: sim.NewCategory,
	}
	return sim.Injection{Feature: i.Feature, Effect: effects[i.Effect], Amount: i.Amount, Category: i.Category}, err
}
