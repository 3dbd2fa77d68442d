package alert

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Spec is a rule as the operator wrote it. Globs select; an empty one selects
// all. A rule whose expressions use a feature's variables, or that has a Feature,
// is judged once a signal; any other once a model, or once a group if Version,
// Variant or Segment selects groups.
type Spec struct {
	Name    string // unique; the label "alertname"
	Model   string
	Version string
	Variant string // "primary", "canary", "shadow" or a glob
	Segment string // windows of segments are judged only if this is set
	Feature string // any signal: a feature or one of the model's outputs

	Reference string        // "baseline" (default), "previous_window" or "same_hour_last_week"
	Window    time.Duration // length of the tumbling windows that are judged

	Expr  string // fires
	Clear string // stops firing; empty: as soon as Expr is false

	For           Hold
	KeepFiringFor Hold   // how long it is quiet before the alert ends, see Flaps; zero: one window, however often
	NoData        string // what windows without events do: NoDataKeep (default) and so on
	NoDataFor     Hold   // how long before NoData resolves or alerts; zero: see NoDataAlert, and two windows
	UndecidedFor  Hold   // how long a rule may be unable to decide before RuleUndecided; zero: for ever

	Severity string   // "page", "ticket" (default) or "info"
	Notify   string   // "receivers" (default) or "shadow": recorded, and nobody is told
	Actions  []string // "retrain", "rollback"
	MinN     *uint64  // fewer values decide nothing; nil: 100 of a signal, 0 of a model
	Limit    int      // most series of one model that may fire at once; 0: no limit

	Labels      map[string]string
	Annotations map[string]string
}

// A Hold is how long something must last: a number of consecutive windows, a
// number of the last Of windows, or a span of event time, which is rounded up to
// whole windows. Only windows that decide something are counted.
type Hold struct {
	Windows  int
	Of       int // 0, or Windows to 64: so many windows need not be consecutive; of Spec.For only
	Duration time.Duration
}

// mostOf bounds Hold.Of: State.Recent has a bit a window.
const mostOf = 64

// Holds of a rule that says nothing else. A configuration sets them; the zero
// Hold of a Spec stays none.
var (
	DefaultKeepFiringFor = Hold{Windows: 2}
	DefaultUndecidedFor  = Hold{Windows: 12}
)

// windows returns the hold as a number of windows, at least one: a state can
// change only when a window closes.
func (h Hold) windows(size time.Duration) int {
	if h.Duration > 0 {
		return max(1, int((h.Duration+size-1)/size))
	}
	return max(1, h.Windows)
}

// Severities, from the worst.
const (
	SeverityPage   = "page"
	SeverityTicket = "ticket"
	SeverityInfo   = "info"
)

// Values of Spec.Notify. What fires in shadow is recorded as what would have been
// told: nobody hears of it and no action follows, until the trial ends.
const (
	NotifyReceivers = "receivers"
	NotifyShadow    = "shadow"
)

// Actions that a firing rule can ask for; see lifecycle.
const (
	ActionRetrain  = "retrain"
	ActionRollback = "rollback"
)

// References that a rule can compare with.
const (
	ReferenceBaseline         = "baseline"
	ReferencePreviousWindow   = "previous_window"
	ReferenceSameHourLastWeek = "same_hour_last_week"
)

// Values of Spec.NoData.
const (
	NoDataKeep    = "keep"    // a window without events changes nothing
	NoDataResolve = "resolve" // after NoDataFor of them a firing series resolves
	NoDataAlert   = "alert"   // as keep, and RuleNoData fires after NoDataFor, else the model's expected gap, else two windows
	NoDataOK      = "ok"      // a window without events is a quiet one
)

// defaultNoData is how many windows without events NoDataResolve and NoDataAlert
// wait for: one may be late.
const defaultNoData = 2

// defaultMinN is the fewest values of a signal on which a verdict is given
// (contract section 1).
const defaultMinN = 100

// A Rule is a Spec made ready to run. It never changes and may be shared.
type Rule struct {
	spec    Spec
	expr    *condition
	clear   *condition // nil: stop when expr is false
	feature bool       // judged a signal, not a model
	groups  bool       // of a model-level rule: judged a group, not a whole model
	compare bool       // needs a reference
	names   []string   // variables of both expressions, without repeats
	minN    uint64
	hold    int // windows of Spec.For
	keep    int // windows of Spec.KeepFiringFor
	lost    int // windows of Spec.NoDataFor, 0: not given
	blind   int // windows of Spec.UndecidedFor, 0: never
}

// Compile checks a rule and makes it ready. The error joins a *Fault for every
// thing that is wrong. metrics names further model-level variables, such as
// quality metrics, whose values the caller sets in Input.Vars.
func Compile(spec Spec, metrics ...string) (*Rule, error) {
	spec.Severity = orElse(spec.Severity, SeverityTicket)
	spec.Reference = orElse(spec.Reference, ReferenceBaseline)
	spec.NoData = orElse(spec.NoData, NoDataKeep)
	spec.Notify = orElse(spec.Notify, NotifyReceivers)
	spec.Actions = slices.Clone(spec.Actions)
	spec.Labels, spec.Annotations = maps.Clone(spec.Labels), maps.Clone(spec.Annotations)

	r := &Rule{spec: spec}
	faults := spec.check()
	var more []*Fault
	r.expr, more = compileCondition(spec.Expr, metrics)
	faults = append(faults, within("expr", more)...)
	if spec.Clear != "" {
		r.clear, more = compileCondition(spec.Clear, metrics)
		faults = append(faults, within("clear", more)...)
	}
	if r.expr != nil && (spec.Clear == "" || r.clear != nil) {
		r.derive()
		faults = append(faults, r.check()...)
	}
	if len(faults) == 0 {
		return r, nil
	}
	errs := make([]error, len(faults))
	for i, f := range faults {
		f.Rule = spec.Name
		errs[i] = f
	}
	return nil, errors.Join(errs...)
}

func within(field string, faults []*Fault) []*Fault {
	for _, f := range faults {
		f.Field = field
	}
	return faults
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// derive fills in what follows from the spec and its expressions.
func (r *Rule) derive() {
	r.names = slices.Clone(r.expr.names)
	if r.clear != nil {
		for _, name := range r.clear.names {
			if !slices.Contains(r.names, name) {
				r.names = append(r.names, name)
			}
		}
	}
	r.feature = r.spec.Feature != ""
	for _, name := range r.names {
		if i, ok := lookup(name); ok {
			r.feature = r.feature || catalogue[i].feature
			r.compare = r.compare || catalogue[i].reference
		}
	}
	r.groups = r.spec.Version != "" || r.spec.Variant != "" || r.spec.Segment != ""
	if r.feature {
		r.minN = defaultMinN
	}
	if r.spec.MinN != nil {
		r.minN = *r.spec.MinN
	}
	r.hold = r.spec.For.windows(max(r.spec.Window, 1))
	r.keep = r.spec.KeepFiringFor.windows(max(r.spec.Window, 1))
	if r.spec.NoDataFor != (Hold{}) {
		r.lost = r.spec.NoDataFor.windows(max(r.spec.Window, 1))
	}
	if r.spec.UndecidedFor != (Hold{}) {
		r.blind = r.spec.UndecidedFor.windows(max(r.spec.Window, 1))
	}
	if r.blind > 0 && r.spec.Reference == ReferenceSameHourLastWeek {
		r.blind += int(week / max(r.spec.Window, 1)) // a new model has no last week
	}
}

const week = 7 * 24 * time.Hour

// check finds the faults that only the compiled rule shows.
func (r *Rule) check() []*Fault {
	var faults []*Fault
	if slices.Contains(r.spec.Actions, ActionRollback) && !r.feature && !r.groups {
		faults = append(faults, &Fault{Field: "actions", Message: "rollback needs to know the version: add \"version\" or \"variant\" to the rule, for example variant: canary"})
	}
	return faults
}

// check finds the faults of everything but the expressions.
func (s *Spec) check() []*Fault {
	var faults []*Fault
	add := func(field, format string, args ...any) {
		faults = append(faults, &Fault{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	oneOf := func(field, value string, allowed ...string) {
		if slices.Contains(allowed, value) {
			return
		}
		message := fmt.Sprintf("%.40q is not one of %s", value, strings.Join(allowed, ", "))
		if best := suggest(value, allowed); best != "" {
			message += fmt.Sprintf("; did you mean %q?", best)
		}
		add(field, "%s", message)
	}
	if s.Name == "" || len(s.Name) > 128 || strings.ContainsFunc(s.Name, func(r rune) bool { return r < ' ' }) {
		add("alert", "a rule needs a name of 1 to 128 bytes of text")
	}
	if s.Window <= 0 {
		add("window", "a window must be longer than zero, for example 1h")
	}
	for _, h := range []struct {
		field string
		hold  Hold
	}{{"for", s.For}, {"keep_firing_for", s.KeepFiringFor}, {"no_data_for", s.NoDataFor}, {"undecided_for", s.UndecidedFor}} {
		switch {
		case h.hold.Windows < 0 || h.hold.Duration < 0 || h.hold.Windows > 0 && h.hold.Duration > 0:
			add(h.field, "give a number of windows or a duration, not negative")
		case h.hold.Of == 0:
		case h.field != "for":
			add(h.field, "only \"for\" can be so many of the last windows: give a number of windows or a duration")
		case h.hold.Windows < 1 || h.hold.Of < h.hold.Windows || h.hold.Of > mostOf || h.hold.Duration > 0:
			add(h.field, "%d of %d is not possible: give 1 or more of at most %d windows, such as 3 of 5", h.hold.Windows, h.hold.Of, mostOf)
		}
	}
	oneOf("severity", s.Severity, SeverityPage, SeverityTicket, SeverityInfo)
	oneOf("reference", s.Reference, ReferenceBaseline, ReferencePreviousWindow, ReferenceSameHourLastWeek)
	oneOf("notify", s.Notify, NotifyReceivers, NotifyShadow)
	oneOf("no_data", s.NoData, NoDataKeep, NoDataResolve, NoDataAlert, NoDataOK)
	if s.NoDataFor != (Hold{}) && (s.NoData == NoDataKeep || s.NoData == NoDataOK) {
		add("no_data_for", "no_data: %s waits for nothing: remove this, or choose resolve or alert", s.NoData)
	}
	for _, action := range s.Actions {
		oneOf("actions", action, ActionRetrain, ActionRollback)
	}
	if s.Limit < 0 {
		add("limit", "a limit cannot be negative; 0 is no limit")
	}
	checkLabels(s.Labels, add)
	return faults
}

// reserved are the labels that driftd sets.
var reserved = []string{"alertname", "model", "model_version", "variant", "segment", "feature", "severity", "alertstate", "rule"}

// checkLabels refuses labels that would change the identity of an alert while
// it fires: "$value" in a label resets it (prometheus#5434).
func checkLabels(labels map[string]string, add func(field, format string, args ...any)) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		switch value := labels[name]; {
		case !labelName(name):
			add("labels", "%.40q is not a label name: use letters, digits and _", name)
		case slices.Contains(reserved, name):
			add("labels", "%q is set by driftd itself", name)
		case strings.Contains(value, "{{") || strings.Contains(value, "$value"):
			add("labels", "%s: a label cannot hold a value that changes; put it into annotations", name)
		}
	}
}

func labelName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// Name returns the rule's name.
func (r *Rule) Name() string { return r.spec.Name }

// Spec returns what the rule was made of, with its defaults filled in.
func (r *Rule) Spec() Spec { return r.spec }

// Began returns the start of the first window of a run for which a series is
// pending or firing, zero for one that is neither. Of one that fires it is the
// latest that it can be: windows that decided nothing on the way are not known.
func (r *Rule) Began(s State) time.Time {
	switch s.Phase {
	case Pending:
		return s.Since.Add(-r.spec.Window)
	case Firing, Recovering:
		return s.FiredAt.Add(-time.Duration(r.hold) * r.spec.Window)
	case Inactive, Resolved:
	}
	return time.Time{}
}

// Feature reports whether the rule is judged once a signal.
func (r *Rule) Feature() bool { return r.feature }

// Compares reports whether the rule needs a reference to say anything.
func (r *Rule) Compares() bool { return r.compare }

// Shadowed reports whether what fires now is in shadow: the rule is on trial, or
// the model is.
func (r *Rule) Shadowed(model bool) bool { return model || r.spec.Notify == NotifyShadow }

// Variables returns the names that the rule's expressions use.
func (r *Rule) Variables() []string { return slices.Clone(r.names) }
