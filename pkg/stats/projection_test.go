package stats_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"driftd.dev/driftd/pkg/stats"
)

// factors draws n rows of dim components that six latent factors move, as in
// statistics.md section 7.
func factors(seed uint64, n, dim int) []float64 {
	const latent = 6
	load := rand.New(rand.NewPCG(7, uint64(dim))) // one world, whatever the seed
	weights := make([]float64, dim*latent)
	for i := range weights {
		weights[i] = load.NormFloat64()
	}
	r := rand.New(rand.NewPCG(seed, 1))
	rows := make([]float64, 0, n*dim)
	for range n {
		var f [latent]float64
		for k := range f {
			f[k] = r.NormFloat64()
		}
		for i := range dim {
			x := 3 + r.NormFloat64()
			for k := range f {
				x += weights[i*latent+k] * f[k]
			}
			rows = append(rows, x)
		}
	}
	return rows
}

// TestProjectionAgreesWithGonum: the axes are the principal components of
// stat.PC, the coordinates are gonum's, and the distances those of mat.
func TestProjectionAgreesWithGonum(t *testing.T) {
	const n, dim = 400, 12
	rows := factors(3, n, dim)
	var pc stat.PC
	if !pc.PrincipalComponents(mat.NewDense(n, dim, slices.Clone(rows)), nil) {
		t.Fatal("stat.PC finds no components")
	}
	p := stats.NewProjection(slices.Clone(rows), dim, false)
	if p.Axes() != dim || p.Dim() != dim || p.Kept() != 1 {
		t.Fatalf("%d axes of %d components keep %v, want all of %d", p.Axes(), p.Dim(), p.Kept(), dim)
	}
	var vectors mat.Dense
	pc.VectorsTo(&vectors)
	mean, cov := make([]float64, dim), mat.NewSymDense(dim, nil)
	for k := range mean {
		mean[k] = stat.Mean(mat.Col(nil, k, mat.NewDense(n, dim, rows)), nil)
	}
	stat.CovarianceMatrix(cov, mat.NewDense(n, dim, rows), nil)
	var chol mat.Cholesky
	chol.Factorize(cov)
	out, scratch := make([]float64, len(p.Names())), make([]float64, dim)
	for i := range 50 {
		x := rows[i*dim : (i+1)*dim]
		if !p.Apply(out, scratch, x) {
			t.Fatalf("row %d has no finite numbers", i)
		}
		for k, name := range p.Names() {
			want := 0.0
			switch name {
			case "mahalanobis":
				want = stat.Mahalanobis(mat.NewVecDense(dim, x), mat.NewVecDense(dim, mean), &chol)
				want *= want
			case "cosine":
				a, b := mat.NewVecDense(dim, x), mat.NewVecDense(dim, mean)
				want = mat.Dot(a, b) / a.Norm(2) / b.Norm(2)
			default:
				for j := range dim {
					want += vectors.At(j, k) * (x[j] - mean[j])
				}
				out[k], want = math.Abs(out[k]), math.Abs(want) // the sign of an axis is free
			}
			near(t, fmt.Sprintf("row %d, %s", i, name), out[k], want, 2e-5*max(1, math.Abs(want))) // float32 axes
		}
	}
}

// TestAxesAreADirection: of the two directions of an axis that is taken in which its
// strongest component grows, whatever the eigenvectors' signs are, and it has length 1.
func TestAxesAreADirection(t *testing.T) {
	const dim = 5
	out, scratch := make([]float64, dim+2), make([]float64, dim)
	for seed := range uint64(20) {
		rows := factors(seed, 100, dim)
		p := stats.NewProjection(slices.Clone(rows), dim, false)
		at := func(x []float64) []float64 {
			if !p.Apply(out, scratch, x) {
				t.Fatal("no finite numbers")
			}
			return slices.Clone(out[:dim])
		}
		axes, origin := mat.NewDense(dim, dim, nil), at(rows[:dim]) // column k is axis k
		for i := range dim {
			x := slices.Clone(rows[:dim])
			x[i]++
			for k, y := range at(x) {
				axes.Set(i, k, y-origin[k])
			}
		}
		for k := range dim {
			axis := mat.Col(nil, k, axes)
			near(t, "length", mat.Norm(mat.NewVecDense(dim, axis), 2), 1, 1e-6)
			strongest := slices.MaxFunc(axis, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
			if strongest < 0 {
				t.Errorf("seed %d, axis %d is %v: it falls in its strongest component", seed, k, axis)
			}
		}
	}
}

// TestProjectionOfManyDimensions: the axes found by iteration keep what those
// of the covariance matrix keep, and leave a residual.
func TestProjectionOfManyDimensions(t *testing.T) {
	for _, dim := range []int{100, 300} {
		rows := factors(5, 1500, dim)
		var pc stat.PC
		if !pc.PrincipalComponents(mat.NewDense(1500, dim, slices.Clone(rows)), nil) {
			t.Fatal("stat.PC finds no components")
		}
		vars := pc.VarsTo(nil)
		best, total := 0.0, 0.0
		for i, v := range vars {
			if total += v; i < stats.MaxAxes {
				best += v
			}
		}
		p := stats.NewProjection(slices.Clone(rows), dim, false)
		if p.Axes() != stats.MaxAxes || !slices.Contains(p.Names(), "residual") {
			t.Fatalf("dimension %d: %d axes, numbers %v", dim, p.Axes(), p.Names())
		}
		if share := best / total; p.Kept() < share-.01 || p.Kept() > share+1e-9 {
			t.Errorf("dimension %d: the axes keep %.4f of the variance, the best %.4f", dim, p.Kept(), share)
		}
		out, scratch := make([]float64, len(p.Names())), make([]float64, dim)
		p.Apply(out, scratch, rows[:dim])
		squares := 0.0
		for i, name := range p.Names() {
			if i < p.Axes() || name == "residual" {
				squares += out[i] * out[i]
			}
		}
		var want float64
		again := stats.NewProjection(slices.Clone(rows), dim, true)
		if names := again.Names(); names[len(names)-1] != "norm" {
			t.Errorf("standardised numbers %v, want norm at the end", names)
		}
		for j := range dim {
			m := 0.0
			for i := range 1500 {
				m += rows[i*dim+j] / 1500
			}
			want += (rows[j] - m) * (rows[j] - m)
		}
		near(t, "coordinates and residual", squares, want, 1e-4*want)
	}
}

func TestProjectionSpecialCases(t *testing.T) {
	constant := slices.Repeat([]float64{1, 2}, 10)
	nan := append(slices.Clone(factors(1, 20, 2)[:38]), math.NaN(), 1)
	for name, p := range map[string]*stats.Projection{
		"no rows": stats.NewProjection(nil, 3, false), "two rows": stats.NewProjection([]float64{1, 2, 3, 5}, 2, false),
		"equal rows": stats.NewProjection(constant, 2, true), "NaN": stats.NewProjection(nan, 2, false), "no dimension": stats.NewProjection([]float64{1}, 0, false),
	} {
		if p != nil {
			t.Errorf("%s: %d axes, want no projection", name, p.Axes())
		}
	}
	if p := stats.NewProjection([]float64{1, 2, 4}, 1, false); p == nil || p.Axes() != 1 {
		t.Errorf("three numbers have the projection %+v, want one axis", p)
	}
	rows := factors(1, 50, 3)
	for i := range 50 {
		rows[3*i+1] = 7 // a component without variance
	}
	p := stats.NewProjection(rows, 3, true)
	if p.Axes() != 2 {
		t.Fatalf("%d axes, want 2 of the components that vary", p.Axes())
	}
	out, scratch := make([]float64, len(p.Names())), make([]float64, 3)
	if !p.Apply(out, scratch, []float64{1, 9, 1}) || math.Abs(out[2]-2) > 1e-6 {
		t.Errorf("numbers %v of %v: the residual must say that the constant component moved by 2", out, p.Names())
	}
	if p.Apply(out, scratch, []float64{1, math.Inf(1), 1}) || p.Apply(out, scratch, []float64{math.NaN(), 1, 1}) {
		t.Error("numbers of a vector that is not finite count as finite")
	}
}

func TestProjectionCodec(t *testing.T) {
	for _, standardise := range []bool{false, true} {
		p := stats.NewProjection(factors(2, 300, 70), 70, standardise)
		data := stats.AppendProjection([]byte{}, p)
		back, rest, err := stats.DecodeProjection(append(slices.Clone(data), 1, 2))
		if err != nil || !bytes.Equal(rest, []byte{1, 2}) {
			t.Fatalf("rest %v, %v", rest, err)
		}
		if again := stats.AppendProjection(nil, back); !bytes.Equal(again, data) {
			t.Error("what was read is written differently")
		}
		x := factors(9, 1, 70)
		a, b, scratch := make([]float64, len(p.Names())), make([]float64, len(p.Names())), make([]float64, 70)
		p.Apply(a, scratch, x)
		back.Apply(b, scratch, x)
		if !slices.Equal(a, b) {
			t.Errorf("numbers after a restart %v, before %v: replays would differ", b, a)
		}
		for cut := range data {
			if _, _, err := stats.DecodeProjection(data[:cut]); err == nil {
				t.Fatalf("%d of %d bytes are read as a projection", cut, len(data))
			}
		}
		spoilt := slices.Clone(data)
		copy(spoilt[len(spoilt)-8:], []byte{0x7f, 0xf8, 0, 0, 0, 0, 0, 1})
		if _, _, err := stats.DecodeProjection(spoilt); err == nil {
			t.Error("a total variance of NaN is read")
		}
	}
}

func TestProjectionDoesNotAllocate(t *testing.T) {
	p := stats.NewProjection(factors(2, 300, 70), 70, false)
	x, out, scratch := factors(9, 1, 70), make([]float64, len(p.Names())), make([]float64, 70)
	if n := testing.AllocsPerRun(100, func() { p.Apply(out, scratch, x) }); n != 0 {
		t.Errorf("%v allocations a vector", n)
	}
}

func BenchmarkProjection(b *testing.B) {
	for _, dim := range []int{50, 384, 768, 1536} {
		p := stats.NewProjection(factors(2, 400, dim), dim, false)
		x, out, scratch := factors(9, 1, dim), make([]float64, len(p.Names())), make([]float64, dim)
		b.Run(fmt.Sprintf("%dx%d", dim, p.Axes()), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Apply(out, scratch, x)
			}
		})
	}
}

// BenchmarkNewProjection is what the loop waits for when a baseline freezes.
func BenchmarkNewProjection(b *testing.B) {
	for _, c := range []struct{ n, dim int }{{10_000, 50}, {8000, 256}, {2700, 768}, {1350, 1536}} {
		rows := factors(2, c.n, c.dim)
		b.Run(fmt.Sprintf("%dx%d", c.n, c.dim), func(b *testing.B) {
			for b.Loop() {
				stats.NewProjection(slices.Clone(rows), c.dim, false)
			}
		})
	}
}
