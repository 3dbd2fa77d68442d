package api

import (
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// A baselineItem is one baseline of /api/v1/baselines.
type baselineItem struct {
	ID      string          `json:"id"`
	Model   string          `json:"model"`
	Version string          `json:"version"` // "" for every version
	State   string          `json:"state"`   // "frozen" or "approved"
	Active  bool            `json:"active"`  // what the model is compared with now
	Rows    uint64          `json:"rows"`
	Signals int             `json:"signals"`
	Origin  originItem      `json:"origin"`
	Parts   []partItem      `json:"parts"`
	Summary []referenceItem `json:"summary,omitempty"` // of a single baseline: its signals
}

type originItem struct {
	Kind   string     `json:"kind"` // "import", "capture", "version" or "auto"
	Source string     `json:"source"`
	Digest string     `json:"digest"`
	Actor  string     `json:"actor"`
	From   *time.Time `json:"from"`
	To     *time.Time `json:"to"`
	Rows   uint64     `json:"rows"`
}

type partItem struct {
	Segment string `json:"segment"`
	Rows    uint64 `json:"rows"`
}

type referenceItem struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Feature    bool   `json:"feature"`
	Values     uint64 `json:"values"`
	Missing    uint64 `json:"missing"`
	NonFinite  uint64 `json:"non_finite"`
	Min        Num    `json:"min"`
	Max        Num    `json:"max"`
	Mean       Num    `json:"mean"`
	Bins       int    `json:"bins"`       // of a numeric signal
	Categories int    `json:"categories"` // counted by name, of a categorical one
}

func newBaselineItem(b *drift.Baseline, active bool) baselineItem {
	o := b.Origin
	item := baselineItem{
		ID: b.ID, Model: b.Model, Version: b.Version, State: string(b.State), Active: active,
		Origin: originItem{o.Kind, o.Source, o.Digest, o.Actor, instant(o.From), instant(o.To), o.Rows}, Parts: []partItem{},
	}
	for _, p := range b.Parts {
		item.Parts = append(item.Parts, partItem{p.Segment, p.Rows})
	}
	if len(b.Parts) > 0 {
		item.Rows, item.Signals = b.Parts[0].Rows, len(b.Parts[0].Signals)
	}
	return item
}

func newReferenceItem(r *drift.Reference) referenceItem {
	nan := Num(nan())
	item := referenceItem{
		Name: r.Name, Type: r.Type.String(), Feature: r.Feature, Values: r.Values(), Missing: r.Missing, NonFinite: r.NonFinite(),
		Min: nan, Max: nan, Mean: nan,
	}
	if r.Type == drift.Categorical {
		item.Categories = len(r.Categorical.Dict.Categories)
		return item
	}
	item.Bins = r.Numeric.Edges.Bins()
	if r.Numeric.N > 0 {
		item.Min, item.Max, item.Mean = Num(r.Numeric.Min), Num(r.Numeric.Max), Num(r.Numeric.Mean)
	}
	return item
}
