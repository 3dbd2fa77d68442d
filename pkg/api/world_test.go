package api_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/detect"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/event"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
)

var update = flag.Bool("update", false, "write golden files and docs")

// hostile is a name that wants to be a script, a label's end, and a path.
const hostile = `<script>alert("x")</script>&'\` + "\n" + `../{}`

// start is the first event's time in all tests; wall is what their clock says.
var (
	start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	wall  = time.Date(2026, 1, 1, 6, 0, 0, 0, time.UTC)
)

// A world is a Reader and a Commander made of real drift values: an engine
// counted events of models, and rules watched them.
type world struct {
	mu        sync.Mutex // guards the rest
	snapshot  api.Snapshot
	panes     []*drift.Window
	baselines map[string]*drift.Baseline
	entries   []ledger.Entry
	incidents map[string]*incident.Incident
	hearing   api.Hearing
	chain     ledger.Chain
	commands  []string
	refuse    error         // of every command, if not nil
	broken    error         // of every read, if not nil
	entered   chan struct{} // gets a value when an import begins, if not nil; the import
	block     chan struct{} // then waits for this
}

// events gives n predictions, one every step, of a model whose amounts are
// i+shift modulo 100 and whose countries are DE and FR, or US after the shift.
func events(model, version string, variant event.Variant, from time.Time, n int, step time.Duration, shift float64) []*event.Event {
	features := &event.Shape{Names: []string{"amount", "country", hostile}}
	scores := &event.Shape{Names: []string{"fraud"}}
	var out []*event.Event
	for i := range n {
		country := []string{"DE", "FR"}[i%2]
		if shift > 0 && i%2 == 0 {
			country = "US"
		}
		amount := event.Value{Kind: event.Number, Num: float64(i*37%100) + shift}
		if i%50 == 49 {
			amount = event.Value{} // missing in 2 %
		}
		if i%100 == 7 {
			amount.Num = math.Inf(1) // not finite in 1 %
		}
		out = append(out, &event.Event{
			Kind: event.Prediction, Row: -1, ID: fmt.Sprintf("%s-%s-%v-%d-%d", model, version, variant, from.Unix(), i), Model: model, Version: version, Variant: variant,
			Time: from.Add(time.Duration(i) * step).UnixNano(), Features: features,
			Values:     []event.Value{amount, {Kind: event.Category, Str: country}, {Kind: event.Category, Str: hostile}},
			Prediction: event.Value{Kind: event.Category, Str: "ok"}, Scores: scores, ScoreValues: []float64{float64(i%10) / 10},
			Confidence: math.NaN(), LatencyMS: float64(10 + i%5), Cost: math.NaN(), Failed: i%200 == 0, Error: "timeout",
			Segments: []event.Segment{{Name: "channel", Value: []string{"app", "web"}[i%2]}},
		})
	}
	return out
}

// newWorld: fraud has a baseline of version 1, and drifts from hour 2 on; its
// version 2 is a canary. <script>... learns.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{baselines: map[string]*drift.Baseline{}}
	spec := drift.DefaultSpec()
	spec.Models = []drift.ModelSpec{{Glob: "fraud", Segments: [][]string{{"channel"}}}, {Glob: "*"}}
	spec.Sizes = []time.Duration{time.Hour}
	engine := drift.NewEngine(spec)
	builder := drift.NewBuilder(drift.BuilderOptions{Model: "fraud", Segments: [][]string{{"channel"}}})
	for _, e := range events("fraud", "1", event.Primary, start.Add(-time.Hour), 1000, time.Second, 0) {
		builder.Add(e)
	}
	base := builder.Build(drift.Approved, drift.Origin{
		Kind: "import", Source: "reference.csv", Actor: "ann", From: start.Add(-time.Hour), To: start, Rows: 1000,
	})
	w.baselines[base.ID] = base
	if !engine.SetBaseline(base) {
		t.Fatal("the engine does not follow fraud")
	}
	all := slices.Concat(
		events("fraud", "1", event.Primary, start, 720, 10*time.Second, 0),
		events("fraud", "2", event.Canary, start.Add(time.Second), 72, 100*time.Second, 0),
		events("fraud", "1", event.Shadow, start.Add(2*time.Second), 72, 100*time.Second, 0),
		events("fraud", "1", event.Primary, start.Add(2*time.Hour), 720, 10*time.Second, 30),
		events(hostile, hostile, event.Primary, start, 100, time.Minute, 0),
	)
	slices.SortStableFunc(all, func(a, b *event.Event) int { return int(a.Time - b.Time) })
	account := &drift.Account{First: 1}
	for i, e := range all {
		pos := drift.Position{Seq: uint64(i + 1), Time: e.Time}
		engine.Tick(pos)
		account.Accepted++
		account.Count(e.Model, e.Kind, engine.Add(e, pos))
	}
	w.take(t, engine)
	w.tell(engine, account, base, uint64(len(all)))
	w.record(t)
	return w
}

// take keeps what the engine counted.
func (w *world) take(t testing.TB, engine *drift.Engine) {
	t.Helper()
	drained, err := engine.Drain()
	if err != nil {
		t.Fatal(err)
	}
	w.panes = drained.Panes
	engine.Dirty(drift.DirtySink{
		Open: func(p *drift.Window) { w.panes = append(w.panes, keep(p)) }, Model: func(drift.ModelState) {},
		Sample: func(string, int, []byte) {}, Seen: func(int, []uint64) {},
	})
}

// keep copies a window whose room is used again.
func keep(w *drift.Window) *drift.Window {
	out := *w
	out.Signals = slices.Clone(w.Signals)
	for i := range out.Signals {
		if n := out.Signals[i].Numeric; n != nil {
			out.Signals[i].Numeric = n.Clone()
		}
	}
	return &out
}

// fraudConfig says how the drift of fraud is judged: half a page in 30 days.
func fraudConfig() detect.Config {
	c := detect.DefaultConfig("fraud")
	c.Pages = 0.5
	return c
}

// tell fills the snapshot.
func (w *world) tell(engine *drift.Engine, account *drift.Account, base *drift.Baseline, last uint64) {
	s := &w.snapshot
	*s = api.Snapshot{
		At: wall, Version: "v1.2.3", Schema: 1, StoreID: "store-1", Role: "active", Epoch: 1,
		Stream:     api.Stream{Name: "ML", Created: start, FirstSeq: 1, LastSeq: last + 5, CommittedSeq: last, Connected: true, Gaps: []api.Gap{{From: 3, To: 4, Cause: "purged"}}},
		Disk:       api.Disk{Free: 1 << 30, State: "ok"},
		Judges:     api.Judges{Window: time.Hour, Reference: 672, MinEvents: 50, Interval: 6 * time.Hour},
		Config:     api.Config{Hash: "sha256:00", LoadedAt: start, LastReloadOK: true},
		LastCommit: wall.Add(-time.Second), Account: account, LastEvaluated: wall, Heartbeat: wall.Add(-20 * time.Second), Progress: wall,
		Watch: api.Watch{
			Every: 30 * time.Second, Seen: wall.Add(-20 * time.Second), Judged: wall.Add(-20 * time.Second), RoundTrip: 250 * time.Millisecond, Sent: 7, Failed: 1,
			Checks: []api.Check{{Organ: api.OrganCanary, OK: true, Detail: "the last one came back"}, {Organ: api.OrganConfig, Detail: "the last configuration read was refused"}},
		},
		Notifier: api.Notifier{Pending: 1, Oldest: wall.Add(-3 * time.Second), Receivers: []api.Receiver{
			{Name: "slack", Kind: "slack", Sent: 4, Failed: map[string]uint64{"timeout": 1}, Pending: 1},
			{Name: hostile, Kind: "webhook"},
		}},
		Triggers:    map[api.Trigger]uint64{{Kind: "retrain", Model: "fraud", Outcome: "sent"}: 1},
		DeadLetters: map[string]uint64{"decode": 2}, StoreBytes: 4096,
		Checkpoint: observed("driftd_checkpoint_duration_seconds", []float64{.01, .1}, .001, .002, .007, .04, .2),
		EventDelay: observed("driftd_event_delay_seconds", []float64{1}, 3, 4),
	}
	s.Budgets = []api.Budget{{
		Name: "oncall", Receiver: "pager", Pages: 2, Per: 30 * 24 * time.Hour, Models: 1,
		Spent:   []api.SpentPage{{At: start, Model: "fraud", Rule: alert.RuleDrift}},
		OnTrial: true, Shadow: []api.SpentPage{{At: start.Add(time.Hour), Model: "fraud", Rule: alert.RuleSilent}},
	}}
	minN := uint64(100)
	rule, err := alert.Compile(alert.Spec{
		Name: "AmountDrift", Model: "fraud*", Feature: "amount", Window: time.Hour, Expr: "psi_debiased > 0.1 and n >= 100", Clear: "psi_debiased < 0.05",
		For: alert.Hold{Windows: 2}, KeepFiringFor: alert.Hold{Duration: 10 * time.Minute}, Severity: alert.SeverityPage, Actions: []string{"retrain"}, MinN: &minN,
	})
	if err != nil {
		panic(err)
	}
	s.Rules = []*alert.Rule{rule}
	group := drift.Group{Model: "fraud", Version: "1"}
	s.Alerts = []api.Alert{
		{
			Series:   alert.Series{Rule: "AmountDrift", Key: drift.Key{Group: group, Signal: "amount"}},
			State:    alert.State{Phase: alert.Firing, Since: start.Add(3 * time.Hour), FiredAt: start.Add(3 * time.Hour), Last: start.Add(3 * time.Hour), Fires: 1, Peak: alert.Peak{Effect: 2.5, Reason: "psi_debiased 0.35 > 0.1, n 349 >= 100"}, DedupKey: "01K0"},
			Severity: alert.SeverityPage,
		},
		{
			Series:   alert.Series{Rule: hostile, Key: drift.Key{Group: drift.Group{Model: hostile}}},
			State:    alert.State{Phase: alert.Pending, Since: start},
			Severity: alert.SeverityTicket,
		},
	}
	for _, st := range engine.Models() {
		m := api.Model{ModelState: st, Status: "learning", Owner: "risk"}
		if st.Model == "fraud" {
			m.Status, m.Baseline = "alerting", base
			m.Drift = &api.Drift{
				Budget: "oncall", Config: fraudConfig(),
				Status:    &detect.Status{Baseline: base.ID, Windows: 100, Reference: 672, Detectors: 2, Theta: 1},
				Standings: []detect.Standing{{Detector: detect.Detector{Signal: "amount", Component: detect.Location}, LogR: 2, Threshold: 8}, {Detector: detect.Detector{Signal: hostile, Component: detect.Missing}, Threshold: 8}},
			}
			for _, g := range []drift.Group{group, {Model: "fraud", Version: "2", Variant: event.Canary}} {
				windows, _ := w.Windows(api.Query{Model: "fraud", Version: g.Version, Variants: []event.Variant{g.Variant}, Size: time.Hour})
				for _, win := range windows {
					if win.Start.Equal(start.Add(2*time.Hour)) || g.Version == "2" && win.Start.Equal(start) {
						m.Reports = append(m.Reports, api.Report{Size: time.Hour, Report: drift.Compare(base.Part(""), base.ID, true, win)})
					}
				}
			}
		}
		s.Models = append(s.Models, m)
	}
}

// record writes a ledger: a baseline, an alert, a retrain, another alert.
func (w *world) record(t testing.TB) {
	t.Helper()
	for _, d := range []ledger.Draft{
		{Time: start, Kind: ledger.KindBaseline, Model: "fraud", Body: ledger.BaselineChange{Type: "baseline", Action: "imported", Model: "fraud"}},
		{Time: start.Add(3 * time.Hour), Kind: ledger.KindAlert, Model: "fraud", Body: ledger.Alert{Type: "alert", Status: "firing", Reason: "psi <b>0.35</b>"}},
		{Time: start.Add(3 * time.Hour), Kind: ledger.KindRetrain, Model: "fraud", Body: ledger.Retrain{Type: "retrain", Model: "fraud"}},
		{Time: start.Add(4 * time.Hour), Kind: ledger.KindAlert, Model: hostile, Body: ledger.Alert{Type: "alert", Status: "resolved"}},
	} {
		w.append(t, d)
	}
}

func (w *world) append(t testing.TB, d ledger.Draft) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	e, err := w.chain.Append(d)
	if err != nil {
		t.Fatal(err)
	}
	w.entries = append(w.entries, e)
}

func (w *world) Snapshot() *api.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.snapshot
	return &s
}

// change edits the snapshot.
func (w *world) change(f func(*api.Snapshot)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.snapshot)
}

func (w *world) fault() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken
}

func floor(t time.Time, size time.Duration) time.Time {
	return time.Unix(0, t.UnixNano()-t.UnixNano()%int64(size)).UTC()
}

func (w *world) Windows(q api.Query) ([]*drift.Window, error) {
	if err := w.fault(); err != nil {
		return nil, err
	}
	type bucket struct {
		start time.Time
		group drift.Group
	}
	sums := map[bucket]*drift.Window{}
	for _, p := range w.panes {
		g, at := p.Group, floor(p.Start, q.Size)
		if g.Model != q.Model || !q.Segments && g.Segment != q.Segment || q.Version != "" && g.Version != q.Version || q.Variants != nil && !slices.Contains(q.Variants, g.Variant) {
			continue
		}
		if !q.From.IsZero() && !at.Add(q.Size).After(q.From) || !q.To.IsZero() && !at.Before(q.To) {
			continue
		}
		if q.Total {
			g = drift.Group{Model: g.Model, Segment: g.Segment}
		}
		b := bucket{at, g}
		if sums[b] == nil {
			sums[b] = &drift.Window{Group: g, Start: at, End: at.Add(q.Size), State: drift.Closed}
		}
		if err := drift.Merge(sums[b], p); err != nil {
			return nil, err
		}
	}
	var out []*drift.Window
	for _, s := range sums {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *drift.Window) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		return a.Group.Compare(b.Group)
	})
	return out, nil
}

func (w *world) Baselines() ([]*drift.Baseline, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*drift.Baseline
	for _, b := range w.baselines {
		out = append(out, b)
	}
	return out, w.broken
}

func (w *world) Baseline(id string) (*drift.Baseline, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b := w.baselines[id]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("baseline %s: %w", id, api.ErrNotFound)
}

func (w *world) Entries(after uint64, limit int) ([]ledger.Entry, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := w.entries[min(after, uint64(len(w.entries))):]
	return slices.Clone(rest[:min(limit, len(rest))]), w.broken
}

func (w *world) VerifyLedger(context.Context) (ledger.Chain, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var v ledger.Verifier
	for _, e := range w.entries {
		if err := v.Check(e); err != nil {
			return v.Tip, err
		}
	}
	return v.Tip, w.broken
}

func (w *world) Compare(win *drift.Window) *drift.Report {
	for _, m := range w.snapshot.Models {
		if b := m.Baseline; m.Model == win.Group.Model && b != nil {
			return drift.Compare(b.Part(win.Group.Segment), b.ID, b.State == drift.Approved, win)
		}
	}
	return drift.Compare(nil, "", false, win)
}

func (w *world) command(name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuse != nil {
		return w.refuse
	}
	w.commands = append(w.commands, name)
	return nil
}

func (w *world) ImportBaseline(ctx context.Context, b *drift.Baseline, _ *api.History, actor string) error {
	if w.block != nil {
		w.entered <- struct{}{}
		select {
		case <-w.block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return w.command("import " + b.ID + " " + actor)
}

func (w *world) ApproveBaseline(_ context.Context, id, actor string) error {
	return w.command("approve " + id + " " + actor)
}

func (w *world) CaptureBaseline(_ context.Context, c api.Capture, actor string) (*drift.Baseline, error) {
	if err := w.command(fmt.Sprintf("capture %s %s %s", c.From.Format(time.RFC3339), c.To.Format(time.RFC3339), actor)); err != nil {
		return nil, err
	}
	return w.snapshot.Models[1].Baseline, nil
}

func (w *world) Incidents(filter func(*incident.Incident) bool) (out []*incident.Incident, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(w.incidents)) {
		if filter(w.incidents[id]) {
			out = append(out, w.incidents[id].Clone())
		}
	}
	return out, w.broken
}

func (w *world) Incident(id string) (*incident.Incident, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := w.incidents[id]; i != nil {
		return i.Clone(), w.broken
	}
	return nil, fmt.Errorf("incident %s: %w", id, api.ErrNotFound)
}

func (w *world) Hearing(string) (api.Hearing, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hearing, w.broken
}

// ChangeIncident does what the daemon's loop does: real checks, a real book, a ledger.
func (w *world) ChangeIncident(_ context.Context, id string, c incident.Change) (*incident.Incident, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.incidents[id].Clone()
	c.At = wall
	if err := cmp.Or(w.refuse, c.Validate(w.snapshot.Policy), i.Check(&c, w.snapshot.Policy)); err != nil {
		return nil, err
	}
	e, err := w.chain.Append(ledger.Draft{Time: start, Kind: ledger.KindIncident, Model: i.Models()[0], Body: ledger.IncidentChange{
		Type: "incident", Incident: id, Action: c.Action, Actor: c.By, At: c.At, Text: c.Text, Known: c.Known, Cause: c.Cause, Remedy: c.Remedy, Result: c.Result, Worth: c.Worth,
	}})
	if err != nil {
		return nil, err
	}
	w.entries = append(w.entries, e)
	b := incident.NewBook(nil)
	b.Change(i, &c, e.Seq)
	w.incidents[id] = i
	return i.Clone(), nil
}

func (w *world) Digest(span time.Duration) (*ledger.Digest, error) {
	all, err := w.Incidents(func(*incident.Incident) bool { return true })
	return incident.NewDigest(all, incident.DigestInput{From: wall.Add(-span), To: wall}), err
}

// disturb gives the world three incidents: one of fraud that fires, one that has ended,
// and one in shadow of a model with a hostile name.
func (w *world) disturb(t testing.TB) {
	t.Helper()
	w.incidents = map[string]*incident.Incident{}
	for k, c := range []struct{ id, model, severity string }{{"01K0", "fraud", alert.SeverityPage}, {"01K1", "fraud", alert.SeverityTicket}, {"odd/" + hostile, hostile, alert.SeverityInfo}} {
		at := start.Add(time.Duration(3-k) * time.Hour)
		body := ledger.Alert{Type: "alert", Status: "firing", Rule: "AmountDrift", Model: c.model, Feature: "amount", Severity: c.severity, StartsAt: at, DedupKey: c.id, Incident: c.id, Reason: "psi <b>0.35</b>"}
		w.append(t, ledger.Draft{Time: at, Kind: ledger.KindAlert, Model: c.model, Body: body})
		i := &incident.Incident{
			ID: c.id, Group: map[string]string{"model": c.model}, Opened: at, Changed: at, Issued: wall.Add(-time.Hour), Severity: c.severity, Shadow: k == 2, Seq: uint64(len(w.entries)),
			Members: []incident.Member{{
				Key: c.id, Seq: uint64(len(w.entries)), Model: c.model, Severity: c.severity, StartsAt: at, Receivers: []string{"slack"},
				Labels: map[string]string{"alertname": "AmountDrift", "model": c.model, "feature": "amount", "owner": "risk"},
			}},
		}
		if k == 1 {
			i.Members[0].EndsAt, i.Resolved, i.Ended = at.Add(time.Minute), at.Add(time.Minute), 1
		}
		w.incidents[c.id] = i
		if i.Open() {
			w.snapshot.Incidents = append(w.snapshot.Incidents, i)
		}
	}
	w.snapshot.Policy = incident.Policy{Causes: incident.DefaultCauses()}
	w.hearing = api.Hearing{
		Told: []api.Told{{Receiver: "slack", Seq: 5, At: wall, Attempts: 2}, {Receiver: hostile, Seq: 5, At: wall, Attempts: 1, Error: hostile}},
		Owed: []api.Owed{{Receiver: "boss", Seq: 5, IssuedAt: wall, NotBefore: &wall, For: "slack"}},
	}
}

var errDisk = errors.New("the disk is gone")

// newServer serves a world.
func newServer(t testing.TB, w *world, edit ...func(*api.Options)) *api.Server {
	t.Helper()
	o := api.Options{
		Reader: w, Commander: w, Incidents: w, Version: "v1.2.3", ExternalURL: "https://Driftd.example.org:8443/x",
		Config: func() []byte { return []byte("nats:\n  embedded: true\n") }, Schema: []byte(`{"type":"object"}`),
		Now: func() time.Time { return wall },
	}
	for _, f := range edit {
		f(&o)
	}
	s, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// call asks a handler and returns its answer.
func call(t testing.TB, h http.Handler, method, target string, body string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host, r.RemoteAddr = "127.0.0.1:8480", "127.0.0.1:5"
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec.Result()
}

func text(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// golden compares with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test ./pkg/api -update writes it):\n%s", path, got)
	}
}

func observed(name string, bounds []float64, values ...float64) *api.Histogram {
	h := api.NewHistogram(name, bounds...)
	for _, x := range values {
		h.Update(x)
	}
	return h
}
