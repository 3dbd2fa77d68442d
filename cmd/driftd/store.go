package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/store"
)

// A verdict is the JSON of store verify, by the contract.
type verdict struct {
	OK       bool           `json:"ok"`
	Complete bool           `json:"complete"` // every record was read
	Records  uint64         `json:"records"`  // read
	Damaged  []store.Damage `json:"damaged"`
}

func newStoreCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Look after the store: verify, back up, restore, rebuild, compact",
		Long: `The store holds what driftd has counted and decided. A backup is also taken beside a
running daemon; the other commands need the store for themselves: stop the daemon
first.`,
		Example: "  driftd store backup driftd.backup\n  driftd store verify --store ./data",
	}
	cmd.AddCommand(newStoreVerifyCmd(e), newStoreBackupCmd(e), newStoreRestoreCmd(e), newStoreRebuildCmd(e), newStoreCompactCmd(e))
	return cmd
}

func newStoreVerifyCmd(e *env) *cobra.Command {
	var b backend
	var forStart bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that nothing in the store is damaged or missing",
		Long: `Read every record, check its checksum, and compare what is there with what the last
commit counted: so a record that has vanished is found too. The exit code is 3 when
something is damaged; there is no repair that would not guess numbers. A running
daemon does the same by itself, after its start and every store.verify_every.`,
		Example: "  driftd store verify --store ./data\n  driftd store verify -c driftd.yaml -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := b.existing()
			if err != nil {
				return err
			}
			if forStart {
				return e.verifyForStart(cmd.Context(), dir)
			}
			return e.verifyStore(cmd.Context(), dir)
		},
	}
	b.flags(cmd)
	cmd.Flags().BoolVar(&forStart, "for-start", false, "read only what can be read whole in 10 s, and leave the rest to the daemon")
	return cmd
}

// verifyStore verifies a store and prints what was found. Badger panics in its own
// goroutines on some damage, so a process of its own looks first whether the store
// can be opened at all.
func (e *env) verifyStore(ctx context.Context, dir string) error {
	child, err := tryStore(ctx, dir)
	if err != nil {
		if !errors.Is(err, store.ErrDamaged) {
			return err
		}
		problem := strings.TrimPrefix(err.Error(), store.ErrDamaged.Error()+": ")
		return e.verdict(verdict{Damaged: []store.Damage{{File: dir, Problem: problem, Remedy: store.Remedy}}}, err)
	}
	p := e.newProgress("verify", "records", 0)
	v, err := scanStore(ctx, dir, child.opened, p.reach)
	p.end()
	if err != nil {
		return err
	}
	return e.verdict(verdict{OK: v.OK(), Complete: true, Records: v.Records, Damaged: v.Damaged}, v.Err())
}

// scanStore opens and verifies a store in this process; checked is
// store.Options.TablesChecked, and at is told how far it is.
func scanStore(ctx context.Context, dir string, checked bool, at func(done, total uint64)) (v store.Verification, err error) {
	s, err := store.Open(dir, store.Options{Compactors: -1, ReserveBytes: daemon.ReserveBytes, TablesChecked: checked}) // a full disk would look like damage
	if err != nil {
		return v, err
	}
	v, err = s.Verify(ctx, at)
	return v, errors.Join(err, s.Close())
}

// verdict prints what a verification found; damage is also the command's error.
func (e *env) verdict(v verdict, damage error) error {
	if v.Damaged == nil {
		v.Damaged = []store.Damage{}
	}
	r := result{value: v, items: []any{v}, sheet: sheet{head: []string{"key", "file", "problem", "remedy"}}}
	for _, d := range v.Damaged {
		r.rows = append(r.rows, []any{d.Key, d.File, d.Problem, d.Remedy})
	}
	if v.OK {
		r.sheet = sheet{head: []string{"ok", "records"}, rows: [][]any{{v.OK, v.Records}}}
	}
	if err := e.print(r); err != nil {
		return err
	}
	return damage
}

// scanWithin bounds the verification for which a start waits. What a larger store has is
// read in the background, and here only for as long as it takes to see that it is larger.
const (
	scanWithin = 10 * time.Second
	scanPace   = time.Second // after which the pace is known
)

// verifyForStart is what the child of a start runs: the store is opened, and read whole
// if there is time for that. Opening has compared every table with its checksums, so
// that nothing is left on which Badger panics; a part of the records proves nothing.
func (e *env) verifyForStart(ctx context.Context, dir string) error {
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	var start time.Time
	v, err := scanStore(bounded, dir, false, func(done, total uint64) {
		if start.IsZero() {
			start = time.Now()
		}
		if spent := time.Since(start); spent > scanWithin || spent > scanPace && tooSlow(spent, done, total) {
			cancel()
		}
	})
	complete := !errors.Is(err, context.Canceled)
	if err == nil || !complete && ctx.Err() == nil {
		err = v.Err()
	}
	if err != nil {
		return err
	}
	return writeJSON(e.out, verdict{OK: true, Complete: complete, Records: v.Records, Damaged: []store.Damage{}}, "")
}

// tooSlow reports whether reading the total will certainly take longer than scanWithin:
// records differ in size, so that it may come to twice as many in the time that is left.
func tooSlow(spent time.Duration, done, total uint64) bool {
	return float64(total)/float64(max(done, 1))*spent.Seconds() > 2*scanWithin.Seconds()
}

// An attempt is what a child could do with a store.
type attempt struct {
	opened   bool // and so compared every table with its checksums
	complete bool // and read every record
}

// tryStore opens and verifies a store in a child process. Damage, also damage on
// which the child dies, is ErrDamaged in one line. What else keeps the child from
// opening the store, this process will be told better when it opens it itself.
func tryStore(ctx context.Context, dir string) (a attempt, err error) {
	if _, err := os.Stat(filepath.Join(dir, "badger")); errors.Is(err, fs.ErrNotExist) {
		return attempt{complete: true}, nil // a new store
	}
	self, err := os.Executable()
	if err != nil {
		return a, fmt.Errorf("verify store %s: %w", dir, err)
	}
	var out, problem bytes.Buffer
	child := exec.CommandContext(ctx, self, "store", "verify", "--for-start", "--store", dir)
	child.Stdout, child.Stderr = &out, &problem
	err = child.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return a, ctx.Err()
	case err == nil:
		var v verdict
		if err := json.Unmarshal(out.Bytes(), &v); err != nil {
			return a, fmt.Errorf("verify store %s: %w", dir, err)
		}
		return attempt{opened: true, complete: v.Complete}, nil
	case !errors.As(err, &exit):
		return a, fmt.Errorf("verify store %s: %w", dir, err)
	case code(exit.ExitCode()) == codeRefused:
		return a, childFault{strings.TrimPrefix(lastLine(problem.String()), "driftd: ")}
	case died(exit, problem.String()):
		return a, fmt.Errorf("%w: store %s cannot be opened: %s: %s", store.ErrDamaged, dir, cmp.Or(panicLine(problem.String()), exit.Error()), store.Remedy)
	}
	return a, nil
}

// A childFault is the complaint of a child, already in one line.
type childFault struct{ text string }

func (f childFault) Error() string { return f.text }

func (f childFault) Unwrap() error { return store.ErrDamaged }

// died reports whether a child ended by a signal or a panic, not by its own word.
func died(exit *exec.ExitError, problem string) bool {
	return exit.ExitCode() < 0 || strings.Contains(problem, "\ngoroutine ")
}

// panicLine returns the line of a crash report that says what happened, "" if none
// does.
func panicLine(report string) string {
	for line := range strings.Lines(report) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
