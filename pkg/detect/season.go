package detect

import "math"

// A daily cycle and the weekend are fitted as level, weekend, and the first
// three harmonics of the day (statistics.md 5.2).
const (
	harmonics = 3
	terms     = 2 + 2*harmonics
)

// calendar returns the terms of the season at a moment. Windows of a day or
// more see no cycle within it, shorter ones as many harmonics as they can tell.
func calendar(day, second float32, windowsADay int) (x [terms]float64) {
	x[0] = 1
	if weekday := (int64(day)%7 + 7) % 7; weekday == 2 || weekday == 3 { // 1970-01-01 was a Thursday
		x[1] = 1
	}
	phase := 2 * math.Pi * float64(second) / (24 * 60 * 60)
	for k := 1; k <= harmonics && 2*k < windowsADay; k++ {
		x[2*k], x[2*k+1] = math.Cos(float64(k)*phase), math.Sin(float64(k)*phase)
	}
	return x
}

// A gram is the inverse of the crossproduct of the terms over some windows. What
// is constant or a sum of others over them has no coefficient: its row is zero.
type gram struct {
	inverse [terms][terms]float64
	rank    int
}

// newGram inverts the crossproduct of the rows of x for which use holds, by the
// sweep operator (Goodnight 1979).
func newGram(x [][terms]float64, use []bool) gram {
	var a [terms][terms]float64
	for i := range x {
		if !use[i] {
			continue
		}
		for p := range terms {
			for q := range terms {
				a[p][q] += x[i][p] * x[i][q]
			}
		}
	}
	g := gram{}
	var swept [terms]bool
	size := a
	for k := range terms {
		pivot := a[k][k]
		if pivot <= 1e-9*size[k][k] || size[k][k] == 0 {
			continue
		}
		swept[k] = true
		g.rank++
		for q := range terms {
			a[k][q] /= pivot
		}
		for p := range terms {
			if p == k {
				continue
			}
			factor := a[p][k]
			for q := range terms {
				a[p][q] -= factor * a[k][q]
			}
			a[p][k] = -factor / pivot
		}
		a[k][k] = 1 / pivot
	}
	for p := range terms {
		for q := range terms {
			if swept[p] && swept[q] {
				g.inverse[p][q] = a[p][q]
			}
		}
	}
	return g
}

// solve returns the coefficients for the crossproduct of the terms with the values.
func (g *gram) solve(xy [terms]float64) (coef [terms]float64) {
	for p := range terms {
		for q := range terms {
			coef[p] += g.inverse[p][q] * xy[q]
		}
	}
	return coef
}

// leverage returns how much a window's own value is in its fit, at most 0.9.
func (g *gram) leverage(x [terms]float64) float64 {
	h := 0.0
	for p := range terms {
		for q := range terms {
			h += x[p] * g.inverse[p][q] * x[q]
		}
	}
	return min(h, 0.9)
}

func dot(a, b [terms]float64) (sum float64) {
	for i := range terms {
		sum += a[i] * b[i]
	}
	return sum
}
