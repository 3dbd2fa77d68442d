package daemon

import (
	"fmt"
	"strings"
	"time"

	"driftd.dev/driftd/pkg/api"
)

// Vitals are what is known of every organ of driftd at one moment. They say whether a
// heartbeat may be sent: Checks is the whole decision.
type Vitals struct {
	Now   time.Time
	Every time.Duration // between two canaries, and so between two heartbeats; 0: driftd does not watch itself

	Canary     time.Time // when the newest canary that is committed was published; zero: none came back
	Judged     time.Time // when the one was published whose arrival made the rule judge the one before
	LastCommit time.Time // zero before the first
	Lag        uint64    // messages in the stream that are not committed
	Oldest     time.Time // since when the oldest notification has been owed; zero: none is
	Troubles   []Trouble // of receivers, but those of heartbeats
	Disk       string    // api.Disk.State
	Reloaded   bool      // the last configuration read was accepted
	Verified   bool      // what decisions are made of has been found undamaged
}

// A Trouble is a receiver that has confirmed nothing since its last failure.
type Trouble struct {
	Receiver string
	Since    time.Time // of its first failure since it confirmed something
	GivenUp  bool      // a notification was lost for it: refused, or expired
	Reason   string    // of the last failure
}

// Bounds of Checks.
const (
	beatIntervals = 2 // that a canary, a judgement and a commit may be old
	commitWithin  = 30 * time.Second
	oweWithin     = 5 * time.Minute // that a notification may be owed
)

// Checks returns a check an organ, all of them, in a fixed order. A heartbeat is sent
// only while every one is OK.
func (v Vitals) Checks() []api.Check {
	return []api.Check{
		v.fresh(api.OrganCanary, "the last canary that came back was published", v.Canary, beatIntervals*v.Every),
		v.fresh(api.OrganRules, "the rule on canaries fired for one that was closed", v.Judged, beatIntervals*v.Every),
		v.commits(),
		v.owes(),
		v.receivers(),
		check(api.OrganDisk, v.Disk == "ok" || v.Disk == "low", "the disk is "+v.Disk),
		check(api.OrganConfig, v.Reloaded, pick(v.Reloaded, "the last configuration read was accepted", "the last configuration read was refused")),
		check(api.OrganStore, v.Verified, pick(v.Verified, "the store is trusted", "the store is not verified yet, or was found damaged")),
	}
}

func check(organ string, ok bool, detail string) api.Check {
	return api.Check{Organ: organ, OK: ok, Detail: detail}
}

func pick(ok bool, good, bad string) string {
	if ok {
		return good
	}
	return bad
}

// ago words an age for people.
func (v Vitals) ago(t time.Time) string {
	return max(0, v.Now.Sub(t)).Round(time.Second).String() + " ago"
}

// fresh checks that something is not older than a bound.
func (v Vitals) fresh(organ, what string, t time.Time, bound time.Duration) api.Check {
	if t.IsZero() {
		return check(organ, false, "none yet: it takes two intervals after a start")
	}
	return check(organ, v.Now.Sub(t) <= bound, fmt.Sprintf("%s %s, at most %s", what, v.ago(t), bound))
}

// commits checks that what is read becomes durable. Without a backlog there may be
// nothing to commit.
func (v Vitals) commits() api.Check {
	if v.Lag == 0 {
		return check(api.OrganCommit, true, "everything in the stream is committed")
	}
	bound := max(commitWithin, beatIntervals*v.Every)
	if v.LastCommit.IsZero() {
		return check(api.OrganCommit, false, fmt.Sprintf("nothing is committed yet, %d messages behind", v.Lag))
	}
	return check(api.OrganCommit, v.Now.Sub(v.LastCommit) <= bound, fmt.Sprintf("the last commit was %s, at most %s; %d messages behind", v.ago(v.LastCommit), bound, v.Lag))
}

// owes checks that notifications leave.
func (v Vitals) owes() api.Check {
	if v.Oldest.IsZero() {
		return check(api.OrganNotifier, true, "no notification is owed")
	}
	return check(api.OrganNotifier, v.Now.Sub(v.Oldest) <= oweWithin, fmt.Sprintf("the oldest notification owed was decided %s, at most %s", v.ago(v.Oldest), oweWithin))
}

// receivers checks that each has confirmed something since it failed. A failure that a
// retry mends within an interval is none.
func (v Vitals) receivers() api.Check {
	var faults []string
	for _, t := range v.Troubles {
		switch {
		case t.GivenUp:
			faults = append(faults, fmt.Sprintf("%s did not take a notification that is given up now, and none since (%s)", t.Receiver, t.Reason))
		case v.Now.Sub(t.Since) > v.Every:
			faults = append(faults, fmt.Sprintf("%s has failed since %s (%s)", t.Receiver, v.ago(t.Since), t.Reason))
		}
	}
	if len(faults) > 0 {
		return check(api.OrganReceivers, false, strings.Join(faults, "; "))
	}
	return check(api.OrganReceivers, true, "no receiver fails")
}
