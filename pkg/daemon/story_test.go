package daemon_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/notify/fakes"
	"driftd.dev/driftd/pkg/store"
)

// grouped lets people hear of incidents, and say of what they like.
func grouped(o daemon.Options) daemon.Options {
	o.Grouped = func(receiver string) bool { return receiver == "people" }
	o.Policy = incident.Policy{Causes: incident.DefaultCauses(), CloseRequires: []string{"diagnosis"}}
	for i := range o.Receivers {
		o.Receivers[i].Latest = o.Receivers[i].Name == "people"
	}
	return o
}

// by is what somebody does.
func by(name string, c incident.Change) incident.Change {
	c.By = name
	return c
}

// deeds returns the ledger's entries about what people did to an incident, as
// "action by actor".
func deeds(t *testing.T, st *store.Store, id string) (out []string) {
	t.Helper()
	entries, err := st.Entries(0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var c ledger.IncidentChange
		if e.Kind != ledger.KindIncident {
			continue
		}
		if err := json.Unmarshal(e.Body, &c); err != nil {
			t.Fatal(err)
		}
		if c.Incident == id {
			out = append(out, c.Action+" by "+c.Actor)
		}
	}
	return out
}

// opened waits for an open incident of a model.
func (w *world) opened(d *daemon.Daemon, model string) (found *incident.Incident) {
	w.t.Helper()
	w.until(func() bool {
		for _, i := range d.Snapshot().Incidents {
			if slices.Contains(i.Models(), model) {
				found = i
			}
		}
		return found != nil
	}, "an incident of %s is open", model)
	return found
}

// What people do is in the incident and in the ledger, also after a restart, while it
// is open and long after it has ended.
func TestWhatPeopleDoAboutAnIncident(t *testing.T) {
	w := emptyWorld(t, hour())
	w.publishSpan(0, 25*time.Minute) // drift fires from minute 20 on
	dir := t.TempDir()
	w.prepare(dir)
	st := open(t, dir)
	d, stop := w.start(grouped(w.options(st)))
	w.caughtUp(d)
	id := w.opened(d, "fraud").ID
	change := func(c incident.Change) *incident.Incident {
		t.Helper()
		i, err := d.ChangeIncident(t.Context(), id, c)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	change(by("ada", incident.Change{Action: incident.ActionAcknowledge}))
	change(by("bob", incident.Change{Action: incident.ActionNote, Text: "the ETL is late"}))
	if _, err := d.ChangeIncident(t.Context(), id, by("ada", incident.Change{Action: incident.ActionClose})); err == nil || !strings.Contains(err.Error(), "still fire") {
		t.Errorf("closing what fires: %v", err)
	}
	if _, err := d.ChangeIncident(t.Context(), id, by("ada", incident.Change{Action: incident.ActionDiagnose, Cause: "moon"})); !errors.Is(err, incident.ErrInvalid) {
		t.Errorf("an unknown cause: %v", err)
	}
	if _, err := d.ChangeIncident(t.Context(), "none", by("ada", incident.Change{Action: incident.ActionAcknowledge})); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("an incident that there is not: %v", err)
	}
	before := w.opened(d, "fraud")
	if before.Acknowledged == nil || before.Acknowledged.By != "ada" || len(before.Notes) != 1 {
		t.Errorf("the snapshot does not know: %+v", before)
	}
	if err := errors.Join(stop(), st.Close()); err != nil {
		t.Fatal(err)
	}

	w.publishSpan(25*time.Minute, time.Hour)
	st = open(t, dir)
	defer st.Close()
	d, stop = w.start(grouped(w.options(st)))
	w.caughtUp(d)
	w.until(func() bool { i, err := d.Incident(id); return err == nil && !i.Open() }, "the incident has ended")
	if _, err := d.ChangeIncident(t.Context(), id, by("ada", incident.Change{Action: incident.ActionClose})); err == nil || !strings.Contains(err.Error(), "requires diagnosis") {
		t.Errorf("closing without a diagnosis: %v", err)
	}
	change(by("ada", incident.Change{Action: incident.ActionDiagnose, Cause: "upstream_data"}))
	change(by("ada", incident.Change{Action: incident.ActionRemedy, Remedy: "fixed_upstream", Result: "worked"}))
	change(by("eve", incident.Change{Action: incident.ActionWorth, Worth: "yes"}))
	i := change(by("ada", incident.Change{Action: incident.ActionClose}))
	if i.Phase() != incident.PhaseClosed || i.Diagnosis.Cause != "upstream_data" || i.Worth.By != "eve" || i.Acknowledged.By != "ada" || len(i.Notes) != 1 {
		t.Errorf("%+v", i)
	}
	want := []string{"acknowledge by ada", "note by bob", "diagnose by ada", "remedy by ada", "worth by eve", "close by ada"}
	if diff := cmp.Diff(want, deeds(t, st, id)); diff != "" {
		t.Error(diff)
	}
	if h, err := d.Hearing(id); err != nil || len(h.Told) == 0 && len(h.Owed) == 0 {
		t.Errorf("who was told: %+v, %v", h, err)
	}
	if _, err := d.VerifyLedger(t.Context()); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// A crash leaves both the entry and the incident, or neither; whoever asked and got no
// answer may ask again.
func TestACrashWhileSomebodyActs(t *testing.T) {
	w := emptyWorld(t, hour())
	w.publishSpan(0, 25*time.Minute)
	s := newSweep(w)
	dir := s.copyOf(s.prepared)
	st := open(t, dir)
	d, stop := w.start(grouped(s.options(st)))
	w.caughtUp(d)
	id := w.opened(d, "fraud").ID
	if err := errors.Join(stop(), st.Close()); err != nil {
		t.Fatal(err)
	}
	for _, point := range []string{daemon.PointEncoded, daemon.PointCommitted} {
		t.Run(point, func(t *testing.T) {
			st := open(t, s.copyOf(dir))
			o := grouped(s.options(st))
			armed := make(chan struct{})
			o.Probe = func(at string) error {
				select {
				case <-armed:
					if at == point {
						return errCrash
					}
				default:
				}
				return nil
			}
			d, stop := w.start(o)
			w.caughtUp(d)
			close(armed)
			_, err := d.ChangeIncident(t.Context(), id, by("ada", incident.Change{Action: incident.ActionAcknowledge}))
			if err == nil {
				t.Error("the change was confirmed")
			}
			if err := stop(); !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			i, err := d.Incident(id)
			if err != nil {
				t.Fatal(err)
			}
			entries := deeds(t, st, id)
			if durable := point == daemon.PointCommitted; (i.Acknowledged != nil) != durable || (len(entries) == 1) != durable {
				t.Errorf("acknowledged: %v, entries %v", i.Acknowledged, entries)
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A change that is known to stay ends the drift, and the incident with it.
func TestAKnownChange(t *testing.T) {
	const shifted = 14*time.Hour + 30*time.Minute
	w := emptyWorld(t, calibrated())
	w.publishSpan(0, shifted+90*time.Minute)
	dir := t.TempDir()
	w.prepare(dir)
	st := open(t, dir)
	defer st.Close()
	d, stop := w.start(grouped(within(w.options(st), w)))
	w.caughtUp(d)
	id := w.opened(d, "fraud").ID
	i, err := d.ChangeIncident(t.Context(), id, by("ada", incident.Change{Action: incident.ActionAcknowledge, Known: true}))
	if err != nil {
		t.Fatal(err)
	}
	if i.Open() || i.Acknowledged.By != "ada" {
		t.Errorf("it is open: %+v", i)
	}
	w.publishSpan(shifted+90*time.Minute, shifted+2*time.Hour)
	w.caughtUp(d)
	if open := d.Snapshot().Incidents; len(open) != 0 {
		t.Errorf("what is known fires again: %+v", open[0])
	}
	all := driftOf(t, st)
	if end := all[len(all)-1]; end.Status != "resolved" || end.Reason != "acknowledged as known by ada" || end.DedupKey != id {
		t.Errorf("the end %+v", end)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// digests returns the ledger's digests.
func digests(t *testing.T, st *store.Store) (out []ledger.Digest) {
	t.Helper()
	entries, err := st.Entries(0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var d ledger.Digest
		if e.Kind != ledger.KindDigest {
			continue
		}
		if err := json.Unmarshal(e.Body, &d); err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// A digest is made when stream time has passed the end of a span, of what people said,
// and owed to its receiver. Here a span is a second.
func TestDigest(t *testing.T) {
	story := hour()
	story.Start = time.Now().Add(-2 * time.Hour).Truncate(time.Hour)
	w := emptyWorld(t, story)
	w.publishSpan(0, 25*time.Minute)
	dir := t.TempDir()
	w.prepare(dir)
	st := open(t, dir)
	defer st.Close()
	o := grouped(w.options(st))
	d, stop := w.start(o)
	w.caughtUp(d)
	id := w.opened(d, "fraud").ID
	if _, err := d.ChangeIncident(t.Context(), id, by("ada", incident.Change{Action: incident.ActionWorth, Worth: "yes"})); err != nil {
		t.Fatal(err)
	}
	if n := len(digests(t, st)); n != 0 {
		t.Errorf("%d digests that nobody asked for", n)
	}
	settings := o.Settings
	settings.Digests = daemon.Digests{Receiver: "people", Every: time.Second}
	if err := d.Reconfigure(t.Context(), daemon.Reconfiguration{Settings: settings, Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	w.until(func() bool {
		if _, err := w.conn.JetStream().Publish(t.Context(), "ml.driftd.tick", []byte("{}")); err != nil {
			t.Fatal(err)
		}
		return len(digests(t, st)) >= 2
	}, "two spans are over")
	all := digests(t, st)
	if gap := all[1].To.Sub(all[0].To); gap < time.Second || all[0].To.Sub(all[0].From) != time.Second {
		t.Errorf("spans %v to %v, then to %v", all[0].From, all[0].To, all[1].To)
	}
	rated := slices.IndexFunc(all[0].Rules, func(p ledger.Precision) bool { return p.Yes == 1 })
	if rated < 0 || *all[0].Rules[rated].Precision != 1 {
		t.Errorf("precision by rule %+v", all[0].Rules)
	}
	w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "the receiver has the digests")
	got, err := d.Digest(3 * time.Hour)
	if err != nil || got.Incidents == 0 || got.To.Before(story.Start) {
		t.Errorf("the digest of three hours %+v, %v", got, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// PagerDuty hears that somebody looks after an incident, and then of its end.
func TestAnAcknowledgementReachesThePager(t *testing.T) {
	w := emptyWorld(t, hour())
	dir := t.TempDir()
	w.prepare(dir)
	w.publishSpan(0, 28*time.Minute) // drift fires
	st := open(t, dir)
	defer st.Close()
	fake := fakes.NewPagerDuty()
	server := httptest.NewServer(fake)
	defer server.Close()
	pager, err := notify.NewPagerDuty(notify.PagerDutyOptions{
		RoutingKey: strings.Repeat("0", 32), BaseURL: server.URL, Client: notify.NewClient(notify.ClientOptions{AllowPrivate: notify.SiteNetworks()}),
	})
	if err != nil {
		t.Fatal(err)
	}
	o := w.addressed(w.options(st), alert.RouteSpec{Receiver: "pager"}, map[string]*person{"pager": {}})
	o.Receivers[1].Sink = pager
	d, stop := w.start(o)
	w.caughtUp(d)
	id := w.opened(d, "fraud").ID
	status := func() string {
		for _, i := range fake.Incidents() {
			if i.DedupKey == id {
				return i.Status
			}
		}
		return ""
	}
	w.until(func() bool { return status() == "triggered" }, "somebody is paged")
	if _, err := d.ChangeIncident(t.Context(), id, by("ada", incident.Change{Action: incident.ActionAcknowledge})); err != nil {
		t.Fatal(err)
	}
	w.until(func() bool { return status() == "acknowledged" }, "the pager hears of it")
	w.publishSpan(28*time.Minute, time.Hour)
	w.until(func() bool { return status() == "resolved" }, "the pager hears of the end")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
