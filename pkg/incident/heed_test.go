package incident_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/incident"
)

// What begins in a window with data of the span is muted by a maintenance, and made a
// ticket by an expected change; the rule keeps its annotations.
func TestHeed(t *testing.T) {
	labels := map[string]string{"model": "fraud", "severity": "page"}
	for name, c := range map[string]struct {
		silence incident.Silence
		from    time.Duration // the window's start after noon; it is of an hour
		want    alert.Change
	}{
		"maintenance":      {silence(incident.KindMaintenance), -time.Hour + 1, alert.Change{Severity: "page", Reason: "psi 1 > 0.1", Muted: "01"}},
		"expected":         {silence(incident.KindExpected), 0, alert.Change{Severity: "ticket", Reason: "psi 1 > 0.1; sent as ticket, not page: a new shop", Annotations: map[string]string{"expected": "a new shop", "summary": "it moved"}}},
		"before":           {silence(incident.KindMaintenance), -time.Hour, alert.Change{Severity: "page", Reason: "psi 1 > 0.1"}},
		"behind":           {silence(incident.KindExpected), 2 * time.Hour, alert.Change{Severity: "page", Reason: "psi 1 > 0.1"}},
		"of another model": {silence(incident.KindMaintenance, "model=churn"), 0, alert.Change{Severity: "page", Reason: "psi 1 > 0.1"}},
		"by wall time":     {silence(incident.KindSilence), 0, alert.Change{Severity: "page", Reason: "psi 1 > 0.1"}},
	} {
		annotations := map[string]string{"summary": "it moved"}
		ch := alert.Change{Severity: "page", Reason: "psi 1 > 0.1", Annotations: annotations}
		ch.Window.Start = noon.Add(c.from)
		ch.Window.End = ch.Window.Start.Add(time.Hour)
		set(t, c.silence).Heed(&ch, labels)
		if c.want.Annotations == nil {
			c.want.Annotations = annotations
		}
		if ch.Muted != c.want.Muted || ch.Severity != c.want.Severity || ch.Reason != c.want.Reason || !maps.Equal(ch.Annotations, c.want.Annotations) || len(annotations) != 1 {
			t.Errorf("%s: got %q, %s, %s, %v", name, ch.Muted, ch.Severity, ch.Reason, ch.Annotations)
		}
	}
	if severity, reason, annotations := incident.Expect("a new shop", alert.SeverityInfo, "why", nil); severity != "info" || reason != "why" || annotations["expected"] != "a new shop" {
		t.Errorf("of less than a ticket: %s, %s, %v", severity, reason, annotations)
	}
}

// Only what fires since a maintenance of which a window holds no data any more is over.
func TestUnmuted(t *testing.T) {
	series := func(feature string) alert.Series {
		return alert.Series{Rule: "Drift", Key: drift.Key{Group: drift.Group{Model: "fraud"}, Signal: feature}}
	}
	states := map[alert.Series]alert.State{
		series("d"): {Phase: alert.Recovering, Muted: "01"},
		series("a"): {Phase: alert.Firing, Muted: "01"},
		series("b"): {Phase: alert.Firing},
		series("c"): {Phase: alert.Resolved, Muted: "01"},
		series("e"): {Phase: alert.Firing, Muted: "forgotten"},
	}
	all := set(t, silence(incident.KindMaintenance))
	if got, want := all.Unmuted(states, noon.Add(2*time.Hour), noon.Add(3*time.Hour)), []alert.Series{series("a"), series("d"), series("e")}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := all.Unmuted(states, noon.Add(2*time.Hour-1), noon.Add(3*time.Hour)), []alert.Series{series("e")}; !slices.Equal(got, want) {
		t.Errorf("while it lasts: got %v, want %v", got, want)
	}
	if got, want := incident.AfterMaintenance("01"), "maintenance 01 is over; what still fires starts anew"; got != want {
		t.Errorf("got %q", got)
	}
}
