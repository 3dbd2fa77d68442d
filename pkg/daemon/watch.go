package daemon

import (
	"encoding/json"
	"fmt"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/store"
)

// A watch is what the loop knows of one model that has a budget.
type watch struct {
	state *detect.State // nil until it has a baseline
	notes watchNotes

	standings []detect.Standing // after the last window; replaced, never changed
}

// watchNotes are kept beside the state of detection, as JSON.
type watchNotes struct {
	Incident string      `json:"incident,omitempty"` // dedup key of the incident that is open
	Muted    string      `json:"muted,omitempty"`    // id of the maintenance in which it began
	Expected string      `json:"expected,omitempty"` // comment of the expected change that it, or its page, is
	Usual    alert.Usual `json:"usual"`              // traffic
}

// A rowsPut is a change of a model's calibration list that may not be in the
// store yet: one chunk, or all of them gone if data is nil.
type rowsPut struct {
	model string
	chunk int
	data  []byte
}

// watched returns the watch of a model that has a budget.
func (l *loop) watched(model string) *watch {
	w := l.watches[model]
	if w == nil {
		w = &watch{}
		l.watches[model] = w
	}
	return w
}

// judging reports whether the drift of a model is judged already.
func (l *loop) judging(model string) bool {
	w := l.watches[model]
	return w != nil && w.state != nil && w.state.Fit().Frozen
}

// against makes sure that a model is watched against its baseline of now. With one
// that it has not seen it begins anew, with what it knew before as far as that can
// be taken over.
func (l *loop) against(w *watch, config *detect.Config, base *drift.Baseline, at time.Time, seq uint64) error {
	if w.state != nil && w.state.Baseline() == base.ID {
		return nil
	}
	old, rows := w.state, (*detect.Rows)(nil)
	if old != nil {
		var err error
		if rows, err = l.rows(config.Model); err != nil {
			return err
		}
		if err := l.closeIncident(config.Model, w, at, seq, "the model has a new baseline"); err != nil {
			return err
		}
	}
	if old == nil {
		w.state, rows = detect.NewState(config, base.ID, base.Part("")), &detect.Rows{}
	} else {
		w.state, rows = detect.Inherit(old, rows, config, base.ID, base.Part(""))
	}
	return l.putWatch(config.Model, w, rows)
}

// unwatch forgets a model that has no budget any more.
func (l *loop) unwatch(model string, at time.Time, seq uint64) error {
	w := l.watches[model]
	if w == nil {
		return nil
	}
	if err := l.closeIncident(model, w, at, seq, "the model has no budget any more"); err != nil {
		return err
	}
	delete(l.watches, model)
	l.pending.DeleteDetection(model)
	l.puts = append(l.puts, rowsPut{model: model})
	return nil
}

// putWatch keeps a watch whose fit and rows are new.
func (l *loop) putWatch(model string, w *watch, rows *detect.Rows) error {
	l.pending.PutFit(model, detect.AppendFit(nil, w.state.Fit()))
	l.pending.DeleteRows(model)
	l.puts = append(l.puts, rowsPut{model: model})
	for chunk := range rows.Chunks() {
		l.putRows(model, rows, chunk)
	}
	return l.putState(model, w)
}

func (l *loop) putRows(model string, rows *detect.Rows, chunk int) {
	data := rows.AppendChunk(nil, chunk)
	l.pending.PutRows(model, chunk, data)
	l.puts = append(l.puts, rowsPut{model, chunk, data})
}

// putState keeps what changes with every window.
func (l *loop) putState(model string, w *watch) error {
	state, err := detect.AppendState(nil, w.state)
	if err != nil {
		return fmt.Errorf("encode detection of model %s: %w", model, err)
	}
	w.standings = nil
	l.pending.PutDetection(model, state)
	l.pending.PutNotes(model, w.notes)
	return l.pending.Err()
}

// rows returns a model's calibration list: what is stored, and what has changed
// since.
func (l *loop) rows(model string) (*detect.Rows, error) {
	chunks, err := l.Store.Rows(model)
	if err != nil {
		return nil, err
	}
	for _, p := range l.puts {
		switch {
		case p.model != model:
		case p.data == nil:
			clear(chunks)
		default:
			chunks[p.chunk] = p.data
		}
	}
	rows := &detect.Rows{}
	for i := range len(chunks) {
		data, ok := chunks[i]
		if !ok {
			return nil, fmt.Errorf("%w: chunk %d of the calibration list of model %s is missing", store.ErrDamaged, i, model)
		}
		if err := rows.AddChunk(data); err != nil {
			return nil, fmt.Errorf("%w: calibration list of model %s: %w", store.ErrDamaged, model, err)
		}
	}
	return rows, nil
}

// incidents lists the open incidents as alerts.
func (l *loop) incidents() (out []api.Alert) {
	for model, w := range l.watches {
		d := l.drift(model)
		if d == nil || d.Status == nil || d.Status.Incident == nil {
			continue
		}
		i := d.Status.Incident
		severity, worst := severityOf(i.Level), i.Findings[0]
		if w.notes.Expected != "" && severity == alert.SeverityPage {
			severity = alert.SeverityTicket
		}
		told, _ := l.book.Firing(w.notes.Incident)
		out = append(out, api.Alert{
			Series: alert.Series{Rule: alert.RuleDrift, Key: drift.Key{Group: drift.Group{Model: model}}}, Severity: severity,
			State: alert.State{
				Phase: alert.Firing, Since: i.Opened, Last: d.Status.Last, FiredAt: i.Opened, Fires: 1, Severity: severity,
				Shadow: len(told.Receivers) == 0 && w.notes.Muted == "", Muted: w.notes.Muted, DedupKey: w.notes.Incident,
				Peak: alert.Peak{Effect: worst.Effect.Distance, Reason: worst.Reason, At: i.Told},
			},
		})
	}
	return out
}

// restoreWatches gives detection its state back.
func (l *loop) restoreWatches(stored map[string]store.Detection) error {
	for model, d := range stored {
		w := &watch{}
		if err := json.Unmarshal(d.Notes, &w.notes); err != nil {
			return fmt.Errorf("%w: notes on model %s: %w", store.ErrDamaged, model, err)
		}
		if d.State != nil {
			fit, err := detect.DecodeFit(d.Fit)
			if err == nil {
				w.state, err = detect.DecodeState(d.State, fit)
			}
			if err != nil {
				return fmt.Errorf("%w: detection of model %s: %w", store.ErrDamaged, model, err)
			}
		}
		l.watches[model] = w
	}
	return nil
}
