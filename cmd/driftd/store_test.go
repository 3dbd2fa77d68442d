package main

import (
	"testing"
	"time"
)

// TestTooSlow: a start gives up reading a store only when it cannot be done in twice the
// time that there is.
func TestTooSlow(t *testing.T) {
	for _, c := range []struct {
		spent       time.Duration
		done, total uint64
		want        bool
	}{
		{time.Second, 0, 1_000_000, true},
		{time.Second, 100_000, 900_000, false},
		{time.Second, 100_000, 2_000_000, false}, // twice the time: records may become shorter
		{time.Second, 100_000, 2_000_001, true},
		{9 * time.Second, 100_000, 200_000, false},
		{9 * time.Second, 100_000, 100_000, false},
	} {
		if got := tooSlow(c.spent, c.done, c.total); got != c.want {
			t.Errorf("%d of %d records in %v: %v, want %v", c.done, c.total, c.spent, got, c.want)
		}
	}
}
