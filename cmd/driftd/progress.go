package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progressEvery is the time between two progress lines that programs read.
const progressEvery = 5 * time.Second

// A progress shows on stderr how far long work has come: as a bar on a terminal,
// else as one JSON line every 5 s. It belongs to one goroutine.
type progress struct {
	what  string
	unit  string
	total int64 // 0 or less = unknown
	start time.Time
	last  time.Time
	lines io.Writer // nil unless in JSON
	bar   *progressbar.ProgressBar
}

// newProgress begins to show the progress of work of so many units.
func (e *env) newProgress(what, unit string, total int64) *progress {
	now := time.Now()
	p := &progress{what: what, unit: unit, total: total, start: now, last: now}
	mode := e.progress
	if mode == "auto" {
		mode = "json"
		if terminal(e.err) {
			mode = "bar"
		}
	}
	switch {
	case e.quiet || mode == "none":
	case mode == "json":
		p.lines = e.err
	default:
		if total <= 0 {
			total = -1
		}
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(e.err), progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionFullWidth())
	}
	return p
}

// at says that done units are done.
func (p *progress) at(done int64) {
	switch {
	case p.bar != nil:
		_ = p.bar.Set64(done) // a bar that cannot be drawn is no reason to stop
	case p.lines != nil && time.Since(p.last) >= progressEvery:
		p.line(done)
	}
}

// reach is at for work that tells how much there is.
func (p *progress) reach(done, total uint64) {
	p.total = int64(total)
	if p.bar != nil {
		p.bar.ChangeMax64(p.total)
	}
	p.at(int64(done))
}

// A progressLine is the JSON form of a progress.
type progressLine struct {
	Progress string  `json:"progress"`
	Done     int64   `json:"done"`
	Total    *int64  `json:"total"` // null = unknown
	Unit     string  `json:"unit"`
	Rate     float64 `json:"rate_per_s"`
	ETA      *int64  `json:"eta_s"`
	Elapsed  int64   `json:"elapsed_s"`
}

func (p *progress) line(done int64) {
	p.last = time.Now()
	elapsed := p.last.Sub(p.start)
	l := progressLine{Progress: p.what, Done: done, Unit: p.unit, Rate: float64(done) / elapsed.Seconds(), Elapsed: int64(elapsed.Seconds())}
	if p.total > 0 {
		l.Total = &p.total
		if done > 0 {
			eta := int64(elapsed.Seconds() * float64(p.total-done) / float64(done))
			l.ETA = &eta
		}
	}
	if text, err := json.Marshal(l); err == nil {
		fmt.Fprintln(p.lines, string(text))
	}
}

// end removes the bar.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish() // as in at
	}
}
