package notify

import (
	"context"
	"sync"
	"time"
)

// A Limiter spaces calls that count against one quota. Receivers that share a
// quota (two with the same PagerDuty key) share one Limiter.
//
// It is the generic cell rate algorithm (ITU-T I.371): the theoretical arrival
// time moves by one interval a call, and a call may be early by burst-1
// intervals.
type Limiter struct {
	every time.Duration
	slack time.Duration

	mu  sync.Mutex
	tat time.Time // theoretical arrival time of the next call; guarded by mu
}

// NewLimiter allows a call every interval, and burst at once after a rest. A
// burst below 1 counts as 1.
func NewLimiter(every time.Duration, burst int) *Limiter {
	return &Limiter{every: every, slack: time.Duration(max(burst, 1)-1) * every}
}

// SlackLimit is Slack's limit for one channel: a message a second.
func SlackLimit() *Limiter { return NewLimiter(time.Second, 1) }

// PagerDutyLimit is PagerDuty's limit for one integration key: 120 events a
// minute, here at most 20 of them at once, so that no minute sees more.
func PagerDutyLimit() *Limiter { return NewLimiter(600*time.Millisecond, 20) }

// wait waits for the next slot and reports whether ctx allowed it to the end.
func (l *Limiter) wait(ctx context.Context) bool {
	wait := l.reserve(time.Now())
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// reserve takes the next slot and returns how long to wait for it. A nil
// Limiter never waits.
func (l *Limiter) reserve(now time.Time) time.Duration {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tat.Before(now) {
		l.tat = now
	}
	wait := max(l.tat.Add(-l.slack).Sub(now), 0)
	l.tat = l.tat.Add(l.every)
	return wait
}
