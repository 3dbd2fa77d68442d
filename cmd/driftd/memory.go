package main

import (
	"bytes"
	"context"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"time"
)

// garbage is how many bytes of it the collector leaves lying while serving, unless the
// environment says otherwise: much of a small heap, where collecting often would slow
// the counting, and little of a large one, which is counts that stay.
const (
	garbage   = 40 << 20
	mostGOGC  = 100
	leastGOGC = 15
	// tuneEvery is how often GOGC is set for the heap as it is.
	tuneEvery = 5 * time.Second
)

// gogc returns GOGC for a heap of which so many bytes live.
func gogc(live uint64) int {
	return int(max(leastGOGC, min(mostGOGC, 100*garbage/max(live, 1))))
}

// memoryShare is the part of a control group's limit that the Go runtime may take before
// it collects garbage more often. What is left is for pages of Badger's files, which the
// kernel takes back when it needs them.
const memoryShare = 0.85

// collectMore makes the garbage collector work for a daemon that shares its machine,
// until ctx ends. What the environment says in GOGC and GOMEMLIMIT stays.
func (e *env) collectMore(ctx context.Context) {
	if _, set := e.lookup("GOGC"); !set {
		tuneGC()
		go func() {
			tick := time.NewTicker(tuneEvery)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					tuneGC()
				}
			}
		}()
	}
	if _, set := e.lookup("GOMEMLIMIT"); !set {
		if limit := groupLimit("/proc/self/cgroup", "/sys/fs/cgroup"); limit < math.MaxInt64 {
			debug.SetMemoryLimit(int64(memoryShare * float64(limit)))
		}
	}
}

// tuneGC sets GOGC for what the last collection found alive.
func tuneGC() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	debug.SetGCPercent(gogc(live[0].Value.Uint64()))
}

// groupLimit returns the memory in bytes that the process's control group may use, the
// least of it and of those above; math.MaxInt64 when nobody has set one. groups is
// /proc/self/cgroup, root where the groups of cgroups(7), version 2, are mounted.
func groupLimit(groups, root string) int64 {
	limit := int64(math.MaxInt64)
	raw, err := os.ReadFile(groups)
	if err != nil {
		return limit
	}
	for line := range bytes.Lines(raw) {
		name, found := bytes.CutPrefix(bytes.TrimSpace(line), []byte("0::"))
		if !found {
			continue // of version 1
		}
		for group := path.Clean("/" + string(name)); ; group = path.Dir(group) {
			limit = min(limit, readLimit(filepath.Join(root, group, "memory.max")))
			if group == "/" {
				return limit
			}
		}
	}
	return limit
}

// readLimit reads a file that holds a number of bytes, or max.
func readLimit(file string) int64 {
	raw, err := os.ReadFile(file)
	if err != nil {
		return math.MaxInt64 // the root has none
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(raw)), 10, 64)
	if err != nil || n <= 0 {
		return math.MaxInt64
	}
	return n
}
