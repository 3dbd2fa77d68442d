package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/stream"
)

// sceneLength is the event time between two looks at what driftd has decided. It
// is that of the rules' windows; the router acts only between scenes, so that the
// traffic, and with it the ledger, is the same at any speed.
const sceneLength = 5 * time.Minute

// A story plays the traffic scene by scene and notes what it led to.
type story struct {
	*stage
	plan      demoPlan
	talk      io.Writer
	view      *statusLine
	steps     []demoStep
	entries   []ledger.Entry
	published uint64
	rolled    map[string]bool // versions rolled back and not resumed
	last      *api.Snapshot
}

// A demoStep is one thing that the story must lead to.
type demoStep struct {
	Name string  `json:"name"`
	OK   bool    `json:"ok"`
	At   float64 `json:"at_s"` // wall clock since the start

	happened func(*story) bool
}

func newStory(s *stage, p demoPlan, talk io.Writer) *story {
	t := &story{stage: s, plan: p, talk: talk, rolled: map[string]bool{}, view: newStatusLine(talk, p)}
	t.steps = demoSteps(p.scenario)
	return t
}

// play publishes the whole scenario.
func (t *story) play(ctx context.Context) error {
	t.prologue()
	end := t.scenario.Start.Add(t.scenario.Length)
	pace := newPace(t.plan.speed, t.scenario.Start)
	var next event.Event
	more := t.traffic.Next(&next)
	for scene := t.scenario.Start.Add(sceneLength); more || scene.Before(end.Add(sceneLength)); scene = scene.Add(sceneLength) {
		t.announce(scene.Add(-sceneLength))
		for more && next.Time < scene.UnixNano() {
			if err := t.send(ctx, pace, &next); err != nil {
				return err
			}
			more = t.traffic.Next(&next)
		}
		if err := t.curtain(ctx, scene, !more); err != nil {
			return err
		}
		if !more {
			break
		}
	}
	t.view.clear()
	return nil
}

// send publishes one event when its time has come.
func (t *story) send(ctx context.Context, pace *pace, e *event.Event) error {
	if err := pace.until(ctx, e.Time, func(now time.Time, rate float64) { t.view.show(now, rate, t) }); err != nil {
		return err
	}
	t.published++
	return t.publisher.Publish(ctx, stream.OutgoingEvent{
		Subject: event.SubjectTemplate{}.Subject(e), Kind: e.Kind.String(), ID: e.ID, Data: event.AppendJSON(nil, e),
	})
}

// curtain ends a scene: it waits for driftd, tells what was decided, and lets
// the router act.
func (t *story) curtain(ctx context.Context, at time.Time, last bool) error {
	snap, err := t.caughtUp(ctx, last)
	if err != nil {
		return err
	}
	t.last = snap
	if err := t.readLedger(); err != nil {
		return err
	}
	signals, err := t.router.signals()
	if err != nil {
		return err
	}
	for _, s := range signals {
		if s.Type != string(ledger.KindRollback) || last {
			continue
		}
		if _, err := t.traffic.Rollback(s.Model, s.FromVersion, s.ToVersion, at); err != nil {
			return err
		}
		t.rolled[s.FromVersion] = true
		t.say(at, "router", fmt.Sprintf("obeys: %s gives the traffic of v%s to v%s", s.Model, s.FromVersion, s.ToVersion))
	}
	if err := t.release(at); err != nil {
		return err
	}
	for i := range t.steps {
		if s := &t.steps[i]; !s.OK && s.happened(t) {
			s.OK, s.At = true, roundSeconds(time.Since(t.started))
		}
	}
	return nil
}

// release gives a fixed canary its traffic back once nothing is wrong with it.
func (t *story) release(at time.Time) error {
	for _, in := range t.scenario.Injections {
		if in.Effect != sim.Errors || !t.rolled[in.Version] || at.Sub(t.scenario.Start) < in.To {
			continue
		}
		if _, err := t.traffic.Resume(in.Model, in.Version, at); err != nil {
			return err
		}
		delete(t.rolled, in.Version)
		t.say(at, "router", fmt.Sprintf("%s v%s is fixed and gets its share again", in.Model, in.Version))
	}
	return nil
}

// readLedger tells the entries that are new.
func (t *story) readLedger() error {
	for {
		var after uint64
		if n := len(t.entries); n > 0 {
			after = t.entries[n-1].Seq
		}
		batch, err := t.instance.Entries(after, 100)
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, e := range batch {
			t.entries = append(t.entries, e)
			t.tell(e)
		}
	}
}

// tell says what an entry records, in the words that receivers get.
func (t *story) tell(e ledger.Entry) {
	if !notify.Notifies(e) {
		return
	}
	m, err := notify.Describe(e, "")
	if err != nil {
		return
	}
	who := cmp.Or(m.Severity, string(e.Kind))
	if m.Status == "resolved" {
		who = "resolved"
	}
	t.say(e.Time, who, m.Sentence)
}

// alerts counts the alert entries of a status, of one rule or of all.
func (t *story) alerts(rule, status string) (n int) {
	for _, e := range t.entries {
		if e.Kind != ledger.KindAlert {
			continue
		}
		var a ledger.Alert
		if json.Unmarshal(e.Body, &a) == nil && a.Status == status && (rule == "" || a.Rule == rule) {
			n++
		}
	}
	return n
}

// announce says what goes wrong from now on.
func (t *story) announce(from time.Time) {
	for _, in := range t.scenario.Injections {
		at := t.scenario.Start.Add(in.From)
		if !at.Before(from) && at.Before(from.Add(sceneLength)) {
			t.say(at, "inject", in.Say)
		}
	}
}

// say prints one line of the story: the demo clock, who speaks, and what.
func (t *story) say(at time.Time, who, what string) {
	t.view.clear()
	fmt.Fprintf(t.talk, "%s  %-9s %s\n", at.UTC().Format("15:04"), who, what)
}

func (t *story) prologue() {
	speed := "as fast as it goes"
	if t.plan.speed > 0 {
		speed = fmt.Sprintf("at %g times its speed", t.plan.speed)
	}
	fmt.Fprintf(t.talk, "driftd demo: %v of three models' traffic, seed %d, %s\n", t.scenario.Length, t.plan.seed, speed)
	fmt.Fprintf(t.talk, "  pages %s    metrics %s/metrics    fake Slack %s/demo/slack\n", t.instance.URL(), t.instance.URL(), t.instance.URL())
	fmt.Fprintf(t.talk, "  JetStream %s    baselines: %d rows imported    Ctrl-C to quit\n\n", strings.TrimSuffix(t.instance.Embedded.URL(), "/"), t.reference)
}

// A demoOutcome is what `driftd demo -o json` prints (contract.md section 1).
type demoOutcome struct {
	Events          uint64         `json:"events"`
	AlertsFired     int            `json:"alerts_fired"`
	AlertsResolved  int            `json:"alerts_resolved"`
	RetrainTriggers int            `json:"retrain_triggers"`
	RollbackSignals int            `json:"rollback_signals"`
	Notifications   map[string]int `json:"notifications"`
	Lost            int64          `json:"lost"`
	Duplicated      int64          `json:"duplicated"`
	LedgerHead      ledger.Hash    `json:"ledger_head"`
	DurationS       float64        `json:"duration_s"`
	Steps           []demoStep     `json:"steps"`
}

func (t *story) outcome() demoOutcome {
	counted := int64(t.last.Account.Total(drift.Counted))
	o := demoOutcome{
		Events: t.published, AlertsFired: t.alerts("", "firing"), AlertsResolved: t.alerts("", "resolved"),
		RetrainTriggers: t.router.kind[string(ledger.KindRetrain)], RollbackSignals: t.router.kind[string(ledger.KindRollback)],
		Notifications: map[string]int{"slack": len(t.slack.Messages()), "pagerduty": len(t.pager.Calls()), "webhook": len(t.webhook.Calls())},
		Lost:          max(0, int64(t.published)-counted),
		Duplicated:    max(0, counted-int64(t.published)) + int64(t.router.repeats()+t.slack.Duplicates()+t.webhook.Duplicates()),
		DurationS:     roundSeconds(time.Since(t.started)), Steps: t.steps,
	}
	for _, i := range t.pager.Incidents() {
		o.Duplicated += int64(i.Duplicates)
	}
	if n := len(t.entries); n > 0 {
		o.LedgerHead = t.entries[n-1].Hash
	}
	return o
}

func roundSeconds(d time.Duration) float64 { return math.Round(d.Seconds()*100) / 100 }

// ok reports whether every step happened and nothing was lost or doubled.
func (o demoOutcome) ok() bool { return o.missing() == "" }

// missing names what did not happen.
func (o demoOutcome) missing() string {
	var out []string
	for _, s := range o.Steps {
		if !s.OK {
			out = append(out, s.Name)
		}
	}
	if o.Lost > 0 {
		out = append(out, fmt.Sprintf("%d events lost", o.Lost))
	}
	if o.Duplicated > 0 {
		out = append(out, fmt.Sprintf("%d things twice", o.Duplicated))
	}
	return strings.Join(out, ", ")
}

// epilogue sums up for people.
func (t *story) epilogue(w io.Writer, o demoOutcome) {
	fmt.Fprintf(w, "\n%d events in %.1f s, %d lost, %d twice; alerts: %d fired, %d resolved; asked for: %d retraining, %d rollback\n",
		o.Events, o.DurationS, o.Lost, o.Duplicated, o.AlertsFired, o.AlertsResolved, o.RetrainTriggers, o.RollbackSignals)
	for _, s := range o.Steps {
		mark := "ok"
		if !s.OK {
			mark = "MISSING"
		}
		fmt.Fprintf(w, "  %-8s %s\n", mark, s.Name)
	}
	fmt.Fprintf(w, "ledger head %s\n", o.LedgerHead)
}

// demoSteps are what the story must lead to, in order.
func demoSteps(scenario string) []demoStep {
	step := func(name string, happened func(*story) bool) demoStep {
		return demoStep{Name: name, happened: happened}
	}
	ends := []demoStep{
		step("nothing is owed", func(t *story) bool { return t.over() && pending(t.last, true) == 0 }),
		step("the books balance", func(t *story) bool {
			return t.over() && t.last.Account.Balance(t.last.Stream.CommittedSeq) == nil && t.last.Account.Total(drift.Counted) == t.published
		}),
		step("the ledger proves itself", func(t *story) bool {
			if !t.over() {
				return false
			}
			_, err := t.instance.VerifyLedger(context.Background())
			return err == nil
		}),
	}
	if scenario == "quiet" {
		return append([]demoStep{step("nobody was disturbed", func(t *story) bool { return t.over() && len(t.slack.Calls()) == 0 && len(t.pager.Calls()) == 0 })}, ends...)
	}
	return append([]demoStep{
		step("quiet while nothing is wrong", func(t *story) bool { return t.justBefore(demoStory().AmountFrom) && len(t.slack.Calls()) == 0 }),
		step("drift of amount seen", func(t *story) bool { return t.alerts("AmountDrift", "firing") > 0 }),
		step("alert in fake Slack", func(t *story) bool { return len(t.slack.Messages()) > 0 }),
		step("alert in fake PagerDuty", func(t *story) bool { return len(t.pager.Incidents()) > 0 }),
		step("retrain trigger with manifest", func(t *story) bool { return t.manifests() > 0 }),
		step("category outage seen", func(t *story) bool { return t.alerts("NewCategories", "firing") > 0 }),
		step("missing values seen", func(t *story) bool { return t.alerts("MissingValues", "firing") > 0 }),
		step("rollback signal", func(t *story) bool { return t.router.kind[string(ledger.KindRollback)] > 0 }),
		step("the router obeyed", func(t *story) bool { return t.rolled["42"] }),
		step("recovery", func(t *story) bool { return t.alerts("AmountDrift", "resolved") > 0 }),
		step("every alert resolved", func(t *story) bool {
			return t.alerts("", "firing") > 0 && t.alerts("", "firing") == t.alerts("", "resolved")
		}),
		step("every incident of fake PagerDuty resolved", func(t *story) bool {
			return len(t.pager.Incidents()) > 0 && !slices.ContainsFunc(t.pager.Incidents(), open)
		}),
	}, ends...)
}
