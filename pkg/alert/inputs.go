package alert

import (
	"cmp"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// A Series is what has a State: one rule on one key. A model-level rule on the
// whole model has a Key of the model alone; on a group it has no Signal.
type Series struct {
	Rule string
	drift.Key
}

// Signals of series that say something of a rule on one model, beside those that it
// judges. None is the name of a feature.
const (
	OverflowSignal  = "__overflow__"  // series are held back by Spec.Limit
	NoDataSignal    = "__no_data__"   // what the rule judges has no events any more: the alert RuleNoData
	UndecidedSignal = "__undecided__" // it has, and the rule cannot be evaluated: the alert RuleUndecided
)

// aside reports whether a series is none that its rule judges.
func (s Series) aside() bool {
	return s.Signal == OverflowSignal || s.Signal == NoDataSignal || s.Signal == UndecidedSignal
}

// Alertname returns what an alert of the series is called: as its rule, or by a
// name of driftd's own.
func (s Series) Alertname() string {
	switch s.Signal {
	case NoDataSignal:
		return RuleNoData
	case UndecidedSignal:
		return RuleUndecided
	}
	return s.Rule
}

// About returns the rule that an alert of driftd's own name is about, "" if the
// alert has its rule's name: its label "rule".
func (s Series) About() string {
	if s.Alertname() == s.Rule {
		return ""
	}
	return s.Rule
}

// Feature returns the signal that an alert of the series is about, "" for none.
func (s Series) Feature() string {
	if s.About() != "" {
		return ""
	}
	return s.Signal
}

// String returns the series for people: "AmountDrift fraud/42/canary amount".
func (s Series) String() string {
	out := s.Rule + " " + s.Model
	if s.Version != "" {
		out += "/" + s.Version + "/" + s.Variant.String()
	}
	if s.Segment != "" {
		out += "{" + s.Segment + "}"
	}
	if s.Signal != "" {
		out += " " + s.Signal
	}
	return out
}

// Compare orders series by rule, model, version, variant, segment and signal.
func (s Series) Compare(o Series) int {
	return cmp.Or(
		cmp.Compare(s.Rule, o.Rule), cmp.Compare(s.Model, o.Model), cmp.Compare(s.Version, o.Version),
		cmp.Compare(s.Variant, o.Variant), cmp.Compare(s.Segment, o.Segment), cmp.Compare(s.Signal, o.Signal),
	)
}

// A Window is the window that an Input is about.
type Window struct {
	Start, End time.Time
	State      drift.WindowState
	Learning   bool // some of it was counted before there was a baseline
}

// An Input is what a rule sees of one series in one closed window.
type Input struct {
	Key      drift.Key
	Window   Window
	N        uint64 // values of the signal, or events of the model
	Vars     Vars
	Approved bool   // the reference may page
	Baseline string // the reference's id or name

	absent bool // made by StepAll: the series had no events in this window
	shadow bool // set by StepAll: the model is on trial
	hold   int  // set by StepAll: windows of the model's own that the condition must hold; 0: the rule's
}

// Inputs selects what the rule judges in one closed window of one model, and
// gives it the rule's variables. groups are the reports of the model's groups,
// total the report of the whole model, which exists even when it has no events;
// either may be empty. Reports of windows that are open or of another length
// give nothing.
func (r *Rule) Inputs(groups []*drift.Report, total *drift.Report) []Input {
	if !r.feature && !r.groups {
		if total == nil || !r.wants(total.Window) {
			return nil
		}
		key := drift.Key{Group: drift.Group{Model: total.Window.Group.Model}}
		return []Input{r.input(key, total, nil)}
	}
	var out []Input
	for _, rep := range groups {
		if !r.wants(rep.Window) || !r.selects(rep.Window.Group) {
			continue
		}
		if !r.feature {
			out = append(out, r.input(drift.Key{Group: rep.Window.Group}, rep, nil))
			continue
		}
		for i := range rep.Signals {
			if sr := &rep.Signals[i]; glob(r.spec.Feature, sr.Name) {
				out = append(out, r.input(drift.Key{Group: rep.Window.Group, Signal: sr.Name}, rep, sr))
			}
		}
	}
	return out
}

// Watches reports whether the rule looks at a model at all.
func (r *Rule) Watches(model string) bool { return glob(r.spec.Model, model) }

// Selects reports whether the rule would judge a series if it had events, or keeps
// it beside those.
func (r *Rule) Selects(s Series) bool {
	switch s.Signal {
	case OverflowSignal:
		return r.Watches(s.Model) && r.spec.Limit > 0
	case NoDataSignal:
		return r.Watches(s.Model) && r.spec.NoData == NoDataAlert
	case UndecidedSignal:
		return r.Watches(s.Model) && r.blind > 0
	}
	window := func(g drift.Group) *drift.Window {
		w := &drift.Window{Group: g, State: drift.Closed}
		w.End = w.Start.Add(r.spec.Window)
		return w
	}
	group := &drift.Report{Window: window(s.Group), Signals: []drift.SignalReport{{Name: s.Signal}}}
	total := &drift.Report{Window: window(drift.Group{Model: s.Model})}
	return slices.ContainsFunc(r.Inputs([]*drift.Report{group}, total), func(in Input) bool { return in.Key == s.Key })
}

func (r *Rule) wants(w *drift.Window) bool {
	return w.State != drift.Open && w.End.Sub(w.Start) == r.spec.Window && glob(r.spec.Model, w.Group.Model)
}

func (r *Rule) selects(g drift.Group) bool {
	return glob(r.spec.Version, g.Version) && glob(r.spec.Variant, g.Variant.String()) &&
		(g.Segment == "") == (r.spec.Segment == "") && glob(r.spec.Segment, g.Segment)
}

func (r *Rule) input(key drift.Key, rep *drift.Report, sr *drift.SignalReport) Input {
	w := rep.Window
	in := Input{
		Key:      key,
		Window:   Window{Start: w.Start.UTC(), End: w.End.UTC(), State: w.State, Learning: w.Learning},
		N:        w.Events,
		Approved: rep.Approved,
		Baseline: rep.Reference,
	}
	if sr != nil {
		in.N = values(rep, sr)
		in.Vars.signal(in.N, rep, sr)
	}
	in.Vars.set(varEvents, float64(w.Events))
	in.Vars.set(varErrorRatio, rep.ErrorRatio)
	in.Vars.set(varLatencyP50, rep.LatencyP50)
	in.Vars.set(varLatencyP95, rep.LatencyP95)
	in.Vars.set(varLatencyP99, rep.LatencyP99)
	if rep.Reference != "" {
		in.Vars.set(varDriftingFeatures, float64(rep.Drifting))
	}
	return in
}

// Stats returns what a rule could know of a signal of a report, by the names of its
// variables. What is not defined is absent.
func Stats(rep *drift.Report, sr *drift.SignalReport) map[string]float64 {
	var v Vars
	v.signal(values(rep, sr), rep, sr)
	return v.pick(Variables())
}

// values returns how many values a report's window has of a signal.
func values(rep *drift.Report, sr *drift.SignalReport) uint64 {
	if s := rep.Window.Signal(sr.Name); s != nil {
		return s.Values()
	}
	return 0
}

// signal sets the variables of one signal. Without a reference the numbers that
// compare with it stay undefined, whatever the report holds.
func (v *Vars) signal(n uint64, rep *drift.Report, sr *drift.SignalReport) {
	v.set(varN, float64(n))
	v.set(varMissingRatio, sr.Missing)
	v.set(varMean, sr.Mean)
	if rep.Reference == "" {
		return
	}
	v.set(varM, float64(sr.M))
	v.set(varReferenceMissing, sr.ReferenceMissing)
	v.set(varPSI, sr.PSI)
	v.set(varPSIRaw, sr.PSIRaw)
	v.set(varPSIDebiased, sr.PSIDebiased)
	v.set(varPSIP, sr.PSIP)
	v.set(varNoiseFloor, sr.NoiseFloor)
	v.set(varKSLo, sr.KSLo)
	v.set(varKSHi, sr.KSHi)
	v.set(varKSP, sr.KSP)
	v.set(varChi2P, sr.Chi2P)
	v.set(varJS, sr.JS)
	v.set(varHellinger, sr.Hellinger)
	v.set(varW1ClippedSD, sr.W1ClippedSD)
	v.set(varUnseenRatio, sr.Unseen)
}
