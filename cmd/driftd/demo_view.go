package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/notify/fakes"
)

// now is the demo clock since its start: the end of the last scene.
func (t *story) now() time.Duration {
	if t.last == nil {
		return 0
	}
	return t.traffic.Elapsed(t.last.Models[0].MaxTime)
}

// justBefore reports whether the last scene ended where the next one brings
// something that begins at.
func (t *story) justBefore(at time.Duration) bool { return t.now() < at && t.now() >= at-sceneLength }

// over reports whether the traffic has ended and driftd has caught up with it.
func (t *story) over() bool {
	return t.last != nil && t.traffic.Events() == t.published && t.last.Stream.CommittedSeq >= t.published
}

// manifests counts the retrainings asked for whose manifest names data and
// baseline.
func (t *story) manifests() (n int) {
	for _, e := range t.entries {
		var r ledger.Retrain
		if e.Kind == ledger.KindRetrain && json.Unmarshal(e.Body, &r) == nil && r.Suppressed == "" && r.Manifest.Data.ToSeq > 0 && r.Manifest.Baseline != "" {
			n++
		}
	}
	return n
}

func open(i fakes.Incident) bool { return i.Status != "resolved" }

// A pace holds events back until the demo clock has reached their time.
type pace struct {
	speed   float64
	origin  int64 // demo time of began, Unix nanoseconds
	began   time.Time
	shown   time.Time
	sent    int
	sentAt  time.Time
	perSec  float64
	current int64
}

func newPace(speed float64, start time.Time) *pace {
	now := time.Now()
	return &pace{speed: speed, origin: start.UnixNano(), began: now, shown: now, sentAt: now}
}

// showEvery is the time between two looks at the status line.
const showEvery = 250 * time.Millisecond

// until waits for the demo clock and calls show now and then.
func (p *pace) until(ctx context.Context, at int64, show func(now time.Time, rate float64)) error {
	p.current = at
	p.sent++
	for {
		if now := time.Now(); now.Sub(p.shown) >= showEvery {
			p.perSec = float64(p.sent) / now.Sub(p.sentAt).Seconds()
			p.shown, p.sentAt, p.sent = now, now, 0
			show(time.Unix(0, at).UTC(), p.perSec)
		}
		if p.speed == 0 {
			return ctx.Err()
		}
		wait := time.Duration(float64(at-p.origin)/p.speed) - time.Since(p.began)
		if wait <= 0 {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(wait, showEvery)):
		}
	}
}

// A statusLine is the last line of a terminal, drawn again and again; anywhere
// else it is not drawn.
type statusLine struct {
	w     io.Writer
	on    bool
	drawn bool
}

func newStatusLine(w io.Writer, p demoPlan) *statusLine {
	return &statusLine{w: w, on: terminal(w) && !p.headless}
}

func (l *statusLine) show(now time.Time, rate float64, t *story) {
	if !l.on {
		return
	}
	snap := t.instance.Snapshot()
	var models []string
	for _, m := range snap.Models {
		models = append(models, m.Model+" "+m.Status)
	}
	l.clear()
	fmt.Fprintf(l.w, "%s  demo clock %g×  %.0f events/s  %s", now.Format("15:04:05"), t.plan.speed, rate, strings.Join(models, ", "))
	l.drawn = true
}

// clear removes the line, so that something can be printed in its place.
func (l *statusLine) clear() {
	if l.drawn {
		fmt.Fprint(l.w, "\r\x1b[2K")
		l.drawn = false
	}
}
