package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/backtest"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
)

// backtestOptions are the flags of backtest.
type backtestOptions struct {
	rules, against  string
	from, to        string
	model, baseline string
	inject          []string
	failOn          string
	backend

	// Of a file instead of stored windows.
	file, reference string
	time, mapping   string
	types, ignore   []string
}

// running stands for a file of rules: those of the daemon.
const running = "running"

func newBacktestCmd(e *env) *cobra.Command {
	var o backtestOptions
	cmd := &cobra.Command{
		Use:   "backtest --rules FILE",
		Short: "Say what rules and budgets would have told, before they wake anybody",
		Long: `Judge the windows of the past by a file of rules, with the code that judges those
of the present: what would have fired, from when to when and why, how many pages a
day that makes, and how often each rule must be expected to fire in a month.

Where the file says which model draws on which budget (budgets, defaults, models and
features, as in a configuration), drift is judged within it too: the windows before
--from, or the rows of --reference if they have a time, are its reference period.

The windows are those that a daemon has stored (asked by its API, or with the
daemon stopped read from its store), against the baseline that is active now; rules
on windows under an hour see as far back as store.retention.panes. Or they are
counted from a file with --file, --reference and --time or --map.

--against compares with another file of rules, or with the daemon's own ("running").
--inject puts a fault into the data and says how long the rules took to notice:
FEATURE+0.25sd, FEATURE*1.3, FEATURE:missing=0.3 or FEATURE:new=0.1, and @TIME for
when it begins. That is exact in a file; of stored windows shares are exact to the
nearest count, while shifts and factors take values to be spread evenly in their bin.

With --fail-on drift the exit code is 4 when any rule would have fired.`,
		Example: `  driftd backtest --rules new.yaml --from -30d
  driftd backtest --rules new.yaml --against running --model fraud
  driftd backtest --rules new.yaml --inject 'amount+0.25sd@2026-01-05T12:00:00Z'
  driftd backtest --rules new.yaml --file june.csv --reference may.csv --time at -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.backtest(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.rules, "rules", "", `file of rules and budgets; "running" are the daemon's`)
	f.StringVar(&o.against, "against", "", `other rules: what do the first tell that these do not, and the other way round`)
	f.StringVar(&o.from, "from", "", "windows from this time on: RFC 3339, Unix seconds, or -30d (default a week before --to)")
	f.StringVar(&o.to, "to", "", "windows up to this time (default the last closed one)")
	f.StringVar(&o.model, "model", "", "one model (default every model that a rule watches; of a file: \"file\")")
	f.StringVar(&o.baseline, "baseline", "", "judge against this baseline of --model (default the active one)")
	f.StringArrayVar(&o.inject, "inject", nil, "fault to put into the data of --model")
	f.StringVar(&o.failOn, "fail-on", "", `"drift": exit with 4 when a rule would have fired`)
	f.StringVar(&o.file, "file", "", "rows to judge instead of stored windows: CSV, CSV.gz, JSON lines or Parquet")
	f.StringVar(&o.reference, "reference", "", "with --file: rows that say how it should be")
	f.StringVar(&o.time, "time", "", "with --file: column that is the time; every other one is a feature")
	f.StringVar(&o.mapping, "map", "", "with --file: how rows become events, as for driftd send, instead of --time")
	f.StringSliceVar(&o.types, "types", nil, "with --file: types of columns, as zip=categorical")
	f.StringSliceVar(&o.ignore, "ignore", nil, "with --time: columns to leave out")
	o.flags(cmd)
	require(cmd, "rules")
	return cmd
}

func (o *backtestOptions) validate() error {
	switch {
	case o.failOn != "" && o.failOn != "drift":
		return badUsage("--fail-on %q: use drift", o.failOn)
	case o.file == "" && (o.reference != "" || o.time != "" || o.mapping != "" || len(o.types)+len(o.ignore) > 0):
		return badUsage("--reference, --time, --map, --types and --ignore belong to --file")
	case o.file == "" && o.model == "" && (len(o.inject) > 0 || o.baseline != ""):
		return badUsage("--inject and --baseline need --model: whose data is it?")
	case o.file == "":
		return nil
	case o.reference == "":
		return badUsage("--file needs --reference: the rows that say how it should be")
	case (o.time == "") == (o.mapping == ""):
		return badUsage("--file needs --time COLUMN or --map with a time: windows are cut by it")
	case o.mapping != "" && len(o.ignore) > 0:
		return badUsage("--ignore belongs to --time: leave the columns out of the features of --map")
	case o.dir != "" || o.baseline != "" || o.from != "" || o.to != "":
		return badUsage("--store, --baseline, --from and --to belong to stored windows, not to --file")
	case o.rules == running || o.against == running:
		return badUsage(`"running" are a daemon's rules: write them to a file for --file`)
	}
	return nil
}

func (e *env) backtest(ctx context.Context, o backtestOptions) error {
	if err := o.validate(); err != nil {
		return err
	}
	var out *backtestReport
	var err error
	if o.file != "" {
		out, err = e.backtestFile(ctx, o)
	} else {
		err = e.with(ctx, o.backend, false, func(c *client) error {
			out, err = e.backtestStored(ctx, c, o)
			return err
		})
	}
	if err != nil {
		return err
	}
	if err := e.print(out.result()); err != nil {
		return err
	}
	if o.failOn != "" && slices.ContainsFunc(out.Models, func(r *backtest.Report) bool { return len(r.Intervals) > 0 }) {
		return codedError{code: codeCondition}
	}
	return nil
}

// A ruleFile is what a file of rules decides.
type ruleFile struct {
	rules     []*alert.Rule
	models    []string         // that it lists, by name or glob
	detection daemon.Detection // within the file's budgets
	gap       func(model string) time.Duration
}

// loadRules loads and compiles a file of rules, with the budgets in it.
func loadRules(file string) (ruleFile, error) {
	c, err := config.LoadRules(file, config.Options{})
	if err != nil {
		return ruleFile{}, err
	}
	out := ruleFile{detection: daemon.NewDetection(c), gap: func(model string) time.Duration { return c.Model(model).ExpectedGap.Std() }}
	for _, m := range c.Models {
		out.models = append(out.models, m.Name)
	}
	out.rules, err = c.AlertRules()
	return out, err
}

// An asked is a side of a backtest for the API: the rules, and the budget of each model.
type asked struct {
	rules  []api.RuleJSON
	budget func(model string) *api.BudgetJSON
}

// askFor returns what a file decides, or the daemon, for the API. models are all
// that there are: they share budgets.
func askFor(ctx context.Context, c *client, file string, models []string) (asked, error) {
	if file == running {
		rules, err := list[api.RuleJSON](ctx, c, "/api/v1/rules", nil)
		// driftd's own hold now and then, by what the daemon's loop knows.
		rules = slices.DeleteFunc(rules, func(r api.RuleJSON) bool { return slices.Contains(alert.OwnRules, r.Alert) })
		return asked{append([]api.RuleJSON{}, rules...), func(string) *api.BudgetJSON { return &api.BudgetJSON{Running: true} }}, err
	}
	f, err := loadRules(file)
	if err != nil {
		return asked{}, err
	}
	out := asked{rules: []api.RuleJSON{}}
	for _, r := range f.rules {
		out.rules = append(out.rules, api.NewRuleJSON(r.Spec()))
	}
	out.budget = func(model string) *api.BudgetJSON {
		conf, b := f.detection.Within(model, models)
		if conf == nil {
			return nil
		}
		return &api.BudgetJSON{Name: b.Name, Pages: conf.Pages, Per: config.Duration(conf.Per).String(), Weights: conf.Weights}
	}
	return out, nil
}

// backtestStored asks for one model after the other.
func (e *env) backtestStored(ctx context.Context, c *client, o backtestOptions) (*backtestReport, error) {
	all, err := modelNames(ctx, c)
	if err != nil {
		return nil, err
	}
	tried, err := askFor(ctx, c, o.rules, all)
	if err != nil {
		return nil, err
	}
	var against asked
	if o.against != "" {
		if against, err = askFor(ctx, c, o.against, all); err != nil {
			return nil, err
		}
	}
	models := all
	if o.model != "" {
		models = []string{o.model}
	}
	out := &backtestReport{Rules: o.rules, Against: o.against, Models: []*backtest.Report{}}
	progress := e.newProgress("judge", "models", int64(len(models)))
	defer progress.end()
	for i, model := range models {
		ask := api.BacktestJSON{Rules: tried.rules, Budget: tried.budget(model), Against: against.rules, From: o.from, To: o.to, Baseline: o.baseline, Inject: o.inject}
		if o.against != "" {
			ask.AgainstBudget = against.budget(model)
		}
		report, err := tryStored(ctx, c, model, ask)
		if err != nil {
			return nil, err
		}
		if len(report.Rules) > 0 || report.Against != nil || o.model != "" {
			out.Models = append(out.Models, report)
		}
		progress.at(int64(i + 1))
	}
	return out, nil
}

func modelNames(ctx context.Context, c *client) ([]string, error) {
	models, err := list[struct {
		Model string `json:"model"`
	}](ctx, c, "/api/v1/models", nil)
	var names []string
	for _, m := range models {
		names = append(names, m.Model)
	}
	return names, err
}

// tryStored judges the stored windows of one model.
func tryStored(ctx context.Context, c *client, model string, ask api.BacktestJSON) (*backtest.Report, error) {
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(ask); err != nil {
		return nil, fmt.Errorf("encode the rules: %w", err)
	}
	report := &backtest.Report{}
	return report, c.do(ctx, http.MethodPost, "/api/v1/models/"+url.PathEscape(model)+"/backtest", call{body: body.Bytes(), kind: "application/json"}, report)
}
