package incident

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
)

// Silences is a set of silences, ready to be asked. It never changes: With and
// Without return another. nil is the empty set.
type Silences struct {
	all []compiled // ascending by id
}

type compiled struct {
	Silence
	matchers []alert.Matcher
}

// NewSilences returns the set of silences that Validate has accepted once.
func NewSilences(all []Silence) (*Silences, error) {
	var out *Silences
	for _, silence := range all {
		var err error
		if out, err = out.With(silence); err != nil {
			return nil, fmt.Errorf("silence %s: %w", silence.ID, err)
		}
	}
	return out, nil
}

// With returns the set with a silence, in place of that of its id. The error is about
// its matchers: an expired silence need not be a valid one.
func (s *Silences) With(silence Silence) (*Silences, error) {
	matchers, faults := compileMatchers(silence.Matchers)
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	out := &Silences{all: []compiled{{silence, matchers}}}
	if s != nil {
		out.all = append(out.all, s.Without(silence.ID).all...)
	}
	slices.SortFunc(out.all, func(a, b compiled) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// Without returns the set without some ids.
func (s *Silences) Without(ids ...string) *Silences {
	if s == nil {
		return nil
	}
	kept := slices.DeleteFunc(slices.Clone(s.all), func(c compiled) bool { return slices.Contains(ids, c.ID) })
	return &Silences{all: kept}
}

// List returns the silences, ascending by id.
func (s *Silences) List() []Silence {
	if s == nil {
		return nil
	}
	out := make([]Silence, len(s.all))
	for i, c := range s.all {
		out[i] = c.Silence
	}
	return out
}

// Len returns how many silences there are.
func (s *Silences) Len() int {
	if s == nil {
		return 0
	}
	return len(s.all)
}

// Get returns the silence of an id.
func (s *Silences) Get(id string) (Silence, bool) {
	c, ok := s.first(func(c *compiled) bool { return c.ID == id })
	return c, ok
}

// Muted returns the oldest silence by wall time that is active and matches.
func (s *Silences) Muted(labels map[string]string, at time.Time) (id string, ok bool) {
	silence, ok := s.first(func(c *compiled) bool {
		return c.Kind == KindSilence && c.State(At(at)) == SilenceActive && c.matches(labels)
	})
	return silence.ID, ok
}

// During returns the oldest silence of a kind that matches and whose span has a
// moment in the window [start, end) of event time.
func (s *Silences) During(kind SilenceKind, labels map[string]string, start, end time.Time) (Silence, bool) {
	return s.first(func(c *compiled) bool {
		return c.Kind == kind && c.overlaps(start, end) && c.matches(labels)
	})
}

// Covers reports whether the span of the silence of an id has a moment in the window
// [start, end); one that is not there has none.
func (s *Silences) Covers(id string, start, end time.Time) bool {
	silence, ok := s.Get(id)
	return ok && silence.overlaps(start, end)
}

// Outlived returns the ids of the silences that were over for Retention at a time.
func (s *Silences) Outlived(at time.Time) (ids []string) {
	if s == nil {
		return nil
	}
	for i := range s.all {
		if !at.Before(s.all[i].outlived()) {
			ids = append(ids, s.all[i].ID)
		}
	}
	return ids
}

func (s *Silences) first(is func(*compiled) bool) (Silence, bool) {
	if s == nil {
		return Silence{}, false
	}
	i := slices.IndexFunc(s.all, func(c compiled) bool { return is(&c) })
	if i < 0 {
		return Silence{}, false
	}
	return s.all[i].Silence, true
}

func (c *compiled) matches(labels map[string]string) bool {
	return !slices.ContainsFunc(c.matchers, func(m alert.Matcher) bool { return !m.Matches(labels) })
}
