package event_test

import (
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/event"
)

func TestValidateTemplate(t *testing.T) {
	for template, want := range map[string]string{
		"": "", "fraud": "", "{namespace}/{inferenceservicename}": "", "v{annotations.app.kubernetes.io/version}-x": "",
		"{": "between { and }", "{}": "between { and }", "a{b": "between { and }", "{a b}": "between { and }", "{{a}}": "between { and }",
		"a}": "} without its {", "{a}}": "} without its {",
	} {
		err := event.ValidateTemplate(template)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", template, err, want)
		}
	}
}

func TestValidateWrappedModel(t *testing.T) {
	for want, m := range map[string]event.WrappedModel{
		"":                             {Glob: "*", Features: []string{"a", "b"}, Classes: []string{"a", "b"}},
		`features: "a" is there twice`: {Features: []string{"a", "b", "a"}},
		"classes: name 2 is empty":     {Classes: []string{"a", ""}},
	} {
		if err := m.Validate(); want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%v: %v, want %q", m, err, want)
		}
	}
}
