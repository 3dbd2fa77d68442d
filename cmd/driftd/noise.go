package main

import (
	"context"
	"errors"
	"fmt"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/backtest"
)

// noiseOptions say on what the noise of rules is measured.
type noiseOptions struct {
	span string // of the stored history; "" = do not
	backend
}

// A noiseReport is how noisy one rule of a file is.
type noiseReport struct {
	File  string          `json:"file"`
	Rule  string          `json:"rule"`
	Noise *backtest.Noise `json:"noise"` // null: no stored window decides anything for it
}

// measureNoise judges the rules of files on the stored windows of every model.
func (e *env) measureNoise(ctx context.Context, o noiseOptions, files []string) ([]noiseReport, error) {
	if o.span == "" {
		if o.dir != "" || o.config != "" {
			return nil, badUsage("--store and --config belong to --noise")
		}
		return nil, nil
	}
	var out []noiseReport
	err := e.with(ctx, o.backend, false, func(c *client) error {
		models, err := modelNames(ctx, c)
		if err != nil {
			return err
		}
		if len(models) == 0 {
			return errors.New("--noise: no model has a history yet")
		}
		for _, file := range files {
			reports, err := fileNoise(ctx, c, file, models, o.span)
			if err != nil {
				return err
			}
			out = append(out, reports...)
		}
		return nil
	})
	return out, err
}

func fileNoise(ctx context.Context, c *client, file string, models []string, span string) (out []noiseReport, err error) {
	tried, err := askFor(ctx, c, file, models)
	if err != nil {
		return nil, err
	}
	ask := api.BacktestJSON{Rules: tried.rules, Span: span}
	byRule := map[string]*backtest.Noise{}
	for _, model := range models {
		report, err := tryStored(ctx, c, model, ask)
		if err != nil {
			return nil, err
		}
		for _, r := range report.Rules {
			byRule[r.Rule] = byRule[r.Rule].Add(r.Noise)
		}
	}
	for _, r := range ask.Rules {
		out = append(out, noiseReport{File: file, Rule: r.Alert, Noise: byRule[r.Alert]})
	}
	return out, nil
}

func noiseLines(reports []noiseReport) (lines []string) {
	for _, r := range reports {
		if r.Noise == nil {
			lines = append(lines, printable(fmt.Sprintf("%s: %s: not measured: no stored window decides anything for it", r.File, r.Rule)))
			continue
		}
		per, between := noiseCells(r.Noise)
		lines = append(lines, printable(fmt.Sprintf("%s: %s: %s alerts in 30 days (95 %%: %s), from %d on %d models in %.3g days together",
			r.File, r.Rule, per, between, r.Noise.Fired, r.Noise.Models, r.Noise.Days)))
	}
	return lines
}
