package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
	"driftd.dev/driftd/pkg/store"
)

// view is what the API shows once the state is committed: one immutable value,
// swapped in at once. It is taken when the checkpoint is encoded, for the loop
// goes on while it is being written.
func (l *loop) view() *api.Snapshot {
	id := l.Store.Identity()
	s := &api.Snapshot{
		At: l.now, Version: l.Version, Schema: id.Schema, StoreID: id.UUID, Role: "active", Epoch: l.progress.Epoch,
		Stream: api.Stream{
			Name: l.progress.Stream, Created: l.progress.Created, CommittedSeq: l.progress.Seq, Rewinds: l.rewinds, Gaps: slices.Clone(l.gaps),
		},
		Config: api.Config{Hash: l.ConfigHash, LoadedAt: l.loaded},
		Judges: api.Judges{Window: l.Detection.Window, Reference: l.Detection.Reference, MinEvents: l.Detection.MinEvents, Interval: l.Detection.Interval}, LastCommit: l.lastCommit, Account: l.account.Clone(),
		Rules: l.Rules, LastEvaluated: l.evaluated, Triggers: map[api.Trigger]uint64{}, DeadLetters: map[string]uint64{},
		Checkpoint: l.checkpoints, EventDelay: l.delays, Acknowledging: l.heeded, Watch: l.canaryJudge.view(),
	}
	for key, n := range l.triggers {
		part := strings.SplitN(key, " ", 3)
		s.Triggers[api.Trigger{Kind: part[0], Outcome: part[1], Model: part[2]}] = n
	}
	maps.Copy(s.DeadLetters, l.dead)
	s.Alerts, s.Budgets, s.Silences, s.Incidents, s.Policy = l.alerts(), l.budgets(), l.silences, l.book.Open(), l.Policy
	for _, st := range l.engine.Models() {
		s.Models = append(s.Models, l.model(st, s.Alerts))
	}
	return s
}

// model says how one model does.
func (l *loop) model(st drift.ModelState, alerts []api.Alert) api.Model {
	m := api.Model{ModelState: st, Status: "ok", Baseline: l.engine.Baseline(st.Model), Reports: l.reports[st.Model]}
	m.ExpectedGap = l.gap(st.Model)
	if l.Owner != nil {
		m.Owner = l.Owner(st.Model)
	}
	m.Drift = l.drift(st.Model)
	if m.Baseline == nil {
		m.Status = string(drift.Learning)
	} else if slices.ContainsFunc(m.Reports, func(r api.Report) bool { return r.Drifting > 0 }) {
		m.Status = "drifting"
	}
	if slices.ContainsFunc(alerts, func(a api.Alert) bool { return a.Model == st.Model && a.Active() && !a.Untold() }) {
		m.Status = "alerting"
	}
	return m
}

// alerts lists every series that is not inactive, firing ones first.
func (l *loop) alerts() []api.Alert {
	var out []api.Alert
	for r, models := range l.states {
		for _, states := range models {
			for series, s := range states {
				if s.Phase == alert.Inactive {
					continue // it only remembers why its windows decide nothing, or that there was something to judge
				}
				out = append(out, api.Alert{Series: series, State: s, Severity: cmp.Or(s.Severity, r.Spec().Severity)})
			}
		}
	}
	out = append(out, l.incidents()...)
	slices.SortFunc(out, func(a, b api.Alert) int {
		return cmp.Or(cmp.Compare(b.Phase, a.Phase), a.Series.Compare(b.Series))
	})
	return out
}

// Snapshot returns what was committed last, with what only the edges know: the
// stream's end, the receivers and the disk.
func (d *Daemon) Snapshot() *api.Snapshot {
	s := *d.snapshot.Load()
	s.At = time.Now()
	s.NotReady = d.NotReady()
	s.Config.LastReloadOK = !d.rejected.Load()
	if d.Status != nil {
		st := d.Status()
		// The end of the stream is asked for every few seconds; what is committed is newer.
		s.Stream.FirstSeq, s.Stream.LastSeq, s.Stream.Connected = st.First, max(st.Last, s.Stream.CommittedSeq), st.Ready
		s.Stream.Name = cmp.Or(s.Stream.Name, st.Stream)
	}
	if d.Link != nil {
		s.Permission = d.Link().PermissionErrors
	}
	if n, err := d.Store.SizeOnDisk(); err == nil {
		s.StoreBytes = n
	}
	s.Disk, _ = d.disk()
	if at := d.verifiedAt.Load(); at != 0 {
		s.Verified = time.Unix(0, at)
	}
	s.Notifier, s.Progress = d.notifier(), d.LastProgress()
	s.Published, s.Attested = d.published(&s), d.attestedHeads()
	d.examine(&s)
	return &s
}

// NotReady lists why driftd should get no traffic yet, as api.Snapshot does.
func (d *Daemon) NotReady() []string {
	reasons := d.notLinked(time.Now())
	if _, full := d.disk(); full {
		reasons = append(reasons, "disk")
	}
	if !d.trusted() {
		reasons = append(reasons, "verify")
	}
	return reasons
}

func (d *Daemon) notifier() api.Notifier {
	n := api.Notifier{GivenUp: d.givenUp.Load()}
	stats, err := d.dispatcher.Stats()
	if err != nil {
		d.Log.Error().Err(err).Msg("what is owed cannot be counted")
	}
	for _, r := range stats {
		out := api.Receiver{Name: r.Receiver, Kind: d.kind(r.Receiver), Sent: r.Sent, Pending: r.Pending, Unsaid: r.Unsaid, Failed: map[string]uint64{}}
		for reason, count := range r.Failed {
			out.Failed[string(reason)] = count
		}
		n.Receivers = append(n.Receivers, out)
		n.Pending += r.Pending
		if !r.Oldest.IsZero() && (n.Oldest.IsZero() || r.Oldest.Before(n.Oldest)) {
			n.Oldest = r.Oldest
		}
	}
	return n
}

// kind names the technology of a receiver.
func (d *Daemon) kind(name string) string {
	for _, r := range d.settings.Load().Receivers {
		if r.Name == name {
			return sinkKind(r.Sink)
		}
	}
	return ""
}

func sinkKind(s notify.Sink) string {
	if r, ok := s.(*rotating); ok {
		return r.kind
	}
	return strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", s), "*notify."))
}

// Windows implements api.Reader.
func (d *Daemon) Windows(q api.Query) ([]*drift.Window, error) {
	return d.Store.Windows(storeQuery(q))
}

// Baselines implements api.Reader.
func (d *Daemon) Baselines() ([]*drift.Baseline, error) { return d.Store.Baselines() }

// Baseline implements api.Reader.
func (d *Daemon) Baseline(id string) (*drift.Baseline, error) {
	b, err := d.Store.Baseline(id)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: %w", api.ErrNotFound, err)
	}
	return b, err
}

// Entries implements api.Reader.
func (d *Daemon) Entries(after uint64, limit int) ([]ledger.Entry, error) {
	return d.Store.Entries(after+1, limit)
}

// VerifyLedger implements api.Reader.
func (d *Daemon) VerifyLedger(context.Context) (ledger.Chain, error) {
	return d.Store.LedgerVerify(func(_, _ uint64) {})
}

// Compare implements api.Reader.
func (d *Daemon) Compare(w *drift.Window) *drift.Report {
	for _, m := range d.snapshot.Load().Models {
		if m.Model == w.Group.Model && m.Baseline != nil {
			return drift.Compare(m.Baseline.Part(w.Group.Segment), m.Baseline.ID, m.Baseline.State == drift.Approved, w)
		}
	}
	return drift.Compare(nil, "", false, w)
}

func storeQuery(q api.Query) store.Query {
	return store.Query{Model: q.Model, Version: q.Version, Variants: q.Variants, Segment: q.Segment, From: q.From, To: q.To, Size: q.Size, Total: q.Total, Segments: q.Segments, NoSignals: q.NoSignals}
}
