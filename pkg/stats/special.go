package stats

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// NormalTail returns P(Z > z) of a standard normal.
//
// It goes through Erfc and so keeps its digits in the far tail, where 1-CDF
// (gonum's Normal.Survival) is 0 from z = 8.3 on.
func NormalTail(z float64) float64 { return 0.5 * math.Erfc(z/math.Sqrt2) }

// NormalQuantile returns z with P(Z <= z) = p. Special cases are: -Inf for
// p = 0, +Inf for p = 1, NaN outside of [0, 1].
func NormalQuantile(p float64) float64 { return -math.Sqrt2 * math.Erfcinv(2*p) }

// ChiSquareTail returns P(X >= x) of a chi-square with df degrees of freedom.
// Special cases are: 1 for x <= 0 or df <= 0 (nothing to test), NaN for NaN.
func ChiSquareTail(x, df float64) float64 {
	switch {
	case math.IsNaN(x) || math.IsNaN(df):
		return math.NaN()
	case x <= 0 || df <= 0:
		return 1
	case math.IsInf(x, 1):
		return 0
	}
	return mathext.GammaIncRegComp(df/2, x/2)
}

// ChiSquareQuantile returns x with ChiSquareTail(x, df) = alpha, for
// 0 < alpha < 1 and df > 0, NaN otherwise.
func ChiSquareQuantile(alpha, df float64) float64 {
	if !(alpha > 0 && alpha < 1 && df > 0) {
		return math.NaN()
	}
	return 2 * mathext.GammaIncRegCompInv(df/2, alpha)
}

// KolmogorovTail returns Q(l) = P(sup|B| >= l) of a Brownian bridge B: the
// limit law of the KS distance. Two series are used, each where it converges
// within a few terms. Special cases are: 1 for l <= 0, NaN for NaN.
func KolmogorovTail(l float64) float64 {
	switch {
	case math.IsNaN(l):
		return math.NaN()
	case l <= 0.04: // 1 to the last bit
		return 1
	case l < 1.18:
		x := math.Exp(-math.Pi * math.Pi / (8 * l * l))
		x8 := math.Pow(x, 8) // terms are x^(2k-1)^2 = x, x^9, x^25, x^49
		sum := x * (1 + x8*(1+x8*x8*(1+x8*x8*x8)))
		return 1 - math.Sqrt(2*math.Pi)/l*sum
	}
	sum, sign := 0.0, 1.0
	for k := 1.0; ; k++ {
		term := math.Exp(-2 * k * k * l * l)
		sum += sign * term
		if term <= 1e-17*sum || term == 0 {
			return 2 * sum
		}
		sign = -sign
	}
}

// KolmogorovQuantile returns l with KolmogorovTail(l) = alpha, by bisection.
// Special cases are: +Inf for alpha <= 0, 0 for alpha >= 1, NaN for NaN.
func KolmogorovQuantile(alpha float64) float64 {
	switch {
	case math.IsNaN(alpha):
		return math.NaN()
	case alpha <= 0:
		return math.Inf(1)
	case alpha >= 1:
		return 0
	}
	lo, hi := 0.0, 20.0 // Q(20) underflows
	for range 80 {
		if mid := (lo + hi) / 2; KolmogorovTail(mid) > alpha {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}
