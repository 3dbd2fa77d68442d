package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/dataset"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// importOptions are the flags of baseline import.
type importOptions struct {
	backend
	model, version string
	mapping        string
	types, ignore  []string
	timeColumn     string
	timeless       bool // a file need not have the timeColumn
	noHistory      bool
}

func newBaselineImportCmd(e *env) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import FILE... --model MODEL",
		Short: "Make a baseline of files",
		Long: `Make the reference of a model of the rows of files (CSV, CSV.gz, JSON lines or
Parquet), approved at once. Rows pass through the same decoder as live events: with
-c also the privacy policy, the types and the segments of that configuration.

Without --map every column is a feature, but for ids, times and --ignore. With
--map, written as for driftd send, predictions and scores become references too.

Rows that have a time (--time-column, or time in --map) also show what is normal for
the model: how much its windows differ from each other, over the day and the week.
With enough of them drift is judged within the model's budget at once; otherwise
driftd has to watch for weeks first. --no-history leaves that out.`,
		Example: `  driftd baseline import train.csv.gz --model churn --ignore split,weight
  driftd baseline import flights.csv.gz --model delay --time-column DATE
  driftd baseline import reference.parquet --model churn -c driftd.yaml \
    --map 'id=id,prediction=p,scores.yes=probability,features=*'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			return e.importBaseline(cmd.Context(), files, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.model, "model", "", "the model")
	f.StringVar(&o.version, "version", "", "only for this version of it")
	f.StringVar(&o.mapping, "map", "", "how rows become events (default: every column is a feature)")
	f.StringSliceVar(&o.types, "types", nil, "types of columns, as zip=categorical: numeric, categorical, id or time")
	f.StringSliceVar(&o.ignore, "ignore", nil, "without --map: columns to leave out")
	f.StringVar(&o.timeColumn, "time-column", "", "without --map: the column that holds the time of a row")
	f.BoolVar(&o.noHistory, "no-history", false, "do not learn from the rows' times what is normal")
	require(cmd, "model")
	o.flags(cmd)
	return cmd
}

func (e *env) importBaseline(ctx context.Context, files []string, o importOptions) error {
	if o.mapping != "" && (len(o.ignore) > 0 || o.timeColumn != "") {
		return badUsage("--ignore and --time-column belong to imports without --map: say it there")
	}
	im, err := newImporter(o)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := im.add(ctx, e, file); err != nil {
			return err
		}
	}
	b, err := im.build(files)
	if err != nil {
		return err
	}
	return e.with(ctx, o.backend, true, func(c *client) error {
		h, err := im.history(ctx, e, c, files, b)
		if err != nil {
			return err
		}
		body, err := api.EncodeImport(b, h)
		if err != nil {
			return fmt.Errorf("encode the baseline: %w", err)
		}
		if len(body) > api.MaxBaselineBytes {
			return fmt.Errorf("the baseline takes %d MiB, more than %d: leave columns out with --ignore", len(body)>>20, api.MaxBaselineBytes>>20)
		}
		var raw json.RawMessage
		digest := sha256.Sum256(body)
		err = c.do(ctx, http.MethodPost, baselinesPath, call{body: body, kind: "application/json", key: "import:" + hex.EncodeToString(digest[:])}, &raw)
		if err != nil {
			return err
		}
		return e.printBaseline(raw)
	})
}

// An importer makes a baseline of rows.
type importer struct {
	importOptions
	types   declaredTypes
	policy  *event.Policy // nil without a configuration
	limits  event.Limits
	vectors []string // columns that the configuration watches as vectors
	builder *drift.Builder
	digest  []byte
	from    int64 // unix ns of the first and the last event that has a time
	to      int64
}

func newImporter(o importOptions) (*importer, error) {
	im := &importer{importOptions: o}
	build := drift.BuilderOptions{Model: o.model, Version: o.version}
	var err error
	if im.types.said, err = parseTypes(o.types); err != nil {
		return nil, err
	}
	if o.config != "" {
		c, err := config.Load(o.config, config.Options{})
		if err != nil {
			return nil, err
		}
		key, err := c.HMACKey()
		if err != nil {
			return nil, err
		}
		if im.policy, err = event.NewPolicy(c.PolicySpec(key)); err != nil {
			return nil, err
		}
		im.limits, im.types.known = c.EventLimits(), configTypes(c, o.model)
		build.Categories = c.Limits.Categories
		settings := c.Model(o.model)
		for _, s := range settings.Segments {
			build.Segments = append(build.Segments, s)
		}
		im.vectors = settings.Multivariate.Vectors
		build.Multivariate = drift.Multivariate(settings.Multivariate)
	}
	im.builder = drift.NewBuilder(build)
	return im, nil
}

// add counts the rows of one file.
func (im *importer) add(ctx context.Context, e *env, file string) error {
	if err := im.read(ctx, e, "import", file, im.count); err != nil {
		return err
	}
	return im.hash(file)
}

// read hands every row of a file to fn, as an event that fn must not keep.
func (im *importer) read(ctx context.Context, e *env, what, file string, fn func(*event.Event)) error {
	table, err := dataset.Open(file, dataset.Limits{})
	if err != nil {
		return err
	}
	defer func() { _ = table.Close() }() // it was only read
	for name := range im.types.said {
		if table.Index(name) < 0 {
			return badUsage("--types: %s has no column %q: it has %s", file, name, names(table))
		}
	}
	if err := table.Override(present(table, im.types.known, im.types.said)); err != nil {
		return err
	}
	mapping, err := im.bind(table)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for ev, err := range im.events(ctx, e, what, table, mapping) {
		if err != nil {
			return err
		}
		fn(ev)
	}
	return nil
}

// events makes an event of every row, through the decoder of live events. what names
// the work for its progress.
func (im *importer) events(ctx context.Context, e *env, what string, table *dataset.Table, mapping *dataset.Map) iter.Seq2[*event.Event, error] {
	return func(yield func(*event.Event, error) bool) {
		_, total := table.Progress()
		progress := e.newProgress(what+" "+table.Path(), "bytes", total)
		defer progress.end()
		decoder := event.NewDecoder(im.policy, im.limits)
		var batch event.Batch
		var ev event.Event
		for row, err := range table.All() {
			if err == nil {
				err = mapping.Event(row, row.N, &ev)
			}
			if err == nil && row.N%4096 == 0 {
				done, _ := table.Progress()
				progress.at(done)
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, err)
				return
			}
			ev.Model = im.model
			batch.Reset()
			if reject := decoder.Decode(&batch, event.Prediction, "", event.AppendJSON(nil, &ev)); reject != nil {
				yield(nil, &dataset.Error{File: table.Path(), Line: row.Line, Rows: table.Format() == "parquet", Err: reject})
				return
			}
			if !yield(&batch.Events[0], nil) {
				return
			}
		}
	}
}

func (im *importer) count(ev *event.Event) {
	im.builder.Add(ev)
	if ev.Time == 0 {
		return
	}
	if im.from == 0 || ev.Time < im.from {
		im.from = ev.Time
	}
	im.to = max(im.to, ev.Time)
}

// bind returns how the rows of a table become events.
func (im *importer) bind(table *dataset.Table) (*dataset.Map, error) {
	text := im.mapping
	if text == "" {
		var err error
		if text, err = im.everything(table); err != nil {
			return nil, err
		}
	}
	m, err := dataset.ParseMap(text)
	if err != nil {
		return nil, badUsage("--map: %w", err)
	}
	if m.Kind() != event.Prediction {
		return nil, badUsage("--map describes events of kind %s: a baseline is made of predictions", m.Kind())
	}
	return m, m.Bind(table.Columns())
}

// everything is the map that makes a feature of every column that is compared.
func (im *importer) everything(table *dataset.Table) (string, error) {
	for _, name := range im.ignore {
		if table.Index(name) < 0 {
			return "", badUsage("--ignore: no column %q: there are %s", name, names(table))
		}
	}
	at := ""
	if im.timeColumn != "" {
		switch {
		case table.Index(im.timeColumn) >= 0:
			at = `time="` + im.timeColumn + `",`
		case !im.timeless:
			return "", badUsage("--time-column: no column %q: there are %s", im.timeColumn, names(table))
		}
	}
	var features []string
	for _, c := range table.Columns() {
		if (c.Type.Compared() || slices.Contains(im.vectors, c.Name)) && c.Name != im.timeColumn && !slices.Contains(im.ignore, c.Name) {
			features = append(features, `"`+c.Name+`"`)
		}
	}
	if len(features) == 0 {
		return "", errors.New("no column can be a feature: --types NAME=numeric makes one")
	}
	return "id='row-'+row," + at + "features=" + strings.Join(features, ","), nil
}

// hash adds a file to the digest of the origin.
func (im *importer) hash(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	h := sha256.New()
	h.Write(im.digest)
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	im.digest = h.Sum(nil)
	return nil
}

func (im *importer) build(files []string) (*drift.Baseline, error) {
	rows := im.builder.Rows()
	if rows == 0 {
		return nil, fmt.Errorf("%s: no rows to make a baseline of", strings.Join(files, ", "))
	}
	origin := drift.Origin{Kind: "import", Digest: "sha256:" + hex.EncodeToString(im.digest), Actor: "cli", Rows: rows}
	for i, file := range files {
		if i > 0 {
			origin.Source += " "
		}
		origin.Source += filepath.Base(file)
	}
	if u, err := user.Current(); err == nil {
		origin.Actor = "cli:" + u.Username
	}
	if im.to != 0 {
		origin.From, origin.To = time.Unix(0, im.from).UTC(), time.Unix(0, im.to).UTC()
	}
	return im.builder.Build(drift.Approved, origin), nil
}
