package notify_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/notify/fakes"
)

// A duty is a PagerDuty that one incident is told to, as the dispatcher does.
type duty struct {
	*testing.T
	*fakes.PagerDuty
	url     string
	chain   ledger.Chain
	entries map[string]ledger.Entry // by key
	ended   []string                // since it was told last
	receipt string
	told    bool
	by      string       // who looks after it
	well    atomic.Int64 // calls until one fails
}

func newDuty(t *testing.T) *duty {
	t.Helper()
	p := fakes.NewPagerDuty()
	d := &duty{T: t, PagerDuty: p, entries: map[string]ledger.Entry{}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.well.Add(-1) == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		p.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	d.url = srv.URL
	return d
}

// fire lets an alert fire, or go on, with a severity by the first letter of its key.
func (p *duty) fire(keys ...string) {
	p.Helper()
	for _, key := range keys {
		a := on("Drift", "fraud", key)
		a.DedupKey, a.Severity = key, severityOf(key)
		p.entries[key] = entry(p.T, &p.chain, ledger.KindAlert, a)
	}
}

func (p *duty) end(keys ...string) {
	for _, key := range keys {
		delete(p.entries, key)
	}
	p.ended = append(p.ended, keys...)
}

func severityOf(key string) string {
	return map[byte]string{'p': "page", 't': "ticket"}[key[0]]
}

// tell has the sink say how the incident is; alerts is PagerDutyOptions.Alerts.
func (p *duty) tell(alerts int) error {
	p.Helper()
	sink, err := notify.NewPagerDuty(notify.PagerDutyOptions{RoutingKey: routingKey, BaseURL: p.url, Alerts: alerts, Client: notify.NewClient(notify.ClientOptions{AllowPrivate: notify.SiteNetworks()})})
	if err != nil {
		p.Fatal(err)
	}
	g := grouped(p.T, len(p.entries), len(p.ended))
	g.Acknowledged = p.by
	var keys []string
	for key := range p.entries {
		keys = append(keys, key)
	}
	slices.Sort(keys) // pages are before tickets
	for _, key := range keys {
		g.Fires = append(g.Fires, ledger.Fire{Key: key, Severity: severityOf(key)})
		if len(g.Alerts) < ledger.GroupAlerts {
			g.Alerts = append(g.Alerts, p.entries[key])
		}
	}
	for _, key := range p.ended {
		g.Ends = append(g.Ends, ledger.Fire{Key: key, Severity: severityOf(key)})
	}
	if len(keys) == 0 {
		g.Alerts = []ledger.Entry{entry(p.T, &ledger.Chain{Seq: 811}, ledger.KindAlert, resolved())}
	}
	d := ledger.Delivery{Receiver: "r", Seq: p.chain.Seq, Order: g.Incident, Grouped: true, Group: g, Receipt: p.receipt, Told: p.told}
	d.Entry = d.Lead()
	if p.receipt, err = sink.SendThread(p.Context(), d); err == nil {
		p.told, p.ended = true, nil
	}
	return err
}

// shows is what PagerDuty has, "key severity status" each.
func (p *duty) shows() string {
	var out []string
	for _, i := range p.Incidents() {
		out = append(out, fmt.Sprintf("%s %s %s", strings.TrimPrefix(i.DedupKey, "01JINCIDENT"), i.Severity, i.Status))
	}
	return strings.Join(out, ", ")
}

func (p *duty) want(what, shows string) {
	p.Helper()
	if got := p.shows(); got != shows {
		p.Errorf("%s: PagerDuty has %q, want %q", what, got, shows)
	}
}

// step tells, without a failure.
func (p *duty) step(alerts int, what, shows string) {
	p.Helper()
	if err := p.tell(alerts); err != nil {
		p.Fatal(err)
	}
	p.want(what, shows)
}

// Each alert is an incident of PagerDuty that begins and ends by itself.
func TestPagerDutyAnIncidentAnAlert(t *testing.T) {
	p := newDuty(t)
	p.fire("t1")
	p.step(2, "the first", "t1 warning triggered")
	p.fire("p1")
	p.step(2, "a critical one joins", "t1 warning triggered, p1 critical triggered")
	calls := len(p.Calls())
	p.step(2, "nothing new", "t1 warning triggered, p1 critical triggered")
	if n := len(p.Calls()) - calls; n != 0 {
		t.Errorf("%d calls to say nothing new", n)
	}
	p.end("t1")
	p.step(2, "one ends", "t1 warning resolved, p1 critical triggered")
	p.by = "ada"
	p.fire("t2")
	p.step(2, "ada looks after it, and one joins", "t1 warning resolved, p1 critical acknowledged, t2 warning acknowledged")
	p.fire("t3")
	p.step(2, "one joins for which there is no room", "t1 warning resolved, p1 critical acknowledged, t2 warning acknowledged, /ticket warning acknowledged")
	p.end("p1", "t2", "t3")
	p.step(2, "all has ended", "t1 warning resolved, p1 critical resolved, t2 warning resolved, /ticket warning resolved")
	if p.receipt != "" {
		t.Errorf("receipt %s of nothing", p.receipt)
	}
}

// A storm pages as often as the limit says, and once more for each severity, when it
// comes and while it ebbs away.
func TestPagerDutyStormAnIncidentAnAlert(t *testing.T) {
	p := newDuty(t)
	var storm []string
	for n := range 1000 {
		storm = append(storm, fmt.Sprintf("t%04d", n))
	}
	p.fire(storm...)
	const first = "t0000 warning triggered, t0001 warning triggered, t0002 warning triggered, /ticket warning triggered"
	p.step(3, "the storm", first)
	if got := p.Incidents()[3].Summary; !strings.HasPrefix(got, "997 alerts of severity ticket beyond the 3 that are told one by one") {
		t.Errorf("the others are told as %q", got)
	}
	p.fire("p1", "p2")
	p.step(3, "critical ones join", first+", /page critical triggered")
	for len(storm) > 1 {
		p.end(storm[:111]...)
		storm = storm[111:]
		if err := p.tell(3); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(p.Incidents()); n != 5 {
		t.Errorf("%d incidents, while the storm ebbed away", n)
	}
	p.end(append(storm, "p1", "p2")...)
	p.step(3, "it is over", strings.ReplaceAll(first+", /page critical triggered", "triggered", "resolved"))
	if p.receipt != "" {
		t.Errorf("receipt %s of nothing", p.receipt)
	}
}

// What a call that failed has done already is in the receipt, and what a crash took from
// it is made good: nothing stays open.
func TestPagerDutyAnIncidentAnAlertAfterFailures(t *testing.T) {
	for name, crash := range map[string]bool{"a failure": false, "a crash": true} {
		p := newDuty(t)
		p.fire("t1", "t2", "t3")
		p.well.Store(3)
		if err := p.tell(3); err == nil {
			t.Fatalf("%s: no error", name)
		}
		p.want(name, "t1 warning triggered, t2 warning triggered")
		if crash {
			p.receipt = ""
		}
		p.end("t1")
		p.step(3, name+", then one has ended", "t1 warning resolved, t2 warning triggered, t3 warning triggered")
		p.end("t2", "t3")
		p.step(3, name+", then all has", "t1 warning resolved, t2 warning resolved, t3 warning resolved")
	}
}

// The setting may change while something fires.
func TestPagerDutyDedupChanges(t *testing.T) {
	p := newDuty(t)
	p.fire("t1", "t2", "t3")
	p.step(0, "as one", " warning triggered")
	p.step(2, "one by one", " warning resolved, t1 warning triggered, t2 warning triggered, /ticket warning triggered")
	p.step(0, "as one again", " warning resolved, t1 warning resolved, t2 warning resolved, /ticket warning resolved,  warning triggered")
	p.fire("p1")
	p.step(0, "a critical one joins", " warning resolved, t1 warning resolved, t2 warning resolved, /ticket warning resolved,  critical triggered")
	p.end("t1", "t2", "t3", "p1")
	p.step(2, "it ends", " warning resolved, t1 warning resolved, t2 warning resolved, /ticket warning resolved,  critical resolved")
}
