package daemon

import (
	"maps"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
)

// A Budget is how many false pages some people can bear, and what one model may
// take of it. Models share a budget by weight.
type Budget struct {
	Name     string
	Receiver string // who is paged
	Pages    float64
	Per      time.Duration
	Weight   float64            // of the model, relative to 1; 0: it has no share
	Weights  map[string]float64 // of its signals, where they are not 1
	Shadow   bool               // it is on trial: what would draw from it is counted, and nobody is told
}

// Detection says how drift is found within budgets.
type Detection struct {
	Window    time.Duration // of what is judged: one of Spec.Sizes
	Reference int           // windows that show what is normal
	MinEvents uint64        // a window with fewer waits for the next
	Interval  time.Duration // between two messages about one incident
	// Budget returns what a model draws its pages from. nil, also as the function
	// itself: its drift is reported and not judged.
	Budget func(model string) *Budget
}

// driftShare is what drift may cost of a model's pages. The other half is kept
// for what is measured of its quality.
const driftShare = 0.5

// shares keeps what follows from the models that there are, until there is one
// more: each model's budget, and the weights that share one.
type shares struct {
	models  int
	budgets map[string]*Budget
	weights map[string]float64 // by budget
}

// shares divides the budgets among models.
func (d Detection) shares(models []string) shares {
	s := shares{models: len(models), budgets: map[string]*Budget{}, weights: map[string]float64{}}
	for _, name := range models {
		if b := d.Budget(name); b != nil && b.Weight > 0 {
			s.budgets[name] = b
			s.weights[b.Name] += b.Weight
		}
	}
	return s
}

// of returns a model's budget and its part of it, 0 to 1; nil for none.
func (s shares) of(model string) (*Budget, float64) {
	b := s.budgets[model]
	if b == nil {
		return nil, 0
	}
	return b, b.Weight / s.weights[b.Name]
}

// Within returns how the drift of a model would be judged, and its budget, in a
// daemon that knows just these models; nil if it would not.
func (d Detection) Within(model string, models []string) (*detect.Config, *Budget) {
	if d.Budget == nil {
		return nil, nil
	}
	b, share := d.shares(models).of(model)
	return d.config(model, b, share), b
}

// config returns how the drift of a model is judged that has a share of a budget,
// nil without one.
func (d Detection) config(model string, b *Budget, share float64) *detect.Config {
	if b == nil {
		return nil
	}
	c := detect.DefaultConfig(model)
	c.Window, c.Reference, c.MinEvents, c.Interval = d.Window, d.Reference, d.MinEvents, d.Interval
	c.Pages, c.Per, c.Weights = b.Pages*driftShare*share, b.Per, b.Weights
	return &c
}

// budget returns the model's budget and its part of it, 0 to 1; nil for none.
func (l *loop) budget(model string) (*Budget, float64) {
	if l.Detection.Budget == nil {
		return nil, 0
	}
	if names := l.engine.Names(); l.shares.models != len(names) {
		l.shares = l.Detection.shares(names)
	}
	return l.shares.of(model)
}

// detectConfig returns how a model's drift is judged now, nil if it is not: what
// it may cost depends on the models that it shares its budget with.
func (l *loop) detectConfig(model string) (*detect.Config, *Budget) {
	b, share := l.budget(model)
	return l.Detection.config(model, b, share), b
}

// A spentPage is one page that was drawn from a budget.
type spentPage struct {
	At    time.Time `json:"at"` // event time
	Model string    `json:"model"`
	Rule  string    `json:"rule"`
	// Shadow says that nobody was paged: the budget is on trial, and nothing was drawn.
	Shadow bool `json:"shadow,omitempty"`
}

// mostSpent bounds what is remembered of a budget.
const mostSpent = 1000

// spend books a page of a budget, and forgets those before its period.
func (l *loop) spend(b *Budget, p spentPage) {
	kept := slices.DeleteFunc(slices.Clone(l.spent[b.Name]), func(old spentPage) bool { return p.At.Sub(old.At) >= b.Per })
	l.spent[b.Name] = append(kept[max(0, len(kept)-mostSpent+1):], p)
}

// armed reports whether a hard limit holds for a model in this window: the one on
// silence where there should have been events, or wherever somebody has said how
// long one may be, the others until its drift can be judged. What a limit has stirred up it must also calm down.
func (l *loop) armed(r *alert.Rule, c *drift.Closing) bool {
	if len(l.states[r][c.Model]) > 0 {
		return true
	}
	if r.Name() == alert.RuleSilent && l.gap(c.Model) > 0 {
		return true
	}
	if b, _ := l.budget(c.Model); b == nil {
		return false
	}
	if r.Name() == alert.RuleSilent {
		return l.watched(c.Model).notes.Usual.Expects(c.End)
	}
	return !l.judging(c.Model)
}

// usual notes how much traffic a model has that hard limits watch.
func (l *loop) usual(c *drift.Closing, events uint64) error {
	b, _ := l.budget(c.Model)
	if b == nil || c.Incomplete || !slices.ContainsFunc(l.Rules, func(r *alert.Rule) bool { return r.Name() == alert.RuleSilent && r.Spec().Window == c.Size }) {
		return nil
	}
	w := l.watched(c.Model)
	w.notes.Usual = w.notes.Usual.Add(events, c.End)
	l.pending.PutNotes(c.Model, w.notes)
	return l.pending.Err()
}

// pager returns who is paged by one of driftd's own alerts, beside those whom the
// routes name, and books the page if it is a new one: it adds nothing to an incident
// that they are paged for already.
func (l *loop) pager(ch *alert.Change, paged bool) []string {
	b, _ := l.budget(ch.Series.Model)
	if b == nil || ch.Muted != "" || ch.Severity != alert.SeverityPage || !slices.Contains(alert.OwnRules, ch.Series.Rule) {
		return nil
	}
	if ch.Fired() && !paged {
		l.draw(b, ch.At, ch.Series.Model, ch.Series.Rule)
	}
	return []string{b.Receiver}
}

// draw books a page, unless the model is on trial.
func (l *loop) draw(b *Budget, at time.Time, model, rule string) {
	if !l.shadowed(model) {
		l.spend(b, spentPage{At: at.UTC(), Model: model, Rule: rule, Shadow: b.Shadow})
	}
}

// rehearses reports whether nobody is told of a model's drift and of what its hard
// limits find: the model is on trial, or its budget is.
func (l *loop) rehearses(model string) bool {
	b, _ := l.budget(model)
	return l.shadowed(model) || b != nil && b.Shadow
}

// drift says how a model's drift is judged, nil if it is not.
func (l *loop) drift(model string) *api.Drift {
	config, b := l.detectConfig(model)
	if config == nil {
		return nil
	}
	out := &api.Drift{Budget: b.Name, Config: *config}
	if w := l.watches[model]; w != nil && w.state != nil {
		status := w.state.Status(config)
		if w.standings == nil {
			w.standings = w.state.Standings(config)
		}
		out.Status, out.Standings = &status, w.standings
	}
	return out
}

// budgets lists what was drawn from each budget that a model has a share of.
func (l *loop) budgets() []api.Budget {
	byName := map[string]*api.Budget{}
	var now time.Time
	for _, model := range l.engine.Names() {
		if at := l.engine.Watermark(model); at.After(now) {
			now = at
		}
		b, _ := l.budget(model)
		if b == nil {
			continue
		}
		if byName[b.Name] == nil {
			byName[b.Name] = &api.Budget{Name: b.Name, Receiver: b.Receiver, Pages: b.Pages, Per: b.Per, OnTrial: b.Shadow}
		}
		byName[b.Name].Models++
	}
	out := make([]api.Budget, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		b := byName[name]
		for _, p := range l.spent[name] {
			switch page := (api.SpentPage{At: p.At, Model: p.Model, Rule: p.Rule}); {
			case now.Sub(p.At) >= b.Per:
			case p.Shadow:
				b.Shadow = append(b.Shadow, page)
			default:
				b.Spent = append(b.Spent, page)
			}
		}
		out = append(out, *b)
	}
	return out
}
