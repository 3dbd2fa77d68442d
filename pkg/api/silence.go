package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
)

// Silencer changes what alerts are kept from people. Each call returns when the change
// is durable, with the silence as it is then. Errors are those of incident.Silence,
// and ErrNotFound for an id that there is not.
type Silencer interface {
	CreateSilence(ctx context.Context, s incident.Silence, actor string) (incident.Silence, error)
	// UpdateSilence changes what is not zero in to, in the silence of its id.
	UpdateSilence(ctx context.Context, to incident.Silence, actor string) (incident.Silence, error)
	ExpireSilence(ctx context.Context, id, actor string) (incident.Silence, error)
}

// maxSilenceBytes bounds the body of a silence: its bounds are smaller.
const maxSilenceBytes = 128 << 10

// A silenceItem is a silence, and where it stands.
type silenceItem struct {
	incident.Silence
	State incident.SilenceState `json:"state"` // "pending", "active" or "expired"
}

// silenceBody is the body of POST and PUT: a PUT changes what is given.
type silenceBody struct {
	Kind     incident.SilenceKind `json:"kind,omitempty"`      // "silence" if absent, "maintenance" or "expected"
	Matchers []string             `json:"matchers,omitempty"`  // such as model="fraud" or feature=~"amount|age"; all must hold
	StartsAt string               `json:"starts_at,omitempty"` // as a query's times; now if absent
	EndsAt   string               `json:"ends_at,omitempty"`
	Comment  string               `json:"comment,omitempty"`
}

// silence returns what the body says; times that are not given are zero.
func (b *silenceBody) silence(now time.Time) (s incident.Silence, err error) {
	s = incident.Silence{Kind: b.Kind, Matchers: b.Matchers, Comment: b.Comment}
	for _, at := range []struct {
		name, text string
		into       *time.Time
	}{{"starts_at", b.StartsAt, &s.StartsAt}, {"ends_at", b.EndsAt, &s.EndsAt}} {
		if at.text == "" {
			continue
		}
		if *at.into, err = parseTime(at.text, now); err != nil {
			return s, badParameter(at.name, at.text, err.Error())
		}
	}
	return s, nil
}

// item says where a silence stands.
func (s *Snapshot) item(silence incident.Silence, now time.Time) silenceItem {
	return silenceItem{silence, silence.State(silence.Clock(now, s.watermarks))}
}

// watermarks says how far event time has come, by model.
func (s *Snapshot) watermarks(yield func(model string, mark time.Time) bool) {
	for i := range s.Models {
		if !yield(s.Models[i].Model, s.Models[i].Watermark) {
			return
		}
	}
}

// silencedBy returns the id of what keeps an alert from being told now, "" for nothing:
// the maintenance in which it began, or a silence.
func (s *Snapshot) silencedBy(a *Alert, now time.Time) string {
	if a.Muted != "" || s.Silences.Len() == 0 || !a.Active() {
		return a.Muted
	}
	id, _ := s.Silences.Muted(s.labels(a), now)
	return id
}

// labels are those by which an alert is routed.
func (s *Snapshot) labels(a *Alert) map[string]string {
	c := alert.Change{Series: a.Series, Severity: a.Severity}
	if i := slices.IndexFunc(s.Rules, func(r *alert.Rule) bool { return r.Name() == a.Rule }); i >= 0 {
		c.Labels = s.Rules[i].Spec().Labels
	}
	labels := c.LabelSet()
	if m := s.model(a.Model); m != nil && m.Owner != "" && labels["owner"] == "" {
		labels["owner"] = m.Owner
	}
	return labels
}

func (s *Server) getSilences(w http.ResponseWriter, r *request) error {
	snapshot := s.Reader.Snapshot()
	items := []silenceItem{}
	for _, silence := range snapshot.Silences.List() {
		item := snapshot.item(silence, r.now)
		if (!r.has("state") || r.text("state") == string(item.State)) && (!r.has("kind") || r.text("kind") == string(item.Kind)) {
			items = append(items, item)
		}
	}
	return sendJSON(w, http.StatusOK, newList(items, ""))
}

func (s *Server) getSilence(w http.ResponseWriter, r *request) error {
	snapshot := s.Reader.Snapshot()
	silence, ok := snapshot.Silences.Get(r.PathValue("id"))
	if !ok {
		return silenceProblem(ErrNotFound, r.PathValue("id"))
	}
	return sendJSON(w, http.StatusOK, snapshot.item(silence, r.now))
}

func (s *Server) createSilence(r *request, body []byte) (int, any, error) {
	in, err := s.silenceOf(r, body)
	if err != nil {
		return 0, nil, err
	}
	if in.Kind == "" {
		in.Kind = incident.KindSilence
	}
	if in.StartsAt.IsZero() {
		in.StartsAt = r.now.UTC().Truncate(time.Millisecond)
	}
	out, err := s.Silencer.CreateSilence(r.Context(), in, r.actor())
	return s.silenced(r, http.StatusCreated, out, err)
}

func (s *Server) updateSilence(r *request, body []byte) (int, any, error) {
	in, err := s.silenceOf(r, body)
	if err != nil {
		return 0, nil, err
	}
	in.ID = r.PathValue("id")
	out, err := s.Silencer.UpdateSilence(r.Context(), in, r.actor())
	return s.silenced(r, http.StatusOK, out, err)
}

func (s *Server) expireSilence(r *request, _ []byte) (int, any, error) {
	if s.Silencer == nil {
		return 0, nil, errNoSilencer
	}
	out, err := s.Silencer.ExpireSilence(r.Context(), r.PathValue("id"), r.actor())
	return s.silenced(r, http.StatusOK, out, err)
}

var errNoSilencer = problem{Status: http.StatusServiceUnavailable, Detail: "this driftd takes no silences"}

func (s *Server) silenceOf(r *request, body []byte) (incident.Silence, error) {
	if s.Silencer == nil {
		return incident.Silence{}, errNoSilencer
	}
	var in silenceBody
	if err := decodeBody(body, &in); err != nil {
		return incident.Silence{}, err
	}
	return in.silence(r.now)
}

// silenced answers what came of a change.
func (s *Server) silenced(r *request, status int, out incident.Silence, err error) (int, any, error) {
	if err != nil {
		return 0, nil, silenceProblem(err, r.PathValue("id"))
	}
	return status, s.Reader.Snapshot().item(out, s.Now()), nil // later than r.now, which may be before it began
}

// silenceProblem says what is wrong with a silence, field by field, or why it cannot be
// changed.
func silenceProblem(err error, id string) error {
	if errors.Is(err, ErrNotFound) {
		return notFound(fmt.Sprintf("there is no silence %q; /api/v1/silences lists them", id))
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return commandProblem(err)
	}
	p := problem{Status: http.StatusBadRequest, Detail: "the silence is refused"}
	for _, err := range joined.Unwrap() {
		var f *alert.Fault
		if !errors.As(err, &f) {
			return commandProblem(err)
		}
		p.Detail += "; " + f.Error()
		p.Errors = append(p.Errors, fault{Path: f.Field, Message: f.Message})
	}
	return p
}

func silenceFamily() Family {
	return Family{
		Name: "driftd_silences", Type: "gauge", Help: "Silences by kind and state; expired ones are kept for five days.", Labels: []string{"kind", "state"},
		series: func(s *scrape, emit emitter) {
			type row struct {
				kind  incident.SilenceKind
				state incident.SilenceState
			}
			count := map[row]int{}
			for _, silence := range s.Silences.List() {
				count[row{silence.Kind, s.item(silence, s.At).State}]++
			}
			for _, kind := range incident.SilenceKinds {
				for _, state := range []incident.SilenceState{incident.SilenceActive, incident.SilenceExpired, incident.SilencePending} {
					emit(float64(count[row{kind, state}]), string(kind), string(state))
				}
			}
		},
	}
}
