package stats

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// TwoSampleKSP returns the p-value of a two-sample KS distance d between n and
// m values as scipy.stats.ks_2samp gives it, which other tools print: exact by
// lattice paths up to 10,000 values on each side, and beyond that the exact law
// of one sample of round(nm/(n+m)) values.
//
// KSP is the faster one, within 3 %, that windows are judged by. Ties make both
// an upper bound. Special cases are: 1 for d <= 0, NaN when a side is empty or
// d is NaN.
func TwoSampleKSP(d float64, n, m uint64) float64 {
	const exactMost = 10_000
	switch {
	case math.IsNaN(d) || n == 0 || m == 0:
		return math.NaN()
	case d <= 0:
		return 1
	case max(n, m) <= exactMost:
		return latticeP(d, int(min(n, m)), int(max(n, m)))
	}
	return OneSampleKSP(d, uint64(math.RoundToEven(1/(1/float64(n)+1/float64(m)))))
}

// OneSampleKSP returns P(D >= d) of the KS distance D between n values without
// ties and the law they come from. It chooses among the methods as Simard and
// L'Ecuyer do (J. Stat. Software 39(11), 2011), and is right to ten digits;
// where the approximation of Pelz and Good is used, n > 140 and p > 0.02, to
// seven. Special cases are: 1 for d <= 1/(2n), 0 for d >= 1, NaN for n = 0.
func OneSampleKSP(d float64, n uint64) float64 {
	size := float64(n)
	square := size * d * d
	switch {
	case n == 0 || math.IsNaN(d):
		return math.NaN()
	case d >= 1:
		return 0
	case size*d <= .5:
		return 1
	case d >= .5, n <= 140 && square > 4, n > 140 && square >= 2.2:
		return min(1, 2*smirnovTail(d, n))
	case n <= 140, n <= 100_000 && size*math.Pow(d, 1.5) <= 1.4:
		return 1 - marsagliaCDF(d, int(n))
	case square >= 18:
		return 0
	}
	return max(0, min(1, 1-pelzGoodCDF(d, size)))
}

// smirnovTail returns P(D+ >= d), the one-sided law, by the sum of Birnbaum and
// Tingey (1951). All terms are positive, so none cancels.
func smirnovTail(d float64, n uint64) float64 {
	size := float64(n)
	whole, _ := math.Lgamma(size + 1)
	sum := 0.0
	for j := 0.0; j <= math.Floor(size*(1-d)); j++ {
		left := 1 - d - j/size
		if left <= 0 {
			break
		}
		a, _ := math.Lgamma(j + 1)
		b, _ := math.Lgamma(size - j + 1)
		sum += math.Exp(whole - a - b + (j-1)*math.Log(d+j/size) + (size-j)*math.Log(left))
	}
	return d * sum
}

// marsagliaCDF returns P(D < d) by a power of the matrix of Marsaglia, Tsang
// and Wang (J. Stat. Software 8(18), 2003). Its cost grows with (nd)^3.
func marsagliaCDF(d float64, n int) float64 {
	k := int(float64(n)*d) + 1
	size := 2*k - 1
	h := float64(k) - float64(n)*d
	m := mat.NewDense(size, size, nil)
	for i := range size {
		for j := range min(i+2, size) {
			m.Set(i, j, 1)
		}
	}
	for i := range size {
		m.Set(i, 0, m.At(i, 0)-math.Pow(h, float64(i+1)))
		m.Set(size-1, i, m.At(size-1, i)-math.Pow(h, float64(size-i)))
	}
	if 2*h > 1 {
		m.Set(size-1, 0, m.At(size-1, 0)+math.Pow(2*h-1, float64(size)))
	}
	for i := range size {
		for j := range min(i+1, size) {
			for g := 2; g <= i-j+1; g++ {
				m.Set(i, j, m.At(i, j)/float64(g))
			}
		}
	}
	power, exponent := scaledPower(m, n)
	p := math.Log(power.At(k-1, k-1)) + exponent
	whole, _ := math.Lgamma(float64(n) + 1)
	return math.Exp(p + whole - float64(n)*math.Log(float64(n)))
}

// scaledPower returns m^n as a matrix times e^exponent.
func scaledPower(m *mat.Dense, n int) (power *mat.Dense, exponent float64) {
	size, _ := m.Dims()
	power = mat.NewDense(size, size, nil)
	for i := range size {
		power.Set(i, i, 1)
	}
	square, scale := mat.DenseCopyOf(m), 0.0
	for ; n > 0; n /= 2 {
		if n%2 == 1 {
			var product mat.Dense
			product.Mul(power, square)
			norm := mat.Norm(&product, math.Inf(1))
			product.Scale(1/norm, &product)
			power, exponent = &product, exponent+scale+math.Log(norm)
		}
		var twice mat.Dense
		twice.Mul(square, square)
		norm := mat.Norm(&twice, math.Inf(1))
		twice.Scale(1/norm, &twice)
		square, scale = &twice, 2*scale+math.Log(norm)
	}
	return power, exponent
}

// pelzGoodCDF approximates P(D <= d) by the first four terms in 1/sqrt(n) of
// Pelz and Good (J. R. Stat. Soc. B 38, 1976), in the form for small arguments.
func pelzGoodCDF(d, n float64) float64 {
	z := math.Sqrt(n) * d
	z2, pi2 := z*z, math.Pi*math.Pi
	z4, z6 := z2*z2, z2*z2*z2
	var k0, k1, k2, k3 float64
	for k := 1.0; k <= math.Ceil(16*z/math.Pi); k++ {
		m2 := (2*k - 1) * (2*k - 1)
		q := math.Exp(-pi2 / 8 / z2 * m2)
		k0 += q
		k1 += q * (-z2 + pi2/4*m2)
		k2 += q * (6*z6 + 2*z4 + (2*z4-5*z2)*pi2/4*m2 + pi2*pi2*(1-2*z2)/16*m2*m2)
		k3 += q * (-30*z6 - 90*z4*z4 + pi2*(135*z4-96*z6)/4*m2 + pi2*pi2*(-60*z2+212*z4)/16*m2*m2 + pi2*pi2*pi2*(5-30*z2)/64*m2*m2*m2)
	}
	k0, k1, k2, k3 = k0/z, k1/(6*z4), k2/(72*z6*z), k3/(6480*z4*z6)
	for k := 1.0; k <= math.Ceil(16*z/math.Pi); k++ {
		q := k * k * math.Exp(-pi2/2/z2*k*k)
		k2 -= q * pi2 / (36 * z2 * z)
		k3 += q * (3*z2 - pi2*k*k) * pi2 / (216 * z6)
	}
	root := math.Sqrt(n)
	return math.Sqrt(2*math.Pi) * (k0 + k1/root + k2/n + k3/(n*root))
}
