package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/store"
)

// storeOptions are those of a command that has the store for itself. It may take as
// long as it takes to close it.
func storeOptions() store.Options {
	return store.Options{ReserveBytes: daemon.ReserveBytes, CloseTimeout: time.Hour}
}

// A copyReport is the JSON of store backup and store restore.
type copyReport struct {
	StoreID string    `json:"store_id"`
	Schema  int       `json:"schema"`
	Taken   time.Time `json:"taken"`
	Stream  string    `json:"stream"`
	Epoch   uint64    `json:"epoch"`
	Seq     uint64    `json:"seq"` // the last message that it reflects
	Records uint64    `json:"records"`
	Path    string    `json:"path"` // of the file, or of the store
}

func (e *env) printCopy(b store.Backup, path string, below ...string) error {
	r := copyReport{b.Store.UUID, b.Store.Schema, b.Taken, b.Progress.Stream, b.Progress.Epoch, b.Progress.Seq, b.Records, path}
	return e.print(result{
		value: r, items: []any{r}, below: below,
		sheet: sheet{head: []string{"store_id", "taken", "stream", "seq", "records", "path"}, rows: [][]any{{r.StoreID, r.Taken.Format(timeLayout), r.Stream, r.Seq, r.Records, r.Path}}},
	})
}

func newStoreBackupCmd(e *env) *cobra.Command {
	var b backend
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup, also beside the running daemon",
		Long: `Write the whole store as of one commit to FILE, "-" for stdout. A running daemon is
asked for it, which needs the role admin, and goes on counting; with the daemon stopped
its store is read. FILE appears when the backup has been written and proven: every
checksum, and that no record is missing. The same command again makes a new one.

A backup holds no secret of the configuration, and not the key that driftd made for
privacy (hmac.key in store.dir): keep that too, or hashed values change. It is worth as
much as the stream behind it: a restored daemon reads on from the message at which the
backup was taken, so let the stream keep its messages longer than you keep backups.`,
		Example: `  driftd store backup /backup/driftd.backup
  driftd store backup --store ./data - | zstd > driftd.backup.zst`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.backup(cmd.Context(), b, args[0])
		},
	}
	b.flags(cmd)
	return cmd
}

// backup takes a backup into a file, or writes it to stdout.
func (e *env) backup(ctx context.Context, b backend, path string) error {
	if path == "-" {
		_, err := e.takeBackup(ctx, b, e.out)
		return err
	}
	part := path + ".part"
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	head, err := e.takeBackup(ctx, b, file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return e.printCopy(head, path)
}

// takeBackup copies a backup to out and proves it on the way.
func (e *env) takeBackup(ctx context.Context, b backend, out io.Writer) (head store.Backup, err error) {
	in, err := e.openBackup(ctx, b)
	if err != nil {
		return head, err
	}
	p := e.newProgress("backup", "records", 0)
	head, err = store.CheckBackup(ctx, io.TeeReader(in, out), p.reach)
	p.end()
	return head, errors.Join(err, in.Close())
}

// openBackup returns a backup that the daemon sends or, when none answers, that is
// made of its store.
func (e *env) openBackup(ctx context.Context, b backend) (io.ReadCloser, error) {
	var away error
	if b.dir == "" {
		c, err := e.client()
		if err != nil {
			return nil, err
		}
		in, err := c.download(ctx, "/api/v1/store/backup")
		if !errors.Is(err, errAway) {
			return in, err
		}
		away = err
	}
	dir, err := b.existing()
	if err != nil {
		if away != nil && errors.Is(err, os.ErrNotExist) {
			err = away
		}
		return nil, err
	}
	child, err := tryStore(ctx, dir)
	if err != nil {
		return nil, err
	}
	o := storeOptions()
	o.TablesChecked = child.opened
	s, err := store.Open(dir, o)
	if err != nil {
		return nil, err
	}
	in, out := io.Pipe()
	own := &ownBackup{PipeReader: in, ended: make(chan error, 1)}
	go func() {
		_, err := s.Backup(ctx, out, func(_, _ uint64) {})
		own.ended <- errors.Join(out.CloseWithError(err), s.Close())
	}()
	return own, nil
}

// An ownBackup is one that this process makes while it is read.
type ownBackup struct {
	*io.PipeReader
	ended chan error
}

// Close ends the making and waits until the store is closed.
func (o *ownBackup) Close() error {
	return errors.Join(o.PipeReader.Close(), <-o.ended)
}

func newStoreRestoreCmd(e *env) *cobra.Command {
	var b backend
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a store from a backup",
		Long: `Make a store from a backup, "-" for stdin, in the directory of --store, or of store.dir.
There must be no store in it: move badger and STORE.json out of the way before; other
files, such as hmac.key, stay. The store is made in RESTORE beside, proven, and only then
moved into place: a backup that is damaged or cut off is exit 3 and changes nothing, and
what was killed can be done again.

The daemon then reads on behind the message at which the backup was taken. What the
stream no longer holds of them is a gap: it is counted and recorded, and the windows that
it touches are incomplete. Alerts that were raised since are raised again with the same
ids, which receivers and the stream DRIFTD take for the repeats that they are.`,
		Example: `  driftd store restore /backup/driftd.backup -c driftd.yaml
  zstd -dc driftd.backup.zst | driftd store restore - --store ./data`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := b.storeDir()
			if err != nil {
				return err
			}
			return e.restore(cmd.Context(), dir, args[0])
		},
	}
	b.flags(cmd)
	return cmd
}

func (e *env) restore(ctx context.Context, dir, path string) error {
	in := e.in
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }() // it was only read
		in = file
	}
	p := e.newProgress("restore", "records", 0)
	head, err := store.Restore(ctx, dir, in, storeOptions(), p.reach)
	p.end()
	if err != nil {
		return err
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	return e.printCopy(head, absolute, fmt.Sprintf("The daemon will read on behind message %d of the stream %s.", head.Progress.Seq, head.Progress.Stream))
}
