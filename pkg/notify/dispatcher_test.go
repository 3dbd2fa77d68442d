package notify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

// A sink that answers from a script by entry and notes when it was called, in
// time since the bubble started.
type sink struct {
	mu     sync.Mutex
	start  time.Time
	calls  []string
	answer func(d ledger.Delivery, nth int) error
	times  map[uint64]int
}

func newSink(answer func(d ledger.Delivery, nth int) error) *sink {
	return &sink{start: time.Now(), answer: answer, times: map[uint64]int{}}
}

func (s *sink) Send(ctx context.Context, d ledger.Delivery) error {
	s.mu.Lock()
	s.times[d.Seq]++
	nth := s.times[d.Seq]
	s.calls = append(s.calls, fmt.Sprintf("%d@%s", d.Seq, time.Since(s.start)))
	s.mu.Unlock()
	if s.answer == nil {
		return nil
	}
	err := s.answer(d, nth)
	if errors.Is(err, errHang) {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (s *sink) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

var errHang = errors.New("hangs until its context ends")

func server500() error {
	return &notify.Error{Reason: notify.ReasonServer, Err: errors.New("status 500")}
}

func owe(receiver string, seq uint64, order string) ledger.Delivery {
	return ledger.Delivery{
		Receiver: receiver, Seq: seq, Order: order, IssuedAt: time.Now(),
		Entry: ledger.Entry{Seq: seq, ID: fmt.Sprintf("id-%d", seq)},
	}
}

// start runs a dispatcher in the bubble and ends it with the test.
func start(t *testing.T, out notify.Outbox, o notify.Options, rs ...notify.Receiver) *notify.Dispatcher {
	t.Helper()
	d, err := notify.NewDispatcher(out, rs, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	synctest.Wait()
	return d
}

// elapse lets the bubble's clock run and everything due by then finish.
func elapse(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func stats(t *testing.T, d *notify.Dispatcher) []notify.Stats {
	t.Helper()
	s, err := d.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantCalls(t *testing.T, s *sink, want ...string) {
	t.Helper()
	if got := s.got(); !slices.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
}

func TestDispatcherSendsInOrderAndSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, s := &outbox{}, newSink(nil)
		for seq := range uint64(200) { // more than a batch of 64
			out.put(owe("r", seq+1, fmt.Sprint(seq%3)))
		}
		d := start(t, out, notify.Options{}, notify.Receiver{Name: "r", Sink: s})
		if st := stats(t, d)[0]; st.Sent != 200 || st.Pending != 0 || !st.Oldest.IsZero() {
			t.Errorf("stats %+v, want 200 sent and nothing pending", st)
		}
		for i, call := range s.got() {
			if want := fmt.Sprintf("%d@0s", i+1); call != want {
				t.Fatalf("call %d is %s, want %s", i, call, want)
			}
		}
	})
}

func TestDispatcherWakesAndPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, s := &outbox{}, newSink(nil)
		d := start(t, out, notify.Options{Poll: 5 * time.Second}, notify.Receiver{Name: "r", Sink: s})
		elapse(time.Second)
		out.put(owe("r", 1, "a"))
		d.Wake()
		d.Wake()
		synctest.Wait()
		wantCalls(t, s, "1@1s")
		elapse(time.Second)
		out.put(owe("r", 2, "a")) // nobody wakes it: found by the poll, 5 s after the last look
		elapse(10 * time.Second)
		wantCalls(t, s, "1@1s", "2@6s")
	})
}

func TestFailureHoldsBackOnlyItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(func(d ledger.Delivery, nth int) error {
			if d.Seq == 1 && nth <= 2 {
				return server500()
			}
			return nil
		})
		other := newSink(func(ledger.Delivery, int) error { return errHang })
		out := &outbox{}
		out.put(owe("r", 1, "a"), owe("r", 2, "b"), owe("r", 3, "a"), owe("dead", 4, "a"))
		d := start(t, out, notify.Options{SendTimeout: time.Minute}, notify.Receiver{Name: "r", Sink: s}, notify.Receiver{Name: "dead", Sink: other})
		wantCalls(t, s, "1@0s", "2@0s")
		if st := stats(t, d)[0]; st.Pending != 2 || st.Failed[notify.ReasonServer] != 1 || st.Sent != 1 || st.LastError != "status 500" {
			t.Errorf("stats %+v", st)
		}
		elapse(10 * time.Second)
		var order []string
		for _, c := range s.got() {
			order = append(order, c[:1])
		}
		if want := []string{"1", "2", "1", "1", "3"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
		elapse(time.Minute)
		if st := stats(t, d)[1]; st.Failed[notify.ReasonTimeout] != 1 {
			t.Errorf("hanging receiver: %+v, want one timeout", st)
		}
	})
}

// An Outbox that looks at NextAt alone returns later deliveries of a held
// order; the worker keeps them back while it lives.
func TestWorkerHoldsOrderOfNaiveOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(func(d ledger.Delivery, nth int) error {
			if d.Seq == 1 && nth == 1 {
				return server500()
			}
			return nil
		})
		out := naive{&outbox{}}
		out.put(owe("r", 1, "a"), owe("r", 2, "a"))
		start(t, out, notify.Options{}, notify.Receiver{Name: "r", Sink: s})
		elapse(100 * time.Millisecond)
		wantCalls(t, s, "1@0s")
		elapse(5 * time.Second)
		if got := s.got(); len(got) != 3 || got[2][0] != '2' {
			t.Errorf("calls %v, want 2 after both tries of 1", got)
		}
	})
}

type naive struct{ *outbox }

func (n naive) Due(receiver string, now time.Time, limit int, _ bool) ([]ledger.Delivery, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(n.of(receiver), func(d ledger.Delivery) bool { return d.NextAt.After(now) }), nil
}

func TestBackoffGrowsToItsCapWithSeededJitter(t *testing.T) {
	waits := func(seed uint64) (w []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			var last time.Time
			s := newSink(func(ledger.Delivery, int) error {
				if !last.IsZero() {
					w = append(w, time.Since(last))
				}
				last = time.Now()
				return server500()
			})
			out := &outbox{}
			out.put(owe("r", 1, "a"))
			start(t, out, notify.Options{Seed: seed, Poll: time.Hour}, notify.Receiver{Name: "r", Sink: s})
			elapse(time.Hour)
		})
		return w
	}
	first := waits(1)
	for i, w := range first {
		// 1 s doubled by every failure up to 5 min, of which half is random.
		full := min(time.Second<<i, 5*time.Minute)
		if w < full/2 || w > full {
			t.Errorf("wait %d is %v, want %v to %v", i+1, w, full/2, full)
		}
	}
	if len(first) < 12 {
		t.Errorf("%d retries in an hour, want at least 12: 9 minutes of growth, then every 5", len(first))
	}
	if again := waits(1); !slices.Equal(first, again) {
		t.Errorf("seed 1 gave %v, then %v", first, again)
	}
	if other := waits(2); slices.Equal(first, other) {
		t.Error("seed 2 gave the jitter of seed 1")
	}
}

func TestRetryAfter(t *testing.T) {
	for name, c := range map[string]struct {
		reason notify.Reason
		ask    time.Duration
		want   []string
	}{
		// 429 is about the receiver: nothing goes out until it is over.
		"429 pauses the receiver": {notify.ReasonRateLimited, 30 * time.Second, []string{"1@0s", "1@30s", "2@30s"}},
		// 503 is about this call: only its order waits.
		"503 holds its order":    {notify.ReasonServer, 30 * time.Second, []string{"1@0s", "2@0s", "1@30s"}},
		"absurd asks are capped": {notify.ReasonServer, 1000 * time.Hour, []string{"1@0s", "2@0s", "1@1h0m0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSink(func(d ledger.Delivery, nth int) error {
					if d.Seq == 1 && nth == 1 {
						return &notify.Error{Reason: c.reason, RetryAfter: c.ask, Err: errors.New("busy")}
					}
					return nil
				})
				out := &outbox{}
				out.put(owe("r", 1, "a"), owe("r", 2, "b"))
				d := start(t, out, notify.Options{}, notify.Receiver{Name: "r", Sink: s})
				d.Wake()
				synctest.Wait()
				if until := stats(t, d)[0].PausedUntil; until.IsZero() == (c.reason == notify.ReasonRateLimited) {
					t.Errorf("paused until %v", until)
				}
				elapse(2 * time.Hour)
				wantCalls(t, s, c.want...)
			})
		})
	}
}

func TestDeadLetters(t *testing.T) {
	for name, c := range map[string]struct {
		err     error
		expires time.Duration
		reason  notify.Reason
		calls   int
	}{
		"refused for good":        {err: &notify.Error{Reason: notify.ReasonRejected, Permanent: true, Err: errors.New("status 404: no_service")}, reason: notify.ReasonRejected, calls: 1},
		"expired before the send": {expires: -time.Second, reason: notify.ReasonExpired},
		// First retry after at most 1 s, the second would be at most 2 s later.
		"expired while retrying": {err: server500(), expires: 1100 * time.Millisecond, reason: notify.ReasonExpired, calls: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSink(func(d ledger.Delivery, _ int) error {
					if d.Seq == 1 {
						return c.err
					}
					return nil
				})
				out := &outbox{}
				doomed := owe("r", 1, "a")
				if c.expires != 0 {
					doomed.ExpiresAt = time.Now().Add(c.expires)
				}
				out.put(doomed, owe("r", 2, "a"))
				var seen []notify.Attempt
				d := start(t, out, notify.Options{Seed: 3, Observe: func(a notify.Attempt) { seen = append(seen, a) }}, notify.Receiver{Name: "r", Sink: s})
				elapse(time.Minute)
				st := stats(t, d)[0]
				if len(out.dead) != 1 || st.Dead != 1 || st.Failed[c.reason] != 1 || st.Sent != 1 {
					t.Fatalf("dead %+v, stats %+v", out.dead, st)
				}
				if dead := out.dead[0]; dead.LastError == "" || dead.Attempt != c.calls+btoi(c.reason == notify.ReasonExpired) {
					t.Errorf("dead letter %+v after %d calls", dead, c.calls)
				}
				if got := len(s.got()) - 1; got != c.calls {
					t.Errorf("%d calls, want %d", got, c.calls)
				}
				if last := seen[len(seen)-1]; last.Outcome.Result != notify.Delivered || last.Delivery.Seq != 2 {
					t.Errorf("last attempt %+v, want the next of the order delivered", last)
				}
			})
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestRateLimits(t *testing.T) {
	for name, c := range map[string]struct {
		limit *notify.Limiter
		per   time.Duration
		most  int
		total time.Duration // for 300 deliveries
	}{
		"slack: a message a second":    {notify.SlackLimit(), time.Second, 1, 299 * time.Second},
		"pagerduty: 120 in any minute": {notify.PagerDutyLimit(), time.Minute, 120, 280 * 600 * time.Millisecond},
		"none":                         {nil, time.Second, 300, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var at []time.Time
				began := time.Now()
				s := newSink(func(ledger.Delivery, int) error { at = append(at, time.Now()); return nil })
				out := &outbox{}
				for seq := range uint64(300) {
					out.put(owe("r", seq+1, ""))
				}
				start(t, out, notify.Options{}, notify.Receiver{Name: "r", Sink: s, Limit: c.limit})
				elapse(10 * time.Minute)
				if len(at) != 300 || at[299].Sub(began) != c.total {
					t.Fatalf("%d sent, the last after %v, want 300 and %v", len(at), at[len(at)-1].Sub(began), c.total)
				}
				for i := c.most; i < len(at); i++ {
					if span := at[i].Sub(at[i-c.most]); span < c.per {
						t.Fatalf("%d calls in %v, allowed are %d", c.most+1, span, c.most)
					}
				}
			})
		})
	}
}

func TestDrain(t *testing.T) {
	t.Run("sends what is due and leaves retries owed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSink(func(d ledger.Delivery, _ int) error {
				if d.Seq == 1 {
					return server500()
				}
				return nil
			})
			out := &outbox{}
			d := start(t, out, notify.Options{}, notify.Receiver{Name: "r", Sink: s, Limit: notify.SlackLimit()})
			out.put(owe("r", 1, "a"))
			for seq := range uint64(3) {
				out.put(owe("r", seq+2, "b"))
			}
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := d.Drain(ctx); err != nil {
				t.Fatal(err)
			}
			// Four calls at one a second; the retry of 1 is not waited for.
			if took := time.Since(began); took != 3*time.Second {
				t.Errorf("drain took %v, want 3s", took)
			}
			if st := stats(t, d)[0]; st.Pending != 1 || st.Sent != 3 {
				t.Errorf("stats %+v, want 3 sent and the failed one owed", st)
			}
			if err := d.Drain(ctx); err != nil {
				t.Errorf("second drain: %v", err)
			}
		})
	})
	t.Run("cuts off at its bound without counting a failure", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSink(func(ledger.Delivery, int) error { return errHang })
			out := &outbox{}
			out.put(owe("r", 1, "a"))
			d := start(t, out, notify.Options{SendTimeout: time.Hour}, notify.Receiver{Name: "r", Sink: s})
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := d.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v, want deadline exceeded", err)
			}
			if st := stats(t, d)[0]; st.Pending != 1 || len(st.Failed) != 0 || out.owed[0].Attempt != 0 {
				t.Errorf("stats %+v, owed %+v: want it owed and untried", st, out.owed)
			}
		})
	})
	t.Run("cuts off the wait for a rate limit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			out := &outbox{}
			out.put(owe("r", 1, "a"), owe("r", 2, "a"))
			d := start(t, out, notify.Options{}, notify.Receiver{Name: "r", Sink: newSink(nil), Limit: notify.NewLimiter(time.Hour, 0)})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := d.Drain(ctx); err == nil {
				t.Error("no error though one is unsent")
			}
			if st := stats(t, d)[0]; st.Pending != 1 || st.Sent != 1 {
				t.Errorf("stats %+v", st)
			}
		})
	})
	t.Run("before Run", func(t *testing.T) {
		d, err := notify.NewDispatcher(&outbox{}, nil, notify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Drain(t.Context()); err != nil {
			t.Errorf("drain: %v", err)
		}
		if err := d.Run(t.Context()); err != nil {
			t.Errorf("run: %v", err)
		}
		if err := d.Run(t.Context()); err == nil {
			t.Error("second run gave no error")
		}
	})
}

// A store that cannot record a delivery must not make the receiver hear of it
// twice.
func TestStoreFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink(nil)
		out := &outbox{failDue: 1, failSettle: 2}
		out.put(owe("r", 1, "a"), owe("r", 2, "a"))
		d := start(t, out, notify.Options{Poll: 5 * time.Second}, notify.Receiver{Name: "r", Sink: s})
		if st := stats(t, d)[0]; st.Failed[notify.ReasonStore] != 1 || st.Pending != 2 {
			t.Errorf("after a failed read: %+v", st)
		}
		elapse(30 * time.Second)
		// Read fails at 0 s; sent at 5 s, recorded at the third try, 15 s.
		wantCalls(t, s, "1@5s", "2@15s")
		if st := stats(t, d)[0]; st.Failed[notify.ReasonStore] != 3 || st.Pending != 0 || st.Sent != 2 {
			t.Errorf("stats %+v", st)
		}
		if want := []string{"r 1 delivered", "r 2 delivered"}; !slices.Equal(out.log, want) {
			t.Errorf("settled %v, want %v", out.log, want)
		}
	})
}

type unowed struct{ outbox }

func (*unowed) Owed(string) (int, time.Time, error) {
	return 0, time.Time{}, errors.New("disk is gone")
}

func TestStatsSaysWhenItCannotCount(t *testing.T) {
	d, err := notify.NewDispatcher(&unowed{}, []notify.Receiver{{Name: "r", Sink: newSink(nil)}}, notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := d.Stats(); err == nil || len(s) != 1 {
		t.Errorf("stats %v, error %v", s, err)
	}
}

func TestNewDispatcherRefuses(t *testing.T) {
	s := newSink(nil)
	for name, rs := range map[string][]notify.Receiver{
		"no name":  {{Sink: s}},
		"no sink":  {{Name: "a"}},
		"the same": {{Name: "a", Sink: s}, {Name: "a", Sink: s}},
	} {
		if _, err := notify.NewDispatcher(&outbox{}, rs, notify.Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestResultsHaveNames(t *testing.T) {
	if got := []string{notify.Delivered.String(), notify.Retry.String(), notify.Dead.String(), notify.Result(0).String()}; !slices.Equal(got, []string{"delivered", "retry", "dead", "unknown"}) {
		t.Errorf("results %v", got)
	}
}
