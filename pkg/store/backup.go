package store

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	badger "github.com/dgraph-io/badger/v4"
)

// A Backup says what a backup is of. It is the head of the file:
//
//	16 bytes  "driftd backup 1\n"
//	u32       length of the head, big-endian like all numbers
//	          head, JSON: Backup
//	then for each record of the store, in the order of keys:
//	u32       length of the key, never 0
//	u32       length of the value
//	          key and value as they are stored, so with their checksum
//	at the end:
//	u32       0
//	u64       records
//	32 bytes  SHA-256 of everything before
//
// The records are all of one snapshot, the directory among them: what is missing
// from them shows. Nothing in it is Badger's, whose own backups have no checksum.
type Backup struct {
	Store    Identity  `json:"store"`
	Taken    time.Time `json:"taken"`
	Progress Progress  `json:"progress"` // the position, and the counters, that all records reflect; zero before the first commit
	Records  uint64    `json:"records"`
}

const (
	backupMagic    = "driftd backup 1\n"
	backupHeadMost = 16 << 20 // bytes of a head that are believed
	keyMost        = 65_000   // Badger's limit
	valueMost      = 1 << 20  // Options.valueLimit at most
)

// Backup writes the whole store as of one commit to w, beside everything else. at
// is told now and then how many records of total are done. What was written before
// an error is no backup, and nobody takes it for one: its end is missing. When memory
// tables must grow meanwhile that is ErrReopened, however long w takes.
func (s *Store) Backup(ctx context.Context, w io.Writer, at func(done, total uint64)) (head Backup, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	blocks, ended := make(chan []byte), make(chan error, 1)
	go func() {
		defer close(blocks)
		ended <- s.view(func(t *badger.Txn) (err error) {
			head, err = s.readBackup(ctx, t, blocks, at)
			return err
		})
	}()
	var untaken error
	for block := range blocks {
		if _, untaken = w.Write(block); untaken != nil {
			stop()
			break
		}
	}
	err = <-ended
	return head, wrap(cmp.Or(untaken, err), "back up store %s", s.dir)
}

// readBackup hands over, in blocks, what a transaction sees.
func (s *Store) readBackup(ctx context.Context, t *badger.Txn, blocks chan<- []byte, at func(done, total uint64)) (head Backup, err error) {
	if head, err = s.backupHead(t); err != nil {
		return head, err
	}
	wanted := s.gate.wanted()
	out := newBackupWriter(writerFunc(func(b []byte) (int, error) {
		select {
		case blocks <- bytes.Clone(b):
			return len(b), nil
		case <-wanted:
			return 0, ErrReopened
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}))
	if err := out.head(head); err != nil {
		return head, err
	}
	err = scanItems(t, nil, func(item *badger.Item) error {
		if out.records%1024 == 0 {
			if err := goesOn(ctx, wanted); err != nil {
				return err
			}
			at(out.records, head.Records)
		}
		return item.Value(func(value []byte) error { return out.record(item.Key(), value) })
	})
	if err != nil {
		return head, err
	}
	at(out.records, head.Records)
	return head, out.end()
}

// A writerFunc is an io.Writer.
type writerFunc func([]byte) (int, error)

// Write implements io.Writer.
func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// backupHead describes what a transaction sees.
func (s *Store) backupHead(t *badger.Txn) (head Backup, err error) {
	directory, err := readDirectory(t)
	if err != nil {
		return head, err
	}
	head = Backup{Store: s.id, Taken: time.Now().UTC(), Records: directory.records() + 1} // and the directory itself
	return head, optional(readJSON(t, []byte(keyProgress), &head.Progress))
}

// A backupWriter writes the parts of a backup and hashes them.
type backupWriter struct {
	out     *bufio.Writer
	sum     hash.Hash
	records uint64
	err     error // the first one
}

func newBackupWriter(w io.Writer) *backupWriter {
	sum := sha256.New()
	return &backupWriter{out: bufio.NewWriterSize(io.MultiWriter(w, sum), 256<<10), sum: sum}
}

func (w *backupWriter) write(parts ...[]byte) error {
	for _, p := range parts {
		if w.err == nil {
			_, w.err = w.out.Write(p)
		}
	}
	return w.err
}

func (w *backupWriter) head(b Backup) error {
	raw, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode the head: %w", err)
	}
	return w.write([]byte(backupMagic), length(raw), raw)
}

func (w *backupWriter) record(key, value []byte) error {
	w.records++
	return w.write(length(key), length(value), key, value)
}

func (w *backupWriter) end() error {
	err := w.write(length(nil), binary.BigEndian.AppendUint64(nil, w.records))
	if err == nil {
		err = w.out.Flush()
	}
	if err != nil {
		return err
	}
	if err := w.write(w.sum.Sum(nil)); err != nil {
		return err
	}
	return w.out.Flush()
}

func length(b []byte) []byte { return binary.BigEndian.AppendUint32(nil, uint32(len(b))) }

// CheckBackup reads a backup to its end and proves that it is whole: its hash, the
// checksum of every record, and that the records are those of the directory. What
// is not is ErrDamaged. at is as in Backup.
func CheckBackup(ctx context.Context, r io.Reader, at func(done, total uint64)) (Backup, error) {
	b, err := parseBackup(ctx, r, at, func(_, _ []byte) error { return nil })
	return b, wrap(err, "read the backup")
}

// parseBackup hands every record of a backup to fn. Only when it returns nil were
// they those that have been written.
func parseBackup(ctx context.Context, r io.Reader, at func(done, total uint64), fn func(key, value []byte) error) (head Backup, err error) {
	in := &backupReader{in: bufio.NewReaderSize(r, 256<<10), sum: sha256.New()}
	if head, err = in.head(); err != nil {
		return head, err
	}
	var v Verification
	var want, found directory
	for {
		if in.records%1024 == 0 {
			if err := ctx.Err(); err != nil {
				return head, err
			}
			at(in.records, head.Records)
		}
		key, value, err := in.record()
		if err != nil {
			return head, err
		}
		if key == nil {
			break
		}
		if string(key) == keyDirectory {
			payload, err := unseal(key, value)
			if err != nil {
				return head, err
			}
			if want, err = parseDirectory(payload); err != nil {
				return head, err
			}
		}
		v.record(key, value, &found)
		if err := fn(key, value); err != nil {
			return head, err
		}
	}
	if err := in.end(); err != nil {
		return head, err
	}
	at(in.records, head.Records)
	v.compare(nil, &want, &found)
	return head, v.Err()
}

// A backupReader reads the parts of a backup and hashes them.
type backupReader struct {
	in      *bufio.Reader
	sum     hash.Hash
	records uint64
}

func (r *backupReader) take(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(r.in, b)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("%w: the backup is cut off", ErrDamaged)
	case err != nil:
		return nil, err
	}
	r.sum.Write(b)
	return b, nil
}

func (r *backupReader) length(most uint32) (int, error) {
	b, err := r.take(4)
	if err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(b)
	if n > most {
		return 0, fmt.Errorf("%w: the backup has a field of %d bytes, %d at most are written", ErrDamaged, n, most)
	}
	return int(n), nil
}

func (r *backupReader) field(most uint32) ([]byte, error) {
	n, err := r.length(most)
	if err != nil {
		return nil, err
	}
	return r.take(n)
}

func (r *backupReader) head() (head Backup, err error) {
	magic, err := r.take(len(backupMagic))
	if err != nil {
		return head, err
	}
	if string(magic) != backupMagic {
		return head, fmt.Errorf("%w: this is no backup of this format: it begins with %.16q", ErrDamaged, magic)
	}
	raw, err := r.field(backupHeadMost)
	if err != nil {
		return head, err
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return head, fmt.Errorf("%w: the head of the backup: %w", ErrDamaged, err)
	}
	if head.Store.Schema > Schema {
		return head, newer(head.Store)
	}
	return head, nil
}

// record returns the next record, a nil key behind the last.
func (r *backupReader) record() (key, value []byte, err error) {
	n, err := r.length(keyMost)
	if n == 0 || err != nil {
		return nil, nil, err
	}
	size, err := r.length(valueMost)
	if err != nil {
		return nil, nil, err
	}
	both, err := r.take(n + size)
	if err != nil {
		return nil, nil, err
	}
	r.records++
	return both[:n:n], both[n:], nil
}

// end reads the trailer.
func (r *backupReader) end() error {
	count, err := r.take(8)
	if err != nil {
		return err
	}
	if n := binary.BigEndian.Uint64(count); n != r.records {
		return fmt.Errorf("%w: the backup has %d records, its end counts %d", ErrDamaged, r.records, n)
	}
	want := r.sum.Sum(nil)
	sum, err := r.take(sha256.Size)
	if err != nil {
		return err
	}
	if !bytes.Equal(sum, want) {
		return fmt.Errorf("%w: the backup's SHA-256 is %x, its end says %x", ErrDamaged, want, sum)
	}
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the backup goes on behind its end", ErrDamaged)
	}
	return nil
}
