#!/bin/sh
# Stop the unit when the package goes, not when it is upgraded (deb: upgrade, rpm: 1).
set -e
case "$1" in upgrade | 1) exit 0 ;; esac
if [ -d /run/systemd/system ]; then
  systemctl disable --now driftd.service
fi
