package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A store belongs to the user whose directory it is in, also when root opens it: a
// file of root's would keep the daemon, which is nobody in particular, from starting.

// makeDir makes a store's directory if there is none. What root makes belongs to the
// owner of the folder that it is in.
func makeDir(dir string) error {
	_, err := os.Stat(dir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if !errors.Is(err, fs.ErrNotExist) || os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(filepath.Dir(filepath.Clean(dir)))
	if err != nil {
		return err
	}
	uid, gid := owner(info)
	return os.Lchown(dir, uid, gid)
}

// handBack gives what root has made in a directory to the directory's owner.
func handBack(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // nothing is written through it
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	uid, gid := owner(info)
	if uid == 0 {
		return nil
	}
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() && !entry.Type().IsRegular() {
			return err
		}
		return give(root, name, uid, gid)
	})
	if err != nil {
		return fmt.Errorf("give the files in %s to its owner, user %d: %w", dir, uid, err)
	}
	return nil
}

// give changes the owner of a file of root's. The directory's owner may have laid a
// trap in it: so nothing outside of root is followed, and a file that has another name
// elsewhere stays root's.
func give(root *os.Root, name string, uid, gid int) error {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it is not written
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if user, _ := owner(info); user != 0 || !info.IsDir() && info.Sys().(*syscall.Stat_t).Nlink > 1 {
		return nil
	}
	return file.Chown(uid, gid)
}

func owner(info fs.FileInfo) (uid, gid int) {
	stat := info.Sys().(*syscall.Stat_t) // of a file of this system
	return int(stat.Uid), int(stat.Gid)
}
