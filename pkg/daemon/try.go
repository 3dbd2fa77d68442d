package daemon

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"driftd.dev/driftd/pkg/api"
	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify"
)

// tryWithin bounds each of the two messages of TryReceiver.
const tryWithin = 15 * time.Second

// TryReceiver tells one configured receiver of an alert that is none, and of its
// end: at once, beside whatever it is owed, and without an entry in the ledger.
// client is Extras.Client. The error is api.ErrNotFound for a name that is not
// configured; what the receiver refuses is in the answer.
func TryReceiver(ctx context.Context, c *config.Config, name string, client *http.Client) (out api.ReceiverTry, err error) {
	i := slices.IndexFunc(c.Receivers, func(r config.Receiver) bool { return r.Name == name && r.NATS == nil })
	if i < 0 {
		return out, fmt.Errorf("%w: receiver %q", api.ErrNotFound, name)
	}
	out.Receiver, out.Steps = name, []api.TryStep{}
	r, err := newReceiver(c, c.Receivers[i], client, nil)
	if err != nil {
		out.Steps = append(out.Steps, api.TryStep{Status: "setup", Error: err.Error()})
		return out, nil
	}
	out.OK = true
	now := time.Now().UTC()
	alert := ledger.Alert{
		Type: "alert", Status: "firing", Rule: "DriftdTest", Severity: "info", StartsAt: now,
		Window: ledger.Window{Start: now, End: now}, Reason: "somebody asked for this test, and nothing is wrong",
	}
	d := ledger.Delivery{Receiver: name, IssuedAt: now}
	for seq, status := range []string{"firing", "resolved"} {
		if alert.Status = status; status == "resolved" {
			alert.EndsAt = &now
		}
		if d.Entry, err = tryEntry(now, uint64(seq), &alert); err != nil {
			return out, err
		}
		d.Seq, d.Order = uint64(seq)+1, alert.DedupKey
		step := api.TryStep{Status: status}
		began := time.Now()
		if d.Receipt, err = within(ctx, r, d); err != nil {
			step.Error, out.OK = err.Error(), false
		}
		step.Took = time.Since(began).Seconds()
		out.Steps = append(out.Steps, step)
		if err != nil {
			break
		}
	}
	return out, nil
}

// tryEntry is an entry of no ledger. The first one's id is the key of both.
func tryEntry(now time.Time, before uint64, a *ledger.Alert) (ledger.Entry, error) {
	chain := ledger.Chain{Seq: before}
	if a.DedupKey == "" {
		a.DedupKey = chain.NextID(now)
	}
	e, err := chain.Append(ledger.Draft{Time: now, Kind: ledger.KindAlert, Body: a})
	e.Seq = 0
	return e, err
}

func within(ctx context.Context, r notify.Receiver, d ledger.Delivery) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, tryWithin)
	defer cancel()
	return r.Try(ctx, d)
}
