package notify_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

// A receiver that somebody has repaired is tried at once, whatever it asked for before;
// one of which a reload changed nothing waits on.
func TestHurry(t *testing.T) {
	busy := func(reason notify.Reason) func(ledger.Delivery, int) error {
		return func(_ ledger.Delivery, nth int) error {
			if nth == 1 {
				return &notify.Error{Reason: reason, RetryAfter: time.Hour, Err: errors.New("busy")}
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		reason notify.Reason
		do     func(d *notify.Dispatcher, now notify.Receiver) error
		fails  int // reads and writes of the outbox
		want   []string
	}{
		"somebody has seen it well":      {notify.ReasonServer, func(d *notify.Dispatcher, _ notify.Receiver) error { d.Hurry("r"); return nil }, 0, []string{"1@0s", "1@1m0s"}},
		"it had asked for quiet":         {notify.ReasonRateLimited, func(d *notify.Dispatcher, _ notify.Receiver) error { d.Hurry("r"); return nil }, 0, []string{"1@0s", "1@1m0s"}},
		"the outbox fails, then answers": {notify.ReasonServer, func(d *notify.Dispatcher, _ notify.Receiver) error { d.Hurry("r"); return nil }, 1, []string{"1@0s", "1@1m5s"}},
		"another receiver is well":       {notify.ReasonServer, func(d *notify.Dispatcher, _ notify.Receiver) error { d.Hurry("q"); return nil }, 0, []string{"1@0s"}},
		"a reload has changed it": {notify.ReasonServer, func(d *notify.Dispatcher, now notify.Receiver) error {
			now.Identity = "b"
			return d.Replace([]notify.Receiver{now})
		}, 0, []string{"1@0s", "1@1m0s"}},
		"a reload has changed nothing of it": {notify.ReasonServer, func(d *notify.Dispatcher, now notify.Receiver) error { return d.Replace([]notify.Receiver{now}) }, 0, []string{"1@0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSink(busy(c.reason))
				out, r := &outbox{}, notify.Receiver{Name: "r", Sink: s, Identity: "a"}
				out.put(owe("r", 1, "a"))
				d := start(t, out, notify.Options{Poll: 5 * time.Second}, r)
				elapse(time.Minute)
				out.mu.Lock()
				out.failDue = 2 * c.fails // the look that hurries fails, and so does its reading
				out.mu.Unlock()
				if err := c.do(d, r); err != nil {
					t.Fatal(err)
				}
				elapse(30 * time.Second)
				wantCalls(t, s, c.want...)
			})
		})
	}
}
