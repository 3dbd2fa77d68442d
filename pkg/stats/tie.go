package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

const (
	tiePoints  = 60     // quantiles kept
	tieBridges = 20_000 // Brownian bridges drawn
	tieAtoms   = 0.05   // atom mass above which ties matter
	tieTop     = 0.98   // largest and smallest p of the table; the smallest
	tieBottom  = 0.001  // rests on 20 of the bridges
)

// TieTable is the law of the KS distance to a baseline with ties.
//
// With atoms the distance is taken at fewer points than the continuous law
// assumes, and its p-values are far too large: a 3 % binary feature would
// never be rejected. The table holds lambda with P(max |bridge| >= lambda) = p
// over the baseline's distinct CDF points, for 60 p from 0.98 to 0.001
// (Dimitrova, Kaishev, Tan 2020 give the exact law; this one is drawn). It is
// immutable and part of a baseline.
type TieTable struct {
	lambda [tiePoints]float64 // ascending
}

// NewTieTable draws the table of a baseline; the same seed gives the same
// table. It is nil, which stands for the continuous law, when at most 5 % of
// the baseline sits in atoms or it has no two distinct CDF points.
func NewTieTable(ref *Numeric, seed uint64) *TieTable {
	if !(ref.AtomMass() > tieAtoms) {
		return nil
	}
	var shares []float64 // CDF strictly inside (0, 1), ascending
	sum := uint64(0)
	for _, c := range ref.Counts {
		if sum += c; c > 0 && sum < ref.N {
			shares = append(shares, float64(sum)/float64(ref.N))
		}
	}
	if len(shares) == 0 {
		return nil
	}
	peaks := drawBridges(shares, seed)
	slices.Sort(peaks)
	t := &TieTable{}
	for i := range t.lambda {
		above := int(math.Round(tieLevel(i) * tieBridges)) // peaks at or above the quantile
		t.lambda[i] = peaks[tieBridges-above]
	}
	return t
}

// tieLevel is the p of entry i: 60 levels, evenly spaced in log p.
func tieLevel(i int) float64 {
	return tieTop * math.Pow(tieBottom/tieTop, float64(i)/(tiePoints-1))
}

// drawBridges returns max |B| over the given times of tieBridges bridges, in
// steps of the conditional law of B(t) given B(s) and B(1) = 0.
func drawBridges(times []float64, seed uint64) []float64 {
	random := rand.New(rand.NewPCG(seed, 0x6b732d74696573))
	keep, spread := make([]float64, len(times)), make([]float64, len(times))
	last := 0.0
	for i, t := range times {
		keep[i] = (1 - t) / (1 - last)
		spread[i] = math.Sqrt((t - last) * (1 - t) / (1 - last))
		last = t
	}
	peaks := make([]float64, tieBridges)
	for b := range peaks {
		at, peak := 0.0, 0.0
		for i, k := range keep {
			at = float64(k*at) + float64(spread[i]*random.NormFloat64())
			peak = max(peak, math.Abs(at))
		}
		peaks[b] = peak
	}
	return peaks
}

// P returns the p-value of a KS distance d between n and m values. Beyond the
// table it is the continuous one, an upper bound, but at most the table's
// last. A nil table is the continuous law; see [KSP].
func (t *TieTable) P(d float64, n, m uint64) float64 {
	continuous := KSP(d, n, m)
	if t == nil || !(d > 0) || min(n, m) < 20 {
		return continuous
	}
	lambda := d * rootN(n, m)
	i, _ := slices.BinarySearch(t.lambda[:], lambda)
	switch {
	case i == 0 && lambda < t.lambda[0]:
		return continuous // so near to 1 that the table does not say
	case i == tiePoints:
		return min(continuous, tieBottom)
	case t.lambda[i] == lambda || i == 0:
		return min(continuous, tieLevel(i))
	}
	part := (lambda - t.lambda[i-1]) / (t.lambda[i] - t.lambda[i-1])
	return min(continuous, tieLevel(i-1)*math.Pow(tieLevel(i)/tieLevel(i-1), part))
}

// AppendTieTable appends the encoding of t: a byte 0 for nil, otherwise 1 and
// 60 float64.
func AppendTieTable(dst []byte, t *TieTable) []byte {
	if t == nil {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	for _, v := range t.lambda {
		dst = appendFloat(dst, v)
	}
	return dst
}

// DecodeTieTable reads what AppendTieTable wrote and returns the bytes after it.
func DecodeTieTable(data []byte) (t *TieTable, rest []byte, err error) {
	r := reader{data: data}
	switch flag := r.byte(); flag {
	case 0:
		return nil, r.data, r.wrap("tie table")
	case 1:
	default:
		return nil, nil, fmt.Errorf("decode tie table: unknown flag %d: %w", flag, ErrCodec)
	}
	t = &TieTable{}
	for i := range t.lambda {
		v := r.float()
		if !(v >= 0) || (i > 0 && v < t.lambda[i-1]) {
			r.fail("lambda %d is %v", i, v)
		}
		t.lambda[i] = v
	}
	if r.err != nil {
		return nil, nil, r.wrap("tie table")
	}
	return t, r.data, nil
}
