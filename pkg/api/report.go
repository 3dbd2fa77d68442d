package api

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/drift"
)

// A Num is a float64 whose JSON is null when it is not finite, since JSON has
// no NaN. Null decodes to NaN.
type Num float64

// MarshalJSON implements json.Marshaler.
func (n Num) MarshalJSON() ([]byte, error) {
	if x := float64(n); !finite(x) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *Num) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*n = Num(math.NaN())
		return nil
	}
	x, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return err
	}
	*n = Num(x)
	return nil
}

func finite(x float64) bool { return x-x == 0 }

// A ReportJSON is the form in which every report is told: by `driftd compare
// -o json`, by `driftd drift` and by /api/v1/models/{m}/drift. What is not
// defined is null.
type ReportJSON struct {
	RowsReference uint64        `json:"rows_reference"`
	RowsCurrent   uint64        `json:"rows_current"`
	Features      []FeatureJSON `json:"features"` // every signal, the most evidence first
	Drifting      int           `json:"drifting"` // features whose verdict is material

	// Of a daemon's windows only.
	Window *WindowJSON `json:"window,omitempty"`
}

// A WindowJSON says which window of a running daemon a report is about.
type WindowJSON struct {
	Model     string    `json:"model"`
	Version   string    `json:"version"` // "" for all
	Variant   string    `json:"variant"` // "" for all but shadow
	Segment   string    `json:"segment"`
	Start     time.Time `json:"start"`
	End       time.Time `json:"end"`
	State     string    `json:"state"` // "open", "closed" or "incomplete"
	Learning  bool      `json:"learning"`
	Reference string    `json:"reference"` // id of the baseline, "" without one
	Approved  bool      `json:"approved"`  // the baseline may page

	ErrorRatio Num `json:"error_ratio"`
	LatencyP50 Num `json:"latency_p50"` // milliseconds
	LatencyP95 Num `json:"latency_p95"`
	LatencyP99 Num `json:"latency_p99"`
}

// A FeatureJSON is what a report says about one signal.
type FeatureJSON struct {
	Name             string   `json:"name"`
	Type             string   `json:"type"`    // "numeric", "categorical", "id" or "time"
	Feature          bool     `json:"feature"` // a feature, not one of the model's outputs
	NReference       uint64   `json:"n_reference"`
	NCurrent         uint64   `json:"n_current"`
	MissingReference Num      `json:"missing_reference"` // shares of the rows
	MissingCurrent   Num      `json:"missing_current"`
	PSI              Num      `json:"psi"`
	PSIRaw           Num      `json:"psi_raw"`
	PSIDebiased      Num      `json:"psi_debiased"`
	PSILo            Num      `json:"psi_lo"`
	PSIHi            Num      `json:"psi_hi"`
	PSIP             Num      `json:"psi_p"`
	NoiseFloor       Num      `json:"noise_floor"`
	KS               KSJSON   `json:"ks"`
	Chi2             Chi2JSON `json:"chi2"`
	JS               Num      `json:"js"`
	Hellinger        Num      `json:"hellinger"`
	W1ClippedSD      Num      `json:"w1_clipped_sd"`
	Unseen           Num      `json:"unseen"`
	MDESD            Num      `json:"mde_sd"` // smallest shift this many values could have shown
	Mean             Num      `json:"mean"`
	AdjustedP        Num      `json:"adjusted_p"`
	Verdict          string   `json:"verdict"` // "stable", "minor", "material", "insufficient" or "ignored"
	Because          string   `json:"because,omitempty"`
	New              []string `json:"new,omitempty"`  // categories unknown to the reference
	Gone             []string `json:"gone,omitempty"` // categories that should be there
}

// A KSJSON is a Kolmogorov-Smirnov distance, known to lie in [Lo, Hi].
type KSJSON struct {
	Lo Num `json:"lo"`
	Hi Num `json:"hi"`
	P  Num `json:"p"`
}

// String writes the interval, or its ends' common value, for people.
func (k KSJSON) String() string {
	if lo, hi := showNumber(k.Lo), showNumber(k.Hi); lo != hi {
		return lo + " to " + hi
	}
	return showNumber(k.Lo)
}

// A Chi2JSON is Pearson's test.
type Chi2JSON struct {
	Stat Num `json:"stat"`
	DF   Num `json:"df"`
	P    Num `json:"p"`
}

// NewReportJSON tells a report, the most evidence first. rows is the number of
// rows of the reference.
func NewReportJSON(r *drift.Report, rows uint64) ReportJSON {
	out := ReportJSON{RowsReference: rows, RowsCurrent: r.Window.Events, Features: make([]FeatureJSON, 0, len(r.Signals)), Drifting: r.Drifting}
	for _, s := range r.Sorted() {
		out.Features = append(out.Features, NewFeatureJSON(s))
	}
	return out
}

// NewFeatureJSON tells what a report says about one signal.
func NewFeatureJSON(s drift.SignalReport) FeatureJSON {
	return FeatureJSON{
		Name: s.Name, Type: s.Type.String(), Feature: s.Feature, NReference: s.M, NCurrent: s.N,
		MissingReference: Num(s.ReferenceMissing), MissingCurrent: Num(s.Missing),
		PSI: Num(s.PSI), PSIRaw: Num(s.PSIRaw), PSIDebiased: Num(s.PSIDebiased), PSILo: Num(s.PSILo), PSIHi: Num(s.PSIHi),
		PSIP: Num(s.PSIP), NoiseFloor: Num(s.NoiseFloor),
		KS:   KSJSON{Num(s.KSLo), Num(s.KSHi), Num(s.KSP)},
		Chi2: Chi2JSON{Num(s.Chi2), Num(s.Chi2DF), Num(s.Chi2P)},
		JS:   Num(s.JS), Hellinger: Num(s.Hellinger), W1ClippedSD: Num(s.W1ClippedSD), Unseen: Num(s.Unseen), MDESD: Num(s.MDE),
		Mean: Num(s.Mean), AdjustedP: Num(s.AdjustedP), Verdict: string(s.Verdict), Because: s.Because, New: s.New, Gone: s.Gone,
	}
}

// IgnoredFeatureJSON tells of a column that is not compared: kind is "id" or
// "time".
func IgnoredFeatureJSON(name, kind, because string) FeatureJSON {
	nan := math.NaN()
	f := NewFeatureJSON(drift.SignalReport{Name: name, Verdict: drift.Ignored, Because: because})
	for _, n := range f.numbers() {
		*n = Num(nan)
	}
	f.Type = kind
	return f
}

// numbers returns every number that may be undefined.
func (f *FeatureJSON) numbers() []*Num {
	return []*Num{
		&f.MissingReference, &f.MissingCurrent, &f.PSI, &f.PSIRaw, &f.PSIDebiased, &f.PSILo, &f.PSIHi, &f.PSIP, &f.NoiseFloor,
		&f.KS.Lo, &f.KS.Hi, &f.KS.P, &f.Chi2.Stat, &f.Chi2.DF, &f.Chi2.P, &f.JS, &f.Hellinger, &f.W1ClippedSD, &f.Unseen,
		&f.MDESD, &f.Mean, &f.AdjustedP,
	}
}
