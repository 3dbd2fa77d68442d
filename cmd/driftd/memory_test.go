package main

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

func TestGroupLimit(t *testing.T) {
	const none = int64(math.MaxInt64)
	for _, c := range []struct {
		name   string
		groups string            // what /proc/self/cgroup says
		files  map[string]string // memory.max by group, or other files of it
		want   int64
	}{
		{"a container sees its own group as the root", "0::/\n", map[string]string{"": "1073741824\n"}, 1 << 30},
		{"a unit", "0::/system.slice/driftd.service\n", map[string]string{"system.slice/driftd.service": "536870912\n", "system.slice": "max\n"}, 512 << 20},
		{"a slice allows less than its unit", "0::/system.slice/driftd.service\n", map[string]string{"system.slice/driftd.service": "536870912\n", "system.slice": "268435456\n"}, 256 << 20},
		{"no limit", "0::/user.slice\n", map[string]string{"user.slice": "max\n"}, none},
		{"a unit is slowed down before it is killed", "0::/u\n", map[string]string{"u": "8192\n", "u/memory.high": "4096\n"}, 4096},
		{"both versions, memory in the second", "4:cpu:/docker/1\n0::/docker/1\n", map[string]string{"docker/1": "4096\n"}, 4096},
		{"both versions, memory in the first", "4:memory:/docker/1\n0::/docker/1\n", map[string]string{"memory/docker/1/memory.limit_in_bytes": "4096\n"}, 4096},
		{"version 1, seen from outside", "3:cpu,memory:/docker/1\n", map[string]string{"memory/docker/1/memory.limit_in_bytes": "4096\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"}, 4096},
		{"version 1, a container sees its own group alone", "4:memory:/docker/1\n", map[string]string{"memory/memory.limit_in_bytes": "4096\n"}, 4096},
		{"version 1 without a limit", "4:memory:/\n", map[string]string{"memory/memory.limit_in_bytes": "9223372036854771712\n"}, none},
		{"out of the namespace", "0::/../other\n", map[string]string{"": "8192\n"}, 8192},
		{"what is no number", "0::/a\n", map[string]string{"a": "lots\n"}, none},
		{"nothing at all", "", nil, none},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			groups := filepath.Join(root, "groups")
			write(t, groups, c.groups)
			for file, text := range c.files {
				if !strings.HasPrefix(filepath.Base(file), "memory.") {
					file = filepath.Join(file, "memory.max")
				}
				if err := os.MkdirAll(filepath.Join(root, filepath.Dir(file)), 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(root, file), text)
			}
			if got := groupLimit(groups, root); got != c.want {
				t.Errorf("limit %d, want %d", got, c.want)
			}
		})
	}
	if got := groupLimit(filepath.Join(t.TempDir(), "none"), "/"); got != none {
		t.Errorf("without control groups the limit is %d", got)
	}
}

// What an operator has set by the environment is the runtime's business, not ours.
func TestTheEnvironmentTunesTheCollector(t *testing.T) {
	percent, limit := debug.SetGCPercent(77), debug.SetMemoryLimit(math.MaxInt64-1)
	t.Cleanup(func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) })
	environment := map[string]string{"GOGC": "77", "GOMEMLIMIT": "off"}
	e := &env{lookup: func(name string) (string, bool) { text, set := environment[name]; return text, set }}
	e.collectMore(t.Context())
	if got := debug.SetGCPercent(77); got != 77 {
		t.Errorf("GOGC is %d, want that of the environment", got)
	}
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64-1 {
		t.Errorf("the memory limit is %d, want that of the environment", got)
	}
	clear(environment)
	e.collectMore(t.Context())
	if got := debug.SetGCPercent(77); got == 77 || got < leastGOGC || got > mostGOGC {
		t.Errorf("GOGC is %d, want one for this heap", got)
	}
}

// A small heap may double, a large one grows by about the same bytes whatever lives.
func TestGOGC(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 6 << 20: 400, 12 << 20: 200, 40 << 20: 60, 80 << 20: 30, 200 << 20: 15, 1 << 30: 15} {
		if got := gogc(live); got != want {
			t.Errorf("GOGC %d for %d MiB, want %d", got, live>>20, want)
		}
	}
}
