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
	"detection", "calibration",
}

// Verify reads every record, checks its checksum and compares what is there with
// the directory, so that it also finds what is missing. It reads one snapshot and
// may run beside everything else. at is told after every few records, a mebibyte at
// most, how many of about total are done; it may take its time. The error is ctx's,
// or Badger's; damage is no error.
func (s *Store) Verify(ctx context.Context, at func(done, total uint64)) (v Verification, err error) {
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
		found := directory{generation: want.generation}
		var stretch int64
		err = scanItems(t, nil, func(item *badger.Item) error {
			if stretch += item.EstimatedSize(); v.Records%1024 == 0 || stretch >= stretchBytes {
				if err := ctx.Err(); err != nil {
					return err
				}
				at(v.Records, want.records())
				stretch = 0
			}
			return v.item(item, &found)
		})
		if err == nil {
			v.compare(&want, &found)
			at(v.Records, want.records())
		}
		return err
	})
	return v, wrap(err, "verify store %s", s.dir)
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
	found.add(table, recordHash(xxhash.Sum64(key), value))
}

// compare tells in which tables the directory and what was found differ.
func (v *Verification) compare(want, found *directory) {
	for i := range tables {
		switch w, f := want.tables[i], found.tables[i]; {
		case w.records != f.records:
			v.damaged([]byte(tables[i]), fmt.Sprintf("the table of %s has %d records, the directory of commit %d counts %d", tableNames[i], f.records, want.generation, w.records))
		case w.sum != f.sum:
			v.damaged([]byte(tables[i]), fmt.Sprintf("a record of the table of %s is not the one that commit %d knows", tableNames[i], want.generation))
		}
	}
}

func (v *Verification) damaged(key []byte, problem string) {
	if len(v.Damaged) < maxDamages {
		v.Damaged = append(v.Damaged, Damage{Key: fmt.Sprintf("%.200q", key), Problem: oneLine(problem), Remedy: Remedy})
	}
}

// checkFiles refuses a directory from which Badger would make an empty store or
// which it would make worse: without its MANIFEST it deletes every table.
func checkFiles(data string, sidecar *Identity) error {
	_, err := os.Stat(filepath.Join(data, badger.ManifestFilename))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tables, err := filepath.Glob(filepath.Join(data, "*.sst"))
	if err != nil {
		return err
	}
	if sidecar != nil || len(tables) > 0 {
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
