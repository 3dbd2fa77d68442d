package notify_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/notify/fakes"
)

// An outage answers in the place of a receiver while it has a status.
type outage struct {
	http.Handler
	status     atomic.Int64 // 0: the receiver is there
	retryAfter string
	calls      atomic.Int64 // while it was not
}

func (o *outage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := o.status.Load()
	if status == 0 {
		o.Handler.ServeHTTP(w, r)
		return
	}
	o.calls.Add(1)
	if o.retryAfter != "" {
		w.Header().Set("Retry-After", o.retryAfter)
	}
	w.WriteHeader(int(status))
}

// A rotation is who is on call, as three receivers see it.
type rotation struct {
	*campaign
	pager               *fakes.PagerDuty
	chat                *fakes.Slack
	hook                *fakes.Webhook
	toPager, toChat, to *outage // to: the hook
}

// retryAfter is what a receiver that limits its callers asks for.
const retryAfter = 1 // s: there is no shorter one

func newRotation(t *testing.T) *rotation {
	t.Helper()
	r := &rotation{pager: fakes.NewPagerDuty(), chat: fakes.NewSlack(), hook: fakes.NewWebhook(hookSecret)}
	r.toPager, r.toChat, r.to = &outage{Handler: r.pager, retryAfter: "1"}, &outage{Handler: r.chat, retryAfter: "1"}, &outage{Handler: r.hook}
	url := func(o *outage) string {
		server := httptest.NewServer(o)
		t.Cleanup(server.Close)
		return server.URL
	}
	client := loopback(t, 10*time.Second)
	pd, err := notify.NewPagerDuty(notify.PagerDutyOptions{RoutingKey: routingKey, BaseURL: url(r.toPager), Client: client})
	if err != nil {
		t.Fatal(err)
	}
	bot, err := notify.NewSlackBot(notify.SlackBotOptions{
		Token: func() (string, error) { return "xoxb-1", nil }, Channel: "C0123456789", BaseURL: url(r.toChat) + "/api", Client: client,
	})
	if err != nil {
		t.Fatal(err)
	}
	wh, err := notify.NewWebhook(notify.WebhookOptions{URL: url(r.to), Secrets: []string{hookSecret}, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	r.campaign = newCampaign(t, 10*time.Second,
		notify.Receiver{Name: "pager", Sink: pd, Latest: true}, notify.Receiver{Name: "chat", Sink: bot, Latest: true}, notify.Receiver{Name: "hook", Sink: wh, Latest: true})
	return r
}

// down makes the receivers fail as in the experiments: the hook is broken, the others
// limit their callers.
func (r *rotation) down() {
	r.toPager.status.Store(http.StatusTooManyRequests)
	r.toChat.status.Store(http.StatusTooManyRequests)
	r.to.status.Store(http.StatusInternalServerError)
}

func (r *rotation) up() {
	for _, o := range []*outage{r.toPager, r.toChat, r.to} {
		o.status.Store(0)
	}
}

// settled waits until nothing is owed.
func (r *rotation) settled() {
	r.Helper()
	r.until(func() bool { return r.pending() == 0 }, "everybody is told")
}

func (r *rotation) until(holds func() bool, what string) {
	r.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.Fatalf("%s: not within 20s", what)
		}
	}
}

// restart kills the process and starts another.
func (r *rotation) restart() {
	r.Helper()
	r.kill()
	r.begin()
}

// verdict compares what people see: PagerDuty's incidents by status, what the channel
// shows, and how often each was told.
func (r *rotation) verdict(pager, chat string, hooks int) {
	r.Helper()
	var incidents, shown []string
	for _, i := range r.pager.Incidents() {
		incidents = append(incidents, i.Status)
		if i.Duplicates > 0 {
			r.Errorf("PagerDuty was told %d times more of %s", i.Duplicates, i.DedupKey)
		}
	}
	for _, m := range r.chat.Messages() {
		if m.Thread == "" {
			title, _, _ := strings.Cut(m.Header, ":")
			shown = append(shown, title)
		}
	}
	if got := strings.Join(incidents, " "); got != pager {
		r.Errorf("PagerDuty has %q, want %q", got, pager)
	}
	if got := strings.Join(shown, ", "); got != chat {
		r.Errorf("the channel shows %q, want %q", got, chat)
	}
	if got := len(r.hook.Keys()); got != hooks || r.hook.Duplicates() > 0 {
		r.Errorf("the webhook was told %d times and %d times again, want %d", got, r.hook.Duplicates(), hooks)
	}
}

// TestFailures are the experiments that other systems fail (alerting.md 1.4), with
// what is promised here.
func TestFailures(t *testing.T) {
	for name, play := range map[string]func(*rotation){
		"killed, and started again": func(r *rotation) {
			r.owe("a", "firing")
			r.settled()
			r.restart()
			r.settled()
			r.verdict("triggered", "Page", 1)
		},
		"killed, then the alert ends": func(r *rotation) {
			r.owe("a", "firing")
			r.settled()
			r.restart()
			r.owe("a", "resolved")
			r.settled()
			r.verdict("resolved", "Resolved", 2)
		},
		"stopped, then the alert ends": func(r *rotation) {
			r.owe("a", "firing")
			r.settled()
			r.life.stop()
			if err := <-r.life.ended; err != nil {
				r.Fatal(err)
			}
			if err := r.life.Close(); err != nil {
				r.Fatal(err)
			}
			r.begin()
			r.owe("a", "resolved")
			r.settled()
			r.verdict("resolved", "Resolved", 2)
		},
		"the producer is gone": func(r *rotation) { // nobody says that anything is well again
			r.owe("a", "firing")
			r.settled()
			time.Sleep(5 * campaignMost)
			r.verdict("triggered", "Page", 1)
		},
		"nobody can be reached for a while": func(r *rotation) {
			r.down()
			r.owe("a", "firing")
			r.until(func() bool { return r.to.calls.Load() >= 3 }, "the webhook is tried again")
			if n, m := r.toPager.calls.Load(), r.toChat.calls.Load(); n != 1 || m != 1 {
				r.Errorf("PagerDuty was asked %d and Slack %d times within the time that they asked for", n, m)
			}
			r.up()
			r.settled()
			r.verdict("triggered", "Page", 1)
		},
		"fires and ends while nobody can be reached": func(r *rotation) {
			r.down()
			r.owe("a", "firing")
			r.until(func() bool { return r.to.calls.Load() >= 1 && r.toChat.calls.Load() == 1 }, "somebody is tried")
			r.owe("a", "resolved")
			before := r.to.calls.Load() // the first of the next two may have been under way
			r.until(func() bool { return r.to.calls.Load() >= before+2 }, "the webhook is tried with the end")
			r.up()
			r.settled()
			r.verdict("", "Fired and resolved", 1)
		},
		"ends while nobody can be reached": func(r *rotation) {
			r.owe("a", "firing")
			r.settled()
			r.down()
			r.owe("a", "resolved")
			r.until(func() bool { return r.to.calls.Load() >= 1 }, "somebody is tried")
			r.up()
			r.settled()
			r.verdict("resolved", "Resolved", 2)
		},
		"killed before anybody was told": func(r *rotation) {
			r.down()
			r.owe("a", "firing")
			r.kill()
			r.up()
			r.begin()
			r.settled()
			r.verdict("triggered", "Page", 1)
		},
		"killed while nobody can be reached": func(r *rotation) {
			r.down()
			r.owe("a", "firing")
			r.until(func() bool { return r.toPager.calls.Load() == 1 && r.owedLater("pager") }, "PagerDuty asks to wait")
			r.kill()
			r.up()
			began := time.Now()
			r.begin()
			r.settled()
			if waited := time.Since(began); waited < retryAfter*time.Second/4 {
				r.Errorf("PagerDuty was asked again after %v", waited)
			}
			r.verdict("triggered", "Page", 1)
		},
		"changes in the channel": func(r *rotation) { // one message, changed in place
			r.owe("a", "firing")
			r.settled()
			r.owe("a", "resolved")
			r.settled()
			r.verdict("resolved", "Resolved", 2)
			if m := r.chat.Messages()[0]; m.Edits != 1 {
				r.Errorf("the message was changed %d times", m.Edits)
			}
		},
		"muted, and not muted any more": func(r *rotation) {
			var muted atomic.Bool
			r.mute = func(*ledger.Delivery, *incident.Member) bool { return muted.Load() }
			r.restart()
			muted.Store(true)
			r.owe("a", "firing")
			r.owe("b", "firing", "resolved") // has ended by then: nobody hears of it
			time.Sleep(3 * campaignMost)
			r.verdict("", "", 0)
			muted.Store(false)
			r.settled()
			muted.Store(true)
			r.owe("a", "resolved") // who heard of the start hears of the end
			r.settled()
			r.verdict("resolved", "Resolved", 2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRotation(t)
			play(r)
			r.kill()
			if len(r.dead) > 0 {
				t.Errorf("given up: %q", r.dead)
			}
		})
	}
}

// owedLater reports whether what a receiver is owed waits for a later time.
func (r *rotation) owedLater(receiver string) bool {
	r.Helper()
	due, err := r.life.Store.Due(receiver, time.Now(), 9, true, nil)
	if err != nil {
		r.Fatal(err)
	}
	later, err := r.life.Store.Due(receiver, time.Now().Add(time.Hour), 9, true, nil)
	if err != nil {
		r.Fatal(err)
	}
	return len(due) == 0 && slices.ContainsFunc(later, func(d ledger.Delivery) bool { return d.Attempt > 0 })
}
