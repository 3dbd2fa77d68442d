package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/sim"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
)

const tickSubject = "ml.ticks"

// ticks publishes ticks as the daemon's own ticker does.
type ticks struct{ p *stream.Publisher }

func (t ticks) Tick(ctx context.Context, after uint64) error {
	_, err := t.p.Signal(ctx, stream.Signal{Subject: tickSubject, ID: fmt.Sprint("tick:", after), Body: []byte("{}")})
	return err
}

// TestSilence lets one model go quiet while another goes on, and then both: the
// first is noticed by the other's messages, the second by ticks. Time is the
// stream's own, so windows of a second are real seconds here.
func TestSilence(t *testing.T) {
	w := emptyWorld(t, sim.Scenario{})
	pub, err := stream.NewPublisher(w.conn, stream.DefaultPublisherOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	st := open(t, t.TempDir())
	defer st.Close()
	o := w.options(st)
	o.Spec.Pane, o.Spec.Lateness, o.Spec.Sizes = time.Second, 0, []time.Duration{time.Second}
	o.Tick, o.Ticker, o.Idle = tickSubject, ticks{pub}, 300*time.Millisecond
	one := uint64(1)
	o.Rules = w.rules(
		alert.Spec{Name: "Silence", Window: time.Second, Expr: "events == 0", For: alert.Hold{Windows: 2}, Severity: "page"},
		alert.Spec{Name: "High", Window: time.Second, Feature: "x", Expr: "mean > 0", MinN: &one, Severity: "page"},
	)
	d, stop := w.start(o)
	send := func(model string, n int) {
		at := time.Now()
		body := fmt.Sprintf(`{"id":"%s-%d","time":%d,"model":%q,"model_version":"1","features":{"x":1}}`, model, n, at.UnixMilli(), model)
		if _, err := w.conn.JetStream().Publish(t.Context(), "ml.predictions."+model+".1", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	silent := func(model string) bool {
		for _, a := range d.Snapshot().Alerts {
			if a.Active() && a.Series.Rule == "Silence" && a.Series.Model == model {
				return true
			}
		}
		return false
	}
	send("quiet", 0)
	busy := 0
	w.until(func() bool {
		send("busy", busy)
		busy++
		return silent("quiet")
	}, "the silence of one model is noticed while another goes on")
	if silent("busy") {
		t.Error("the busy model is called silent")
	}
	if n := d.Snapshot().Account.Filtered; n != 0 {
		t.Errorf("%d ticks in a stream that is not silent", n)
	}
	w.until(func() bool { return silent("busy") }, "the silence of everything is noticed")
	for _, a := range d.Snapshot().Alerts {
		// No data is not good news: what fired still fires, and says why.
		if a.Series.Rule == "High" && (!a.Active() || a.Flag != alert.NoData) {
			t.Errorf("%s is %s with flag %q, want it firing without data", a.Series, a.Phase, a.Flag)
		}
	}
	if got := d.Snapshot().Account.Filtered; got == 0 {
		t.Error("no tick was published")
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if got := alerts(t, st, "Silence"); len(got) != 2 || got[0].Model != "quiet" || got[1].Model != "busy" {
		t.Errorf("alerts: %+v", got)
	}
	a := accountOf(t, st)
	if want := uint64(busy + 1); a.Accepted != want || a.Total(drift.Counted) != want {
		t.Errorf("account %+v, want %d counted", a, want)
	}
}

// TestALearnedBaselinePagesOnlyWhenApproved follows a model from its first event:
// learning, frozen, drift as a ticket, approved, drift as a page.
func TestALearnedBaselinePagesOnlyWhenApproved(t *testing.T) {
	w := emptyWorld(t, sim.Demo(sim.Story{
		AmountFrom: 25 * time.Minute, AmountTo: time.Hour, ChurnFrom: 45 * time.Minute, ChurnTo: time.Hour,
		CanaryFrom: 0, CanaryTo: time.Second, Length: time.Hour, Rate: 0.7,
	}))
	w.learns = true
	st := open(t, t.TempDir())
	defer st.Close()
	d, stop := w.start(w.options(st))
	states := func() map[string]string {
		out := map[string]string{}
		for _, m := range d.Snapshot().Models {
			out[m.Model] = m.Status
			if m.Baseline != nil {
				out[m.Model] = string(m.Baseline.State)
			}
		}
		return out
	}
	w.publishSpan(0, 10*time.Minute) // a baseline takes 15 minutes and 500 events here
	w.caughtUp(d)
	for model, state := range states() {
		if state != string(drift.Learning) {
			t.Errorf("%s is %s after ten minutes, want learning", model, state)
		}
	}
	w.publishSpan(10*time.Minute, 40*time.Minute)
	w.caughtUp(d)
	baselines := map[string]string{}
	for _, m := range d.Snapshot().Models {
		if m.Baseline == nil || m.Baseline.State != drift.Frozen {
			t.Fatalf("%s has no frozen baseline after forty minutes", m.Model)
		}
		baselines[m.Model] = m.Baseline.ID
	}
	severities := func(st *store.Store, model string) (out []string) {
		for _, a := range alerts(t, st, "FeatureDrift") {
			if a.Model == model && a.Status == "firing" {
				out = append(out, a.Severity)
				if a.Severity == "ticket" != strings.Contains(a.Reason, "approved") {
					t.Errorf("%s of %s: the reason does not say why: %s", a.Severity, model, a.Reason)
				}
			}
		}
		return out
	}
	if got := severities(st, "fraud"); len(got) == 0 || got[0] != "ticket" {
		t.Errorf("drift from a frozen baseline: %v, want tickets", got)
	}
	if err := errors.Join(d.ApproveBaseline(t.Context(), baselines["churn"], "ann")); err != nil {
		t.Fatal(err)
	}
	if got := states(); got["churn"] != "approved" || got["fraud"] != "frozen" {
		t.Errorf("states %v after churn was approved", got)
	}
	w.publishSpan(40*time.Minute, time.Hour)
	w.caughtUp(d)
	if got := severities(st, "churn"); len(got) == 0 || got[0] != "page" {
		t.Errorf("drift from an approved baseline: %v, want pages", got)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	w.retrains(st)
}

// retrains finds a retraining suppressed for fraud, whose baseline nobody
// approved, and one issued for churn.
func (w *world) retrains(st *store.Store) {
	w.t.Helper()
	entries, err := st.Entries(0, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	issued := map[string]int{}
	order, _ := told(w.t, st)
	for _, e := range order {
		if e.Kind == ledger.KindRetrain {
			issued[e.Model]++
		}
	}
	asked := map[string]int{}
	for _, e := range entries {
		if e.Kind == ledger.KindRetrain {
			asked[e.Model]++
		}
	}
	if asked["fraud"] == 0 || issued["fraud"] != 0 || issued["churn"] != 1 {
		w.t.Errorf("retrains asked %v, issued %v: want fraud's suppressed and one of churn", asked, issued)
	}
}
