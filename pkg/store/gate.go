package store

import (
	"sync"
	"time"
)

// A gate is what everybody who uses Badger goes through, so that its files are not
// unmapped under a reader. Growing makes users wait outside while Badger is exchanged,
// closing turns them away for good. One goroutine at a time waits for the users to
// leave: Store.growing sees to that.
type gate struct {
	mu     sync.Mutex // guards the fields below; never held over I/O
	users  int
	fault  error         // turns away whoever enters; nil: none
	opened chan struct{} // closed when the pause ends; nil: there is none
	empty  chan struct{} // closed when the last user leaves; nil: nobody waits for it
	asked  chan struct{} // closed when users are asked to leave; nil: none looks
}

// enter lets a user in, behind a pause if there is one. Whoever enters must leave, and
// must not enter again before: it would wait for the pause, and the pause for it.
func (g *gate) enter() error {
	for {
		g.mu.Lock()
		fault, opened := g.fault, g.opened
		if fault == nil && opened == nil {
			g.users++
		}
		g.mu.Unlock()
		if fault != nil || opened == nil {
			return fault
		}
		<-opened
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users--; g.users == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// pause keeps new users outside and waits for those inside to leave. When they have not
// after the given time it lets everybody in again and reports false.
func (g *gate) pause(most time.Duration) bool {
	g.mu.Lock()
	g.opened = make(chan struct{})
	if g.asked == nil {
		g.asked = make(chan struct{})
	}
	close(g.asked)
	g.mu.Unlock()
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-g.emptied():
		return true
	case <-late.C:
		g.resume(nil)
		return false
	}
}

// resume ends a pause. A fault turns everybody away from now on.
func (g *gate) resume(fault error) {
	g.shut(fault)
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.opened)
	g.opened, g.asked = nil, nil
}

// wanted returns what is closed when a pause waits for the user who asks. One who reads
// for long leaves then.
func (g *gate) wanted() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asked == nil {
		g.asked = make(chan struct{})
	}
	return g.asked
}

// shut turns away whoever enters from now on, unless fault is nil, and reports whether
// it is the first that does.
func (g *gate) shut(fault error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault != nil {
		return false
	}
	g.fault = fault
	return true
}

// emptied returns what is closed when nobody is inside.
func (g *gate) emptied() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	empty := make(chan struct{})
	if g.users == 0 {
		close(empty)
	} else {
		g.empty = empty
	}
	return empty
}
