package api_test

import (
	"net/netip"
	"testing"
	"time"

	"driftd.dev/driftd/pkg/api"
)

// However many addresses guess, no more than 4,096 are remembered, and one that
// was right stays known as long as the wrong ones make the room.
func TestAttemptsAreBounded(t *testing.T) {
	a := api.NewAttempts()
	known := netip.MustParseAddr("10.0.0.1")
	a.Note(known, start, true)
	addr := netip.MustParseAddr("11.0.0.0")
	for range 20_000 {
		a.Note(addr, start, false)
		addr = addr.Next()
		if a.Len() > 4096 {
			t.Fatalf("%d addresses", a.Len())
		}
	}
	if a.Wait(addr, start) == 0 {
		t.Error("after 20,000 wrong ones at once an unknown address need not wait")
	}
	if a.Wait(known, start) != 0 {
		t.Error("an address that was right must wait for others")
	}
	if a.Wait(addr, start.Add(time.Hour)) != 0 {
		t.Error("an hour later it must still wait")
	}
}

// The addresses of one customer, a /64 of IPv6, are one.
func TestAttemptsOfAPrefix(t *testing.T) {
	a := api.NewAttempts()
	addr := netip.MustParseAddr("2001:db8::1")
	for range 10 {
		a.Note(addr, start, false)
		addr = addr.Next()
	}
	if a.Wait(addr, start) == 0 || a.Wait(netip.MustParseAddr("2001:db8:0:1::1"), start) != 0 {
		t.Error("a /64 is not one address, or two are one")
	}
	if a.Wait(addr, start.Add(-time.Hour)) == 0 {
		t.Error("a clock that goes back forgives guesses")
	}
	if a.Wait(addr, start.Add(2*time.Second)) != 0 { // 2 s leak one of ten
		t.Error("one more guess is allowed every 2 s")
	}
}
