package daemon_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

// A busy receiver has trouble with its first calls, and refuses the last.
type busy struct{ calls atomic.Int64 }

func (b *busy) Send(context.Context, ledger.Delivery) error {
	switch n := b.calls.Add(1); {
	case n <= 5:
		return &notify.Error{Reason: notify.ReasonServer, Err: errors.New("status 503: come back later")}
	case n == 7:
		return &notify.Error{Reason: notify.ReasonRejected, Permanent: true, Err: errors.New("status 410: gone")}
	}
	return nil
}

// The log has a line when a receiver begins to fail, when it is told again and
// for what is given up; none for each try.
func TestReceiversInTheLog(t *testing.T) {
	w := newWorld(t, hour())
	st := open(t, newSweep(w).prepared)
	defer st.Close()
	o := w.options(st)
	log := &logbook{}
	o.Log, o.Notify = zerolog.New(log), notify.Options{BackoffBase: time.Millisecond, BackoffMax: 5 * time.Millisecond, Poll: 5 * time.Millisecond}
	o.Receivers[1].Sink = &busy{}
	o.Rules = w.rules(alert.Spec{Name: "Busy", Window: 5 * time.Minute, Expr: "events > 0"}) // fires for three models
	d, stop := w.start(o)
	w.caughtUp(d)
	w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "everybody is told, or has refused")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]int{"status 503: come back later": 1, "a receiver is told again": 2, "status 410: gone": 1} {
		text := log.String()
		got := 0
		for l := range strings.SplitSeq(text, "\n") {
			if strings.Contains(l, line) && strings.Contains(l, `"receiver":"people"`) && !strings.Contains(l, "a receiver refuses") {
				got++
			}
		}
		if got != want {
			t.Errorf("%q %d times, want %d in\n%s", line, got, want, text)
		}
	}
}
