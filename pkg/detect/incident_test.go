package detect_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/detect"
)

// found lists the detectors of findings.
func found(findings []detect.Finding) (out []string) {
	for _, f := range findings {
		out = append(out, f.Detector.String())
	}
	return out
}

func TestOneIncidentAModel(t *testing.T) {
	m := ready(t, 1)
	m.quiet(24)
	began := m.at
	m.traffic.amount = .6
	opened, windows := m.until(detect.Opened, 8)
	if windows < 2 || windows > 6 {
		t.Errorf("a shift of .6 sd was paged after %d windows, want 2 to 6", windows)
	}
	first := opened.New[0]
	if !opened.Page() || opened.Incident.Level != detect.Page || first.Detector.String() != "amount location" {
		t.Errorf("opened %s by %v, want a page by amount location", opened.Incident.Level, found(opened.New))
	}
	if d := first.Since.Sub(began); d < -time.Hour || d > time.Hour {
		t.Errorf("the change began at %v, want %v", first.Since, began)
	}
	// a normal's KS distance of .6 sd is .236, and its PSI about .36
	if e := first.Effect; e.Distance < .2 || e.Distance > .27 || e.PSI < .25 || e.Sign != 1 || e.N != uint64(windows*m.events) {
		t.Errorf("effect %+v of a shift of .6 sd", e)
	}
	if !strings.HasPrefix(opened.Reason, "amount moved up by a distance of 0.2") {
		t.Errorf("reason %q", opened.Reason)
	}
	m.quiet(8) // the page is told once

	m.traffic.news = .2
	extended, _ := m.until(detect.Extended, 8)
	if got := found(extended.New); len(got) != 1 || !strings.HasPrefix(got[0], "country ") {
		t.Errorf("extended by %v, want country and nothing that was known", got)
	}
	if extended.Page() || len(extended.Incident.Findings) < 2 {
		t.Errorf("an extension is no page, and the incident has both: %+v", extended)
	}
	m.traffic.amount, m.traffic.news = 0, 0
	resolved, windows := m.until(detect.Resolved, 30)
	if resolved.Incident.Opened != opened.At || resolved.Reason == "" || windows < 3 {
		t.Errorf("resolved after %d windows: %+v", windows, resolved)
	}
	if m.state.Status(&m.config).Incident != nil {
		t.Error("the incident is still there")
	}
	m.quiet(48)
	m.traffic.amount = .6 // the list has not learned the shift: it was quarantined
	if _, windows = m.until(detect.Opened, 8); windows > 6 {
		t.Errorf("the same shift again was paged after %d windows", windows)
	}
}

// Extensions come at most once in Config.Interval, with all that came meanwhile.
func TestExtensionsWait(t *testing.T) {
	m := ready(t, 2)
	m.config.Interval = 20 * time.Hour
	m.traffic.amount = .6
	opened, _ := m.until(detect.Opened, 8)
	m.traffic.news = .2
	m.traffic.failed = .2
	extended, _ := m.until(detect.Extended, 30)
	if waited := extended.At.Sub(opened.At); waited != m.config.Interval {
		t.Errorf("extended after %v, want %v", waited, m.config.Interval)
	}
	got := found(extended.New)
	if len(got) != 2 || !strings.HasPrefix(got[0], "country ") || !strings.HasPrefix(got[1], "error ") {
		t.Errorf("extended by %v, want both", got)
	}
	if extended.Incident.Untold != 0 {
		t.Errorf("%d findings are untold after all were", extended.Incident.Untold)
	}
}

func TestUnapprovedBaselineIsATicket(t *testing.T) {
	m := ready(t, 3)
	m.approved = false
	m.traffic.amount = .6
	opened, _ := m.until(detect.Opened, 8)
	if opened.Page() || opened.Incident.Level != detect.Ticket || opened.New[0].Lowered == "" {
		t.Errorf("opened %+v, want a lowered ticket", opened)
	}
	m.approved = true
	raised, windows := m.until(detect.Raised, 12)
	if !raised.Page() || raised.Incident.Level != detect.Page || raised.Incident.Opened != opened.At {
		t.Errorf("raised after %d windows: %+v, want the same incident as a page", windows, raised)
	}
}

// A shift of .15 sd has a distance of .06 and a PSI of .02: a ticket.
func TestSmallDriftIsATicket(t *testing.T) {
	m := ready(t, 4)
	m.events = 1500
	m.traffic.amount = .15
	opened, _ := m.until(detect.Opened, 30)
	if opened.Page() || opened.Incident.Level != detect.Ticket {
		t.Errorf("opened %s: %s", opened.Incident.Level, opened.Reason)
	}
	m.quiet(12)
	m.traffic.amount = .6
	if raised, _ := m.until(detect.Raised, 30); !raised.Page() {
		t.Errorf("raised %+v", raised)
	}
}

// A shift of .04 sd is certain at a million events, and matters to nobody.
func TestTinyDriftIsNoted(t *testing.T) {
	m := ready(t, 5)
	m.events = 12_000
	m.traffic.amount = .06
	noted, _ := m.until(detect.Noted, 40)
	if noted.Incident.Level != detect.None || noted.New[0].Level != detect.Record || noted.Page() {
		t.Errorf("noted %+v", noted)
	}
	if m.state.Status(&m.config).Incident != nil {
		t.Error("a note is no incident")
	}
}

func TestAcknowledge(t *testing.T) {
	m := ready(t, 6)
	if _, ok := m.state.Acknowledge(m.at); ok {
		t.Error("acknowledged nothing")
	}
	m.traffic.amount = .6
	m.until(detect.Opened, 8)
	closed, ok := m.state.Acknowledge(m.at)
	if !ok || closed.Kind != detect.Resolved || closed.Reason != "acknowledged" {
		t.Errorf("acknowledged %v: %+v", ok, closed)
	}
	m.quiet(40)         // it is known
	m.traffic.news = .2 // and this is new
	m.until(detect.Opened, 8)
	m.traffic.news = 0
	m.until(detect.Resolved, 30) // though amount is off still
	m.traffic.amount = 0
	m.quiet(12)
	m.traffic.amount = .6
	if again, _ := m.until(detect.Opened, 8); !again.Page() {
		t.Errorf("the same again is %+v, want a page", again)
	}
}

func TestClose(t *testing.T) {
	m := ready(t, 7)
	m.traffic.amount = .6
	m.until(detect.Opened, 8)
	closed, ok := m.state.Close(m.at, "a new baseline")
	if !ok || closed.Reason != "a new baseline" || closed.At != m.at {
		t.Errorf("closed %v: %+v", ok, closed)
	}
	if _, ok := m.state.Close(m.at, "again"); ok {
		t.Error("closed twice")
	}
}

// Two windows that are grossly off page at once, one does not.
func TestGross(t *testing.T) {
	tests := map[string]struct {
		spoil func(*traffic)
		want  string
	}{
		"location":   {func(tr *traffic) { tr.amount = 1.5 }, "amount location"},
		"new value":  {func(tr *traffic) { tr.broken = .5 }, "constant location"},
		"categories": {func(tr *traffic) { tr.news = .6 }, "country unseen"},
		"missing":    {func(tr *traffic) { tr.absent = .4 }, "amount missing"},
		"gone":       {func(tr *traffic) { tr.nothing = true }, "amount missing"},
		"not finite": {func(tr *traffic) { tr.nan = .4 }, "amount non_finite"},
		"failed":     {func(tr *traffic) { tr.failed = .4 }, "error failed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := ready(t, 8)
			well := *m.traffic
			test.spoil(m.traffic)
			if changes := m.next(); len(changes) > 0 {
				t.Errorf("one window: %+v", changes)
			}
			*m.traffic = well
			if changes := m.next(); len(changes) > 0 {
				t.Errorf("after one window: %+v", changes)
			}
			test.spoil(m.traffic)
			opened, windows := m.until(detect.Opened, 2)
			if windows != 2 || !opened.Page() || !slices.Contains(found(opened.New), test.want) || !opened.New[0].Gross {
				t.Errorf("after %d windows opened %s by %v, want a page in 2 by %s", windows, opened.Incident.Level, found(opened.New), test.want)
			}
			*m.traffic = well
			m.until(detect.Resolved, 30)
		})
	}
}

// What stays grossly off against a baseline that nobody has approved is a ticket, and
// a page in the first window after somebody has.
func TestGrossUntilApproved(t *testing.T) {
	m := ready(t, 8)
	m.approved, m.traffic.amount = false, 1.5
	opened, windows := m.until(detect.Opened, 2)
	if windows != 2 || opened.Page() || opened.New[0].Level != detect.Ticket || opened.New[0].Lowered == "" {
		t.Errorf("after %d windows opened %+v, want a ticket in 2", windows, opened.New)
	}
	m.quietOr(detect.Extended, 3)
	m.approved = true
	raised, windows := m.until(detect.Raised, 1)
	if windows != 1 || !raised.Page() || !slices.Contains(found(raised.New), "amount location") || !raised.New[0].Gross {
		t.Errorf("after %d windows raised by %+v, want the same as a page", windows, raised.New)
	}
}

// What is seen before the reference period is over is normal, whatever it is.
func TestTheReferencePeriodIsSilent(t *testing.T) {
	m := newModel(t, 9)
	m.quiet(30)
	m.traffic.amount, m.traffic.absent = 3, .9
	m.quiet(20)
	if m.outcome.Skip != "" || m.outcome.Alarms != nil {
		t.Errorf("outcome %+v", m.outcome)
	}
}

// A change that is certain and does not matter is noted once, and does not hide
// when a great one begins.
func TestSmallChangeHidesNoGreatOne(t *testing.T) {
	m := ready(t, 10)
	m.events = 10_000
	m.traffic.amount = .05 // a distance of .02
	m.until(detect.Noted, 40)
	notes := 0
	for range 60 {
		for _, c := range m.next() {
			if c.Kind != detect.Noted {
				t.Errorf("%s: %s", c.Kind, c.Reason)
			}
			if len(c.New) > 0 && c.New[0].Signal == "amount" {
				notes++
			}
		}
	}
	if notes > 1 {
		t.Errorf("the same small change was noted %d times more", notes)
	}
	began := m.at
	m.traffic.amount = .4
	opened, windows := m.until(detect.Opened, 20)
	if since := opened.New[0].Since; !opened.Page() || windows > 8 || began.Sub(since) > 24*time.Hour {
		t.Errorf("after %d windows opened %s, since %v, want a page in 8 and since %v", windows, opened.Incident.Level, since, began)
	}
}

// A change that began long after the page is another incident, and another page,
// though the first has not ended: who was paged then knows nothing of it. The new
// one takes over what still holds of the old, and that ends.
func TestALaterChangeIsAnotherIncident(t *testing.T) {
	m := ready(t, 11)
	m.traffic.amount, m.traffic.failed = .6, .1
	first, _ := m.until(detect.Opened, 8)
	m.quietOr(detect.Extended, 4)
	m.traffic.failed = 0
	m.quietOr(detect.Extended, 26)
	m.restart() // what is known of the old one must survive
	m.traffic.merged = true
	var opened, superseded detect.Change
	for i := 0; superseded.Kind == ""; i++ {
		if i == 8 {
			t.Fatal("the second change did not supersede the first in 8 windows")
		}
		for _, c := range m.next() {
			switch c.Kind {
			case detect.Opened:
				opened = c
			case detect.Superseded:
				superseded = c
			case detect.Raised, detect.Extended, detect.Resolved, detect.Noted:
				t.Errorf("%s: %s", c.Kind, c.Reason)
			}
		}
	}
	if !opened.Page() || opened.Incident.Opened != opened.At || opened.New[0].Signal != "country" {
		t.Errorf("opened %+v, want a page about country first", opened)
	}
	if got := found(opened.New); !slices.Contains(got, "amount location") || slices.Contains(got, "error failed") {
		t.Errorf("the new incident lists %v, want what still holds of the old one as well, and not what has ended", got)
	}
	if !strings.Contains(opened.Reason, "beside 1 of the incident of "+first.At.Format(time.RFC3339)) {
		t.Errorf("reason %q", opened.Reason)
	}
	if !superseded.Ends() || superseded.Page() || superseded.Incident.Opened != first.At || !strings.Contains(superseded.Reason, "country changed its mix") {
		t.Errorf("superseded %+v, want the end of the first incident", superseded)
	}
	m.traffic.amount = 0
	m.quietOr(detect.Extended, 8) // country holds the new one open
	m.traffic.merged = false
	if resolved, _ := m.until(detect.Resolved, 30); resolved.Incident.Opened != opened.At {
		t.Errorf("resolved %+v, want the second incident", resolved)
	}
}

func TestReasonsNameCategories(t *testing.T) {
	m := ready(t, 12)
	m.traffic.merged = true // US, a sixth of the events, is FR, a third
	opened, _ := m.until(detect.Opened, 8)
	moved := opened.New[0].Effect.Moved
	if len(moved) != 2 || moved[0].Category+moved[1].Category != "USFR" && moved[0].Category+moved[1].Category != "FRUS" {
		t.Fatalf("moved %+v, want US and FR", moved)
	}
	for _, part := range []string{"country changed its mix (", "US 16.", " % -> 0 %, gone", "FR 33."} {
		if !strings.Contains(opened.Reason, part) {
			t.Errorf("reason %q without %q", opened.Reason, part)
		}
	}
	for _, move := range moved {
		if us := move.Category == "US"; us != move.Gone || us != (move.To == 0) || move.New {
			t.Errorf("moved %+v", move)
		}
	}

	for name, want := range map[string]string{
		"NEW":                   " (NEW 2",
		"a, b\n":                ` ("a, b\n" 2`,
		strings.Repeat("é", 99): " (" + strings.Repeat("é", 20) + "… 2",
	} {
		m := ready(t, 13)
		m.traffic.news, m.traffic.newName = .25, name
		opened, _ := m.until(detect.Opened, 8)
		i := slices.IndexFunc(opened.New, func(f detect.Finding) bool { return f.Signal == "country" })
		if i < 0 || !strings.Contains(opened.New[i].Reason, want) || !strings.Contains(opened.New[i].Reason, " %, new") {
			t.Errorf("%q: opened by %v: %s", name, found(opened.New), opened.Reason)
			continue
		}
		if move := opened.New[i].Effect.Moved[0]; !strings.HasPrefix(name, move.Category) || !move.New || move.From != 0 || move.To < .2 || move.To > .3 {
			t.Errorf("%q: moved %+v", name, move)
		}
	}
}

// A level that has come and gone in the reference period wakes nobody when it comes
// again; one that is farther off does.
func TestWhatHasBeenBeforeIsATicket(t *testing.T) {
	m := newModel(t, 14)
	m.config.Reference = 2 * detect.MinReference
	m.events = 1000
	from := int(m.at.Unix()/3600) + 150
	m.traffic.level = func(hour int) float64 {
		if hour >= from && hour < from+12 {
			return .5
		}
		return 0
	}
	for range m.config.Reference {
		m.next()
	}
	m.quiet(12)
	m.traffic.amount = .4
	opened, _ := m.until(detect.Opened, 24)
	first := opened.New[0]
	if opened.Page() || first.Level != detect.Ticket || first.Lowered == "" || !strings.HasSuffix(first.Reason, "; no page: "+first.Lowered) {
		t.Errorf("opened %+v, want a ticket that says why", opened)
	}
	if first.Effect.Distance < m.config.Gates.Page.Distance {
		t.Errorf("an effect of %+v would be a ticket anyway", first.Effect)
	}
	m.traffic.amount = 1
	if raised, windows := m.until(detect.Raised, 12); !raised.Page() || raised.New[0].Lowered != "" {
		t.Errorf("raised after %d windows: %+v", windows, raised)
	}
}
