package detect

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

const (
	calmZ       = 1.5 // a detector within it is quiet
	calmWindows = 3   // in a row that let an incident end
	maxFindings = 50
	apart       = 12   // windows from a page to the change that is worth another one, at least
	connected   = 0.05 // false discovery rate of what is listed beside alarms
)

// Settle decides what the alarms of a window are worth. reports are parallel to
// o.Spans: the comparison with p, the whole of the baseline, of the sum of the
// panes from there to o.End; nil where there are none any more. It must be called
// for every Outcome, and its Row stored.
func (s *State) Settle(c *Config, o *Outcome, p *drift.Part, reports []*drift.Report) Decision {
	if o.Skip != "" {
		return Decision{}
	}
	e := s.eValues()
	findings := s.findings(c, o, p, reports, e)
	risen := s.raise(findings)
	var d Decision
	if len(risen) > 0 {
		if report := reports[risen[0].span]; report != nil {
			risen = append(risen, s.connections(c, p, report, findings, e)...)
		}
		d.Changes = append(d.Changes, s.tell(c, o, risen)...)
	} else if s.incident != nil && s.incident.Untold > 0 && o.End.Sub(s.incident.Told) >= c.Interval {
		d.Changes = append(d.Changes, s.note(o, Extended, nil))
	}
	s.restart()
	s.calm(o)
	if change, over := s.resolve(o); over {
		d.Changes = append(d.Changes, change)
	}
	s.keep(c, o, &d)
	return d
}

// eValues returns what every detector's evidence is worth at this moment.
func (s *State) eValues() []float64 {
	e := make([]float64, len(s.live))
	for j := range s.live {
		e[j] = s.live[j].eValue()
	}
	return e
}

// findings measures the effect of every alarm, the heaviest first.
func (s *State) findings(c *Config, o *Outcome, p *drift.Part, reports []*drift.Report, e []float64) []Finding {
	var out []Finding
	for _, a := range o.Alarms {
		f := Finding{Alarm: a, Level: Record, EValue: e[a.index]}
		if r := reports[a.span]; r != nil {
			f.Effect = s.withoutSeason(c, effectOf(p, r, a.Detector), a.index, a.Since, o.End)
			f.Level = c.Gates.level(f.Effect, a.Component)
			if a.Gross {
				f.Level = Page
			}
			if f.Level == Page {
				f.Lowered = s.lowered(c, o, p, r, &a)
			}
		}
		f.Reason = f.reason()
		if f.Lowered != "" {
			f.Level = Ticket
			f.Reason += "; no page: " + f.Lowered
		}
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return cmp.Compare(b.Level, a.Level) })
	return out
}

// lowered says why what would be a page is a ticket, "" if it is not.
func (s *State) lowered(c *Config, o *Outcome, p *drift.Part, r *drift.Report, a *Alarm) string {
	switch {
	case !r.Approved:
		return "nobody has approved the baseline"
	case s.wandered(c, o, p, r, a):
		return "in quiet times it has been nearly as far off for as long"
	}
	return ""
}

// raise sets the level of every detector with a finding, and returns the
// findings that are heavier than what was known of their signal before. The
// evidence of a page is spent.
func (s *State) raise(findings []Finding) []Finding {
	var risen []Finding
	for _, f := range findings {
		l := &s.live[f.index]
		if f.Level <= l.level {
			continue
		}
		told, known := s.told(f)
		l.level, l.known, l.calm = f.Level, known, 0
		if f.Level == Page {
			l.evidence, l.over = evidence{}, 0
		}
		if !told {
			risen = append(risen, f)
		}
	}
	return risen
}

// told reports whether people know of another detector that sees the same: a
// shift is seen by location and by spread, a new category by the mix as well.
func (s *State) told(f Finding) (told, known bool) {
	for j := f.index - int(components); j <= f.index+int(components); j++ {
		if j < 0 || j >= len(s.live) || j == f.index {
			continue
		}
		if d, l := s.fit.Detectors[j], &s.live[j]; d.Signal == f.Signal && d.Component.values() == f.Component.values() && l.level >= f.Level {
			return true, l.known
		}
	}
	return false, false
}

// sees reports whether two findings are about the same of one signal.
func (f Finding) sees(g Finding) bool {
	return f.Signal == g.Signal && f.Component.values() == g.Component.values()
}

// connections lists the detectors that moved too, though they are no alarms: by
// e-BH over the evidence of all (Wang & Ramdas 2022), an incident's false
// discoveries are a twentieth. An effect of ticket size is asked for as well.
func (s *State) connections(c *Config, p *drift.Part, r *drift.Report, findings []Finding, e []float64) []Finding {
	var out []Finding
	for j, level := range stats.EBH(e) {
		found := slices.ContainsFunc(findings, func(f Finding) bool { return f.index == j })
		if level > connected || found || s.live[j].held() {
			continue
		}
		d := s.fit.Detectors[j]
		f := Finding{
			Alarm:     Alarm{Detector: d, Since: r.Window.Start, LogR: max(0, s.live[j].logR()), index: j},
			Connected: true, Level: Record, EValue: e[j],
			Effect: s.withoutSeason(c, effectOf(p, r, d), j, r.Window.Start, r.Window.End),
		}
		if told, _ := s.told(f); told || c.Gates.level(f.Effect, d.Component) < Ticket {
			continue
		}
		f.Reason = f.reason()
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return cmp.Compare(b.LogR, a.LogR) })
	var first []Finding
	for _, f := range out {
		if !slices.ContainsFunc(first, f.sees) {
			first = append(first, f)
		}
	}
	return first
}

// tell puts risen findings into the incident and says what has changed.
func (s *State) tell(c *Config, o *Outcome, risen []Finding) []Change {
	level := risen[0].Level // the heaviest
	if level < Ticket {
		return []Change{{Kind: Noted, At: o.End, New: risen, Reason: risen[0].Reason}}
	}
	kind := Extended
	switch {
	case s.incident == nil:
		kind = Opened
		s.incident = &Incident{Opened: o.End, Since: risen[0].Since}
	case level > s.incident.Level:
		kind = Raised
	case s.incident.another(c, risen):
		return s.supersede(o, risen)
	}
	s.incident.add(risen)
	s.incident.Level = max(s.incident.Level, level)
	if kind == Extended && (s.incident.Untold == 0 || o.End.Sub(s.incident.Told) < c.Interval) {
		return nil
	}
	return []Change{s.note(o, kind, risen)}
}

// note makes the change; an extension tells what has come since the last note.
func (s *State) note(o *Outcome, kind ChangeKind, findings []Finding) Change {
	if kind == Extended {
		all := s.incident.Findings
		findings = all[len(all)-min(len(all), s.incident.Untold):]
	}
	s.incident.Told, s.incident.Untold = o.End, 0
	if kind != Extended && s.incident.Level == Page {
		s.incident.Paged = o.End
	}
	return Change{Kind: kind, At: o.End, Incident: s.incident.clone(), New: slices.Clone(findings), Reason: foremostReason(findings)}
}

// foremostReason is the first reason, and how many there are beside it.
func foremostReason(findings []Finding) string {
	reason := findings[0].Reason
	if n := len(findings) - 1; n > 0 {
		reason += fmt.Sprintf("; and %d more", n)
	}
	return reason
}

// supersede ends the incident in favour of one that begins with risen findings,
// and takes over what still holds of it. The new one comes first, so that who is
// told of both never believes that all is well.
func (s *State) supersede(o *Outcome, risen []Finding) []Change {
	old := s.incident
	s.incident = &Incident{Level: Page, Opened: o.End, Since: risen[0].Since}
	s.incident.add(risen)
	listed := len(s.incident.Findings)
	for _, f := range old.Findings {
		if s.holds(f.Detector) && !slices.ContainsFunc(risen, func(g Finding) bool { return g.Detector == f.Detector }) {
			s.incident.append(f)
		}
	}
	opened := s.note(o, Opened, s.incident.Findings)
	opened.Reason = foremostReason(risen)
	if n := len(s.incident.Findings) - listed; n > 0 {
		opened.Reason += fmt.Sprintf("; beside %d of the incident of %s", n, old.Opened.Format(time.RFC3339))
	}
	return []Change{opened, {Kind: Superseded, At: o.End, Incident: old.clone(), Reason: "superseded by a new incident: " + foremostReason(risen)}}
}

// holds reports whether a detector still holds an incident open.
func (s *State) holds(d Detector) bool {
	j, found := slices.BinarySearchFunc(s.fit.Detectors, d, Detector.Compare)
	return found && s.live[j].held() && !s.live[j].known
}

// add appends findings; one of a detector that is listed already replaces it.
func (i *Incident) add(risen []Finding) {
	for _, f := range risen {
		i.Since = earlier(i.Since, f.Since)
		if at := slices.IndexFunc(i.Findings, func(g Finding) bool { return g.Detector == f.Detector }); at >= 0 {
			if at >= len(i.Findings)-i.Untold {
				i.Untold--
			}
			i.Findings = slices.Delete(i.Findings, at, at+1)
		}
		i.append(f)
	}
}

// append lists a finding that nobody was told of, as far as there is room.
func (i *Incident) append(f Finding) {
	if len(i.Findings) == maxFindings {
		i.More++
		return
	}
	i.Findings = append(i.Findings, f)
	i.Untold++
}

// another reports whether one of the findings is worth a page of its own: its
// change began so long after the last page that nobody who was paged then could
// know of it.
func (i *Incident) another(c *Config, risen []Finding) bool {
	return slices.ContainsFunc(risen, func(f Finding) bool {
		since := f.Since.Sub(i.Paged)
		return f.Level == Page && since > c.Interval && since >= apart*c.Window
	})
}

func (i *Incident) clone() Incident {
	out := *i
	out.Findings = slices.Clone(i.Findings)
	return out
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// restart begins the evidence anew of alarms whose effect has been looked at long
// enough. That is always allowed: it makes alarms rarer.
func (s *State) restart() {
	for j := range s.live {
		if l := &s.live[j]; l.over >= looks {
			l.evidence, l.over = evidence{}, 0
		}
	}
}

// calm counts the quiet windows of detectors that people know of, and releases
// those that had enough. Each goes by itself: of a hundred detectors that are
// quiet again, one is beyond 1.5 by chance in nearly every window.
func (s *State) calm(o *Outcome) {
	for j := range s.live {
		l := &s.live[j]
		if !l.held() || math.IsNaN(o.z[j]) {
			continue
		}
		quiet := l.run == 0 && math.Abs(o.z[j]) < calmZ
		if !quiet {
			l.calm = 0
		} else if l.calm++; l.calm == calmWindows {
			l.release()
		}
	}
}

// resolve ends an incident that no detector holds open.
func (s *State) resolve(o *Outcome) (Change, bool) {
	for j := range s.live {
		if l := &s.live[j]; l.held() && !l.known {
			return Change{}, false
		}
	}
	return s.Close(o.End, fmt.Sprintf("every detector was quiet for %d windows", calmWindows))
}

// keep makes the row that the window adds to the list, and ends the reference
// period when it is long enough.
func (s *State) keep(c *Config, o *Outcome, d *Decision) {
	if s.fit.Frozen {
		d.Slot, d.Row = int(s.rows%MaxRows), slices.Clone(o.residual)
		for j := range d.Row {
			if l := &s.live[j]; l.held() || l.run > 0 {
				d.Row[j] = unmeasured.value
			}
		}
		s.rows++
		return
	}
	s.learnGross(o)
	d.Slot, d.Row = int(s.rows), rawRow(o.middle(), o.measures)
	s.rows++
	if int(s.rows) >= c.reference(len(s.live)) {
		all := Rows{Width: len(d.Row), Data: slices.Concat(o.rows.Data, d.Row)}
		d.Row, d.Rows = nil, s.freeze(c, &all)
	}
}

// learnGross remembers how far off a window of the reference period was.
func (s *State) learnGross(o *Outcome) {
	for j, m := range o.measures {
		s.live[j].gross = max(s.live[j].gross, float32(finite(float64(m.gross))))
	}
}
