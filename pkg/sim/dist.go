package sim

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
)

// Dist is a distribution of numbers.
type Dist interface {
	// Sample draws one value.
	Sample(r *rand.Rand) float64
	// SD is the standard deviation, in which injected shifts are measured.
	SD() float64
	valid() error
}

// Constant is always the same value.
type Constant float64

// Normal is the Gaussian.
type Normal struct{ Mean, Sigma float64 }

// LogNormal is exp of a Gaussian; its median is exp(Mu).
type LogNormal struct{ Mu, Sigma float64 }

// Uniform is flat on [Low, High).
type Uniform struct{ Low, High float64 }

// Exponential has the given mean and is never negative.
type Exponential struct{ Mean float64 }

// ZeroInflated is 0 with probability Zero, else Dist.
type ZeroInflated struct {
	Zero float64
	Dist Dist
}

// Integer rounds Dist to whole numbers.
type Integer struct{ Dist Dist }

// Mixture draws from A with probability Share, else from B.
type Mixture struct {
	Share float64
	A, B  Dist
}

// Sample returns the constant.
func (d Constant) Sample(*rand.Rand) float64 { return float64(d) }

// SD is 0.
func (d Constant) SD() float64 { return 0 }

func (d Constant) valid() error { return finite(float64(d)) }

// Sample draws one value.
func (d Normal) Sample(r *rand.Rand) float64 { return d.Mean + d.Sigma*r.NormFloat64() }

// SD is Sigma.
func (d Normal) SD() float64 { return d.Sigma }

func (d Normal) valid() error { return errors.Join(finite(d.Mean), positive("sigma", d.Sigma)) }

// Sample draws one value.
func (d LogNormal) Sample(r *rand.Rand) float64 { return math.Exp(d.Mu + d.Sigma*r.NormFloat64()) }

// SD is exp(Mu + Sigma²/2) sqrt(exp(Sigma²) - 1).
func (d LogNormal) SD() float64 {
	v := d.Sigma * d.Sigma
	return math.Exp(d.Mu+v/2) * math.Sqrt(math.Expm1(v))
}

func (d LogNormal) valid() error { return errors.Join(finite(d.Mu), positive("sigma", d.Sigma)) }

// Sample draws one value.
func (d Uniform) Sample(r *rand.Rand) float64 { return d.Low + (d.High-d.Low)*r.Float64() }

// SD is (High - Low) / sqrt(12).
func (d Uniform) SD() float64 { return (d.High - d.Low) / math.Sqrt(12) }

func (d Uniform) valid() error {
	return errors.Join(finite(d.Low), finite(d.High), positive("high - low", d.High-d.Low))
}

// Sample draws one value.
func (d Exponential) Sample(r *rand.Rand) float64 { return d.Mean * r.ExpFloat64() }

// SD is Mean.
func (d Exponential) SD() float64 { return d.Mean }

func (d Exponential) valid() error { return positive("mean", d.Mean) }

// Sample draws one value. It draws from Dist also when the result is 0, so that
// the generator moves on alike.
func (d ZeroInflated) Sample(r *rand.Rand) float64 {
	zero, x := r.Float64() < d.Zero, d.Dist.Sample(r)
	if zero {
		return 0
	}
	return x
}

// SD is that of Dist: an injected shift is measured on the values that are not zero.
func (d ZeroInflated) SD() float64 { return d.Dist.SD() }

func (d ZeroInflated) valid() error { return errors.Join(share("zero", d.Zero), validDist(d.Dist)) }

// Sample draws one value.
func (d Integer) Sample(r *rand.Rand) float64 { return math.Round(d.Dist.Sample(r)) }

// SD is that of Dist, without the twelfth that rounding adds to the variance.
func (d Integer) SD() float64 { return d.Dist.SD() }

func (d Integer) valid() error { return validDist(d.Dist) }

// Sample draws one value.
func (d Mixture) Sample(r *rand.Rand) float64 {
	if r.Float64() < d.Share {
		return d.A.Sample(r)
	}
	return d.B.Sample(r)
}

// SD is the mean of the two, weighted: the spread inside the parts.
func (d Mixture) SD() float64 { return d.Share*d.A.SD() + (1-d.Share)*d.B.SD() }

func (d Mixture) valid() error {
	return errors.Join(share("share", d.Share), validDist(d.A), validDist(d.B))
}

func validDist(d Dist) error {
	if d == nil {
		return errors.New("distribution is missing")
	}
	return d.valid()
}

func finite(x float64) error {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return fmt.Errorf("%g is not finite", x)
	}
	return nil
}

func positive(name string, x float64) error {
	if !(x > 0) || math.IsInf(x, 0) {
		return fmt.Errorf("%s is %g, must be above 0", name, x)
	}
	return nil
}

func share(name string, x float64) error {
	if !(x >= 0 && x <= 1) {
		return fmt.Errorf("%s is %g, must be between 0 and 1", name, x)
	}
	return nil
}
