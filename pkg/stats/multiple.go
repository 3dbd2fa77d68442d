package stats

import (
	"cmp"
	"math"
	"slices"
)

// EValue turns a p-value into an e-value: the mean over k of k*p^(k-1), k
// uniform on (0,1), which is (1-p+p ln p)/(p ln^2 p) (Vovk & Wang 2021). Its
// expectation is at most 1 when the p-value is valid, whatever it depends on.
// Special cases are: +Inf for p = 0, 1/2 for p = 1, NaN outside of [0, 1].
func EValue(p float64) float64 {
	switch {
	case !(p >= 0 && p <= 1):
		return math.NaN()
	case p == 0:
		return math.Inf(1)
	case p > 0.999: // the limit at 1 is 1/2, where the formula is 0/0
		return 0.5 + (1-p)/6
	}
	log := math.Log(p)
	return (1 - p + p*log) / (p * log * log)
}

// EBH returns the adjusted levels of a list of e-values: rejecting those at
// most alpha keeps the false discovery rate below alpha under any dependence
// between them (Wang & Ramdas 2022). NaN stays NaN and is not counted.
func EBH(e []float64) []float64 {
	inverse := make([]float64, len(e))
	for i, v := range e {
		inverse[i] = 1 / v
	}
	return BH(inverse)
}

// BH returns the p-values adjusted by Benjamini and Hochberg, valid for
// independent or positively dependent ones. NaN stays NaN and is not counted.
func BH(p []float64) []float64 {
	order := make([]int, 0, len(p))
	for i, v := range p {
		if !math.IsNaN(v) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	adjusted := slices.Clone(p)
	least := 1.0
	for rank := len(order); rank > 0; rank-- {
		i := order[rank-1]
		least = min(least, p[i]*float64(len(order))/float64(rank))
		adjusted[i] = least
	}
	return adjusted
}
