package api

import (
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// clockTicks is USER_HZ, in which /proc tells CPU time: 100 on every Linux that
// Go runs on.
const clockTicks = 100

// A process is what does not change while it lives.
type process struct {
	started time.Time
}

func newProcess() process { return process{started: time.Now()} }

// runtimeStats are the numbers of the process itself.
type runtimeStats struct {
	goroutines, heap, total, gcCycles float64
	cpu, resident, virtual, fds       float64 // NaN-free: proc is false when they are unknown
	maxFDs, start                     float64
	proc                              bool
}

var runtimeSamples = []string{
	"/sched/goroutines:goroutines", "/memory/classes/heap/objects:bytes", "/memory/classes/total:bytes", "/gc/cycles/total:gc-cycles",
}

func readRuntime(p *process) runtimeStats {
	samples := make([]metrics.Sample, len(runtimeSamples))
	for i, name := range runtimeSamples {
		samples[i].Name = name
	}
	metrics.Read(samples)
	value := func(i int) float64 {
		if samples[i].Value.Kind() == metrics.KindUint64 {
			return float64(samples[i].Value.Uint64())
		}
		return 0
	}
	out := runtimeStats{goroutines: value(0), heap: value(1), total: value(2), gcCycles: value(3), start: seconds(p.started)}
	out.readProc()
	return out
}

// readProc reads what Linux tells of a process; elsewhere it is left out.
func (s *runtimeStats) readProc() {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return
	}
	_, rest, ok := strings.Cut(string(stat), ") ") // the name before it may hold anything
	fields := strings.Fields(rest)                 // from field 3 of proc(5) on
	if !ok || len(fields) < 22 {
		return
	}
	number := func(field int) float64 {
		x, _ := strconv.ParseFloat(fields[field-3], 64)
		return x
	}
	s.cpu = (number(14) + number(15)) / clockTicks
	s.virtual, s.resident = number(23), number(24)*float64(os.Getpagesize())
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		s.fds = float64(len(fds))
	}
	if limits, err := os.ReadFile("/proc/self/limits"); err == nil {
		for line := range strings.Lines(string(limits)) {
			if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
				if words := strings.Fields(rest); len(words) > 0 {
					s.maxFDs, _ = strconv.ParseFloat(words[0], 64)
				}
			}
		}
	}
	s.proc = true
}

func processFamilies() []Family {
	gauge := func(name, help string, f func(*runtimeStats) float64) Family {
		return Family{Name: name, Type: "gauge", Help: help, series: func(s *scrape, emit emitter) { emit(f(&s.runtime)) }}
	}
	proc := func(f Family) Family {
		all := f.series
		f.series = func(s *scrape, emit emitter) {
			if s.runtime.proc {
				all(s, emit)
			}
		}
		return f
	}
	counter := func(f Family) Family { f.Type = "counter"; return f }
	return []Family{
		counter(proc(gauge("process_cpu_seconds_total", "CPU time of user and system that the process took.", func(s *runtimeStats) float64 { return s.cpu }))),
		proc(gauge("process_resident_memory_bytes", "Memory of the process in RAM.", func(s *runtimeStats) float64 { return s.resident })),
		proc(gauge("process_virtual_memory_bytes", "Address space of the process.", func(s *runtimeStats) float64 { return s.virtual })),
		proc(gauge("process_open_fds", "File descriptors in use.", func(s *runtimeStats) float64 { return s.fds })),
		proc(gauge("process_max_fds", "File descriptors that the process may use.", func(s *runtimeStats) float64 { return s.maxFDs })),
		gauge("process_start_time_seconds", "Unix time at which the process started.", func(s *runtimeStats) float64 { return s.start }),
		{
			Name: "go_info", Type: "gauge", Help: "Always 1; the label tells Go's version.", Labels: []string{"version"},
			series: func(_ *scrape, emit emitter) { emit(1, runtime.Version()) },
		},
		gauge("go_goroutines", "Goroutines that exist.", func(s *runtimeStats) float64 { return s.goroutines }),
		gauge("go_memory_heap_bytes", "Memory of live and not yet swept objects.", func(s *runtimeStats) float64 { return s.heap }),
		gauge("go_memory_mapped_bytes", "Memory that the Go runtime has mapped.", func(s *runtimeStats) float64 { return s.total }),
		counter(gauge("go_gc_cycles_total", "Garbage collections that were completed.", func(s *runtimeStats) float64 { return s.gcCycles })),
	}
}
