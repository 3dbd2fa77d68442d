package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"driftd.dev/driftd/pkg/alert"
)

// rules checks c.Rules; the windows of a rules file alone are only known to be
// positive.
func (v *validator) rules(c *Config, whole bool) {
	first := map[string]bool{}
	for i, r := range c.Rules {
		path := fmt.Sprintf("rules[%d]", i)
		v.named(path+".alert", r.Alert, "rule", first)
		if slices.Contains(alert.OwnRules, r.Alert) {
			v.fault(path+".alert", "%q is the name of one of driftd's own alerts: choose another", r.Alert)
		}
		for _, selector := range []struct{ key, pattern string }{
			{"model", r.Model}, {"version", r.Version}, {"variant", r.Variant}, {"segment", r.Segment}, {"feature", r.Feature},
		} {
			v.glob(path+"."+selector.key, selector.pattern)
		}
		if whole && !slices.Contains(c.Windows.Sizes, r.Window) {
			v.fault(path+".window", "%s is none of windows.sizes (%s)", r.Window, durations(c.Windows.Sizes))
		}
		if r.Limit < 1 || r.Limit > maxRuleLimit {
			v.fault(path+".limit", "%d is not between 1 and %d: what fires at once is decided in one transaction, and nobody reads more", r.Limit, maxRuleLimit)
		}
		v.compile(path, r, c.Windows.Decide)
	}
}

// maxRuleLimit is the most series of a model that a rule may let fire at once.
const maxRuleLimit = 1000

// compile lets alert check what only it knows, expressions above all.
func (v *validator) compile(path string, r Rule, decide Duration) {
	for _, name := range slices.Sorted(maps.Keys(r.Annotations)) {
		if !labelName.MatchString(name) {
			v.fault(join(path+".annotations", name), "%q: an annotation's name has letters, digits and '_' only, and no digit first", name)
		}
	}
	for i, a := range r.Actions {
		if slices.Contains(r.Actions[:i], a) {
			v.fault(fmt.Sprintf("%s.actions[%d]", path, i), "%q is given twice", a)
		}
	}
	_, err := alert.Compile(r.spec(decide.Std()))
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return
	}
	for _, err := range joined.Unwrap() {
		var f *alert.Fault
		switch {
		case !errors.As(err, &f):
			v.fault(path, "%v", err)
		case f.Field == "alert" && r.Alert == "": // reported as missing
		case f.Line == 1:
			v.faultAt(path+"."+f.Field, f.Column, "%s", f.Message)
		default:
			v.fault(path+"."+f.Field, "%s", f.Message)
		}
	}
}

// mostGap bounds expected_gap: so much of one silence is looked at window by window.
const mostGap = 7 * day

func (v *validator) gap(path string, d Duration) {
	if d > mostGap {
		v.fault(path, "%s is more than %s", d, mostGap)
	}
}

// route checks a node of the tree and those below.
func (v *validator) route(path string, r Route, c *Config, root bool) {
	if root {
		if len(r.Match)+len(r.Matchers) > 0 {
			v.fault(path, "the first route takes every alert: put conditions into the routes below it")
		}
		if r.Receiver == "" && len(r.Routes) > 0 {
			v.fault(path, "\"receiver\" is missing: who is told what no other route takes")
		}
	} else if len(r.Match)+len(r.Matchers) == 0 {
		v.fault(path, "no condition: it would take every alert, and routes after it none")
	}
	if r.Receiver != "" {
		v.receiver(path+".receiver", r.Receiver, c)
	}
	v.routeIntervals(path, r, c, root)
	for _, name := range slices.Sorted(maps.Keys(r.Match)) {
		if !labelName.MatchString(name) {
			v.fault(join(path+".match", name), "%q is no name of a label", name)
		} else if err := (alert.Matcher{Label: name, Operator: "=", Value: r.Match[name]}).Check(); err != nil {
			v.fault(join(path+".match", name), "%v", err)
		}
	}
	for i, text := range r.Matchers {
		at := fmt.Sprintf("%s.matchers[%d]", path, i)
		m, err := alert.ParseMatcher(text)
		if err == nil {
			err = m.Check()
		}
		if err != nil {
			v.fault(at, "%v", err)
		}
	}
	if e := r.Escalate; e != nil {
		v.receiver(path+".escalate.receiver", e.Receiver, c)
		if e.After <= 0 {
			v.fault(path+".escalate.after", "it needs a time to wait for somebody, such as 15m")
		}
	}
	for i, label := range r.GroupBy {
		if at := fmt.Sprintf("%s.group_by[%d]", path, i); label == alert.GroupByAll && len(r.GroupBy) > 1 {
			v.fault(at, "%q means all labels and stands alone", label)
		} else if label != alert.GroupByAll && !labelName.MatchString(label) {
			v.fault(at, "%q is no name of a label", label)
		}
	}
	for i, below := range r.Routes {
		v.route(fmt.Sprintf("%s.routes[%d]", path, i), below, c, false)
	}
}

func (v *validator) receiver(path, name string, c *Config) {
	names := make([]string, len(c.Receivers))
	for i, r := range c.Receivers {
		names[i] = r.Name
	}
	if !slices.Contains(names, name) {
		v.fault(path, "there is no receiver %q%s", name, suggest(name, names))
	}
}

// routed reports whether a route or a budget names the receiver.
func routed(c *Config, name string) bool {
	return slices.Contains(c.Routes.receivers(), name) || c.Digest.Receiver == name ||
		slices.ContainsFunc(c.Budgets, func(b Budget) bool { return b.Receiver == name })
}

// receivers returns the receivers named in r and below, some twice.
func (r Route) receivers() []string {
	var out []string
	if r.Receiver != "" {
		out = append(out, r.Receiver)
	}
	if r.Escalate != nil {
		out = append(out, r.Escalate.Receiver)
	}
	for _, below := range r.Routes {
		out = append(out, below.receivers()...)
	}
	return out
}

func (v *validator) exactlyOne(path, key string, secret Secret, file string) {
	if !secret.Set() && file == "" {
		v.fault(path+"."+key, "one of %s and %s_file must be set", key, key)
	}
	v.atMostOne(path, key, secret.Set(), file != "")
}
