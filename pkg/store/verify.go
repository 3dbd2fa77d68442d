package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cespare/xxhash/v2"
	badger "github.com/dgraph-io/badger/v4"
)

// Remedy is what to do about every damage: there is no repair that would not
// guess numbers.
const Remedy = "move badger and STORE.json away, then restore a backup (driftd store restore) or read the stream again (driftd store rebuild)"

// A Verification is what Verify found.
type Verification struct {
	Records uint64 // read
	Damaged []Damage
}

// OK reports whether nothing is damaged.
func (v Verification) OK() bool { return len(v.Damaged) == 0 }

// Err returns nil, or an ErrDamaged of one line that tells the first damage.
func (v Verification) Err() error {
	if v.OK() {
		return nil
	}
	d, more := v.Damaged[0], ""
	if n := len(v.Damaged) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Errorf("%w: %s%s: %s%s: %s", ErrDamaged, d.Key, d.File, d.Problem, more, d.Remedy)
}

// A Damage is one finding, about a key or a file.
type Damage struct {
	Key     string `json:"key,omitempty"`
	File    string `json:"file,omitempty"`
	Problem string `json:"problem"`
	Remedy  string `json:"remedy"`
}

// stretchBytes are read between two calls of a Verify's at, or less.
const stretchBytes = 1 << 20

// maxDamages bounds what a Verification lists.
const maxDamages = 100

// tableNames are what people call the tables.
var tableNames = [tableCount]string{
	"identity and position", "models", "open panes", "closed panes", "hours", "edges", "dictionaries",
	"baselines", "alerts", "ledger", "deliveries", "dead letters", "ids seen", "learning samples",
	"detection", "calibration", "days", "incidents", "silences", "what was told",
}

// Verify reads every record, checks its checksum and compares what is there with
// the directory, so that it also finds what is missing. It reads one snapshot and
// may run beside everything else. at is told after every few records, a mebibyte at
// most, how many of about total are done; it may take its time. The error is ctx's,
// or Badger's; damage is no error.
func (s *Store) Verify(ctx context.Context, at func(done, total uint64)) (Verification, error) {
	return s.verify(ctx, nil, at)
}

// VerifyNeeded is Verify of every table but those of closed windows, and of these of
// what is needed: that it is there, all of it, and as it was written. It also reads
// some that is not needed. What it leaves out is a question of time, not of trust:
// Verify must follow.
func (s *Store) VerifyNeeded(ctx context.Context, need Need, at func(done, total uint64)) (Verification, error) {
	return s.verify(ctx, need.part(), at)
}

// verify reads a part, or everything if that is nil. It begins again when memory tables
// grow.
func (s *Store) verify(ctx context.Context, p *part, at func(done, total uint64)) (v Verification, err error) {
	for err = ErrReopened; errors.Is(err, ErrReopened); {
		v, err = s.verifyOnce(ctx, p, at)
	}
	return v, wrap(err, "verify store %s", s.dir)
}

func (s *Store) verifyOnce(ctx context.Context, p *part, at func(done, total uint64)) (v Verification, err error) {
	err = s.view(func(t *badger.Txn) (err error) {
		defer func() {
			if r := recover(); r != nil { // of Badger, over a damaged block
				v.Damaged, err = append(v.Damaged, Damage{File: s.dir, Problem: oneLine(fmt.Sprint(r)), Remedy: Remedy}), nil
			}
		}()
		want, err := readDirectory(t)
		switch {
		case errors.Is(err, ErrDamaged), errors.Is(err, ErrNotFound):
			v.damaged([]byte(keyDirectory), err.Error())
		case err != nil:
			return err
		}
		found, total, wanted := directory{generation: want.generation}, p.records(&want), s.gate.wanted()
		var stretch int64
		err = scanPart(t, p, func(item *badger.Item) error {
			if stretch += item.EstimatedSize(); v.Records%1024 == 0 || stretch >= stretchBytes {
				if err := goesOn(ctx, wanted); err != nil {
					return err
				}
				at(v.Records, total)
				stretch = 0
			}
			return v.item(item, &found)
		})
		if err == nil {
			v.compare(p, &want, &found)
			at(v.Records, total)
		}
		return err
	})
	return v, err
}

// goesOn returns why one who reads for long must stop, nil if nothing says so.
func goesOn(ctx context.Context, wanted <-chan struct{}) error {
	select {
	case <-wanted:
		return ErrReopened
	default:
		return ctx.Err()
	}
}

// scanPart hands every item of a part to fn, in key order.
func scanPart(t *badger.Txn, p *part, fn func(*badger.Item) error) error {
	if p == nil {
		return scanItems(t, nil, fn)
	}
	it := t.NewIterator(badger.IteratorOptions{}) // nothing ahead: there is much to be passed over
	defer it.Close()
	for it.Rewind(); it.Valid(); {
		if next := p.next(it.Item().Key()); next != nil {
			it.Seek(next)
			continue
		}
		if err := fn(it.Item()); err != nil {
			return err
		}
		it.Next()
	}
	return nil
}

func (v *Verification) item(item *badger.Item, found *directory) error {
	key := item.Key()
	err := item.Value(func(value []byte) error {
		v.record(key, value, found)
		return nil
	})
	if err != nil {
		v.damaged(key, err.Error())
	}
	return nil
}

// record checks one record and adds it to what was found. The directory is not
// counted, and checked by who reads it.
func (v *Verification) record(key, value []byte, found *directory) {
	if string(key) == keyDirectory {
		return
	}
	v.Records++
	table := tableOf(key)
	if table < 0 {
		v.damaged(key, "it is in no table")
		return
	}
	if _, err := unseal(key, value); err != nil {
		v.damaged(key, strings.TrimPrefix(err.Error(), ErrDamaged.Error()+": "))
	}
	found.add(table, key, recordHash(xxhash.Sum64(key), value))
}

// compare tells in which tables the directory and what was found of a part differ.
func (v *Verification) compare(p *part, want, found *directory) {
	for i := range tables {
		j := shelved(i)
		if p == nil || j < 0 {
			v.compareTally(i, want.generation, want.tables[i], found.tables[i])
			continue
		}
		for k, wanted := range p[j] {
			if wanted {
				v.compareTally(i, want.generation, want.shelves[j][k], found.shelves[j][k])
			}
		}
	}
}

func (v *Verification) compareTally(table int, generation uint64, want, found tally) {
	switch {
	case want.records != found.records:
		v.damaged([]byte(tables[table]), fmt.Sprintf("the table of %s has %d records, the directory of commit %d counts %d", tableNames[table], found.records, generation, want.records))
	case want.sum != found.sum:
		v.damaged([]byte(tables[table]), fmt.Sprintf("a record of the table of %s is not the one that commit %d knows", tableNames[table], generation))
	}
}

func (v *Verification) damaged(key []byte, problem string) {
	if len(v.Damaged) < maxDamages {
		v.Damaged = append(v.Damaged, Damage{Key: fmt.Sprintf("%.200q", key), Problem: oneLine(problem), Remedy: Remedy})
	}
}

// checkFiles refuses a directory from which Badger would make an empty store or
// which it would make worse: without its MANIFEST it deletes every table.
func checkFiles(data string, noted *sidecar) error {
	_, err := os.Stat(filepath.Join(data, badger.ManifestFilename))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tables, err := filepath.Glob(filepath.Join(data, "*.sst"))
	if err != nil {
		return err
	}
	if noted != nil || len(tables) > 0 {
		return fmt.Errorf("%w: %s is missing: %s", ErrDamaged, filepath.Join(data, badger.ManifestFilename), Remedy)
	}
	return nil
}

// openBadger opens Badger's files. What it makes of damage is an error, or a
// panic; only those of its own goroutines get past us.
func openBadger(o badger.Options) (db *badger.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("%w: Badger cannot open it: %s: %s", ErrDamaged, oneLine(fmt.Sprint(r)), Remedy)
		}
	}()
	db, err = badger.Open(o)
	return db, openFault(err)
}

// openFault tells damage, which is all that can be wrong with the content of
// files that we wrote, from what the operating system refuses.
func openFault(err error) error {
	if err == nil {
		return nil
	}
	for _, refusal := range []error{fs.ErrPermission, syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EROFS, syscall.EIO} {
		if errors.Is(err, refusal) {
			return err
		}
	}
	for _, refusal := range []string{"permission denied", "no space left", "too many open files", "cannot allocate memory", "read-only file system", "directory lock"} {
		if strings.Contains(strings.ToLower(err.Error()), refusal) {
			return err
		}
	}
	return fmt.Errorf("%w: Badger cannot open it: %s: %s", ErrDamaged, oneLine(err.Error()), Remedy)
}

// oneLine joins the lines of a text.
func oneLine(text string) string { return string(bytes.Join(bytes.Fields([]byte(text)), []byte(" "))) }
