package daemon

import (
	"sync"

	"github.com/rs/zerolog"

	"driftd.dev/driftd/pkg/notify"
)

// An attemptLog logs when a receiver begins to fail, when it is told again, and
// what is given up: a line a change of state, none a try.
type attemptLog struct {
	log zerolog.Logger

	mu      sync.Mutex
	failing map[string]bool // by receiver; guarded by mu
}

// observe hears of an attempt, on the receiver's goroutine.
func (l *attemptLog) observe(a notify.Attempt) {
	failed := a.Outcome.Err != nil
	l.mu.Lock()
	changed := failed != l.failing[a.Receiver]
	l.failing[a.Receiver] = failed
	l.mu.Unlock()
	line := func(e *zerolog.Event) *zerolog.Event {
		return e.Str("receiver", a.Receiver).Uint64("entry", a.Delivery.Seq).Str("reason", string(a.Outcome.Reason))
	}
	switch {
	case a.Outcome.Result == notify.Dead:
		line(l.log.Error()).Err(a.Outcome.Err).Msg("a delivery was given up; it is a dead letter now")
	case changed && failed:
		line(l.log.Warn()).Err(a.Outcome.Err).Time("next", a.Outcome.At).Msg("a receiver could not be told; driftd tries again until it can")
	case changed:
		l.log.Info().Str("receiver", a.Receiver).Msg("a receiver is told again")
	}
}
