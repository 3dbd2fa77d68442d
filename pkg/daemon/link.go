package daemon

import (
	"context"
	"slices"
	"time"
)

// permissionTold is how long a refusal by NATS's permissions keeps driftd from
// being ready: such a refusal repeats as long as the permission is missing.
const permissionTold = time.Minute

// notLinked lists what is wrong between driftd and the NATS server.
func (d *Daemon) notLinked(now time.Time) []string {
	var reasons []string
	if d.Status != nil && !d.Status().Ready {
		reasons = append(reasons, "nats")
	}
	if d.Link == nil {
		return reasons
	}
	st := d.Link()
	if st.Unauthorized && !st.Connected {
		reasons = append(reasons, "nats_auth")
	}
	if !st.PermissionAt.IsZero() && now.Sub(st.PermissionAt) < permissionTold {
		reasons = append(reasons, "nats_permission")
	}
	return reasons
}

// linkEvery is how often it is looked at whether events can be read.
const linkEvery = 2 * time.Second

// tellLink logs that no events can be read from NATS, and why, and that they can be
// again: who looks into the log of a daemon that does nothing finds it there. What
// heals between two looks is not worth a line.
func (d *Daemon) tellLink(ctx context.Context) {
	tick := time.NewTicker(linkEvery)
	defer tick.Stop()
	var told []string
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			reasons := d.notLinked(now)
			switch {
			case slices.Equal(reasons, told):
			case len(reasons) == 0:
				d.Log.Info().Msg("events are read from NATS again")
			case slices.Contains(reasons, "nats"):
				d.Log.Warn().Strs("reasons", reasons).Str("error", d.linkError()).Msg("no events can be read from NATS; driftd keeps trying")
			default:
				d.Log.Warn().Strs("reasons", reasons).Str("error", d.linkError()).Msg("NATS refuses something that driftd needs; it keeps trying")
			}
			told = reasons
		}
	}
}

// linkError returns the last error that explains what is wrong with NATS.
func (d *Daemon) linkError() string {
	if d.Link != nil {
		switch st := d.Link(); {
		case !st.Connected && st.LastError != "":
			return st.LastError
		case time.Since(st.PermissionAt) < permissionTold:
			return st.Permission
		}
	}
	if d.Status == nil {
		return ""
	}
	return d.Status().Reason
}
