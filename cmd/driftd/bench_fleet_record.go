package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/incident"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

const (
	fleetTrouble = 7 * 24 * time.Hour // of each model: an incident so often
	fleetCells   = 10                 // of the histogram that explains it
)

// record puts the ledger and the incidents of a past into the empty store: an alert of
// each model a week, explained, that ended and was diagnosed.
func (b *fleetBench) record(ctx context.Context, _ *fleetResult) (err error) {
	st, err := store.Open(b.config.Store.Dir, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	r := rand.New(rand.NewPCG(b.traffic.seed, 2))
	batch, chain := st.NewBatch(), ledger.Chain{}
	commit := func() error {
		batch.PutProgress(store.Progress{Chain: chain})
		err := errors.Join(ctx.Err(), st.Commit(batch))
		batch.Reset()
		return err
	}
	first := b.traffic.start.Add(-b.config.Store.Retention.Ledger.Std() + store.DaySize)
	for n := 0; ; n++ {
		at := first.Add(time.Duration(n) * fleetTrouble / time.Duration(b.models)).Truncate(time.Minute)
		if !at.Add(store.DaySize).Before(b.traffic.start) {
			return commit()
		}
		if err := b.trouble(batch, &chain, r, b.traffic.model(n%b.models), at); err != nil {
			return err
		}
		if batch.Size() > st.CommitLimit()/2 {
			if err := commit(); err != nil {
				return err
			}
		}
	}
}

// trouble puts one incident of a model, with its entries.
func (b *fleetBench) trouble(batch *store.Batch, chain *ledger.Chain, r *rand.Rand, model string, at time.Time) error {
	key, end := chain.NextID(at), at.Add(time.Duration(1+r.IntN(20))*time.Hour)
	labels := map[string]string{"alertname": alert.RuleDrift, "model": model, "severity": alert.SeverityTicket, "owner": "ml-platform"}
	signal := b.traffic.names[r.IntN(len(b.traffic.names))]
	body := ledger.Alert{
		Type: "alert", Status: "firing", Rule: alert.RuleDrift, Model: model, Severity: alert.SeverityTicket, StartsAt: at,
		Window: ledger.Window{Start: at, End: at.Add(drift.RollupSize)}, Stats: map[string]float64{}, Labels: labels, DedupKey: key, Incident: key,
		Reason:   fmt.Sprintf("%s rose: KS %.3f, PSI %.3f over %d values since %s", signal, r.Float64(), r.Float64(), r.IntN(1e4), at.Format(time.RFC3339)),
		Evidence: ledger.Evidence{Expr: "budget oncall", ConfigHash: "sha256:" + key, Baseline: key, Digest: key},
		Change:   "opened", Budget: "oncall", Detectable: r.Float64(),
		Findings: []ledger.Finding{{
			Signal: signal, Component: "location", Level: "ticket", Since: at, Reason: signal + " rose", Distance: r.Float64(), PSI: r.Float64(),
			N: uint64(r.IntN(1e4)), Direction: 1, LogR: r.Float64(), Threshold: r.Float64(),
		}},
		Explanation: explained(r, signal, at),
	}
	i := incident.Incident{
		ID: key, Group: map[string]string{"model": model}, Opened: at, Changed: end, Resolved: end, Issued: at, Severity: alert.SeverityTicket, Ended: 1,
	}
	i.Diagnosis = &incident.Diagnosis{Act: incident.Act{By: "bench", At: end}, Cause: "upstream_data", Text: "the column is filled by another job since the release"}
	if err := appendAlert(batch, chain, at, body); err != nil {
		return err
	}
	body.Status, body.EndsAt, body.Change, body.Explanation = "resolved", &end, "resolved", nil
	if err := appendAlert(batch, chain, end, body); err != nil {
		return err
	}
	i.Seq = chain.Seq
	i.Members = []incident.Member{{
		Key: key, Seq: chain.Seq, Model: model, Labels: labels, Severity: body.Severity, StartsAt: at, EndsAt: end, Receivers: []string{"chat"},
		Moved: []incident.Moved{{Signal: signal, Since: at}},
	}}
	batch.PutIncident(&i)
	return batch.Err()
}

func appendAlert(batch *store.Batch, chain *ledger.Chain, at time.Time, body ledger.Alert) error {
	e, err := chain.Append(ledger.Draft{Time: at, Kind: ledger.KindAlert, Model: body.Model, Body: body})
	if err == nil {
		batch.Append(e)
	}
	return err
}

// explained makes an explanation of the length that they have.
func explained(r *rand.Rand, signal string, at time.Time) *ledger.Explanation {
	x := &ledger.Explanation{Since: at, Signal: signal, PSI: r.Float64(), Compared: &ledger.Histogram{}, Origin: ledger.OriginUpstream, Because: signal + " moved in all versions alike"}
	for i := range fleetCells {
		edge := r.NormFloat64()
		x.Compared.From, x.Compared.To = append(x.Compared.From, r.Float64()), append(x.Compared.To, r.Float64())
		x.Cells = append(x.Cells, ledger.Cell{Name: fmt.Sprintf("%.4g to %.4g", edge, edge+1), From: r.Float64(), To: r.Float64(), Share: r.Float64()})
		if i > 0 {
			x.Compared.Edges = append(x.Compared.Edges, edge)
		}
	}
	for version := range 2 {
		x.Versions = append(x.Versions, ledger.Share{Name: fmt.Sprint(version + 1), Weight: r.Float64(), Share: r.Float64(), PSI: r.Float64()})
	}
	return x
}
