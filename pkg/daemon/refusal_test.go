package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

// A picky receiver refuses for good until it is told not to, and remembers what
// it accepted.
type picky struct {
	mu       sync.Mutex
	refusing bool
	accepted []ledger.Alert
}

func (p *picky) Send(_ context.Context, d ledger.Delivery) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusing {
		return &notify.Error{Reason: notify.ReasonRejected, Permanent: true, Err: errors.New("status 404: no_service")}
	}
	var a ledger.Alert
	if err := json.Unmarshal(d.Entry.Body, &a); err != nil {
		return err
	}
	p.accepted = append(p.accepted, a)
	return nil
}

func (p *picky) refuse(refusing bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = refusing
}

// refusals are the statuses of the alerts about receivers that it was told of.
func (p *picky) refusals() (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.accepted {
		if a.Rule == "DriftdReceiverRejected" {
			out = append(out, a.Status+" "+a.Labels["receiver"])
		}
	}
	return out
}

// TestARefusalIsToldElsewhere: a receiver refuses; another hears of it, once, over
// a restart, and of the end.
func TestARefusalIsToldElsewhere(t *testing.T) {
	w := newWorld(t, hour())
	dir := newSweep(w).prepared
	hook, backup, chat := &picky{refusing: true}, &picky{}, &picky{}
	options := func() daemon.Options {
		st := open(t, dir)
		t.Cleanup(func() { _ = st.Close() })
		o := w.options(st)
		o.Receivers = append(o.Receivers, notify.Receiver{Name: "backup", Sink: backup}, notify.Receiver{Name: "chat", Sink: chat})
		o.Receivers[1].Sink = hook // "people", to whom the routes lead
		o.Rules = w.rules(alert.Spec{Name: "Busy", Window: 5 * time.Minute, Expr: "events > 0"})
		return o
	}
	o := options()
	d, stop := w.start(o)
	w.caughtUp(d)
	firing, resolved := []string{"firing people"}, []string{"firing people", "resolved people"}
	w.until(func() bool { return slices.Equal(backup.refusals(), firing) && slices.Equal(chat.refusals(), firing) }, "both others hear of the refusal")
	if err := errors.Join(stop(), o.Store.Close()); err != nil {
		t.Fatal(err)
	}
	hook.refuse(false)
	o = options()
	o.Rules = nil // Busy resolves, and is accepted
	d, stop = w.start(o)
	w.until(func() bool { return slices.Equal(backup.refusals(), resolved) }, "the refusal has ended")
	w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "everything is told")
	if err := errors.Join(stop(), o.Store.Close()); err != nil {
		t.Fatal(err)
	}
	if got := chat.refusals(); !slices.Equal(got, resolved) {
		t.Errorf("told of %q, want %q", got, resolved)
	}
	if got := hook.refusals(); len(got) != 0 {
		t.Errorf("the receiver was told of its own refusals: %q", got)
	}
}

// TestAReceiverThatIsGoneRefusesNoMore ends the alert with the receiver.
func TestAReceiverThatIsGoneRefusesNoMore(t *testing.T) {
	w := newWorld(t, hour())
	dir := newSweep(w).prepared
	chat := &picky{}
	for _, refuses := range []bool{true, false} {
		st := open(t, dir)
		o := w.options(st)
		o.Receivers[1].Sink = chat // "people"
		if refuses {
			o.Receivers = append(o.Receivers, notify.Receiver{Name: "hook", Sink: &picky{refusing: true}})
			routes, err := alert.CompileRoutes(alert.RouteSpec{
				Receiver: "people", Routes: []alert.RouteSpec{{Receiver: "hook", Match: map[string]string{"alertname": "Busy"}}},
			}, []string{"people", "hook"})
			if err != nil {
				t.Fatal(err)
			}
			o.Routes = routes
			o.Rules = w.rules(alert.Spec{Name: "Busy", Window: 5 * time.Minute, Expr: "events > 0"})
		}
		d, stop := w.start(o)
		w.caughtUp(d)
		want := []string{"firing hook", "resolved hook"}
		if refuses {
			want = want[:1]
		}
		w.until(func() bool { return slices.Equal(chat.refusals(), want) }, "it is told %q", want)
		if err := errors.Join(stop(), st.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAReceiverThatComesAgainMayRefuseAgain: a reload takes it away, and another names
// it anew.
func TestAReceiverThatComesAgainMayRefuseAgain(t *testing.T) {
	w := newWorld(t, hour())
	st := open(t, newSweep(w).prepared)
	defer st.Close()
	chat := &picky{}
	without := w.options(st)
	without.Receivers[1].Sink = chat // "people"
	with := without
	with.Receivers = append(slices.Clone(without.Receivers), notify.Receiver{Name: "hook", Sink: &picky{refusing: true}})
	routes, err := alert.CompileRoutes(alert.RouteSpec{
		Receiver: "people", Routes: []alert.RouteSpec{{Receiver: "hook", Match: map[string]string{"alertname": "Busy"}}},
	}, []string{"people", "hook"})
	if err != nil {
		t.Fatal(err)
	}
	with.Routes, with.Rules, with.ConfigHash = routes, w.rules(alert.Spec{Name: "Busy", Window: 5 * time.Minute, Expr: "events > 0"}), "test2"
	d, stop := w.start(with)
	w.caughtUp(d)
	want := []string{"firing hook"}
	w.until(func() bool { return slices.Equal(chat.refusals(), want) }, "it is told %q", want)
	for _, c := range []struct {
		o    daemon.Options
		tell string
	}{{without, "resolved hook"}, {with, "firing hook"}} { // the end of Busy is owed to it still
		if err := d.Reconfigure(t.Context(), daemon.Reconfiguration{Settings: c.o.Settings, Actor: "test"}); err != nil {
			t.Fatal(err)
		}
		want = append(want, c.tell)
		w.until(func() bool { return slices.Equal(chat.refusals(), want) }, "it is told %q", want)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
