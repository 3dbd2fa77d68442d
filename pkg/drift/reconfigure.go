package drift

import (
	"errors"
	"slices"
)

// Reconfigure changes how events are counted from the next one on: discovery,
// what the operator says about models, limits and samples. It leaves the engine
// as Restore would under the new Spec: what was counted stays, a model that is no
// longer configured keeps its past, a lower limit evicts nobody. Lengths of time
// and the duplicate table are an engine's for life; another one is an error, which
// changes nothing.
func (g *Engine) Reconfigure(spec Spec) error {
	if err := spec.Validate(); err != nil {
		return err
	}
	old := &g.spec
	if spec.Pane != old.Pane || spec.Lateness != old.Lateness || spec.MaxFutureSkew != old.MaxFutureSkew ||
		spec.DedupIDs != old.DedupIDs || !slices.Equal(spec.Sizes, old.Sizes) {
		return errors.New("pane, lateness, skew, window sizes and dedup ids cannot change while an engine runs")
	}
	g.spec = spec // in place: models point at its limits
	for _, name := range g.names {
		m := g.models[name]
		m.spec, _ = g.spec.model(name)
		m.forget() // names were resolved for shapes of a decoder that may be gone
	}
	g.last = nil
	return nil
}
