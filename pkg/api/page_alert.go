package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

// An alertsPage lists series of rules and open incidents.
type alertsPage struct {
	pageHead
	Model  string
	Alerts []alertItem
	More   int
}

func (s *Server) getAlertsPage(w http.ResponseWriter, r *request) error {
	snapshot := s.Reader.Snapshot()
	data := alertsPage{pageHead: s.head("Alerts", snapshot).live(), Model: r.text("model")}
	for i := range snapshot.Alerts {
		switch a := &snapshot.Alerts[i]; {
		case data.Model != "" && a.Model != data.Model:
		case len(data.Alerts) == pageRows:
			data.More++
		default:
			data.Alerts = append(data.Alerts, snapshot.alertItem(a, s.Now()))
		}
	}
	return sendPage(w, "alerts", data)
}

// An alertPage is what the ledger holds of one alert, from its first entry to its last.
type alertPage struct {
	pageHead
	Key      string
	Incident string     // where its page is, "" for none
	Now      *alertItem // nil once it is forgotten
	First    *happening
	Last     *happening
	Timeline []happening
	Findings []findingRow
	Why      *why // of the newest entry that says so, nil for none
}

// A happening is one ledger entry in words.
type happening struct {
	ledger.Entry
	At                    *time.Time
	What, Text, Key, Link string
	Incident              string        // id, "" for none
	Alert                 *ledger.Alert // of an alert or a note
}

// A findingRow is a finding, and where its signal's page is.
type findingRow struct {
	ledger.Finding
	SinceAt *time.Time
	Link    string
}

func (s *Server) getAlertPage(w http.ResponseWriter, r *request) error {
	return s.sendAlert(w, r.PathValue("key"))
}

func (s *Server) sendAlert(w http.ResponseWriter, key string) error {
	entries, err := s.newest(func(h *happening) bool { return h.Key == key || h.concerns(func(id string) bool { return id == key }) }, 0, pageRows)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return notFound(fmt.Sprintf("the last %d entries of the ledger have no alert %q", entryScan, key))
	}
	snapshot := s.Reader.Snapshot()
	data := alertPage{pageHead: s.head("Alert", snapshot).live(), Key: key}
	for i := len(entries) - 1; i >= 0; i-- {
		data.Timeline = append(data.Timeline, entries[i])
	}
	data.First, data.Last = &data.Timeline[0], &data.Timeline[len(data.Timeline)-1]
	if id := data.Last.Incident; id != "" {
		data.Incident = incidentPath(id)
	}
	for i := range snapshot.Alerts {
		if a := &snapshot.Alerts[i]; a.DedupKey == key {
			item := snapshot.alertItem(a, s.Now())
			data.Now = &item
		}
	}
	for i := range entries { // the newest first
		a := entries[i].Alert
		if a != nil && data.Findings == nil {
			data.Findings = findingRows(a)
		}
		if a != nil && data.Why == nil {
			data.Why = newWhy(entries[i].Seq, a)
		}
	}
	return sendPage(w, "alert", data)
}

func findingRows(a *ledger.Alert) []findingRow {
	var out []findingRow
	for _, f := range a.Findings {
		at := a.Window.End.Add(-time.Second).UTC().Format(time.RFC3339)
		out = append(out, findingRow{f, instant(f.Since), linkTo(modelPath(a.Model)+"/feature", "name", f.Signal, "at", at)})
	}
	return out
}

// concerns reports whether an entry is an action that one of some alerts caused.
func (h *happening) concerns(alert func(key string) bool) bool {
	var body struct {
		AlertIDs []string `json:"alert_ids"`
	}
	if !isTrigger(h.Kind) || json.Unmarshal(h.Body, &body) != nil {
		return false
	}
	return slices.ContainsFunc(body.AlertIDs, alert)
}

// newHappening words an entry. A body of a kind that is not known is shown as it
// is.
func newHappening(e ledger.Entry) happening {
	h := happening{Entry: e, At: instant(e.Time), What: string(e.Kind), Link: fmt.Sprintf("/ledger/%d", e.Seq)}
	switch e.Kind {
	case ledger.KindAlert, ledger.KindNote:
		var a ledger.Alert
		if json.Unmarshal(e.Body, &a) != nil {
			return h
		}
		h.Alert, h.Key, h.Text, h.Incident = &a, a.DedupKey, a.Reason, a.Incident
		h.What = strings.TrimSpace(a.Rule + " " + a.Status)
		if a.Change != "" && a.Change != a.Status {
			h.What += " (" + a.Change + ")"
		}
		if a.Muted != "" {
			h.What += ", muted"
		}
	case ledger.KindRetrain, ledger.KindRollback, ledger.KindPromote, ledger.KindBaseline, ledger.KindConfig, ledger.KindEpoch, ledger.KindSilence:
		var body struct {
			Action, Actor, Baseline, Reason, Suppressed, Cause, Hash, Comment string
			Matchers                                                          []string
		}
		if json.Unmarshal(e.Body, &body) != nil {
			return h
		}
		var words []string
		for _, part := range [][2]string{
			{"", body.Action},
			{"", body.Baseline},
			{"", body.Reason},
			{"not sent: ", body.Suppressed},
			{"", body.Cause},
			{"", body.Hash},
			{"", strings.Join(body.Matchers, " ")},
			{"", body.Comment},
			{"by ", body.Actor},
		} {
			if part[1] != "" {
				words = append(words, part[0]+part[1])
			}
		}
		h.Text = strings.Join(words, ", ")
	case ledger.KindIncident:
		h.tell()
	case ledger.KindDigest:
		var d ledger.Digest
		if json.Unmarshal(e.Body, &d) == nil {
			h.Text = fmt.Sprintf("%d incidents, %d pages, %d proposals", d.Incidents, d.Pages, len(d.Proposals))
		}
	}
	return h
}

// newest returns up to limit entries before a seq (0: from the end) that match,
// the newest first, of at most entryScan that it looks at.
func (s *Server) newest(match func(*happening) bool, before uint64, limit int) ([]happening, error) {
	if before == 0 {
		end, err := s.ledgerEnd()
		if err != nil {
			return nil, err
		}
		before = end + 1
	}
	var out []happening
	for scanned := 0; before > 1 && scanned < entryScan; {
		after := before - 1 - min(before-1, entryLimit)
		entries, err := s.Reader.Entries(after, int(before-1-after))
		if err != nil {
			return nil, err
		}
		for i := len(entries) - 1; i >= 0; i-- {
			if entries[i].Seq >= before {
				continue // retention took earlier ones: these are behind
			}
			if h := newHappening(entries[i]); match(&h) {
				if out = append(out, h); len(out) == limit {
					return out, nil
				}
			}
		}
		scanned += int(before - 1 - after)
		before = after + 1
	}
	return out, nil
}
