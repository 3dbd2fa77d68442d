package alert

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
}

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

// Routes is a compiled route tree. It never changes.
type Routes struct{ root route }

type route struct {
	receiver string
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
	if len(spec.Match) > 0 || len(spec.Matchers) > 0 || spec.Continue {
		c.fault("routes", "the root takes every alert; matchers and continue belong below routes")
	}
	root := c.compile(spec, spec.Receiver, "routes", 0)
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

func (c *routeCompiler) compile(spec RouteSpec, inherited, at string, depth int) route {
	out := route{receiver: orElse(spec.Receiver, inherited), goOn: spec.Continue}
	if depth > maxRouteDepth {
		c.fault(at, "routes are nested more than %d deep", maxRouteDepth)
		return out
	}
	c.used[out.receiver] = true
	if out.receiver != "" && !slices.Contains(c.receivers, out.receiver) {
		message := fmt.Sprintf("there is no receiver %.80q", out.receiver)
		if best := suggest(out.receiver, c.receivers); best != "" {
			message += fmt.Sprintf("; did you mean %q?", best)
		}
		c.fault(at+".receiver", "%s", message)
	}
	for _, label := range slices.Sorted(maps.Keys(spec.Match)) {
		if !labelName(label) {
			c.fault(at+".match", "%.40q is not a label name", label)
		}
		out.matchers = append(out.matchers, Matcher{Label: label, Operator: "=", Value: spec.Match[label]})
	}
	for i, text := range spec.Matchers {
		m, err := ParseMatcher(text)
		if err != nil {
			c.fault(fmt.Sprintf("%s.matchers[%d]", at, i), "%v", err)
			continue
		}
		out.matchers = append(out.matchers, m)
	}
	for i, child := range spec.Routes {
		out.children = append(out.children, c.compile(child, out.receiver, fmt.Sprintf("%s.routes[%d]", at, i), depth+1))
	}
	return out
}

// Match returns the receivers that hear of an alert with these labels, each
// once, in the order of the tree. There is always at least one.
func (r *Routes) Match(labels map[string]string) []string {
	return r.root.match(labels, nil)
}

func (r *route) match(labels map[string]string, out []string) []string {
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
	if !taken && !slices.Contains(out, r.receiver) {
		out = append(out, r.receiver)
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
