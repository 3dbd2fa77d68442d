package stats

import (
	"fmt"
	"math"
)

// Verdict says whether a feature moved, and whether it matters.
type Verdict uint8

// The verdicts, by weight. Insufficient is the zero value: nothing is known.
const (
	Insufficient Verdict = iota // too few values to tell
	Stable                      // no evidence, or an effect too small to matter
	Minor                       // evidence and a small effect: a ticket
	Material                    // evidence and an effect that matters: a page
)

// String returns the verdict's name in reports.
func (v Verdict) String() string {
	switch v {
	case Insufficient:
		return "insufficient"
	case Stable:
		return "stable"
	case Minor:
		return "minor"
	case Material:
		return "material"
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// Gate holds what a verdict asks for: enough values, evidence, and an effect.
// With 10,000 values everything is significant, with 100 every PSI is large:
// neither alone is a reason to wake somebody.
type Gate struct {
	MinN                uint64  // values on each side below which nothing is said
	Alpha               float64 // adjusted p below which there is evidence
	PageKS, PagePSI     float64 // material from this KS lower bound, or debiased PSI, on
	TicketKS, TicketPSI float64 // minor from this one on
}

// DefaultGate is that of statistics.md 5.2: a shift of 0.25 sd (KS .0995, PSI
// .0598) is material with 99 % probability, one of about 0.1 sd minor.
func DefaultGate() Gate {
	return Gate{MinN: 100, Alpha: 0.001, PageKS: 0.08, PagePSI: 0.04, TicketKS: 0.04, TicketPSI: 0.01}
}

// Verdict judges a shift by its p-value, adjusted for the number of features
// looked at together, and says why in a few words.
func (g Gate) Verdict(s Shift, adjusted float64) (v Verdict, reason string) {
	switch {
	case s.N < g.MinN:
		return Insufficient, fmt.Sprintf("n %d < %d", s.N, g.MinN)
	case s.M < g.MinN:
		return Insufficient, fmt.Sprintf("reference n %d < %d", s.M, g.MinN)
	case math.IsNaN(adjusted):
		return Insufficient, "no p-value: the sides cannot be compared"
	case adjusted >= g.Alpha:
		return Stable, fmt.Sprintf("adjusted p %.3g >= %g", adjusted, g.Alpha)
	case s.KSLo >= g.PageKS:
		return Material, fmt.Sprintf("ks_lo %.3g >= %g, adjusted p %.3g", s.KSLo, g.PageKS, adjusted)
	case s.PSIDebiased >= g.PagePSI:
		return Material, fmt.Sprintf("psi_debiased %.3g >= %g, adjusted p %.3g", s.PSIDebiased, g.PagePSI, adjusted)
	case s.KSLo >= g.TicketKS:
		return Minor, fmt.Sprintf("ks_lo %.3g >= %g, adjusted p %.3g", s.KSLo, g.TicketKS, adjusted)
	case s.PSIDebiased >= g.TicketPSI:
		return Minor, fmt.Sprintf("psi_debiased %.3g >= %g, adjusted p %.3g", s.PSIDebiased, g.TicketPSI, adjusted)
	}
	if math.IsNaN(s.KSLo) {
		return Stable, fmt.Sprintf("effect too small: psi_debiased %.3g", s.PSIDebiased)
	}
	return Stable, fmt.Sprintf("effect too small: ks_lo %.3g, psi_debiased %.3g", s.KSLo, s.PSIDebiased)
}

// A Judgement is the verdict on one shift of a list.
type Judgement struct {
	Verdict  Verdict
	Reason   string
	P        float64 // of the shift alone
	Adjusted float64 // by e-BH over the list; NaN if not tested
}

// Judge returns the verdict on each shift of one report. The p-values become
// e-values and are adjusted by e-BH, since features depend on one another;
// shifts with too few values are not tested and do not count.
func (g Gate) Judge(shifts []Shift) []Judgement {
	judged, e := make([]Judgement, len(shifts)), make([]float64, len(shifts))
	for i, s := range shifts {
		judged[i].P = s.P()
		e[i] = EValue(judged[i].P)
		if min(s.N, s.M) < g.MinN {
			e[i] = math.NaN()
		}
	}
	for i, adjusted := range EBH(e) {
		judged[i].Adjusted = adjusted
		judged[i].Verdict, judged[i].Reason = g.Verdict(shifts[i], adjusted)
	}
	return judged
}
