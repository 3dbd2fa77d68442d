package ruletest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/sim"
)

// A Result is what a test found.
type Result struct {
	Name   string
	Checks []Check
}

// Failed returns how many checks do not hold.
func (r Result) Failed() (n int) {
	for _, c := range r.Checks {
		if !c.OK() {
			n++
		}
	}
	return n
}

// A Check is one expectation beside what came of it.
type Check struct {
	What     string   // "alerts of AmountDrift at 3h"
	Line     int      // of the file
	Diff     []string // "- " what was wanted and is not so, "+ " what is; empty if it holds
	Timeline []string // how those series stood around that time; empty if it holds
}

// OK reports whether the check holds.
func (c Check) OK() bool { return len(c.Diff) == 0 }

// Run plays a test. The error says why it cannot be played.
func (w *World) Run(t Test) (Result, error) {
	t.complete()
	s, err := w.tell(&t)
	if err != nil {
		return Result{}, fmt.Errorf("test %q: %w", t.Name, err)
	}
	out := Result{Name: t.Name}
	for i := range t.Alerts {
		out.Checks = append(out.Checks, s.alerts(&t.Alerts[i]))
	}
	for i := range t.Messages {
		out.Checks = append(out.Checks, s.heard(&t.Messages[i]))
	}
	for i := range t.Actions {
		out.Checks = append(out.Checks, s.action(&t.Actions[i]))
	}
	return out, nil
}

// complete fills in what a test leaves open.
func (t *Test) complete() {
	if t.Start.IsZero() {
		t.Start = sim.Epoch
	}
	t.Start = Align(t.Start, t.Window)
	if t.N == 0 {
		t.N = DefaultN
	}
	t.Traffic, t.Faults = slices.Clone(t.Traffic), slices.Clone(t.Faults)
	for i := range t.Traffic {
		if t.Traffic[i].Rows == 0 {
			t.Traffic[i].Rows = DefaultRows
		}
	}
	for i := range t.Faults {
		if t.Faults[i].Share == 0 {
			t.Faults[i].Share = 1
		}
	}
}

// Align returns the start of the window of a length that a time is in: windows begin
// at multiples of their length since the Unix epoch.
func Align(t time.Time, window time.Duration) time.Time {
	return time.Unix(0, t.UnixNano()-t.UnixNano()%int64(window)).UTC()
}

// windows returns how many windows are played.
func (t *Test) windows() int { return int(t.until() / t.Window) }

// until returns when a test is over: with the window of the last thing that is given
// or looked at.
func (t *Test) until() time.Duration {
	last := t.Window
	for _, s := range t.Series {
		last = max(last, time.Duration(len(s.Values))*t.Window)
	}
	for _, a := range t.Alerts {
		last = max(last, a.At)
	}
	for _, m := range t.Messages {
		last = max(last, m.At)
	}
	for _, a := range t.Actions {
		last = max(last, a.At)
	}
	for _, a := range t.Acks {
		last = max(last, a.At)
	}
	return (last + t.Window - 1).Truncate(t.Window)
}

// end is the last time at which somebody may be told: a window after the last.
func (t *Test) end() time.Duration { return t.until() + t.Window }

// contains reports whether all labels has those that are wanted.
func contains(all, wanted map[string]string) bool {
	for name, value := range wanted {
		if all[name] != value {
			return false
		}
	}
	return true
}

// labelText writes labels as Prometheus does.
func labelText(labels map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name != "alertname" {
			parts = append(parts, fmt.Sprintf("%s=%q", name, labels[name]))
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// alerts compares how the alerts of a name stand with what is wanted.
func (s *story) alerts(a *Alerts) Check {
	c := Check{What: fmt.Sprintf("alerts of %s at %s", a.Name, ledger.DurationText(a.At)), Line: a.Line}
	var shown []alert.Series
	taken := map[alert.Series]bool{}
	for i := range a.Wants {
		w := &a.Wants[i]
		series, m, found := s.candidate(a, w, taken)
		if found {
			taken[series] = true
		}
		if !found && w.Phase == alert.Inactive || found && satisfies(m, w) {
			continue
		}
		c.Diff = append(c.Diff, "- "+w.text())
		if found {
			c.Diff = append(c.Diff, "+ "+m.text(w))
			shown = append(shown, series)
		}
	}
	for _, series := range s.series(a.Name) {
		if m, ok := s.at(series, a.At); ok && m.state.Active() && !taken[series] {
			c.Diff = append(c.Diff, "+ "+m.text(&Want{}))
			shown = append(shown, series)
		}
	}
	if !c.OK() {
		if len(shown) == 0 {
			shown = s.series(a.Name)
		}
		c.Timeline = s.timeline(shown, a.At)
	}
	return c
}

// candidate returns the series that a want is about: the one that satisfies it, or
// else the first with its labels, firing ones before others.
func (s *story) candidate(a *Alerts, w *Want, taken map[alert.Series]bool) (best alert.Series, at moment, found bool) {
	weight := func(series alert.Series, m moment) int {
		switch {
		case satisfies(m, w):
			return 3
		case m.state.Active():
			return 2
		case m.state.Phase == alert.Pending:
			return 1
		}
		return 0
	}
	for _, series := range s.series(a.Name) {
		m, ok := s.at(series, a.At)
		if !ok || taken[series] || !contains(m.labels, w.Labels) || found && weight(series, m) <= weight(best, at) {
			continue
		}
		best, at, found = series, m, true
	}
	return best, at, found
}

// satisfies reports whether a series stands as is wanted.
func satisfies(m moment, w *Want) bool {
	flag := w.Flag == "" || w.Flag == NoFlag && m.state.Flag == "" || w.Flag == string(m.state.Flag)
	muted := w.Muted == nil || *w.Muted == m.muted()
	return m.state.Phase == w.Phase && flag && muted && strings.Contains(m.reason, w.Reason) && contains(m.annotations, w.Annotations)
}

func (w *Want) text() string {
	out := w.Phase.String() + " " + labelText(w.Labels)
	if w.Muted != nil {
		out += mutedText(*w.Muted)
	}
	if w.Flag != "" {
		out += " flag " + w.Flag
	}
	if w.Reason != "" {
		out += fmt.Sprintf(": %q", w.Reason)
	}
	if len(w.Annotations) > 0 {
		out += " annotations " + labelText(w.Annotations)
	}
	return out
}

// text says how a series stands, its annotations only if they are asked for.
func (m moment) text(w *Want) string {
	out := m.state.Phase.String() + " " + labelText(m.labels)
	if m.muted() || w.Muted != nil {
		out += mutedText(m.muted())
	}
	if flag := m.state.Flag; flag != "" {
		out += " flag " + string(flag)
	} else if w.Flag != "" {
		out += " flag " + NoFlag
	}
	if m.reason != "" {
		out += ": " + m.reason
	}
	if len(w.Annotations) > 0 {
		out += " annotations " + labelText(m.annotations)
	}
	return out
}

func mutedText(muted bool) string {
	if muted {
		return " muted"
	}
	return " not muted"
}

// heard compares what a receiver was told with what it should have been, in order.
func (s *story) heard(want *Messages) Check {
	at := want.At
	c := Check{What: fmt.Sprintf("messages to %s until %s", want.Receiver, ledger.DurationText(at)), Line: want.Line}
	if at == 0 {
		at = s.test.end()
		c.What = fmt.Sprintf("messages to %s in all", want.Receiver)
	}
	var got []Message
	for _, m := range s.outbox.sent {
		if m.receiver == want.Receiver && m.At <= at {
			got = append(got, m.Message)
		}
	}
	for i := range max(len(got), len(want.Wants)) {
		if i < len(got) && i < len(want.Wants) && want.Wants[i].wants(got[i]) {
			continue
		}
		if i < len(want.Wants) {
			c.Diff = append(c.Diff, "- "+want.Wants[i].text())
		}
		if i < len(got) {
			c.Diff = append(c.Diff, "+ "+got[i].text())
		}
	}
	return c
}

// wants reports whether a message is as is wanted: every alert that is wanted is one
// that it lists.
func (m *Message) wants(got Message) bool {
	left := slices.Clone(got.Alerts)
	for _, labels := range m.Alerts {
		i := slices.IndexFunc(left, func(all map[string]string) bool { return contains(all, labels) })
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return contains(got.Labels, m.Labels) && m.Status == got.Status && (m.Severity == "" || m.Severity == got.Severity) && (m.At == 0 || m.At == got.At) &&
		(m.Firing == 0 || m.Firing == got.Firing) && (m.Ended == 0 || m.Ended == got.Ended) && (m.Acknowledged == "" || m.Acknowledged == got.Acknowledged)
}

// text says what was told: of an incident its alerts too.
func (m *Message) text() string {
	var about []string
	for _, labels := range slices.Concat([]map[string]string{m.Labels}, m.Alerts) {
		about = append(about, strings.TrimSpace(labels["alertname"]+" "+labelText(labels)))
	}
	if len(about) == 2 && about[0] == about[1] {
		about = about[:1]
	}
	out := strings.Join(strings.Fields(m.Status+" "+m.Severity), " ") + " " + about[0]
	if m.At != 0 {
		out += " at " + ledger.DurationText(m.At)
	}
	if m.Firing+m.Ended > 0 {
		out += fmt.Sprintf(", %d firing, %d ended", m.Firing, m.Ended)
	}
	if m.Acknowledged != "" {
		out += ", acknowledged by " + m.Acknowledged
	}
	if len(about) > 1 {
		out += ": " + strings.Join(about[1:], ", ")
	}
	return out
}

// action compares what was decided with what should have been.
func (s *story) action(want *Action) Check {
	c := Check{What: fmt.Sprintf("%s of %s at %s", want.Kind, want.Model, ledger.DurationText(want.At)), Line: want.Line}
	outcome, reason := Absent, ""
	for _, d := range s.decisions {
		if d.at != want.At || d.model != want.Model || (d.Retrain != nil) != (want.Kind == alert.ActionRetrain) {
			continue
		}
		if reason = d.Suppressed(); reason != "" {
			outcome = Suppressed
			continue
		}
		outcome, reason = Issued, d.reason()
		break
	}
	if outcome != want.Want || !strings.Contains(reason, want.Reason) {
		c.Diff = []string{"- " + actionText(want.Want, want.Reason), "+ " + actionText(outcome, reason)}
	}
	return c
}

func actionText(outcome, reason string) string {
	if reason == "" {
		return outcome
	}
	return outcome + ": " + reason
}

func (d *decision) reason() string {
	if d.Retrain != nil {
		return d.Retrain.Reason
	}
	return d.Rollback.Reason
}
