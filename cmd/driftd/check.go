package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/config"
)

// A checkReport is the JSON of check, by the contract.
type checkReport struct {
	OK     bool           `json:"ok"`
	Errors []config.Fault `json:"errors"`
	Noise  []noiseReport  `json:"noise,omitempty"` // with --noise, when there are no faults
}

func newCheckCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check files before the daemon reads them",
		Long: `Check reads files as the daemon would and prints every fault with its place and
what to do. The exit code is 3 when there are faults.`,
		Example: "  driftd check config /etc/driftd/driftd.yaml\n  driftd check rules rules/features.yaml rules/values.yaml -o json",
	}
	var bare bool
	var noise noiseOptions
	checkConfig := &cobra.Command{
		Use:   "config FILE...",
		Short: "Check configuration files",
		Long: `Check configuration files: names of settings, values, expressions of rules, and
what must fit together. With --no-environment a variable that is not set is no
fault, for files that are checked on another machine.`,
		Example: "  driftd check config driftd.yaml\n  driftd check config --no-environment deploy/driftd.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			return e.checkFiles(files, func(file string) error {
				_, err := config.Load(file, environment(bare))
				return err
			}, nil)
		},
	}
	checkRules := &cobra.Command{
		Use:   "rules FILE...",
		Short: "Check files of rules",
		Long: `Check files of rules: a list of rules, or a mapping with the key rules, beside which
budgets, defaults, models and features may stand. Expressions are compiled.

With --noise each rule is also judged on so much of the history that a daemon has
stored, asked by its API or read from --store: how often must it be expected to fire
in 30 days, over all models that it watches.`,
		Example: "  driftd check rules rules.yaml\n  driftd check rules rules.yaml --noise 30d",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			return e.checkFiles(files, func(file string) error {
				_, err := config.LoadRules(file, environment(bare))
				if faults := (config.Faults{}); errors.As(err, &faults) && strings.HasSuffix(file, testSuffix) {
					return config.Faults{{File: file, Line: 1, Column: 1, Message: "these are tests of rules: driftd test rules checks and runs them"}}
				}
				return err
			}, func() ([]noiseReport, error) { return e.measureNoise(cmd.Context(), noise, files) })
		},
	}
	checkRules.Flags().StringVar(&noise.span, "noise", "", "measure each rule on so much of the stored history, such as 30d")
	noise.flags(checkRules)
	for _, c := range []*cobra.Command{checkConfig, checkRules} {
		c.Flags().BoolVar(&bare, "no-environment", false, "take environment variables that are not set for empty")
		cmd.AddCommand(c)
	}
	return cmd
}

// environment returns how files are read: with the process's variables, or with
// any that is missing standing for nothing.
func environment(bare bool) config.Options {
	if !bare {
		return config.Options{}
	}
	return config.Options{LookupEnv: func(string) (string, bool) { return "", true }}
}

// checkFiles loads files one by one and prints the faults of all of them. A file
// that cannot be read is a failure, not a finding.
// measure, if it is not nil, says how noisy faultless rules are.
func (e *env) checkFiles(files []string, load func(string) error, measure func() ([]noiseReport, error)) error {
	report := checkReport{OK: true, Errors: []config.Fault{}}
	var text []string
	for _, file := range files {
		err := load(file)
		var faults config.Faults
		switch {
		case err == nil:
			text = append(text, file+": ok")
		case errors.As(err, &faults):
			report.OK = false
			report.Errors = append(report.Errors, faults...)
			text = append(text, strings.TrimRight(faults.Error(), "\n"))
		default:
			return fmt.Errorf("check %s: %w", file, err)
		}
	}
	if report.OK && measure != nil {
		var err error
		if report.Noise, err = measure(); err != nil {
			return err
		}
	}
	if err := e.print(report.result(append(text, noiseLines(report.Noise)...))); err != nil {
		return err
	}
	if !report.OK {
		return codedError{code: codeRefused}
	}
	return nil
}

func (r checkReport) result(text []string) result {
	out := result{
		value: r, items: []any{}, above: text,
		wide: &sheet{head: []string{"file", "line", "column", "message"}},
	}
	for _, f := range r.Errors {
		out.items = append(out.items, f)
		out.wide.rows = append(out.wide.rows, []any{f.File, f.Line, f.Column, f.Message})
	}
	if n := len(r.Errors); n > 0 {
		out.below = []string{count(n, "fault")}
	}
	return out
}
