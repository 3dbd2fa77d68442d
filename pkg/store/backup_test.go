package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"driftd.dev/driftd/pkg/ledger"
	"driftd.dev/driftd/pkg/store"
)

func quiet(_, _ uint64) {}

func backup(t testing.TB, s *store.Store) ([]byte, store.Backup) {
	t.Helper()
	var out bytes.Buffer
	head, err := s.Backup(t.Context(), &out, quiet)
	must(t, err)
	return out.Bytes(), head
}

// TestBackupAndRestore restores a store with something in every table: it is the
// same store, with the same content, and goes on.
func TestBackupAndRestore(t *testing.T) {
	s := open(t, t.TempDir(), small())
	everything(t, s)
	file, head := backup(t, s)
	if id := s.Identity(); head.Store != id || head.Records != verify(t, s).Records+1 {
		t.Errorf("backup of %+v with %d records, want %+v with one more than %d", head.Store, head.Records, id, verify(t, s).Records)
	}
	checked, err := store.CheckBackup(t.Context(), bytes.NewReader(file), quiet)
	must(t, err)
	if diff := cmp.Diff(head, checked); diff != "" {
		t.Errorf("the head as written and as read: %s", diff)
	}
	dir := filepath.Join(t.TempDir(), "new", "store")
	var last, total uint64
	restored, err := store.Restore(t.Context(), dir, bytes.NewReader(file), small(), func(done, of uint64) { last, total = done, of })
	must(t, err)
	if restored.Progress.Seq != head.Progress.Seq || last != total || total != head.Records {
		t.Errorf("restored %d of %d records at message %d, want %d at %d", last, total, restored.Progress.Seq, head.Records, head.Progress.Seq)
	}
	again := open(t, dir, small())
	if again.Identity() != s.Identity() || !verify(t, again).OK() {
		t.Errorf("restored %+v: %v", again.Identity(), verify(t, again).Err())
	}
	if second, _ := backup(t, again); !bytes.Equal(body(second), body(file)) {
		t.Error("a backup of the restored store differs from the one it was made of")
	}
	everything(t, again) // it can be written to
	if entries := names(t, dir); !slices.Equal(entries, []string{"LOCK", "STORE.json", "badger"}) {
		t.Errorf("the directory holds %v", entries)
	}
}

// body is a backup without its head, which holds the time, and without its hash.
func body(file []byte) []byte {
	head := 16 + 4 + int(binary.BigEndian.Uint32(file[16:]))
	return file[head : len(file)-sha256.Size]
}

func names(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestDamagedBackups flips bits and cuts the file off, all over it. Nothing of such
// a backup is ever in the directory, which can be restored into afterwards.
func TestDamagedBackups(t *testing.T) {
	s := open(t, t.TempDir(), small())
	everything(t, s)
	file, _ := backup(t, s)
	dir := t.TempDir()
	refused := func(damaged []byte, what string, at int) {
		t.Helper()
		if _, err := store.CheckBackup(t.Context(), bytes.NewReader(damaged), quiet); !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrNewerSchema) {
			t.Errorf("%s at %d of %d: checked as %v", what, at, len(file), err)
		}
	}
	step := max(1, len(file)/500)
	for i := 0; i < len(file); i += step {
		damaged := slices.Clone(file)
		damaged[i] ^= 1 << (i % 8)
		refused(damaged, "a flipped bit", i)
		refused(file[:i], "a cut", i)
	}
	refused(append(slices.Clone(file), 0), "a byte more", len(file))
	for _, damaged := range [][]byte{nil, file[:len(file)-1], flipped(file, len(file)/2), flipped(file, len(file)-1)} {
		if _, err := store.Restore(t.Context(), dir, bytes.NewReader(damaged), small(), quiet); !errors.Is(err, store.ErrDamaged) {
			t.Errorf("restored as %v, want ErrDamaged", err)
		}
		if got := names(t, dir); !slices.Equal(got, []string{"LOCK"}) {
			t.Errorf("a refused restore left %v", got)
		}
	}
	_, err := store.Restore(t.Context(), dir, bytes.NewReader(file), small(), quiet)
	must(t, err)
}

func flipped(file []byte, at int) []byte {
	out := slices.Clone(file)
	out[at] ^= 1
	return out
}

func TestRestoreRefuses(t *testing.T) {
	s := open(t, t.TempDir(), small())
	everything(t, s)
	file, head := backup(t, s)
	if _, err := store.Restore(t.Context(), s.Dir(), bytes.NewReader(file), small(), quiet); !errors.Is(err, store.ErrLocked) {
		t.Errorf("into a store that is open: %v, want ErrLocked", err)
	}
	must(t, s.Close())
	if _, err := store.Restore(t.Context(), s.Dir(), bytes.NewReader(file), small(), quiet); !errors.Is(err, store.ErrOccupied) {
		t.Errorf("into a store: %v, want ErrOccupied", err)
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "hmac.key"), []byte("kept"), 0o600))
	must(t, os.MkdirAll(filepath.Join(dir, "RESTORE", "badger"), 0o700)) // of a restore that was killed

	full := small()
	full.ReserveBytes, full.Free = 1<<20, func(string) (int64, error) { return 0, nil }
	if _, err := store.Restore(t.Context(), dir, bytes.NewReader(file), full, quiet); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("onto a full disk: %v, want ErrNoSpace", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := store.Restore(ctx, dir, bytes.NewReader(file), small(), func(done, _ uint64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v, want Canceled", err)
	}
	head.Store.Schema++
	raw, err := json.Marshal(head)
	must(t, err)
	newer := append(binary.BigEndian.AppendUint32(slices.Clone(file[:16]), uint32(len(raw))), raw...)
	if _, err := store.Restore(t.Context(), dir, bytes.NewReader(newer), small(), quiet); !errors.Is(err, store.ErrNewerSchema) {
		t.Errorf("a newer schema: %v, want ErrNewerSchema", err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"LOCK", "hmac.key"}) {
		t.Errorf("refused restores left %v", got)
	}
	_, err = store.Restore(t.Context(), dir, bytes.NewReader(file), small(), quiet)
	must(t, err)
	if got := names(t, dir); !slices.Equal(got, []string{"LOCK", "STORE.json", "badger", "hmac.key"}) {
		t.Errorf("the restore left %v", got)
	}
}

// An installation that was cut off between its two steps has made the store.
func TestInstallCutOff(t *testing.T) {
	s := open(t, t.TempDir(), small())
	everything(t, s)
	want := verify(t, s)
	must(t, s.Close())
	must(t, os.Remove(filepath.Join(s.Dir(), "STORE.json")))
	if got := verify(t, open(t, s.Dir(), small())); !got.OK() || got.Records != want.Records {
		t.Errorf("without STORE.json: %d records, want %d: %v", got.Records, want.Records, got.Err())
	}
}

// TestBackupBesideCommits takes backups while a writer commits round after round:
// each holds one whole round, and nothing of the next. The short memory table makes
// Badger rotate, flush and compact meanwhile.
func TestBackupBesideCommits(t *testing.T) {
	s := open(t, t.TempDir(), store.Options{MemTableBytes: 1 << 20})
	ctx, cancel := context.WithCancel(t.Context())
	first, wrote := make(chan struct{}), make(chan error, 1)
	go func() {
		var chain ledger.Chain
		b, edges := s.NewBatch(), killEdges()
		for n := uint64(1); ctx.Err() == nil; n++ {
			b.Reset()
			err := killRound(b, n, &chain, edges)
			if err == nil {
				err = s.Commit(b)
			}
			if err != nil {
				wrote <- err
				return
			}
			if n == 3 {
				close(first)
			}
		}
		wrote <- nil
	}()
	<-first
	var seqs []uint64
	for range 5 {
		file, head := backup(t, s)
		dir := t.TempDir()
		_, err := store.Restore(t.Context(), dir, bytes.NewReader(file), store.Options{MemTableBytes: 1 << 20}, quiet)
		must(t, err)
		restored := open(t, dir, store.Options{MemTableBytes: 1 << 20})
		r, err := restored.Resume()
		must(t, err)
		if r.Progress.Seq != head.Progress.Seq {
			t.Errorf("restored at %d, the head says %d", r.Progress.Seq, head.Progress.Seq)
		}
		verifyCheckpoint(t, restored, head.Progress.Seq)
		seqs = append(seqs, head.Progress.Seq)
	}
	cancel()
	must(t, <-wrote)
	if !slices.IsSorted(seqs) || seqs[0] == seqs[len(seqs)-1] {
		t.Errorf("backups of rounds %d: nothing was written beside them", seqs)
	}
}

// TestCompact gives back the space of what was overwritten many times.
func TestCompact(t *testing.T) {
	dir := t.TempDir()
	o := store.Options{MemTableBytes: 1 << 20, Compactors: -1}
	s := open(t, dir, o)
	var chain ledger.Chain
	b, edges := s.NewBatch(), killEdges()
	for n := uint64(1); n <= 60; n++ {
		b.Reset()
		must(t, killRound(b, n, &chain, edges))
		must(t, s.Commit(b))
	}
	want, _ := backup(t, s)
	must(t, s.Close())
	before, after, err := store.Compact(dir, store.Options{MemTableBytes: 1 << 20})
	must(t, err)
	if after >= before || after == 0 {
		t.Errorf("compacted from %d to %d bytes", before, after)
	}
	t.Logf("%d KiB, %d compacted", before>>10, after>>10)
	again := open(t, dir, o)
	if got, _ := backup(t, again); !bytes.Equal(body(got), body(want)) || !verify(t, again).OK() {
		t.Error("compaction changed the content")
	}
	if _, _, err := store.Compact(dir, o); !errors.Is(err, store.ErrLocked) {
		t.Errorf("compacting an open store: %v, want ErrLocked", err)
	}
	must(t, again.Close())
	o.ReserveBytes, o.Free = 1, func(string) (int64, error) { return 4096, nil }
	if _, _, err := store.Compact(dir, o); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("compacting without room: %v, want ErrNoSpace", err)
	}
}

// A backup whose reader goes away, or whose asker gives up, ends.
func TestBackupEnds(t *testing.T) {
	s := open(t, t.TempDir(), small())
	everything(t, s)
	if _, err := s.Backup(t.Context(), failing{}, quiet); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("with nobody to read it: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Backup(ctx, failing{}, quiet); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, fs.ErrClosed }
