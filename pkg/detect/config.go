package detect

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Bounds of the procedure, by statistics.md 5.
const (
	// MaxRows is the length of the calibration list: twelve weeks of hours.
	MaxRows = 2016
	// MaxReferenceBytes bounds what a reference period holds as residuals, so
	// that the freeze is one transaction: rows * detectors * 4 bytes.
	MaxReferenceBytes = 4 << 20
	// MinReference is the least number of windows a reference period has.
	MinReference = 168
	// MaxSpan is how many windows back evidence is looked at: a change that
	// began earlier is compared by its last MaxSpan windows.
	MaxSpan = 168

	// caution divides the budget: what the replay cannot see (season and
	// dependence that the fit left over) must still fit into it. Measured, not
	// proven; statistics.md 5.3.
	caution = 3
	// guaranteedTheta is the slope below which nothing may be called guaranteed.
	guaranteedTheta = 0.7
	// restless is the worth of a detector's own evidence below which the same holds.
	restless = 0.6
)

// A Config says how the drift of one model is judged. It may change between two
// steps, save for Window.
type Config struct {
	Model  string
	Window time.Duration // length of the windows that are judged

	// Pages in Per is what drift may cost the model's owner in false pages: the
	// model's share of its owner's budget, 0.5 for half a page. What other
	// detectors of the model need (quality) is taken off before.
	Pages float64
	Per   time.Duration

	Reference    int                // windows of the reference period, at least MinReference
	MinEvents    uint64             // a window with fewer waits for the next one
	MaxDetectors int                // further ones are counted as dropped
	Weights      map[string]float64 // importance of a signal relative to 1; absent means 1, 0 switches it off
	Interval     time.Duration      // between two notes about one incident, and from a page to a change that is another, at least
	Gates        Gates
}

// Gates say which effects matter, on the panes since the change began.
type Gates struct {
	Page, Ticket Gate
	// Gross is the distance from which on two windows in a row page at once,
	// unless the reference period had two thirds of it.
	Gross float64
}

// A Gate is passed when one of both is reached.
type Gate struct {
	// Distance between the distributions: the lower bound of KS for numbers,
	// the most that one cell's share moved for categories, the difference of
	// the shares for rates.
	Distance float64
	PSI      float64 // debiased
	// Rate is the least difference of a rate that counts: PSI makes much of a
	// share that was zero.
	Rate float64
}

// DefaultConfig returns the settings of statistics.md 5.2: hourly windows, one
// page in 30 days, a reference period of four weeks.
func DefaultConfig(model string) Config {
	return Config{
		Model: model, Window: time.Hour, Pages: 1, Per: 30 * 24 * time.Hour,
		Reference: 672, MinEvents: 50, MaxDetectors: 6000, Interval: 6 * time.Hour,
		Gates: Gates{
			Page:   Gate{Distance: 0.08, PSI: 0.04, Rate: 0.02},
			Ticket: Gate{Distance: 0.04, PSI: 0.01, Rate: 0.005},
			Gross:  0.25,
		},
	}
}

// Validate returns every fault of the Config, joined.
func (c *Config) Validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Window <= 0, "window %v is not positive", c.Window)
	fault(!(c.Pages > 0) || math.IsInf(c.Pages, 1), "a budget of %g pages: use a positive number", c.Pages)
	fault(c.Window > 0 && c.Per < c.Window, "a budget period of %v is shorter than a window of %v", c.Per, c.Window)
	fault(c.Reference < MinReference, "a reference period of %d windows is shorter than %d", c.Reference, MinReference)
	fault(c.Reference > MaxRows, "a reference period of %d windows is longer than %d", c.Reference, MaxRows)
	fault(c.MaxDetectors < 1, "%d detectors are too few", c.MaxDetectors)
	fault(c.Interval < 0, "interval %v is negative", c.Interval)
	for signal, w := range c.Weights {
		fault(!(w >= 0) || math.IsInf(w, 1), "weight %g of %s: use a number from 0 on", w, signal)
	}
	return errors.Join(faults...)
}

// level returns A: the windows of no change that a false alarm of the model
// takes on average, at least.
func (c *Config) level() float64 {
	return max(1, caution*float64(c.Per)/float64(c.Window)/c.Pages)
}

// reference returns the length of the reference period for a number of detectors.
func (c *Config) reference(detectors int) int {
	fits := MaxReferenceBytes / 4 / max(1, detectors)
	return max(MinReference, min(c.Reference, fits))
}
