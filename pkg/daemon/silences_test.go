package daemon_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/store"
)

// silenceOf is one of a span from the scenario's start.
func (w *world) silenceOf(kind incident.SilenceKind, from, to time.Duration, matchers ...string) incident.Silence {
	return incident.Silence{Kind: kind, Matchers: matchers, StartsAt: w.scenario.Start.Add(from), EndsAt: w.scenario.Start.Add(to), Comment: "a new shop"}
}

// silence creates silences in a store of which no daemon runs.
func (w *world) silence(dir string, silences ...incident.Silence) (out []incident.Silence) {
	w.t.Helper()
	st := open(w.t, dir)
	defer st.Close()
	o := w.options(st)
	o.Source = nothing{}
	d, stop := w.start(o)
	for _, s := range silences {
		created, err := d.CreateSilence(w.t.Context(), s, "ann")
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, created)
	}
	if err := stop(); err != nil {
		w.t.Fatal(err)
	}
	return out
}

// silenceChanges returns the bodies of the ledger's entries about silences.
func silenceChanges(t *testing.T, st *store.Store) (out []ledger.SilenceChange) {
	t.Helper()
	entries, err := st.Entries(0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		var c ledger.SilenceChange
		if e.Kind != ledger.KindSilence {
			continue
		}
		if err := json.Unmarshal(e.Body, &c); err != nil {
			t.Fatal(err)
		}
		if c.Action == "created" && c.Silence != e.ID {
			t.Errorf("silence %s was created by entry %s", c.Silence, e.ID)
		}
		out = append(out, c)
	}
	return out
}

// TestSilenceIsDurable crashes at every point of the checkpoint that holds a silence,
// and copies the store in the moment of the answer, as kill -9 would leave it: what was
// answered is there, with its entry, and nothing is there by half.
func TestSilenceIsDurable(t *testing.T) {
	w := emptyWorld(t, hour())
	prepared := newSweep(w).prepared
	labels := map[string]string{"model": "fraud", "severity": "page"}
	now := time.Now()
	want := incident.Silence{Kind: incident.KindSilence, Matchers: []string{`model="fraud"`}, StartsAt: now, EndsAt: now.Add(time.Hour), Comment: "a new shop"}
	for _, point := range append(slices.Clone(points), "") {
		t.Run("crash at "+point, func(t *testing.T) {
			w.t = t
			dir := w.copyOf(prepared)
			armed := false
			probe := func(p string) error {
				if armed && p == point {
					return errCrash
				}
				return nil
			}
			st, err := store.Open(dir, store.Options{MemTableBytes: 16 << 20, Crash: probe})
			if err != nil {
				t.Fatal(err)
			}
			o := w.options(st)
			o.Source, o.Probe = nothing{}, probe
			d, stop := w.start(o)
			armed = point != ""
			created, err := d.CreateSilence(t.Context(), want, "ann")
			after := dir
			if err == nil {
				after = w.copyOf(dir)
				if by, ok := d.Muted(labels, now.Add(time.Minute)); point == "" && (!ok || by != created.ID) {
					t.Errorf("muted by %q, want %s", by, created.ID)
				}
			}
			if ended := stop(); point != "" && !errors.Is(ended, errCrash) {
				t.Errorf("the daemon ended with %v: there was no crash", ended)
			}
			_ = st.Close() // a crash does not
			answered := err == nil
			st = open(t, after)
			defer st.Close()
			kept, err := st.Silences()
			if err != nil {
				t.Fatal(err)
			}
			if changes := silenceChanges(t, st); len(changes) != len(kept) || answered && len(kept) != 1 {
				t.Fatalf("answered %v; %d silences and %d entries", answered, len(kept), len(changes))
			}
			early := point == daemon.PointEncoded || point == store.BeforeCommit
			if early == (len(kept) == 1) {
				t.Errorf("a crash at %q left %d silences", point, len(kept))
			}
			o = w.options(st)
			d, err = daemon.New(o)
			if err != nil {
				t.Fatal(err)
			}
			if by, ok := d.Muted(labels, now.Add(time.Minute)); ok != (len(kept) == 1) || ok && by != kept[0].ID {
				t.Errorf("after the crash muted by %q, %v", by, ok)
			}
			if _, ok := d.Muted(labels, now.Add(time.Hour)); ok {
				t.Error("muted behind its end")
			}
		})
	}
}

// TestSilenceCommands: what is asked of silences is recorded with who asked, and what is
// refused changes nothing.
func TestSilenceCommands(t *testing.T) {
	w := emptyWorld(t, hour())
	st := open(t, newSweep(w).prepared)
	defer st.Close()
	o := w.options(st)
	o.Source = nothing{}
	d, stop := w.start(o)
	ctx, now := t.Context(), time.Now()
	s, err := d.CreateSilence(ctx, incident.Silence{Kind: incident.KindSilence, Matchers: []string{"model=fraud"}, StartsAt: now.Add(-time.Hour), EndsAt: now.Add(time.Hour), Comment: "x"}, "ann")
	if err != nil || s.StartsAt.Before(now.Add(-time.Second)) || s.CreatedBy != "ann" || s.CreatedAt.IsZero() {
		t.Fatalf("%+v, %v", s, err)
	}
	// Without an event the clock of event time is the wall's.
	m, err := d.CreateSilence(ctx, w.silenceOf(incident.KindMaintenance, 0, time.Hour, "model=churn"), "bob")
	if err != nil || m.StartsAt != w.scenario.Start {
		t.Fatalf("%+v, %v", m, err)
	}
	longer, err := d.UpdateSilence(ctx, incident.Silence{ID: s.ID, EndsAt: now.Add(2 * time.Hour)}, "cleo")
	if err != nil || !longer.EndsAt.Equal(now.Add(2*time.Hour)) || longer.UpdatedAt.Before(s.UpdatedAt) || longer.CreatedBy != "ann" {
		t.Fatalf("%+v, %v", longer, err)
	}
	if _, err := d.UpdateSilence(ctx, incident.Silence{ID: s.ID}, "cleo"); err != nil {
		t.Errorf("nothing to change: %v", err)
	}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"invalid":   {second(d.CreateSilence(ctx, incident.Silence{Kind: "x"}, "ann")), "kind"},
		"over":      {second(d.CreateSilence(ctx, w.silenceOf(incident.KindSilence, 0, time.Hour, "model=fraud"), "ann")), "not in the future"},
		"matchers":  {second(d.UpdateSilence(ctx, incident.Silence{ID: s.ID, Matchers: []string{"model=churn"}}, "ann")), "matchers cannot change"},
		"not there": {second(d.UpdateSilence(ctx, incident.Silence{ID: "nothing"}, "ann")), api.ErrNotFound.Error()},
		"gone":      {second(d.ExpireSilence(ctx, "nothing", "ann")), api.ErrNotFound.Error()},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, c.err, c.want)
		}
	}
	for range 2 { // the second changes nothing
		if s, err = d.ExpireSilence(ctx, s.ID, "bob"); err != nil || s.State(incident.At(time.Now())) != incident.SilenceExpired {
			t.Fatalf("%+v, %v", s, err)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, c := range silenceChanges(t, st) {
		said = append(said, c.Action+" "+c.Kind+" by "+c.Actor)
	}
	want := []string{"created silence by ann", "created maintenance by bob", "updated silence by cleo", "expired silence by bob"}
	if !slices.Equal(said, want) {
		t.Errorf("the ledger says %q, want %q", said, want)
	}
	if kept, err := st.Silences(); err != nil || len(kept) != 2 {
		t.Errorf("%d silences, %v", len(kept), err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestSilencesAreBounded fills a store with silences: the one that is over for longest
// makes room, and without one that is over there is none. What was over for Retention
// goes with the stream's next message.
func TestSilencesAreBounded(t *testing.T) {
	w := emptyWorld(t, hour())
	st := open(t, newSweep(w).prepared)
	defer st.Close()
	now := time.Now().UTC()
	b := st.NewBatch()
	for i := range incident.MaxSilences {
		s := incident.Silence{ID: fmt.Sprintf("%04d", i), Kind: incident.KindSilence, Matchers: []string{"model=fraud"}, StartsAt: now.Add(-2 * time.Hour), EndsAt: now.Add(time.Hour), Comment: "x", UpdatedAt: now}
		if i == 7 || i == 8 {
			s.EndsAt = now.Add(-time.Duration(i) * time.Minute)
		}
		if i == 9 {
			s.EndsAt, s.UpdatedAt = now.Add(-incident.Retention), now.Add(-incident.Retention)
		}
		b.PutSilence(s)
	}
	if err := st.Commit(b); err != nil {
		t.Fatal(err)
	}
	w.publishSpan(0, time.Minute)
	d, stop := w.start(w.options(st))
	w.caughtUp(d)
	held := func(id string) bool { _, ok := d.Snapshot().Silences.Get(id); return ok }
	if held("0009") || !held("0008") || d.Snapshot().Silences.Len() != incident.MaxSilences-1 {
		t.Errorf("%d silences after a message", d.Snapshot().Silences.Len())
	}
	one := incident.Silence{Kind: incident.KindSilence, Matchers: []string{"model=fraud"}, StartsAt: now, EndsAt: now.Add(time.Hour), Comment: "x"}
	for i, gone := range []string{"0009", "0008", "0007"} {
		if _, err := d.CreateSilence(t.Context(), one, "ann"); err != nil || held(gone) {
			t.Fatalf("silence %d: %v, %s is held: %v", i, err, gone, held(gone))
		}
	}
	if _, err := d.CreateSilence(t.Context(), one, "ann"); err == nil || !strings.Contains(err.Error(), "expire some") {
		t.Errorf("one too many: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if kept, err := st.Silences(); err != nil || len(kept) != incident.MaxSilences {
		t.Errorf("%d silences are stored, %v", len(kept), err)
	}
}

// A maintenance of a model that lags behind holds until that has passed its span, however
// far others are: it makes no room for another silence, and is not forgotten.
func TestMaintenanceOfAModelThatLags(t *testing.T) {
	w := emptyWorld(t, hour())
	st := open(t, newSweep(w).prepared)
	defer st.Close()
	now := time.Now().UTC()
	b := st.NewBatch()
	for i := range incident.MaxSilences - 2 {
		b.PutSilence(incident.Silence{ID: fmt.Sprintf("w%03d", i), Kind: incident.KindSilence, Matchers: []string{"model=fraud"}, StartsAt: now.Add(-time.Hour), EndsAt: now.Add(time.Hour), Comment: "x", UpdatedAt: now})
	}
	// Of another week, so that what was over for five days would be forgotten.
	at := func(d time.Duration) time.Time { return w.scenario.Start.Add(d) }
	b.PutSilence(incident.Silence{ID: "lags", Kind: incident.KindMaintenance, Matchers: []string{"model=churn"}, StartsAt: at(-8 * 24 * time.Hour), EndsAt: at(20 * time.Minute), Comment: "x", UpdatedAt: at(-7 * 24 * time.Hour)})
	b.PutSilence(incident.Silence{ID: "over", Kind: incident.KindMaintenance, Matchers: []string{"model=fraud"}, StartsAt: at(-8 * 24 * time.Hour), EndsAt: at(-25 * time.Hour), Comment: "x", UpdatedAt: now})
	if err := st.Commit(b); err != nil {
		t.Fatal(err)
	}
	w.publishWhere(func(model string, at time.Duration) bool { return model == "fraud" || at < 10*time.Minute })
	d, stop := w.start(w.options(st))
	w.caughtUp(d)
	held := func(id string) bool { _, ok := d.Snapshot().Silences.Get(id); return ok }
	one := incident.Silence{Kind: incident.KindSilence, Matchers: []string{"model=fraud"}, StartsAt: now, EndsAt: now.Add(time.Hour), Comment: "x"}
	if _, err := d.CreateSilence(t.Context(), one, "ann"); err != nil || held("over") || !held("lags") {
		t.Errorf("one more: %v; held is %v what is over, %v what is not", err, held("over"), held("lags"))
	}
	if _, err := d.CreateSilence(t.Context(), one, "ann"); err == nil || !held("lags") {
		t.Errorf("one too many: %v", err)
	}
	longer := incident.Silence{ID: "lags", EndsAt: at(30 * time.Minute)}
	if s, err := d.UpdateSilence(t.Context(), longer, "ann"); err != nil || !s.EndsAt.Equal(longer.EndsAt) {
		t.Errorf("what is not over cannot be made longer: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// TestSilencesHoldMessages: amounts of fraud drift, the rule fires at minute 20 and
// resolves at minute 35. Churn is the proof that the pager is told at all.
func TestSilencesHoldMessages(t *testing.T) {
	for name, c := range map[string]struct {
		before, during time.Duration // what is published before the silence, and while it is active
		want           [3]string     // of fraud: before it, while it is active, behind it
	}{
		"what fires behind it":    {5 * time.Minute, 28 * time.Minute, [3]string{"", "", "firing page 1"}},
		"what ended under it":     {5 * time.Minute, time.Hour, [3]string{}},
		"the end of what is told": {28 * time.Minute, time.Hour, [3]string{"firing page 1", "firing page 1, resolved page 1", "firing page 1, resolved page 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := emptyWorld(t, hour())
			st := open(t, newSweep(w).prepared)
			defer st.Close()
			pager := &person{}
			o := w.addressed(w.options(st), alert.RouteSpec{Receiver: "pager"}, map[string]*person{"pager": pager})
			o.Rules = w.rules(
				alert.Spec{Name: "Drift", Window: 5 * time.Minute, Model: "fraud", Feature: "amount", Expr: "psi_debiased > 0.1 and n >= 100", For: alert.Hold{Windows: 2}, Severity: "page"},
				alert.Spec{Name: "Busy", Window: 5 * time.Minute, Model: "churn", Expr: "events > 0", Severity: "ticket"},
			)
			d, stop := w.start(o)
			heard := func(model string) string {
				pager.mu.Lock()
				defer pager.mu.Unlock()
				var out []string
				for _, g := range pager.told {
					if g.Labels["model"] == model {
						out = append(out, fmt.Sprintf("%s %s %d", g.Status, g.Severity, g.Firing+g.Ended))
					}
				}
				return strings.Join(out, ", ")
			}
			hears := func(what string) {
				t.Helper()
				w.until(func() bool { return heard("fraud") == what && heard("churn") != "" }, "the pager has heard %q", what)
			}
			w.publishSpan(0, c.before)
			w.caughtUp(d)
			if c.before > 20*time.Minute {
				hears(c.want[0])
			}
			s, err := d.CreateSilence(t.Context(), incident.Silence{Kind: incident.KindSilence, Matchers: []string{"model=fraud", "severity=page"}, StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour), Comment: "x"}, "ann")
			if err != nil {
				t.Fatal(err)
			}
			w.publishSpan(c.before, c.during)
			w.caughtUp(d)
			hears(c.want[1])
			if c.want[2] != c.want[1] {
				w.until(func() bool { n := d.Snapshot().Notifier; return n.Pending > 0 && n.Oldest.IsZero() }, "what is held is owed, and not late")
			}
			if _, err := d.ExpireSilence(t.Context(), s.ID, "ann"); err != nil {
				t.Fatal(err)
			}
			w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "nothing is owed")
			hears(c.want[2])
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestMutedRoute: a route that is muted at all times tells nobody, and one that is not
// tells of the same.
func TestMutedRoute(t *testing.T) {
	w := emptyWorld(t, hour())
	st := open(t, newSweep(w).prepared)
	defer st.Close()
	pager, chat := &person{}, &person{}
	o := w.addressed(w.options(st), alert.RouteSpec{Receiver: "chat", Routes: []alert.RouteSpec{
		{Receiver: "pager", Match: map[string]string{"severity": "page"}, MuteTimeIntervals: []string{"always"}, Continue: true},
		{Receiver: "chat", Match: map[string]string{"severity": "page"}, ActiveTimeIntervals: []string{"always"}},
	}}, map[string]*person{"pager": pager, "chat": chat})
	o.TimeIntervals = incident.TimeIntervals{"always": {incident.TimeInterval{}}}
	o.Rules = w.rules(alert.Spec{Name: "Busy", Window: 5 * time.Minute, Model: "fraud", Expr: "events > 0", Severity: "page"})
	w.publishSpan(0, 15*time.Minute)
	d, stop := w.start(o)
	w.caughtUp(d)
	w.until(func() bool { return len(chat.heard()) > 0 }, "the chat is told")
	if err := stop(); err != nil { // which lets receivers be told what is due
		t.Fatal(err)
	}
	if got := pager.heard(); len(got) > 0 {
		t.Errorf("the pager heard %q", got)
	}
}

// said words the alerts of a rule on fraud, and checks who heard of each.
func (w *world) said(st *store.Store, rule string) (out []string) {
	w.t.Helper()
	entries, err := st.Entries(0, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		var a ledger.Alert
		if e.Kind != ledger.KindAlert || e.Model != "fraud" {
			continue
		}
		if err := json.Unmarshal(e.Body, &a); err != nil {
			w.t.Fatal(err)
		}
		if a.Rule != rule {
			continue
		}
		w.heard.mu.Lock()
		heard := w.heard.got[e.ID] > 0
		w.heard.mu.Unlock()
		if heard == (a.Muted != "") {
			w.t.Errorf("heard %v, muted %q: %s", heard, a.Muted, e.Body)
		}
		text := fmt.Sprint(a.Status, " ", a.Severity, " at ", e.Time.Sub(w.scenario.Start))
		if a.Muted != "" {
			text += " muted"
		}
		if a.Annotations["expected"] != "" {
			text += " expected"
		}
		out = append(out, text)
	}
	return out
}

// TestMaintenance: amounts of fraud drift from minute 10 to 30, and the rule fires at
// minute 20, after two windows of five minutes. What a maintenance holds data of is
// told to nobody, and what still fires behind it starts anew.
func TestMaintenance(t *testing.T) {
	w := newWorld(t, hour())
	prepared := newSweep(w).prepared
	for name, c := range map[string]struct {
		kind     incident.SilenceKind
		from, to time.Duration
		matchers []string
		want     []string
		retrains int
	}{
		"none":              {incident.KindMaintenance, 0, time.Hour, []string{"model=churn"}, []string{"firing page at 20m0s", "resolved page at 35m0s"}, 1},
		"of another signal": {incident.KindMaintenance, 0, time.Hour, []string{"model=fraud", "feature!=amount"}, []string{"firing page at 20m0s", "resolved page at 35m0s"}, 1},
		"all of it":         {incident.KindMaintenance, 0, time.Hour, []string{"feature=amount", "severity=page"}, []string{"firing page at 20m0s muted", "resolved page at 35m0s muted"}, 0},
		"over before":       {incident.KindMaintenance, 0, 15 * time.Minute, []string{"model=fraud"}, []string{"firing page at 20m0s", "resolved page at 35m0s"}, 1},
		"begins behind":     {incident.KindMaintenance, 20 * time.Minute, time.Hour, []string{"model=fraud"}, []string{"firing page at 20m0s", "resolved page at 35m0s"}, 1},
		"still fires":       {incident.KindMaintenance, 0, 17 * time.Minute, []string{"model=fraud"}, []string{"firing page at 20m0s muted", "resolved page at 25m0s muted", "firing page at 30m0s", "resolved page at 35m0s"}, 1},
		"ends before that":  {incident.KindMaintenance, 0, 22 * time.Minute, []string{"model=fraud"}, []string{"firing page at 20m0s muted", "resolved page at 30m0s muted"}, 0},
		"expected":          {incident.KindExpected, 0, 17 * time.Minute, []string{"model=fraud"}, []string{"firing ticket at 20m0s expected", "resolved ticket at 35m0s"}, 1},
		"expected, later":   {incident.KindExpected, 20 * time.Minute, time.Hour, []string{"model=fraud"}, []string{"firing page at 20m0s", "resolved page at 35m0s"}, 1},
		"a silence":         {incident.KindSilence, 0, 100 * 365 * 24 * time.Hour, []string{"model=fraud"}, []string{"firing page at 20m0s", "resolved page at 35m0s"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			dir := w.copyOf(prepared)
			w.silence(dir, w.silenceOf(c.kind, c.from, c.to, c.matchers...))
			st := open(t, dir)
			defer st.Close()
			w.heard.got = map[string]int{}
			d, stop := w.start(w.options(st))
			w.caughtUp(d)
			w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "everybody is told")
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			if got := w.said(st, "FeatureDrift"); !slices.Equal(got, c.want) {
				t.Errorf("the ledger says\n%q, want\n%q", got, c.want)
			}
			if n := d.Snapshot().Triggers[api.Trigger{Kind: "retrain", Model: "fraud", Outcome: "issued"}]; n != uint64(c.retrains) {
				t.Errorf("%d retrains, want %d", n, c.retrains)
			}
		})
	}
}

// TestCrashInAMaintenance crashes now and then while a maintenance holds and ends:
// nothing in the store may tell that it happened.
func TestCrashInAMaintenance(t *testing.T) {
	w := newWorld(t, hour())
	s := newSweep(w)
	w.silence(s.prepared, w.silenceOf(incident.KindMaintenance, 0, 17*time.Minute, "model=fraud"), w.silenceOf(incident.KindExpected, 0, time.Hour, "model=churn"))
	want := s.end(s.copyOf(s.prepared))
	if text := strings.Join(want, "\n"); !strings.Contains(text, `"muted"`) || !strings.Contains(text, `is over; what still fires`) || !strings.Contains(text, `"expected"`) {
		t.Fatal("the story did not happen")
	}
	s.all(want, 4, 1)
}

// TestDriftInAMaintenance: amounts drift from 14h30 to 16h30. An incident that begins in
// a maintenance is told to nobody and draws nothing; what still drifts behind it is found
// anew. An expected one is a ticket.
func TestDriftInAMaintenance(t *testing.T) {
	newWorld(t, calibrated()).driftIn([]driftCase{
		{"none", incident.KindMaintenance, 0, 14 * time.Hour, []string{"firing page", "resolved page"}, 1},
		{"all of it", incident.KindMaintenance, 0, 24 * time.Hour, []string{"firing page muted", "resolved page muted"}, 0},
		{"it still drifts", incident.KindMaintenance, 0, 15*time.Hour + 2*time.Minute, []string{"firing page muted", "resolved page muted", "firing page", "resolved page"}, 1},
		{"an expected page", incident.KindExpected, 0, 24 * time.Hour, []string{"firing ticket expected", "resolved ticket expected"}, 0},
	})
}

// TestDriftThatGrows: a small drift of amounts is a ticket at 15h40 and, when age drifts
// as well, a page at 16h55. Whose beginning was told is told on in a maintenance, as a
// ticket; what was expected at the beginning may page later.
func TestDriftThatGrows(t *testing.T) {
	s := calibrated()
	first := &s.Injections[0]
	first.Amount, first.To = 0.2, first.From+4*time.Hour
	s.Injections = append(s.Injections, sim.Injection{Model: "fraud", Feature: "age", Effect: sim.Shift, Amount: 0.8, From: first.From + 2*time.Hour, To: first.To})
	newWorld(t, s).driftIn([]driftCase{
		{"in a maintenance", incident.KindMaintenance, 16 * time.Hour, 24 * time.Hour, []string{"firing ticket", "firing ticket expected", "resolved ticket expected"}, 0},
		{"as expected", incident.KindExpected, 16 * time.Hour, 24 * time.Hour, []string{"firing ticket", "firing ticket expected", "resolved ticket expected"}, 0},
		{"more than expected", incident.KindExpected, 0, 16 * time.Hour, []string{"firing ticket expected", "firing page", "resolved page"}, 1},
		{"all in a maintenance", incident.KindMaintenance, 0, 24 * time.Hour, []string{"firing ticket muted", "firing page muted", "resolved page muted"}, 0},
	})
}

// A driftCase is a silence of fraud, and what the ledger says of its drift then.
type driftCase struct {
	name     string
	kind     incident.SilenceKind
	from, to time.Duration
	want     []string
	spent    int // pages drawn
}

func (w *world) driftIn(cases []driftCase) {
	outer := w.t
	defer func() { w.t = outer }()
	prepared := newSweep(w).prepared
	for _, c := range cases {
		outer.Run(c.name, func(t *testing.T) {
			w.t = t
			dir := w.copyOf(prepared)
			w.silence(dir, w.silenceOf(c.kind, c.from, c.to, "model=fraud"))
			st := open(t, dir)
			defer st.Close()
			w.heard.got = map[string]int{}
			d, stop := w.start(within(w.options(st), w))
			w.until(func() bool {
				s := d.Snapshot()
				for _, a := range s.Alerts {
					if a.Rule == alert.RuleDrift && (a.Shadow || c.spent == 0 && a.Muted == "" && a.Severity != "ticket") {
						t.Errorf("an incident is shown as %+v, %s", a.State, a.Severity)
					}
				}
				return s.Stream.CommittedSeq == w.last() && s.Notifier.Pending == 0
			}, "everything is committed and told")
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, text := range w.said(st, alert.RuleDrift) {
				status, rest, _ := strings.Cut(text, " at ")
				_, marks, _ := strings.Cut(rest, " ")
				if text = strings.TrimSpace(status + " " + marks); len(got) == 0 || got[len(got)-1] != text { // extensions
					got = append(got, text)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("the ledger says %q, want %q", got, c.want)
			}
			if b := d.Snapshot().Budgets; len(b) != 1 || len(b[0].Spent) != c.spent {
				t.Errorf("budgets %+v, want %d pages drawn", b, c.spent)
			}
		})
	}
}
