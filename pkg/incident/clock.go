package incident

import (
	"iter"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
)

// A Clock is what a silence goes by. Event time has come farther for one model than for
// another: Behind is that of the model which lags behind most, Ahead that of the farthest.
// By wall time both are one.
type Clock struct{ Behind, Ahead time.Time }

// At is the clock that shows one time.
func At(t time.Time) Clock { return Clock{t, t} }

// Clock returns what the silence goes by: the wall, or the watermarks of the models whose
// name its matchers allow. Without any such model it goes by all, without any by the wall.
func (s Silence) Clock(wall time.Time, watermarks iter.Seq2[string, time.Time]) Clock {
	if !s.Kind.ByEventTime() {
		return At(wall)
	}
	var all, own Clock
	matchers, _ := compileMatchers(s.Matchers) // it was accepted once
	for model, mark := range watermarks {
		if mark.IsZero() {
			continue
		}
		all.see(mark)
		named := map[string]string{"model": model}
		if !slices.ContainsFunc(matchers, func(m alert.Matcher) bool { return m.Label == "model" && !m.Matches(named) }) {
			own.see(mark)
		}
	}
	switch {
	case all.Ahead.IsZero():
		return At(wall)
	case own.Ahead.IsZero():
		return all
	}
	return own
}

// see moves the clock so that it covers a watermark.
func (c *Clock) see(mark time.Time) {
	if mark.After(c.Ahead) {
		c.Ahead = mark
	}
	if c.Behind.IsZero() || mark.Before(c.Behind) {
		c.Behind = mark
	}
}
