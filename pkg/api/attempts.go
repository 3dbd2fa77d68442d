package api

import (
	"net/netip"
	"sync"
	"time"
)

// What attempts lets through: so many wrong credentials at once, and one more
// each interval. A wrong one is asked for by people who mistype and by programs
// whose token was withdrawn; only guessing needs more.
const (
	attemptBurst      = 10 // of one address
	attemptEvery      = 2 * time.Second
	attemptBurstAll   = 200 // of all addresses that never were right
	attemptEveryAll   = 20 * time.Millisecond
	attemptAddresses  = 4096 // remembered; some 100 bytes each
	attemptPrefixIPv6 = 64   // one customer has so many addresses
)

// attempts limits wrong credentials by address and over all. An address that
// showed a right one is exempt from the limit over all, so that guessing from
// many addresses does not lock out who has been here.
type attempts struct {
	mu     sync.Mutex // guards the rest
	all    bucket
	byAddr map[netip.Prefix]*attempt
}

type attempt struct {
	bucket
	right bool
}

// A bucket leaks one drop each interval.
type bucket struct {
	drops int
	since time.Time // of the last leak
}

func (b *bucket) leak(now time.Time, interval time.Duration) {
	if now.Before(b.since) {
		return
	}
	if b.drops == 0 {
		b.since = now
		return
	}
	n := int(min(now.Sub(b.since)/interval, time.Duration(b.drops)))
	b.drops -= n
	b.since = b.since.Add(time.Duration(n) * interval)
}

func addressKey(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = attemptPrefixIPv6
	}
	p, _ := addr.Prefix(bits) // the zero Prefix for no address: one bucket for all of those
	return p
}

// wait returns how long an address must wait before it may show a credential; 0:
// now.
func (a *attempts) wait(addr netip.Addr, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.byAddr[addressKey(addr)]
	if e != nil {
		if e.leak(now, attemptEvery); e.drops >= attemptBurst {
			return attemptEvery
		}
	}
	if a.all.leak(now, attemptEveryAll); a.all.drops >= attemptBurstAll && (e == nil || !e.right) {
		return time.Second
	}
	return 0
}

// note tells whether the credential was right.
func (a *attempts) note(addr netip.Addr, now time.Time, right bool) {
	key := addressKey(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.byAddr[key]
	if e == nil {
		a.shrink(now)
		e = &attempt{bucket: bucket{since: now}}
		a.byAddr[key] = e
	}
	if right {
		e.right = true
		return
	}
	e.leak(now, attemptEvery)
	e.drops++
	a.all.leak(now, attemptEveryAll)
	a.all.drops++
}

// shrink makes room for one address: first those that have nothing against them
// go, then all that never were right, then all.
func (a *attempts) shrink(now time.Time) {
	if a.byAddr == nil {
		a.byAddr = map[netip.Prefix]*attempt{}
	}
	for _, useless := range []func(*attempt) bool{
		func(e *attempt) bool { e.leak(now, attemptEvery); return !e.right && e.drops == 0 },
		func(e *attempt) bool { return !e.right },
		func(*attempt) bool { return true },
	} {
		if len(a.byAddr) < attemptAddresses {
			return
		}
		for k, e := range a.byAddr {
			if useless(e) {
				delete(a.byAddr, k)
			}
		}
	}
}
