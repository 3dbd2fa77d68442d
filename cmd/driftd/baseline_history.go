package main

import (
	"context"
	"fmt"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// history learns from the times of the rows what is normal: nil if they have none.
// The rows are read a second time, now on the edges of the baseline.
func (im *importer) history(ctx context.Context, e *env, c *client, files []string, b *drift.Baseline) (*api.History, error) {
	if im.to == 0 || im.noHistory {
		return nil, nil
	}
	judges, err := judgedBy(ctx, c)
	if err != nil {
		return nil, err
	}
	windows, err := im.windows(ctx, e, files, b.Part(""), judges.Window)
	if err != nil {
		return nil, err
	}
	conf := detect.DefaultConfig(im.model)
	conf.Window, conf.Reference, conf.MinEvents = judges.Window, judges.Reference, judges.MinEvents
	state, rows, err := detect.Learn(&conf, b.ID, b.Part(""), windows)
	if err != nil {
		return nil, err
	}
	status, log := state.Status(&conf), e.logger()
	if status.Judging {
		log.Info().Int("windows", status.Windows).Stringer("window", config.Duration(judges.Window)).Msg("what is normal was learned: drift is judged at once, if the model has a budget")
	} else {
		log.Warn().Int("windows", status.Windows).Stringer("window", config.Duration(judges.Window)).Int("needed", detect.MinReference).Msg("too few windows to know what is normal: driftd watches until there are enough")
	}
	return &api.History{State: state, Rows: rows}, nil
}

// windows counts the rows that have a time in windows, on the edges of a baseline.
func (im *importer) windows(ctx context.Context, e *env, files []string, part *drift.Part, size time.Duration) ([]*drift.Window, error) {
	if windows := (im.to-im.from)/int64(size) + 1; windows > mostHistory {
		return nil, fmt.Errorf("the rows span %d windows of %v, more than %d: use the latest ones, or import with --no-history", windows, size, mostHistory)
	}
	var failed error
	windows, err := part.History(im.model, size, func(yield func(*event.Event) bool) {
		for _, file := range files {
			if failed == nil {
				failed = im.read(ctx, e, "learn from", file, func(ev *event.Event) { yield(ev) })
			}
		}
	})
	return windows, failedOr(failed, err)
}

// mostHistory bounds the windows that are held in memory at once.
const mostHistory = 8 * detect.MaxRows

func failedOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// judgedBy asks by which windows drift is judged.
func judgedBy(ctx context.Context, c *client) (j api.Judges, err error) {
	var status struct {
		Detection struct {
			Window    string `json:"window"`
			Reference int    `json:"reference"`
			MinEvents uint64 `json:"min_events"`
		} `json:"detection"`
	}
	if err := c.get(ctx, "/api/v1/status", nil, &status); err != nil {
		return j, err
	}
	d, err := config.ParseDuration(status.Detection.Window)
	if err != nil {
		return j, fmt.Errorf("the daemon judges drift by windows of %q: %w", status.Detection.Window, err)
	}
	return api.Judges{Window: time.Duration(d), Reference: status.Detection.Reference, MinEvents: status.Detection.MinEvents}, nil
}
