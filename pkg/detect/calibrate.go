package detect

import (
	"math"
	"slices"

	"driftd.dev/driftd/pkg/stats"
)

// A calibration is how often quiet windows raise evidence: log R of a detector
// rises above x in exp(a - theta x) of its windows. Theory says a = 0 and theta
// = 1 at worst; what the fit has left over (season, memory) makes theta smaller,
// and the threshold pays for it.
type calibration struct {
	a, theta float64
}

// theory is the calibration of detectors that are as they should be.
var theory = calibration{0, 1}

// threshold returns the least log R that keeps false alarms to one in level
// windows of a detector.
func (c calibration) threshold(logLevel float64) float64 {
	return max(logLevel, (c.a+logLevel)/c.theta)
}

// Up-crossings are counted at log R = 3, 3.5, ... 8: from where evidence begins
// to be rare to where four weeks of 200 features still have some.
const (
	firstCrossing = 3.0
	crossingStep  = 0.5
	crossings     = 11
)

// prior is how many detector-windows theory stands for. It decides where a model
// is too small to show its tail: e^3 windows are one crossing of the first level.
const prior = 400

// replay judges the residuals from a window on as if they came live, each ranked
// among those before it. It returns what each detector's evidence is worth, and
// how often what it is worth rises above each level, over all detectors.
func replay(columns [][]float32, seed func(detector, window int) float64, from int) (calibration, []float32) {
	var counts [crossings]float64
	windows := 0.0
	var list []float32
	var path []float64 // of one detector's log R
	worths := make([]float32, len(columns))
	for j, column := range columns {
		list, path = list[:0], path[:0]
		var e evidence
		for i, x := range column {
			if x != x {
				continue
			}
			at, end := position(list, x)
			if i >= from {
				e.add(rankScore(at, end, len(list), seed(j, i)), 0)
				path = append(path, math.Log(e.mean()))
			}
			list = slices.Insert(list, at, x)
		}
		worths[j] = worth(path)
		cross(&counts, path, float64(worths[j]))
		windows += float64(len(path))
	}
	return slope(counts, windows), worths
}

// cross counts the levels that a path rises above, each as often as it does.
func cross(counts *[crossings]float64, path []float64, worth float64) {
	last := math.Inf(-1)
	for _, now := range path {
		now *= worth
		for k := range counts {
			if x := firstCrossing + crossingStep*float64(k); last < x && now >= x {
				counts[k]++
			}
		}
		last = now
	}
}

// trust is how many excursions a detector is taken to be as theory says for.
const trust = 30

// worth returns what a detector's evidence is worth, 1 at most: the slope of its
// own tail (Hill 1975), from how far its excursions above the first level go,
// which is 1 on average when all is right. One feature that changes all the time
// must not spend the budget of a model, nor dull the others.
func worth(path []float64) float32 {
	excursions, beyond, peak := 0.0, 0.0, 0.0
	above := false
	for _, now := range path {
		if now < firstCrossing {
			beyond += peak
			above, peak = false, 0
			continue
		}
		if !above {
			above = true
			excursions++
		}
		peak = max(peak, now-firstCrossing)
	}
	return float32(min(1, (trust+excursions)/(trust+beyond+peak)))
}

// position returns how many of an ascending list are below x, and how many at most x.
func position(list []float32, x float32) (below, upTo int) {
	below, found := slices.BinarySearch(list, x)
	upTo = below
	if found {
		upTo += countEqual(list[below:], x)
	}
	return below, upTo
}

func countEqual(list []float32, x float32) int {
	n, _ := slices.BinarySearchFunc(list, x, func(v, x float32) int {
		if v <= x {
			return -1
		}
		return 1
	})
	return n
}

// slope fits log rate = a - theta x by least squares, each level weighted by its
// count: one or two crossings say little.
func slope(counts [crossings]float64, windows float64) calibration {
	var n, sx, sy, sxx, sxy float64
	for k, count := range counts {
		x := firstCrossing + crossingStep*float64(k)
		weight := count + prior*math.Exp(-x)
		y := math.Log(weight / (windows + prior))
		n += weight
		sx += weight * x
		sy += weight * y
		sxx += weight * x * x
		sxy += weight * x * y
	}
	theta := -(n*sxy - sx*sy) / (n*sxx - sx*sx)
	theta = max(leastTheta, theta)
	return calibration{a: (sy + theta*sx) / n, theta: theta}
}

// leastTheta keeps the threshold finite where evidence means nothing at all.
const leastTheta = 0.05

// rankScore returns the normal score of a rank among of quiet windows: exactly
// standard normal when the window is like them, whatever their distribution
// (smoothed conformal p-value; Vovk et al. 2005). u is uniform on (0, 1).
func rankScore(below, upTo, of int, u float64) float64 {
	return stats.NormalQuantile((float64(below) + u*float64(upTo-below+1)) / float64(of+1))
}
