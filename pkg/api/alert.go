package api

import (
	"net/http"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/alert"
)

// An alertItem is one series of a rule that is not inactive.
type alertItem struct {
	Rule       string     `json:"rule"`
	State      string     `json:"state"` // "pending", "firing", "recovering" or "resolved"
	Flag       string     `json:"flag"`  // "no_data", "insufficient", "incomplete" or ""
	Severity   string     `json:"severity"`
	Model      string     `json:"model"`
	Version    string     `json:"model_version"`
	Variant    string     `json:"variant"`
	Segment    string     `json:"segment"`
	Feature    string     `json:"feature"`
	Since      *time.Time `json:"since"` // event time, as all others
	StartsAt   *time.Time `json:"starts_at"`
	EndsAt     *time.Time `json:"ends_at"`
	LastWindow *time.Time `json:"last_window"`
	Reason     string     `json:"reason"` // of the worst window
	Effect     Num        `json:"effect"` // how far past the threshold it was
	Fires      int        `json:"fires"`
	Limited    bool       `json:"limited"` // would fire, but the rule's limit is reached
	DedupKey   string     `json:"dedup_key"`
}

func newAlertItem(a *Alert) alertItem {
	return alertItem{
		Rule: a.Rule, State: a.Phase.String(), Flag: string(a.Flag), Severity: a.Severity,
		Model: a.Model, Version: a.Version, Variant: a.variant(), Segment: a.Segment, Feature: a.Signal,
		Since: instant(a.Since), StartsAt: instant(a.FiredAt), EndsAt: instant(a.ResolvedAt), LastWindow: instant(a.Last),
		Reason: a.Peak.Reason, Effect: Num(a.Peak.Effect), Fires: a.Fires, Limited: a.Limited, DedupKey: a.DedupKey,
	}
}

func (s *Server) getAlerts(w http.ResponseWriter, r *request) error {
	limit, err := r.number("limit", 1000, 1, 10_000)
	if err != nil {
		return err
	}
	from, err := r.number("cursor", 0, 0, 1<<40)
	if err != nil {
		return err
	}
	match := func(parameter, value string) bool { return !r.has(parameter) || r.text(parameter) == value }
	items, next := []alertItem{}, ""
	alerts := s.Reader.Snapshot().Alerts
	for i := from; i < uint64(len(alerts)); i++ {
		a := newAlertItem(&alerts[i])
		if !match("model", a.Model) || !match("rule", a.Rule) || !match("state", a.State) || !match("severity", a.Severity) {
			continue
		}
		if uint64(len(items)) == limit {
			next = strconv.FormatUint(i, 10)
			break
		}
		items = append(items, a)
	}
	return sendJSON(w, http.StatusOK, newList(items, next))
}

// A ruleItem is one rule as it runs, spelled as in the configuration.
type ruleItem struct {
	Alert         string            `json:"alert"`
	Model         string            `json:"model"`
	Version       string            `json:"version"`
	Variant       string            `json:"variant"`
	Segment       string            `json:"segment"`
	Feature       string            `json:"feature"`
	Reference     string            `json:"reference"`
	Window        string            `json:"window"`
	Expr          string            `json:"expr"`
	Clear         string            `json:"clear"`
	For           string            `json:"for"`
	KeepFiringFor string            `json:"keep_firing_for"`
	Severity      string            `json:"severity"`
	Actions       []string          `json:"actions"`
	MinN          *uint64           `json:"min_n"`
	Limit         int               `json:"limit"`
	Labels        map[string]string `json:"labels"`
	Annotations   map[string]string `json:"annotations"`
	States        map[string]int    `json:"states"` // its series by state
}

func newRuleItem(spec alert.Spec) ruleItem {
	item := ruleItem{
		Alert: spec.Name, Model: spec.Model, Version: spec.Version, Variant: spec.Variant, Segment: spec.Segment, Feature: spec.Feature,
		Reference: spec.Reference, Window: formatDuration(spec.Window), Expr: spec.Expr, Clear: spec.Clear,
		For: formatHold(spec.For), KeepFiringFor: formatHold(spec.KeepFiringFor), Severity: spec.Severity,
		Actions: nonNil(spec.Actions), MinN: spec.MinN, Limit: spec.Limit, Labels: spec.Labels, Annotations: spec.Annotations, States: map[string]int{},
	}
	if item.Labels == nil {
		item.Labels = map[string]string{}
	}
	if item.Annotations == nil {
		item.Annotations = map[string]string{}
	}
	return item
}

// formatHold writes a hold as the configuration does: 2, or 10m.
func formatHold(h alert.Hold) string {
	if h.Duration > 0 {
		return formatDuration(h.Duration)
	}
	return strconv.Itoa(h.Windows)
}

func (s *Server) getRules(w http.ResponseWriter, _ *request) error {
	snapshot := s.Reader.Snapshot()
	items := make([]ruleItem, 0, len(snapshot.Rules))
	for _, rule := range snapshot.Rules {
		item := newRuleItem(rule.Spec())
		for i := range snapshot.Alerts {
			if a := &snapshot.Alerts[i]; a.Rule == item.Alert {
				item.States[a.Phase.String()]++
			}
		}
		items = append(items, item)
	}
	return sendJSON(w, http.StatusOK, newList(items, ""))
}
