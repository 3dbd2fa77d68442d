package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/config"
)

// The states of a finding. Only a failure makes doctor end with 1.
const (
	stateOK   = "ok"
	stateWarn = "warn" // driftd works, but not as well as it could
	stateFail = "fail" // driftd does not start, or does not count
	stateSkip = "skip" // could not be looked at
)

// A finding is what doctor saw of one thing, and what to do about it.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"`
	Found string `json:"found"`
	Fix   string `json:"fix"` // "" when there is nothing to do
}

// A diagnosis is the JSON of doctor.
type diagnosis struct {
	OK     bool      `json:"ok"` // nothing failed
	Checks []finding `json:"checks"`
}

// A doctor looks at everything around one configuration. It changes nothing and
// sends nothing: permission to publish is tried with messages that name a stream
// which does not exist, so that the server refuses them.
type doctor struct {
	*env
	config *config.Config
	api    *client // of the daemon; nil when none answers
	diagnosis
}

func newDoctorCmd(e *env) *cobra.Command {
	var file string
	var plan planOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps driftd from working, or say what a fleet will need",
		Long: `Doctor looks at everything around a configuration: NATS, the stream and its limits,
permissions, the clocks, the disk, the store, the names of receivers, the ports, and
the daemon if one runs. It prints a line for each, with the fix. It changes nothing
and sends nothing. The exit code is 1 when something failed.

With --plan it says instead what a fleet needs: disk, memory, series, writes and
bytes in JetStream, as docs/decisions/0008-sizing.md derives them.`,
		Example: `  driftd doctor -c /etc/driftd/driftd.yaml
  driftd doctor --plan --models 200 --features 50 --events-per-s 2000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if plan.wanted {
				c, err := loadConfig(file)
				if err != nil {
					return err
				}
				return e.plan(c, plan)
			}
			return e.examine(cmd.Context(), file)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file")
	plan.flags(cmd)
	return cmd
}

func (e *env) examine(ctx context.Context, file string) error {
	d := &doctor{env: e, diagnosis: diagnosis{OK: true}}
	if d.configuration(file) {
		d.daemon(ctx)
		d.nats(ctx)
		d.disk()
		d.store()
		d.receivers(ctx)
		d.ports(ctx)
	}
	if err := e.print(d.result()); err != nil {
		return err
	}
	if !d.OK {
		return codedError{code: codeFailed}
	}
	return nil
}

// note adds a finding.
func (d *doctor) note(check, state, fix, format string, args ...any) {
	d.OK = d.OK && state != stateFail
	d.Checks = append(d.Checks, finding{check, state, oneLine(fmt.Sprintf(format, args...)), fix})
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func (d *diagnosis) result() result {
	out := result{value: d, items: []any{}, sheet: sheet{head: []string{"state", "check", "found", "fix"}}}
	states := map[string]int{}
	for _, f := range d.Checks {
		out.items = append(out.items, f)
		out.rows = append(out.rows, []any{f.State, f.Check, f.Found, f.Fix})
		states[f.State]++
	}
	out.below = []string{fmt.Sprintf("%d ok, %d to look at, %d failed, %d skipped", states[stateOK], states[stateWarn], states[stateFail], states[stateSkip])}
	return out
}

// configuration loads the file; without it there is nothing to look at.
func (d *doctor) configuration(file string) bool {
	name := file
	if file == "" {
		name = "the defaults"
	}
	var err error
	d.config, err = loadConfig(file)
	var faults config.Faults
	switch {
	case errors.As(err, &faults):
		first, _, _ := strings.Cut(faults[0].Error(), "\n")
		d.note("configuration", stateFail, "driftd check config "+file+" shows all of them", "%s: %s", count(len(faults), "fault"), first)
	case err != nil:
		d.note("configuration", stateFail, "name the file with -c; driftd config init makes one", "%v", err)
	default:
		d.note("configuration", stateOK, "", "%s: %s, %s, %s", name, count(len(d.config.Models), "model pattern"), count(len(d.config.Rules), "rule"), count(len(d.config.Receivers), "receiver"))
	}
	return err == nil
}

// A cohort is the part of a model of the API that its cardinality comes from.
type cohort struct {
	Model    string `json:"model"`
	Features int    `json:"features"`
	Versions []struct {
		Variants []struct {
			Segments []string `json:"segments"`
		} `json:"variants"`
	} `json:"versions"`
	Overflow map[string]uint64 `json:"overflow"`
}

// daemon asks the one that runs, if any, how it does and how much it holds.
func (d *doctor) daemon(ctx context.Context) {
	if d.server == defaultServer && !strings.HasSuffix(d.config.HTTP.Listen, ":0") {
		d.server = "http://" + d.config.HTTP.Listen
		if d.config.HTTP.TLS.CertFile != "" {
			d.server = "https://" + d.config.HTTP.Listen
		}
	}
	c, err := d.client()
	if err != nil {
		d.note("daemon", stateFail, "", "%v", err)
		return
	}
	var status struct {
		Version  string   `json:"version"`
		Ready    bool     `json:"ready"`
		Reasons  []string `json:"reasons"`
		Balanced bool     `json:"balanced"`
	}
	switch err := c.get(ctx, "/api/v1/status", nil, &status); {
	case errors.Is(err, errAway):
		d.note("daemon", stateSkip, "start it with driftd serve, or say where it is with --server", "none answers at %s", c.base)
		return
	case err != nil:
		d.note("daemon", stateFail, "is it driftd that listens there? else give its address with --server, and a token with --token-file", "%s: %v", c.base, err)
		return
	case !status.Ready:
		d.note("daemon", stateFail, "docs/runbook.md, by the reason", "%s runs at %s and is not ready: %s", status.Version, c.base, strings.Join(status.Reasons, ", "))
	case !status.Balanced:
		d.note("daemon", stateFail, "keep the store's folder as it is and report it", "the books of messages and events do not add up")
	default:
		d.note("daemon", stateOK, "", "%s runs at %s and is ready", status.Version, c.base)
	}
	d.api = c
	models, err := list[cohort](ctx, c, "/api/v1/models", nil)
	if err != nil {
		d.note("cardinality", stateFail, "", "%v", err)
		return
	}
	d.cardinality(models)
}

// crowded is the share of a limit from which doctor speaks of it.
const crowded = 0.8

// cardinality compares what a daemon holds with the limits.
func (d *doctor) cardinality(models []cohort) {
	limits := d.config.Limits
	series, widest, over := 0, cohort{}, map[string]uint64{}
	for _, m := range models {
		groups := 0
		for _, v := range m.Versions {
			for _, variant := range v.Variants {
				groups += 1 + len(variant.Segments)
			}
		}
		series += groups * m.Features
		if m.Features > widest.Features {
			widest = m
		}
		for kind, n := range m.Overflow {
			over[kind] += n
		}
	}
	found := fmt.Sprintf("%s of %d, %d series of %d", count(len(models), "model"), limits.Models, series, limits.Series)
	switch {
	case over["features"] > 0:
		d.note("cardinality", stateWarn, "drop features that are none (privacy.fields), or raise limits.features_per_model", "%s; %d values of features beyond %d were not counted", found, over["features"], limits.FeaturesPerModel)
	case over["versions"]+over["segments"] > 0:
		d.note("cardinality", stateWarn, "an id in the version or in a segment? cut by fewer segments", "%s; %d events counted under __other__", found, over["versions"]+over["segments"])
	case float64(series) > crowded*float64(limits.Series):
		d.note("cardinality", stateWarn, "raise limits.series, or cut by fewer segments: what is beyond it is left out of /metrics", "%s", found)
	case float64(len(models)) > crowded*float64(limits.Models):
		d.note("cardinality", stateWarn, "raise limits.models, or list models and set discover: false", "%s", found)
	default:
		d.note("cardinality", stateOK, "", "%s; no overflow, the widest has %s", found, count(widest.Features, "feature"))
	}
}

// patience bounds one question to a server or a name.
func (d *doctor) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, min(d.timeout, 3*time.Second))
}
