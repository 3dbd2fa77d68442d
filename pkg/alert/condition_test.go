package alert_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
)

// judge compiles the expression into a model-level or feature-level rule that
// fires at once, and tells what it makes of the values.
func judge(t *testing.T, expr string, values map[string]float64) (verdict, reason string) {
	t.Helper()
	none := uint64(0)
	r := mustCompile(t, alert.Spec{Expr: expr, MinN: &none}, "recall", "checkout_conversion")
	in := input(0, 'H')
	in.Vars = alert.NewVars(values)
	s, changes := r.Step(alert.State{}, in)
	switch {
	case s.Phase == alert.Firing:
		return "true", changes[0].Reason
	case s.Flag == alert.Undefined:
		return "unknown", ""
	}
	return "false", ""
}

func TestConditions(t *testing.T) {
	nan := math.NaN()
	type vars map[string]float64
	tests := map[string]struct {
		expr   string
		vars   vars
		want   string
		reason string
	}{
		"contract":              {"psi > 0.2 and n >= 1000", vars{"psi": 0.31, "n": 5000}, "true", "psi 0.31 > 0.2, n 5000 >= 1000"},
		"one false":             {"psi > 0.2 and n >= 1000", vars{"psi": 0.31, "n": 500}, "false", ""},
		"and, unknown":          {"psi > 0.2 and ks_lo > 0.1", vars{"psi": 0.31, "ks_lo": nan}, "unknown", ""},
		"and, false beats":      {"psi > 0.2 and ks_lo > 0.1", vars{"psi": 0.1, "ks_lo": nan}, "false", ""},
		"and, false beats last": {"ks_lo > 0.1 and psi > 0.2", vars{"psi": 0.1}, "false", ""},
		"or, true beats":        {"ks_lo > 0.1 or psi > 0.2", vars{"psi": 0.31}, "true", "ks_lo undefined > 0.1, psi 0.31 > 0.2"},
		"or, unknown":           {"psi > 0.2 or ks_lo > 0.1", vars{"psi": 0.1}, "unknown", ""},
		"or, false":             {"psi > 0.2 or ks_lo > 0.1", vars{"psi": 0.1, "ks_lo": 0.1}, "false", ""},
		"not":                   {"not (psi < 0.2)", vars{"psi": 0.31}, "true", "psi 0.31 >= 0.2"},
		"bang":                  {"!(psi < 0.2)", vars{"psi": 0.1}, "false", ""},
		"not unknown":           {"not (psi < 0.2)", vars{}, "unknown", ""},
		"symbols":               {"psi > 0.2 && (n > 10 || m > 10)", vars{"psi": 0.31, "n": 1, "m": 20}, "true", "psi 0.31 > 0.2, n 1 <= 10, m 20 > 10"},
		"chain":                 {"0.1 < psi <= 0.5", vars{"psi": 0.31}, "true", "0.1 < psi 0.31, psi 0.31 <= 0.5"},
		"equal":                 {"events == 0", vars{"events": 0}, "true", "events 0 == 0"},
		"not equal":             {"events != 0", vars{"events": 3}, "true", "events 3 != 0"},
		"less":                  {"mean < 5 and mean > -1", vars{"mean": 1.5}, "true", "mean 1.5 < 5, mean 1.5 > -1"},
		"two variables":         {"ks_lo > noise_floor", vars{"ks_lo": 0.12, "noise_floor": 0.1}, "true", "ks_lo 0.12 > noise_floor 0.1"},
		"arithmetic":            {"psi - noise_floor > 0.1", vars{"psi": 0.31, "noise_floor": 0.01}, "true", "psi - noise_floor 0.3 > 0.1"},
		"arithmetic undefined":  {"psi - noise_floor > 0.1", vars{"psi": 0.31}, "unknown", ""},
		"division":              {"n / m > 1.5", vars{"n": 3, "m": 2}, "false", ""},
		"integers are floats":   {"n > 7 / 2", vars{"n": 3.4}, "false", ""},
		"division by zero":      {"n / m > 1.5", vars{"n": 3, "m": 0}, "unknown", ""},
		"no integer overflow":   {"n + 9223372036854775807 > 0", vars{"n": 9223372036854775807}, "true", "n + 9223372036854775807 1.845e+19 > 0"},
		"power":                 {"mean ** 2 > 4", vars{"mean": -3}, "true", "mean ** 2 9 > 4"},
		"overflow":              {"mean ** 999 > 4", vars{"mean": 1e300}, "unknown", ""},
		"functions":             {"max(abs(mean), min(psi, 1)) >= 3", vars{"mean": -3, "psi": 7}, "true", "max(abs(mean), min(psi, 1)) 3 >= 3"},
		"max spreads NaN":       {"max(1, psi / ks_lo) > 0.5", vars{"psi": 0, "ks_lo": 0}, "unknown", ""},
		"folded":                {"psi > 2 * 0.1", vars{"psi": 0.31}, "true", "psi 0.31 > 0.2"},
		"negative threshold":    {"mean > -0.5", vars{"mean": 0}, "true", "mean 0 > -0.5"},
		"metric":                {"recall < 0.8", vars{"recall": 0.75}, "true", "recall 0.75 < 0.8"},
		"metric missing":        {"recall < 0.8", vars{}, "unknown", ""},
		"metric in arithmetic":  {"1 - recall > 0.2", vars{"recall": 0.75}, "true", "1 - recall 0.25 > 0.2"},
		"infinite":              {"mean > 1", vars{"mean": math.Inf(1)}, "unknown", ""},
		"always":                {"true", nil, "true", "always true"},
		"never":                 {"false", nil, "false", ""},
		"many clauses": {
			"psi > 0 and psi > 1 and psi > 2 or psi > 3 or psi > 4",
			vars{"psi": 3.5},
			"true",
			"psi 3.5 > 0, psi 3.5 > 1, psi 3.5 > 2, psi 3.5 > 3, psi 3.5 <= 4",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			verdict, reason := judge(t, test.expr, test.vars)
			if verdict != test.want || reason != test.reason {
				t.Errorf("%s on %v: got %s %q, want %s %q", test.expr, test.vars, verdict, reason, test.want, test.reason)
			}
		})
	}
}

// Four significant digits, more only where they would make the clause look false.
func TestReasonNumbers(t *testing.T) {
	tests := map[string]struct {
		x    float64
		want string
	}{
		"short":              {0.31, "psi 0.31 > -1"},
		"rounded":            {0.123456, "psi 0.1235 > -1"},
		"whole":              {1234567, "psi 1234567 > -1"},
		"large":              {12345.678, "psi 12346 > -1"},
		"small":              {0.000012345, "psi 1.234e-05 > -1"},
		"below one thousand": {999.96, "psi 1000 > -1"},
		"negative":           {-0.98765, "psi -0.9877 > -1"},
		"close":              {-0.99999, "psi -0.99999 > -1"},
		"huge":               {1e20, "psi 1e+20 > -1"},
		"negative zero":      {math.Copysign(0, -1), "psi 0 > -1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, reason := judge(t, "psi > -1", map[string]float64{"psi": test.x}); reason != test.want {
				t.Errorf("got %q, want %q", reason, test.want)
			}
		})
	}
}

func TestBadExpressions(t *testing.T) {
	const long = 1024 // the cap on an expression's bytes
	tests := map[string]struct {
		expr   string
		column int
		want   string
	}{
		"empty":            {" ", 1, "an expression is needed"},
		"syntax":           {"psi >", 5, "unexpected token EOF"},
		"unknown":          {"n > 1 and psi_debaised > 0.1", 11, `unknown variable "psi_debaised"; did you mean "psi_debiased"?`},
		"prefix":           {"missing > 0.1", 1, `did you mean "missing_ratio"?`},
		"far from any":     {"temperature > 1", 1, `unknown variable "temperature"; known are n, m, psi`},
		"metric":           {"recal > 1", 1, `did you mean "recall"?`},
		"number":           {"psi", 1, `"psi" is a number, a condition is needed`},
		"sum":              {"psi + 1", 5, "is a number, a condition is needed"},
		"text":             {`"psi" > 1`, 1, "is text, a number is needed"},
		"condition as num": {"psi > (n > 1)", 10, "is a condition, a number is needed"},
		"bool as number":   {"psi > true", 7, "is true or false, a number is needed"},
		"not binds tight":  {"not psi > 0.1", 1, `"not" needs parentheses around a comparison`},
		"now":              {"now() > 1", 1, `function "now" cannot be used: a rule depends on its window only`},
		"date":             {`date("2026-01-01") > 1`, 1, "cannot be used"},
		"len":              {"len(psi) > 1", 1, "cannot be used"},
		"method":           {"psi.String() == 1", 5, "methods cannot be called"},
		"arguments":        {"max(psi) > 1", 1, "max takes 2 numbers, not 1"},
		"abs arguments":    {"abs(psi, 1) > 1", 1, "abs takes 1 numbers, not 2"},
		"bad argument":     {"abs(nothing) > 1", 5, `unknown variable "nothing"`},
		"modulo":           {"n % 2 == 0", 3, `the operator "%"`},
		"range":            {"n in 1..1000000000", 3, `the operator "in"`},
		"matches":          {`"a" matches "(a+)+$"`, 5, `the operator "matches"`},
		"filter":           {"filter(1..9, # > 3) > 1", 1, "not part of the rule language"},
		"let":              {"let x = psi; x > 1", 5, "not part of the rule language"},
		"ternary":          {"psi > 1 ? true : false", 0, "not part of the rule language"},
		"sequence":         {"psi > 1; n > 1", 0, "not part of the rule language"},
		"pipe":             {"psi | abs() > 1", 0, ""},
		"map":              {`{"a": 1}.a > 1`, 0, "not part of the rule language"},
		"env":              {`$env["psi"] > 1`, 0, ""},
		"nil":              {"psi == nil", 8, "not part of the rule language"},
		"no finite value":  {"psi > 1 / 0", 0, "it has no finite value"},
		"second line":      {"n > 1 and\n  psy > 1", 3, `did you mean "psi"?`},
		"accents":          {"é > 1 or psy > 2", 0, "unknown variable"},
		"not text":         {"psi > \xff", 1, "not UTF-8"},
		"too long":         {"psi > 0" + strings.Repeat(" ", long), 1, "at most 1024 are allowed"},
		"too many nodes":   {strings.Repeat("n+", 300) + "n>1", 0, "exceeds maximum allowed nodes"},
		"too deep":         {strings.Repeat("-", 200) + "n>1", 0, "nested more than 100 deep"},
		"too deep, not":    {strings.Repeat("!", 200) + "(n>1)", 0, "nested more than 100 deep"},
		"just too deep":    {strings.Repeat("!", 100) + "(n>1)", 0, "nested more than 100 deep"},
		"too deep, calls":  {strings.Repeat("abs(", 100) + "n" + strings.Repeat(")", 100) + ">1", 0, "nested more than 100 deep"},
		"parentheses":      {strings.Repeat("(", 1000) + "n", 0, ""},
		"huge literal":     {"n > 1e999", 0, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := alert.Compile(alert.Spec{Name: "R", Window: time.Hour, Expr: test.expr}, "recall")
			var fault *alert.Fault
			if !errors.As(err, &fault) {
				if test.want == "" && err == nil && name == "pipe" {
					return // "psi | abs()" is abs(psi), a number compared with a number
				}
				t.Fatalf("got %v, want a fault", err)
			}
			if fault.Field != "expr" || fault.Rule != "R" || fault.Line < 1 || fault.Column < 1 {
				t.Errorf("misplaced: %+v", fault)
			}
			if test.column > 0 && fault.Column != test.column || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want column %d and %q", err, test.column, test.want)
			}
		})
	}
}

// TestDeepExpressions: what is nested as deep as it may be is judged; "just too deep"
// above is one more.
func TestDeepExpressions(t *testing.T) {
	for _, expr := range []string{
		strings.Repeat("!", 99) + "(n<1)", strings.Repeat("abs(", 99) + "n" + strings.Repeat(")", 99) + ">1",
	} {
		if verdict, reason := judge(t, expr, map[string]float64{"n": 2}); verdict != "true" {
			t.Errorf("%.20s...: %s, %s", expr, verdict, reason)
		}
	}
}

func TestAllFaultsAreReported(t *testing.T) {
	_, err := alert.Compile(alert.Spec{
		Name: "", Expr: "psy > 1 and kslo > 2", Clear: "psi <", For: alert.Hold{Windows: 1, Duration: 1},
		KeepFiringFor: alert.Hold{Windows: -1}, Severity: "pager", Reference: "yesterday", NoData: "drop",
		Actions: []string{"rolback"}, Limit: -1,
		Labels: map[string]string{"bad-name": "", "model": "x", "v": "{{ $value }}", "": ""},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"alert: a rule needs a name", "window: a window must be longer", `expr 1:1: unknown variable "psy"; did you mean "psi"?`,
		`expr 1:13: unknown variable "kslo"; did you mean "ks_lo"?`, "clear 1:", "for: give a number of windows or a duration",
		"keep_firing_for: ", `severity: "pager" is not one of page, ticket, info; did you mean "page"?`,
		`reference: "yesterday" is not one of`, `no_data: "drop"`, `actions: "rolback" is not one of retrain, rollback; did you mean "rollback"?`,
		"limit: a limit cannot be negative", `labels: "bad-name" is not a label name`, `labels: "model" is set by driftd itself`,
		"labels: v: a label cannot hold a value that changes", `labels: "" is not a label name`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 16 { // one line each of the above
		t.Errorf("got %d faults, want 16:\n%v", n, err)
	}
}

func TestHoldFaults(t *testing.T) {
	tests := map[string]struct {
		spec alert.Spec
		want string // "" for none
	}{
		"3 of 5":             {alert.Spec{For: alert.Hold{Windows: 3, Of: 5}}, ""},
		"64 of 64":           {alert.Spec{For: alert.Hold{Windows: 64, Of: 64}}, ""},
		"0 of 5":             {alert.Spec{For: alert.Hold{Of: 5}}, "for: 0 of 5 is not possible"},
		"5 of 3":             {alert.Spec{For: alert.Hold{Windows: 5, Of: 3}}, "for: 5 of 3 is not possible"},
		"3 of 65":            {alert.Spec{For: alert.Hold{Windows: 3, Of: 65}}, "for: 3 of 65 is not possible: give 1 or more of at most 64"},
		"kept for some of":   {alert.Spec{KeepFiringFor: alert.Hold{Windows: 3, Of: 5}}, `keep_firing_for: only "for" can be`},
		"undecided some of":  {alert.Spec{UndecidedFor: alert.Hold{Windows: 3, Of: 5}}, `undecided_for: only "for" can be`},
		"undecided negative": {alert.Spec{UndecidedFor: alert.Hold{Windows: -3}}, "undecided_for: give a number"},
		"waits for nothing":  {alert.Spec{NoDataFor: alert.Hold{Windows: 3}}, "no_data_for: no_data: keep waits for nothing"},
		"ok waits neither":   {alert.Spec{NoData: "ok", NoDataFor: alert.Hold{Windows: 3}}, "no_data_for: no_data: ok waits for nothing"},
		"waits for an alert": {alert.Spec{NoData: "alert", NoDataFor: alert.Hold{Duration: time.Hour}}, ""},
		"a label of ours":    {alert.Spec{Labels: map[string]string{"rule": "x"}}, `labels: "rule" is set by driftd itself`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.spec.Name, test.spec.Window, test.spec.Expr = "R", time.Hour, "psi > 1"
			switch _, err := alert.Compile(test.spec); {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestRollbackNeedsAVersion(t *testing.T) {
	spec := alert.Spec{Name: "R", Window: time.Hour, Expr: "error_ratio > 0.1", Actions: []string{"rollback"}}
	if _, err := alert.Compile(spec); err == nil || !strings.Contains(err.Error(), `actions: rollback needs to know the version`) {
		t.Errorf("got %v", err)
	}
	spec.Variant = "canary"
	if _, err := alert.Compile(spec); err != nil {
		t.Error(err)
	}
}

// Whatever an operator writes, compiling returns, and what compiles runs.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		"psi > 0.2 and n >= 1000", "not (psi < 1)", "0.1 < psi < 2 or max(1, n) / m == 3", "now() > 1",
		"filter(1..9, # > 3)", "let x = 1; x", "(((((", "1e999 > n", "n ** -1 > 2 ^ 3", "a?.b ?? c", "\"\\u", "/* */ n > 1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		r, err := alert.Compile(alert.Spec{Name: "F", Window: time.Hour, Expr: source})
		if err != nil {
			return
		}
		s, changes := r.Step(alert.State{}, input(0, 'H'))
		again, _ := r.Step(alert.State{}, input(0, 'H'))
		if s != again {
			t.Errorf("%q: %+v and then %+v", source, s, again)
		}
		for _, c := range changes {
			if c.Reason == "" {
				t.Errorf("%q fired without a reason", source)
			}
		}
	})
}
