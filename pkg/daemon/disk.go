package daemon

import (
	"golang.org/x/sys/unix"

	"driftd.dev/driftd/pkg/api"
)

// lowDisk is the free space below which driftd is not ready: Badger writes
// through memory maps, and a full disk kills the process.
const lowDisk = 256 << 20

// disk measures the room left where the store is.
func (d *Daemon) disk() api.Disk {
	var st unix.Statfs_t
	if err := unix.Statfs(d.Store.Dir(), &st); err != nil {
		return api.Disk{State: "unknown"}
	}
	out := api.Disk{Free: st.Bavail * uint64(st.Bsize), State: "ok"}
	if out.Free < lowDisk {
		out.State = "low"
	}
	return out
}
