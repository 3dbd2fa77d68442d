package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

const (
	// maxWindows bounds the spans of one answer, as Prometheus bounds points.
	maxWindows = 11_000
	// windowChunk is how many spans are read at a time: what is in memory.
	windowChunk = 256
)

// A windowItem is one window of /api/v1/models/{m}/windows.
type windowItem struct {
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	State    string    `json:"state"`             // "open", "closed" or "incomplete"
	Version  *string   `json:"version,omitempty"` // with group=true, as the two below
	Variant  *string   `json:"variant,omitempty"`
	Learning bool      `json:"learning"`
	Events   uint64    `json:"events"`
	Failed   uint64    `json:"failed"`
	*signalItem
	Signals *[]signalItem `json:"signals,omitempty"` // without feature=
}

// A signalItem is the summary of one signal over a window.
type signalItem struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"`
	Values      uint64            `json:"values"`
	Missing     uint64            `json:"missing"`
	NonFinite   uint64            `json:"non_finite"`
	Min         Num               `json:"min"`
	Max         Num               `json:"max"`
	Mean        Num               `json:"mean"`
	Histogram   *histogramItem    `json:"histogram,omitempty"`  // with feature=, of a numeric signal that is not learning
	Categories  map[string]uint64 `json:"categories,omitempty"` // with feature=, of a categorical one; they sum to values
	PSI         Num               `json:"psi"`
	PSIDebiased Num               `json:"psi_debiased"`
	KS          KSJSON            `json:"ks"`
}

// A histogramItem has one more count than edges: bins are closed on the right,
// the first reaches to minus and the last to plus infinity.
type histogramItem struct {
	Edges  []Num    `json:"edges"`
	Counts []uint64 `json:"counts"`
}

// Names of the categories that stand for others: known to the baseline but
// beyond the dictionary, and not known to it at all.
const (
	otherCategory  = drift.Other
	unseenCategory = "__unseen__"
)

// windowQuery is what /windows was asked for.
type windowQuery struct {
	Query
	feature string
	chunk   time.Duration
}

func (s *Server) getWindows(w http.ResponseWriter, r *request) error {
	m, err := s.model(r)
	if err != nil {
		return err
	}
	q, err := r.windows(m)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	body.WriteString(`{"items":[`)
	next, err := s.writeWindows(r, q, m, &body)
	if err != nil {
		return err
	}
	tail, err := json.Marshal(newList[int](nil, next).NextCursor)
	if err != nil {
		return err
	}
	fmt.Fprintf(&body, "],\"next_cursor\":%s}\n", tail)
	return sendText(w, "application/json", body.Bytes())
}

// windows reads the query of /windows. Without from and to it means everything
// there is.
func (r *request) windows(m *Model) (q windowQuery, err error) {
	if q.Query, err = r.groups(m.Model); err != nil {
		return q, err
	}
	if q.Size, err = r.size("size"); err != nil {
		return q, err
	}
	if q.From, err = r.time("from"); err != nil {
		return q, err
	}
	if q.To, err = r.time("to"); err != nil {
		return q, err
	}
	if cursor := r.text("cursor"); cursor != "" {
		ns, err := strconv.ParseInt(cursor, 10, 64)
		if err != nil || ns%int64(q.Size) != 0 {
			return q, badParameter("cursor", cursor, "must be the next_cursor of an answer to the same query")
		}
		q.From = time.Unix(0, ns).UTC()
	}
	group, err := r.flag("group")
	q.Total, q.feature, q.chunk = !group, r.text("feature"), windowChunk*q.Size
	if err != nil {
		return q, err
	}
	return q, r.bound(&q, m)
}

// bound refuses a range of too many windows, and closes an open range by what
// the model has.
func (r *request) bound(q *windowQuery, m *Model) error {
	from, to := q.From, q.To
	if from.IsZero() {
		from = m.Started
	}
	if to.IsZero() {
		to = m.MaxTime.Add(1)
	}
	if !q.From.IsZero() && !q.To.IsZero() && !from.Before(to) {
		return badParameter("to", r.text("to"), "must be after from")
	}
	if to.After(from) && to.Sub(from)/q.Size >= maxWindows {
		return badParameter("size", r.text("size"), fmt.Sprintf(
			"%s from %s to %s is more than %d windows; ask for a shorter range with from and to, or for larger windows",
			formatDuration(q.Size), from.Format(time.RFC3339), to.Format(time.RFC3339), maxWindows))
	}
	return nil
}

// groups reads version, variant and segment.
func (r *request) groups(model string) (Query, error) {
	q := Query{Model: model, Version: r.text("version"), Segment: r.text("segment")}
	if text := r.text("variant"); text != "" {
		v, ok := event.ParseVariant(text)
		if !ok {
			return q, badParameter("variant", text, "must be primary, canary or shadow")
		}
		q.Variants = []event.Variant{v}
	}
	return q, nil
}

// size reads a window's length.
func (r *request) size(name string) (time.Duration, error) {
	size, err := r.span(name, time.Hour)
	if err == nil && !r.server.fits(size) {
		err = badParameter(name, r.text(name), "must be "+r.server.fitting())
	}
	return size, err
}

// fits reports whether panes and rollups add up to windows of this length.
func (s *Server) fits(size time.Duration) bool {
	whole := size <= drift.RollupSize || size%drift.RollupSize == 0 // what is older than the panes can be added up
	return size%s.Pane == 0 && (whole || slices.Contains(s.Sizes, size)) && size <= 366*24*time.Hour
}

// fitting says which lengths fit.
func (s *Server) fitting() string {
	return fmt.Sprintf("a multiple of %s, above 1h of whole hours or one of windows.sizes, and at most 366d", formatDuration(s.Pane))
}

// writeWindows reads chunk by chunk and writes items until the answer is large
// enough; it then returns the start of the first window left out.
func (s *Server) writeWindows(r *request, q windowQuery, m *Model, to *bytes.Buffer) (next string, err error) {
	found := q.feature == "" || slices.ContainsFunc(m.Signals, func(d drift.SignalDef) bool { return d.Name == q.feature })
	limit, first := q.To, true
	if limit.IsZero() {
		limit = m.MaxTime.Add(1)
	}
	part := q.Query
	for at := chunkStart(q, m); ; {
		if err := r.Context().Err(); err != nil {
			return "", err
		}
		part.To = at.Add(q.chunk)
		last := !part.To.Before(limit)
		if last {
			part.To = q.To
		}
		windows, err := s.Reader.Windows(part)
		if err != nil {
			return "", err
		}
		for _, w := range windows {
			if to.Len() > s.limits.windowBytes {
				return strconv.FormatInt(w.Start.UnixNano(), 10), nil
			}
			item, err := json.Marshal(s.windowItem(w, q, &found))
			if err != nil {
				return "", err
			}
			if !first {
				to.WriteByte(',')
			}
			to.Write(item)
			first = false
		}
		if last {
			break
		}
		at, part.From = part.To, part.To
	}
	if !found {
		return "", notFound(fmt.Sprintf("model %q has no signal %q; /api/v1/models/{model} lists them", m.Model, q.feature))
	}
	return "", nil
}

// chunkStart is where the first chunk begins to be measured. Its lower end is
// that of the query, which may be open: events may lie before the first one.
func chunkStart(q windowQuery, m *Model) time.Time {
	at := q.From
	if at.IsZero() {
		at = m.Started
	}
	return floorTime(at, q.Size)
}

// windowItem tells one window.
func (s *Server) windowItem(w *drift.Window, q windowQuery, found *bool) windowItem {
	item := windowItem{Start: w.Start, End: w.End, State: w.State.String(), Learning: w.Learning, Events: w.Events, Failed: w.Failed}
	if !q.Total {
		version, variant := w.Group.Version, w.Group.Variant.String()
		item.Version, item.Variant = &version, &variant
	}
	if q.feature == "" {
		report := s.Reader.Compare(w)
		signals := make([]signalItem, 0, len(w.Signals))
		for i := range w.Signals {
			signals = append(signals, newSignalItem(w, &w.Signals[i], report))
		}
		item.Signals = &signals
		return item
	}
	signal := w.Signal(q.feature)
	if signal == nil {
		empty := absentSignal(q.feature, w.Events)
		item.signalItem = &empty
		return item
	}
	*found = true
	only := *w // to compare one signal, not all
	only.Signals = []drift.Signal{*signal}
	one := newSignalItem(&only, signal, s.Reader.Compare(&only))
	one.distribution(signal)
	item.signalItem = &one
	return item
}

// newSignalItem tells a signal of a window; report is the window's.
func newSignalItem(w *drift.Window, s *drift.Signal, report *drift.Report) signalItem {
	item := absentSignal(s.Name, w.Missing(s))
	item.Type, item.Values, item.NonFinite = s.Type.String(), s.Values(), s.NonFinite()
	if s.Type == drift.Numeric && s.Numeric.N > 0 {
		item.Min, item.Max, item.Mean = Num(s.Numeric.Min), Num(s.Numeric.Max), Num(s.Numeric.Mean)
	}
	for i := range report.Signals {
		if r := &report.Signals[i]; r.Name == s.Name {
			item.PSI, item.PSIDebiased, item.KS = Num(r.PSI), Num(r.PSIDebiased), KSJSON{Num(r.KSLo), Num(r.KSHi), Num(r.KSP)}
			break
		}
	}
	return item
}

// absentSignal tells a signal that no event gave.
func absentSignal(name string, missing uint64) signalItem {
	nan := Num(nan())
	return signalItem{Name: name, Missing: missing, Min: nan, Max: nan, Mean: nan, PSI: nan, PSIDebiased: nan, KS: KSJSON{nan, nan, nan}}
}

// distribution adds the counts.
func (item *signalItem) distribution(s *drift.Signal) {
	if s.Type == drift.Categorical {
		item.Categories = categories(s)
		return
	}
	if s.Numeric.Edges != nil {
		values := s.Numeric.Edges.Values()
		edges := make([]Num, len(values))
		for i, v := range values {
			edges[i] = Num(v)
		}
		item.Histogram = &histogramItem{edges, nonNil(s.Numeric.Counts)}
	}
}

// categories returns the counts by name: they sum to the signal's values. An
// event's own category "__other__" is added to the others.
func categories(s *drift.Signal) map[string]uint64 {
	c := s.Categorical
	out, named := map[string]uint64{otherCategory: 0}, uint64(0)
	if c.Dict != nil {
		for i, name := range c.Dict.Categories {
			out[name] += c.Counts[i]
			named += c.Counts[i]
		}
		if c.Unseen > 0 {
			out[unseenCategory] += c.Unseen
		}
		named += c.Unseen
	}
	out[otherCategory] += c.N - min(c.N, named)
	return out
}
