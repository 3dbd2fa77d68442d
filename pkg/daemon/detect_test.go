package daemon_test

import (
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

// calibrated is a model whose reference period is over after 14 hours: 168
// windows of 5 minutes. Half an hour later its amounts shift by .5 standard
// deviations, for two hours.
func calibrated() sim.Scenario {
	const shifted = 14*time.Hour + 30*time.Minute
	return sim.Scenario{
		Name: "calibrated", Start: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), Length: shifted + 5*time.Hour,
		Models: []sim.Model{{
			Name: "fraud", Rate: 0.35, Even: true,
			Versions: []sim.Version{{Name: "1", Share: 1, Latency: sim.Normal{Mean: 12, Sigma: 2}}},
			Features: []sim.Feature{
				{Name: "amount", Dist: sim.Normal{Mean: 100, Sigma: 20}},
				{Name: "age", Dist: sim.Normal{Mean: 40, Sigma: 10}, Missing: 0.02},
				{Name: "country", Categories: []sim.Category{{Name: "DE", Weight: 5}, {Name: "FR", Weight: 3}, {Name: "US", Weight: 2}}},
			},
		}},
		Injections: []sim.Injection{{Model: "fraud", Feature: "amount", Effect: sim.Shift, Amount: 0.5, From: shifted, To: shifted + 2*time.Hour}},
	}
}

// within gives options a budget of two pages in a month.
func within(o daemon.Options, w *world) daemon.Options {
	o.Rules = append(o.Rules[:0:0], alert.HardLimits(5*time.Minute)...)
	o.Receivers = append(o.Receivers, notify.Receiver{Name: "pager", Sink: w.heard})
	o.Detection = daemon.Detection{
		Window: 5 * time.Minute, Reference: 168, MinEvents: 50, Interval: 6 * time.Hour,
		Budget: func(string) *daemon.Budget {
			return &daemon.Budget{Name: "oncall", Receiver: "pager", Pages: 2, Per: 30 * 24 * time.Hour, Weight: 1}
		},
	}
	return o
}

// driftOf returns the alerts and notes of a store's ledger.
func driftOf(t *testing.T, st *store.Store) (out []ledger.Alert) {
	t.Helper()
	entries, err := st.Entries(0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Kind != ledger.KindAlert && e.Kind != ledger.KindNote {
			continue
		}
		var a ledger.Alert
		if err := json.Unmarshal(e.Body, &a); err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

// A shift of half a deviation is one page to the people of the budget, with the
// feature that moved and when, and one resolution.
func TestDriftWithinABudget(t *testing.T) {
	w := newWorld(t, calibrated())
	w.readsTheSame(within, checkBudget, checkIncident)
}

// twice is calibrated with another shift while the first lasts: an hour and a half
// after the page, age shifts by .8 standard deviations.
func twice() sim.Scenario {
	s := calibrated()
	first := &s.Injections[0]
	first.To = first.From + 4*time.Hour
	s.Injections = append(s.Injections, sim.Injection{Model: "fraud", Feature: "age", Effect: sim.Shift, Amount: 0.8, From: first.From + 2*time.Hour, To: first.To})
	return s
}

// The second shift is a page of its own, about an incident of its own that knows
// of the first, which ends in it.
func TestDriftTwice(t *testing.T) {
	w := newWorld(t, twice())
	soon := func(o daemon.Options, w *world) daemon.Options {
		o = within(o, w)
		o.Detection.Interval = 30 * time.Minute
		return o
	}
	w.readsTheSame(soon, func(t *testing.T, s *api.Snapshot) {
		t.Helper()
		if b := s.Budgets[0]; len(b.Spent) != 2 || s.Models[0].Drift.Status.Incident != nil {
			t.Errorf("budget %+v, incident %+v", b, s.Models[0].Drift.Status.Incident)
		}
	}, func(t *testing.T, all []ledger.Alert) {
		t.Helper()
		var lines []string
		for _, a := range all {
			if a.Status != "noted" && a.Change != "extended" {
				lines = append(lines, a.Change+" "+a.Severity)
			}
		}
		if got := strings.Join(lines, ", "); got != "opened page, opened page, superseded page, resolved page" {
			t.Fatalf("alerts: %s", got)
		}
		all = slices.DeleteFunc(all, func(a ledger.Alert) bool { return a.Status == "noted" || a.Change == "extended" })
		first, second, superseded, resolved := all[0], all[1], all[2], all[3]
		if second.Findings[0].Signal != "age" || len(second.Findings) < 2 || second.Findings[1].Signal != "amount" || second.DedupKey == first.DedupKey {
			t.Errorf("second %+v, want age first and amount with it", second)
		}
		if superseded.Status != "resolved" || superseded.DedupKey != first.DedupKey || superseded.EndsAt == nil || !strings.HasSuffix(superseded.Reason, "; it is "+second.DedupKey) {
			t.Errorf("superseded %+v, want the end of the first with the key of the second", superseded)
		}
		if resolved.DedupKey != second.DedupKey {
			t.Errorf("resolved %+v, want the second", resolved)
		}
	})
}

// readsTheSame has daemons read the world's stream in several ways and looks at the
// first: checkpoints, processors and restarts change nothing of what is stored,
// byte for byte.
func (w *world) readsTheSame(
	with func(daemon.Options, *world) daemon.Options, checkSnapshot func(*testing.T, *api.Snapshot), checkLedger func(*testing.T, []ledger.Alert),
) {
	outer := w.t
	defer func() { w.t = outer }()
	var want account
	for _, c := range []struct {
		processors, events, batch int
		restarts                  bool
	}{{2, 1 << 20, 256, false}, {1, 997, 7, false}, {2, 3, 64, false}, {2, 500, 256, true}} {
		outer.Run(fmt.Sprintf("processors=%d,events=%d,batch=%d,restarts=%v", c.processors, c.events, c.batch, c.restarts), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(c.processors))
			w.t = t
			dir := t.TempDir()
			w.prepare(dir)
			run := func(until uint64) account {
				st := open(t, dir)
				defer st.Close()
				o := with(w.options(st), w)
				o.Checkpoint = daemon.Checkpoint{Every: 20 * time.Millisecond, Events: c.events, Bytes: 4 << 20}
				r := stream.DefaultReaderOptions("ML")
				r.BatchMessages = c.batch
				var err error
				if o.Source, err = stream.NewReader(w.conn, r); err != nil {
					t.Fatal(err)
				}
				d, stop := w.start(o)
				w.until(func() bool { return d.Snapshot().Stream.CommittedSeq >= until }, "message %d is committed", until)
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				if until == w.last() {
					checkSnapshot(t, d.Snapshot())
				}
				return w.account(st)
			}
			if c.restarts {
				for part := range uint64(6) {
					run(w.last() / 6 * part)
				}
			}
			got := run(w.last())
			if want == nil {
				want = got
				st := open(t, dir)
				defer st.Close()
				checkLedger(t, driftOf(t, st))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("another way to read the stream changed the store (-want +got):\n%.3000s", diff)
			}
		})
	}
}

// checkBudget looks at the budget after the page.
func checkBudget(t *testing.T, s *api.Snapshot) {
	t.Helper()
	t.Helper()
	if len(s.Budgets) != 1 {
		t.Fatalf("budgets %+v", s.Budgets)
	}
	b := s.Budgets[0]
	if b.Name != "oncall" || b.Models != 1 || b.Pages != 2 || len(b.Spent) != 1 || b.Spent[0].Model != "fraud" || b.Spent[0].Rule != alert.RuleDrift {
		t.Errorf("budget %+v", b)
	}
	d := s.Models[0].Drift
	if d == nil || d.Budget != "oncall" || d.Config.Pages != 1 || d.Status == nil || !d.Status.Judging || d.Status.Windows < 168 || d.Status.Incident != nil {
		t.Errorf("drift %+v", d)
	}
}

func checkIncident(t *testing.T, all []ledger.Alert) {
	t.Helper()
	t.Helper()
	var lines []string
	for _, a := range all {
		lines = append(lines, a.Rule+" "+a.Change+" "+a.Severity)
	}
	if got := strings.Join(lines, ", "); got != "ModelDrift opened page, ModelDrift resolved page" {
		t.Fatalf("alerts: %s", got)
	}
	opened, resolved := all[0], all[1]
	f := opened.Findings[0]
	shifted := calibrated().Injections[0]
	if f.Signal != "amount" || f.Component != "location" || f.Level != "page" || f.Direction != 1 || f.LogR < f.Threshold || f.Distance < 0.08 {
		t.Errorf("finding %+v", f)
	}
	start := calibrated().Start.Add(shifted.From)
	if late := f.Since.Sub(start); late < -5*time.Minute || late > 10*time.Minute {
		t.Errorf("the change began at %v by the alert, at %v in truth", f.Since, start)
	}
	if delay := opened.Window.End.Sub(start); delay > 8*5*time.Minute {
		t.Errorf("told after %v", delay)
	}
	if opened.Budget != "oncall" || opened.Detectable <= 0 || opened.Evidence.Digest == "" || opened.DedupKey == "" || resolved.DedupKey != opened.DedupKey {
		t.Errorf("opened %+v", opened)
	}
	if end := calibrated().Start.Add(shifted.To); resolved.EndsAt.Before(end) {
		t.Errorf("resolved at %v, before the end of the shift at %v", resolved.EndsAt, end)
	}
}

// Until it is known what is normal, what is wrong whatever is normal pages: a
// model that stops or fails, a signal that is gone or another one.
func TestHardLimitsWhileLearning(t *testing.T) {
	s := calibrated()
	s.Length = 6 * time.Hour
	s.Injections = []sim.Injection{
		{Model: "fraud", Effect: sim.Silence, From: time.Hour, To: 90 * time.Minute},
		{Model: "fraud", Effect: sim.Errors, Amount: 0.8, From: 2 * time.Hour, To: 150 * time.Minute},
		{Model: "fraud", Feature: "age", Effect: sim.Nulls, Amount: 0.9, From: 3 * time.Hour, To: 210 * time.Minute},
		{Model: "fraud", Feature: "amount", Effect: sim.Shift, Amount: 3, From: 4 * time.Hour, To: 270 * time.Minute},
	}
	w := newWorld(t, s)
	dir := t.TempDir()
	w.prepare(dir)
	st := open(t, dir)
	defer st.Close()
	if err := w.run(within(w.options(st), w)); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, a := range driftOf(t, st) {
		key := strings.TrimSpace(a.Rule + " " + a.Feature)
		got[key] += fmt.Sprintf("%s %s %v; ", a.Status, a.Severity, a.Window.End.Sub(s.Start))
	}
	for key, want := range map[string]string{
		alert.RuleSilent:             "firing page 1h15m0s; resolved page 1h40m0s; ",
		alert.RuleFails:              "firing page 2h10m0s; resolved page 2h40m0s; ",
		alert.RuleLost + " age":      "firing page 3h10m0s; resolved page 3h40m0s; ",
		alert.RuleBroken + " amount": "firing page 4h10m0s; resolved page 4h40m0s; ",
	} {
		if got[key] != want {
			t.Errorf("%s: %s, want %s", key, got[key], want)
		}
		delete(got, key)
	}
	delete(got, alert.RuleBroken+" error") // most predictions being errors breaks the signal error too
	delete(got, alert.RuleDrift)           // gross breakage, seen by the detectors as well
	if len(got) > 0 {
		t.Errorf("alerts beside these: %v", got)
	}
	for key, n := range w.heard.got {
		if n != 3 { // the signals, the people whom the routes name, and the budget's pager
			t.Errorf("%s was told %d times", key, n)
		}
	}
	r, err := st.Resume()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(r.Progress.Counters), `"spent":{"oncall":[`) {
		t.Errorf("no page was booked: %s", r.Progress.Counters)
	}
}

// A baseline that comes with its past judges drift from the first window on.
func TestHistoryCalibrates(t *testing.T) {
	const past = 14*time.Hour + 30*time.Minute
	w := emptyWorld(t, calibrated())
	start := w.scenario.Start.UnixNano()
	before := func(yield func(*event.Event) bool) {
		w.each(func(e *event.Event) {
			if time.Duration(e.Time-start) < past {
				yield(e)
			}
		})
	}
	builder := drift.NewBuilder(drift.BuilderOptions{Model: "fraud"})
	for e := range before {
		builder.Add(e)
	}
	base := builder.Build(drift.Approved, drift.Origin{Kind: "import", Rows: builder.Rows()})
	learn := func(size time.Duration) *api.History {
		windows, err := base.Part("").History("fraud", size, before)
		if err != nil {
			t.Fatal(err)
		}
		c := detect.DefaultConfig("fraud")
		c.Window, c.Reference = size, 168
		state, rows, err := detect.Learn(&c, base.ID, base.Part(""), windows)
		if err != nil {
			t.Fatal(err)
		}
		// As it would come by HTTP.
		body, err := api.EncodeImport(base, &api.History{State: state, Rows: rows})
		if err != nil {
			t.Fatal(err)
		}
		_, h, err := api.DecodeImport(body)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	st := open(t, t.TempDir())
	defer st.Close()
	d, stop := w.start(within(w.options(st), w))
	if err := d.ImportBaseline(t.Context(), base, learn(time.Minute), "test"); err == nil || !strings.Contains(err.Error(), "windows of 1m0s") {
		t.Errorf("a history in windows of another length: %v", err)
	}
	if err := d.ImportBaseline(t.Context(), base, learn(5*time.Minute), "test"); err != nil {
		t.Fatal(err)
	}
	w.publishSpan(past, math.MaxInt64)
	w.caughtUp(d)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	checkBudget(t, d.Snapshot())
	checkIncident(t, driftOf(t, st))
}
