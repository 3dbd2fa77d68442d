package stats_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/stats"
)

func TestDictionary(t *testing.T) {
	dict, base := stats.BuildDictionary(map[string]uint64{"DE": 50, "FR": 30, "AT": 30, "CH": 2, "LI": 1, "SM": 1, "": 4, "zero": 0}, 3)
	if diff := cmp.Diff([]string{"DE", "AT", "FR"}, dict.Categories); diff != "" {
		t.Error(diff)
	}
	if dict.Singles != 2 || dict.Total != 118 {
		t.Errorf("singles %d of %d, want 2 of 118", dict.Singles, dict.Total)
	}
	near(t, "good-turing", dict.UnseenRate(), 2.0/118, 1e-15)
	for value, want := range map[string]int{"DE": 0, "AT": 1, "FR": 2, "CH": stats.KnownOther, "": stats.KnownOther, "zero": stats.UnseenValue, "US": stats.UnseenValue} {
		if got := dict.Index(value); got != want {
			t.Errorf("index of %q = %d, want %d", value, got, want)
		}
	}
	if diff := cmp.Diff([]uint64{50, 30, 30, 8, 0, 118}, append(slices.Clone(base.Counts), base.Other, base.Unseen, base.N)); diff != "" {
		t.Error(diff)
	}
	back, rest, err := stats.DecodeDictionary(append(stats.AppendDictionary(nil, dict), 5))
	if err != nil || len(rest) != 1 || back.ID() != dict.ID() || back.Index("CH") != stats.KnownOther || back.UnseenRate() != dict.UnseenRate() {
		t.Errorf("round trip: %v", err)
	}
	large, _ := stats.BuildDictionary(many(1500), 5000)
	usual, _ := stats.BuildDictionary(many(1500), 0)
	if len(large.Categories) != stats.MaxCategories || len(usual.Categories) != stats.DefaultCategories {
		t.Errorf("sizes %d and %d", len(large.Categories), len(usual.Categories))
	}
}

func many(n int) map[string]uint64 {
	counts := map[string]uint64{}
	for i := range n {
		counts[fmt.Sprint("c", i)] = uint64(i%7 + 1)
	}
	return counts
}

// Above 100,000 known categories `other` swallows what is not in the
// dictionary, and unseen is expected nowhere.
func TestEmptyDictionary(t *testing.T) {
	dict, c := stats.BuildDictionary(nil, 0)
	if c.Add("x"); dict.UnseenRate() != 0 || c.N != 1 || c.Unseen != 1 {
		t.Errorf("unseen rate %v, %+v", dict.UnseenRate(), c)
	}
}

func TestOpenDictionary(t *testing.T) {
	dict, base := stats.BuildDictionary(many(100_500), 256)
	if dict.Index("never") != stats.KnownOther || dict.UnseenRate() != 0 {
		t.Errorf("index %d, unseen rate %v", dict.Index("never"), dict.UnseenRate())
	}
	back, _, err := stats.DecodeDictionary(stats.AppendDictionary(nil, dict))
	if err != nil || back.ID() != dict.ID() || back.Index("never") != stats.KnownOther {
		t.Errorf("round trip: %v", err)
	}
	s := stats.CompareCategorical(base, base.Clone())
	if s.PSI != 0 || s.Unseen != 0 {
		t.Errorf("against itself: %+v", s)
	}
	near(t, "distinct beyond the dictionary", float64(base.Distinct.Estimate()), 100_244, 5000) // 3 sd of 1.6 %
}

func TestCategoricalMerge(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 8))
	zipf := rand.NewZipf(random, 1.1, 2, 2000)
	counts := map[string]uint64{}
	for range 5000 {
		counts[fmt.Sprint(zipf.Uint64())]++
	}
	dict, _ := stats.BuildDictionary(counts, 50)
	whole, a, b := stats.NewCategorical(dict), stats.NewCategorical(dict), stats.NewCategorical(dict)
	for i := range 3000 {
		v := fmt.Sprint(zipf.Uint64())
		if i%100 == 0 {
			v = fmt.Sprint("new", i%700) // seven new names: exact within Space-Saving's 64
		}
		whole.Add(v)
		[]*stats.Categorical{a, b}[i%2].Add(v)
	}
	ab, ba := a.Clone(), b.Clone()
	if err := ab.Merge(b); err != nil {
		t.Fatal(err)
	}
	if err := ba.Merge(a); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ab.Counts, whole.Counts) || ab.N != whole.N || ab.Other != whole.Other || ab.Unseen != whole.Unseen {
		t.Errorf("merged %+v, want %+v", ab, whole)
	}
	bytesOf := func(c *stats.Categorical) string { return string(stats.AppendCategorical(nil, c)) }
	if bytesOf(ab) != bytesOf(ba) {
		t.Error("the order of a merge shows in the bytes")
	}
	if ab.Distinct.Estimate() != whole.Distinct.Estimate() {
		t.Errorf("distinct %v, want %v", ab.Distinct, whole.Distinct)
	}
	back, rest, err := stats.DecodeCategorical(append([]byte(bytesOf(ab)), 1, 2, 3), dict)
	if err != nil || len(rest) != 3 || bytesOf(back) != bytesOf(ab) || back.N != ab.N {
		t.Errorf("round trip: %v", err)
	}
	other, strange := stats.BuildDictionary(map[string]uint64{"x": 1}, 2)
	_, alike := stats.BuildDictionary(map[string]uint64{"y": 1}, 2)
	for _, to := range []*stats.Categorical{ab, alike} { // of another length, and of the same
		if err := to.Merge(strange); !errors.Is(err, stats.ErrEdges) {
			t.Errorf("merged other dictionaries: %v", err)
		}
	}
	if _, _, err := stats.DecodeCategorical([]byte(bytesOf(ab)), other); err == nil {
		t.Error("decoded on another dictionary")
	}
	if s := stats.CompareCategorical(strange, ab); !math.IsNaN(s.PSI) || stats.CategoricalShares(strange, ab) != nil {
		t.Error("compared other dictionaries")
	}
	fresh := stats.NewCategorical(dict)
	if err := fresh.Merge(ab); err != nil || bytesOf(fresh) != bytesOf(ab) {
		t.Errorf("merge into an empty one: %v", err)
	}
}

func TestCompareCategorical(t *testing.T) {
	dict, ref := stats.BuildDictionary(map[string]uint64{"US": 4000, "AA": 3000, "DL": 2990, "rare": 9, "once": 1}, 3)
	cur := stats.NewCategorical(dict)
	cur.AddN("AA", 1500)
	cur.AddN("DL", 1480)
	cur.AddN("XX", 20)
	s := stats.CompareCategorical(ref, cur)
	if v, why := stats.DefaultGate().Verdict(s, s.P()); v != stats.Material {
		t.Errorf("a gone category: %v (%s) %+v", v, why, s)
	}
	near(t, "unseen share", s.Unseen, 20./3000, 1e-15)
	if s.UnseenP > 1e-6 || !math.IsNaN(s.KSLo) || s.P() != s.Chi2P {
		t.Errorf("%+v", s)
	}
	shares, sum := stats.CategoricalShares(ref, cur), 0.0
	names := make([]string, len(shares))
	for i, share := range shares {
		sum += share.PSI
		names[i] = share.Name
	}
	near(t, "sum of shares", sum, s.PSI, 1e-12)
	if diff := cmp.Diff([]string{"US", "AA", "DL", "(other)", "(unseen)"}, names); diff != "" {
		t.Error(diff)
	}
	near(t, "good-turing mass of unseen", shares[4].Ref, 1e-4, 1e-15) // f1/m = 1/10,000, out of other
	near(t, "other", shares[3].Ref, 9e-4, 1e-15)
	if top := cur.New.Top(); len(top) != 1 || top[0] != (stats.Heavy{Name: "XX", Count: 20}) {
		t.Errorf("new names %v", top)
	}
	if none := stats.CompareCategorical(ref, stats.NewCategorical(dict)); !math.IsNaN(none.PSI) {
		t.Errorf("no current value: %+v", none)
	}
	if stats.CategoricalShares(ref, stats.NewCategorical(dict)) != nil {
		t.Error("shares of nothing")
	}
}

// Singles inside the dictionary lend their mass to unseen all the same.
func TestGoodTuringInsideTheDictionary(t *testing.T) {
	dict, ref := stats.BuildDictionary(map[string]uint64{"a": 90, "b": 1, "c": 1}, 10)
	shares := stats.CategoricalShares(ref, ref.Clone())
	near(t, "unseen", shares[len(shares)-1].Ref, 2./94, 1e-15) // 92 values and f1 = 2
	near(t, "rate", dict.UnseenRate(), 2./92, 1e-15)
}

func TestMergeSparse(t *testing.T) {
	ref, cur := []uint64{500, 400, 60, 30, 10}, []uint64{40, 50, 0, 4, 6}
	a, c := stats.MergeSparse(ref, cur, stats.SparseExpected) // expected: 50 40 6 3 1
	if diff := cmp.Diff([][]uint64{{500, 400, 60, 40}, {40, 50, 0, 10}}, [][]uint64{a, c}); diff != "" {
		t.Error(diff)
	}
	a, c = stats.MergeSparse([]uint64{10, 0}, []uint64{10, 0}, stats.SparseExpected)
	if len(a) != 1 || len(c) != 1 {
		t.Errorf("an empty rest became a cell: %v %v", a, c)
	}
}

func TestSpaceSaving(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 6))
	zipf := rand.NewZipf(random, 1.3, 1, 100_000)
	exact, n := map[string]uint64{}, uint64(20_000)
	var all, left, right stats.SpaceSaving
	for i := range n {
		name := fmt.Sprint("n", zipf.Uint64())
		exact[name]++
		all.Add(name, 1)
		[]*stats.SpaceSaving{&left, &right}[i%2].Add(name, 1)
	}
	sum := left.Clone()
	sum.Merge(&right)
	for _, s := range []*stats.SpaceSaving{&all, sum} {
		top := s.Top()
		if len(top) != 64 {
			t.Fatalf("%d names kept, want 64", len(top))
		}
		for _, h := range top {
			if seen := exact[h.Name]; h.Count-h.Over > seen || h.Count > seen+2*n/64 {
				t.Errorf("%+v, seen %d times", h, seen)
			}
		}
		if top[0].Name != "n0" || top[1].Name != "n1" {
			t.Errorf("top two: %v", top[:2])
		}
	}
	for _, h := range all.Top() {
		if h.Count < exact[h.Name] { // one stream never undercounts
			t.Errorf("%+v undercounts %d", h, exact[h.Name])
		}
	}
	data := stats.AppendSpaceSaving(nil, &all)
	back, _, err := stats.DecodeSpaceSaving(data)
	if err != nil || string(stats.AppendSpaceSaving(nil, back)) != string(data) {
		t.Errorf("round trip: %v", err)
	}
	back.Add("next", 1)
	all.Add("next", 1)
	if diff := cmp.Diff(all.Top(), back.Top()); diff != "" {
		t.Error("a decoded state goes another way:", diff)
	}

	var long stats.SpaceSaving
	long.Add(strings.Repeat("ä", 100), 1) // 200 bytes, kept 128 on a rune's start
	long.Add(strings.Repeat("\x80", 200), 2)
	if top := long.Top(); len(top[1].Name) != 128 || len(top[0].Name) != 128 {
		t.Errorf("kept names of %d and %d bytes, want 128", len(top[0].Name), len(top[1].Name))
	}
}

// p = 12: standard error 1.04/sqrt(4096) = 1.6 %.
func TestHLL(t *testing.T) {
	for _, n := range []int{0, 1, 100, 600, 5000, 100_000, 1_000_000} {
		random := rand.New(rand.NewPCG(uint64(n), 1))
		var whole, a, b stats.HLL
		for i := range n {
			hash := random.Uint64()
			whole.AddHash(hash)
			whole.AddHash(hash) // twice is once
			[]*stats.HLL{&a, &b}[i%2].AddHash(hash)
		}
		near(t, fmt.Sprint("estimate of ", n), float64(whole.Estimate()), float64(n), 3*.016*float64(n))
		ab, ba := a.Clone(), b.Clone()
		ab.Merge(&b)
		ba.Merge(&a)
		data := string(stats.AppendHLL(nil, &whole))
		if string(stats.AppendHLL(nil, ab)) != data || string(stats.AppendHLL(nil, ba)) != data {
			t.Errorf("n = %d: the order shows in the bytes", n)
		}
		back, rest, err := stats.DecodeHLL([]byte(data + "x"))
		if err != nil || len(rest) != 1 || string(stats.AppendHLL(nil, back)) != data || back.String() != whole.String() {
			t.Errorf("n = %d: round trip: %v", n, err)
		}
	}
}
