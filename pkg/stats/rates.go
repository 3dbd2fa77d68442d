package stats

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// Rate is the test of one share: of missing values, of unseen categories, of
// failures.
type Rate struct {
	K, N      uint64  // hits of trials
	Share     float64 // K/N
	Expected  float64 // the share when nothing changed
	Lo, Hi    float64 // 95 % Wilson interval of Share
	PMore     float64 // one-sided: at least this many hits
	PLess     float64 // one-sided: at most this many hits
	PTwoSided float64 // twice the smaller one, at most 1
}

// NewRate tests k hits of n against a fixed share p0, by the exact binomial
// law. Special cases are: NaN for n = 0, k > n or p0 outside of [0, 1].
func NewRate(k, n uint64, p0 float64) Rate {
	r := Rate{K: k, N: n, Expected: p0}
	if n == 0 || k > n || !(p0 >= 0 && p0 <= 1) {
		return r.undefined()
	}
	r.fill(binomialTail(k, n, p0), binomialTail(n-k, n, 1-p0))
	return r
}

// NewRateShift tests k hits of n against k0 of m. Where one of the four cells
// is expected below 1000 it is Fisher's exact test, otherwise the pooled z test
// (whose tail is half as heavy as Fisher's still at 10).
// Special cases are: NaN when a side is empty or has more hits than trials.
func NewRateShift(k, n, k0, m uint64) Rate {
	r := Rate{K: k, N: n, Expected: float64(k0) / float64(m)}
	if n == 0 || m == 0 || k > n || k0 > m {
		return r.undefined()
	}
	hits, all := float64(k+k0), float64(n+m)
	if min(hits, all-hits)*float64(min(n, m)) < 1000*all {
		r.fill(fisherTail(k, n, k0, m), fisherTail(n-k, n, m-k0, m))
		return r
	}
	pooled := hits / all
	z := (float64(k)/float64(n) - r.Expected) /
		math.Sqrt(pooled*(1-pooled)*(1/float64(n)+1/float64(m)))
	r.fill(NormalTail(z), NormalTail(-z))
	return r
}

func (r *Rate) fill(more, less float64) {
	r.Share = float64(r.K) / float64(r.N)
	r.Lo, r.Hi = Wilson(r.K, r.N, 0.95)
	r.PMore, r.PLess, r.PTwoSided = more, less, min(1, 2*min(more, less))
}

func (r Rate) undefined() Rate {
	nan := math.NaN()
	r.Share, r.Lo, r.Hi, r.PMore, r.PLess, r.PTwoSided = nan, nan, nan, nan, nan, nan
	return r
}

// binomialTail returns P(X >= k) of a binomial(n, p), as an incomplete beta.
func binomialTail(k, n uint64, p float64) float64 {
	switch {
	case k == 0 || p == 1:
		return 1
	case p == 0:
		return 0
	}
	return mathext.RegIncBeta(float64(k), float64(n-k+1), p)
}

// fisherTail returns the hypergeometric P(X >= k) of k hits among n, given k0
// among m. It starts with the likelier side of the sum's first term and stops
// when nothing more is added.
func fisherTail(k, n, k0, m uint64) float64 {
	hits := k + k0
	top := min(n, hits)
	least := uint64(0)
	if hits > m {
		least = hits - m
	}
	if k <= least {
		return 1
	}
	if float64(k)*float64(n+m) < float64(n)*float64(hits) { // below the mean: the other tail is short
		return max(0, 1-fisherSum(k-1, least, n, m, hits))
	}
	return min(1, fisherSum(k, top, n, m, hits))
}

// fisherSum adds the hypergeometric terms from x towards end.
func fisherSum(x, end, n, m, hits uint64) float64 {
	term := math.Exp(logChoose(n, x) + logChoose(m, hits-x) - logChoose(n+m, hits))
	sum := term
	for x != end && term > sum*1e-17 {
		if end > x {
			term *= float64(n-x) / float64(x+1) * (float64(hits-x) / float64(m-hits+x+1))
			x++
		} else {
			term *= float64(x) / float64(n-x+1) * (float64(m-hits+x) / float64(hits-x+1))
			x--
		}
		sum += term
	}
	return sum
}

func logChoose(n, k uint64) float64 {
	a, _ := math.Lgamma(float64(n) + 1)
	b, _ := math.Lgamma(float64(k) + 1)
	c, _ := math.Lgamma(float64(n-k) + 1)
	return a - b - c
}

// Wilson returns the score interval of a share at the given confidence (0.95
// covers 94 % at worst where Wald's covers 78). Special cases are: [0, 1] for
// n = 0; an end of exactly 0 or 1 when there is no hit, or no miss.
func Wilson(k, n uint64, confidence float64) (lo, hi float64) {
	if n == 0 {
		return 0, 1
	}
	z := NormalQuantile(0.5 + confidence/2)
	trials, p := float64(n), float64(k)/float64(n)
	scale := 1 + z*z/trials
	mid := (p + z*z/(2*trials)) / scale
	half := z / scale * math.Sqrt(p*(1-p)/trials+z*z/(4*trials*trials))
	lo, hi = max(0, mid-half), min(1, mid+half)
	if k == 0 {
		lo = 0
	}
	if k == n {
		hi = 1
	}
	return lo, hi
}

// Newcombe returns the hybrid score interval of the difference k1/n1 - k2/n2
// (Newcombe 1998, method 10). An empty side gives [-1, 1] at most.
func Newcombe(k1, n1, k2, n2 uint64, confidence float64) (lo, hi float64) {
	if n1 == 0 || n2 == 0 {
		return -1, 1
	}
	p1, p2 := float64(k1)/float64(n1), float64(k2)/float64(n2)
	l1, u1 := Wilson(k1, n1, confidence)
	l2, u2 := Wilson(k2, n2, confidence)
	d := p1 - p2
	return d - math.Hypot(p1-l1, u2-p2), d + math.Hypot(u1-p1, p2-l2)
}
