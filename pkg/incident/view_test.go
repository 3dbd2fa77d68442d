package incident_test

import (
	"fmt"
	"strings"
	"testing"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

// shown writes a view as "+firing -ended ~held", with "!" if there is news.
func shown(v incident.View) string {
	var out []string
	for _, m := range v.Firing {
		out = append(out, "+"+m.Key)
	}
	for _, m := range v.Ended {
		out = append(out, "-"+m.Key)
	}
	for _, key := range v.Held {
		out = append(out, "~"+key)
	}
	if v.Fresh {
		out = append(out, "!")
	}
	return strings.Join(out, " ")
}

func TestViewOf(t *testing.T) {
	// a fires at 1, b (a page) at 2, c at 3 and ends at 4; d is not for people.
	b := incident.NewBook(nil)
	i := put(b, fires("a", 1, alert.SeverityTicket, 0), 0, people)
	put(b, fires("b", 2, alert.SeverityPage, 0), 0, people)
	put(b, fires("c", 3, alert.SeverityTicket, 0), 0, people)
	put(b, ends(fires("c", 3, alert.SeverityTicket, 0), 4, 1), 1, people)
	put(b, fires("d", 5, alert.SeverityPage, 1), 1, pager)
	for name, c := range map[string]struct {
		heard incident.Heard
		muted string
		want  string
	}{
		"nothing heard":             {incident.Heard{}, "", "+b +a -c !"},
		"the first heard":           {incident.Heard{Seq: 1}, "", "+b +a -c !"},
		"all that fires heard":      {incident.Heard{Seq: 3}, "", "+b +a -c !"},
		"all heard":                 {incident.Heard{Seq: 4}, "", "+b +a"},
		"one muted":                 {incident.Heard{}, "b", "+a -c ~b !"},
		"one muted, the rest heard": {incident.Heard{Seq: 4}, "b", "+a ~b"},
		"all muted":                 {incident.Heard{}, "abc", "~a ~b"},
		"the end of what was heard": {incident.Heard{Seq: 3}, "abc", "-c ~a ~b !"},
		"muted when heard, and now": {incident.Heard{Seq: 4, Held: []string{"b"}}, "b", "+a ~b"},
		"muted when heard, not now": {incident.Heard{Seq: 4, Held: []string{"b"}}, "", "+b +a !"},
		"muted from start to end":   {incident.Heard{Seq: 3, Held: []string{"c"}}, "c", "+b +a"},
		"the end of what was muted": {incident.Heard{Seq: 4, Held: []string{"c"}}, "", "+b +a -c !"},
	} {
		t.Run(name, func(t *testing.T) {
			v := i.Of([]string{"people"}, c.heard, func(m *incident.Member) bool { return strings.Contains(c.muted, m.Key) })
			if got := shown(v); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if v.Open() != (v.Status() == "firing") || v.Open() != (len(v.Firing) > 0) {
				t.Errorf("open %v, status %s", v.Open(), v.Status())
			}
		})
	}
}

func TestViewSeverity(t *testing.T) {
	b := incident.NewBook(nil)
	i := put(b, fires("a", 1, alert.SeverityTicket, 0), 0, people)
	page := fires("b", 2, alert.SeverityPage, 0)
	put(b, page, 0, people)
	put(b, ends(page, 3, 1), 1, people)
	everything := func(*incident.Member) bool { return false }
	if v := i.Of([]string{"people"}, incident.Heard{}, everything); v.Severity != alert.SeverityTicket {
		t.Errorf("severity %s of what fires, want ticket", v.Severity)
	}
	put(b, ends(fires("a", 1, alert.SeverityTicket, 0), 4, 2), 2, people)
	if v := i.Of([]string{"people"}, incident.Heard{}, everything); v.Severity != alert.SeverityPage {
		t.Errorf("severity %s of what has ended, want page", v.Severity)
	}
}

func TestViewListsFew(t *testing.T) {
	b := incident.NewBook(nil)
	var i *incident.Incident
	for n := range 300 {
		i = put(b, fires(fmt.Sprintf("%03d", n), uint64(n+1), alert.SeverityTicket, 0), 0, people)
	}
	v := i.Of([]string{"people"}, incident.Heard{}, func(*incident.Member) bool { return false })
	if len(v.Listed()) != ledger.GroupAlerts || len(v.Firing) != 300 {
		t.Errorf("%d of %d listed", len(v.Listed()), len(v.Firing))
	}
	if v := i.Of([]string{"people"}, incident.Heard{}, func(*incident.Member) bool { return true }); len(v.Held) != 300 {
		t.Errorf("%d held", len(v.Held))
	}
}
