package notify_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/notify/fakes"
)

// grouped is an incident of these alerts, of which more may fire or have ended.
func grouped(t *testing.T, firing, ended int, alerts ...ledger.Alert) *ledger.Group {
	t.Helper()
	g := &ledger.Group{
		Incident: "01JINCIDENT", Labels: map[string]string{"model": "fraud"}, Status: "firing", Severity: "page", Opened: at, Firing: firing, Ended: ended,
	}
	if firing == 0 {
		g.Status = "resolved"
	}
	c := &ledger.Chain{Seq: 811}
	for _, a := range alerts {
		g.Alerts = append(g.Alerts, entry(t, c, ledger.KindAlert, a))
	}
	return g
}

// on is an alert of a rule on a feature of a model.
func on(rule, model, feature string) ledger.Alert {
	a := fired()
	a.Rule, a.Model, a.Feature, a.Segment, a.Variant, a.DedupKey = rule, model, feature, "", "", rule+feature
	return a
}

func TestDescribeGroup(t *testing.T) {
	worst := "AmountDrift"
	sentence := "amount of fraud version 42 moved: psi_debiased 0.31 > 0.1, n 5000 >= 1000 in the window 2026-01-01 10:00 to 11:00 UTC, firing since 2026-01-01 11:00 UTC."
	ended := on("AgeDrift", "fraud", "age")
	ended.Status = "resolved"
	other := grouped(t, 2, 0, on(worst, "fraud", "amount"), on(worst, "churn", "tenure"))
	other.Labels = map[string]string{"owner": "risk", "team": ""}
	ungrouped := grouped(t, 2, 0, on(worst, "fraud", "amount"), on(worst, "churn", "tenure"))
	ungrouped.Labels = nil
	acknowledged := grouped(t, 1, 0, on(worst, "fraud", "amount"))
	acknowledged.Acknowledged = "ann"
	for name, c := range map[string]struct {
		g                      *ledger.Group
		title, sentence, topic string
		others                 []notify.Field
	}{
		"one alert": {acknowledged, "Page: AmountDrift on fraud/amount", sentence, "incident on fraud, 2026-01-01 10:00 UTC", nil},
		"several": {
			grouped(t, 12, 1, on(worst, "fraud", "amount"), on(worst, "fraud", "country"), on("Errors", "fraud", ""), ended),
			"Page: 12 alerts on fraud", "12 alerts on fraud fire, 1 ended. The worst: " + sentence, "incident on fraud, 2026-01-01 10:00 UTC",
			[]notify.Field{
				{Name: worst, Value: "fraud/country version 42: psi_debiased 0.31 > 0.1, n 5000 >= 1000"},
				{Name: "Errors", Value: "fraud version 42: psi_debiased 0.31 > 0.1, n 5000 >= 1000"},
				{Name: "AgeDrift", Value: "fraud/age version 42: ended"},
				{Name: "more", Value: "9"},
			},
		},
		"several models": {
			other, "Page: 2 alerts on owner=risk", "2 alerts on owner=risk fire. The worst: " + sentence, "incident on owner=risk, 2026-01-01 10:00 UTC",
			[]notify.Field{{Name: worst, Value: "churn/tenure version 42: psi_debiased 0.31 > 0.1, n 5000 >= 1000"}},
		},
		"no labels": {
			ungrouped, "Page: 2 alerts on fraud and churn", "2 alerts on fraud and churn fire. The worst: " + sentence, "incident on fraud and churn, 2026-01-01 10:00 UTC",
			[]notify.Field{{Name: worst, Value: "churn/tenure version 42: psi_debiased 0.31 > 0.1, n 5000 >= 1000"}},
		},
		"all ended": {
			grouped(t, 0, 2, resolved(), ended), "Resolved: 2 alerts on fraud",
			"Nothing fires on fraud any more: 2 alerts ended. The last: amount of fraud version 42, canary, segment channel=app is back to normal since 2026-01-01 13:00 UTC, after 2h: psi_debiased 0.01 < 0.05 in the window 2026-01-01 10:00 to 11:00 UTC; at its worst psi_debiased 0.4 > 0.1.",
			"incident on fraud, 2026-01-01 10:00 UTC",
			[]notify.Field{{Name: "AgeDrift", Value: "fraud/age version 42: ended"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := notify.DescribeGroup(c.g, "https://driftd.example")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{c.title, c.sentence, c.topic}, []string{m.Title, m.Sentence, m.Topic}); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.others, m.Others); diff != "" {
				t.Error(diff)
			}
			if m.Link != "https://driftd.example/ledger/812" || m.Status != c.g.Status || len(m.Alerts) != len(c.g.Alerts) {
				t.Errorf("message %+v", m)
			}
		})
	}
	m, err := notify.DescribeGroup(acknowledged, "")
	if err != nil || m.About[len(m.About)-1] != (notify.Field{Name: "Acknowledged", Value: "by ann"}) {
		t.Errorf("%v, %v", m.About, err)
	}
	if _, err := notify.DescribeGroup(&ledger.Group{Incident: "x"}, ""); err == nil {
		t.Error("an incident without alerts was described")
	}
}

// However many alerts, rules and models, a message stays short.
func TestGroupsAreBounded(t *testing.T) {
	var alerts []ledger.Alert
	for i := range ledger.GroupAlerts {
		a := on(strings.Repeat("R", 300)+fmt.Sprint(i), fmt.Sprint("m", i), strings.Repeat("<!here>", 100))
		a.Reason = strings.Repeat("é<", 500)
		alerts = append(alerts, a)
	}
	d := delivery(t, ledger.KindAlert, alerts[0])
	d.Group, d.Grouped = grouped(t, 5000, 3, alerts...), true
	d.Group.Labels = nil
	for name, fake := range map[string]caller{"slack": fakes.NewSlack(), "pagerduty": fakes.NewPagerDuty(), "webhook": fakes.NewWebhook(hookSecret)} {
		sendTo(t, name, fake, d)
		if body := fake.Calls()[0].Body; name == "slack" && (len(body) > 60_000 || strings.Contains(string(body), "<!here")) {
			t.Errorf("%d bytes: %.500s", len(body), body)
		}
	}
}

// PagerDuty hears who looks after an incident: also of one that it had not heard of.
func TestPagerDutyHearsOfAcknowledgements(t *testing.T) {
	for name, c := range map[string]struct {
		told bool
		want string
	}{
		"told before": {true, "acknowledge"},
		"not told":    {false, "trigger acknowledge"},
	} {
		t.Run(name, func(t *testing.T) {
			pager := fakes.NewPagerDuty()
			server := httptest.NewServer(pager)
			t.Cleanup(server.Close)
			pd, err := notify.NewPagerDuty(notify.PagerDutyOptions{RoutingKey: routingKey, BaseURL: server.URL, Client: loopback(t, time.Second)})
			if err != nil {
				t.Fatal(err)
			}
			g := grouped(t, 1, 0, on("AmountDrift", "fraud", "amount"))
			g.Acknowledged = "ann"
			d := ledger.Delivery{Receiver: "r", Entry: g.Alerts[0], Seq: 812, Order: "01", Grouped: true, Group: g}
			if c.told {
				d.Earlier = []ledger.Delivery{{Seq: 811, Order: "01", Grouped: true, Told: true}}
			}
			if err := pd.Send(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, call := range pager.Calls() {
				var ev struct {
					Action string `json:"event_action"`
				}
				if err := json.Unmarshal(call.Body, &ev); err != nil {
					t.Fatal(err)
				}
				got = append(got, ev.Action)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("told %q, want %q", got, c.want)
			}
		})
	}
}
