package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/notify/fakes"
	"driftd.dev/driftd/pkg/store"
)

// How much a campaign fires and how often its process dies.
const (
	campaignAlerts = 60
	campaignBriefs = 12 // that resolve before anybody can have heard of them
	campaignKills  = 5
)

// A life is one process with its store. When it is cut off, nothing that it does
// reaches the disk any more: what receivers answered meanwhile is lost, as with
// kill -9.
type life struct {
	*store.Store
	told func(d ledger.Delivery)
	mute store.Mute

	mu  sync.Mutex
	cut bool // guarded by mu

	dispatcher *notify.Dispatcher
	stop       context.CancelFunc
	ended      chan error
}

var errCut = errors.New("the process is gone")

func (l *life) Due(receiver string, now time.Time, limit int, latest bool) ([]ledger.Delivery, error) {
	return l.Store.Due(receiver, now, limit, latest, l.mute)
}

func (l *life) Settle(d ledger.Delivery, o notify.Outcome) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return errCut
	}
	results := map[notify.Result]store.Result{notify.Delivered: store.Delivered, notify.Retry: store.Retry, notify.Dead: store.Dead}
	err := l.Store.Settle(d, store.Outcome{Result: results[o.Result], At: time.Now()})
	if err == nil && o.Result == notify.Delivered {
		l.told(d)
	}
	return err
}

// A campaign fires alerts at receivers behind a front, through lives.
type campaign struct {
	*testing.T
	dir       string
	receivers []notify.Receiver
	chain     ledger.Chain
	book      *incident.Book
	mute      store.Mute    // of lives that begin
	patience  time.Duration // with one Send
	life      *life
	lives     int
	fired     int
	refused   int // connections; guarded by mu
	dead      []string

	mu    sync.Mutex
	told  map[string]bool      // "receiver key status"; guarded by mu
	quiet map[string]time.Time // until when a receiver asked to be left alone; guarded by mu
}

func newCampaign(t *testing.T, patience time.Duration, receivers ...notify.Receiver) *campaign {
	t.Helper()
	c := &campaign{T: t, dir: t.TempDir(), told: map[string]bool{}, receivers: receivers, book: incident.NewBook(nil), patience: patience}
	c.begin()
	return c
}

func (c *campaign) begin() {
	c.Helper()
	st, err := store.Open(c.dir, store.Options{MemTableBytes: 16 << 20})
	if err != nil {
		c.Fatal(err)
	}
	l := &life{Store: st, told: c.note, mute: c.mute, ended: make(chan error, 1)}
	l.dispatcher, err = notify.NewDispatcher(l, c.receivers, notify.Options{
		Seed: uint64(c.lives), Poll: campaignMost, SendTimeout: c.patience, BackoffBase: campaignBackoff, BackoffMax: campaignMost, Observe: c.observe,
	})
	if err != nil {
		c.Fatal(err)
	}
	c.mu.Lock()
	c.quiet = map[string]time.Time{} // no process remembers another's
	c.mu.Unlock()
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	go func() { l.ended <- l.dispatcher.Run(ctx) }()
	c.life, c.lives = l, c.lives+1
}

// kill ends a life without a goodbye.
func (c *campaign) kill() {
	c.Helper()
	c.life.mu.Lock()
	c.life.cut = true
	c.life.mu.Unlock()
	c.life.stop()
	if err := errors.Join(<-c.life.ended, c.life.Close()); err != nil {
		c.Fatal(err)
	}
}

func (c *campaign) observe(a notify.Attempt) {
	if a.Outcome.Reason == notify.ReasonStore {
		return // no call: the process was cut off before it could note one
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if early := c.quiet[a.Receiver].Sub(time.Now().Add(-a.Took)); early > 0 {
		c.Errorf("%s was called %v too early", a.Receiver, early)
	}
	if a.Outcome.Reason == notify.ReasonRateLimited {
		c.quiet[a.Receiver] = a.Outcome.At
	}
	if a.Outcome.Err != nil && strings.Contains(a.Outcome.Err.Error(), "connection refused") {
		c.refused++
	}
	if a.Outcome.Result == notify.Dead {
		c.dead = append(c.dead, fmt.Sprint(a.Receiver, ": ", a.Outcome.Err))
	}
}

func (c *campaign) note(d ledger.Delivery) {
	var a ledger.Alert
	if err := json.Unmarshal(d.Entry.Body, &a); err != nil {
		c.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told[d.Receiver+" "+a.DedupKey+" "+a.Status] = true
}

// heard reports whether every receiver has confirmed.
func (c *campaign) heard(key, status string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !slices.ContainsFunc(c.receivers, func(r notify.Receiver) bool { return !c.told[r.Name+" "+key+" "+status] })
}

// owe records what happens to an alert, each an incident of its own, in one
// transaction as the daemon does, and wakes the notifier.
func (c *campaign) owe(key string, statuses ...string) {
	c.Helper()
	b := c.life.NewBatch()
	for _, status := range statuses {
		a := fired()
		m := incident.Member{Key: key, Severity: a.Severity}
		if status == "resolved" {
			a, m.EndsAt = resolved(), time.Now()
		}
		a.DedupKey = key
		e := entry(c.T, &c.chain, ledger.KindAlert, a)
		b.Append(e)
		m.Seq = e.Seq
		var targets []alert.Target
		for _, r := range c.receivers {
			targets = append(targets, alert.Target{Receiver: r.Name})
		}
		c.book.Put(key, nil, false, m, time.Now(), targets)
	}
	for _, t := range c.book.Touched(time.Now()) {
		b.PutIncident(t.Incident)
		for _, o := range t.Owed {
			b.Owe(ledger.Delivery{Receiver: o.Target.Receiver, Seq: o.Seq, Order: t.ID, IssuedAt: time.Now(), Grouped: true})
		}
	}
	b.PutProgress(store.Progress{Chain: c.chain})
	if err := c.life.Commit(b); err != nil {
		c.Fatal(err)
	}
	c.life.dispatcher.Wake()
}

func (c *campaign) pending() (n int) {
	c.Helper()
	for _, r := range c.receivers {
		owed, _, err := c.life.Owed(r.Name)
		if err != nil {
			c.Fatal(err)
		}
		n += owed
	}
	return n
}

// TestCampaign: 60 alerts fire and resolve, and 12 more do both at once, while
// the way to the receivers goes through every fault there is and the process is
// killed five times. In PagerDuty each key opens once and closes once.
func TestCampaign(t *testing.T) {
	pager, hook := fakes.NewPagerDuty(), fakes.NewWebhook(hookSecret)
	f := newFront(t, map[string]http.Handler{"pager": pager, "hook": hook})
	client := loopback(t, campaignTimeout)
	pd, err1 := notify.NewPagerDuty(notify.PagerDutyOptions{RoutingKey: routingKey, BaseURL: "http://" + f.address + "/pager", Client: client})
	wh, err2 := notify.NewWebhook(notify.WebhookOptions{URL: "http://" + f.address + "/hook", Secrets: []string{hookSecret}, Client: client})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	c := newCampaign(t, campaignTimeout, notify.Receiver{Name: "pager", Sink: pd, Latest: true}, notify.Receiver{Name: "hook", Sink: wh, Latest: true})
	c.fight(f)
	c.kill()
	f.verdict()
	if c.refused == 0 || c.lives != campaignKills+1 || len(c.dead) > 0 {
		t.Errorf("%d connections refused, %d lives, given up: %q", c.refused, c.lives, c.dead)
	}
	c.opened(pager)
	c.webhooks(hook)
}

// fight goes through the faults until everything is told.
func (c *campaign) fight(f *front) {
	began := time.Now()
	briefs, kills, phase := 0, 0, -1
	resolved := map[string]bool{}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for len(resolved) < max(c.fired, campaignAlerts) || !f.met() || kills < campaignKills || c.pending() > 0 {
		<-tick.C
		now := time.Since(began)
		if now > campaignWithin {
			c.Fatalf("after %v: %d fired, %d resolved, %d owed", now, c.fired, len(resolved), c.pending())
		}
		if next := int(now / campaignPhase); next != phase {
			phase = next
			if mode := faults[phase/2%len(faults)]; phase%2 == 0 {
				f.set(mode)
			} else {
				f.set("ok")
			}
		}
		if kills < campaignKills && now > time.Duration(kills+1)*campaignSpan/campaignKills {
			c.kill()
			c.begin()
			kills++
		}
		// Beyond the 60 as long as a fault has met nobody.
		for ; (c.fired < campaignAlerts || !f.met()) && now > time.Duration(c.fired)*campaignSpan/campaignAlerts; c.fired++ {
			c.owe(fmt.Sprintf("key-%02d", c.fired), "firing")
		}
		for ; briefs < campaignBriefs && now > time.Duration(briefs)*campaignSpan/campaignBriefs; briefs++ {
			c.owe(fmt.Sprintf("brief-%02d", briefs), "firing", "resolved")
		}
		for i := range c.fired {
			if key := fmt.Sprintf("key-%02d", i); !resolved[key] && c.heard(key, "firing") {
				resolved[key] = true
				c.owe(key, "resolved")
			}
		}
	}
}

// opened looks at PagerDuty's incidents.
func (c *campaign) opened(pager *fakes.PagerDuty) {
	c.Helper()
	times := map[string]int{}
	for _, i := range pager.Incidents() {
		times[i.DedupKey]++
		if i.Status != "resolved" {
			c.Errorf("%s is still %s", i.DedupKey, i.Status)
		}
	}
	for i := range c.fired {
		if key := fmt.Sprintf("key-%02d", i); times[key] != 1 {
			c.Errorf("%s was opened %d times", key, times[key])
		}
	}
	briefs := 0
	for i := range campaignBriefs {
		key := fmt.Sprintf("brief-%02d", i)
		if briefs += times[key]; times[key] > 1 {
			c.Errorf("%s was opened %d times", key, times[key])
		}
	}
	c.Logf("%d of %d brief ones were opened, %d resolves of nothing open", briefs, campaignBriefs, pager.Dropped())
	closed := map[string]bool{}
	for _, call := range pager.Calls() {
		var ev struct {
			Action string `json:"event_action"`
			Key    string `json:"dedup_key"`
		}
		if err := json.Unmarshal(call.Body, &ev); err != nil {
			c.Fatal(err)
		}
		if ev.Action == "trigger" && closed[ev.Key] {
			c.Errorf("%s was triggered after its resolve", ev.Key)
		}
		closed[ev.Key] = closed[ev.Key] || ev.Action == "resolve"
	}
}

// webhooks looks at what programs were told: the end of everything, and of what
// nobody could be told in time that it was.
func (c *campaign) webhooks(hook *fakes.Webhook) {
	c.Helper()
	ended, unheard := map[string]bool{}, 0
	for _, call := range hook.Calls() {
		var body struct {
			Status string
			Reason string `json:"notification_reason"`
			Driftd struct {
				Key string `json:"dedup_key"`
			}
		}
		if err := json.Unmarshal(call.Body, &body); err != nil {
			c.Fatal(err)
		}
		ended[body.Driftd.Key] = ended[body.Driftd.Key] || body.Status == "resolved"
		if strings.HasPrefix(body.Reason, "Fired and resolved: ") {
			unheard++
		}
	}
	for key, end := range ended {
		if !end {
			c.Errorf("%s has no end", key)
		}
	}
	if len(ended) != c.fired+campaignBriefs {
		c.Errorf("%d alerts were told, want %d", len(ended), c.fired+campaignBriefs)
	}
	c.Logf("%d webhooks told of an alert that had fired and resolved unheard", unheard)
}
