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
func TryReceiver(ctx context.Context, c *config.Config, name string, client *http.Client) (api.ReceiverTry, error) {
	i := slices.IndexFunc(c.Receivers, func(r config.Receiver) bool { return r.Name == name && r.NATS == nil })
	if i < 0 {
		return api.ReceiverTry{}, fmt.Errorf("%w: receiver %q", api.ErrNotFound, name)
	}
	deliveries, err := tryDeliveries(name, time.Now().UTC())
	if err != nil {
		return api.ReceiverTry{}, err
	}
	r, err := newReceiver(c, c.Receivers[i], client, nil)
	out := api.ReceiverTry{Receiver: name, OK: err == nil}
	if err != nil {
		out.Steps = []api.TryStep{{Status: "setup", Error: err.Error()}}
	}
	receipt := ""
	for n, status := range []string{"firing", "resolved"} {
		if !out.OK {
			break
		}
		d := deliveries[n]
		d.Receipt = receipt
		began := time.Now()
		receipt, err = within(ctx, r, d)
		step := api.TryStep{Status: status, Took: time.Since(began).Seconds()}
		if err != nil {
			step.Error, out.OK = err.Error(), false
		}
		out.Steps = append(out.Steps, step)
	}
	return out, nil
}

// tryReceiver is TryReceiver for a running daemon: a receiver that takes the messages is
// believed to be well again, and what it is owed is tried at once.
func (i *Instance) tryReceiver(ctx context.Context, name string) (api.ReceiverTry, error) {
	out, err := TryReceiver(ctx, i.config.Load(), name, i.extras.Client)
	if err == nil && out.OK {
		i.pulse.forgive(name)
		i.dispatcher.Hurry(name)
	}
	return out, err
}

// tryDeliveries are an alert that is none, and its end: entries of no ledger.
func tryDeliveries(receiver string, now time.Time) (out [2]ledger.Delivery, err error) {
	chain := ledger.Chain{}
	alert := ledger.Alert{
		Type: "alert", Status: "firing", Rule: "DriftdTest", Severity: "info", StartsAt: now, DedupKey: chain.NextID(now),
		Window: ledger.Window{Start: now, End: now}, Reason: "somebody asked for this test, and nothing is wrong",
	}
	for i := range out {
		if i == 1 {
			alert.Status, alert.EndsAt = "resolved", &now
		}
		e, err := chain.Append(ledger.Draft{Time: now, Kind: ledger.KindAlert, Body: alert})
		if err != nil {
			return out, err
		}
		out[i] = ledger.Delivery{Receiver: receiver, Seq: e.Seq, Order: alert.DedupKey, IssuedAt: now}
		e.Seq = 0
		out[i].Entry = e
	}
	return out, nil
}

func within(ctx context.Context, r notify.Receiver, d ledger.Delivery) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, tryWithin)
	defer cancel()
	return r.Try(ctx, d)
}
