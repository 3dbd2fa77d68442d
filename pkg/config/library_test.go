package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/ruletest"
)

// library loads the tests of configs/rules, by file.
func library(t *testing.T) map[string]*config.RuleTests {
	t.Helper()
	files, err := filepath.Glob("../../configs/rules/*_test.yaml")
	rules, rulesErr := filepath.Glob("../../configs/rules/*.yaml")
	if err != nil || rulesErr != nil || len(files) == 0 || len(rules) != 2*len(files) {
		t.Fatalf("%d files of tests for %d in all: %v, %v", len(files), len(rules), err, rulesErr)
	}
	out := map[string]*config.RuleTests{}
	for _, file := range files {
		if out[file], err = config.LoadRuleTests(file, config.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// The rules that driftd ships do what their tests say.
func TestRuleLibrary(t *testing.T) {
	for file, tests := range library(t) {
		for i, test := range tests.Tests {
			got, err := tests.World.Run(test)
			if err != nil {
				t.Errorf("%s:%d: %v", file, tests.Lines[i], err)
			}
			for _, c := range got.Checks {
				if !c.OK() {
					t.Errorf("%s:%d: %s: %s\n%s", file, c.Line, test.Name, c.What, strings.Join(slices.Concat(c.Diff, c.Timeline), "\n"))
				}
			}
		}
	}
}

// Every rule has a test in which it fires, one in which events leave it quiet, and a
// page that says what to do.
func TestRuleLibraryIsTested(t *testing.T) {
	pages, err := os.ReadFile("../../docs/rule-library.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for file, tests := range library(t) {
		for _, r := range tests.World.Rules {
			fires, quiet := false, false
			for _, test := range tests.Tests {
				for _, a := range test.Alerts {
					firing := slices.ContainsFunc(a.Wants, func(w ruletest.Want) bool { return w.Phase == alert.Firing })
					fires = fires || a.Name == r.Name() && firing
					quiet = quiet || a.Name == r.Name() && !firing && len(test.Traffic) > 0
				}
			}
			if !fires || !quiet || names[r.Name()] {
				t.Errorf("%s: %s: fires %v, quiet %v, or its name is taken", file, r.Name(), fires, quiet)
			}
			names[r.Name()] = true
			anchor := "docs/rule-library.md#" + strings.ToLower(r.Name())
			if url := r.Spec().Annotations["runbook_url"]; url != anchor || !strings.Contains(string(pages), "\n## "+r.Name()+"\n") {
				t.Errorf("%s: %s leads to %s, want %s and such a heading", file, r.Name(), url, anchor)
			}
		}
	}
}

// A mutant is a rule that is not what its author meant.
type mutant struct {
	what string
	spec alert.Spec
}

// number finds the constants of an expression, which names such as latency_p95 are not.
var number = regexp.MustCompile(`\b[0-9]+(?:\.[0-9]+)?\b`)

// moved returns an expression with each of its constants moved by a tenth, either way.
func moved(expr string) (out []string) {
	for _, at := range number.FindAllStringIndex(expr, -1) {
		x, _ := strconv.ParseFloat(expr[at[0]:at[1]], 64)
		others := []float64{1.1 * x, .9 * x}
		if x == 0 {
			others = []float64{1}
		}
		for _, other := range others {
			out = append(out, expr[:at[0]]+strconv.FormatFloat(other, 'g', -1, 64)+expr[at[1]:])
		}
	}
	return out
}

// mutants are the ways in which a rule can be a little wrong.
func mutants(spec alert.Spec) (out []mutant) {
	add := func(what string, change func(*alert.Spec)) {
		m := mutant{what, spec}
		change(&m.spec)
		out = append(out, m)
	}
	for _, expr := range moved(spec.Expr) {
		add(expr, func(s *alert.Spec) { s.Expr = expr })
	}
	for _, expr := range moved(spec.Clear) {
		add("clear "+expr, func(s *alert.Spec) { s.Clear = expr })
	}
	for _, by := range []int{-1, 1} {
		if spec.For.Windows+by > 0 {
			add(fmt.Sprintf("for %d", spec.For.Windows+by), func(s *alert.Spec) { s.For.Windows += by })
		}
		if spec.KeepFiringFor.Windows+by > 0 {
			add(fmt.Sprintf("keep_firing_for %d", spec.KeepFiringFor.Windows+by), func(s *alert.Spec) { s.KeepFiringFor.Windows += by })
		}
	}
	add("severity info", func(s *alert.Spec) { s.Severity = alert.SeverityInfo })
	if spec.MinN != nil {
		add("min_n by default", func(s *alert.Spec) { s.MinN = nil })
	}
	if spec.Feature != "" {
		add("every signal", func(s *alert.Spec) { s.Feature = "*" })
	}
	if spec.Variant == "canary" {
		add("every variant", func(s *alert.Spec) { s.Variant = "*" })
	}
	if spec.Segment != "" {
		add("no segment", func(s *alert.Spec) { s.Segment = "" })
	}
	if len(spec.Actions) > 0 {
		add("no action", func(s *alert.Spec) { s.Actions = nil })
	}
	return out
}

// A rule that is a little wrong fails its tests, which say which rule it is and what
// it saw.
func TestRuleLibraryKillsMutants(t *testing.T) {
	killed := 0
	for file, tests := range library(t) {
		for i, r := range tests.World.Rules {
			for _, m := range mutants(r.Spec()) {
				wrong, err := alert.Compile(m.spec)
				if err != nil {
					t.Fatalf("%s: %s with %s: %v", file, r.Name(), m.what, err)
				}
				world := tests.World
				world.Rules = slices.Clone(world.Rules)
				world.Rules[i] = wrong
				if killer(t, world, tests.Tests, r.Name()) {
					killed++
				} else {
					t.Errorf("%s: no test notices %s with %s", file, r.Name(), m.what)
				}
			}
		}
	}
	if killed < 150 { // 14 rules with 11 mutants and more each
		t.Errorf("%d mutants were killed: too few were made", killed)
	}
}

// killer reports whether a test fails, and checks that it says why. Tests of Series
// are tried first: they are quick.
func killer(t *testing.T, w ruletest.World, tests []ruletest.Test, rule string) bool {
	t.Helper()
	byCost := slices.Clone(tests)
	slices.SortStableFunc(byCost, func(a, b ruletest.Test) int { return len(a.Traffic) - len(b.Traffic) })
	for _, test := range byCost {
		got, err := w.Run(test)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range got.Checks {
			if c.OK() {
				continue
			}
			if text := strings.Join(c.Timeline, "\n"); strings.Contains(c.What, "alerts of") && (!strings.Contains(c.What, rule) || !strings.Contains(text, rule) || !number.MatchString(text)) {
				t.Errorf("%s fails %q and does not say why:\n%s\n%s", rule, c.What, strings.Join(c.Diff, "\n"), text)
			}
			return true
		}
	}
	return false
}
