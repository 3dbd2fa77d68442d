package stats_test

import (
	"math"
	"math/rand/v2"
)

// A family is a distribution the properties are tried on: those of
// statistics.md 1.3.
type family struct {
	name string
	next func(*rand.Rand) float64
}

var families = []family{
	{"normal", func(r *rand.Rand) float64 { return r.NormFloat64() }},
	{"lognormal", func(r *rand.Rand) float64 { return math.Exp(2 * r.NormFloat64()) }},
	{"zero inflated", func(r *rand.Rand) float64 {
		if r.Float64() < .6 {
			return 0
		}
		return math.Exp(r.NormFloat64())
	}},
	{"integer", func(r *rand.Rand) float64 { return math.Floor(r.ExpFloat64() * 20) }},
	{"cauchy", func(r *rand.Rand) float64 { return math.Tan(math.Pi * (r.Float64() - .5)) }},
	{"constant", func(*rand.Rand) float64 { return 7 }},
	{"bimodal", func(r *rand.Rand) float64 { return r.NormFloat64()*.01 + float64(10*r.IntN(2)-5) }},
	{"huge offset", func(r *rand.Rand) float64 { return 1e6 + 2*r.Float64() - 1 }},
}

func draw(f family, n int, random *rand.Rand) []float64 {
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = f.next(random)
	}
	return xs
}
