#!/bin/sh
# The unit is not started: the configuration comes first. One that runs is
# restarted with the new version.
set -e
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl try-restart driftd.service
fi
