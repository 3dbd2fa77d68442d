package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"driftd.dev/driftd/pkg/config"
	"driftd.dev/driftd/pkg/daemon"
	"driftd.dev/driftd/pkg/store"
)

// lowDisk is the free space below which the daemon is not ready.
const lowDisk = daemon.ReserveBytes

// size writes bytes for people.
func size(n uint64) string {
	value, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	return fmt.Sprintf("%.4g %s", value, unit)
}

// disk looks at the room where the store is, or will be.
func (d *doctor) disk() {
	dir := existing(d.config.Store.Dir)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		d.note("disk", stateFail, "make the folder for the user that driftd runs as", "%s: %v", dir, err)
		return
	}
	free := st.Bavail * uint64(st.Bsize)
	found := fmt.Sprintf("%s free at %s, %s are kept in reserve", size(free), dir, size(lowDisk))
	switch {
	case free < lowDisk:
		d.note("disk", stateFail, "free some space, or name another folder in store.dir", "%s", found)
	case free < 4*lowDisk:
		d.note("disk", stateWarn, "driftd doctor --plan tells what the fleet needs", "%s", found)
	default:
		d.note("disk", stateOK, "", "%s", found)
	}
}

// existing returns the nearest folder above that is there.
func existing(dir string) string {
	dir, err := filepath.Abs(dir)
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
	}
	return dir
}

// store looks at the folder, its identity and its lock. It does not open the
// store: that would write.
func (d *doctor) store() {
	dir := d.config.Store.Dir
	raw, err := os.ReadFile(filepath.Join(dir, "STORE.json"))
	if errors.Is(err, fs.ErrNotExist) {
		if above := existing(dir); unix.Access(above, unix.W_OK) != nil {
			d.note("store", stateFail, "make "+dir+" for the user that driftd runs as", "none in %s yet, and %s cannot be written", dir, above)
			return
		}
		d.note("store", stateOK, "", "none in %s yet: the first start makes it", dir)
		return
	}
	var id store.Identity
	if err == nil {
		err = json.Unmarshal(raw, &id)
	}
	if err != nil {
		d.note("store", stateFail, "restore the folder from a backup", "%s: %v", dir, err)
		return
	}
	if id.Schema > store.Schema {
		d.note("store", stateFail, "use the newer driftd, or a backup of before the upgrade", "%s has schema %d, this driftd reads up to %d", dir, id.Schema, store.Schema)
		return
	}
	info, err := os.Stat(dir)
	if err != nil {
		d.note("store", stateFail, "", "%v", err)
		return
	}
	found := fmt.Sprintf("%s, schema %d, made %s", dir, id.Schema, id.Created.Format("2006-01-02"))
	pid, locked := lockHolder(dir)
	switch {
	case locked && d.api == nil:
		d.note("store", stateWarn, "if that is no driftd, stop it; if it is, say where it listens with --server", "%s; in use by process %s, and no daemon answers", found, pid)
	case info.Mode().Perm()&0o077 != 0:
		d.note("store", stateWarn, "chmod 700 "+dir, "%s; others may enter it (%s)", found, info.Mode().Perm())
	case locked:
		d.note("store", stateOK, "", "%s; in use by process %s", found, pid)
	default:
		d.note("store", stateOK, "", "%s; not in use", found)
	}
}

// lockHolder tells whether a process has the store open, and which.
func lockHolder(dir string) (pid string, locked bool) {
	f, err := os.Open(filepath.Join(dir, "LOCK"))
	if err != nil {
		return "", false
	}
	defer func() { _ = f.Close() }() // gives a lock back that we got
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err == nil {
		return "", false
	}
	text := make([]byte, 16)
	n, _ := f.Read(text) // only for the message
	return string(bytes.TrimSpace(text[:n])), true
}

// receivers looks whether secrets are there and names resolve. It sends nothing.
func (d *doctor) receivers(ctx context.Context) {
	if len(d.config.Receivers) == 0 {
		d.note("receivers", stateOK, "", "none: decisions go out as signals on NATS only")
	}
	for _, r := range d.config.Receivers {
		check := "receiver " + r.Name
		addresses, err := d.addresses(r)
		if err != nil {
			d.note(check, stateFail, "write the secret into that file, readable for the user that driftd runs as", "%v", err)
			continue
		}
		if len(addresses) == 0 {
			d.note(check, stateOK, "", "publishes on NATS")
			continue
		}
		d.resolve(ctx, check, addresses)
	}
}

// addresses returns where a receiver is reached. Those of Slack are secrets: only
// their hosts may be shown.
func (d *doctor) addresses(r config.Receiver) (out []string, err error) {
	switch {
	case r.Slack != nil && r.Slack.Bot():
		_, err := d.config.Read(r.Slack.Token, r.Slack.TokenFile)
		return []string{cmp.Or(r.Slack.URL.Reveal(), "https://slack.com")}, err
	case r.Email != nil:
		if r.Email.Username != "" {
			_, err = d.config.Read(r.Email.Password, r.Email.PasswordFile)
		}
		return []string{"smtp://" + r.Email.Server}, err
	case r.Slack != nil:
		hook, err := d.config.Read(r.Slack.WebhookURL, r.Slack.WebhookURLFile)
		return []string{hook}, err
	case r.PagerDuty != nil:
		_, err := d.config.Read(r.PagerDuty.RoutingKey, r.PagerDuty.RoutingKeyFile)
		return []string{r.PagerDuty.URL.Reveal()}, err
	case r.Webhook != nil:
		for _, secret := range []config.Source{
			d.config.Source(r.Webhook.Secret, r.Webhook.SecretFile), d.config.Source(r.Webhook.NextSecret, r.Webhook.NextSecretFile),
		} {
			if _, failed := secret(); !errors.Is(failed, config.ErrNoSecret) {
				err = errors.Join(err, failed)
			}
		}
		return []string{r.Webhook.URL.Reveal()}, err
	case r.Heartbeat != nil:
		address, err := d.config.Read(r.Heartbeat.URL, r.Heartbeat.URLFile)
		return []string{address}, err
	case r.Alertmanager != nil:
		for _, u := range r.Alertmanager.URLs {
			out = append(out, u.Reveal())
		}
	}
	return out, nil
}

func (d *doctor) resolve(ctx context.Context, check string, addresses []string) {
	ctx, cancel := d.patience(ctx)
	defer cancel()
	var hosts []string
	for _, address := range addresses {
		u, err := url.Parse(address)
		if err != nil || u.Hostname() == "" {
			d.note(check, stateFail, "write an address such as https://hooks.example/path", "its address has no host")
			return
		}
		if net.ParseIP(u.Hostname()) == nil {
			if _, err := net.DefaultResolver.LookupHost(ctx, u.Hostname()); err != nil {
				d.note(check, stateFail, "correct the address, or the resolver of this machine", "%v", err)
				return
			}
		}
		hosts = append(hosts, u.Hostname())
	}
	d.note(check, stateOK, "", "%s resolves; nothing was sent", strings.Join(hosts, ", "))
}

// ports looks whether the addresses to listen on are free, or the daemon's.
func (d *doctor) ports(ctx context.Context) {
	for _, p := range []struct{ name, address string }{
		{"http.listen", d.config.HTTP.Listen}, {"http.metrics_listen", d.config.HTTP.MetricsListen},
	} {
		if p.address == "" {
			continue
		}
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", p.address)
		switch {
		case err == nil:
			_ = l.Close() // it was only tried
			d.note(p.name, stateOK, "", "%s is free", p.address)
		case errors.Is(err, unix.EADDRINUSE) && d.api != nil:
			d.note(p.name, stateOK, "", "%s is in use, as it should be while the daemon runs", p.address)
		case errors.Is(err, unix.EADDRINUSE):
			d.note(p.name, stateFail, "ss -ltnp shows who listens; stop it or choose another port", "%s is in use by another program", p.address)
		default:
			d.note(p.name, stateFail, "choose another address", "%v", err)
		}
	}
}
