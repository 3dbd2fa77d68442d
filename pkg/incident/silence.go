package incident

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
)

// A SilenceKind says what a silence does, and by which clock.
type SilenceKind string

// The kinds of silences.
const (
	// KindSilence is Alertmanager's: by wall time. What matches is not told while it
	// is active. What still fires when it ends is told then; what has ended by then
	// and was never told is not told any more; the end of what was told is told.
	KindSilence SilenceKind = "silence"
	// KindMaintenance is by event time. What starts in windows that hold data of its
	// span is recorded and told to nobody, machines included, and no action follows.
	// What still fires on data behind the span starts anew.
	KindMaintenance SilenceKind = "maintenance"
	// KindExpected is by event time, and announces a change. What starts in windows
	// that hold data of its span is told as a ticket at most, with the comment as its
	// annotation "expected", and draws no page.
	KindExpected SilenceKind = "expected"
)

// SilenceKinds are all kinds.
var SilenceKinds = []SilenceKind{KindSilence, KindMaintenance, KindExpected}

// ByEventTime reports whether the span is one of event time, not of wall time.
func (k SilenceKind) ByEventTime() bool { return k != KindSilence }

// A SilenceState is where a silence stands, in Alertmanager's words.
type SilenceState string

// The states of a silence.
const (
	SilencePending SilenceState = "pending"
	SilenceActive  SilenceState = "active"
	SilenceExpired SilenceState = "expired"
)

// A Silence keeps what its matchers match from people for the half-open span
// [StartsAt, EndsAt). It is what the store and the API hold; Silences applies it.
type Silence struct {
	ID        string      `json:"id"` // of the ledger entry that created it
	Kind      SilenceKind `json:"kind"`
	Matchers  []string    `json:"matchers"` // all must hold; see alert.ParseMatcher
	StartsAt  time.Time   `json:"starts_at"`
	EndsAt    time.Time   `json:"ends_at"`
	CreatedBy string      `json:"created_by"`
	Comment   string      `json:"comment"`
	CreatedAt time.Time   `json:"created_at"` // wall time, as the next
	UpdatedAt time.Time   `json:"updated_at"`
}

// Bounds of silences.
const (
	MaxSilences = 1000               // kept, expired ones included
	Retention   = 5 * 24 * time.Hour // of expired ones, as Alertmanager's --data.retention

	maxMatchers = 32
	maxMatcher  = 2048 // bytes
)

// Times that a silence may span: those that JSON and Unix nanoseconds have.
const (
	minYear = 1970
	maxYear = 2200
)

// State returns where the silence stands: active from when the first of its models
// reaches its span until the last has left it.
func (s Silence) State(at Clock) SilenceState {
	switch {
	case at.Ahead.Before(s.StartsAt):
		return SilencePending
	case at.Behind.Before(s.EndsAt):
		return SilenceActive
	}
	return SilenceExpired
}

// overlaps reports whether a span has a moment in [start, end).
func (s Silence) overlaps(start, end time.Time) bool {
	return s.StartsAt.Before(end) && start.Before(s.EndsAt)
}

// outlived is when nobody needs the silence any more. What goes by event time may be
// set for the past, so it is kept as long behind its last change.
func (s Silence) outlived() time.Time {
	last := s.EndsAt
	if s.UpdatedAt.After(last) {
		last = s.UpdatedAt
	}
	return last.Add(Retention)
}

// Validate returns everything that is wrong with a silence, joined: an *alert.Fault
// for each field.
func (s Silence) Validate() error {
	var faults []error
	fault := func(field, format string, args ...any) {
		faults = append(faults, &alert.Fault{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if !slices.Contains(SilenceKinds, s.Kind) {
		fault("kind", "%.40q is none of silence, maintenance and expected", s.Kind)
	}
	if strings.TrimSpace(s.Comment) == "" {
		fault("comment", "say why: who meets the silence has to know")
	} else if why := textFault(s.Comment); why != "" {
		fault("comment", "%s", why)
	}
	for _, at := range []struct {
		field string
		time  time.Time
	}{{"starts_at", s.StartsAt}, {"ends_at", s.EndsAt}} {
		if year := at.time.UTC().Year(); year < minYear || year > maxYear {
			fault(at.field, "it must be a time of the years %d to %d", minYear, maxYear)
		}
	}
	if len(faults) == 0 && !s.EndsAt.After(s.StartsAt) {
		fault("ends_at", "it must be after starts_at")
	}
	matchers, wrong := compileMatchers(s.Matchers)
	if len(wrong) == 0 { // one that is stored already may have any
		for i, m := range matchers {
			if err := m.Check(); err != nil {
				fault(fmt.Sprintf("matchers[%d]", i), "%v", err)
			}
		}
	}
	return errors.Join(append(faults, wrong...)...)
}

// compileMatchers parses matchers of which one at least asks for something.
func compileMatchers(texts []string) (out []alert.Matcher, faults []error) {
	fault := func(field, format string, args ...any) {
		faults = append(faults, &alert.Fault{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if len(texts) > maxMatchers {
		fault("matchers", "there are %d; at most %d are allowed", len(texts), maxMatchers)
		return nil, faults
	}
	all := true
	for i, text := range texts {
		field := fmt.Sprintf("matchers[%d]", i)
		if len(text) > maxMatcher {
			fault(field, "it has %d bytes; at most %d are allowed", len(text), maxMatcher)
			continue
		}
		m, err := alert.ParseMatcher(text)
		if err != nil {
			fault(field, "%v", err)
			continue
		}
		all = all && m.Matches(nil)
		out = append(out, m)
	}
	if all && len(faults) == 0 {
		fault("matchers", "one at least must not match an empty label, such as model=\"fraud\": these would match everything")
	}
	return out, faults
}

// Errors by which a silence refuses what is asked of it.
var (
	// ErrSilenceOver says that the span has ended, or would have.
	ErrSilenceOver = errors.New("the silence is over")
	// ErrSilenceFixed says that a field of a silence cannot change any more.
	ErrSilenceFixed = errors.New("expire the silence and create another")
)

// Begin returns the silence as it is created at a wall time. One by that cannot begin in
// the past, as in Alertmanager; what goes by event time may, and holds for windows that
// close from now on. The error is as Validate's.
func (s Silence) Begin(now time.Time) (Silence, error) {
	if s.Kind.ByEventTime() {
		return s, nil
	}
	if !s.EndsAt.After(now) {
		return s, errors.Join(&alert.Fault{Field: "ends_at", Message: s.EndsAt.UTC().Format(time.RFC3339) + " is not in the future"})
	}
	if s.StartsAt.Before(now) {
		s.StartsAt = now
	}
	return s, nil
}

// Change returns the silence with what another says of it; what that leaves zero
// stays. By its clock, and as in Alertmanager: an expired silence, the kind, the matchers
// and the start of an active one do not change, and neither end lies in the past.
func (s Silence) Change(to Silence, now Clock) (Silence, error) {
	state := s.State(now)
	starts, ends := orTime(to.StartsAt, s.StartsAt), orTime(to.EndsAt, s.EndsAt)
	switch {
	case state == SilenceExpired:
		return s, fmt.Errorf("%w: create another", ErrSilenceOver)
	case to.Kind != "" && to.Kind != s.Kind:
		return s, fmt.Errorf("kind cannot change: %w", ErrSilenceFixed)
	case to.Matchers != nil && !slices.Equal(to.Matchers, s.Matchers):
		return s, fmt.Errorf("matchers cannot change: %w", ErrSilenceFixed)
	case state == SilenceActive && !starts.Equal(s.StartsAt):
		return s, fmt.Errorf("starts_at cannot change once the silence is active: %w", ErrSilenceFixed)
	case state == SilencePending && starts.Before(now.Ahead):
		return s, fmt.Errorf("starts_at %s is in the past: %w", starts.UTC().Format(time.RFC3339), ErrSilenceFixed)
	case !ends.After(now.Behind):
		return s, fmt.Errorf("ends_at %s is in the past: expire the silence instead: %w", ends.UTC().Format(time.RFC3339), ErrSilenceOver)
	}
	s.StartsAt, s.EndsAt = starts, ends
	if to.Comment != "" {
		s.Comment = to.Comment
	}
	return s, s.Validate()
}

func orTime(t, absent time.Time) time.Time {
	if t.IsZero() {
		return absent
	}
	return t
}

// Expire returns the silence as it is ended by its clock: one that has not begun never
// will. Of one by event time data from now on counts; what the farthest model has left
// already ends for those that lag behind. One that is over stays as it is.
func (s Silence) Expire(now Clock) Silence {
	switch s.State(now) {
	case SilencePending:
		s.StartsAt, s.EndsAt = now.Ahead, now.Ahead
	case SilenceActive:
		switch {
		case now.Ahead.Before(s.EndsAt):
			s.EndsAt = now.Ahead
		case now.Behind.After(s.StartsAt):
			s.EndsAt = now.Behind
		default:
			s.EndsAt = s.StartsAt
		}
	case SilenceExpired:
	}
	return s
}
