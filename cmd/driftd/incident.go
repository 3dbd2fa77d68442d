package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

const incidentsPath = "/api/v1/incidents"

// An incidentItem is what tables show of an incident of the API.
type incidentItem struct {
	ID       string     `json:"id"`
	State    string     `json:"state"`
	Severity string     `json:"severity"`
	Models   []string   `json:"models"`
	Owners   []string   `json:"owners"`
	Rules    []string   `json:"rules"`
	Firing   int        `json:"firing"`
	Ended    int        `json:"ended"`
	Opened   time.Time  `json:"opened"`
	Resolved *time.Time `json:"resolved"`
	Missing  []string   `json:"missing"`

	Acknowledged *incident.Act       `json:"acknowledged"`
	Diagnosis    *incident.Diagnosis `json:"diagnosis"`
	Remedy       *incident.Remedy    `json:"remedy"`
	Worth        *incident.Worth     `json:"worth"`
	ClosedBy     *incident.Act       `json:"closed_by"`

	Members  []incident.Member `json:"members"`
	Notes    []incident.Note   `json:"notes"`
	Timeline []ledger.Entry    `json:"timeline"`
	Told     []struct {
		Receiver string    `json:"receiver"`
		At       time.Time `json:"at"`
		Closing  bool      `json:"closing"`
		Error    string    `json:"error"`
	} `json:"told"`
	Owed []struct {
		Receiver string `json:"receiver"`
		Attempts int    `json:"attempts"`
		Error    string `json:"error"`
		For      string `json:"for"`
	} `json:"owed"`
}

func newIncidentCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "incident",
		Short: "Look after incidents, and record what they were",
		Long: `An incident is the alerts of one group, from the first that starts until the last has
ended. What people do about it is in the ledger, under the name of their token.

Beside a running daemon the commands ask it; with the daemon stopped they open its
store, and those that change something need its configuration (-c). An ID may be cut
short, as long as it names one incident.`,
		Example: `  driftd incident list --state open
  driftd incident ack 01KB0Z8F
  driftd incident diagnose 01KB0Z8F --cause upstream_data --text "the night's ETL was late"
  driftd incident remedy 01KB0Z8F --remedy fixed_upstream --result worked
  driftd incident worth 01KB0Z8F yes
  driftd incident close 01KB0Z8F`,
	}
	cmd.AddCommand(newIncidentListCmd(e), newIncidentShowCmd(e), newIncidentAckCmd(e), newIncidentNoteCmd(e), newIncidentDiagnoseCmd(e), newIncidentRemedyCmd(e), newIncidentWorthCmd(e), newIncidentCloseCmd(e))
	return cmd
}

func newIncidentListCmd(e *env) *cobra.Command {
	var b backend
	var state, model, owner, severity, since string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List incidents, the newest first",
		Long: `List incidents, the newest first: open ones, those that have ended (resolved), and
those of which somebody said that nothing is left to do (closed).`,
		Example: "  driftd incident list --state open --severity page\n  driftd incident list --model fraud --since -30d -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{"limit": {"1000"}}
			for name, text := range map[string]string{"state": state, "model": model, "owner": owner, "severity": severity, "since": since} {
				if text != "" {
					query.Set(name, text)
				}
			}
			return e.with(cmd.Context(), b, false, func(c *client) error {
				raw, err := list[json.RawMessage](cmd.Context(), c, incidentsPath, query)
				if err != nil {
					return err
				}
				r, err := incidentsResult(raw)
				if err != nil {
					return err
				}
				return e.print(r)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&state, "state", "", "open, resolved or closed")
	f.StringVar(&model, "model", "", "of one model")
	f.StringVar(&owner, "owner", "", "of one owner")
	f.StringVar(&severity, "severity", "", "page, ticket or info")
	f.StringVar(&since, "since", "", "that opened since: RFC 3339, Unix seconds, or a span before now like -24h")
	complete(cmd, "state", incident.PhaseOpen, incident.PhaseResolved, incident.PhaseClosed)
	complete(cmd, "severity", "page", "ticket", "info")
	b.flags(cmd)
	return cmd
}

// complete offers words as the values of a flag.
func complete(cmd *cobra.Command, flag string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // a flag of that name is defined before
	}
}

// incidentsResult prints incidents as the API told them.
func incidentsResult(raw []json.RawMessage) (result, error) {
	r := result{
		value: struct {
			Items []json.RawMessage `json:"items"`
		}{raw}, items: []any{},
		sheet: sheet{head: []string{"id", "state", "severity", "models", "rules", "firing", "opened", "ended", "acknowledged", "cause", "worth"}},
	}
	for _, text := range raw {
		var i incidentItem
		if err := json.Unmarshal(text, &i); err != nil {
			return r, fmt.Errorf("read an incident: %w", err)
		}
		r.items = append(r.items, text)
		r.rows = append(r.rows, []any{
			i.ID, i.State, i.Severity, strings.Join(i.Models, ", "), strings.Join(i.Rules, ", "), i.Firing, i.Opened.Format(timeLayout), instantText(i.Resolved), actorOf(i.Acknowledged), i.cause(), i.worth(),
		})
	}
	return r, nil
}

func actorOf(a *incident.Act) string {
	if a == nil {
		return ""
	}
	return a.By
}

func (i *incidentItem) cause() string {
	if i.Diagnosis == nil {
		return ""
	}
	return i.Diagnosis.Cause
}

func (i *incidentItem) worth() string {
	if i.Worth == nil {
		return ""
	}
	return i.Worth.Worth
}

func newIncidentShowCmd(e *env) *cobra.Command {
	var b backend
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show one incident: its alerts, why they fired, what people did, who was told",
		Long:    "Show the alerts of an incident, why the leading ones fired, what people did about it, and who was told and is still to be.",
		Example: "  driftd incident show 01KB0Z8F\n  driftd incident show 01KB0Z8F -o json",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: e.incidentIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.with(cmd.Context(), b, false, func(c *client) error {
				raw, err := findIncident(cmd.Context(), c, args[0])
				if err != nil {
					return err
				}
				return e.printIncident(raw)
			})
		},
	}
	b.flags(cmd)
	return cmd
}

// incidentIDs completes the id of an incident, if a daemon answers.
func (e *env) incidentIDs(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	c, err := e.client()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var page struct {
		Items []incidentItem `json:"items"`
	}
	if c.get(cmd.Context(), incidentsPath, url.Values{"limit": {"50"}}, &page) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	out := make([]string, len(page.Items))
	for k, i := range page.Items {
		out[k] = cobra.CompletionWithDesc(i.ID, printable(i.State+" "+strings.Join(i.Models, ", ")))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// findIncident returns the incident that an id names, which may be cut short.
func findIncident(ctx context.Context, c *client, id string) (raw json.RawMessage, err error) {
	err = c.get(ctx, incidentsPath+"/"+url.PathEscape(id), nil, &raw)
	var p *problem
	if err == nil || !errors.As(err, &p) || p.Status != http.StatusNotFound {
		return raw, err
	}
	all, listed := list[incidentItem](ctx, c, incidentsPath, url.Values{"limit": {"1000"}})
	if listed != nil {
		return nil, listed
	}
	all = slices.DeleteFunc(all, func(i incidentItem) bool { return !strings.HasPrefix(i.ID, id) })
	switch len(all) {
	case 0:
		return nil, err
	case 1:
		return raw, c.get(ctx, incidentsPath+"/"+url.PathEscape(all[0].ID), nil, &raw)
	}
	return nil, fmt.Errorf("%d incidents begin with %q: write more of the id", len(all), id)
}

func (e *env) printIncident(raw json.RawMessage) error {
	var i incidentItem
	if err := json.Unmarshal(raw, &i); err != nil {
		return fmt.Errorf("read an incident: %w", err)
	}
	r := result{value: raw, items: []any{}, above: i.above(), below: i.below(), sheet: sheet{head: []string{"rule", "state", "severity", "model", "signal", "since", "until", "key"}}}
	for k := range i.Members {
		m := &i.Members[k]
		state, until := "firing", ""
		if !m.Firing() {
			state, until = "resolved", m.EndsAt.Format(timeLayout)
		}
		r.items = append(r.items, m)
		r.rows = append(r.rows, []any{m.Labels["alertname"], state, m.Severity, m.Model, m.Labels["feature"], m.StartsAt.Format(timeLayout), until, m.Key})
	}
	return e.print(r)
}

// above says what became of an incident.
func (i *incidentItem) above() []string {
	out := []string{fmt.Sprintf("%s  %s, %s, opened %s", i.ID, i.State, i.Severity, i.Opened.Format(timeLayout))}
	say := func(format string, args ...any) { out = append(out, printable(fmt.Sprintf(format, args...))) }
	if i.Acknowledged != nil {
		say("%s looks after it since %s", i.Acknowledged.By, i.Acknowledged.At.Format(timeLayout))
	}
	if d := i.Diagnosis; d != nil {
		say("cause: %s (%s) %s", d.Cause, d.By, d.Text)
	}
	if d := i.Remedy; d != nil {
		say("remedy: %s, %s (%s) %s", d.Remedy, d.Result, d.By, d.Text)
	}
	if d := i.Worth; d != nil {
		say("worth waking for: %s (%s) %s", d.Worth, d.By, d.Text)
	}
	if i.ClosedBy != nil {
		say("closed by %s at %s", i.ClosedBy.By, i.ClosedBy.At.Format(timeLayout))
	} else if len(i.Missing) > 0 {
		say("missing before it can be closed: %s", strings.Join(i.Missing, ", "))
	}
	return append(out, "")
}

// why says of the leading alert why it fired, and of the next ones in a sentence.
func (i *incidentItem) why() (out []string) {
	const most = 5
	say := func(format string, args ...any) { out = append(out, printable(fmt.Sprintf(format, args...))) }
	explained := incident.Explain(i.Members, i.Timeline)
	for k := range explained[:min(len(explained), most)] {
		a := &explained[k].Alert
		say("why %s: %s", a.Rule, cmp.Or(strings.Join(a.Clauses(), "; "), a.Reason))
		if k > 0 {
			continue
		}
		for _, line := range a.Explanation.Lines() {
			say("  %s: %s", strings.ToLower(line.Name), strings.Join(line.Texts, "; "))
		}
	}
	if more := len(explained) - most; more > 0 {
		say("%d more alerts say why: -o json has all of it", more)
	}
	return out
}

// below says why alerts fired, what people wrote, and who was told.
func (i *incidentItem) below() (out []string) {
	out = i.why()
	say := func(format string, args ...any) { out = append(out, printable(fmt.Sprintf(format, args...))) }
	for _, n := range i.Notes {
		say("%s  %s: %s", n.At.Format(timeLayout), n.By, n.Text)
	}
	for _, t := range i.Told {
		what := "was told"
		if t.Closing {
			what = "was told of the end"
		}
		if t.Error != "" {
			what = "was given up: " + t.Error
		}
		say("%s  receiver %s %s", t.At.Format(timeLayout), t.Receiver, what)
	}
	for _, o := range i.Owed {
		what := fmt.Sprintf("is still to be told, %d attempts", o.Attempts)
		if o.For != "" {
			what += ", if nobody of " + o.For + " acknowledges"
		}
		if o.Error != "" {
			what += ": " + o.Error
		}
		say("receiver %s %s", o.Receiver, what)
	}
	if len(out) > 0 {
		out = slices.Insert(out, 0, "")
	}
	return out
}

// act is a command that does one thing about one incident. args are how many it takes
// behind the id; body makes the request's of them.
func (e *env) act(cmd *cobra.Command, path string, args int, body func(args []string) any) *cobra.Command {
	var b backend
	cmd.Args = cobra.ExactArgs(1 + args)
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = e.incidentIDs
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		text, err := json.Marshal(body(args[1:]))
		if err != nil {
			return err
		}
		return e.with(cmd.Context(), b, true, func(c *client) error {
			raw, err := findIncident(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			var found incidentItem
			if err := json.Unmarshal(raw, &found); err != nil {
				return fmt.Errorf("read an incident: %w", err)
			}
			target := incidentsPath + "/" + url.PathEscape(found.ID) + "/" + path
			if err := c.do(cmd.Context(), http.MethodPost, target, call{body: text, kind: "application/json"}, &raw); err != nil {
				return err
			}
			return e.printIncident(raw)
		})
	}
	b.flags(cmd)
	return cmd
}

func newIncidentAckCmd(e *env) *cobra.Command {
	var known bool
	cmd := e.act(&cobra.Command{
		Use:     "ack ID",
		Aliases: []string{"acknowledge"},
		Short:   "Say that you look after an open incident",
		Long: `Look after an open incident: it is not repeated, nor told to those to whom it would be
escalated, and everybody who was told hears of it.

With --known you say that the change is known and will stay: the drift of the incident
ends, and its detectors are silent until they have been quiet.`,
		Example: "  driftd incident ack 01KB0Z8F\n  driftd incident ack 01KB0Z8F --known",
	}, "acknowledge", 0, func([]string) any {
		return struct {
			Known bool `json:"known,omitempty"`
		}{known}
	})
	cmd.Flags().BoolVar(&known, "known", false, "the change is known and will stay: its drift ends")
	return cmd
}

func newIncidentNoteCmd(e *env) *cobra.Command {
	return e.act(&cobra.Command{
		Use:     "note ID TEXT",
		Short:   "Say something about an incident",
		Long:    "Add a note to an incident, at most 4096 bytes.",
		Example: `  driftd incident note 01KB0Z8F "the night's ETL was late"`,
	}, "notes", 1, func(args []string) any { return map[string]string{"text": args[0]} })
}

func newIncidentDiagnoseCmd(e *env) *cobra.Command {
	var cause, text string
	cmd := e.act(&cobra.Command{
		Use:     "diagnose ID --cause CAUSE",
		Short:   "Say what caused an incident",
		Long:    "Say what caused an incident: one of incidents.causes, and more in words if there is more to say.",
		Example: `  driftd incident diagnose 01KB0Z8F --cause upstream_data --text "the night's ETL was late"`,
	}, "diagnosis", 0, func([]string) any { return map[string]string{"cause": cause, "text": text} })
	cmd.Flags().StringVar(&cause, "cause", "", "one of incidents.causes, such as "+strings.Join(incident.DefaultCauses()[:3], ", "))
	cmd.Flags().StringVar(&text, "text", "", "more about it")
	complete(cmd, "cause", incident.DefaultCauses()...)
	require(cmd, "cause")
	return cmd
}

func newIncidentRemedyCmd(e *env) *cobra.Command {
	var remedy, outcome, text string
	cmd := e.act(&cobra.Command{
		Use:     "remedy ID --remedy REMEDY --result RESULT",
		Short:   "Say what was done about an incident, and what came of it",
		Long:    "Say what was done about an incident, and whether it worked. What is pending can be said again later.",
		Example: `  driftd incident remedy 01KB0Z8F --remedy retrained --result pending --text "run 4711"`,
	}, "remedy", 0, func([]string) any {
		return map[string]string{"remedy": remedy, "result": outcome, "text": text}
	})
	cmd.Flags().StringVar(&remedy, "remedy", "", strings.Join(incident.Remedies, ", "))
	cmd.Flags().StringVar(&outcome, "result", "", strings.Join(incident.Results, ", "))
	cmd.Flags().StringVar(&text, "text", "", "more about it")
	complete(cmd, "remedy", incident.Remedies...)
	complete(cmd, "result", incident.Results...)
	require(cmd, "remedy", "result")
	return cmd
}

func newIncidentWorthCmd(e *env) *cobra.Command {
	return e.act(&cobra.Command{
		Use:     "worth ID yes|no|unsure",
		Short:   "Say whether an incident was worth waking for",
		Long:    "Say whether an incident was worth waking for. The digest makes the precision of rules and budgets of the answers.",
		Example: "  driftd incident worth 01KB0Z8F no",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return incident.Worths, cobra.ShellCompDirectiveNoFileComp
			}
			return e.incidentIDs(cmd, args, word)
		},
	}, "worth", 1, func(args []string) any { return map[string]string{"worth": args[0]} })
}

func newIncidentCloseCmd(e *env) *cobra.Command {
	return e.act(&cobra.Command{
		Use:     "close ID",
		Short:   "Say that nothing is left to do about an incident that has ended",
		Long:    "Close an incident that has ended. What incidents.close_requires names must have been said before.",
		Example: "  driftd incident close 01KB0Z8F",
	}, "close", 0, func([]string) any { return struct{}{} })
}
