package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/notify/fakes"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/store"
)

// A person is a receiver of incidents that keeps what it was told.
type person struct {
	away bool // takes nothing
	mu   sync.Mutex
	told []ledger.Group
}

func (p *person) Send(_ context.Context, d ledger.Delivery) error {
	if p.away {
		return errors.New("nobody answers")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.Group == nil {
		return nil // a trigger
	}
	p.told = append(p.told, *d.Group)
	return nil
}

// heard returns what the person was told of incidents, as "status severity alerts".
func (p *person) heard() (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.told {
		out = append(out, fmt.Sprintf("%s %s %d", g.Status, g.Severity, g.Firing+g.Ended))
	}
	return out
}

// of returns what the person was told of one incident, by status.
func (p *person) of(id string) (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.told {
		if g.Incident == id {
			out = append(out, g.Status)
		}
	}
	return out
}

// last is what the person was told last.
func (p *person) last() ledger.Group {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.told[len(p.told)-1]
}

// addressed lets people hear of incidents by a tree of routes.
func (w *world) addressed(o daemon.Options, root alert.RouteSpec, people map[string]*person) daemon.Options {
	w.t.Helper()
	o.Receivers = o.Receivers[:1] // machines
	var names []string
	for name, p := range people {
		o.Receivers = append(o.Receivers, notify.Receiver{Name: name, Sink: p, Latest: true})
		names = append(names, name)
	}
	o.Grouped = func(name string) bool { return people[name] != nil }
	o.Notify = notify.Options{Poll: 20 * time.Millisecond}
	routes, err := alert.CompileRoutes(root, names)
	if err != nil {
		w.t.Fatal(err)
	}
	o.Routes = routes
	return o
}

func all(*incident.Incident) bool { return true }

// incidents returns every incident of a store.
func incidents(t *testing.T, st *store.Store) []*incident.Incident {
	t.Helper()
	out, err := st.Incidents(all)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// storm is a model whose thousand features all shift for a quarter of an hour.
func storm() sim.Scenario {
	m := sim.Model{Name: "wide", Rate: 0.5, Even: true, Versions: []sim.Version{{Name: "1", Share: 1}}}
	s := sim.Scenario{Name: "storm", Start: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), Length: 40 * time.Minute}
	for i := range 1000 {
		name := fmt.Sprintf("f%03d", i)
		m.Features = append(m.Features, sim.Feature{Name: name, Dist: sim.Normal{Sigma: 1}})
		s.Injections = append(s.Injections, sim.Injection{Model: m.Name, Feature: name, Effect: sim.Shift, Amount: 2, From: 10 * time.Minute, To: 25 * time.Minute})
	}
	s.Models = []sim.Model{m}
	return s
}

// A thousand features that drift together are one page: people are told once that it
// began and once that it ended, whatever fires.
func TestAStormIsOnePage(t *testing.T) {
	w := emptyWorld(t, storm())
	dir := t.TempDir()
	w.prepareWith(dir, w.baselinesOf(2, 500))
	w.publish()
	st := open(t, dir)
	defer st.Close()
	pager, chat := &person{}, &person{}
	wait := 2 * time.Second
	o := w.addressed(w.options(st), alert.RouteSpec{
		Receiver: "chat", GroupWait: &wait, Routes: []alert.RouteSpec{{Receiver: "pager", Match: map[string]string{"severity": "page"}, Continue: true}, {Receiver: "chat", Matchers: []string{"severity=~.+"}}},
	}, map[string]*person{"pager": pager, "chat": chat})
	o.Rules = w.rules(
		alert.Spec{Name: "Drift", Window: 5 * time.Minute, Feature: "f*", Expr: "psi_debiased > 0.5 and n >= 100", Severity: "page"},
		alert.Spec{Name: "Shift", Window: 5 * time.Minute, Feature: "f*", Expr: "ks_p < 1e-9", Severity: "ticket"},
	)
	d, stop := w.start(o)
	w.caughtUp(d)
	w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "everybody is told")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if n := len(alerts(t, st, "Drift")); n < 1000 {
		t.Errorf("%d entries of Drift, want the starts of a thousand alerts", n)
	}
	for name, p := range map[string]*person{"pager": pager, "chat": chat} {
		if got := p.heard(); len(got) > 2 {
			t.Errorf("%s heard %q", name, got)
		}
	}
	open := slices.DeleteFunc(incidents(t, st), func(i *incident.Incident) bool { return i.Group["model"] != "wide" })
	if len(open) != 1 || open[0].Severity != alert.SeverityPage {
		t.Errorf("%d incidents, want one", len(open))
	}
}

// With an incident an alert, PagerDuty hears of as many as the limit allows of a storm, and
// once of the others; across a restart each of them ends.
func TestAStormPagesAFewTimes(t *testing.T) {
	w := emptyWorld(t, storm())
	dir := t.TempDir()
	w.prepareWith(dir, w.baselinesOf(2, 500))
	fake := fakes.NewPagerDuty()
	srv := httptest.NewServer(fake)
	defer srv.Close()
	const limit = 3
	status := func(want string) (n int) {
		for _, i := range fake.Incidents() {
			if i.Status == want {
				n++
			}
		}
		return n
	}
	run := func(from, to time.Duration, done func() bool) {
		t.Helper()
		w.publishSpan(from, to)
		st := open(t, dir)
		defer st.Close()
		o := w.addressed(w.options(st), alert.RouteSpec{Receiver: "pager"}, map[string]*person{"pager": {}})
		sink, err := notify.NewPagerDuty(notify.PagerDutyOptions{RoutingKey: strings.Repeat("0", 32), BaseURL: srv.URL, Alerts: limit, Client: srv.Client()})
		if err != nil {
			t.Fatal(err)
		}
		o.Receivers[1].Sink = sink
		o.Rules = w.rules(alert.Spec{Name: "Drift", Window: 5 * time.Minute, Feature: "f*", Expr: "psi_debiased > 0.5 and n >= 100", Severity: "page", Limit: 1000})
		d, stop := w.start(o)
		w.caughtUp(d)
		w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 && done() }, "PagerDuty has %d open, %d resolved", status("triggered"), status("resolved"))
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	run(0, 24*time.Minute, func() bool { return status("triggered") == limit+1 })
	if last := fake.Incidents()[limit]; !strings.HasPrefix(last.Summary, "997 alerts of severity page beyond the 3 that are told one by one: ") {
		t.Errorf("the others are told as %q", last.Summary)
	}
	run(24*time.Minute, math.MaxInt64, func() bool { return status("triggered") == 0 })
	if n := len(fake.Incidents()); n != limit+1 {
		t.Errorf("%d incidents at PagerDuty, want %d", n, limit+1)
	}
}

// Models of one owner of which the same feature shifts at the same time are one
// incident, and one page of the budget that they share.
func TestModelsThatMoveTogetherAreOneIncident(t *testing.T) {
	s := calibrated()
	for _, name := range []string{"churn", "growth"} {
		m := s.Models[0]
		m.Name = name
		in := s.Injections[0]
		in.Model = name
		s.Models, s.Injections = append(s.Models, m), append(s.Injections, in)
	}
	w := newWorld(t, s)
	dir := t.TempDir()
	w.prepareWith(dir, w.baselines())
	st := open(t, dir)
	defer st.Close()
	pager := &person{}
	wait := 2 * time.Second
	o := w.addressed(within(w.options(st), w), alert.RouteSpec{Receiver: "pager", GroupWait: &wait}, map[string]*person{"pager": pager})
	o.Owner = func(model string) string {
		return map[string]string{"fraud": "risk", "churn": "risk", "growth": "sales"}[model]
	}
	d, stop := w.start(o)
	w.caughtUp(d)
	w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "everybody is told")
	spent := d.Snapshot().Budgets[0].Spent
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	var models []string
	for _, i := range incidents(t, st) {
		if i.Severity == alert.SeverityPage {
			models = append(models, fmt.Sprint(i.Models()))
		}
		if i.Open() {
			t.Errorf("incident %s of %v is still open", i.ID, i.Models())
		}
	}
	slices.Sort(models)
	if got := fmt.Sprint(models); got != "[[churn fraud] [growth]]" {
		t.Errorf("pages about %s", got)
	}
	if len(spent) != 2 {
		t.Errorf("%d pages were drawn: %+v", len(spent), spent)
	}
}

// Who was told that something began hears that it ended, also one that was named no
// more for a while, and of the same incident; who was named meanwhile hears of what
// fires then, once, and of its end.
func TestReceiversThatComeAndGo(t *testing.T) {
	w := emptyWorld(t, hour())
	dir := t.TempDir()
	w.prepareWith(dir, w.baselines())
	people := map[string]*person{"chat": {}, "late": {}}
	run := func(names ...string) {
		t.Helper()
		st := open(t, dir)
		defer st.Close()
		named := map[string]*person{}
		routes := alert.RouteSpec{Receiver: names[0]}
		for _, name := range names {
			named[name] = people[name]
			routes.Routes = append(routes.Routes, alert.RouteSpec{Receiver: name, Matchers: []string{"severity=~.+"}, Continue: true})
		}
		o := w.addressed(w.options(st), routes, named)
		o.Grouped = func(name string) bool { return people[name] != nil }
		d, stop := w.start(o)
		w.caughtUp(d)
		w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "everybody is told")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	w.publishSpan(0, 28*time.Minute) // drift fires
	run("chat")
	began := map[string]bool{}
	for _, g := range people["chat"].told {
		began[g.Incident] = g.Status == "firing"
	}
	run("late")
	for range 2 { // the second start names nobody anew
		for id, firing := range began {
			got := people["late"].of(id)
			if want := []string{"firing"}; firing && !slices.Equal(got, want) {
				t.Errorf("who was named behind the start of %s heard %q, want %q", id, got, want)
			}
		}
		run("late")
	}
	w.publishSpan(28*time.Minute, 45*time.Minute)
	run("late")
	ended := 0
	for id := range began {
		got := people["late"].of(id)
		if i := slices.Index(got, "resolved"); i >= 0 && i != len(got)-1 || len(got) == 0 || got[0] != "firing" {
			t.Errorf("of %s who was named late heard %q", id, got)
		} else if i > 0 {
			ended++
		}
	}
	if ended == 0 {
		t.Error("who was named late heard of no end")
	}
	run("chat", "late")
	heard := len(people["chat"].told)
	for _, g := range people["chat"].told {
		began[g.Incident] = g.Status == "firing"
	}
	if heard < 2 || began[people["chat"].told[0].Incident] {
		t.Errorf("who was named again heard %q, want the end of the first", people["chat"].heard())
	}
}

// What nobody acknowledges goes to somebody else, and only while it fires; who heard
// of it so hears too when somebody looks after it.
func TestEscalation(t *testing.T) {
	w := emptyWorld(t, hour())
	dir := t.TempDir()
	w.prepareWith(dir, w.baselines())
	w.publishSpan(0, 28*time.Minute) // drift fires
	st := open(t, dir)
	defer st.Close()
	chat, boss := &person{}, &person{}
	o := w.addressed(w.options(st), alert.RouteSpec{
		Receiver: "chat", Escalate: &alert.Escalation{After: 300 * time.Millisecond, Receiver: "boss"},
	}, map[string]*person{"chat": chat, "boss": boss})
	d, stop := w.start(o)
	w.caughtUp(d)
	w.until(func() bool { return len(boss.heard()) > 0 }, "the boss hears of it")
	if _, err := d.ChangeIncident(t.Context(), boss.last().Incident, by("ada", incident.Change{Action: incident.ActionAcknowledge})); err != nil {
		t.Fatal(err)
	}
	w.until(func() bool { return boss.last().Acknowledged == "ada" }, "the boss hears that ada looks after it")
	w.publishSpan(28*time.Minute, time.Hour)
	w.caughtUp(d)
	w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "everybody is told")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]*person{"chat": chat, "boss": boss} {
		began, ended := map[string]bool{}, map[string]bool{}
		for _, g := range p.told {
			if ended[g.Incident] || g.Status == "resolved" && !began[g.Incident] && name == "boss" {
				t.Errorf("%s heard of %s after its end, or of its end alone", name, g.Incident)
			}
			began[g.Incident], ended[g.Incident] = true, g.Status == "resolved"
		}
		for id := range began {
			if !ended[id] && slices.ContainsFunc(incidents(t, st), func(i *incident.Incident) bool { return i.ID == id && !i.Open() }) {
				t.Errorf("%s never heard of the end of %s", name, id)
			}
		}
	}
}

// Alerts that fire since before there were incidents become incidents of their own, and
// end as such: also those of which the ledger keeps no entry any more.
func TestAlertsOfOlderStores(t *testing.T) {
	w := newWorld(t, hour())
	dir := newSweep(w).prepared
	st := open(t, dir)
	o := w.options(st)
	o.Rules = nil
	d, stop := w.start(o)
	w.caughtUp(d)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	r, err := st.Resume()
	if err != nil {
		t.Fatal(err)
	}
	var counters map[string]json.RawMessage
	if err := json.Unmarshal(r.Progress.Counters, &counters); err != nil {
		t.Fatal(err)
	}
	e, err := r.Progress.Chain.Append(ledger.Draft{Time: w.scenario.Start, Kind: ledger.KindAlert, Body: ledger.Alert{
		Type: "alert", Status: "firing", Rule: "DriftdReceiverRejected", DedupKey: "DriftdReceiverRejected/kept", Labels: map[string]string{"receiver": "kept"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	counters["firing"] = json.RawMessage(fmt.Sprintf(
		`{"DriftdReceiverRejected/kept": {"seq": %d, "receivers": ["people"]}, "DriftdReceiverRejected/swept": {"seq": 4711, "receivers": ["people"]}}`, e.Seq))
	if r.Progress.Counters, err = json.Marshal(counters); err != nil {
		t.Fatal(err)
	}
	b := st.NewBatch()
	b.Append(e)
	b.PutProgress(r.Progress)
	if err := errors.Join(st.Commit(b), st.Close()); err != nil {
		t.Fatal(err)
	}
	st = open(t, dir)
	defer st.Close()
	o = w.options(st)
	o.Rules = nil
	d, stop = w.start(o) // neither receiver is there any more
	w.until(func() bool { return len(alerts(t, st, "DriftdReceiverRejected")) == 3 }, "both have ended")
	w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "people are told")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for _, a := range alerts(t, st, "DriftdReceiverRejected")[1:] {
		if a.Status != "resolved" || a.Incident != a.DedupKey || w.heard.count(st, t, a.DedupKey) == 0 {
			t.Errorf("%+v was not told as the end of its incident", a)
		}
	}
	for _, i := range incidents(t, st) {
		if i.Open() {
			t.Errorf("incident %s is open", i.ID)
		}
	}
}
