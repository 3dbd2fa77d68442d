package backtest

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
)

// An Effect is what an Injection does to a feature.
type Effect uint8

// The effects.
const (
	Shift       Effect = iota + 1 // plus Amount standard deviations of the baseline
	Scale                         // times Amount
	Missing                       // a share of Amount is missing
	NewCategory                   // a share of Amount is Category
)

// An Injection is a fault put into data of which it is known how rules judge it:
// it says how long they take to notice.
type Injection struct {
	Text     string // as written
	Feature  string
	Effect   Effect
	Amount   float64
	Category string    // of NewCategory
	At       time.Time // it acts from here on; zero: on everything

	signal string  // the feature's name among a window's signals
	sd     float64 // of the baseline
	events bool    // it acts on events, not on their histograms
}

// DefaultCategory is the name of a new category that is given none.
const DefaultCategory = "injected"

var effectForms = []struct {
	effect Effect
	form   *regexp.Regexp // groups: feature, amount and, if there is one, category
}{
	{Missing, regexp.MustCompile(`^(.+):missing=([0-9.eE+-]+)$`)},
	{NewCategory, regexp.MustCompile(`^(.+):new=([0-9.eE+-]+)(?:,(.+))?$`)},
	{Shift, regexp.MustCompile(`^(.+?)([+-][0-9.]+)sd$`)},
	{Scale, regexp.MustCompile(`^(.+)\*([0-9.eE+-]+)$`)},
}

// ParseInjection reads an injection: FEATURE+0.25sd, FEATURE-0.25sd, FEATURE*1.3,
// FEATURE:missing=0.3 or FEATURE:new=0.1,NAME, each with @TIME (RFC 3339) if it
// does not act from the start.
func ParseInjection(text string) (Injection, error) {
	out := Injection{Text: text}
	what := text
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		t, err := time.Parse(time.RFC3339, text[at+1:])
		if err != nil {
			return out, fmt.Errorf("inject %q: %q is no time such as 2026-01-05T12:00:00Z", text, text[at+1:])
		}
		what, out.At = text[:at], t.UTC()
	}
	for _, f := range effectForms {
		groups := f.form.FindStringSubmatch(what)
		if groups == nil {
			continue
		}
		amount, err := strconv.ParseFloat(groups[2], 64)
		if err != nil || math.IsInf(amount, 0) || math.IsNaN(amount) {
			return out, fmt.Errorf("inject %q: %q is no number", text, groups[2])
		}
		out.Feature, out.Effect, out.Amount = groups[1], f.effect, amount
		if f.effect == NewCategory {
			out.Category = cmp.Or(groups[3], DefaultCategory)
		}
		return out, out.check()
	}
	return out, fmt.Errorf("inject %q: write FEATURE+0.25sd, FEATURE*1.3, FEATURE:missing=0.3 or FEATURE:new=0.1, and @TIME for when it begins", text)
}

func (i *Injection) check() error {
	switch share := i.Effect == Missing || i.Effect == NewCategory; {
	case share && (i.Amount <= 0 || i.Amount > 1):
		return fmt.Errorf("inject %q: a share is above 0 and at most 1", i.Text)
	case i.Effect == Scale && i.Amount <= 0:
		return fmt.Errorf("inject %q: a factor is above 0", i.Text)
	}
	return nil
}

// Bind makes injections ready to act on what is compared with a baseline: on its
// events, or on their windows. A feature that the baseline does not have, or of
// the other type, is an error.
func Bind(injections []Injection, b *drift.Baseline, events bool) ([]Injection, error) {
	if len(injections) > 0 && b == nil {
		return nil, errors.New("inject: the model has no baseline, so nothing would be compared")
	}
	out := slices.Clone(injections)
	for k := range out {
		i := &out[k]
		i.events = events
		var ref *drift.Reference
		for _, i.signal = range []string{i.Feature, drift.FeaturePrefix + i.Feature} {
			if ref = b.Part("").Reference(i.signal); ref != nil {
				break
			}
		}
		switch {
		case ref == nil:
			return nil, fmt.Errorf("inject %q: the baseline has no feature %q", i.Text, i.Feature)
		case !ref.Feature:
			return nil, fmt.Errorf("inject %q: %s is an output of the model, not a feature", i.Text, i.Feature)
		case (i.Effect == Shift || i.Effect == Scale) && ref.Type != drift.Numeric:
			return nil, fmt.Errorf("inject %q: %s is categorical; :missing and :new are for it", i.Text, i.Feature)
		case i.Effect == NewCategory && ref.Type != drift.Categorical:
			return nil, fmt.Errorf("inject %q: %s is numeric; +sd, * and :missing are for it", i.Text, i.Feature)
		}
		if ref.Type == drift.Numeric {
			i.sd = ref.Numeric.SD()
		}
		if i.Effect == Shift && !(i.sd > 0 && i.sd <= math.MaxFloat64) {
			return nil, fmt.Errorf("inject %q: %s has no standard deviation in the baseline; scale it with *", i.Text, i.Feature)
		}
	}
	return out, nil
}

// Event changes the n-th event in place, exactly: shares are drawn by a hash of n,
// so the same data gives the same faults.
func (i *Injection) Event(e *event.Event, n uint64) {
	if e.Features == nil || !i.At.IsZero() && e.Time < i.At.UnixNano() {
		return
	}
	at := slices.Index(e.Features.Names, i.Feature)
	if at < 0 {
		return
	}
	v := &e.Values[at]
	switch i.Effect {
	case Shift, Scale:
		if v.Kind == event.Number {
			v.Num = v.Num*i.scale() + i.shift()
		}
	case Missing:
		if i.drawn(n) {
			*v = event.Value{}
		}
	case NewCategory:
		if v.Kind != event.Null && i.drawn(n) {
			*v = event.Cat(i.Category)
		}
	}
}

func (i *Injection) scale() float64 {
	if i.Effect == Scale {
		return i.Amount
	}
	return 1
}

func (i *Injection) shift() float64 {
	if i.Effect == Shift {
		return i.Amount * i.sd
	}
	return 0
}

func (i *Injection) drawn(n uint64) bool {
	const full = 1 << 64
	return float64(xxhash.Sum64(binary.BigEndian.AppendUint64([]byte(i.Text), n))) < i.Amount*full
}

// exact reports whether nothing about the values had to be assumed.
func (i *Injection) exact() bool { return i.events || i.Effect == Missing || i.Effect == NewCategory }

// InjectWindow returns a window with the faults that have begun by its start. The
// window itself is not changed. Histograms are shifted and scaled as
// stats.Numeric.Transform does, which takes values to be spread evenly in their
// bins; shares are taken evenly from all cells, and nothing is drawn by chance.
func InjectWindow(w *drift.Window, injections []Injection) *drift.Window {
	out := w
	for k := range injections {
		i := &injections[k]
		s := w.Signal(i.signal)
		if s == nil || w.Start.Before(i.At) {
			continue
		}
		if out == w {
			clone := *w
			clone.Signals = slices.Clone(w.Signals)
			out = &clone
		}
		i.act(out.Signal(i.signal))
	}
	return out
}

// act replaces the summary of a signal that nobody else holds.
func (i *Injection) act(s *drift.Signal) {
	switch {
	case s.Type == drift.Categorical && s.Categorical.Dict == nil: // of no one dictionary: only their number is known
	case i.Effect == Missing && s.Type == drift.Categorical:
		s.Categorical = s.Categorical.Thin(1 - i.Amount)
	case i.Effect == Missing:
		s.Numeric = s.Numeric.Thin(1 - i.Amount)
	case i.Effect == NewCategory && s.Type == drift.Categorical:
		all := s.Categorical.N
		s.Categorical = s.Categorical.Thin(1 - i.Amount)
		if moved := all - s.Categorical.N; moved > 0 {
			s.Categorical.AddN(i.Category, moved)
		}
	case i.Effect != NewCategory && s.Type == drift.Numeric:
		s.Numeric = s.Numeric.Transform(i.scale(), i.shift())
	}
}

// Inject returns a closing with the faults in every window.
func Inject(c *drift.Closing, injections []Injection) *drift.Closing {
	out := *c
	out.Windows = make([]*drift.Window, len(c.Windows))
	for k, w := range c.Windows {
		out.Windows[k] = InjectWindow(w, injections)
	}
	return &out
}

// delay says when the rules noticed: the first alert on the feature or on a whole
// model that they would not have told without the faults.
func (i *Injection) delay(p Parts) Delay {
	out := Delay{Injection: i.Text, At: i.At, Exact: i.exact()}
	if out.At.IsZero() {
		out.At = p.Main.from()
	}
	out.Drift = i.driftDelay(p, out.At)
	d := Diff(p.Plain.Intervals(), p.Main.Intervals())
	noticed := d.New
	for _, c := range d.Changed {
		if c.After[0].StartsAt.Before(c.Before[0].StartsAt) {
			noticed = append(noticed, c.After[0])
		}
	}
	for _, a := range noticed {
		if !a.StartsAt.After(out.At) || a.Feature != "" && a.Feature != i.signal || out.AlertAt != nil && !a.StartsAt.Before(*out.AlertAt) {
			continue
		}
		at, seconds := a.StartsAt, a.StartsAt.Sub(out.At).Seconds()
		out.Rule, out.AlertAt, out.DelayS = a.Rule, &at, &seconds
	}
	return out
}
