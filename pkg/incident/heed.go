package incident

import (
	"maps"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
)

// AnnotationExpected is the annotation with the comment of an expected change.
const AnnotationExpected = "expected"

// Heed applies maintenance and expected changes to an alert that begins, by its labels
// and the window in which it does. It sets Muted, Severity, Reason and Annotations.
func (s *Silences) Heed(ch *alert.Change, labels map[string]string) {
	if m, ok := s.During(KindMaintenance, labels, ch.Window.Start, ch.Window.End); ok {
		ch.Muted = m.ID
	}
	if e, ok := s.During(KindExpected, labels, ch.Window.Start, ch.Window.End); ok {
		ch.Severity, ch.Reason, ch.Annotations = Expect(e.Comment, ch.Severity, ch.Reason, ch.Annotations)
	}
}

// Expect returns severity, reason and annotations of something that was expected, for
// the reason in comment: it is a ticket at most. annotations stay as they are.
func Expect(comment, severity, reason string, annotations map[string]string) (string, string, map[string]string) {
	annotations = maps.Clone(annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[AnnotationExpected] = comment
	if severity == alert.SeverityPage {
		severity, reason = alert.SeverityTicket, reason+"; sent as ticket, not page: "+comment
	}
	return severity, reason, annotations
}

// Unmuted returns the series among states, in their order, that fire since a
// maintenance of which the window [start, end) of event time holds no data any more.
// They are to end before that window is judged: what still fires starts anew.
func (s *Silences) Unmuted(states map[alert.Series]alert.State, start, end time.Time) (over []alert.Series) {
	for series, state := range states {
		if state.Active() && state.Muted != "" && !s.Covers(state.Muted, start, end) {
			over = append(over, series)
		}
	}
	slices.SortFunc(over, alert.Series.Compare)
	return over
}

// AfterMaintenance words the end of what began in a maintenance.
func AfterMaintenance(id string) string {
	return "maintenance " + id + " is over; what still fires starts anew"
}
