package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// A daemon that has failed failuresMost times within failuresWithin does not try
// once more: it stays up and says why.
const (
	failuresMost   = 3
	failuresWithin = 5 * time.Minute
)

// The files of store.dir in which serve remembers how it ended.
const (
	failuresName = "FAILURES.json" // failures, oldest first
	crashName    = "CRASH"         // what the Go runtime writes when it gives up, in the middle of anything
)

// A failure is an end of serve that nobody had asked for.
type failure struct {
	At    time.Time `json:"at"`
	Cause string    `json:"cause"`
}

// A record remembers the failures of serve over restarts. A process that was killed
// leaves none: it did not fail. What cannot be written is not remembered.
type record struct {
	dir      string
	failures []failure
	crash    *os.File
}

// openRecord reads the failures of the last minutes, that of a run which crashed
// among them, and takes care that a crash of this one is found by the next.
func openRecord(dir string, now time.Time) (*record, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	r := &record{dir: dir}
	raw, err := os.ReadFile(r.path(failuresName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		_ = json.Unmarshal(raw, &r.failures) // cut off: begin anew
	}
	for len(r.failures) > 0 && now.Sub(r.failures[0].At) > failuresWithin {
		r.failures = r.failures[1:]
	}
	if err := r.takeCrash(now); err != nil {
		return nil, err
	}
	if r.crash, err = os.OpenFile(r.path(crashName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	return r, debug.SetCrashOutput(r.crash, debug.CrashOptions{})
}

func (r *record) path(name string) string { return filepath.Join(r.dir, name) }

// takeCrash makes a failure of the report of a crash, which stays for people.
func (r *record) takeCrash(now time.Time) error {
	report, err := os.ReadFile(r.path(crashName))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(report) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	kept := r.path(crashName + ".last")
	if err := os.Rename(r.path(crashName), kept); err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(report), "\n") // of a signal, such as that of a watchdog
	return r.add(now, fmt.Sprintf("it crashed: %s (%s)", cmp.Or(panicLine(string(report)), first), kept))
}

// degraded returns why serve must not try again, "" if it may.
func (r *record) degraded() string {
	if len(r.failures) < failuresMost {
		return ""
	}
	last := r.failures[len(r.failures)-1]
	return fmt.Sprintf("driftd failed %d times within %v, last at %s: %s. Mend that, then restart driftd (systemctl restart driftd): it starts as usual again",
		len(r.failures), failuresWithin, last.At.UTC().Format(time.RFC3339), last.Cause)
}

// end notes how a run ended. One that was asked to end has mended, or will, what
// was before. Faults that a restart cannot help, and that cost nothing, are none.
func (r *record) end(now time.Time, err error) error {
	switch codeOf(err) {
	case codeOK:
		return r.write(nil)
	case codeUsage, codeLocked, codeConfig:
		return nil
	}
	return r.add(now, err.Error())
}

func (r *record) add(now time.Time, cause string) error {
	return r.write(append(r.failures, failure{now.UTC(), cause}))
}

func (r *record) write(failures []failure) error {
	r.failures = failures
	if len(failures) == 0 {
		if err := os.Remove(r.path(failuresName)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	raw, err := json.Marshal(failures)
	if err != nil {
		return err
	}
	return os.WriteFile(r.path(failuresName), append(raw, '\n'), 0o600)
}

// close lets the runtime write to stderr alone.
func (r *record) close() error {
	return errors.Join(debug.SetCrashOutput(nil, debug.CrashOptions{}), r.crash.Close())
}
