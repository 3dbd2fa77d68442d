package daemon

import "time"

// alive notes that the loop has come round.
func (d *Daemon) alive() { d.passed.Store(time.Now().UnixNano()) }

// LastPass returns when the loop last took something up: a batch, a command, a
// commit or the tick of the checkpoint policy, so that of a live daemon it is
// never much older than that tick. Before Run it is the time of New. A service
// manager's watchdog is fed from it.
func (d *Daemon) LastPass() time.Time { return time.Unix(0, d.passed.Load()) }
