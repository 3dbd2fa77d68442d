package incident_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// silence returns one of fraud's for two hours from noon.
func silence(kind incident.SilenceKind, matchers ...string) incident.Silence {
	if len(matchers) == 0 {
		matchers = []string{`model="fraud"`}
	}
	return incident.Silence{
		ID: "01", Kind: kind, Matchers: matchers, StartsAt: noon, EndsAt: noon.Add(2 * time.Hour),
		CreatedBy: "ann", Comment: "a new shop", CreatedAt: noon, UpdatedAt: noon,
	}
}

func TestSilenceValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*incident.Silence)
		want   string // "field: part of the message", with "; " between; "" for none
	}{
		"good":                      {func(*incident.Silence) {}, ""},
		"kind":                      {func(s *incident.Silence) { s.Kind = "holiday" }, `kind: "holiday" is none`},
		"no comment":                {func(s *incident.Silence) { s.Comment = " " }, "comment: say why"},
		"long comment":              {func(s *incident.Silence) { s.Comment = strings.Repeat("x", 4097) }, "comment: the text"},
		"no text":                   {func(s *incident.Silence) { s.Comment = "\xff" }, "comment: the text"},
		"empty span":                {func(s *incident.Silence) { s.EndsAt = s.StartsAt }, "ends_at: it must be after"},
		"backwards":                 {func(s *incident.Silence) { s.EndsAt = s.StartsAt.Add(-1) }, "ends_at: it must be after"},
		"no end":                    {func(s *incident.Silence) { s.EndsAt = time.Time{} }, "ends_at: it must be a time"},
		"year that JSON cannot":     {func(s *incident.Silence) { s.EndsAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, "ends_at: it must be a time"},
		"no matcher":                {func(s *incident.Silence) { s.Matchers = nil }, "matchers: one at least"},
		"matches everything":        {func(s *incident.Silence) { s.Matchers = []string{`model=~".*"`} }, "matchers: one at least"},
		"absent labels":             {func(s *incident.Silence) { s.Matchers = []string{`model!="fraud"`, `feature=""`} }, "matchers: one at least"},
		"everything and something":  {func(s *incident.Silence) { s.Matchers = []string{`model=~".*"`, `model!=""`} }, ""},
		"no operator":               {func(s *incident.Silence) { s.Matchers = []string{"a=b", "fraud"} }, `matchers[1]: matcher "fraud"`},
		"no regular expression":     {func(s *incident.Silence) { s.Matchers = []string{`model=~"("`} }, "matchers[0]: matcher of model"},
		"long matcher":              {func(s *incident.Silence) { s.Matchers = []string{"a=" + strings.Repeat("x", 3000)} }, "matchers[0]: it has 3002 bytes"},
		"unknown severity":          {func(s *incident.Silence) { s.Matchers = []string{"model=fraud", "severity=pgae"} }, `matchers[1]: no alert has the severity "pgae"`},
		"33 matchers":               {func(s *incident.Silence) { s.Matchers = slices.Repeat([]string{"a=b"}, 33) }, "matchers: there are 33"},
		"several faults, in order":  {func(s *incident.Silence) { s.Comment, s.Matchers = "", []string{"x"} }, "comment: say why; matchers[0]: matcher"},
		"expected, before any wall": {func(s *incident.Silence) { s.Kind, s.StartsAt = incident.KindExpected, noon.AddDate(-3, 0, 0) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := silence(incident.KindSilence)
			c.change(&s)
			checkFaults(t, s.Validate(), c.want)
		})
	}
}

// checkFaults compares an error's *alert.Fault with "field: part; field: part".
func checkFaults(t *testing.T, err error, want string) {
	t.Helper()
	var got []error
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		got = joined.Unwrap()
	} else if err != nil {
		t.Fatalf("got %v, want joined faults", err)
	}
	var wants []string
	if want != "" {
		wants = strings.Split(want, "; ")
	}
	if len(got) != len(wants) {
		t.Fatalf("got %v, want %q", err, want)
	}
	for i, err := range got {
		var f *alert.Fault
		if !errors.As(err, &f) || !strings.HasPrefix(f.Field+": "+f.Message, wants[i]) {
			t.Errorf("got %v, want %q", err, wants[i])
		}
	}
}

func TestSilenceState(t *testing.T) {
	s := silence(incident.KindSilence)
	for at, want := range map[time.Duration]incident.SilenceState{
		-time.Nanosecond: incident.SilencePending, 0: incident.SilenceActive, 2*time.Hour - 1: incident.SilenceActive, 2 * time.Hour: incident.SilenceExpired,
	} {
		if got := s.State(incident.At(noon.Add(at))); got != want {
			t.Errorf("%v: got %s, want %s", at, got, want)
		}
	}
}

// A silence begins, changes and ends as Alertmanager's does.
func TestSilenceBegin(t *testing.T) {
	s := silence(incident.KindSilence)
	if got, err := s.Begin(noon.Add(time.Hour)); err != nil || !got.StartsAt.Equal(noon.Add(time.Hour)) || got.EndsAt != s.EndsAt {
		t.Errorf("in its middle: %+v, %v", got, err)
	}
	if got, err := s.Begin(noon.Add(-time.Hour)); err != nil || got.StartsAt != noon {
		t.Errorf("before it: %+v, %v", got, err)
	}
	if _, err := s.Begin(s.EndsAt); err == nil || err.Error() != "ends_at: 2026-03-02T14:00:00Z is not in the future" {
		t.Errorf("behind it: %v", err)
	}
	s.Kind = incident.KindMaintenance
	if got, err := s.Begin(s.EndsAt.Add(time.Hour)); err != nil || got.StartsAt != noon {
		t.Errorf("maintenance of the past: %+v, %v", got, err)
	}
}

func TestSilenceChange(t *testing.T) {
	later := noon.Add(5 * time.Hour)
	for name, c := range map[string]struct {
		at   time.Duration // behind noon
		to   incident.Silence
		want error
	}{
		"nothing":            {time.Hour, incident.Silence{}, nil},
		"longer":             {time.Hour, incident.Silence{EndsAt: later}, nil},
		"comment":            {time.Hour, incident.Silence{Comment: "two shops"}, nil},
		"same again":         {time.Hour, silence(incident.KindSilence), nil},
		"pending, start":     {-time.Hour, incident.Silence{StartsAt: noon.Add(-time.Minute)}, nil},
		"pending, past":      {-time.Hour, incident.Silence{StartsAt: noon.Add(-2 * time.Hour)}, incident.ErrSilenceFixed},
		"active, start":      {time.Hour, incident.Silence{StartsAt: noon.Add(time.Minute)}, incident.ErrSilenceFixed},
		"ends in the past":   {time.Hour, incident.Silence{EndsAt: noon.Add(time.Minute)}, incident.ErrSilenceOver},
		"matchers":           {time.Hour, incident.Silence{Matchers: []string{"model=churn"}}, incident.ErrSilenceFixed},
		"kind":               {time.Hour, incident.Silence{Kind: incident.KindExpected}, incident.ErrSilenceFixed},
		"expired":            {3 * time.Hour, incident.Silence{EndsAt: later}, incident.ErrSilenceOver},
		"comment is no text": {time.Hour, incident.Silence{Comment: "\xff"}, errAny},
	} {
		t.Run(name, func(t *testing.T) {
			s := silence(incident.KindSilence)
			got, err := s.Change(c.to, incident.At(noon.Add(c.at)))
			switch {
			case c.want == nil && err != nil, c.want != nil && err == nil:
				t.Fatalf("got %v, want %v", err, c.want)
			case c.want != nil && !errors.Is(c.want, errAny) && !errors.Is(err, c.want):
				t.Fatalf("got %v, want %v", err, c.want)
			case err != nil:
				return
			}
			if !c.to.EndsAt.IsZero() && got.EndsAt != c.to.EndsAt || !c.to.StartsAt.IsZero() && got.StartsAt != c.to.StartsAt || c.to.Comment != "" && got.Comment != c.to.Comment {
				t.Errorf("got %+v", got)
			}
			if c.to.Comment == "" && got.Comment != s.Comment || got.ID != s.ID {
				t.Errorf("what was not given changed: %+v", got)
			}
		})
	}
}

var errAny = errors.New("any")

func TestSilenceExpire(t *testing.T) {
	s := silence(incident.KindSilence)
	for name, c := range map[string]struct{ at, starts, ends time.Duration }{
		"pending": {-time.Hour, -time.Hour, -time.Hour},
		"active":  {time.Hour, 0, time.Hour},
		"expired": {3 * time.Hour, 0, 2 * time.Hour},
	} {
		now := incident.At(noon.Add(c.at))
		got := s.Expire(now)
		if !got.StartsAt.Equal(noon.Add(c.starts)) || !got.EndsAt.Equal(noon.Add(c.ends)) || got.State(now) != incident.SilenceExpired {
			t.Errorf("%s: got %v to %v, %s", name, got.StartsAt, got.EndsAt, got.State(now))
		}
	}
}

func set(t *testing.T, all ...incident.Silence) *incident.Silences {
	t.Helper()
	out, err := incident.NewSilences(all)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSilencesMuted(t *testing.T) {
	other := silence(incident.KindSilence, `model=~"fraud|churn"`, `feature!="amount"`)
	other.ID, other.EndsAt = "00", noon.Add(time.Hour)
	maintenance := silence(incident.KindMaintenance, `model="pricing"`)
	maintenance.ID = "02"
	all := set(t, silence(incident.KindSilence), maintenance, other)
	for name, c := range map[string]struct {
		labels map[string]string
		at     time.Duration
		want   string
	}{
		"one":                        {map[string]string{"model": "fraud", "feature": "amount"}, time.Minute, "01"},
		"two, the older":             {map[string]string{"model": "fraud"}, time.Minute, "00"},
		"two, one is over":           {map[string]string{"model": "fraud"}, time.Hour, "01"},
		"all matchers":               {map[string]string{"model": "churn", "feature": "amount"}, time.Minute, ""},
		"before":                     {map[string]string{"model": "fraud"}, -time.Minute, ""},
		"after":                      {map[string]string{"model": "fraud"}, 2 * time.Hour, ""},
		"maintenance mutes no times": {map[string]string{"model": "pricing"}, time.Minute, ""},
		"no labels":                  {nil, time.Minute, ""},
	} {
		if id, ok := all.Muted(c.labels, noon.Add(c.at)); id != c.want || ok != (c.want != "") {
			t.Errorf("%s: got %q, %v, want %q", name, id, ok, c.want)
		}
	}
}

// A window is within a span if it holds any of its data.
func TestSilencesDuring(t *testing.T) {
	all := set(t, silence(incident.KindMaintenance))
	labels := map[string]string{"model": "fraud"}
	for name, c := range map[string]struct {
		start, end time.Duration
		want       bool
	}{
		"inside":           {time.Hour, time.Hour + time.Minute, true},
		"around":           {-time.Hour, 24 * time.Hour, true},
		"its first moment": {-time.Hour, 1, true},
		"up to it":         {-time.Hour, 0, false},
		"its last moment":  {2*time.Hour - 1, 3 * time.Hour, true},
		"behind it":        {2 * time.Hour, 3 * time.Hour, false},
	} {
		s, ok := all.During(incident.KindMaintenance, labels, noon.Add(c.start), noon.Add(c.end))
		if ok != c.want || ok && s.ID != "01" {
			t.Errorf("%s: got %v %s", name, ok, s.ID)
		}
	}
	if _, ok := all.During(incident.KindExpected, labels, noon, noon.Add(time.Hour)); ok {
		t.Error("another kind holds")
	}
	if _, ok := all.During(incident.KindMaintenance, map[string]string{"model": "churn"}, noon, noon.Add(time.Hour)); ok {
		t.Error("another model is held")
	}
}

// Sets do not change: another has what was added or left out.
func TestSilencesAreImmutable(t *testing.T) {
	var none *incident.Silences
	if _, ok := none.Muted(nil, noon); ok || none.Len() != 0 || none.List() != nil || none.Without("01") != nil || none.Outlived(noon) != nil {
		t.Error("the empty set holds something")
	}
	one, err := none.With(silence(incident.KindSilence))
	if err != nil {
		t.Fatal(err)
	}
	changed := silence(incident.KindSilence)
	changed.Comment = "two shops"
	two, err := one.With(changed)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := one.Get("01"); !ok || s.Comment != "a new shop" || one.Len() != 1 {
		t.Errorf("the first set is %+v", one.List())
	}
	if s, ok := two.Get("01"); !ok || s.Comment != "two shops" || two.Len() != 1 {
		t.Errorf("the second set is %+v", two.List())
	}
	if expired, err := two.With(changed.Expire(incident.At(noon))); err != nil || expired.Len() != 1 {
		t.Errorf("one that ended as it began: %v", err)
	}
	if gone := two.Without("01", "99"); gone.Len() != 0 || two.Len() != 1 {
		t.Errorf("without it: %+v, before: %+v", gone.List(), two.List())
	}
	changed.Matchers = nil
	if _, err := two.With(changed); err == nil {
		t.Error("a silence of everything was taken")
	}
	if _, err := incident.NewSilences([]incident.Silence{changed}); err == nil || !strings.Contains(err.Error(), "silence 01") {
		t.Errorf("got %v", err)
	}
}

func TestSilencesOutlived(t *testing.T) {
	past := silence(incident.KindMaintenance)
	past.ID, past.UpdatedAt = "02", noon.AddDate(0, 1, 0) // set a month later
	all := set(t, silence(incident.KindSilence), past)
	if got := all.Outlived(noon.Add(2*time.Hour + incident.Retention - 1)); got != nil {
		t.Errorf("too early: %v", got)
	}
	if got := all.Outlived(noon.Add(2*time.Hour + incident.Retention)); !slices.Equal(got, []string{"01"}) {
		t.Errorf("got %v, want the first alone", got)
	}
	if got := all.Outlived(past.UpdatedAt.Add(incident.Retention)); !slices.Equal(got, []string{"01", "02"}) {
		t.Errorf("got %v, want both", got)
	}
}

// What goes by event time is judged by the models that it may be about: it is active from
// when the first reaches its span until the last has left it.
func TestSilencesOfModelsThatLag(t *testing.T) {
	marks := map[string]time.Time{"fraud": noon.Add(3 * time.Hour), "fraud-eu": noon.Add(time.Hour), "churn": noon.Add(9 * time.Hour), "growth": noon.Add(-9 * time.Hour), "new": {}}
	wall := noon.AddDate(1, 0, 0)
	for name, c := range map[string]struct {
		kind     incident.SilenceKind
		matchers []string
		state    incident.SilenceState
		ends     time.Duration // after Expire
	}{
		"the model is behind it":             {incident.KindMaintenance, []string{"model=fraud"}, incident.SilenceExpired, 2 * time.Hour},
		"the model is within it":             {incident.KindMaintenance, []string{"model=fraud-eu", "feature=amount"}, incident.SilenceActive, time.Hour},
		"the model is before it":             {incident.KindExpected, []string{"model=growth"}, incident.SilencePending, -9 * time.Hour},
		"one is behind it, one within":       {incident.KindMaintenance, []string{"model=~fraud.*"}, incident.SilenceActive, time.Hour},
		"one is behind it, one before":       {incident.KindMaintenance, []string{"model=~fraud|growth"}, incident.SilenceActive, 0},
		"all but the one that is behind":     {incident.KindMaintenance, []string{"model!=churn", "model!~growth|fraud"}, incident.SilenceActive, time.Hour},
		"of whatever model":                  {incident.KindMaintenance, []string{"owner=risk"}, incident.SilenceActive, 0},
		"a model that has no event yet":      {incident.KindMaintenance, []string{"model=new"}, incident.SilenceActive, 0},
		"by wall time":                       {incident.KindSilence, []string{"model=fraud-eu"}, incident.SilenceExpired, 2 * time.Hour},
		"a model that nobody has ever heard": {incident.KindMaintenance, []string{"model=nobody"}, incident.SilenceActive, 0},
	} {
		s := silence(c.kind, c.matchers...)
		at := s.Clock(wall, maps.All(marks))
		if got := s.State(at); got != c.state {
			t.Errorf("%s: %s, want %s", name, got, c.state)
		}
		ended := s.Expire(at)
		if !ended.EndsAt.Equal(noon.Add(c.ends)) || ended.EndsAt.Before(ended.StartsAt) {
			t.Errorf("%s: expired it spans %v to %v, want to %v", name, ended.StartsAt, ended.EndsAt, noon.Add(c.ends))
		}
	}
	if at := silence(incident.KindMaintenance).Clock(wall, maps.All(map[string]time.Time{})); at != incident.At(wall) {
		t.Errorf("without models: %v", at)
	}
}
