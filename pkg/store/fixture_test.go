package store_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/stats"
	"driftd.dev/driftd/pkg/store"
)

// epoch is the start of the demo's clock; every time in the tests counts from it.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// small opens fast: no compaction workers, and 4 MiB for memory tables, which
// makes 600 KiB the limit of a commit (15 %).
func small() store.Options {
	return store.Options{MemTableBytes: 4 << 20, Compactors: -1}
}

func open(t testing.TB, dir string, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// commit fills and commits one batch.
func commit(t testing.TB, s *store.Store, fill func(*store.Batch)) {
	t.Helper()
	b := s.NewBatch()
	fill(b)
	must(t, s.Commit(b))
}

// raw changes a closed store behind its back.
func raw(t testing.TB, dir string, fn func(*badger.Txn) error) {
	t.Helper()
	db, err := badger.Open(badger.DefaultOptions(filepath.Join(dir, "badger")).WithLogger(nil))
	must(t, err)
	must(t, db.Update(fn))
	must(t, db.Close())
}

// seal is the envelope as keys.go documents it, written a second time.
func seal(key, payload []byte) []byte {
	sum := crc32.Checksum(append(slices.Clone(key), payload...), crc32.MakeTable(crc32.Castagnoli))
	return append(binary.BigEndian.AppendUint32([]byte{1}, sum), payload...)
}

// A source makes random windows on a fixed set of signals.
type source struct {
	random *rand.Rand
	edges  []*stats.Edges
	dicts  []*stats.Dictionary
}

func newSource(seed uint64) *source {
	s := &source{random: rand.New(rand.NewPCG(seed, 1))}
	for _, bins := range []int{1, 10, 256} {
		s.edges = append(s.edges, stats.BuildEdges(s.sorted(5000), bins))
	}
	for _, names := range []int{1, 7, 400} {
		counts := map[string]uint64{}
		for i := range names {
			counts[fmt.Sprintf("category-%d", i)] = uint64(1 + s.random.IntN(50))
		}
		d, _ := stats.BuildDictionary(counts, 100)
		s.dicts = append(s.dicts, d)
	}
	return s
}

func (s *source) sorted(n int) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = s.random.NormFloat64()
	}
	slices.Sort(xs)
	return xs
}

// odd are the values that a codec may get wrong.
var odd = []float64{
	0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1),
	math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64,
}

func (s *source) numeric(edges *stats.Edges) *stats.Numeric {
	h := stats.NewNumeric(edges)
	for range s.random.IntN(200) {
		h.Add(s.random.NormFloat64())
		if s.random.IntN(20) == 0 {
			h.Add(odd[s.random.IntN(len(odd))])
		}
	}
	if h.N > 0 && s.random.IntN(10) == 0 { // no histogram says so, but the bits must survive
		h.Mean, h.Min = math.NaN(), math.Copysign(0, -1)
	}
	return h
}

func (s *source) categorical(d *stats.Dictionary) *stats.Categorical {
	if d == nil {
		return &stats.Categorical{N: uint64(s.random.IntN(300)), Other: 2, Unseen: 3}
	}
	c := stats.NewCategorical(d)
	for range s.random.IntN(300) {
		c.Add(fmt.Sprintf("category-%d", s.random.IntN(500))) // up to 399 known, 100 in the dictionary
	}
	return c
}

// signal returns a signal of any form: with and without edges or dictionary.
func (s *source) signal(name string) drift.Signal {
	out := drift.Signal{Name: name, Type: drift.Numeric, Mismatched: uint64(s.random.IntN(3))}
	switch k := s.random.IntN(8); {
	case k < 3:
		out.Numeric = s.numeric(s.edges[k])
	case k == 3:
		out.Numeric = s.numeric(nil)
	case k < 7:
		out.Type, out.Categorical = drift.Categorical, s.categorical(s.dicts[k-4])
	default:
		out.Type, out.Categorical = drift.Categorical, s.categorical(nil)
	}
	return out
}

func (s *source) window(g drift.Group, start time.Time, length time.Duration, signals int) *drift.Window {
	w := &drift.Window{
		Group: g, Start: start, End: start.Add(length), State: drift.WindowState(1 + s.random.IntN(2)),
		Learning: s.random.IntN(2) == 0, Baseline: fmt.Sprint("b-", s.random.IntN(3)), Events: s.random.Uint64N(1 << 40), Failed: s.random.Uint64N(9),
		FromSeq: s.random.Uint64(), ToSeq: s.random.Uint64(),
	}
	for i := range signals {
		w.Signals = append(w.Signals, s.signal(fmt.Sprintf("f%05d", i)))
	}
	return w
}

// series returns consecutive closed panes of one minute whose signals have the
// same type throughout, so that they can be added.
func (s *source) series(g drift.Group, start time.Time, panes int) []*drift.Window {
	out := make([]*drift.Window, 0, panes)
	for i := range panes {
		at := start.Add(time.Duration(i) * time.Minute)
		w := &drift.Window{Group: g, Start: at, End: at.Add(time.Minute), State: drift.Closed, Events: 100 + uint64(i), FromSeq: uint64(10*i + 1), ToSeq: uint64(10*i + 9)}
		w.Signals = []drift.Signal{
			{Name: "amount", Type: drift.Numeric, Numeric: s.numeric(s.edges[1])},
			{Name: "country", Type: drift.Categorical, Categorical: s.categorical(s.dicts[1])},
		}
		out = append(out, w)
	}
	return out
}

func (s *source) baseline(id string, signals int) *drift.Baseline {
	b := &drift.Baseline{
		ID: id, Model: "fraud", Version: "42", State: drift.Frozen,
		Origin: drift.Origin{Kind: "import", Source: "reference.csv", Digest: "sha256:00", Actor: "ada", From: epoch, To: epoch.Add(time.Hour), Rows: 5000},
	}
	for _, segment := range []string{"", "channel=app"} {
		p := drift.Part{Segment: segment, Rows: s.random.Uint64N(1 << 30)}
		for i := range signals {
			r := drift.Reference{Signal: s.signal(fmt.Sprintf("f%05d", i)), Missing: s.random.Uint64N(9), Feature: i%2 == 0}
			if r.Numeric != nil && r.Numeric.Edges != nil {
				r.PSI = s.edges[0]
				if i%3 == 0 {
					r.Ties = stats.NewTieTable(r.Numeric, 1)
				}
			}
			p.Signals = append(p.Signals, r)
		}
		b.Parts = append(b.Parts, p)
	}
	if signals > 1 { // the same axes in all parts
		b.SetProjections([]drift.Projection{
			{Inputs: []string{"f00000", "f00001"}, Axes: s.axes(2, true)}, {Feature: "embedding", Axes: s.axes(100, false)},
		})
	}
	return b
}

func (s *source) axes(dim int, standardise bool) *stats.Projection {
	rows := make([]float64, 300*dim)
	for i := range rows {
		rows[i] = s.random.NormFloat64()
	}
	return stats.NewProjection(rows, dim, standardise)
}

// dump writes out every field of a window, floats by their bits, so that two
// windows are equal exactly if their dumps are.
func dump(w *drift.Window) string {
	var out strings.Builder
	out.WriteString(fmt.Sprintf("%q %v %v %v %v %q %d %d %d %d\n", w.Group, w.Start, w.End, w.State, w.Learning, w.Baseline, w.Events, w.Failed, w.FromSeq, w.ToSeq))
	for i := range w.Signals {
		out.WriteString(dumpSignal(&w.Signals[i]))
	}
	return out.String()
}

func dumpSignal(s *drift.Signal) string {
	var out strings.Builder
	out.WriteString(fmt.Sprintf("%q %v %d ", s.Name, s.Type, s.Mismatched))
	if n := s.Numeric; n != nil {
		out.WriteString(fmt.Sprint(n.N, n.NaN, n.PosInf, n.NegInf, n.Counts))
		for _, v := range []float64{n.Min, n.Max, n.Mean, n.M2} {
			out.WriteString(fmt.Sprintf(" %016x", math.Float64bits(v)))
		}
		if n.Edges != nil {
			out.WriteString(fmt.Sprintf(" edges %x", stats.AppendEdges(nil, n.Edges)))
		}
	}
	if c := s.Categorical; c != nil {
		out.WriteString(fmt.Sprint(c.N, c.Other, c.Unseen, c.Counts))
		if c.Dict != nil {
			out.WriteString(fmt.Sprintf(" dict %x", stats.AppendDictionary(nil, c.Dict)))
		}
		if c.New != nil {
			out.WriteString(fmt.Sprintf(" new %x", stats.AppendSpaceSaving(nil, c.New)))
		}
		if c.Distinct != nil {
			out.WriteString(fmt.Sprintf(" distinct %x", stats.AppendHLL(nil, c.Distinct)))
		}
	}
	return out.String() + "\n"
}

func dumpBaseline(b *drift.Baseline) string {
	var out strings.Builder
	out.WriteString(fmt.Sprintf("%q %q %q %q %+v\n", b.ID, b.Model, b.Version, b.State, b.Origin))
	for _, p := range b.Parts {
		out.WriteString(fmt.Sprintf("part %q %d\n", p.Segment, p.Rows))
		for i := range p.Signals {
			r := &p.Signals[i]
			out.WriteString(dumpSignal(&r.Signal) + fmt.Sprintf("%d %v ties %x", r.Missing, r.Feature, stats.AppendTieTable(nil, r.Ties)))
			if r.PSI != nil {
				out.WriteString(fmt.Sprintf(" psi %x", stats.AppendEdges(nil, r.PSI)))
			}
			out.WriteString("\n")
		}
		for _, x := range p.Projections {
			out.WriteString(fmt.Sprintf("projection %q %q %x\n", x.Feature, x.Inputs, stats.AppendProjection(nil, x.Axes)))
		}
	}
	return out.String()
}

// journal appends n entries of a model, a minute apart, to a chain.
func journal(t testing.TB, chain *ledger.Chain, model string, n int) []ledger.Entry {
	t.Helper()
	var out []ledger.Entry
	for range n {
		e, err := chain.Append(ledger.Draft{
			Time: epoch.Add(time.Duration(chain.Seq) * time.Minute), StreamSeq: 10 * chain.Seq, Kind: ledger.KindAlert, Model: model,
			Body: ledger.Alert{Type: "alert", Rule: "AmountDrift", Model: model, Reason: "psi 0.31 > 0.1 & n < \u2028"},
		})
		must(t, err)
		out = append(out, e)
	}
	return out
}

var fraud = drift.Group{Model: "fraud", Version: "42", Variant: event.Canary}
