package notify

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/ledger"
)

// A promAlert is an entry in Alertmanager's words, for both the push API and
// the webhook body.
type promAlert struct {
	labels, annotations map[string]string
	resolved            bool
	starts              time.Time
	ends                time.Time // zero: not known to end
}

// newPromAlert words an entry. Retrains, rollbacks and promotions are alerts
// named DriftdRetrain and so on, which end when the trigger expires.
func newPromAlert(d ledger.Delivery, m Message) (promAlert, error) {
	p := promAlert{
		annotations: map[string]string{"title": m.Title, "summary": m.Sentence, "ledger_id": d.Entry.ID, "ledger_hash": d.Entry.Hash.String()},
		starts:      d.Entry.Time, ends: d.ExpiresAt,
	}
	if d.Entry.Kind != ledger.KindAlert {
		p.labels = promLabels(nil, map[string]string{
			"alertname": "Driftd" + capital(string(d.Entry.Kind)), "severity": m.Severity, "model": d.Entry.Model,
		})
		return p, nil
	}
	a, err := decode[ledger.Alert](d.Entry)
	if err != nil {
		return promAlert{}, err
	}
	p.starts, p.ends, p.resolved = a.StartsAt, time.Time{}, a.Status == "resolved"
	if p.resolved && a.EndsAt != nil {
		p.ends = *a.EndsAt
	}
	p.labels = promLabels(a.Labels, map[string]string{
		"alertname": a.Rule, "severity": a.Severity, "model": a.Model, "model_version": a.ModelVersion,
		"variant": a.Variant, "segment": a.Segment, "feature": a.Feature,
	})
	for k, v := range promLabels(a.Annotations, nil) {
		if _, ours := p.annotations[k]; !ours || k == "summary" {
			p.annotations[k] = v
		}
	}
	p.annotations["description"] = m.Sentence
	p.annotations["reason"] = a.Reason
	p.annotations["dedup_key"] = dedupKey(a, d)
	return p, nil
}

// promLabels joins the rule's labels with ours, which win. Names are restricted
// to [a-zA-Z_][a-zA-Z0-9_]*, since Alertmanager 0.25 refuses others; of
// two that become the same, the first in order stays. Empty values, which mean
// "no label", are left out.
func promLabels(custom, ours map[string]string) map[string]string {
	out := map[string]string{}
	for _, set := range []map[string]string{ours, custom} {
		for _, name := range slices.Sorted(maps.Keys(set)) {
			key := labelName(name)
			if _, taken := out[key]; !taken && set[name] != "" {
				out[key] = set[name]
			}
		}
	}
	return out
}

func labelName(name string) string {
	out := strings.Map(func(r rune) rune {
		if r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
	if out == "" || out[0] >= '0' && out[0] <= '9' {
		out = "_" + out
	}
	return out
}

// fingerprint is Prometheus' label set hash (common/model Fingerprint): FNV-1a
// over names and values in order, each followed by 0xff.
func fingerprint(labels map[string]string) string {
	h := fnv.New64a()
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		_, _ = h.Write([]byte(name + "\xff" + labels[name] + "\xff")) // never fails
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// signalBody is the ledger's body with what a receiver needs to check it and
// to act once: {"id", ...body..., "ledger_seq", "ledger_hash", "issued_at",
// "expires_at" (null: never), "fence"}. The fence grows with every entry: who
// acts refuses one below the last it acted on.
func signalBody(d ledger.Delivery) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(d.Entry.Body, &fields); err != nil {
		return nil, unsendable(fmt.Errorf("decode %s entry %d: %w", d.Entry.Kind, d.Entry.Seq, err))
	}
	var expires *time.Time
	if !d.ExpiresAt.IsZero() {
		at := d.ExpiresAt.UTC()
		expires = &at
	}
	head, err1 := encode(struct {
		ID string `json:"id"`
	}{d.Entry.ID})
	tail, err2 := encode(struct {
		Seq     uint64      `json:"ledger_seq"`
		Hash    ledger.Hash `json:"ledger_hash"`
		Issued  time.Time   `json:"issued_at"`
		Expires *time.Time  `json:"expires_at"`
		Fence   uint64      `json:"fence"`
	}{d.Entry.Seq, d.Entry.Hash, d.IssuedAt.UTC(), expires, d.Entry.Seq})
	if err1 != nil || err2 != nil {
		return nil, unsendable(fmt.Errorf("encode entry %d: id %q issued %s", d.Entry.Seq, d.Entry.ID, d.IssuedAt))
	}
	middle := strings.TrimSpace(string(d.Entry.Body))
	middle = strings.TrimSpace(middle[1 : len(middle)-1])
	if len(fields) > 0 {
		middle += ","
	}
	return json.RawMessage(string(head[:len(head)-1]) + "," + middle + string(tail[1:])), nil
}
