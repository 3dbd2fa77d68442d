package event_test

import (
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/event"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		glob, name string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "team/fraud", true}, // no separators
		{"**", "a", true},
		{"fraud", "fraud", true},
		{"fraud", "frau", false},
		{"frau", "fraud", false},
		{"fraud-*", "fraud-eu", true},
		{"fraud-*", "fraud", false},
		{"*-eu", "fraud-eu-eu", true},
		{"*a*b", "xaxbxb", true},
		{"*a*b", "xaxbx", false},
		{"f?aud", "fraud", true},
		{"f?", "f", false},
		{"?", "é", true}, // one character of two bytes
		{"??", "é", false},
		{"*??", "€", false}, // a star must not split a character
		{"*?", "€", true},
		{"[a-z]", "b", false}, // no classes
		{"[a-z]", "[a-z]", true},
		{`\*`, "*", false}, // no escapes
		{"?", "\xff", true},
	} {
		if got := event.Match(c.glob, c.name); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.glob, c.name, got)
		}
	}
	if event.Match(strings.Repeat("*a", 50)+"b", strings.Repeat("a", 1000)) { // backtracking alone would take forever
		t.Error("matched")
	}
}
