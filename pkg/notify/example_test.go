package notify_test

import (
	"fmt"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

func ExampleDescribe() {
	start := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	var chain ledger.Chain
	entry, err := chain.Append(ledger.Draft{Time: start.Add(time.Hour), Kind: ledger.KindAlert, Model: "fraud", Body: ledger.Alert{
		Status: "firing", Rule: "AmountDrift", Model: "fraud", ModelVersion: "42", Feature: "amount", Severity: "page",
		StartsAt: start.Add(time.Hour), Window: ledger.Window{Start: start, End: start.Add(time.Hour)},
		Reason: "psi_debiased 0.31 > 0.1, n 5000 >= 1000",
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	m, err := notify.Describe(entry, "https://driftd.example")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Title)
	fmt.Println(m.Sentence)
	fmt.Println(m.Link)
	// Output:
	// Page: AmountDrift on fraud/amount
	// amount of fraud version 42 moved: psi_debiased 0.31 > 0.1, n 5000 >= 1000 in the window 2026-01-01 10:00 to 11:00 UTC, firing since 2026-01-01 11:00 UTC.
	// https://driftd.example/ledger/1
}
