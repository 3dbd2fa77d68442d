package stats

import "math"

// Moments are the first two moments and the range of a list of numbers, with
// counters for what is not finite. The zero value is empty.
//
// N counts finite values only. Min, Max, Mean and M2 (the sum of squared
// deviations from the mean) are 0 while N is 0.
type Moments struct {
	N, NaN, PosInf, NegInf uint64
	Min, Max, Mean, M2     float64
}

// Add counts one value: Welford's update.
func (m *Moments) Add(x float64) { m.AddColumn([]float64{x}) }

// AddColumn counts a column of values.
//
// The result depends on the order of the values but not on how they are cut
// into columns, bit for bit: a window that was recovered from a checkpoint
// equals one that never stopped. That is why the update is Welford's, value by
// value, and not two passes a column. The reciprocal keeps the division out of
// the chain of dependent operations.
func (m *Moments) AddColumn(xs []float64) {
	n, mean, m2, low, high := float64(m.N), m.Mean, m.M2, m.Min, m.Max
	for _, x := range xs {
		x += 0
		if x-x != 0 { // NaN or an infinity
			m.addNonFinite(x)
			continue
		}
		if n == 0 {
			low, high = x, x
		}
		n++
		if x < low {
			low = x
		}
		if x > high {
			high = x
		}
		step := 1 / n
		d := x - mean
		if math.IsInf(d, 0) { // opposite ends of the float range
			mean += x*step - mean*step
			m2 = math.Inf(1)
			continue
		}
		mean += float64(d * step) // float64(): no fused multiply-add, one result on all machines
		m2 += float64(d * (x - mean))
	}
	m.N, m.Mean, m.M2, m.Min, m.Max = uint64(n), mean, m2, low, high
}

func (m *Moments) addNonFinite(x float64) {
	switch {
	case math.IsNaN(x):
		m.NaN++
	case x > 0:
		m.PosInf++
	default:
		m.NegInf++
	}
}

// Merge adds the values behind o: Chan's update.
func (m *Moments) Merge(o Moments) {
	m.NaN, m.PosInf, m.NegInf = m.NaN+o.NaN, m.PosInf+o.PosInf, m.NegInf+o.NegInf
	switch {
	case o.N == 0:
		return
	case m.N == 0:
		m.N, m.Min, m.Max, m.Mean, m.M2 = o.N, o.Min, o.Max, o.Mean, o.M2
		return
	}
	a, b := float64(m.N), float64(o.N)
	n := a + b
	if d := o.Mean - m.Mean; math.IsInf(d, 0) {
		m.Mean = m.Mean*(a/n) + o.Mean*(b/n)
		m.M2 = math.Inf(1)
	} else {
		m.Mean += float64(d * (b / n))
		m.M2 += o.M2 + float64(float64(d*d)*(a*b/n))
	}
	m.N += o.N
	m.Min, m.Max = min(m.Min, o.Min), max(m.Max, o.Max)
}

// Total returns the number of all values, finite or not.
func (m *Moments) Total() uint64 { return m.N + m.NaN + m.PosInf + m.NegInf }

// SD returns the population standard deviation. Special cases are: NaN of no
// value, +Inf when the squares overflow.
func (m *Moments) SD() float64 {
	if m.N == 0 {
		return math.NaN()
	}
	return math.Sqrt(max(0, m.M2) / float64(m.N))
}
