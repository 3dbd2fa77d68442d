package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/store"
	"driftd.dev/driftd/pkg/stream"
	"driftd.dev/driftd/pkg/summary"
)

// published are windows of two of the three models of the story, in two sizes.
var published = daemon.Summaries{MinCount: 11, Sizes: func(model string) []time.Duration {
	return map[string][]time.Duration{"fraud": {5 * time.Minute, time.Hour}, "churn": {5 * time.Minute}}[model]
}}

// A told window is one of DRIFTD, or one that must be there.
type toldWindow struct {
	group      drift.Group
	start, end time.Time
}

// closedWindows returns the digests of what a store has closed of the published sizes.
func (w *world) closedWindows(st *store.Store, s daemon.Summaries) map[toldWindow]string {
	w.t.Helper()
	out := map[toldWindow]string{}
	for _, m := range w.scenario.Models {
		for _, size := range s.Sizes(m.Name) {
			windows, err := st.Windows(store.Query{Model: m.Name, Size: size, Segments: true})
			if err != nil {
				w.t.Fatal(err)
			}
			for _, win := range windows {
				if win.State != drift.Open && (win.Group.Segment == "" || win.Events >= s.MinCount) {
					out[toldWindow{win.Group, win.Start, win.End}] = win.Digest()
				}
			}
		}
	}
	return out
}

// toldWindows returns the digests of what DRIFTD holds, each window once.
func (w *world) toldWindows() map[toldWindow]string {
	w.t.Helper()
	out, ids := map[toldWindow]string{}, map[string]bool{}
	each(w.t, w, "driftd.windows.>", func(m jetstream.Msg) {
		var body summary.Window
		if err := json.Unmarshal(m.Data(), &body); err != nil {
			w.t.Fatal(err)
		}
		if id := m.Headers().Get(nats.MsgIdHdr); id != body.ID || ids[id] {
			w.t.Errorf("message %q has the id %q in its body, and is there twice: %v", id, body.ID, ids[id])
		} else {
			ids[id] = true
		}
		if want := "driftd.windows." + body.Model; m.Subject() != want || body.Parts != 1 {
			w.t.Errorf("a window of %d parts on %s, want 1 on %s", body.Parts, m.Subject(), want)
		}
		variant, _ := event.ParseVariant(body.Variant)
		g := drift.Group{Model: body.Model, Version: body.ModelVersion, Variant: variant, Segment: body.Segment}
		out[toldWindow{g, body.Span.Start, body.Span.End}] = body.Digest
	})
	return out
}

// compareWindows finds every closed window of the published sizes once in DRIFTD, and
// nothing else.
func (w *world) compareWindows(st *store.Store) {
	w.t.Helper()
	want := w.closedWindows(st, published)
	if diff := cmp.Diff(want, w.toldWindows(), cmp.AllowUnexported(toldWindow{})); diff != "" || len(want) == 0 {
		w.t.Errorf("of %d closed windows:\n%s", len(want), diff)
	}
}

// publishing returns options of a daemon that publishes windows.
func (w *world) publishing(st *store.Store) daemon.Options {
	w.t.Helper()
	o := w.options(st)
	o.Spec, o.Summaries = killSpec(), published
	o.Publish = signals{o.DeadLetters.(*stream.Publisher)}.Publish
	return o
}

// told waits until nothing that has closed is left to publish.
func (w *world) told(d *daemon.Daemon) {
	w.t.Helper()
	w.until(func() bool { return d.Snapshot().Published.Pending == 0 }, "every closed window is published")
}

// TestWindowsArePublished: what closes is published once, of the models and sizes that
// are, also over a restart.
func TestWindowsArePublished(t *testing.T) {
	w := emptyWorld(t, hour())
	w.publishSpan(0, 33*time.Minute)
	dir := t.TempDir()
	w.prepare(dir)
	for n, rest := range []func(){func() { w.publishSpan(33*time.Minute, time.Hour) }, func() {}} {
		st := open(t, dir)
		d, stop := w.start(w.publishing(st))
		w.caughtUp(d)
		w.told(d)
		w.compareWindows(st)
		if got := d.Snapshot().Published; got.Failed+got.Refused+got.Expired > 0 || got.Sent == 0 {
			t.Errorf("run %d: %+v", n, got)
		}
		if err := errors.Join(stop(), st.Close()); err != nil {
			t.Fatal(err)
		}
		rest()
	}
}

// TestNATSAway: while nobody takes windows events are counted, what has closed is
// counted as pending, and nothing is lost.
func TestNATSAway(t *testing.T) {
	w := newWorld(t, hour())
	dir := t.TempDir()
	w.prepare(dir)
	st := open(t, dir)
	o := w.publishing(st)
	reach := o.Publish
	var away atomic.Bool
	away.Store(true)
	o.Publish = func(ctx context.Context, subject, id string, body []byte) error {
		if away.Load() {
			return nats.ErrNoResponders
		}
		return reach(ctx, subject, id, body)
	}
	d, stop := w.start(o)
	w.caughtUp(d)
	w.until(func() bool { s := d.Snapshot().Published; return s.Failed > 1 && s.Pending > 10 }, "windows wait")
	if n := len(w.toldWindows()); n > 0 {
		t.Errorf("%d windows were published", n)
	}
	away.Store(false)
	w.told(d)
	w.compareWindows(st)
	if err := errors.Join(stop(), st.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestOneModelIsRefused: a model whose subject NATS refuses does not keep the others.
func TestOneModelIsRefused(t *testing.T) {
	w := newWorld(t, hour())
	dir := t.TempDir()
	w.prepare(dir)
	st := open(t, dir)
	o := w.publishing(st)
	reach := o.Publish
	o.Publish = func(ctx context.Context, subject, id string, body []byte) error {
		if subject == "driftd.windows.churn" { // which comes before fraud
			return nats.ErrPermissionViolation
		}
		return reach(ctx, subject, id, body)
	}
	d, stop := w.start(o)
	w.caughtUp(d)
	want := w.closedWindows(st, published)
	maps.DeleteFunc(want, func(win toldWindow, _ string) bool { return win.group.Model != "fraud" })
	w.until(func() bool { return d.Snapshot().Published.Sent >= uint64(len(want)) }, "the windows of fraud are published")
	if diff := cmp.Diff(want, w.toldWindows(), cmp.AllowUnexported(toldWindow{})); diff != "" || len(want) == 0 {
		t.Errorf("of %d closed windows of fraud:\n%s", len(want), diff)
	}
	if err := errors.Join(stop(), st.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestWindowsTooLarge: one that the server will never take is left out, and the others
// are not.
func TestWindowsTooLarge(t *testing.T) {
	w := newWorld(t, hour())
	dir := t.TempDir()
	w.prepare(dir)
	js := w.conn.JetStream()
	signal := jetstream.StreamConfig{Name: "DRIFTD", Subjects: []string{"driftd.>"}, MaxMsgSize: 6000} // between those of churn and of fraud
	if _, err := js.UpdateStream(t.Context(), signal); err != nil {
		t.Fatal(err)
	}
	st := open(t, dir)
	d, stop := w.start(w.publishing(st))
	w.caughtUp(d)
	w.told(d)
	told, want := w.toldWindows(), w.closedWindows(st, published)
	if got := d.Snapshot().Published; got.Refused == 0 || got.Refused+got.Sent != uint64(len(want)) || got.Sent != uint64(len(told)) {
		t.Errorf("%+v of %d windows, %d told", got, len(want), len(told))
	}
	if err := errors.Join(stop(), st.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestPublishingIsSwitched: from where it is switched on windows are published, to where
// it is switched off, and not those of the past.
func TestPublishingIsSwitched(t *testing.T) {
	w := emptyWorld(t, hour())
	w.publishSpan(0, 20*time.Minute)
	dir := t.TempDir()
	w.prepare(dir)
	st := open(t, dir)
	o := w.publishing(st)
	on, off := o.Summaries, daemon.Summaries{}
	o.Summaries = off
	d, stop := w.start(o)
	part := func(from, to time.Duration, next daemon.Summaries) {
		t.Helper()
		w.publishSpan(from, to)
		w.caughtUp(d)
		w.told(d)
		s := o.Settings
		s.Summaries = next
		if err := d.Reconfigure(t.Context(), daemon.Reconfiguration{Settings: s, Actor: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	part(0, 0, on)
	part(20*time.Minute, 40*time.Minute, off)
	part(40*time.Minute, 50*time.Minute, on)
	part(50*time.Minute, time.Hour, on)
	// The watermark is 2 minutes behind: at minute 20 the window that began at 15 is
	// open, as that of 35 is at minute 40, and that of 45 at 50.
	got := map[string]int{}
	for win := range w.toldWindows() {
		if win.group.Model == "churn" && win.group.Segment == "" && win.group.Variant == event.Primary {
			got[win.start.Sub(w.scenario.Start).String()]++
		}
	}
	want := map[string]int{"15m0s": 1, "20m0s": 1, "25m0s": 1, "30m0s": 1, "45m0s": 1, "50m0s": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := errors.Join(stop(), st.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestWindowsExpire: what could not be published while it was kept is counted, and
// what comes after it is published.
func TestWindowsExpire(t *testing.T) {
	w := newWorld(t, hour())
	dir := t.TempDir()
	w.prepare(dir)
	st := open(t, dir)
	o := w.publishing(st)
	reach := o.Publish
	var away atomic.Bool
	away.Store(true)
	o.Publish = func(ctx context.Context, subject, id string, body []byte) error {
		if away.Load() {
			return errors.New("nobody is there")
		}
		return reach(ctx, subject, id, body)
	}
	o.Retention = store.Retention{Panes: 20 * time.Minute, Hours: 2 * time.Hour, Days: 48 * time.Hour}
	d, stop := w.start(o)
	w.caughtUp(d)
	w.until(func() bool { return d.Snapshot().Published.Failed > 0 }, "a window has failed")
	away.Store(false)
	w.told(d)
	// The watermark is at 58 minutes: what began before minute 38 may be gone, so that
	// of both models 8 of 11 closed windows of 5 minutes are.
	if got := d.Snapshot().Published; got.Expired != 2*8 {
		t.Errorf("%d windows have expired, want 16", got.Expired)
	}
	var first time.Time
	for win := range w.toldWindows() {
		if first.IsZero() || win.start.Before(first) {
			first = win.start
		}
	}
	if want := w.scenario.Start.Add(40 * time.Minute); !first.Equal(want) {
		t.Errorf("the first window told is that of %v, want %v", first, want)
	}
	if err := errors.Join(stop(), st.Close()); err != nil {
		t.Fatal(err)
	}
}
