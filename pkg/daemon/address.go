package daemon

import (
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

// address lets receivers hear of what fires that the settings in force lead to them and
// those before did not: of each incident once, as it is now. The ledger says who. Signals
// are a log, which has the beginning already: who publishes them is left alone.
func (l *loop) address(actor string) error {
	for _, i := range l.book.Open() {
		if i.Shadow {
			continue
		}
		var names []string
		news := map[string][]alert.Target{} // by key of an alert
		for k := range i.Members {
			m := &i.Members[k]
			news[m.Key] = l.unaddressed(m)
			for _, t := range news[m.Key] {
				if !slices.Contains(names, t.Receiver) {
					names = append(names, t.Receiver)
				}
			}
		}
		if len(names) == 0 {
			continue
		}
		slices.Sort(names)
		at := time.Unix(0, l.progress.Time).UTC()
		body := ledger.IncidentChange{Type: "incident", Incident: i.ID, Action: "address", Actor: actor, At: at, Text: strings.Join(names, ", ")}
		e, err := l.record(ledger.Draft{Time: at, StreamSeq: l.progress.Seq, Kind: ledger.KindIncident, Body: body})
		if err != nil {
			return err
		}
		for k := range i.Members {
			l.book.Address(i.Members[k].Key, news[i.Members[k].Key], e.Seq)
		}
		l.Log.Info().Str("incident", i.ID).Strs("receivers", names).Msg("receivers hear of what fires already")
	}
	return nil
}

// unaddressed returns who does not hear of an alert that fires, and is to by the settings
// in force.
func (l *loop) unaddressed(m *incident.Member) []alert.Target {
	if !m.Firing() {
		return nil
	}
	var targets []alert.Target
	if refusing, ok := strings.CutPrefix(m.Key, refusedKey); ok {
		targets = l.others(refusing, m.Labels)
	} else {
		targets = l.Routes.Targets(m.Labels)
		if b, _ := l.budget(m.Model); b != nil && m.Severity == alert.SeverityPage && slices.Contains(alert.OwnRules, m.Labels["alertname"]) {
			targets = join(targets, l.named(b.Receiver))
		}
	}
	return slices.DeleteFunc(slices.Clone(targets), func(t alert.Target) bool {
		return slices.Contains(m.Receivers, t.Receiver) || !l.asksState(t.Receiver)
	})
}

// asksState reports whether a receiver is there and is told how things are, and not each
// change: people, and those to whom what fires is repeated anyway.
func (l *loop) asksState(receiver string) bool {
	i := slices.IndexFunc(l.Settings.Receivers, func(r notify.Receiver) bool { return r.Name == receiver })
	if i < 0 {
		return false
	}
	_, refreshed := l.Settings.Receivers[i].Sink.(refresher)
	return refreshed || l.grouped(receiver)
}
