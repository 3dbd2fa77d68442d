package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// rules checks c.Rules; the windows of a rules file alone are only known to be
// positive.
func (v *validator) rules(c *Config, whole bool) {
	first := map[string]bool{}
	for i, r := range c.Rules {
		path := fmt.Sprintf("rules[%d]", i)
		v.named(path+".alert", r.Alert, "rule", first)
		if r.Alert != "" && !alertName.MatchString(r.Alert) {
			v.fault(path+".alert", "%q: a name starts with a letter, then letters, digits, '_', '-' and '.'", r.Alert)
		}
		for key, pattern := range map[string]string{
			"model": r.Model, "version": r.Version, "variant": r.Variant, "segment": r.Segment, "feature": r.Feature,
		} {
			v.glob(path+"."+key, pattern)
		}
		if whole && !slices.Contains(c.Windows.Sizes, r.Window) {
			v.fault(path+".window", "%s is none of windows.sizes (%s)", r.Window, durations(c.Windows.Sizes))
		}
		if !whole {
			v.positive(path+".window", r.Window)
		}
		v.actions(path, r)
		v.labels(path, r)
		v.expressions(path, r)
	}
}

func (v *validator) actions(path string, r Rule) {
	for i, a := range r.Actions {
		if slices.Contains(r.Actions[:i], a) {
			v.fault(fmt.Sprintf("%s.actions[%d]", path, i), "%q is given twice", a)
		}
	}
}

// reserved are the labels that driftd sets.
var reserved = []string{"alertname", "model", "model_version", "variant", "segment", "feature", "severity", "owner", "status"}

func (v *validator) labels(path string, r Rule) {
	for name, value := range r.Labels {
		at := join(path+".labels", name)
		switch {
		case !labelName.MatchString(name):
			v.fault(at, "%q: a label's name has letters, digits and '_' only, and no digit first", name)
		case slices.Contains(reserved, name):
			v.fault(at, "%q is set by driftd", name)
		case strings.Contains(value, "{{"):
			v.fault(at, "a label is fixed, since it is part of the alert's identity: put values into annotations")
		}
	}
	for name := range r.Annotations {
		if !labelName.MatchString(name) {
			v.fault(join(path+".annotations", name), "%q: an annotation's name has letters, digits and '_' only, and no digit first", name)
		}
	}
}

// matcher is one condition of a route on a label.
var matcher = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*(.*?)\s*$`)

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
	for name := range r.Match {
		if !labelName.MatchString(name) {
			v.fault(join(path+".match", name), "%q is no name of a label", name)
		}
	}
	for i, text := range r.Matchers {
		at := fmt.Sprintf("%s.matchers[%d]", path, i)
		m := matcher.FindStringSubmatch(text)
		if m == nil {
			v.fault(at, "expected name=value, name!=value, name=~regexp or name!~regexp, found %q", text)
			continue
		}
		if _, err := regexp.Compile(m[3]); err != nil && strings.HasSuffix(m[2], "~") {
			v.fault(at, "%v", err)
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

func (v *validator) receivers(c *Config) {
	first := map[string]bool{}
	for i, r := range c.Receivers {
		path := fmt.Sprintf("receivers[%d]", i)
		v.named(path+".name", r.Name, "receiver", first)
		kinds := 0
		if r.PagerDuty != nil {
			kinds++
			v.exactlyOne(path+".pagerduty", "routing_key", r.PagerDuty.RoutingKey, r.PagerDuty.RoutingKeyFile)
			v.address(path+".pagerduty.url", r.PagerDuty.URL, "http", "https")
		}
		if r.Slack != nil {
			kinds++
			v.exactlyOne(path+".slack", "webhook_url", r.Slack.WebhookURL, r.Slack.WebhookURLFile)
		}
		if r.Webhook != nil {
			kinds++
			v.address(path+".webhook.url", r.Webhook.URL, "http", "https")
			v.atMostOne(path+".webhook", "secret", r.Webhook.Secret.Set(), r.Webhook.SecretFile != "")
		}
		if r.Alertmanager != nil {
			kinds++
			if len(r.Alertmanager.URLs) == 0 {
				v.fault(path+".alertmanager.urls", "no address")
			}
			for j, u := range r.Alertmanager.URLs {
				v.address(fmt.Sprintf("%s.alertmanager.urls[%d]", path, j), u, "http", "https")
			}
		}
		if r.NATS != nil {
			kinds++
		}
		if kinds != 1 {
			v.fault(path, "a receiver is exactly one of pagerduty, slack, webhook, alertmanager and nats, found %d", kinds)
		}
	}
}

func (v *validator) exactlyOne(path, key string, secret Secret, file string) {
	if !secret.Set() && file == "" {
		v.fault(path+"."+key, "one of %s and %s_file must be set", key, key)
	}
	v.atMostOne(path, key, secret.Set(), file != "")
}

// expressions checks what is there to be compiled.
func (v *validator) expressions(path string, r Rule) {
	if strings.TrimSpace(r.Expr) == "" {
		v.fault(path+".expr", "the condition is empty")
	}
}
