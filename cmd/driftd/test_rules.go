package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/ruletest"
)

// testOptions are the flags of test rules.
type testOptions struct {
	run   string
	junit string
	bare  bool
}

func newTestCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "test",
		Short:   "Test rules before they decide anything",
		Long:    "Play tests of what decides. They need no daemon, no store and no network.",
		Example: "  driftd test rules rules/...",
	}
	cmd.AddCommand(newTestRulesCmd(e))
	return cmd
}

func newTestRulesCmd(e *env) *cobra.Command {
	var o testOptions
	cmd := &cobra.Command{
		Use:   "rules FILE|FOLDER|FOLDER/...",
		Short: "Play tests of rules: what should fire, and what should not",
		Long: `Play files of tests: statistics or events of a model, window by window, through the
code that judges those of the present, and compare what fires, who is told and what
is decided with what the file expects (docs/rule-tests.md).

A folder stands for its files that end in _test.yaml, FOLDER/... also for those of
the folders in it. The exit code is 3 when a test fails or a file has faults.`,
		Example: `  driftd test rules rules/drift_test.yaml
  driftd test rules rules/... --run 'quiet' -o json
  driftd test rules rules/... --junit report.xml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return e.testRules(args, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.run, "run", "", "only tests whose name matches this regular expression")
	f.StringVar(&o.junit, "junit", "", "also write the results to this file, as JUnit XML")
	f.BoolVar(&o.bare, "no-environment", false, "take environment variables that are not set for empty")
	return cmd
}

// A testReport is the JSON of test rules.
type testReport struct {
	OK     bool         `json:"ok"`
	Tests  int          `json:"tests"`
	Failed int          `json:"failed"` // tests
	Files  []testedFile `json:"files"`
}

type testedFile struct {
	File   string         `json:"file"`
	Errors []config.Fault `json:"errors,omitempty"` // then it has no tests
	Tests  []testedTest   `json:"tests"`
}

type testedTest struct {
	Name   string        `json:"name"`
	Line   int           `json:"line"`
	OK     bool          `json:"ok"`
	Error  string        `json:"error,omitempty"` // why it could not be played
	Took   float64       `json:"took_s"`
	Checks []testedCheck `json:"checks"`
}

type testedCheck struct {
	What     string   `json:"what"`
	Line     int      `json:"line"`
	OK       bool     `json:"ok"`
	Diff     []string `json:"diff,omitempty"` // "- " what was wanted, "+ " what is
	Timeline []string `json:"timeline,omitempty"`
}

func (e *env) testRules(args []string, o testOptions) error {
	only, err := regexp.Compile(o.run)
	if err != nil {
		return badUsage("--run: %w", err)
	}
	files, err := testFiles(args)
	if err != nil {
		return err
	}
	report := testReport{OK: true, Files: []testedFile{}}
	for _, file := range files {
		tested, err := testFile(file, only, environment(o.bare))
		if err != nil {
			return fmt.Errorf("test %s: %w", file, err)
		}
		report.add(tested)
	}
	if o.run != "" && report.OK && report.Tests == 0 {
		return badUsage("--run %q: no test has such a name", o.run)
	}
	if o.junit != "" {
		if err := writeJUnit(o.junit, report); err != nil {
			return err
		}
	}
	if err := e.print(report.result()); err != nil {
		return err
	}
	if !report.OK {
		return codedError{code: codeRefused}
	}
	return nil
}

func (r *testReport) add(f testedFile) {
	r.Files = append(r.Files, f)
	r.OK = r.OK && len(f.Errors) == 0
	for _, t := range f.Tests {
		r.Tests++
		if !t.OK {
			r.OK = false
			r.Failed++
		}
	}
}

const testSuffix = "_test.yaml"

// testFiles returns the files that arguments stand for, each once, in their order.
func testFiles(args []string) (files []string, err error) {
	for _, arg := range args {
		folder, deep := strings.CutSuffix(arg, "/...")
		info, err := os.Stat(folder)
		if err != nil {
			return nil, fmt.Errorf("find tests: %w", err)
		}
		found := []string{folder}
		if deep || info.IsDir() {
			if found, err = testsIn(folder, deep); err != nil {
				return nil, fmt.Errorf("find tests: %w", err)
			}
			if len(found) == 0 {
				return nil, badUsage("%s: no file there ends in %s", arg, testSuffix)
			}
		}
		for _, f := range found {
			if !slices.Contains(files, f) {
				files = append(files, f)
			}
		}
	}
	return files, nil
}

func testsIn(folder string, deep bool) (found []string, err error) {
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != folder && !deep:
			return fs.SkipDir
		case !entry.IsDir() && strings.HasSuffix(path, testSuffix):
			found = append(found, path)
		}
		return nil
	})
	return found, err
}

// testFile plays the tests of one file. Its faults are a finding, no error.
func testFile(file string, only *regexp.Regexp, o config.Options) (testedFile, error) {
	out := testedFile{File: file, Tests: []testedTest{}}
	loaded, err := config.LoadRuleTests(file, o)
	var faults config.Faults
	if errors.As(err, &faults) {
		out.Errors = faults
		return out, nil
	}
	if err != nil {
		return out, err
	}
	for i, t := range loaded.Tests {
		if only.MatchString(t.Name) {
			out.Tests = append(out.Tests, playTest(&loaded.World, t, loaded.Lines[i]))
		}
	}
	return out, nil
}

func playTest(w *ruletest.World, t ruletest.Test, line int) testedTest {
	began := time.Now()
	got, err := w.Run(t)
	out := testedTest{Name: t.Name, Line: line, OK: err == nil && got.Failed() == 0, Took: time.Since(began).Seconds(), Checks: []testedCheck{}}
	if err != nil {
		out.Error = err.Error()
	}
	for _, c := range got.Checks {
		out.Checks = append(out.Checks, testedCheck{What: c.What, Line: c.Line, OK: c.OK(), Diff: c.Diff, Timeline: c.Timeline})
	}
	return out
}

func (r testReport) result() result {
	out := result{value: r, items: []any{}, wide: &sheet{head: []string{"file", "line", "test", "check", "ok", "diff"}}}
	for _, f := range r.Files {
		checks := 0
		var failures []string
		if len(f.Errors) > 0 {
			failures = append(failures, strings.TrimRight(config.Faults(f.Errors).Error(), "\n"))
		}
		for _, fault := range f.Errors {
			out.wide.rows = append(out.wide.rows, []any{fault.File, fault.Line, "", "", false, fault.Message})
		}
		for _, t := range f.Tests {
			out.items = append(out.items, struct {
				File string `json:"file"`
				testedTest
			}{f.File, t})
			checks += len(t.Checks)
			if t.Error != "" {
				out.wide.rows = append(out.wide.rows, []any{f.File, t.Line, t.Name, "", false, t.Error})
			}
			for _, c := range t.Checks {
				out.wide.rows = append(out.wide.rows, []any{f.File, c.Line, t.Name, c.What, c.OK, strings.Join(c.Diff, "\n")})
			}
			if !t.OK {
				failures = append(failures, t.lines(f.File)...)
			}
		}
		if len(failures) == 0 {
			failures = []string{fmt.Sprintf("%s: ok, %s, %s", f.File, count(len(f.Tests), "test"), count(checks, "check"))}
		}
		out.above = append(out.above, failures...)
	}
	out.below = []string{fmt.Sprintf("%s, %d failed", count(r.Tests, "test"), r.Failed)}
	return out
}

// lines tell people of a failed test.
func (t *testedTest) lines(file string) []string {
	out := []string{printable(fmt.Sprintf("%s:%d: FAIL %s", file, t.Line, t.Name))}
	if t.Error != "" {
		out = append(out, printable("  "+t.Error))
	}
	for _, c := range t.Checks {
		if c.OK {
			continue
		}
		out = append(out, printable(fmt.Sprintf("  line %d: %s", c.Line, c.What)))
		for _, line := range c.Diff {
			out = append(out, printable("    "+line))
		}
		for _, line := range c.Timeline {
			out = append(out, printable("      "+line))
		}
	}
	return out
}
