package alert_test

import (
	"fmt"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
)

// A rule pages after two windows and resolves once the drift is well below.
func Example() {
	rule, err := alert.Compile(alert.Spec{
		Name: "AmountDrift", Model: "fraud-*", Feature: "amount", Window: time.Hour,
		Expr: "psi_debiased > 0.1 and n >= 1000", Clear: "psi_debiased < 0.05",
		For: alert.Hold{Windows: 2}, Severity: alert.SeverityPage,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var state alert.State
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, psi := range []float64{0.02, 0.21, 0.31, 0.07, 0.03} {
		end := start.Add(time.Duration(i+1) * time.Hour)
		var changes []alert.Change
		state, changes = rule.Step(state, alert.Input{
			Key:    drift.Key{Group: drift.Group{Model: "fraud-eu", Version: "42"}, Signal: "amount"},
			Window: alert.Window{Start: end.Add(-time.Hour), End: end, State: drift.Closed},
			N:      5000, Approved: true,
			Vars: alert.NewVars(map[string]float64{"psi_debiased": psi, "n": 5000}),
		})
		for _, c := range changes {
			fmt.Printf("%s %s -> %s: %s\n", c.At.Format("15:04"), c.From, c.To, c.Reason)
		}
	}
	// Output:
	// 02:00 inactive -> pending: psi_debiased 0.21 > 0.1, n 5000 >= 1000
	// 03:00 pending -> firing: psi_debiased 0.31 > 0.1, n 5000 >= 1000
	// 05:00 firing -> resolved: psi_debiased 0.03 < 0.05
}

// What is wrong with a rule is said where it is, with a way out.
func ExampleCompile() {
	_, err := alert.Compile(alert.Spec{Name: "Typo", Window: time.Hour, Expr: "n > 10 and psi_debaised > 0.1"})
	fmt.Println(err)
	// Output:
	// rule "Typo": expr 1:12: unknown variable "psi_debaised"; did you mean "psi_debiased"?
}
