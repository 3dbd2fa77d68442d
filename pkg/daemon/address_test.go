package daemon_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/store"
)

// A machine hears of each alert, and keeps what it was told; it is no person.
type machine struct {
	mu   sync.Mutex
	told []string // "status key"
}

func (m *machine) Send(_ context.Context, d ledger.Delivery) error {
	var a ledger.Alert
	if err := json.Unmarshal(d.Entry.Body, &a); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, a.Status+" "+a.DedupKey)
	return nil
}

// A level is a machine that is told again and again what fires, as Alertmanager is.
type level struct{ machine }

func (*level) Refresh(context.Context, []ledger.Delivery) error { return nil }

// On call somebody adds a pager, an Alertmanager and a stream during an incident, by a
// reload that a crash ends before it is durable, and again: people hear of what fires as
// it is, once; the Alertmanager counts as told, so that what fires is repeated to it; the
// stream, which is a log, hears of what starts from then on. The ledger says who.
func TestReceiversThatAReloadNames(t *testing.T) {
	w := emptyWorld(t, hour())
	dir := t.TempDir()
	w.prepareWith(dir, w.baselines())
	w.publishSpan(0, 28*time.Minute) // drift fires
	chat, pager, am, log := &person{}, &person{}, &level{}, &machine{}
	options := func(st *store.Store, late bool) daemon.Options {
		o := w.addressed(w.options(st), alert.RouteSpec{Receiver: "chat"}, map[string]*person{"chat": chat})
		if !late {
			return o
		}
		routes, names := alert.RouteSpec{Receiver: "chat"}, []string{"chat", "pager", "am", "log"}
		for _, name := range names {
			routes.Routes = append(routes.Routes, alert.RouteSpec{Receiver: name, Matchers: []string{"severity=~.+"}, Continue: true})
		}
		o.Receivers = append(o.Receivers,
			notify.Receiver{Name: "pager", Sink: pager, Latest: true}, notify.Receiver{Name: "am", Sink: am, Latest: true}, notify.Receiver{Name: "log", Sink: log})
		o.Grouped = func(name string) bool { return name == "chat" || name == "pager" }
		var err error
		if o.Routes, err = alert.CompileRoutes(routes, names); err != nil {
			t.Fatal(err)
		}
		return o
	}
	st := open(t, dir)
	o := options(st, false)
	crash := make(chan struct{})
	o.Probe = func(point string) error {
		select {
		case <-crash:
			if point == daemon.PointEncoded {
				return errCrash
			}
		default:
		}
		return nil
	}
	d, stop := w.start(o)
	w.caughtUp(d)
	w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "chat is told")
	close(crash)
	reload := daemon.Reconfiguration{Settings: options(st, true).Settings, Actor: "SIGHUP"}
	if err := d.Reconfigure(t.Context(), reload); err == nil {
		t.Error("the reload is durable, though the daemon broke before")
	}
	if err := stop(); err == nil {
		t.Error("the daemon did not break")
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if got := pager.heard(); len(got) > 0 {
		t.Errorf("the pager heard %q of a reload that is not durable", got)
	}

	st = open(t, dir)
	defer st.Close()
	d, stop = w.start(options(st, false))
	if err := d.Reconfigure(t.Context(), reload); err != nil {
		t.Fatal(err)
	}
	w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 && len(pager.heard()) > 0 }, "the pager is told")
	fires := slices.DeleteFunc(incidents(t, st), func(i *incident.Incident) bool { return !i.Open() || i.Shadow })
	for _, i := range fires {
		if got := pager.of(i.ID); !slices.Equal(got, []string{"firing"}) {
			t.Errorf("of %s the pager heard %q", i.ID, got)
		}
		for k := range i.Members {
			if m := &i.Members[k]; m.Firing() && (!slices.Contains(m.Receivers, "am") || slices.Contains(m.Receivers, "log")) {
				t.Errorf("alert %s is told to %q", m.Key, m.Receivers)
			}
		}
	}
	if got := addressed(t, st); len(fires) == 0 || len(got) != len(fires) || got[fires[0].ID] != "am, pager by SIGHUP" {
		t.Errorf("the ledger says %q of %d incidents", got, len(fires))
	}
	if len(am.told) > 0 || len(log.told) > 0 {
		t.Errorf("machines were sent %q and %q, want nothing that began before", am.told, log.told)
	}
	w.publishSpan(28*time.Minute, time.Hour)
	w.caughtUp(d)
	w.until(func() bool { return d.Snapshot().Notifier.Pending == 0 }, "everybody is told")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	ended := 0
	for _, was := range fires {
		i, err := st.Incident(was.ID)
		if err != nil {
			t.Fatal(err)
		}
		if i.Open() {
			continue
		}
		ended++
		if got := pager.of(i.ID); got[len(got)-1] != "resolved" {
			t.Errorf("of %s, which has ended, the pager heard %q", i.ID, got)
		}
		for k := range was.Members {
			end := "resolved " + was.Members[k].Key
			if !slices.Contains(am.told, end) || slices.Contains(log.told, end) {
				t.Errorf("%s: the Alertmanager heard %q, the stream %q", end, am.told, log.told)
			}
		}
	}
	if ended == 0 {
		t.Error("nothing has ended")
	}
	if !slices.ContainsFunc(log.told, func(s string) bool { return strings.HasPrefix(s, "firing") }) {
		t.Errorf("the stream heard %q, want what started since", log.told)
	}
}

// addressed returns whom settings led to what fired, by incident.
func addressed(t *testing.T, st *store.Store) map[string]string {
	t.Helper()
	entries, err := st.Entries(0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		var c ledger.IncidentChange
		if e.Kind != ledger.KindIncident || json.Unmarshal(e.Body, &c) != nil || c.Action != "address" {
			continue
		}
		out[c.Incident] += c.Text + " by " + c.Actor
	}
	return out
}

// What is owed to receivers that a reload has removed is given up after a week, counted and
// logged; what is owed to others is not.
func TestWhatIsOwedToGoneReceiversIsGivenUp(t *testing.T) {
	w := emptyWorld(t, hour())
	dir := t.TempDir()
	w.prepareWith(dir, w.baselines())
	w.publishSpan(0, 28*time.Minute) // drift fires
	st := open(t, dir)
	defer st.Close()
	var book logbook
	away := &person{away: true}
	o := w.addressed(w.options(st), alert.RouteSpec{Receiver: "chat"}, map[string]*person{"chat": away})
	o.Log = zerolog.New(&book)
	d, stop := w.start(o)
	w.caughtUp(d)
	w.until(func() bool { return d.Snapshot().Notifier.Receivers[1].Failed["network"] > 0 }, "chat has failed")
	owed, _, err := st.Owed("chat")
	if err != nil || owed == 0 {
		t.Fatalf("%d are owed to chat, %v", owed, err)
	}
	now := time.Now()
	sweep := func(after time.Duration) uint64 {
		t.Helper()
		if err := d.Sweep(t.Context(), now.Add(after)); err != nil {
			t.Fatal(err)
		}
		return d.Snapshot().Notifier.GivenUp
	}
	sweep(0)
	if n := sweep(8 * 24 * time.Hour); n != 0 {
		t.Errorf("%d deliveries to a receiver that is named were given up", n)
	}
	next := w.addressed(w.options(st), alert.RouteSpec{Receiver: "other"}, map[string]*person{"other": {}}).Settings
	if err := d.Reconfigure(t.Context(), daemon.Reconfiguration{Settings: next, Actor: "SIGHUP"}); err != nil {
		t.Fatal(err)
	}
	sweep(0)
	if n := sweep(8 * 24 * time.Hour); n != uint64(owed) {
		t.Errorf("%d deliveries were given up, want %d", n, owed)
	}
	if log := book.String(); !strings.Contains(log, "what it was owed is given up") || !strings.Contains(log, `"receiver":"chat"`) {
		t.Errorf("the log says %s", log)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
