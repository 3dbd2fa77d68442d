package main

import (
	"bytes"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"strconv"
)

// serveGC is the garbage collector's GOGC while serving, unless the environment says
// otherwise. Most of the heap is counts that stay, so a third of it as garbage is plenty.
const serveGC = 30

// memoryShare is the part of a control group's limit that the Go runtime may take before
// it collects garbage more often. What is left is for pages of Badger's files, which the
// kernel takes back when it needs them.
const memoryShare = 0.85

// collectMore makes the garbage collector work for a daemon that shares its machine. What
// the environment says in GOGC and GOMEMLIMIT stays.
func (e *env) collectMore() {
	if _, set := e.lookup("GOGC"); !set {
		debug.SetGCPercent(serveGC)
	}
	if _, set := e.lookup("GOMEMLIMIT"); !set {
		if limit := groupLimit("/proc/self/cgroup", "/sys/fs/cgroup"); limit < math.MaxInt64 {
			debug.SetMemoryLimit(int64(memoryShare * float64(limit)))
		}
	}
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
