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
	About      string     `json:"about_rule"` // the rule that one of driftd's own, such as NoData, is about
	State      string     `json:"state"`      // "pending", "firing", "recovering" or "resolved"
	Flag       string     `json:"flag"`       // "no_data", "undefined", "insufficient", "incomplete" or ""
	Severity   string     `json:"severity"`
	Notify     string     `json:"notify"` // "receivers", or "shadow": nobody is told
	Model      string     `json:"model"`
	Version    string     `json:"model_version"`
	Variant    string     `json:"variant"`
	Segment    string     `json:"segment"`
	Feature    string     `json:"feature"`
	Since      *time.Time `json:"since"` // event time, as all others
	StartsAt   *time.Time `json:"starts_at"`
	EndsAt     *time.Time `json:"ends_at"`
	LastWindow *time.Time `json:"last_window"`
	Reason     string     `json:"reason"`    // of the worst window
	Effect     Num        `json:"effect"`    // how far past the threshold it was
	Fires      int        `json:"fires"`     // how often it fired, each time within a day of its last end
	Flaps      int        `json:"flaps"`     // how often it has started again so: it must then be quiet for longer
	Limited    bool       `json:"limited"`   // would fire, but the rule's limit is reached
	HeldBack   int        `json:"held_back"` // of the series __overflow__: how many are limited
	DedupKey   string     `json:"dedup_key"`
	SilencedBy string     `json:"silenced_by"` // id of the silence or maintenance that keeps it from being told; "" for none
}

func (s *Snapshot) alertItem(a *Alert, now time.Time) alertItem {
	return alertItem{
		SilencedBy: s.silencedBy(a, now),
		Notify:     a.notify(),
		Rule:       a.Alertname(), About: a.About(), State: a.Phase.String(), Flag: string(a.Flag), Severity: a.Severity,
		Model: a.Model, Version: a.Version, Variant: a.variant(), Segment: a.Segment, Feature: a.Feature(),
		Since: instant(a.Since), StartsAt: instant(a.FiredAt), EndsAt: instant(a.ResolvedAt), LastWindow: instant(a.Last),
		Reason: a.Peak.Reason, Effect: Num(a.Peak.Effect), Fires: a.Fires, Flaps: a.Flaps(), Limited: a.Limited, HeldBack: a.Beyond, DedupKey: a.DedupKey,
	}
}

// notify says who hears of the alert, as rules do.
func (a *Alert) notify() string {
	if a.Shadow {
		return alert.NotifyShadow
	}
	return alert.NotifyReceivers
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
	snapshot := s.Reader.Snapshot()
	alerts := snapshot.Alerts
	for i := from; i < uint64(len(alerts)); i++ {
		a := snapshot.alertItem(&alerts[i], r.now)
		if !match("model", a.Model) || !match("rule", a.Rule) && !match("rule", a.About) || !match("state", a.State) || !match("severity", a.Severity) {
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
