package alert_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
)

func TestRoutes(t *testing.T) {
	receivers := []string{"oncall", "slack", "audit", "ml"}
	spec := alert.RouteSpec{Receiver: "oncall", Routes: []alert.RouteSpec{
		{Receiver: "audit", Matchers: []string{`alertname=~".+"`}, Continue: true},
		{Match: map[string]string{"severity": "ticket"}, Receiver: "slack", Routes: []alert.RouteSpec{
			{Matchers: []string{`model=~"fraud-.*"`, "variant!=shadow"}, Receiver: "ml"},
			{Matchers: []string{`segment!~"channel=.*"`, `segment!=""`}}, // its parent's receiver
		}},
		{Receiver: "audit", Matchers: []string{"model=churn"}},
	}}
	routes, err := alert.CompileRoutes(spec, receivers)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		labels map[string]string
		want   []string
	}{
		"nothing known":         {nil, []string{"oncall"}},
		"continue goes on":      {map[string]string{"alertname": "A", "severity": "ticket"}, []string{"audit", "slack"}},
		"continue alone":        {map[string]string{"alertname": "A", "severity": "page"}, []string{"audit"}},
		"child":                 {map[string]string{"severity": "ticket", "model": "fraud-eu"}, []string{"ml"}},
		"whole value only":      {map[string]string{"severity": "ticket", "model": "my-fraud-eu"}, []string{"slack"}},
		"negated":               {map[string]string{"severity": "ticket", "model": "fraud-eu", "variant": "shadow"}, []string{"slack"}},
		"inherited":             {map[string]string{"severity": "ticket", "segment": "country=DE"}, []string{"slack"}},
		"once although twice":   {map[string]string{"alertname": "A", "model": "churn"}, []string{"audit"}},
		"a newline is any text": {map[string]string{"severity": "ticket", "model": "fraud-\n"}, []string{"ml"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, routes.Match(test.labels)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMatchers(t *testing.T) {
	labels := map[string]string{"model": "fraud-eu"}
	tests := map[string]bool{
		"model=fraud-eu": true, "model=fraud": false, "team=\"\"": true, // an absent label is empty
		"model!=fraud-eu": false, "model!=fraud": true,
		`model=~"fraud-.*"`: true, `model=~"fraud"`: false,
		`model!~"fraud-.*"`: false, `model!~"fraud"`: true,
	}
	for text, want := range tests {
		m, err := alert.ParseMatcher(text)
		if err != nil {
			t.Fatal(err)
		}
		if m.Matches(labels) != want {
			t.Errorf("%s matches %v: %v, want %v", text, labels, !want, want)
		}
	}
}

// TestMatcherCheck: severities and variants that there are not are refused, whatever the
// operator, and a label that anybody may set has any value.
func TestMatcherCheck(t *testing.T) {
	for text, want := range map[string]string{
		"severity=page": "", `severity!=""`: "", `severity=~"page|critical"`: "", `variant=~"can.*"`: "", "team=pgae": "", `severity!~".+"`: "",
		"severity=pgae":         `no alert has the severity "pgae": it is one of page, ticket, info; did you mean "page"?`,
		"severity!=critical":    `no alert has the severity "critical": it is one of page, ticket, info`,
		`severity=~"crit|warn"`: `no alert has the severity "crit|warn": it is one of page, ticket, info`,
		"variant!~blue":         `no alert has the variant "blue": it is one of primary, canary, shadow`,
	} {
		m, err := alert.ParseMatcher(text)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := m.Check(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestBadRoutes(t *testing.T) {
	deep := alert.RouteSpec{}
	for range 20 {
		deep = alert.RouteSpec{Routes: []alert.RouteSpec{deep}}
	}
	_, err := alert.CompileRoutes(alert.RouteSpec{
		Match: map[string]string{"a": "b"},
		Routes: []alert.RouteSpec{
			{Receiver: "slak", Match: map[string]string{"no-label": "x"}},
			{Receiver: "nowhere", Matchers: []string{"severity", "=x", "a!b", `a="x`, "a=b,c=d", `a=~"("`, `a=~"x)|(y"`, "a=" + strings.Repeat("x", 1025)}},
			deep,
		},
	}, []string{"slack", "pager"})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"routes.receiver: the root needs a receiver", "routes: the root takes every alert", `routes.routes[0].receiver: there is no receiver "slak"; did you mean "slack"?`,
		`routes.routes[0].match: "no-label" is not a label name`, `routes.routes[1].receiver: there is no receiver "nowhere"`,
		`routes.routes[1].matchers[0]: matcher "severity" has none of`, "matchers[1]: matcher \"=x\" does not start with a label",
		`matchers[2]: matcher "a!b" does not start`, `matchers[3]: matcher "a=\"x": the quoted value`, `matchers[4]: matcher "a=b,c=d": quote the value`,
		"matchers[5]: matcher of a: error parsing regexp", "matchers[6]: matcher of a: error parsing regexp", "at most 1024 are allowed",
		"nested more than 16 deep", `receivers: no route leads to "slack"`, `receivers: no route leads to "pager"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in\n%v", want, err)
		}
	}
}
