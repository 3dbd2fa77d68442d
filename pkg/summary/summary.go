package summary

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
)

// MaxBytes bounds the body of a message: half of the least payload that servers of
// NATS usually take, 1 MiB, and room for headers.
const MaxBytes = 512 << 10

// Bounds of one feature, so that any fits into a message.
const (
	maxCategories    = 100      // by name, the most frequent ones
	maxCategoryBytes = 32 << 10 // of their names
)

// Options say what is told.
type Options struct {
	// MinCount is the least number of values that is told of by itself: rarer
	// categories count as Other, of a feature with fewer values none is told, and of a
	// segment with fewer events nothing. 0 and 1: everything is.
	MinCount uint64
	// Stream is the input stream, and Epoch how often it began anew: sequences are
	// of these.
	Stream string
	Epoch  uint64
}

// A Message is one message on driftd.windows.<model>.
type Message struct {
	ID   string // the Nats-Msg-Id, and the body's id
	Body []byte // JSON of Window
}

// A Window is the body of a message.
type Window struct {
	ID           string    `json:"id"`
	Type         string    `json:"type"` // "window"
	Model        string    `json:"model"`
	ModelVersion string    `json:"model_version"`
	Variant      string    `json:"variant"`
	Segment      string    `json:"segment"` // "" for the whole, else "channel=app"
	Span         Span      `json:"window"`
	Complete     bool      `json:"complete"` // false: messages of its time are known to be lost
	Learning     bool      `json:"learning"` // some of it was counted before there was a reference
	Part         int       `json:"part"`     // from 1
	Parts        int       `json:"parts"`    // over which the features are spread
	Stream       string    `json:"stream"`
	Epoch        uint64    `json:"epoch"`
	FromSeq      uint64    `json:"from_seq"` // first and last message of the stream that was counted here
	ToSeq        uint64    `json:"to_seq"`
	Digest       string    `json:"digest"` // "sha256:..." of everything counted, in all parts; of the ledger's evidence too
	Events       uint64    `json:"events"`
	Failed       uint64    `json:"failed"` // events that carried an error
	Reference    string    `json:"reference"`
	Approved     bool      `json:"approved"`          // the reference may page
	Drifting     int       `json:"drifting_features"` // features whose verdict is material, in all parts
	Features     []Feature `json:"features"`          // and outputs of the model, by name
}

// A Span is a window's time, [Start, End).
type Span struct {
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Seconds int64     `json:"seconds"`
}

// A Feature is the summary of one signal.
type Feature struct {
	Name       string             `json:"name"`
	Type       string             `json:"type"`    // "numeric" or "categorical"
	Feature    bool               `json:"feature"` // false: an output of the model, such as "prediction"
	N          uint64             `json:"n"`       // usable values
	Missing    uint64             `json:"missing"` // events without one
	NonFinite  uint64             `json:"non_finite"`
	Verdict    string             `json:"verdict"`
	Because    string             `json:"because,omitempty"`
	Stats      map[string]float64 `json:"stats"`               // what rules know of it, by name, to six digits; what is not defined is absent
	Quantiles  *Quantiles         `json:"quantiles,omitempty"` // of numbers
	Histogram  *Histogram         `json:"histogram,omitempty"` // of numbers
	Categories map[string]uint64  `json:"categories,omitempty"`
}

// Quantiles of a numeric signal, each within the width of one of about 256 bins.
type Quantiles struct {
	P01 float64 `json:"p01"`
	P05 float64 `json:"p05"`
	P25 float64 `json:"p25"`
	P50 float64 `json:"p50"`
	P75 float64 `json:"p75"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// A Histogram counts values between the deciles of the reference, the cells of PSI:
// so windows with one reference add up, cell by cell. There is one count more than
// edges; cells are closed on the right, the first and the last have no end.
type Histogram struct {
	Edges  []float64 `json:"edges"`
	Counts []uint64  `json:"counts"`
}

// Build returns the messages about a window and its report: none about a segment with
// fewer than MinCount events, whose name is a value that few events gave, and else at
// least one. An error is a defect: what cannot be JSON.
func Build(w *drift.Window, r *drift.Report, o Options) ([]Message, error) {
	if w.Group.Segment != "" && w.Events < o.MinCount {
		return nil, nil
	}
	head := Window{
		Type: "window", Model: w.Group.Model, ModelVersion: w.Group.Version, Variant: w.Group.Variant.String(), Segment: w.Group.Segment,
		Span:     Span{w.Start.UTC(), w.End.UTC(), int64(w.End.Sub(w.Start) / time.Second)},
		Complete: w.State == drift.Closed, Learning: w.Learning, Stream: o.Stream, Epoch: o.Epoch, FromSeq: w.FromSeq, ToSeq: w.ToSeq,
		Digest: w.Digest(), Events: w.Events, Failed: w.Failed, Reference: r.Reference, Approved: r.Approved, Drifting: r.Drifting,
	}
	parts, err := split(w, r, o, MaxBytes-headBytes(head))
	if err != nil {
		return nil, fmt.Errorf("summary of a window of model %s: %w", w.Group.Model, err)
	}
	out := make([]Message, 0, len(parts))
	for i, features := range parts {
		part := head
		part.Part, part.Parts, part.ID = i+1, len(parts), id(head.Digest, i+1)
		part.Features = features
		body, err := json.Marshal(part)
		if err != nil {
			return nil, fmt.Errorf("summary of a window of model %s: %w", w.Group.Model, err)
		}
		out = append(out, Message{part.ID, body})
	}
	return out, nil
}

// id names a part of a window: its digest is of the group, of the time and of all that
// was counted.
func id(digest string, part int) string {
	sum := sha256.Sum256([]byte(digest + "#" + strconv.Itoa(part)))
	return "w-" + hex.EncodeToString(sum[:16])
}

// headBytes is what a message takes beside its features.
func headBytes(head Window) int {
	const more = 256 // id, part and parts, and the brackets of the features
	body, err := json.Marshal(head)
	if err != nil {
		return more // it is found again where the message is made
	}
	return len(body) + more
}

// split tells the features in as many lists as it takes so that none is longer than
// room as JSON. There is at least one list.
func split(w *drift.Window, r *drift.Report, o Options, room int) ([][]Feature, error) {
	parts, used := [][]Feature{{}}, 0
	for i := range r.Signals {
		f := newFeature(w, r, &r.Signals[i], o.MinCount)
		text, err := json.Marshal(f)
		if err != nil {
			return nil, fmt.Errorf("feature %s: %w", f.Name, err)
		}
		last := len(parts) - 1
		if size := len(text) + 1; used+size > room && len(parts[last]) > 0 {
			parts, used, last = append(parts, nil), size, last+1
		} else {
			used += size
		}
		parts[last] = append(parts[last], f)
	}
	return parts, nil
}

func newFeature(w *drift.Window, r *drift.Report, sr *drift.SignalReport, least uint64) Feature {
	f := Feature{Name: sr.Name, Type: sr.Type.String(), Feature: sr.Feature, Missing: w.Events, Verdict: string(sr.Verdict), Because: sr.Because}
	s := w.Signal(sr.Name)
	if s != nil {
		f.N, f.Missing, f.NonFinite = s.Values(), w.Missing(s), s.NonFinite()
	}
	f.Stats = alert.Stats(r, sr)
	for name, x := range f.Stats {
		f.Stats[name] = rounded(x, statDigits)
	}
	if f.N < max(least, 1) {
		delete(f.Stats, "mean")
		return f
	}
	if s.Type == drift.Categorical {
		f.Categories = categories(s.Categorical, least)
		return f
	}
	if s.Numeric.Edges != nil {
		f.Quantiles = quantiles(s.Numeric)
		f.Histogram = histogram(s.Numeric, r.Against, sr.Name)
	}
	return f
}

// Significant digits: more than the numbers are worth, and half as long as all of them.
// Quantiles may be times in seconds.
const (
	statDigits     = 6
	quantileDigits = 10
)

func rounded(x float64, digits int) float64 {
	out, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', digits, 64), 64)
	if err != nil {
		return x // rounded up it would be infinite
	}
	return out
}
