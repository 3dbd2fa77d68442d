package ruletest_test

import (
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/ruletest"
)

// people returns a world whose receivers hear of incidents, but for "machine".
func people(t *testing.T, root alert.RouteSpec, specs ...alert.Spec) *ruletest.World {
	t.Helper()
	w := world(t, specs...)
	var err error
	if w.Routes, err = alert.CompileRoutes(root, []string{"chat", "boss", "machine"}); err != nil {
		t.Fatal(err)
	}
	w.Grouped = func(receiver string) bool { return receiver != "machine" }
	return w
}

func told(status string, at time.Duration, firing, ended int, alerts ...map[string]string) ruletest.Message {
	return ruletest.Message{Status: status, At: at, Firing: firing, Ended: ended, Alerts: alerts, Labels: set("model", "fraud")}
}

// People hear of incidents: after group_wait, again after group_interval if something
// has changed and at once if it has become worse, and after repeat_interval anyway.
// Machines hear of each alert when it starts and when it ends.
func TestIncidents(t *testing.T) {
	ticket := alert.Spec{Name: "Ticket", Expr: "psi > 0.1"}
	page := alert.Spec{Name: "Page", Expr: "psi > 0.5", Severity: "page", Feature: "age"}
	w := people(t, alert.RouteSpec{
		Receiver: "chat", GroupBy: []string{"model"}, GroupWait: new(10 * time.Minute), GroupInterval: new(150 * time.Minute), RepeatInterval: new(4 * time.Hour),
		Routes: []alert.RouteSpec{{Receiver: "machine", Matchers: []string{`alertname=~".+"`}, Continue: true}, {Receiver: "chat", Matchers: []string{`alertname=~".+"`}, Escalate: &alert.Escalation{After: 450 * time.Minute, Receiver: "boss"}}},
	}, ticket, page)
	test := given(t, amount, "0.3x1 0.01 0.3x8 0.01x3", `psi{model="fraud", feature="age"}`, "0.01x2 0.6x7 0.01x3")
	a, b, c := set("alertname", "Ticket", "feature", "amount"), set("alertname", "Page"), set("alertname", "Ticket", "feature", "age")
	start := time.Hour // a starts again and so has to be quiet for two windows: it flaps
	test.Messages = []ruletest.Messages{
		{Receiver: "chat", At: 69 * time.Minute},
		{Receiver: "chat", Wants: []ruletest.Message{
			told("firing", start+10*time.Minute, 1, 0, a),
			told("resolved", start+160*time.Minute, 0, 1, a), // it ended at 3h, and the interval at 3h40m
			told("firing", 4*time.Hour+10*time.Minute, 3, 0, b, a, c),
			told("firing", 8*time.Hour+10*time.Minute, 3, 0, b), // again
			told("firing", 12*time.Hour+10*time.Minute, 1, 2, a, b, c),
			told("resolved", 14*time.Hour+40*time.Minute, 0, 1, a),
		}},
		{Receiver: "machine", At: 4 * time.Hour, Wants: []ruletest.Message{{Status: "firing", At: start, Labels: a}, {Status: "resolved", At: 3 * time.Hour}, {Status: "firing", Severity: "ticket"}, {Status: "firing"}, {Status: "firing", Severity: "page"}}},
		{Receiver: "boss", Wants: []ruletest.Message{told("firing", 11*time.Hour+30*time.Minute, 3, 0), told("firing", 14*time.Hour, 1, 2), told("resolved", 16*time.Hour+30*time.Minute, 0, 1)}},
	}
	passes(t, w, test)
}

// What somebody looks after is told at once to who was told, and then neither
// repeated nor escalated; a new page is another matter. To whom it has escalated hears
// of it too.
func TestAcknowledgements(t *testing.T) {
	w := people(t, alert.RouteSpec{
		Receiver: "chat", RepeatInterval: new(2 * time.Hour), Escalate: &alert.Escalation{After: 3 * time.Hour, Receiver: "boss"},
		Routes: []alert.RouteSpec{{Receiver: "machine", Match: map[string]string{"model": "none"}}},
	}, alert.Spec{Name: "Page", Expr: "psi > 0.1", Severity: "page"})
	test := given(t, amount, "0.3x8", `psi{model="fraud", feature="age"}`, "0.01x5 0.3x2", `psi{model="churn", feature="age"}`, "0.01x1 0.3x6")
	test.Acks = []ruletest.Ack{{At: 7*time.Hour + time.Minute, Labels: set("model", "other"), By: "bob"}, {At: 90 * time.Minute, Labels: set("model", "fraud"), By: "ada"}, {At: 6*time.Hour + 30*time.Minute, Labels: set("model", "churn"), By: "eve"}}
	fraud, churn := set("model", "fraud"), set("model", "churn")
	test.Messages = []ruletest.Messages{
		{Receiver: "chat", At: 8 * time.Hour, Wants: []ruletest.Message{
			{Status: "firing", At: time.Hour, Labels: fraud},
			{Status: "firing", At: 90 * time.Minute, Labels: fraud, Acknowledged: "ada"},
			{Status: "firing", At: 3 * time.Hour, Labels: churn},
			{Status: "firing", At: 5 * time.Hour, Labels: churn},
			{Status: "firing", At: 6*time.Hour + 30*time.Minute, Labels: churn, Acknowledged: "eve"},
			{Status: "firing", At: 7 * time.Hour, Labels: fraud, Firing: 1},
		}},
		{Receiver: "boss", At: 7 * time.Hour, Wants: []ruletest.Message{
			{Status: "firing", At: 6 * time.Hour, Labels: churn},
			{Status: "firing", At: 6*time.Hour + 30*time.Minute, Labels: churn, Acknowledged: "eve"},
		}},
	}
	passes(t, w, test)
}
