package detect

import "math"

// lambdas are the sizes of a change that evidence is gathered for, in standard
// deviations of the rank score: both directions of a small, a middle and a large one.
var lambdas = [bets]float64{0.75, -0.75, 1.5, -1.5, 3, -3}

const bets = 6

// most keeps the evidence of a change that nobody acts on within float32.
const most = 1e30

// An evidence is what a detector has gathered: for each lambda the
// Shiryaev-Roberts sum R <- (1+R) exp(lambda z - lambda^2/2), and the CUSUM of
// the same bet with the window in which it last rose from 0, which is the change
// point. With z standard normal R - t is a martingale: R reaches A in at most
// one of A windows.
type evidence struct {
	r     [bets]float32
	s     [bets]float32
	since [bets]uint32 // number of the window
	age   uint32       // windows since R was 0
}

// add gathers one window. A z that is NaN leaves everything as it is.
func (e *evidence) add(z float64, window uint32) {
	if math.IsNaN(z) {
		return
	}
	e.age++
	for i, lambda := range lambdas {
		step := lambda*z - lambda*lambda/2
		e.r[i] = float32(min(most, (1+float64(e.r[i]))*math.Exp(step)))
		s := max(0, float64(e.s[i])+step)
		if e.s[i] == 0 && s > 0 {
			e.since[i] = window
		}
		e.s[i] = float32(min(most, s))
	}
}

// mean returns the detector's R: the mean over the bets.
func (e *evidence) mean() float64 {
	sum := 0.0
	for _, r := range e.r {
		sum += float64(r)
	}
	return sum / bets
}

// change returns the number of the first window of the change: where the
// greatest CUSUM began. It is the fallback's if no CUSUM stands.
func (e *evidence) change(fallback uint32) uint32 {
	best := float32(0)
	for i, s := range e.s {
		if s > best {
			best, fallback = s, e.since[i]
		}
	}
	return fallback
}
