#!/bin/sh
# The unit is not started: the configuration comes first. One that runs is restarted
# with the new version; if that refuses the configuration, the package is installed
# all the same: a package that is half installed stops all others too.
set -e
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl try-restart driftd.service || echo 'driftd is installed, and did not start again: systemctl status driftd' >&2
fi
