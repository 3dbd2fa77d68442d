//go:build real

package store_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"driftd.dev/driftd/pkg/store"
)

// daemons is a user that is not root.
const daemons = 65532

// TestRootOpensTheStoreOfAnother: everything in it stays its owner's, what a root that
// was killed has left there too, but for what has a name elsewhere. It needs root.
func TestRootOpensTheStoreOfAnother(t *testing.T) {
	home := t.TempDir()
	if err := os.Chown(home, daemons, daemons); err != nil {
		t.Fatalf("give a folder away: %v: run as root", err)
	}
	dir := filepath.Join(home, "data") // does not exist yet
	open := func() {
		s, err := store.Open(dir, store.Options{ReserveBytes: -1})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	open()
	secret := filepath.Join(t.TempDir(), "secret")
	for _, name := range []string{secret, filepath.Join(dir, "badger", "left")} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(secret, filepath.Join(dir, "linked")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(secret), filepath.Join(dir, "outside")); err != nil {
		t.Fatal(err)
	}
	open()
	owned := 0
	err := filepath.WalkDir(home, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		want := uint32(daemons)
		switch entry.Name() {
		case "linked", "outside":
			want = 0
		default:
			owned++
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != want || stat.Gid != want {
			t.Errorf("%s belongs to %d:%d, want %d", name, stat.Uid, stat.Gid, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if owned < 8 { // home, data, badger, left, LOCK, STORE.json, MANIFEST, KEYREGISTRY
		t.Errorf("only %d files were looked at", owned)
	}
	if info, err := os.Stat(filepath.Dir(secret)); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("a folder outside of the store was given away: %v", err)
	}
}
