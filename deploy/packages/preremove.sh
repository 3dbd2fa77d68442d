#!/bin/sh
# Stop the unit when the package goes (deb: remove, rpm: 0), not when it is upgraded or
# only deconfigured for a while. What driftd has counted, in /var/lib/private/driftd, stays.
set -e
case "$1" in remove | 0) ;; *) exit 0 ;; esac
if [ -d /run/systemd/system ]; then
  systemctl disable --now driftd.service
fi
