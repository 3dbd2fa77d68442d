package notify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

// An hour's outage leaves what is true at its end, not a backlog: that of which
// nothing arrived is told once, as unheard.
func TestLatestReplacesWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		s := newSink(func(d ledger.Delivery, _ int) error {
			if !up.Load() {
				return server500()
			}
			if d.Seq == 2 != d.Unheard() {
				t.Errorf("entry %d unheard: %v", d.Seq, d.Unheard())
			}
			return nil
		})
		out := &outbox{}
		out.put(owe("r", 1, "a"))
		d := start(t, out, notify.Options{}, notify.Receiver{Name: "r", Sink: s, Latest: true})
		elapse(30 * time.Minute)
		out.put(owe("r", 2, "a"), owe("r", 3, "b"))
		d.Wake()
		elapse(30 * time.Minute)
		tried := len(s.got())
		up.Store(true)
		elapse(6 * time.Minute) // backoff is 5 minutes at most
		var after []string
		for _, c := range s.got()[tried:] {
			after = append(after, c[:1])
		}
		slices.Sort(after)
		if !slices.Equal(after, []string{"2", "3"}) || stats(t, d)[0].Pending != 0 {
			t.Errorf("after the outage %v, %+v; want 2 and 3 told, and nothing owed", after, stats(t, d)[0])
		}
	})
}

// A thread is a Threader that notes the receipts it was given.
type thread struct {
	mu     sync.Mutex
	got    []string
	answer func(d ledger.Delivery) (string, error)
}

func (s *thread) Send(ctx context.Context, d ledger.Delivery) error {
	_, err := s.SendThread(ctx, d)
	return err
}

func (s *thread) SendThread(_ context.Context, d ledger.Delivery) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, fmt.Sprintf("%d:%s", d.Seq, d.Receipt))
	return s.answer(d)
}

func (s *thread) calls() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.got, " ")
}

func TestReceiptsFollowTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		half := true
		s := &thread{answer: func(d ledger.Delivery) (string, error) {
			switch {
			case d.Seq == 1 && half:
				half = false
				return "m1 without details", errors.New("no details")
			case d.Seq == 4:
				return "", nil
			}
			return fmt.Sprint("m", d.Seq), nil
		}}
		out := &outbox{}
		out.put(owe("r", 1, "a"), owe("r", 2, "b"))
		d := start(t, out, notify.Options{}, notify.Receiver{Name: "r", Sink: s, Latest: true})
		elapse(10 * time.Second)
		if st := stats(t, d)[0]; st.Pending != 0 || st.Sent != 2 {
			t.Errorf("stats %+v, want nothing owed though receipts are kept", st)
		}
		out.put(owe("r", 3, "a"), owe("r", 4, "a"))
		d.Wake()
		synctest.Wait()
		if got, want := s.calls(), "1: 2: 1:m1 without details 4:m1"; got != want {
			t.Errorf("calls %q, want %q", got, want)
		}
		if len(out.owed) != 1 || out.owed[0].Seq != 2 {
			t.Errorf("kept %+v, want only the receipt of the order that goes on", out.owed)
		}
	})
}

// A message that was posted before the process was told to stop is remembered.
func TestReceiptOfACutOffSendIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &outbox{}
		out.put(owe("r", 1, "a"))
		d, err := notify.NewDispatcher(out, []notify.Receiver{{Name: "r", Sink: &halfway{}}}, notify.Options{SendTimeout: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if got := out.owed[0]; got.Receipt != "posted" || got.Told {
			t.Errorf("owed %+v, want its receipt kept", got)
		}
	})
}

// halfway posts a message and then hangs.
type halfway struct{}

func (halfway) Send(context.Context, ledger.Delivery) error { return nil }

func (halfway) SendThread(ctx context.Context, _ ledger.Delivery) (string, error) {
	<-ctx.Done()
	return "posted", ctx.Err()
}
