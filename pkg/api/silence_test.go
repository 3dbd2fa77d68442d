package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/incident"
)

// silencer is an api.Silencer that keeps silences in the snapshot of a world.
type silencer struct{ *world }

func (s silencer) keep(silence incident.Silence, err error) (incident.Silence, error) {
	if err != nil {
		return silence, err
	}
	next, err := s.Snapshot().Silences.With(silence)
	if err != nil {
		return silence, err
	}
	s.change(func(s *api.Snapshot) { s.Silences = next })
	return silence, nil
}

func (s silencer) CreateSilence(_ context.Context, silence incident.Silence, actor string) (incident.Silence, error) {
	if err := silence.Validate(); err != nil {
		return silence, err
	}
	silence.ID, silence.CreatedBy, silence.CreatedAt, silence.UpdatedAt = fmt.Sprintf("S%d", s.Snapshot().Silences.Len()), actor, wall, wall
	return s.keep(silence.Begin(wall))
}

func (s silencer) UpdateSilence(_ context.Context, to incident.Silence, _ string) (incident.Silence, error) {
	was, ok := s.Snapshot().Silences.Get(to.ID)
	if !ok {
		return was, fmt.Errorf("silence: %w", api.ErrNotFound)
	}
	return s.keep(was.Change(to, incident.At(wall)))
}

func (s silencer) ExpireSilence(_ context.Context, id, _ string) (incident.Silence, error) {
	was, ok := s.Snapshot().Silences.Get(id)
	if !ok {
		return was, fmt.Errorf("silence: %w", api.ErrNotFound)
	}
	return s.keep(was.Expire(incident.At(wall)), nil)
}

func withSilencer(w *world) func(*api.Options) {
	return func(o *api.Options) { o.Silencer = silencer{w} }
}

// TestSilences: a silence is created, found, changed and expired. wall is 06:00, the
// event time of the models about 04:00.
func TestSilences(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w, withSilencer(w))
	for _, c := range []struct {
		method, path, body string
		status             int
		say                string
	}{
		{"GET", "", "", 200, `"items":[]`},
		{
			"POST", "", `{"matchers":["model=\"fraud\""],"ends_at":"2026-01-01T08:00:00Z","comment":"a new shop"}`, 201,
			`{"id":"S0","kind":"silence","matchers":["model=\"fraud\""],"starts_at":"2026-01-01T06:00:00Z","ends_at":"2026-01-01T08:00:00Z","created_by":"http:127.0.0.1","comment":"a new shop","created_at":"2026-01-01T06:00:00Z","updated_at":"2026-01-01T06:00:00Z","state":"active"}`,
		},
		{"POST", "", `{"kind":"maintenance","matchers":["model=churn"],"starts_at":"-2h30m","ends_at":"2026-01-01T05:00:00Z","comment":"x"}`, 201, `"state":"active"`},
		{"POST", "", `{"kind":"expected","matchers":["model=churn"],"starts_at":"2026-01-01T01:00:00Z","ends_at":"2026-01-01T02:00:00Z","comment":"x"}`, 201, `"state":"expired"`},
		{"POST", "", `{"matchers":["model"],"ends_at":"2026-01-01T08:00:00Z"}`, 400, `"errors":[{"path":"comment","message":"say why: who meets the silence has to know"},{"path":"matchers[0]","message":"matcher`},
		{"POST", "", `{"matchers":["model=fraud"],"comment":"x"}`, 400, `"path":"ends_at"`},
		{"POST", "", `{"matchers":["model=fraud"],"ends_at":"tomorrow","comment":"x"}`, 400, `"path":"ends_at"`},
		{"POST", "", `{"matchers":["model=fraud"],"starts_at":"-2h","ends_at":"-1h","comment":"x"}`, 400, "not in the future"},
		{"POST", "", `{"matcher":"model=fraud"}`, 400, "unknown field"},
		{"GET", "?state=active", "", 200, `"items":[{"id":"S0"`},
		{"GET", "?kind=expected&state=expired", "", 200, `"items":[{"id":"S2"`},
		{"GET", "?kind=expected&state=active", "", 200, `"items":[]`},
		{"GET", "/S1", "", 200, `"kind":"maintenance"`},
		{"GET", "/S9", "", 404, `no silence \"S9\"`},
		{"PUT", "/S0", `{"ends_at":"2026-01-01T09:00:00Z"}`, 200, `"ends_at":"2026-01-01T09:00:00Z","created_by":"http:127.0.0.1","comment":"a new shop"`},
		{"PUT", "/S0", `{"matchers":["model=churn"]}`, 409, "matchers cannot change"},
		{"PUT", "/S9", `{}`, 404, `no silence`},
		{"DELETE", "/S0", "", 200, `"ends_at":"2026-01-01T06:00:00Z"`},
		{"DELETE", "/S0", "", 200, `"state":"expired"`},
		{"PUT", "/S0", `{"comment":"y"}`, 409, "the silence is over"},
		{"DELETE", "/S9", "", 404, `no silence`},
	} {
		r := call(t, s.Handler(), c.method, "/api/v1/silences"+c.path, c.body, "Content-Type", jsonType)
		if got := text(t, r); r.StatusCode != c.status || !strings.Contains(got, c.say) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, r.StatusCode, got, c.status, c.say)
		}
	}
	if r := call(t, newServer(t, w).Handler(), "POST", "/api/v1/silences", "{}", "Content-Type", jsonType); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without a silencer: %d", r.StatusCode)
	}
}

// TestSilencedAlerts: an alert says what keeps it from being told, and so does its page.
func TestSilencedAlerts(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w, withSilencer(w))
	by := func() (out []string) {
		var list struct {
			Items []struct {
				Rule string `json:"rule"`
				By   string `json:"silenced_by"`
			} `json:"items"`
		}
		if err := json.Unmarshal([]byte(text(t, call(t, s.Handler(), "GET", "/api/v1/alerts?model=fraud", ""))), &list); err != nil {
			t.Fatal(err)
		}
		for _, a := range list.Items {
			out = append(out, a.Rule+"="+a.By)
		}
		return out
	}
	check := func(want string) {
		t.Helper()
		if got := strings.Join(by(), " "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	w.change(func(s *api.Snapshot) {
		s.Alerts = append(s.Alerts, api.Alert{
			Series: alert.Series{Rule: alert.RuleDrift, Key: drift.Key{Group: drift.Group{Model: "fraud"}}}, Severity: "page",
			State: alert.State{Phase: alert.Firing, Since: start, FiredAt: start},
		})
	})
	check("AmountDrift= ModelDrift=")
	body := `{"matchers":["feature=amount","severity=page"],"ends_at":"2026-01-01T08:00:00Z","comment":"x"}`
	if r := call(t, s.Handler(), "POST", "/api/v1/silences", body, "Content-Type", jsonType); r.StatusCode != http.StatusCreated {
		t.Fatal(text(t, r))
	}
	check("AmountDrift=S0 ModelDrift=")
	body = `{"matchers":["owner=risk"],"ends_at":"2026-01-01T08:00:00Z","comment":"x"}`
	if r := call(t, s.Handler(), "POST", "/api/v1/silences", body, "Content-Type", jsonType); r.StatusCode != http.StatusCreated {
		t.Fatal(text(t, r))
	}
	check("AmountDrift=S0 ModelDrift=S1") // both have an owner, and the older silence is named
	w.change(func(s *api.Snapshot) { s.Alerts[0].Muted = "M" })
	check("AmountDrift=M ModelDrift=S1")
	if page := text(t, call(t, s.Handler(), "GET", "/alerts", "")); strings.Count(page, ">silenced<") != 2 {
		t.Error("the page does not say which alerts are silenced")
	}
	metrics := text(t, call(t, s.Handler(), "GET", "/metrics", ""))
	for _, want := range []string{`driftd_silences{kind="silence",state="active"} 2`, `driftd_silences{kind="maintenance",state="pending"} 0`, `driftd_alerts{state="shadow"} 1`} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	later := newServer(t, w, func(o *api.Options) { o.Now = func() time.Time { return wall.Add(3 * time.Hour) } })
	if page := text(t, call(t, later.Handler(), "GET", "/alerts", "")); strings.Count(page, ">silenced<") != 1 {
		t.Error("a silence that is over still shows")
	}
}

// Maintenance of a model that lags behind is active, whatever others have reached.
func TestMaintenanceOfAModelThatLags(t *testing.T) {
	w := newWorld(t)
	s := newServer(t, w, withSilencer(w))
	for _, model := range []string{"fraud", "late"} {
		body := `{"kind":"maintenance","matchers":["model=` + model + `"],"starts_at":"2026-01-01T00:30:00Z","ends_at":"2026-01-01T01:00:00Z","comment":"x"}`
		if r := call(t, s.Handler(), "POST", "/api/v1/silences", body, "Content-Type", jsonType); r.StatusCode != http.StatusCreated {
			t.Fatal(text(t, r))
		}
	}
	w.change(func(s *api.Snapshot) {
		late := s.Models[0]
		late.Model, late.Watermark = "late", start.Add(45*time.Minute)
		s.Models = append(s.Models, late)
	})
	if got := text(t, call(t, s.Handler(), "GET", "/api/v1/silences?state=active", "")); !strings.Contains(got, `model=late`) || strings.Contains(got, "model=fraud") {
		t.Errorf("active are %s", got)
	}
	metrics := text(t, call(t, s.Handler(), "GET", "/metrics", ""))
	for _, state := range []string{"active", "expired"} {
		if want := `driftd_silences{kind="maintenance",state="` + state + `"} 1`; !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}
