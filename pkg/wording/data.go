package wording

import "time"

// Data is what a template can say. What a message has not is empty.
type Data struct {
	Kind     string // "alert", "retrain", "rollback" or "promote"
	Status   string // of an alert: "firing" or "resolved"
	Severity string // "page", "ticket" or "info"
	Title    string // driftd's own words, one line
	Text     string // driftd's own sentence

	Rule, Model, Version, Variant, Segment, Feature string
	Owner, Summary, Runbook                         string
	Reason                                          string             // each clause of the rule with its values
	Stats                                           map[string]float64 // statistics of the decision by name
	Labels                                          map[string]string  // of the rule, or of the group

	Start, End                                  time.Time // of the alert; End is zero while it fires
	WindowStart, WindowEnd                      time.Time
	Since                                       time.Time // when the change began; zero: unknown
	Signal, Origin, Because                     string    // the signal that moved most, where from, and why
	Cells, Versions, Segments, Around, Findings []string  // a line each

	Alerts        []Alert // of a message about several: at most 20
	Firing, Ended int     // how many there are

	Seq   uint64 // of the ledger entry, 0 of a test
	Link  string // to it
	Links []Link
}

// An Alert is one line of a message about several.
type Alert struct {
	Rule, Model, Version, Feature, Severity, Status, Reason string
}

// A Link is a page that shows what a message is about.
type Link struct{ Text, URL string }

// samples are messages with everything and with next to nothing: a template that
// names a field which does not exist fails on them, not on an alert.
func samples() []Data {
	at := time.Date(2026, 1, 2, 15, 4, 0, 0, time.UTC)
	line := []string{"-"}
	return []Data{
		{
			Kind: "alert", Status: "firing", Severity: "page", Title: "-", Text: "-", Rule: "-", Model: "-", Version: "-", Variant: "-", Segment: "-", Feature: "-",
			Owner: "-", Summary: "-", Runbook: "-", Reason: "-", Stats: map[string]float64{"psi": 1}, Labels: map[string]string{"team": "-"},
			Start: at, End: at, WindowStart: at, WindowEnd: at, Since: at, Signal: "-", Origin: "-", Because: "-",
			Cells: line, Versions: line, Segments: line, Around: line, Findings: line,
			Alerts: []Alert{{"-", "-", "-", "-", "page", "firing", "-"}}, Firing: 1, Ended: 1, Seq: 1, Link: "-", Links: []Link{{"-", "-"}},
		},
		{},
	}
}
