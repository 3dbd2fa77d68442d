package daemon

import "time"

// alive notes that the loop has come round.
func (d *Daemon) alive() { d.passed.Store(time.Now().UnixNano()) }

// LastPass returns when the loop last took something up: a batch, a command, a
// commit or the tick of the checkpoint policy, so that of a live daemon it is
// never much older than that tick. Before Run it is the time of New.
func (d *Daemon) LastPass() time.Time { return time.Unix(0, d.passed.Load()) }

// LastProgress returns when the process was last known to get on by itself. What feeds a
// watchdog goes by it, and so only what a restart can mend makes it old: a loop that
// hangs, and, with canaries, a reader or a committer that hangs, seen by canaries that
// the stream has confirmed for minutes while nothing is committed. It stays young for
// what a restart would make no better: NATS away, a full disk, a receiver that refuses, a
// configuration that was refused, a damaged store.
func (d *Daemon) LastProgress() time.Time {
	passed := d.LastPass()
	if d.paused.Load() || d.Status != nil && !d.Status().Ready {
		return passed
	}
	if since := d.canaries.stalled(time.Now()); !since.IsZero() && since.Before(passed) {
		return since
	}
	return passed
}
