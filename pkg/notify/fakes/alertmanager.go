package fakes

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// An Alert is what Alertmanager holds of one label set.
type Alert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Updates      int               `json:"-"` // times it was pushed
}

// Alertmanager is the v2 API: POST and GET /api/v2/alerts, and the health
// paths. It is as strict about label names as Alertmanager 0.25.
type Alertmanager struct {
	recorder
	alerts map[string]Alert // by label set; guarded by mu
}

// NewAlertmanager returns an Alertmanager without alerts.
func NewAlertmanager() *Alertmanager { return &Alertmanager{alerts: map[string]Alert{}} }

// Alerts returns the last state of every label set, sorted by labels.
func (a *Alertmanager) Alerts() []Alert {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sorted()
}

func (a *Alertmanager) sorted() []Alert {
	list := make([]Alert, 0, len(a.alerts))
	for _, key := range slices.Sorted(maps.Keys(a.alerts)) {
		list = append(list, a.alerts[key])
	}
	return list
}

// ServeHTTP implements http.Handler.
func (a *Alertmanager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	a.serve(w, r, func(body []byte) (int, string) {
		switch {
		case r.URL.Path == "/-/healthy" || r.URL.Path == "/-/ready":
			return http.StatusOK, "OK"
		case r.URL.Path != "/api/v2/alerts":
			return http.StatusNotFound, `{"code":404,"message":"path not found"}`
		case r.Method == http.MethodGet:
			list, _ := json.Marshal(a.sorted()) // strings and times always encode
			return http.StatusOK, string(list)
		case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
			return http.StatusUnsupportedMediaType, `{"code":415,"message":"unsupported media type"}`
		}
		return a.post(body)
	})
}

var amLabel = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// post stores the valid alerts of a batch even when it refuses others, as the
// real one does.
func (a *Alertmanager) post(body []byte) (int, string) {
	var batch []Alert
	if err := json.Unmarshal(body, &batch); err != nil {
		return http.StatusBadRequest, `{"code":400,"message":"parsing alerts body failed"}`
	}
	status, answer := http.StatusOK, ""
	for _, alert := range batch {
		if fault := alert.fault(); fault != "" {
			status, answer = http.StatusBadRequest, fault
			if strings.HasPrefix(fault, `{"code":601`) {
				return http.StatusUnprocessableEntity, fault
			}
			continue
		}
		key, _ := json.Marshal(alert.Labels) // sorted by key; strings always encode
		alert.Updates = a.alerts[string(key)].Updates + 1
		a.alerts[string(key)] = alert
	}
	return status, answer
}

func (alert Alert) fault() string {
	if alert.GeneratorURL != "" {
		if u, err := url.Parse(alert.GeneratorURL); err != nil || !u.IsAbs() {
			return `{"code":601,"message":"generatorURL in body must be of type uri"}`
		}
	}
	maps.DeleteFunc(alert.Labels, func(_, v string) bool { return v == "" })
	if len(alert.Labels) == 0 {
		return `"at least one label pair required"`
	}
	for name := range alert.Labels {
		if !amLabel.MatchString(name) {
			return `"invalid label set: invalid name"`
		}
	}
	if !alert.EndsAt.IsZero() && alert.EndsAt.Before(alert.StartsAt) {
		return `"start time must be before end time"`
	}
	return ""
}
