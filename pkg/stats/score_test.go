package stats_test

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"driftd.dev/driftd/pkg/stats"
)

// bruteSmooth is NewSmooth from raw values: every value gets its mid-rank among
// the reference's bins, and the scores are made orthonormal by sums over values.
func bruteSmooth(edges *stats.Edges, ref, cur []float64) stats.Smooth {
	midrank := func(x float64) float64 {
		bin, below, same := edges.Bin(x), 0.0, 0.0
		for _, v := range ref {
			switch b := edges.Bin(v); {
			case b < bin:
				below++
			case b == bin:
				same++
			}
		}
		return (below + same/2) / float64(len(ref))
	}
	scores := func(xs []float64) (a, b []float64) {
		for _, x := range xs {
			r := midrank(x)
			a, b = append(a, math.Sqrt(12)*(r-.5)), append(b, math.Sqrt(5)*(6*r*r-6*r+1))
		}
		return a, b
	}
	mean := func(xs []float64, f func(float64) float64) (sum float64) {
		for _, x := range xs {
			sum += f(x)
		}
		return sum / float64(len(xs))
	}
	same := func(x float64) float64 { return x }
	a, b := scores(ref)
	ma, mb := mean(a, same), mean(b, same)
	va := mean(a, func(x float64) float64 { return (x - ma) * (x - ma) })
	cov := 0.0
	for i := range a {
		cov += (a[i] - ma) * (b[i] - mb) / float64(len(a))
	}
	beta := 0.0
	if va >= 1e-3 {
		beta = cov / va
	}
	vb := 0.0
	for i := range b {
		d := b[i] - mb - beta*(a[i]-ma)
		vb += d * d / float64(len(b))
	}
	ca, cb := scores(cur)
	la, lb := mean(ca, same)-ma, mean(cb, same)-mb
	out := stats.Smooth{Location: la / math.Sqrt(max(va, 1e-3)), Spread: (lb - beta*la) / math.Sqrt(max(vb, 1e-3))}
	if va >= 1e-3 && vb < 1e-3 {
		out.Spread = math.NaN()
	}
	return out
}

func TestSmoothAgainstRawValues(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, f := range append(families, tied...) {
		for _, shift := range []float64{0, .5} {
			ref := sortedDraw(f, 400, random)
			edges := stats.BuildEdges(ref, 64)
			cur := draw(f, 150, random)
			for i := range cur {
				cur[i] += shift
			}
			got, want := stats.NewSmooth(count(edges, ref), count(edges, cur)), bruteSmooth(edges, ref, cur)
			near(t, f.name+" location", got.Location, want.Location, 1e-9)
			near(t, f.name+" spread", got.Spread, want.Spread, 1e-9)
		}
	}
}

// Under no change both scores have mean 0 and variance 1/n + 1/m, ties or not,
// and are uncorrelated: 4 standard errors of 1,500 windows.
func TestSmoothNullMoments(t *testing.T) {
	const n, m, sims = 200, 2000, 1500
	for _, f := range append(families[:6:6], tied...) {
		random := rand.New(rand.NewPCG(5, 6))
		edges := stats.BuildEdges(sortedDraw(f, m, random), 256)
		var loc, spread, both stats.Moments
		for range sims {
			s := stats.NewSmooth(count(edges, draw(f, m, random)), count(edges, draw(f, n, random)))
			scale := math.Sqrt(1/float64(n) + 1/float64(m))
			if loc.Add(s.Location / scale); f.name == "constant" && s != (stats.Smooth{}) {
				t.Fatalf("a constant scores %v", s)
			}
			if !math.IsNaN(s.Spread) {
				spread.Add(s.Spread / scale)
				both.Add(s.Spread * s.Location / scale / scale)
			}
		}
		if f.name == "constant" {
			continue
		}
		near(t, f.name+": mean location", loc.Mean, 0, 4/math.Sqrt(sims))
		near(t, f.name+": sd of location", loc.SD(), 1, 4/math.Sqrt(2*sims))
		if spread.N < sims/2 {
			if f.name != "3 % binary" {
				t.Errorf("%s has a spread in %d windows of %d", f.name, spread.N, sims)
			}
			continue // two values: location says all
		}
		near(t, f.name+": mean spread", spread.Mean, 0, 4/math.Sqrt(sims))
		near(t, f.name+": sd of spread", spread.SD(), 1, 5/math.Sqrt(2*sims))
		near(t, f.name+": correlation", both.Mean, 0, 4/math.Sqrt(sims))
	}
}

func TestSmoothMeaning(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	ref := sortedDraw(families[0], 50_000, random)
	edges := stats.BuildEdges(ref, 256)
	base := count(edges, ref)
	moved := draw(families[0], 50_000, random)
	for i := range moved {
		moved[i] += .25
	}
	// P(X+.25 > Y) = Phi(.25/sqrt 2) = .5702; Location = (that - 1/2) sqrt 12
	near(t, "location of .25 sd", stats.NewSmooth(base, count(edges, moved)).Location, (.5702-.5)*math.Sqrt(12), .02)

	constant := stats.BuildEdges([]float64{7, 7, 7, 7}, 256)
	seven, eight := count(constant, []float64{7, 7, 7, 7}), count(constant, []float64{7, 7, 7, 8})
	s := stats.NewSmooth(seven, eight)
	near(t, "a quarter beyond a constant", s.Location, .25*math.Sqrt(3)/math.Sqrt(1e-3), 1e-9)
	if s.Spread <= 0 {
		t.Errorf("spread of a constant that is none any more = %v", s.Spread)
	}
	empty := stats.NewNumeric(constant)
	for _, pair := range [][2]*stats.Numeric{{seven, empty}, {empty, seven}, {base, seven}, {stats.NewNumeric(nil), seven}} {
		if s := stats.NewSmooth(pair[0], pair[1]); !math.IsNaN(s.Location) || !math.IsNaN(s.Spread) {
			t.Errorf("what cannot be compared scores %v", s)
		}
	}
}

// One value of 1e9, NaN or infinity in 1,000 moves no distance by 1 %, and the
// scores by no more than any value beyond the reference: sqrt 3 in 1,000.
func TestOneMadValue(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 1))
	ref := sortedDraw(families[0], 20_000, random)
	edges, deciles := stats.BaselineEdges(ref, 256)
	base := count(edges, ref)
	xs := draw(families[0], 1000, random)
	for i := range xs {
		xs[i] += .5
	}
	compare := func() (stats.Shift, stats.Smooth) {
		h := count(edges, xs)
		return stats.CompareNumeric(base, h, deciles, nil), stats.NewSmooth(base, h)
	}
	before, smooth := compare()
	for mad, by := range map[float64]float64{
		1e9: .01, math.NaN(): .01, math.Inf(1): .01, math.Inf(-1): .01,
		-1e9: .015, // PSI makes most of a value in the cell that the shift has emptied, whatever its size
	} {
		kept := xs[500]
		xs[500] = mad
		after, moved := compare()
		xs[500] = kept
		near(t, "psi", after.PSI/before.PSI, 1, by)
		near(t, "ks", after.KSLo/before.KSLo, 1, .01)
		near(t, "location", moved.Location, smooth.Location, 2*math.Sqrt(3)/1000)
		near(t, "spread", moved.Spread, smooth.Spread, 2*math.Sqrt(5)/1000)
	}
}

func TestMix(t *testing.T) {
	// [10 20 30 40] against 25 of each: Pearson 10.9002, p .012278 (statistics.md 9)
	_, ref := stats.BuildDictionary(map[string]uint64{"a": 25, "b": 25, "c": 25, "d": 25}, 0)
	cur := stats.NewCategorical(ref.Dict)
	for name, n := range map[string]uint64{"a": 10, "b": 20, "c": 30, "d": 40} {
		cur.AddN(name, n)
	}
	mix := stats.NewMix(ref, cur)
	near(t, "tail of the score", stats.NormalTail(mix.Score), .012278, .0003) // the cube root is that good at 3 degrees
	near(t, "most moved share", mix.Move, .15, 1e-12)
	if same := stats.NewMix(ref, ref.Clone()); same.Score >= -1 || same.Move != 0 {
		t.Errorf("no change at all scores %+v, want far below 0", same)
	}
	_, other := stats.BuildDictionary(map[string]uint64{"x": 5}, 0)
	if m := stats.NewMix(ref, other); !math.IsNaN(m.Score) {
		t.Errorf("another dictionary scores %v", m)
	}
	if m := stats.NewMix(other, other.Clone()); m.Score != 0 || m.Move != 0 {
		t.Errorf("one cell scores %+v, want 0", m)
	}
	if m := stats.NewMix(ref, stats.NewCategorical(ref.Dict)); !math.IsNaN(m.Move) {
		t.Errorf("an empty side scores %+v", m)
	}
}

// A Zipf catalogue, whose unseen values have their Good-Turing share: the score
// of unchanged windows is about a standard normal.
func TestMixNull(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 9))
	zipf := rand.NewZipf(random, 1.3, 3, 100_000)
	name := func() string { return strconv.FormatUint(zipf.Uint64(), 10) }
	counts := map[string]uint64{}
	for range 50_000 {
		counts[name()]++
	}
	_, ref := stats.BuildDictionary(counts, 50)
	var scores stats.Moments
	for range 600 {
		cur := stats.NewCategorical(ref.Dict)
		for range 1000 {
			cur.Add(name())
		}
		scores.Add(stats.NewMix(ref, cur).Score)
	}
	near(t, "mean", scores.Mean, 0, .2)
	near(t, "sd", scores.SD(), 1, .1)
}

func TestRateScore(t *testing.T) {
	near(t, "half against none", stats.RateScore(1, 2, 0), math.Pi/2, 1e-12)
	near(t, "as expected", stats.RateScore(30, 100, .3), 0, 1e-12)
	random := rand.New(rand.NewPCG(4, 4))
	for _, p := range []float64{.03, .5, .9} {
		var z stats.Moments
		for range 3000 {
			k := uint64(0)
			for range 400 {
				if random.Float64() < p {
					k++
				}
			}
			z.Add(stats.RateScore(k, 400, p) * math.Sqrt(400))
		}
		near(t, "mean", z.Mean, 0, .1)
		near(t, "sd", z.SD(), 1, .08)
	}
	for _, bad := range [][3]float64{{0, 0, .5}, {2, 1, .5}, {1, 2, -.1}, {1, 2, 1.1}, {1, 2, math.NaN()}} {
		if s := stats.RateScore(uint64(bad[0]), uint64(bad[1]), bad[2]); !math.IsNaN(s) {
			t.Errorf("RateScore(%v) = %v, want NaN", bad, s)
		}
	}
}
