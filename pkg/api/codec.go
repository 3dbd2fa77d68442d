package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/stats"
)

// Bounds of an encoded baseline. Bins and signals are counted over all parts:
// a short encoding can stand for a large histogram.
const (
	MaxBaselineBytes   = 64 << 20
	maxBaselineSignals = 1 << 16
	maxBaselineBins    = 1 << 24
	maxBaselineName    = 4096
)

const baselineFormat = "driftd/baseline/1"

// baselineCode is the JSON of a baseline. Edges and dictionaries stand once,
// under their ids; they and histograms are in the binary form of package stats.
// Equal baselines have equal bytes.
type baselineCode struct {
	Format       string            `json:"format"`
	ID           string            `json:"id"`
	Model        string            `json:"model"`
	Version      string            `json:"version"`
	State        string            `json:"state"`
	Origin       originCode        `json:"origin"`
	Edges        map[string][]byte `json:"edges"`
	Dictionaries map[string][]byte `json:"dictionaries"`
	Parts        []partCode        `json:"parts"`
	Projections  []projectionCode  `json:"projections,omitempty"`
	History      *historyCode      `json:"history,omitempty"`
}

// historyCode is what detection has learned of a reference period, in the binary
// forms of package detect.
type historyCode struct {
	Fit   []byte   `json:"fit"`
	State []byte   `json:"state"`
	Rows  [][]byte `json:"rows"` // the chunks of the calibration list
}

type originCode struct {
	Kind   string    `json:"kind"`
	Source string    `json:"source"`
	Digest string    `json:"digest"`
	Actor  string    `json:"actor"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Rows   uint64    `json:"rows"`
}

type partCode struct {
	Segment string          `json:"segment"`
	Rows    uint64          `json:"rows"`
	Signals []referenceCode `json:"signals"`
}

type referenceCode struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Feature    bool   `json:"feature"`
	Missing    uint64 `json:"missing"`
	Mismatched uint64 `json:"mismatched"`
	On         string `json:"on"`             // the edges or the dictionary that it was counted on
	Histogram  []byte `json:"histogram"`      //
	PSI        string `json:"psi,omitempty"`  // the edges of PSI's cells
	Ties       []byte `json:"ties,omitempty"` //
}

// EncodeBaseline returns a baseline as JSON, for DecodeBaseline and for POST
// /api/v1/baselines.
func EncodeBaseline(b *drift.Baseline) ([]byte, error) { return EncodeImport(b, nil) }

// EncodeImport returns a baseline as EncodeBaseline does, with what is known of its
// past; h may be nil.
func EncodeImport(b *drift.Baseline, h *History) ([]byte, error) {
	out := baselineCode{
		Format: baselineFormat, ID: b.ID, Model: b.Model, Version: b.Version, State: string(b.State), Origin: originCode(b.Origin),
		Edges: map[string][]byte{}, Dictionaries: map[string][]byte{}, Parts: []partCode{},
	}
	for _, p := range b.Parts {
		part := partCode{Segment: p.Segment, Rows: p.Rows, Signals: []referenceCode{}}
		for i := range p.Signals {
			part.Signals = append(part.Signals, out.reference(&p.Signals[i]))
		}
		out.Parts = append(out.Parts, part)
	}
	for _, p := range b.Projections() {
		out.Projections = append(out.Projections, projectionCode{p.Feature, p.Inputs, stats.AppendProjection(nil, p.Axes)})
	}
	if h != nil {
		state, err := detect.AppendState(nil, h.State)
		if err != nil {
			return nil, err
		}
		out.History = &historyCode{Fit: detect.AppendFit(nil, h.State.Fit()), State: state}
		for chunk := range h.Rows.Chunks() {
			out.History.Rows = append(out.History.Rows, h.Rows.AppendChunk(nil, chunk))
		}
	}
	return json.Marshal(out)
}

func (c *baselineCode) edges(e *stats.Edges) string {
	id := hexID(e.ID())
	if c.Edges[id] == nil {
		c.Edges[id] = stats.AppendEdges(nil, e)
	}
	return id
}

func (c *baselineCode) reference(r *drift.Reference) referenceCode {
	out := referenceCode{Name: r.Name, Type: r.Type.String(), Feature: r.Feature, Missing: r.Missing, Mismatched: r.Mismatched}
	if r.Type == drift.Categorical {
		out.On = hexID(r.Categorical.Dict.ID())
		if c.Dictionaries[out.On] == nil {
			c.Dictionaries[out.On] = stats.AppendDictionary(nil, r.Categorical.Dict)
		}
		out.Histogram = stats.AppendCategorical(nil, r.Categorical)
		return out
	}
	out.On, out.Histogram = c.edges(r.Numeric.Edges), stats.AppendNumeric(nil, r.Numeric)
	if r.PSI != nil {
		out.PSI = c.edges(r.PSI)
	}
	if r.Ties != nil {
		out.Ties = stats.AppendTieTable(nil, r.Ties)
	}
	return out
}

func hexID(id uint64) string { return fmt.Sprintf("%016x", id) }

var baselineID = regexp.MustCompile(`^b-[0-9a-f]{16}$`)

// DecodeBaseline reads what EncodeBaseline wrote. Everything is checked, since
// it may come from anywhere: an error says what is wrong and where.
func DecodeBaseline(data []byte) (*drift.Baseline, error) {
	b, _, err := DecodeImport(data)
	return b, err
}

// DecodeImport reads what EncodeImport wrote, as DecodeBaseline does.
func DecodeImport(data []byte) (*drift.Baseline, *History, error) {
	if len(data) > MaxBaselineBytes {
		return nil, nil, fmt.Errorf("decode baseline: %d bytes are more than %d", len(data), MaxBaselineBytes)
	}
	var c baselineCode
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, nil, fmt.Errorf("decode baseline: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, nil, errors.New("decode baseline: something follows the object")
	}
	b, err := c.decode()
	if err != nil {
		return nil, nil, fmt.Errorf("decode baseline: %w", err)
	}
	h, err := c.History.decode(b)
	if err != nil {
		return nil, nil, fmt.Errorf("decode baseline: history: %w", err)
	}
	return b, h, nil
}

// decode reads the history of a baseline; nil for none.
func (c *historyCode) decode(b *drift.Baseline) (*History, error) {
	if c == nil {
		return nil, nil
	}
	fit, err := detect.DecodeFit(c.Fit)
	if err != nil {
		return nil, err
	}
	if fit.Baseline != b.ID {
		return nil, fmt.Errorf("it is of baseline %.40q", fit.Baseline)
	}
	h := &History{Rows: &detect.Rows{}}
	if h.State, err = detect.DecodeState(c.State, fit); err != nil {
		return nil, err
	}
	for i, chunk := range c.Rows {
		if i*detect.ChunkRows >= detect.MaxRows {
			return nil, fmt.Errorf("more than %d rows", detect.MaxRows)
		}
		if err := h.Rows.AddChunk(chunk); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// A baselineDecoder holds what signals share, and what is left of the bounds.
type baselineDecoder struct {
	edges        map[string]*stats.Edges
	dictionaries map[string]*stats.Dictionary
	bins         int
	signals      int
}

func (c *baselineCode) decode() (*drift.Baseline, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	d := baselineDecoder{map[string]*stats.Edges{}, map[string]*stats.Dictionary{}, maxBaselineBins, maxBaselineSignals}
	for id, raw := range c.Edges {
		e, rest, err := stats.DecodeEdges(raw)
		if err == nil && (len(rest) > 0 || hexID(e.ID()) != id) {
			err = errors.New("they are not those of their id")
		}
		if err != nil {
			return nil, fmt.Errorf("edges %.32q: %w", id, err)
		}
		d.edges[id] = e
	}
	for id, raw := range c.Dictionaries {
		dict, rest, err := stats.DecodeDictionary(raw)
		if err == nil && (len(rest) > 0 || hexID(dict.ID()) != id) {
			err = errors.New("it is not the one of its id")
		}
		if err != nil {
			return nil, fmt.Errorf("dictionary %.32q: %w", id, err)
		}
		d.dictionaries[id] = dict
	}
	o := drift.Origin(c.Origin)
	o.From, o.To = o.From.UTC(), o.To.UTC()
	b := &drift.Baseline{ID: c.ID, Model: c.Model, Version: c.Version, State: drift.BaselineState(c.State), Origin: o}
	for i := range c.Parts {
		p, err := d.part(&c.Parts[i])
		if err != nil {
			return nil, fmt.Errorf("part %.100q: %w", c.Parts[i].Segment, err)
		}
		if i > 0 && b.Parts[i-1].Segment >= p.Segment {
			return nil, fmt.Errorf("part %.100q: parts must ascend by segment", p.Segment)
		}
		b.Parts = append(b.Parts, p)
	}
	projections, err := c.projections()
	if err != nil {
		return nil, err
	}
	b.SetProjections(projections)
	return b, nil
}

// check looks at what stands outside of the parts.
func (c *baselineCode) check() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Format != baselineFormat, "format %.40q is not %s", c.Format, baselineFormat)
	fault(!baselineID.MatchString(c.ID), "id %.40q is not b- and 16 hex digits", c.ID)
	fault(c.Model == "", "it names no model")
	fault(c.State != string(drift.Frozen) && c.State != string(drift.Approved), "state %.40q is neither frozen nor approved", c.State)
	fault(!slices.Contains([]string{"import", "capture", "version", "auto"}, c.Origin.Kind), "origin %.40q is unknown", c.Origin.Kind)
	for _, s := range []string{c.Model, c.Version, c.Origin.Source, c.Origin.Digest, c.Origin.Actor} {
		fault(len(s) > maxBaselineName, "a name is longer than %d bytes", maxBaselineName)
	}
	for _, t := range []time.Time{c.Origin.From, c.Origin.To} {
		fault(!t.IsZero() && (t.Year() < firstYear || t.Year() > lastYear), "time %v is too far from the present", t)
	}
	fault(len(c.Parts) == 0 || c.Parts[0].Segment != "", "the first part must be the whole: segment \"\"")
	return errors.Join(faults...)
}

func (d *baselineDecoder) part(c *partCode) (drift.Part, error) {
	p := drift.Part{Segment: c.Segment, Rows: c.Rows}
	if len(c.Segment) > maxBaselineName {
		return p, fmt.Errorf("a name is longer than %d bytes", maxBaselineName)
	}
	if d.signals -= len(c.Signals); d.signals < 0 {
		return p, fmt.Errorf("more than %d signals in all", maxBaselineSignals)
	}
	for i := range c.Signals {
		s := &c.Signals[i]
		r, err := d.reference(s)
		switch {
		case err != nil:
		case s.Name == "" || len(s.Name) > maxBaselineName:
			err = fmt.Errorf("a name must have 1 to %d bytes", maxBaselineName)
		case i > 0 && c.Signals[i-1].Name >= s.Name:
			err = errors.New("signals must ascend by name")
		case s.Missing > c.Rows:
			err = fmt.Errorf("missing in %d of %d rows", s.Missing, c.Rows)
		}
		if err != nil {
			return p, fmt.Errorf("signal %.100q: %w", s.Name, err)
		}
		p.Signals = append(p.Signals, r)
	}
	return p, nil
}

func (d *baselineDecoder) reference(c *referenceCode) (r drift.Reference, err error) {
	r = drift.Reference{Signal: drift.Signal{Name: c.Name, Mismatched: c.Mismatched}, Missing: c.Missing, Feature: c.Feature}
	var rest []byte
	switch c.Type {
	case drift.Categorical.String():
		r.Type = drift.Categorical
		dict := d.dictionaries[c.On]
		if dict == nil {
			return r, fmt.Errorf("dictionary %.32q is not in it", c.On)
		}
		if err = d.spend(len(dict.Categories) + 1); err != nil {
			return r, err
		}
		r.Categorical, rest, err = stats.DecodeCategorical(c.Histogram, dict)
		if err == nil && (c.PSI != "" || c.Ties != nil) {
			err = errors.New("only numbers have cells and ties")
		}
	case drift.Numeric.String():
		r.Type = drift.Numeric
		rest, err = d.numeric(c, &r)
	default:
		return r, fmt.Errorf("type %.40q is neither numeric nor categorical", c.Type)
	}
	if err == nil && len(rest) > 0 {
		err = errors.New("something follows a histogram")
	}
	return r, err
}

func (d *baselineDecoder) spend(bins int) error {
	if d.bins -= bins; d.bins < 0 {
		return fmt.Errorf("more than %d bins in all", maxBaselineBins)
	}
	return nil
}

func (d *baselineDecoder) numeric(c *referenceCode, r *drift.Reference) (rest []byte, err error) {
	edges := d.edges[c.On]
	if edges == nil {
		return nil, fmt.Errorf("edges %.32q are not in it", c.On)
	}
	if err := d.spend(edges.Bins()); err != nil {
		return nil, err
	}
	if r.Numeric, rest, err = stats.DecodeNumeric(c.Histogram, edges); err != nil {
		return nil, err
	}
	n := r.Numeric
	if n.N > 0 && (!finite(n.Min) || !finite(n.Max) || !finite(n.Mean) || n.Min > n.Max || !(n.M2 >= 0)) {
		return nil, errors.New("its moments are impossible")
	}
	if c.PSI != "" {
		if r.PSI = d.edges[c.PSI]; r.PSI == nil || !edges.Contains(r.PSI) {
			return nil, fmt.Errorf("the cells %.32q are no subset of its edges", c.PSI)
		}
	}
	if c.Ties != nil {
		var more []byte
		if r.Ties, more, err = stats.DecodeTieTable(c.Ties); err != nil {
			return nil, err
		}
		if len(more) > 0 {
			return nil, errors.New("something follows a tie table")
		}
	}
	return rest, nil
}

func nan() float64 { return math.NaN() }

func cursorOf(seq uint64) string { return strconv.FormatUint(seq, 10) }
