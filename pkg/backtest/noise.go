package backtest

import (
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// A Noise is how often a rule fired on the models' own history, and so how often
// it must be expected to. Whether something was the matter then is for people to
// say. Low and High are the exact 95 % interval of a Poisson rate (F. Garwood,
// Biometrika 28, 1936), which for several models takes their rates to be alike.
type Noise struct {
	Models int       `json:"models"`
	Fired  int       `json:"fired"`
	From   time.Time `json:"from"` // of the earliest history
	To     time.Time `json:"to"`   // of the latest
	Days   float64   `json:"days"` // of all histories together
	Per30d float64   `json:"per_30d"`
	Low    float64   `json:"low"`
	High   float64   `json:"high"`
}

// NewNoise returns the noise of a number of alerts over one model's history, nil
// if that has no length.
func NewNoise(fired int, from, to time.Time) *Noise {
	if !from.Before(to) {
		return nil
	}
	n := &Noise{Models: 1, Fired: fired, From: from, To: to, Days: to.Sub(from).Hours() / 24}
	n.estimate()
	return n
}

// Add returns the noise on the models of both; either may be nil.
func (n *Noise) Add(o *Noise) *Noise {
	if n == nil || o == nil {
		if n == nil {
			return o
		}
		return n
	}
	sum := &Noise{Models: n.Models + o.Models, Fired: n.Fired + o.Fired, From: n.From, To: n.To, Days: n.Days + o.Days}
	if o.From.Before(sum.From) {
		sum.From = o.From
	}
	if o.To.After(sum.To) {
		sum.To = o.To
	}
	sum.estimate()
	return sum
}

func (n *Noise) estimate() {
	k, scale := float64(n.Fired), 30/n.Days*float64(n.Models)
	n.Per30d = k * scale
	if n.Fired > 0 {
		n.Low = distuv.ChiSquared{K: 2 * k}.Quantile(.025) / 2 * scale
	}
	n.High = distuv.ChiSquared{K: 2*k + 2}.Quantile(.975) / 2 * scale
}
