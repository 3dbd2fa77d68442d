package api

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/backtest"
)

// A RuleJSON is one rule, spelled as in the configuration.
type RuleJSON struct {
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
	NoData        string            `json:"no_data"`
	NoDataFor     string            `json:"no_data_for"`
	UndecidedFor  string            `json:"undecided_for"`
	Severity      string            `json:"severity"`
	Notify        string            `json:"notify"`
	Actions       []string          `json:"actions"`
	MinN          *uint64           `json:"min_n"`
	Limit         int               `json:"limit"`
	Labels        map[string]string `json:"labels"`
	Annotations   map[string]string `json:"annotations"`
}

// NewRuleJSON tells a rule.
func NewRuleJSON(spec alert.Spec) RuleJSON {
	out := RuleJSON{
		Alert: spec.Name, Model: spec.Model, Version: spec.Version, Variant: spec.Variant, Segment: spec.Segment, Feature: spec.Feature,
		Reference: spec.Reference, Window: formatDuration(spec.Window), Expr: spec.Expr, Clear: spec.Clear,
		For: formatHold(spec.For), KeepFiringFor: formatHold(spec.KeepFiringFor), NoData: spec.NoData,
		NoDataFor: formatHold(spec.NoDataFor), UndecidedFor: formatHold(spec.UndecidedFor), Severity: spec.Severity, Notify: spec.Notify,
		Actions: nonNil(spec.Actions), MinN: spec.MinN, Limit: spec.Limit, Labels: spec.Labels, Annotations: spec.Annotations,
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if out.Annotations == nil {
		out.Annotations = map[string]string{}
	}
	return out
}

// compile reads what NewRuleJSON wrote. What is absent is as in the configuration.
func (r RuleJSON) compile() (*alert.Rule, error) {
	spec := alert.Spec{
		Name: r.Alert, Model: r.Model, Version: r.Version, Variant: r.Variant, Segment: r.Segment, Feature: r.Feature,
		Reference: r.Reference, Expr: r.Expr, Clear: r.Clear, NoData: r.NoData, Severity: r.Severity, Notify: r.Notify,
		Actions: r.Actions, MinN: r.MinN, Limit: r.Limit, Labels: r.Labels, Annotations: r.Annotations,
	}
	var err error
	if spec.Window, err = parseDuration(r.Window); err != nil {
		return nil, fmt.Errorf("window: %w", err)
	}
	for _, h := range []struct {
		name, text string
		hold       *alert.Hold
		absent     alert.Hold
	}{
		{"for", r.For, &spec.For, alert.Hold{}},
		{"keep_firing_for", r.KeepFiringFor, &spec.KeepFiringFor, alert.DefaultKeepFiringFor},
		{"no_data_for", r.NoDataFor, &spec.NoDataFor, alert.Hold{}},
		{"undecided_for", r.UndecidedFor, &spec.UndecidedFor, alert.DefaultUndecidedFor},
	} {
		if *h.hold, err = parseHold(h.text, h.absent); err != nil {
			return nil, fmt.Errorf("%s: %w", h.name, err)
		}
	}
	return alert.Compile(spec)
}

// formatHold writes a hold as the configuration does: 2, 3 of 5, or 10m.
func formatHold(h alert.Hold) string {
	switch {
	case h.Duration > 0:
		return formatDuration(h.Duration)
	case h.Of > 0:
		return fmt.Sprintf("%d of %d", h.Windows, h.Of)
	}
	return strconv.Itoa(h.Windows)
}

// parseHold reads what formatHold wrote.
func parseHold(text string, absent alert.Hold) (alert.Hold, error) {
	if text == "" {
		return absent, nil
	}
	if m, n, some := strings.Cut(text, " of "); some {
		windows, err := strconv.Atoi(m)
		of, err2 := strconv.Atoi(n)
		if err != nil || err2 != nil {
			return alert.Hold{}, fmt.Errorf("must be so many of the last windows, such as 3 of 5, found %.40q", text)
		}
		return alert.Hold{Windows: windows, Of: of}, nil
	}
	if n, err := strconv.Atoi(text); err == nil {
		return alert.Hold{Windows: n}, nil
	}
	d, err := parseDuration(text)
	return alert.Hold{Duration: d}, err
}

// A ruleItem is one rule as it runs.
type ruleItem struct {
	RuleJSON
	States map[string]int  `json:"states"` // its series by state
	Models int             `json:"models"` // how many models it watches
	Noise  *backtest.Noise `json:"noise"`  // with noise=; null: not measured, or nothing to measure it on
}

func (s *Server) getRules(w http.ResponseWriter, r *request) error {
	snapshot := s.Reader.Snapshot()
	span, err := r.span("noise", 0)
	if err != nil {
		return err
	}
	name := r.text("model")
	if name != "" && snapshot.model(name) == nil {
		return notFound(fmt.Sprintf("driftd knows no model %q; /api/v1/models lists them", name))
	}
	var noise map[string]*backtest.Noise
	if span > 0 {
		if noise, err = s.noise(r, snapshot, name, span); err != nil {
			return err
		}
	}
	items := make([]ruleItem, 0, len(snapshot.Rules))
	for _, rule := range snapshot.Rules {
		item := ruleItem{RuleJSON: NewRuleJSON(rule.Spec()), States: map[string]int{}, Noise: noise[rule.Name()]}
		for i := range snapshot.Alerts {
			if a := &snapshot.Alerts[i]; a.Rule == item.Alert {
				item.States[a.Phase.String()]++
			}
		}
		for i := range snapshot.Models {
			if rule.Watches(snapshot.Models[i].Model) {
				item.Models++
			}
		}
		items = append(items, item)
	}
	return sendJSON(w, http.StatusOK, newList(items, ""))
}

// noiseBudget is how long the noise of all models may take to measure: what is
// not reached is left out, and Noise.Models is less than the models watched.
const noiseBudget = 10 * time.Second

// noise measures the rules on the last span of the stored history, by rule.
func (s *Server) noise(r *request, snapshot *Snapshot, only string, span time.Duration) (map[string]*backtest.Noise, error) {
	out := map[string]*backtest.Noise{}
	begun := time.Now()
	// Hard limits hold now and then, by what the loop knows: history says nothing of them.
	rules := slices.DeleteFunc(slices.Clone(snapshot.Rules), (*alert.Rule).HardLimit)
	for i := range snapshot.Models {
		m := &snapshot.Models[i]
		if only != "" && m.Model != only || m.Watermark.IsZero() {
			continue
		}
		t := storedBacktest{model: m, rules: rules, baseline: m.Baseline, from: m.Watermark.Add(-span), to: m.Watermark}
		report, err := s.try(r.Context(), t)
		if err != nil {
			return nil, err
		}
		for _, rule := range report.Rules {
			out[rule.Rule] = out[rule.Rule].Add(rule.Noise)
		}
		if time.Since(begun) > noiseBudget {
			break
		}
	}
	return out, nil
}
