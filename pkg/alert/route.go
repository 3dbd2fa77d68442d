package alert

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A RouteSpec is one node of the tree that says who hears of an alert, as the
// operator wrote it. The root takes every alert; an alert goes down to the first
// child that matches, and to further ones while Continue is set; where no child
// matches, the node's own receiver hears of it. This is Alertmanager's tree.
type RouteSpec struct {
	Receiver string            // empty: the parent's
	Match    map[string]string // label: value, all must be equal
	Matchers []string          // like model=~"fraud-.*", all must hold; see ParseMatcher
	Continue bool              // also try the siblings that follow
	Routes   []RouteSpec

	// How what it takes is told. What is nil is the parent's; at the root it is
	// DefaultGroupBy and no time at all.
	GroupBy        []string // labels, or GroupByAll alone
	GroupWait      *time.Duration
	GroupInterval  *time.Duration
	RepeatInterval *time.Duration // zero: it is told once

	// Names of time intervals, not inherited: as in Alertmanager the receiver of this
	// node is not told within the first, and only within the second if there are any.
	MuteTimeIntervals   []string
	ActiveTimeIntervals []string
	// Escalate hears of what this node's receiver was told and nobody acknowledged.
	Escalate *Escalation
}

// GroupByAll stands for all labels: each alert is told for itself.
const GroupByAll = "..."

// DefaultGroupBy makes one message of what happens to a model.
var DefaultGroupBy = []string{"model"}

// An Escalation is who hears of an incident that nobody has acknowledged so long
// after it was first to be told.
type Escalation struct {
	After    time.Duration
	Receiver string
}

// A Target is a receiver to which an alert goes, and how it is to be told.
type Target struct {
	Receiver string
	Timing   Timing
	GroupBy  []string

	MuteTimeIntervals   []string
	ActiveTimeIntervals []string
	Escalate            *Escalation
}

// A Timing says when a group of alerts is told: Wait after the first change that
// was not, not before Interval has passed since the receiver was told last, and
// again after Repeat (zero: never) while something fires.
type Timing struct{ Wait, Interval, Repeat time.Duration }

// A Matcher compares one label, which is "" when an alert lacks it.
type Matcher struct {
	Label    string
	Operator string // "=", "!=", "=~" or "!~"
	Value    string
	re       *regexp.Regexp
}

// maxPattern bounds the value of a matcher.
const maxPattern = 1024

// ParseMatcher reads a matcher in Alertmanager's syntax: a label, one of
// = != =~ !~, and a value that may be quoted. Regular expressions are RE2 and
// match the whole value.
func ParseMatcher(text string) (Matcher, error) {
	at := strings.IndexAny(text, "=!")
	if at < 0 {
		return Matcher{}, fmt.Errorf("matcher %.80q has none of = != =~ !~, as in severity=\"page\"", text)
	}
	m := Matcher{Label: strings.TrimSpace(text[:at])}
	rest := text[at:]
	for _, operator := range []string{"=~", "!~", "!=", "="} {
		if strings.HasPrefix(rest, operator) {
			m.Operator = operator
			break
		}
	}
	if m.Operator == "" || !labelName(m.Label) {
		return Matcher{}, fmt.Errorf("matcher %.80q does not start with a label and one of = != =~ !~", text)
	}
	m.Value = strings.TrimSpace(rest[len(m.Operator):])
	if strings.HasPrefix(m.Value, `"`) {
		value, err := strconv.Unquote(m.Value)
		if err != nil {
			return Matcher{}, fmt.Errorf("matcher %.80q: the quoted value is not complete", text)
		}
		m.Value = value
	} else if strings.ContainsAny(m.Value, `"=!~,{}`) {
		return Matcher{}, fmt.Errorf("matcher %.80q: quote the value", text)
	}
	return m.compile()
}

func (m Matcher) compile() (Matcher, error) {
	if len(m.Value) > maxPattern {
		return Matcher{}, fmt.Errorf("matcher of %s: the value has %d bytes; at most %d are allowed", m.Label, len(m.Value), maxPattern)
	}
	if m.Operator != "=~" && m.Operator != "!~" {
		return m, nil
	}
	// Alone first: "a)|(b" is only an expression because of the anchors' brackets.
	_, err := regexp.Compile(m.Value)
	if err == nil {
		m.re, err = regexp.Compile("^(?s:" + m.Value + ")$")
	}
	if err != nil {
		return Matcher{}, fmt.Errorf("matcher of %s: %w", m.Label, err)
	}
	return m, nil
}

// Matches reports whether the labels satisfy the matcher.
func (m Matcher) Matches(labels map[string]string) bool {
	value := labels[m.Label]
	switch m.Operator {
	case "=":
		return value == m.Value
	case "!=":
		return value != m.Value
	case "=~":
		return m.re.MatchString(value)
	}
	return !m.re.MatchString(value)
}

// closedLabels are those whose values are known: every alert has one of these, or none.
var closedLabels = map[string][]string{
	"severity": {SeverityPage, SeverityTicket, SeverityInfo},
	"variant":  {"primary", "canary", "shadow"},
}

// Check returns why no alert can ever have what the matcher asks for, or asks to be
// without: a value of severity or variant that there is not. It is nil for all others.
func (m Matcher) Check() error {
	known := closedLabels[m.Label]
	if known == nil || m.Value == "" || slices.Contains(known, m.Value) {
		return nil
	}
	if m.re != nil && slices.ContainsFunc(append([]string{""}, known...), m.re.MatchString) {
		return nil
	}
	message := fmt.Sprintf("no alert has the %s %.80q: it is one of %s", m.Label, m.Value, strings.Join(known, ", "))
	if best := suggest(m.Value, known); best != "" {
		message += fmt.Sprintf("; did you mean %q?", best)
	}
	return errors.New(message)
}

// Routes is a compiled route tree. It never changes.
type Routes struct{ root route }

type route struct {
	target   Target
	matchers []Matcher
	goOn     bool
	children []route
}

// CompileRoutes checks a tree against the names of the receivers that exist:
// every receiver named must exist, and every one that exists must be reachable.
// The error joins a *Fault for every thing that is wrong.
func CompileRoutes(spec RouteSpec, receivers []string) (*Routes, error) {
	c := routeCompiler{receivers: receivers, used: map[string]bool{}}
	if spec.Receiver == "" {
		c.fault("routes.receiver", "the root needs a receiver: it hears of what no other route takes")
	}
	if len(spec.MuteTimeIntervals)+len(spec.ActiveTimeIntervals) > 0 {
		c.fault("routes", "the root takes every alert at all times; time intervals belong below routes")
	}
	if len(spec.Match) > 0 || len(spec.Matchers) > 0 || spec.Continue {
		c.fault("routes", "the root takes every alert; matchers and continue belong below routes")
	}
	root := c.compile(spec, Target{Receiver: spec.Receiver, GroupBy: DefaultGroupBy}, "routes", 0)
	for _, name := range receivers {
		if !c.used[name] {
			c.fault("receivers", "no route leads to %.80q; add one or remove the receiver", name)
		}
	}
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return &Routes{root: root}, nil
}

type routeCompiler struct {
	receivers []string
	used      map[string]bool
	errs      []error
}

func (c *routeCompiler) fault(field, format string, args ...any) {
	c.errs = append(c.errs, &Fault{Field: field, Message: fmt.Sprintf(format, args...)})
}

// maxRouteDepth is far beyond what anybody can follow.
const maxRouteDepth = 16

func (c *routeCompiler) compile(spec RouteSpec, parent Target, at string, depth int) route {
	out := route{target: c.target(spec, parent, at), goOn: spec.Continue}
	if depth > maxRouteDepth {
		c.fault(at, "routes are nested more than %d deep", maxRouteDepth)
		return out
	}
	c.receiver(at+".receiver", out.target.Receiver)
	if e := spec.Escalate; e != nil {
		c.receiver(at+".escalate.receiver", e.Receiver)
	}
	for _, label := range slices.Sorted(maps.Keys(spec.Match)) {
		if !labelName(label) {
			c.fault(at+".match", "%.40q is not a label name", label)
		}
		m := Matcher{Label: label, Operator: "=", Value: spec.Match[label]}
		if err := m.Check(); err != nil {
			c.fault(at+".match."+label, "%v", err)
		}
		out.matchers = append(out.matchers, m)
	}
	for i, text := range spec.Matchers {
		m, err := ParseMatcher(text)
		if err == nil {
			err = m.Check()
		}
		if err != nil {
			c.fault(fmt.Sprintf("%s.matchers[%d]", at, i), "%v", err)
			continue
		}
		out.matchers = append(out.matchers, m)
	}
	for i, child := range spec.Routes {
		out.children = append(out.children, c.compile(child, out.target, fmt.Sprintf("%s.routes[%d]", at, i), depth+1))
	}
	return out
}

// receiver notes that a receiver is used, which must exist.
func (c *routeCompiler) receiver(at, name string) {
	c.used[name] = true
	if name == "" || slices.Contains(c.receivers, name) {
		return
	}
	message := fmt.Sprintf("there is no receiver %.80q", name)
	if best := suggest(name, c.receivers); best != "" {
		message += fmt.Sprintf("; did you mean %q?", best)
	}
	c.fault(at, "%s", message)
}

// target is what a node says of how it is told, over what its parent says.
func (c *routeCompiler) target(spec RouteSpec, parent Target, at string) Target {
	t := Target{
		Receiver: orElse(spec.Receiver, parent.Receiver), GroupBy: parent.GroupBy, Timing: parent.Timing,
		MuteTimeIntervals: spec.MuteTimeIntervals, ActiveTimeIntervals: spec.ActiveTimeIntervals, Escalate: spec.Escalate,
	}
	if spec.GroupBy != nil {
		t.GroupBy = spec.GroupBy
	}
	for _, label := range t.GroupBy {
		if label != GroupByAll && !labelName(label) || label == GroupByAll && len(t.GroupBy) > 1 {
			c.fault(at+".group_by", "%.40q is not a label name; %q stands alone for all labels", label, GroupByAll)
		}
	}
	for _, d := range []struct {
		name string
		from *time.Duration
		to   *time.Duration
	}{
		{"group_wait", spec.GroupWait, &t.Timing.Wait}, {"group_interval", spec.GroupInterval, &t.Timing.Interval}, {"repeat_interval", spec.RepeatInterval, &t.Timing.Repeat},
	} {
		if d.from == nil {
			continue
		}
		if *d.to = *d.from; *d.from < 0 {
			c.fault(at+"."+d.name, "a time cannot be negative")
		}
	}
	if e := spec.Escalate; e != nil && e.After <= 0 {
		c.fault(at+".escalate.after", "it needs a time to wait for somebody, such as 15m")
	}
	return t
}

// Match returns the receivers that hear of an alert with these labels, each
// once, in the order of the tree. There is always at least one.
func (r *Routes) Match(labels map[string]string) []string {
	targets := r.Targets(labels)
	out := make([]string, len(targets))
	for i, t := range targets {
		out[i] = t.Receiver
	}
	return out
}

// Targets is Match with how each of them is to be told. Its values are shared: read
// only.
func (r *Routes) Targets(labels map[string]string) []Target { return r.root.match(labels, nil) }

// Root returns how the root's receiver is told.
func (r *Routes) Root() Target { return r.root.target }

func (r *route) match(labels map[string]string, out []Target) []Target {
	taken := false
	for i := range r.children {
		child := &r.children[i]
		if !child.takes(labels) {
			continue
		}
		taken = true
		out = child.match(labels, out)
		if !child.goOn {
			break
		}
	}
	if !taken && !slices.ContainsFunc(out, func(t Target) bool { return t.Receiver == r.target.Receiver }) {
		out = append(out, r.target)
	}
	return out
}

func (r *route) takes(labels map[string]string) bool {
	for _, m := range r.matchers {
		if !m.Matches(labels) {
			return false
		}
	}
	return true
}
