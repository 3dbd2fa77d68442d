package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/incident"
)

const silencesPath = "/api/v1/silences"

// A silenceItem is a silence of the API.
type silenceItem struct {
	incident.Silence
	State string `json:"state"`
}

func newSilenceCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "silence",
		Short: "Keep alerts from being told for a while",
		Long: `Keep alerts from being told for a while, and announce changes that are expected.

A silence is Alertmanager's: by wall time, and what still fires when it ends is told
then. Maintenance goes by the time of the events: what starts in its data is recorded
and never told, unless it still fires on data behind it. An expected change goes by the
time of the events too: what starts in its data is a ticket at most.

docs/silences.md tells which to take, also beside an Alertmanager.`,
		Example: `  driftd silence add 'model="fraud"' --for 2h --comment "a new shop"
  driftd silence list
  driftd silence expire 01KDVDNA3V13G04SQZY2NCRS4Q`,
	}
	cmd.AddCommand(newSilenceAddCmd(e), newSilenceListCmd(e), newSilenceUpdateCmd(e), newSilenceExpireCmd(e))
	return cmd
}

// A silenceSpan is what flags say of a silence beside what it matches.
type silenceSpan struct {
	from, to, length, comment string
}

func (s *silenceSpan) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.from, "from", "", "when it starts, as 2026-01-02T15:04:05Z; a new one now if absent")
	f.StringVar(&s.to, "to", "", "when it ends")
	f.StringVar(&s.length, "for", "", "instead of --to: how long it lasts, such as 2h or 1d")
	f.StringVar(&s.comment, "comment", "", "why")
	cmd.MarkFlagsMutuallyExclusive("to", "for")
}

// span returns the ends that the flags give, "" for what they leave open. Without
// --from a length counts from start.
func (s *silenceSpan) span(start time.Time) (from, to string, err error) {
	for _, flag := range []struct{ name, text string }{{"from", s.from}, {"to", s.to}} {
		if flag.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, flag.text)
		if err != nil {
			return "", "", badUsage("--%s %q: write a time such as 2026-01-02T15:04:05Z", flag.name, flag.text)
		}
		if flag.name == "from" {
			start = at
		}
	}
	if s.length == "" {
		return s.from, s.to, nil
	}
	length, err := config.ParseDuration(s.length)
	if err != nil || length == 0 {
		return "", "", badUsage("--for %q: write a duration such as 2h or 1d", s.length)
	}
	return s.from, start.Add(length.Std()).UTC().Format(time.RFC3339), nil
}

// A silenceChange is the body of a request about a silence.
type silenceChange struct {
	Kind     string   `json:"kind,omitempty"`
	Matchers []string `json:"matchers,omitempty"`
	StartsAt string   `json:"starts_at,omitempty"`
	EndsAt   string   `json:"ends_at,omitempty"`
	Comment  string   `json:"comment,omitempty"`
}

func newSilenceAddCmd(e *env) *cobra.Command {
	var b backend
	var span silenceSpan
	var kind string
	cmd := &cobra.Command{
		Use:   "add MATCHER... (--for D | --to T) --comment TEXT",
		Short: "Create a silence, a maintenance or an expected change",
		Long: `Create a silence of the alerts that all matchers match, in Alertmanager's syntax:
label=value, !=, =~ and !~ with a regular expression of the whole value. Labels are
alertname, rule, model, model_version, variant, segment, feature, severity, owner and
those of the rule. Drift of a model is one alert and has no feature.

Times are wall time for a silence, and the time of the events for the other kinds:
these hold for windows that close from now on, and --from may lie in the past.`,
		Example: `  driftd silence add 'model="fraud"' 'feature=~"amount|age"' --for 2h --comment "a new shop"
  driftd silence add model=churn --kind maintenance --from 2026-01-02T22:00:00Z --to 2026-01-03T02:00:00Z --comment "backfill"
  driftd silence add model=pricing --kind expected --for 3d --comment "prices of spring"`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to, err := span.span(time.Now())
			if err != nil {
				return err
			}
			if to == "" {
				return badUsage("--for or --to says when it ends")
			}
			return e.with(cmd.Context(), b, true, func(c *client) error {
				body := silenceChange{Kind: kind, Matchers: args, StartsAt: from, EndsAt: to, Comment: span.comment}
				return e.changeSilence(cmd.Context(), c, http.MethodPost, "", body)
			})
		},
	}
	span.flags(cmd)
	cmd.Flags().StringVar(&kind, "kind", string(incident.KindSilence), "silence, maintenance or expected")
	require(cmd, "comment")
	b.flags(cmd)
	return cmd
}

func newSilenceUpdateCmd(e *env) *cobra.Command {
	var b backend
	var span silenceSpan
	cmd := &cobra.Command{
		Use:   "update ID",
		Short: "Change when a silence ends, or its comment",
		Long: `Change when a silence ends, its comment and, before it is active, when it starts. What
it matches cannot change: expire it and add another. --for counts from now.`,
		Example: "  driftd silence update 01KDVDNA3V13G04SQZY2NCRS4Q --for 2h",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to, err := span.span(time.Now())
			if err != nil {
				return err
			}
			return e.with(cmd.Context(), b, true, func(c *client) error {
				body := silenceChange{StartsAt: from, EndsAt: to, Comment: span.comment}
				return e.changeSilence(cmd.Context(), c, http.MethodPut, args[0], body)
			})
		},
	}
	span.flags(cmd)
	b.flags(cmd)
	return cmd
}

func newSilenceExpireCmd(e *env) *cobra.Command {
	var b backend
	cmd := &cobra.Command{
		Use:     "expire ID...",
		Short:   "End silences",
		Long:    "End silences now. One that is over stays as it is; expired ones are listed for five days.",
		Example: "  driftd silence expire 01KDVDNA3V13G04SQZY2NCRS4Q",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.with(cmd.Context(), b, true, func(c *client) error {
				over := make([]json.RawMessage, len(args))
				for i, id := range args {
					if err := c.do(cmd.Context(), http.MethodDelete, silencesPath+"/"+url.PathEscape(id), call{}, &over[i]); err != nil {
						return err
					}
				}
				return e.printSilences(silenceItems{over}, over...)
			})
		},
	}
	b.flags(cmd)
	return cmd
}

// changeSilence sends a change and prints the silence.
func (e *env) changeSilence(ctx context.Context, c *client, method, id string, change silenceChange) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := c.do(ctx, method, strings.TrimSuffix(silencesPath+"/"+url.PathEscape(id), "/"), call{body: body, kind: "application/json"}, &raw); err != nil {
		return err
	}
	return e.printSilences(raw, raw)
}

func newSilenceListCmd(e *env) *cobra.Command {
	var b backend
	var expired bool
	var kind string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List silences that are active or pending",
		Long:    "List the silences, maintenances and expected changes that are active or pending.",
		Example: "  driftd silence list\n  driftd silence list --expired -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.with(cmd.Context(), b, false, func(c *client) error {
				query := url.Values{}
				if kind != "" {
					query.Set("kind", kind)
				}
				return e.listSilences(cmd.Context(), c, query, expired)
			})
		},
	}
	cmd.Flags().BoolVar(&expired, "expired", false, "those that are over instead")
	cmd.Flags().StringVar(&kind, "kind", "", "silence, maintenance or expected only")
	b.flags(cmd)
	return cmd
}

func (e *env) listSilences(ctx context.Context, c *client, query url.Values, expired bool) error {
	all, err := list[json.RawMessage](ctx, c, silencesPath, query)
	if err != nil {
		return err
	}
	kept := []json.RawMessage{}
	for _, raw := range all {
		var s silenceItem
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("read a silence: %w", err)
		}
		if (s.State == string(incident.SilenceExpired)) == expired {
			kept = append(kept, raw)
		}
	}
	return e.printSilences(silenceItems{kept}, kept...)
}

// silenceItems is a list as the API has it.
type silenceItems struct {
	Items []json.RawMessage `json:"items"`
}

// printSilences prints silences, or as JSON the value that holds them.
func (e *env) printSilences(value any, all ...json.RawMessage) error {
	r := result{value: value, items: []any{}, sheet: sheet{head: []string{"id", "kind", "state", "matchers", "starts_at", "ends_at", "created_by", "comment"}}}
	for _, raw := range all {
		var s silenceItem
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("read a silence: %w", err)
		}
		r.items = append(r.items, raw)
		r.rows = append(r.rows, []any{s.ID, string(s.Kind), s.State, strings.Join(s.Matchers, " "), instantText(&s.StartsAt), instantText(&s.EndsAt), cmp.Or(s.CreatedBy, "-"), s.Comment})
	}
	return e.print(r)
}
