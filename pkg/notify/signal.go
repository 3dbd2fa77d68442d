package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"driftd.dev/driftd/pkg/ledger"
)

// A Publisher publishes to JetStream.
type Publisher interface {
	// Publish returns nil once the stream has acknowledged the message. id is
	// its Nats-Msg-Id: the server drops a repeat.
	Publish(ctx context.Context, subject, id string, body []byte) error
}

// Signal publishes decisions to machines, on the subjects of the contract.
type Signal struct{ pub Publisher }

// NewSignal returns a Signal that publishes with pub.
func NewSignal(pub Publisher) *Signal { return &Signal{pub: pub} }

// Send implements Sink. An entry without a subject is dead at once.
func (s *Signal) Send(ctx context.Context, d ledger.Delivery) error {
	subject, ok := SignalSubject(d.Entry)
	if !ok {
		return unsendable(fmt.Errorf("entry %d of kind %q has no subject", d.Entry.Seq, d.Entry.Kind))
	}
	body, err := signalBody(d)
	if err != nil {
		return err
	}
	err = s.pub.Publish(ctx, subject, d.Key(), body)
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Reason: ReasonTimeout, Err: fmt.Errorf("publish on %s: %w", subject, err)}
	}
	if err != nil {
		return &Error{Reason: ReasonNetwork, Err: fmt.Errorf("publish on %s: %w", subject, err)}
	}
	return nil
}

// SignalSubject returns the subject of an entry; ok is false for a kind that
// machines are not told of, and for a trigger that was suppressed.
func SignalSubject(e ledger.Entry) (subject string, ok bool) {
	switch e.Kind {
	case ledger.KindAlert:
		return "driftd.alerts." + Token(e.Model), true
	case ledger.KindRetrain, ledger.KindRollback, ledger.KindPromote:
		body, err := decode[struct {
			Suppressed string `json:"suppressed"`
		}](e)
		return "driftd.triggers." + string(e.Kind) + "." + Token(e.Model), err == nil && body.Suppressed == ""
	case ledger.KindNote, ledger.KindBaseline, ledger.KindConfig, ledger.KindEpoch, ledger.KindSilence, ledger.KindIncident, ledger.KindDigest:
	}
	return "", false
}

// Token makes one subject token of a name: every character outside
// [A-Za-z0-9_-] becomes _, and so does an empty name.
func Token(name string) string {
	if name == "" {
		return "_"
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}
