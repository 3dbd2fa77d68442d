package notify_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

// TestMain fails a green run that leaves goroutines of ours behind.
func TestMain(m *testing.M) {
	code := m.Run()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if left := ours(); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "goroutines left behind:\n"+left)
		code = 1
	}
	os.Exit(code)
}

// ours lists the goroutines in this module's code other than the caller; those
// that are about to end get a moment.
func ours() string {
	var left []string
	for range 100 {
		buf := make([]byte, 1<<20)
		stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		left = slices.DeleteFunc(stacks[1:], func(s string) bool { return !strings.Contains(s, "driftd/pkg/notify") })
		if len(left) == 0 {
			break
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
	return strings.Join(left, "\n\n")
}

var at = time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)

func fired() ledger.Alert {
	return ledger.Alert{
		Type: "alert", Status: "firing", Rule: "AmountDrift", Model: "fraud", ModelVersion: "42", Variant: "canary",
		Segment: "channel=app", Feature: "amount", Severity: "page", StartsAt: at.Add(time.Hour),
		Window:   ledger.Window{Start: at, End: at.Add(time.Hour)},
		Stats:    map[string]float64{"psi_debiased": 0.3125678, "n": 5000, "mean": 73.1},
		Reason:   "psi_debiased 0.31 > 0.1, n 5000 >= 1000",
		Labels:   map[string]string{"team.name": "risk", "owner": "risk"},
		DedupKey: "01JDEDUP",
	}
}

// explained is fired with all that an explanation has.
func explained() ledger.Alert {
	a := fired()
	a.Stats["psi_p"] = 3.2e-12
	a.Annotations = map[string]string{"runbook_url": "https://wiki.example/amount"}
	a.Explanation = &ledger.Explanation{
		Since: at.Add(-time.Hour), Signal: "amount", PSI: 0.3412,
		Cells: []ledger.Cell{{Name: "> 90", From: 0.1, To: 0.31, Share: 0.69}, {Name: "<= 10", From: 0.1, To: 0.02, Share: 0.21}},
		Compared: &ledger.Histogram{
			Edges: []float64{20, 40, 60, 80}, From: []float64{.1, .2, .4, .2, .1}, To: []float64{.02, .1, .3, .27, .31},
		},
		Versions: []ledger.Share{{Name: "42", Variant: "canary", Weight: 0.2, Share: 0.92, PSI: 1.9}, {Name: "41", Weight: 0.8, Share: 0.08, PSI: 0.004}},
		Segments: []ledger.Share{{Name: "channel=app", Weight: 0.5, Share: 0.95, PSI: 0.6}, {Name: "channel=web", Weight: 0.5, Share: 0.05, PSI: 0.01}},
		Origin:   ledger.OriginRelease, Because: "version 42 brings 92 % of the move with 20 % of the values, and the change began with its first traffic at 2026-01-01 09:00 UTC",
		First: &ledger.First{Name: "amount", Since: at.Add(-time.Hour)},
		Around: []ledger.Occurrence{
			{At: at.Add(-time.Hour), What: "first traffic of version 42, canary, 20 % since the change"},
			{At: at.Add(-2 * time.Hour), What: "configuration loaded by SIGHUP: rules[AmountDrift].expr", Seq: 790},
		},
	}
	return a
}

func resolved() ledger.Alert {
	a := fired()
	end := at.Add(3 * time.Hour)
	a.Status, a.EndsAt, a.Reason = "resolved", &end, "psi_debiased 0.01 < 0.05"
	a.Evidence.Peak = "psi_debiased 0.4 > 0.1"
	return a
}

func retrain() ledger.Retrain {
	return ledger.Retrain{
		Type: "retrain", Model: "fraud", ModelVersion: "42", Reason: "AmountDrift fired", AlertIDs: []string{"01A"},
		Manifest: ledger.Manifest{
			Data:   ledger.ManifestData{Stream: "ML", FromSeq: 1, ToSeq: 99, From: at, To: at.Add(26 * time.Hour)},
			Labels: ledger.ManifestLabels{Count: 812}, Seed: 1234,
		},
	}
}

func rollback() ledger.Rollback {
	return ledger.Rollback{
		Type: "rollback", Model: "fraud", FromVersion: "43", ToVersion: "42", Reason: "errors 0.2 > 0.05",
		Evidence: ledger.RollbackEvidence{Test: "rule:Errors", EValue: 128.4, Alpha: 0.01, NCanary: 4100, NControl: 37000},
	}
}

// bodies is one entry of every kind, with the sentence that tells it.
func kinds() map[ledger.Kind]any {
	return map[ledger.Kind]any{
		ledger.KindAlert: fired(), ledger.KindRetrain: retrain(), ledger.KindRollback: rollback(), ledger.KindPromote: rollback(),
		ledger.KindBaseline: ledger.BaselineChange{Type: "baseline", Action: "approved", Model: "fraud", Baseline: "b1", Origin: "import", Rows: 10, State: "approved", Actor: "ann"},
		ledger.KindConfig:   ledger.ConfigChange{Type: "config", Hash: "sha256:ab", Actor: "start"},
		ledger.KindSilence:  ledger.SilenceChange{Type: "silence", Action: "created", Silence: "01K", Kind: "maintenance", Matchers: []string{`model="fraud"`, "severity=page"}, Comment: "A new shop.", Actor: "ann"},
		ledger.KindEpoch:    ledger.EpochChange{Type: "epoch", Cause: "gap", Stream: "ML", Epoch: 2, From: 5, To: 9},
	}
}

func entry(t *testing.T, c *ledger.Chain, kind ledger.Kind, body any) ledger.Entry {
	t.Helper()
	e, err := c.Append(ledger.Draft{Time: at.Add(time.Hour), Kind: kind, Model: "fraud", Body: body})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func delivery(t *testing.T, kind ledger.Kind, body any) ledger.Delivery {
	t.Helper()
	e := entry(t, &ledger.Chain{Seq: 811}, kind, body) // so that the entry is 812, as in the contract's example
	return ledger.Delivery{Receiver: "r", Entry: e, Seq: e.Seq, Order: "01JDEDUP", IssuedAt: at.Add(61 * time.Minute)}
}

// An outbox in memory. fail, when set, is what Due or Settle answer next.
type outbox struct {
	mu                  sync.Mutex
	owed                []ledger.Delivery
	dead                []ledger.Delivery
	log                 []string
	failDue, failSettle int
}

func (o *outbox) put(ds ...ledger.Delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.owed = append(o.owed, ds...)
}

func (o *outbox) of(receiver string) []ledger.Delivery {
	return slices.DeleteFunc(slices.Clone(o.owed), func(d ledger.Delivery) bool { return d.Receiver != receiver })
}

func (o *outbox) Due(receiver string, now time.Time, limit int, latest bool) ([]ledger.Delivery, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failDue > 0 {
		o.failDue--
		return nil, fmt.Errorf("disk is gone")
	}
	return ledger.Due(slices.Values(o.of(receiver)), now, limit, latest), nil
}

func (o *outbox) Settle(d ledger.Delivery, out notify.Outcome) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failSettle > 0 {
		o.failSettle--
		return fmt.Errorf("disk is full")
	}
	o.log = append(o.log, fmt.Sprintf("%s %d %s", d.Receiver, d.Seq, out.Result))
	i := slices.IndexFunc(o.owed, func(w ledger.Delivery) bool { return w.Receiver == d.Receiver && w.Seq == d.Seq })
	if i < 0 {
		return nil
	}
	if d.Told = out.Result == notify.Delivered && d.Receipt != ""; d.Told || out.Result == notify.Retry {
		o.owed[i] = d
	} else {
		o.owed = slices.Delete(o.owed, i, i+1)
	}
	if out.Result == notify.Dead {
		o.dead = append(o.dead, d)
	}
	if out.Result != notify.Retry {
		o.owed = slices.DeleteFunc(o.owed, func(w ledger.Delivery) bool {
			return slices.ContainsFunc(d.Earlier, func(e ledger.Delivery) bool { return e.Receiver == w.Receiver && e.Seq == w.Seq })
		})
	}
	return nil
}

func (o *outbox) Hurry(receiver string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failDue > 0 {
		o.failDue--
		return fmt.Errorf("disk is gone")
	}
	for i := range o.owed {
		if o.owed[i].Receiver == receiver {
			o.owed[i].Attempt, o.owed[i].NextAt = 0, time.Time{}
		}
	}
	return nil
}

func (o *outbox) Owed(receiver string) (int, time.Time, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	owed := slices.DeleteFunc(o.of(receiver), func(d ledger.Delivery) bool { return d.Told })
	if len(owed) == 0 {
		return 0, time.Time{}, nil
	}
	return len(owed), owed[0].IssuedAt, nil
}

// contextWithin ends after a while if bounded, or else with the test.
func contextWithin(t *testing.T, d time.Duration, bounded bool) (context.Context, context.CancelFunc) {
	if !bounded {
		return context.WithCancel(t.Context())
	}
	return context.WithTimeout(t.Context(), d)
}
