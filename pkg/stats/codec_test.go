package stats_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/stats"
)

// The stored form, byte by byte.
func TestCountsGolden(t *testing.T) {
	for _, c := range []struct {
		name   string
		counts []uint64
		want   []byte
	}{
		{"no bin", nil, []byte{2}},
		{"all zero", make([]uint64, 300), []byte{1, 0}},
		{"sparse", []uint64{0, 0, 0, 5, 0, 300, 0}, []byte{1, 2, 3, 5, 1, 0xac, 0x02}},
		{"full", []uint64{1, 2, 3, 300}, []byte{2, 1, 2, 3, 0xac, 0x02}},
		{"runs", []uint64{1, 2, 0, 0, 0, 3, 4, 5}, []byte{2, 1, 2, 0, 3, 3, 4, 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := stats.AppendCounts(nil, c.counts)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			back := slices.Repeat([]uint64{9}, len(c.counts))
			rest, err := stats.DecodeCounts(append(got, 7), back)
			if err != nil || len(rest) != 1 || !slices.Equal(back, c.counts) {
				t.Errorf("round trip: %v, %v", back, err)
			}
		})
	}
}

func TestDamagedCounts(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty":               {},
		"unknown tag":         {3, 1},
		"sparse, cut":         {1, 2, 3, 5},
		"sparse, beyond":      {1, 1, 8, 5},
		"sparse, huge gap":    {1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 5},
		"sparse, zero count":  {1, 1, 3, 0},
		"sparse, too many":    {1, 0xff, 0xff, 3, 0, 1},
		"runs, cut":           {2, 1, 2},
		"runs, empty run":     {2, 0, 0},
		"runs, beyond":        {2, 0, 9},
		"second run, beyond":  {2, 1, 0, 8},
		"varint without end":  {2, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80},
		"count over 32 bits":  {1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0x1f},
		"nothing after a tag": {1},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := stats.DecodeCounts(data, make([]uint32, 8)); !errors.Is(err, stats.ErrCodec) {
				t.Errorf("error %v, want ErrCodec", err)
			}
		})
	}
}

func TestDamagedNumeric(t *testing.T) {
	edges := mustEdges(t, 0, 1, 2)
	good := stats.AppendNumeric(nil, count(edges, []float64{.5, 1.5, 3}))
	if _, _, err := stats.DecodeNumeric(good, mustEdges(t, 0, 1)); !errors.Is(err, stats.ErrEdges) {
		t.Errorf("other edges: %v", err)
	}
	if _, _, err := stats.DecodeNumeric(good, nil); !errors.Is(err, stats.ErrEdges) {
		t.Errorf("no edges: %v", err)
	}
	for cut := range good {
		if _, _, err := stats.DecodeNumeric(good[:cut], edges); err == nil {
			t.Errorf("decoded the first %d of %d bytes", cut, len(good))
		}
	}
	wrong := slices.Clone(good)
	wrong[8]++ // N
	if _, _, err := stats.DecodeNumeric(wrong, edges); !errors.Is(err, stats.ErrCodec) {
		t.Errorf("counts that do not sum to N: %v", err)
	}
	learning := stats.NewNumeric(nil)
	learning.AddColumn([]float64{1, 2, math.NaN()})
	back, rest, err := stats.DecodeNumeric(stats.AppendNumeric(nil, learning), nil)
	if err != nil || len(rest) != 0 || back.Moments != learning.Moments || back.Counts != nil {
		t.Errorf("learning round trip: %v", err)
	}
	m, rest, err := stats.DecodeMoments(stats.AppendMoments(nil, stats.Moments{NaN: 3}))
	if err != nil || len(rest) != 0 || m != (stats.Moments{NaN: 3}) {
		t.Errorf("moments of nothing finite: %+v %v", m, err)
	}
	for name, data := range map[string][]byte{
		"cut":       stats.AppendEdges(nil, edges)[:9],
		"unordered": stats.AppendEdges(nil, edges)[:17],
		"length":    {0xff, 0xff, 0xff, 0xff, 0xf},
		"NaN":       append([]byte{1}, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f),
	} {
		if _, _, err := stats.DecodeEdges(data); !errors.Is(err, stats.ErrCodec) {
			t.Errorf("edges, %s: %v", name, err)
		}
	}
}

// Every prefix of every encoding is an error or shorter data, never a panic.
func TestDamagedCategorical(t *testing.T) {
	dict, c := stats.BuildDictionary(map[string]uint64{"a": 3, "b": 2, "c": 1, "d": 1}, 2)
	c.Add("new")
	data := stats.AppendCategorical(nil, c)
	for cut := range data {
		if _, _, err := stats.DecodeCategorical(data[:cut], dict); err == nil {
			t.Errorf("decoded the first %d of %d bytes", cut, len(data))
		}
	}
	data = stats.AppendDictionary(nil, dict)
	for cut := range data {
		if _, _, err := stats.DecodeDictionary(data[:cut]); err == nil {
			t.Errorf("dictionary: decoded the first %d of %d bytes", cut, len(data))
		}
	}
	for name, damaged := range map[string][]byte{
		"twice the same category": {0, 4, 2, 1, 'a', 1, 'a', 0, 0},
		"too many categories":     append([]byte{0, 4, 0xe9, 7}, make([]byte, 2000)...),
	} {
		if _, _, err := stats.DecodeDictionary(damaged); !errors.Is(err, stats.ErrCodec) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, damaged := range map[string][]byte{
		"too many registers": {0xff, 0xff, 3},
		"register beyond":    {1, 0xff, 0x7f, 1},
		"rank 0":             {1, 1, 0},
		"rank 54":            {1, 1, 54},
		"dense, cut":         append([]byte{0xff, 0x1f}, make([]byte, 100)...),
		"dense, other count": append([]byte{0xff, 0x1f}, make([]byte, 4096)...),
		"dense, rank 54":     append([]byte{0xff, 0x1f}, slices.Repeat([]byte{54}, 4096)...),
	} {
		if _, _, err := stats.DecodeHLL(damaged); !errors.Is(err, stats.ErrCodec) {
			t.Errorf("hll, %s: %v", name, err)
		}
	}
	for name, damaged := range map[string][]byte{
		"too many names": append([]byte{65}, make([]byte, 300)...),
		"out of order":   {2, 1, 0, 1, 'b', 2, 0, 1, 'a'},
		"twice":          {2, 1, 0, 1, 'a', 1, 0, 1, 'a'},
		"name cut":       {1, 1, 0, 9, 'a', 'b'},
	} {
		if _, _, err := stats.DecodeSpaceSaving(damaged); !errors.Is(err, stats.ErrCodec) {
			t.Errorf("names, %s: %v", name, err)
		}
	}
}

func TestEdgesRefused(t *testing.T) {
	for name, values := range map[string][]float64{
		"falling":    {2, 1},
		"twice":      {1, 1},
		"both zeros": {math.Copysign(0, -1), 0},
		"NaN":        {1, math.NaN()},
		"infinite":   {1, math.Inf(1)},
		"too many":   make([]float64, stats.MaxEdges+1),
	} {
		if _, err := stats.NewEdges(values); !errors.Is(err, stats.ErrEdges) {
			t.Errorf("%s: %v, want ErrEdges", name, err)
		}
	}
	h := stats.NewNumeric(mustEdges(t, 1))
	if err := h.Merge(stats.NewNumeric(mustEdges(t, 2))); !errors.Is(err, stats.ErrEdges) {
		t.Errorf("merge: %v", err)
	}
	if err := h.AddPane(make([]uint32, 3), stats.Moments{}); !errors.Is(err, stats.ErrEdges) {
		t.Errorf("add pane: %v", err)
	}
	if _, err := stats.NewNumeric(nil).Coarsen(mustEdges(t, 1)); !errors.Is(err, stats.ErrEdges) {
		t.Errorf("coarsen a learning histogram: %v", err)
	}
}

func FuzzCounts(f *testing.F) {
	f.Add([]byte{1, 2, 3, 5, 1, 0xac, 0x02}, 8)
	f.Add([]byte{2, 1, 2, 0, 3, 3, 4, 5}, 8)
	f.Fuzz(func(t *testing.T, data []byte, bins int) {
		if bins < 0 || bins > 5000 {
			return
		}
		wide, narrow := make([]uint64, bins), make([]uint32, bins)
		rest, err := stats.DecodeCounts(data, wide)
		_, _ = stats.DecodeCounts(data, narrow)
		if err != nil {
			return
		}
		if len(rest) > len(data) {
			t.Fatal("more left than given")
		}
		back := make([]uint64, bins)
		if _, err := stats.DecodeCounts(stats.AppendCounts(nil, wide), back); err != nil || !slices.Equal(back, wide) {
			t.Fatalf("%v: %v", wide, err)
		}
	})
}

func FuzzDecoders(f *testing.F) {
	dict, c := stats.BuildDictionary(map[string]uint64{"a": 3, "b": 2, "c": 1, "d": 1}, 2)
	c.Add("new")
	edges, err := stats.NewEdges([]float64{0, 1, 2})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(stats.AppendCategorical(nil, c))
	f.Add(stats.AppendDictionary(nil, dict))
	f.Add(stats.AppendEdges(nil, edges))
	f.Add(stats.AppendNumeric(nil, count(edges, []float64{.5, 1.5, 3})))
	f.Add(stats.AppendProjection(nil, stats.NewProjection([]float64{1, 2, 3, 5, 8, 13, 21, 34}, 2, true)))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _, _ = stats.DecodeEdges(data)
		_, _, _ = stats.DecodeMoments(data)
		_, _, _ = stats.DecodeNumeric(data, edges)
		_, _, _ = stats.DecodeTieTable(data)
		_, _, _ = stats.DecodeHLL(data)
		_, _, _ = stats.DecodeSpaceSaving(data)
		_, _, _ = stats.DecodeDictionary(data)
		_, _, _ = stats.DecodeCategorical(data, dict)
		_, _, _ = stats.DecodeProjection(data)
	})
}

// FuzzBin holds the lookup against the definition, on edges of any floats.
func FuzzBin(f *testing.F) {
	f.Add(uint64(1), 0.0, 1.0)
	f.Add(uint64(2), math.Copysign(0, -1), math.MaxFloat64)
	f.Add(uint64(3), 5e-324, -math.MaxFloat64)
	f.Fuzz(func(t *testing.T, seed uint64, a, b float64) {
		if a-a != 0 || b-b != 0 {
			return
		}
		random := rand.New(rand.NewPCG(seed, 1))
		baseline := []float64{a, b}
		for range random.IntN(600) {
			baseline = append(baseline, math.Float64frombits(random.Uint64()&^(1<<62)), a+random.Float64())
		}
		slices.Sort(baseline)
		edges := stats.BuildEdges(baseline, random.IntN(300)+1, a, b)
		counts, want := make([]uint32, edges.Bins()), make([]uint32, edges.Bins())
		xs := append(baseline, math.Nextafter(a, b), -a, -b, 0, 1e300)
		for _, x := range xs {
			bin := plainBin(edges.Values(), x)
			want[bin]++
			if got := edges.Bin(x); got != bin {
				t.Fatalf("bin of %v = %d, want %d", x, got, bin)
			}
		}
		if edges.AddColumn(counts, xs); !slices.Equal(counts, want) {
			t.Fatalf("column counts %v, want %v", counts, want)
		}
	})
}
