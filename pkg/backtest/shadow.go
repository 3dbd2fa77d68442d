package backtest

import (
	"cmp"
	"slices"
	"time"
)

// A ShadowReport says what rules and models on trial would have told, beside what
// people were told in earnest.
type ShadowReport struct {
	From   time.Time     `json:"from"`
	To     time.Time     `json:"to"`
	Rules  []ShadowRule  `json:"rules"`  // by rule and model
	Days   []ShadowDay   `json:"days"`   // those on which something fired
	Shadow []ShadowAlert `json:"shadow"` // by series and time
	// Missed are the alerts in earnest, on a model that a rule in shadow watches,
	// during which nothing fired in shadow.
	Missed []Interval `json:"missed"`
}

// A ShadowRule counts what one rule would have told of one model.
type ShadowRule struct {
	Rule  string `json:"rule"`
	Model string `json:"model"`
	Tally
	Matched int `json:"matched"` // of them, alerts during which one in earnest fired on the model
}

// A ShadowDay counts what started to fire on one day.
type ShadowDay struct {
	Day    string `json:"day"` // 2026-01-05, UTC
	Shadow Tally  `json:"shadow"`
	Told   Tally  `json:"told"`
}

// A ShadowAlert is an alert that nobody was told of.
type ShadowAlert struct {
	Interval
	Overlaps []Interval `json:"overlaps"` // alerts in earnest on the same model at the same time
}

// Shadow compares the alerts in shadow with those in earnest, both of what
// started to fire in [from, to). watched reports whether a rule in shadow looks at a
// model.
func Shadow(shadow, told []Interval, from, to time.Time, watched func(model string) bool) *ShadowReport {
	out := &ShadowReport{From: from, To: to, Rules: []ShadowRule{}, Days: []ShadowDay{}, Shadow: []ShadowAlert{}, Missed: []Interval{}}
	inside := func(i Interval) bool { return !i.StartsAt.Before(from) && i.StartsAt.Before(to) }
	byTime := func(a, b Interval) int { return cmp.Or(a.series(b), a.StartsAt.Compare(b.StartsAt)) }
	for _, s := range slices.SortedFunc(slices.Values(shadow), byTime) {
		if !inside(s) {
			continue
		}
		a := ShadowAlert{Interval: s, Overlaps: []Interval{}}
		for _, t := range told {
			if t.Model == s.Model && t.Overlaps(s) {
				a.Overlaps = append(a.Overlaps, t)
			}
		}
		out.count(a)
		out.Shadow = append(out.Shadow, a)
	}
	for _, t := range slices.SortedFunc(slices.Values(told), byTime) {
		if !inside(t) {
			continue
		}
		out.day(t).Told.count(t.Severity)
		seen := slices.ContainsFunc(shadow, func(s Interval) bool { return s.Model == t.Model && s.Overlaps(t) })
		if !seen && watched(t.Model) {
			out.Missed = append(out.Missed, t)
		}
	}
	slices.SortFunc(out.Days, func(a, b ShadowDay) int { return cmp.Compare(a.Day, b.Day) })
	return out
}

func (r *ShadowReport) count(a ShadowAlert) {
	r.day(a.Interval).Shadow.count(a.Severity)
	at := slices.IndexFunc(r.Rules, func(o ShadowRule) bool { return o.Rule == a.Rule && o.Model == a.Model })
	if at < 0 {
		at = len(r.Rules)
		r.Rules = append(r.Rules, ShadowRule{Rule: a.Rule, Model: a.Model})
	}
	rule := &r.Rules[at]
	rule.count(a.Severity)
	if len(a.Overlaps) > 0 {
		rule.Matched++
	}
}

func (r *ShadowReport) day(i Interval) *ShadowDay {
	at := slices.IndexFunc(r.Days, func(d ShadowDay) bool { return d.Day == i.day() })
	if at < 0 {
		at = len(r.Days)
		r.Days = append(r.Days, ShadowDay{Day: i.day()})
	}
	return &r.Days[at]
}
