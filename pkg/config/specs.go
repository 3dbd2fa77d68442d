package config

import (
	"errors"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// DriftSpec returns how events are counted.
func (c *Config) DriftSpec() drift.Spec {
	spec := drift.DefaultSpec()
	spec.Pane, spec.Lateness, spec.MaxFutureSkew = c.Windows.Pane.Std(), c.Windows.Lateness.Std(), c.Windows.MaxFutureSkew.Std()
	spec.Sizes = nil
	for _, d := range c.Windows.Sizes {
		spec.Sizes = append(spec.Sizes, d.Std())
	}
	spec.Discover, spec.DedupIDs = c.Discover, c.Dedup.IDs
	spec.Limits.Models, spec.Limits.Features, spec.Limits.Categories = c.Limits.Models, c.Limits.FeaturesPerModel, c.Limits.Categories
	spec.Sample = drift.SampleSpec{
		MinRows: uint64(c.Baselines.MinRows), MinSpan: c.Baselines.MinSpan.Std(),
		MaxRows: c.Baselines.MaxRows, Bytes: int64(c.Limits.LearningBytes),
	}
	for _, m := range c.Models {
		settings := c.Model(m.Name)
		spec.Models = append(spec.Models, drift.ModelSpec{
			Glob: m.Name, Segments: lists(settings.Segments), Multivariate: drift.Multivariate(settings.Multivariate),
		})
	}
	if c.Discover {
		spec.Models = append(spec.Models, drift.ModelSpec{Glob: "*", Segments: lists(c.Defaults.Segments)})
	}
	return spec
}

func lists(in []Segmentation) [][]string {
	var out [][]string
	for _, s := range in {
		out = append(out, s)
	}
	return out
}

// AlertRules compiles the rules. Its error joins everything that Validate would
// have found.
func (c *Config) AlertRules() ([]*alert.Rule, error) {
	var rules []*alert.Rule
	var faults []error
	for _, r := range c.Rules {
		rule, err := alert.Compile(r.spec(c.Windows.Decide.Std()))
		if err != nil {
			faults = append(faults, err)
			continue
		}
		rules = append(rules, rule)
	}
	return rules, errors.Join(faults...)
}

func (r Rule) spec(decide time.Duration) alert.Spec {
	window := r.Window.Std()
	if window == 0 {
		window = decide
	}
	spec := alert.Spec{
		Name: r.Alert, Model: r.Model, Version: r.Version, Variant: r.Variant, Segment: r.Segment, Feature: r.Feature,
		Reference: string(r.Reference), Window: window, Expr: r.Expr, Clear: r.Clear, For: r.For.hold(), KeepFiringFor: r.KeepFiringFor.hold(),
		NoData: string(r.NoData), NoDataFor: r.NoDataFor.hold(), UndecidedFor: r.UndecidedFor.hold(),
		Severity: string(r.Severity), Notify: string(r.Notify), MinN: r.MinN, Limit: r.Limit, Labels: r.Labels, Annotations: r.Annotations,
	}
	for _, a := range r.Actions {
		spec.Actions = append(spec.Actions, string(a))
	}
	return spec
}

func (h Hold) hold() alert.Hold {
	return alert.Hold{Windows: h.Windows, Of: h.Of, Duration: h.Duration.Std()}
}

func newHold(h alert.Hold) Hold {
	return Hold{Windows: h.Windows, Of: h.Of, Duration: Duration(h.Duration)}
}

// AlertRoutes compiles the routes. extra names receivers that exist beside the
// configured ones. When the operator named nobody at the root, what no route
// takes goes to the signals alone.
func (c *Config) AlertRoutes(extra ...string) (*alert.Routes, error) {
	root := c.Routes.spec()
	if root.Receiver == "" {
		root.Receiver = SignalReceiver
	}
	names := []string{SignalReceiver}
	for _, r := range c.Receivers {
		names = append(names, r.Name)
	}
	// A receiver that exists and is not routed is a fault to CompileRoutes; one
	// that only a budget names is none here.
	routed := append(c.Routes.receivers(), root.Receiver)
	names = slices.DeleteFunc(append(names, extra...), func(name string) bool { return !slices.Contains(routed, name) })
	return alert.CompileRoutes(root, names)
}

func (r Route) spec() alert.RouteSpec {
	out := alert.RouteSpec{Receiver: r.Receiver, Match: r.Match, Matchers: r.Matchers, Continue: r.Continue}
	out.MuteTimeIntervals, out.ActiveTimeIntervals = r.MuteTimeIntervals, r.ActiveTimeIntervals
	out.GroupBy, out.GroupWait, out.GroupInterval, out.RepeatInterval = r.GroupBy, r.GroupWait.std(), r.GroupInterval.std(), r.RepeatInterval.std()
	if e := r.Escalate; e != nil {
		out.Escalate = &alert.Escalation{After: e.After.Std(), Receiver: e.Receiver}
	}
	for _, sub := range r.Routes {
		out.Routes = append(out.Routes, sub.spec())
	}
	return out
}

// Grouped reports whether a receiver hears of incidents, as people do. Machines, and
// an Alertmanager, which groups by itself, hear of each alert. A receiver that there
// is no more is taken for people: named again, it must know the end for that of the
// incident that it was told of.
func (c *Config) Grouped(receiver string) bool {
	i := slices.IndexFunc(c.Receivers, func(r Receiver) bool { return r.Name == receiver })
	if i < 0 {
		return receiver != SignalReceiver
	}
	return c.Receivers[i].NATS == nil && c.Receivers[i].Alertmanager == nil
}

// StoreRetention returns how long state is kept.
func (c *Config) StoreRetention() store.Retention {
	keep := c.Store.Retention
	return store.Retention{Panes: keep.Panes.Std(), Hours: keep.Hourly.Std(), Days: keep.Daily.Std(), Ledger: keep.Ledger.Std(), Dead: keep.Ledger.Std()}
}

// NATSOptions returns how to reach NATS: what the file says, or the context that it
// names. The error is of a context that cannot be read or used.
func (c *Config) NATSOptions() (stream.Options, error) {
	n := c.NATS
	if n.Context != "" {
		return stream.ContextOptions(n.Context)
	}
	return stream.Options{
		URL: n.URL.Reveal(), CredsFile: c.Path(n.CredsFile), NKeyFile: c.Path(n.NKeyFile), InboxPrefix: n.InboxPrefix,
		CAFile: c.Path(n.TLS.CAFile), CertFile: c.Path(n.TLS.CertFile), KeyFile: c.Path(n.TLS.KeyFile),
	}, nil
}

// ReaderOptions returns what is read from the stream.
func (c *Config) ReaderOptions() stream.ReaderOptions {
	o := stream.DefaultReaderOptions(c.NATS.Stream)
	o.Subjects, o.Durable = c.NATS.Subjects, c.NATS.Durable
	return o
}

// PublisherOptions returns how dead letters are sent.
func (c *Config) PublisherOptions() stream.PublisherOptions {
	o := stream.DefaultPublisherOptions()
	o.Body, o.Rate = stream.BodyMode(c.DLQ.Body), c.DLQ.Rate
	return o
}

// EventLimits returns the bounds of one message.
func (c *Config) EventLimits() event.Limits {
	l := event.DefaultLimits
	l.EventBytes = int(c.Limits.EventBytes)
	l.Features, l.Vector = c.Limits.FeaturesPerModel, c.Limits.VectorLength
	return l
}

// Wrapping returns how the payloads of model servers are read.
func (c *Config) Wrapping() event.Wrapping {
	w := event.Wrapping{Model: c.Payloads.Model, Version: c.Payloads.Version, Variant: c.Payloads.Variant}
	for _, m := range c.Models {
		w.Models = append(w.Models, m.wrapped())
	}
	if len(c.Payloads.Variants) > 0 {
		w.Variants = map[string]event.Variant{}
	}
	for text, variant := range c.Payloads.Variants {
		w.Variants[text], _ = event.ParseVariant(string(variant)) // one of its words
	}
	return w
}

func (m Model) wrapped() event.WrappedModel {
	w := event.WrappedModel{Glob: m.Name}
	if m.Payload != nil {
		w.Features, w.Classes = m.Payload.Features, m.Payload.Classes
	}
	return w
}

// Read returns a secret: the one given, or else the content of its file, read
// anew.
func (c *Config) Read(secret Secret, file string) (string, error) { return c.Source(secret, file)() }

// TickSubject returns the subject on which driftd lets stream time pass while
// nobody publishes, "" if the subjects read leave no room for one.
func (c *Config) TickSubject() string {
	for _, s := range c.NATS.Subjects {
		if prefix, ok := strings.CutSuffix(s, ">"); ok {
			return prefix + "driftd.tick"
		}
	}
	return ""
}
