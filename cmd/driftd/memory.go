package main

import (
	"context"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"
)

// garbage is how many bytes of it the collector leaves lying while serving, unless the
// environment says otherwise: much of a small heap, where collecting often would slow
// the counting, and little of a large one, which is counts that stay.
const (
	garbage   = 24 << 20
	mostGOGC  = 400
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
// /proc/self/cgroup, root where the groups of cgroups(7) are mounted: those of version 2,
// or those of version 1 with a folder for each controller. Where both are, only one of
// them has memory's files.
func groupLimit(groups, root string) int64 {
	limit := int64(math.MaxInt64)
	raw, err := os.ReadFile(groups)
	if err != nil {
		return limit
	}
	for line := range strings.Lines(string(raw)) {
		_, line, _ := strings.Cut(strings.TrimSpace(line), ":") // the number of the hierarchy
		controllers, name, _ := strings.Cut(line, ":")
		switch {
		case controllers == "": // version 2
			limit = min(limit, leastLimit(root, name, "memory.max", "memory.high"))
		case slices.Contains(strings.Split(controllers, ","), "memory"):
			limit = min(limit, leastLimit(filepath.Join(root, "memory"), name, "memory.limit_in_bytes"))
		}
	}
	return limit
}

// leastLimit returns the least number in the files of a group and of those above it.
// In a container its own group may be the root, whatever its name is outside.
func leastLimit(root, name string, files ...string) int64 {
	limit := int64(math.MaxInt64)
	for group := path.Clean("/" + name); ; group = path.Dir(group) {
		for _, file := range files {
			limit = min(limit, readLimit(filepath.Join(root, group, file)))
		}
		if group == "/" {
			return limit
		}
	}
}

// readLimit reads a file that holds a number of bytes, or max. Version 1 writes the
// largest multiple of a page for none, which is no limit either.
func readLimit(file string) int64 {
	raw, err := os.ReadFile(file)
	if err != nil {
		return math.MaxInt64 // the root has none
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/2 {
		return math.MaxInt64
	}
	return n
}
