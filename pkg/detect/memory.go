package detect

import "math"

// memoryOrder is the order of the memory that is taken out of the scores: lower ones
// leave the drift of a day in them (statistics.md 5.3: 741 false pages a 1000
// windows with none, 13 with 1, 0.5 with 6).
const memoryOrder = 6

// lags are the standardised scores of the last windows, the latest first; NaN
// for one that was not measured.
type lags [memoryOrder]float32

func noLags() (l lags) {
	for k := range l {
		l[k] = float32(math.NaN())
	}
	return l
}

// push adds a window's score.
func (l *lags) push(y float32) {
	copy(l[1:], l[:memoryOrder-1])
	l[0] = y
}

// skip passes over windows that did not come.
func (l *lags) skip(windows int64) {
	for range min(windows, memoryOrder) {
		l.push(float32(math.NaN()))
	}
}

// expect returns what the last windows say about the next, as far as they are known.
func (l *lags) expect(phi *[memoryOrder]float32) (sum float64) {
	for k, y := range l {
		if y == y {
			sum += float64(phi[k]) * float64(y)
		}
	}
	return sum
}

// An autocorrelation is that of one detector at lags 1 to memoryOrder.
type autocorrelation struct {
	square  float64              // sum of y^2
	product [memoryOrder]float64 // sums of y_t y_(t-k)
	n       int
}

func (a *autocorrelation) add(y float32, l *lags) {
	if y != y {
		return
	}
	a.n++
	a.square += float64(y) * float64(y)
	for k, past := range l {
		if past == past {
			a.product[k] += float64(y) * float64(past)
		}
	}
}

func (a *autocorrelation) rho() (rho [memoryOrder]float64) {
	if a.square > 0 {
		for k := range rho {
			rho[k] = a.product[k] / a.square
		}
	}
	return rho
}

// memories returns the coefficients of each of a component's detectors: those of
// Yule and Walker for its autocorrelation, which is drawn towards the mean of
// all as far as chance alone explains how they differ. One detector has too few
// windows for six coefficients, and not all features of a model remember alike.
func memories(each []autocorrelation) [][memoryOrder]float32 {
	mean, own := pool(each)
	out := make([][memoryOrder]float32, len(each))
	for j := range each {
		rho := each[j].rho()
		if each[j].n == 0 {
			rho = mean
		}
		for k := range rho {
			rho[k] = mean[k] + own*(rho[k]-mean[k])
		}
		if math.Abs(rho[0]) > leastMemory {
			out[j] = levinson(rho)
		}
	}
	return out
}

// leastMemory is the autocorrelation up to which there is none.
const leastMemory = 0.05

// pool returns the mean autocorrelation, and the weight of a detector's own: the
// share of the variance between detectors that chance, 1/n, does not explain.
func pool(each []autocorrelation) (mean [memoryOrder]float64, own float64) {
	count, chance := 0.0, 0.0
	for j := range each {
		if each[j].square == 0 {
			continue
		}
		count++
		chance += 1 / float64(each[j].n)
		for k, rho := range each[j].rho() {
			mean[k] += rho
		}
	}
	if count == 0 {
		return mean, 0
	}
	for k := range mean {
		mean[k] /= count
	}
	between := 0.0
	for j := range each {
		if each[j].square > 0 {
			d := each[j].rho()[0] - mean[0]
			between += d * d
		}
	}
	if count < 2 || between == 0 {
		return mean, 0
	}
	return mean, max(0, 1-chance/count/(between/(count-1)))
}

// levinson solves the equations of Yule and Walker (Levinson 1947).
func levinson(rho [memoryOrder]float64) (phi [memoryOrder]float32) {
	var a, prev [memoryOrder]float64
	left := 1.0 // variance that is not explained
	for k := range memoryOrder {
		sum := rho[k]
		for i := range k {
			sum -= prev[i] * rho[k-1-i]
		}
		reflection := min(0.99, max(-0.99, sum/left))
		a = prev
		a[k] = reflection
		for i := range k {
			a[i] = prev[i] - reflection*prev[k-1-i]
		}
		left *= 1 - reflection*reflection
		prev = a
	}
	for k := range phi {
		phi[k] = float32(a[k])
	}
	return phi
}
