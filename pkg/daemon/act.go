package daemon

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"

	"driftd.dev/driftd/pkg/alert"
	"driftd.dev/driftd/pkg/drift"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/lifecycle"
)

// decide lets lifecycle answer the alerts that fired in one closing, and records
// what it decided: also what it suppressed, with the reason.
func (l *loop) decide(c *drift.Closing, fired []lifecycle.Trigger) error {
	if len(fired) == 0 {
		return nil
	}
	next, decisions := lifecycle.Decide(l.acts[c.Model], lifecycle.Request{
		Model: c.Model, At: c.End, Triggers: fired, Traffic: lifecycle.TrafficOf(c.Windows), Manifest: l.manifest(c), Policy: lifecycle.DefaultPolicy(),
	})
	l.acts[c.Model] = next
	for _, d := range decisions {
		draft := ledger.Draft{Time: c.End, StreamSeq: c.Seq, Model: c.Model}
		if d.Retrain != nil {
			draft.Kind, draft.Body = ledger.KindRetrain, retrainBody(d.Retrain)
		} else {
			draft.Kind, draft.Body = ledger.KindRollback, rollbackBody(d.Rollback)
		}
		if err := l.trigger(draft, d.Suppressed(), cause(d, fired)); err != nil {
			return err
		}
	}
	return nil
}

// cause returns the first of the alerts that asked for a decision.
func cause(d lifecycle.Decision, fired []lifecycle.Trigger) alert.Change {
	var asked []string
	if d.Retrain != nil {
		asked = d.Retrain.AlertIDs
	} else {
		asked = d.Rollback.AlertIDs
	}
	for _, f := range fired {
		if slices.Contains(asked, f.EntryID) {
			return f.Change
		}
	}
	return fired[0].Change
}

// trigger records a signal to machines and owes it, unless it is suppressed.
// People hear of it where they hear of its cause, as something of no urgency.
func (l *loop) trigger(draft ledger.Draft, suppressed string, cause alert.Change) error {
	e, err := l.record(draft)
	if err != nil {
		return err
	}
	outcome := "issued"
	if suppressed != "" {
		outcome = "suppressed"
	} else {
		labels := maps.Clone(cause.LabelSet())
		labels["severity"], labels["kind"] = alert.SeverityInfo, string(draft.Kind)
		l.owe(e, e.ID, receiverNames(l.targets(labels)))
	}
	l.triggers[string(draft.Kind)+" "+outcome+" "+draft.Model]++
	l.Log.Info().Str("kind", string(draft.Kind)).Str("model", draft.Model).Str("outcome", outcome).Str("reason", suppressed).Msg("trigger")
	return nil
}

// manifest names what a training run would need now: everything counted since
// the active baseline.
func (l *loop) manifest(c *drift.Closing) lifecycle.Manifest {
	st, _ := l.engine.Model(c.Model)
	from := st.SinceSeq
	if from > c.Seq || from < l.account.First {
		from = l.account.First // of an epoch that is gone: what the stream has is all there is
	}
	return lifecycle.Manifest{
		Data:          lifecycle.ManifestData{Stream: l.progress.Stream, FromSeq: from, ToSeq: c.Seq, From: st.Since.UTC(), To: c.End},
		Baseline:      st.Baseline,
		Labels:        lifecycle.ManifestLabels{Count: st.Labels.Count, Digest: sumDigest("labels", st.Labels.Sum)},
		SamplesDigest: sumDigest("samples", st.Samples),
		ConfigHash:    l.ConfigHash, Driftd: l.Version,
	}
}

// sumDigest turns the order-free sum of event keys into the form of a digest.
func sumDigest(what string, sum uint64) string {
	h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("driftd/"+what+"/1"), sum))
	return "sha256:" + hex.EncodeToString(h[:])
}

func retrainBody(d *lifecycle.Retrain) ledger.Retrain {
	m := d.Manifest
	return ledger.Retrain{
		Type: "retrain", Model: d.Model, ModelVersion: d.ModelVersion, Reason: d.Reason, AlertIDs: d.AlertIDs, Suppressed: d.Suppressed,
		Manifest: ledger.Manifest{
			Data: ledger.ManifestData(m.Data), Baseline: m.Baseline, Labels: ledger.ManifestLabels(m.Labels),
			SamplesDigest: m.SamplesDigest, Seed: m.Seed, ConfigHash: m.ConfigHash, Driftd: m.Driftd,
		},
	}
}

func rollbackBody(d *lifecycle.Rollback) ledger.Rollback {
	return ledger.Rollback{
		Type: "rollback", Model: d.Model, FromVersion: d.FromVersion, ToVersion: d.ToVersion, Reason: d.Reason, AlertIDs: d.AlertIDs,
		Evidence:   ledger.RollbackEvidence{Test: d.Evidence.Test, NCanary: d.Evidence.NCanary, NControl: d.Evidence.NControl},
		Suppressed: d.Suppressed,
	}
}
