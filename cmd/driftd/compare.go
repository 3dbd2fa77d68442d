package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/dataset"
	"driftd.dev/driftd/pkg/drift"
)

// compareOptions are the flags of compare.
type compareOptions struct {
	reference, current         string
	referenceRows, currentRows string
	config, model              string
	ignore                     []string
	time                       string
	types                      []string
	failOn                     string
	compat                     string
}

func newCompareCmd(e *env) *cobra.Command {
	var o compareOptions
	cmd := &cobra.Command{
		Use:   "compare --reference FILE --current FILE",
		Short: "Compare two files: what moved, and does it matter",
		Long: `Compare the columns of two files (CSV, CSV.gz, JSON lines or Parquet) by the code
that the daemon runs on windows. The reference gives the bins; the verdict of a
column is insufficient (fewer than 100 values), stable, minor or material: both
significant over all columns together and large enough to matter.

Unnamed columns, unique ids and dates are recognised and ignored. psi is the one
on the reference's deciles; missing values are shares of rows.

With --compat evidently or nannyml each column also carries the figures that
tool would print, by its formulas and defaults, for checking a migration. No
verdict depends on them, and every value is held in memory (8 bytes a number).

With --fail-on drift the exit code is 4 when a column is material.`,
		Example: `  driftd compare --reference january.csv.gz --current february.csv.gz
  driftd compare --reference train.parquet --current live.jsonl --types zip=categorical --fail-on drift
  driftd compare --reference all.csv --reference-rows 1-1000 --current all.csv --current-rows 1001-2000
  driftd compare --reference train.parquet --current live.parquet --compat evidently
  driftd compare --reference a.csv --current b.csv -o html > report.html`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{formatsKey: "html"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.compare(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.reference, "reference", "", "file that says how it should be")
	f.StringVar(&o.current, "current", "", "file to look at")
	f.StringVar(&o.referenceRows, "reference-rows", "", "rows of the reference, FROM-TO counted from 1 (default all)")
	f.StringVar(&o.currentRows, "current-rows", "", "rows of the current file, FROM-TO counted from 1 (default all)")
	f.StringVarP(&o.config, "config", "c", "", "driftd.yaml whose features give types")
	f.StringVar(&o.model, "model", "", "with --config: the model whose features count (default: of every model), and are watched together")
	f.StringSliceVar(&o.ignore, "ignore", nil, "columns to leave out")
	f.StringVar(&o.time, "time", "", "column that is a time")
	f.StringSliceVar(&o.types, "types", nil, "types of columns, as zip=categorical: numeric, categorical, id or time")
	f.StringVar(&o.failOn, "fail-on", "", `"drift": exit with 4 when a column is material`)
	f.StringVar(&o.compat, "compat", "", "figures of another tool beside driftd's: evidently or nannyml")
	require(cmd, "reference", "current")
	return cmd
}

func (e *env) compare(ctx context.Context, o compareOptions) error {
	if o.failOn != "" && o.failOn != "drift" {
		return badUsage("--fail-on %q: use drift", o.failOn)
	}
	peer, err := parsePeer(o.compat)
	if err != nil {
		return err
	}
	pair, err := openPair(o)
	if err != nil {
		return err
	}
	defer pair.close()
	if peer != nil {
		pair.keepRaw()
	}
	c, err := pair.compare(ctx, e)
	if err != nil {
		return err
	}
	c.peer = peer
	if e.output == "html" {
		err = writeComparePage(e.out, c)
	} else {
		err = e.print(c.result())
	}
	if err != nil {
		return err
	}
	if o.failOn != "" && c.report.Drifting > 0 {
		return codedError{code: codeCondition}
	}
	return nil
}

// openPair opens both files and settles the types of their columns: those of
// the reference hold for both, and flags win over the configuration.
func openPair(o compareOptions) (*pair, error) {
	types, err := columnTypes(o)
	if err != nil {
		return nil, err
	}
	p := &pair{}
	if p.ref, err = openSide("reference", o.reference, o.referenceRows); err != nil {
		return nil, err
	}
	if p.cur, err = openSide("current", o.current, o.currentRows); err != nil {
		p.close()
		return nil, err
	}
	p.together = types.together
	if err = p.override(types); err == nil {
		err = p.match(o.ignore)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// columnTypes gathers what was said about types: by flags, for which a name
// that no file has is an error, and by the configuration, for which it is not.
func columnTypes(o compareOptions) (t declaredTypes, err error) {
	if t.said, err = parseTypes(o.types); err != nil {
		return t, err
	}
	if o.time != "" {
		t.said[o.time] = dataset.TimeType
	}
	if o.config == "" {
		return t, nil
	}
	cfg, err := config.Load(o.config, config.Options{})
	if err != nil {
		return t, err
	}
	t.known, t.together = configTypes(cfg, o.model), drift.Multivariate(cfg.Model(o.model).Multivariate)
	return t, nil
}

// configTypes returns the types that a configuration fixes.
func configTypes(cfg *config.Config, model string) map[string]dataset.Type {
	types := map[string]dataset.Type{}
	for name, typ := range cfg.FeatureTypes(model) {
		if t, err := dataset.ParseType(string(typ)); err == nil { // auto is no type
			types[name] = t
		}
	}
	return types
}

// parseTypes reads NAME=TYPE pairs; a name may hold =.
func parseTypes(pairs []string) (map[string]dataset.Type, error) {
	types := map[string]dataset.Type{}
	for _, pair := range pairs {
		at := strings.LastIndexByte(pair, '=')
		if at < 0 {
			return nil, badUsage("--types %q: write NAME=TYPE, such as zip=categorical", pair)
		}
		t, err := dataset.ParseType(pair[at+1:])
		if err != nil {
			return nil, badUsage("--types %q: %w", pair, err)
		}
		types[pair[:at]] = t
	}
	return types, nil
}

// A comparison is what compare found.
type comparison struct {
	pair   *pair
	base   *drift.Part
	report *drift.Report
	peer   *peer // whose figures are told too, nil for none
}

// compare counts the reference, then the current rows on its edges, and
// compares the two.
func (p *pair) compare(ctx context.Context, e *env) (*comparison, error) {
	b := drift.NewBuilder(drift.BuilderOptions{Fine: true, Multivariate: p.together})
	for ev := range p.ref.events(ctx, e, p.columns) {
		b.Add(ev)
	}
	if err := errors.Join(p.ref.err, p.ref.empty()); err != nil {
		return nil, err
	}
	base := b.Build(drift.Approved, drift.Origin{Kind: "import", Source: p.ref.path}).Part("")
	base.Signals = featuresOf(base.Signals)
	w, err := base.Count(p.cur.events(ctx, e, p.columns))
	if err := errors.Join(err, p.cur.err, p.cur.empty()); err != nil {
		return nil, err
	}
	return &comparison{pair: p, base: base, report: drift.Compare(base, p.ref.path, true, w)}, nil
}

// featuresOf leaves out the signal "error", which events have and rows do not.
func featuresOf(all []drift.Reference) (features []drift.Reference) {
	for _, s := range all {
		if s.Feature {
			features = append(features, s)
		}
	}
	return features
}

// empty is an error if the side had no rows.
func (s *side) empty() error {
	if s.rows > 0 {
		return nil
	}
	return fmt.Errorf("%s: no rows to compare: give the %s file a line for each row after the header", s.path, s.name)
}
