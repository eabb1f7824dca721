#!/bin/sh
# Ansible managed
# Waits before the next start if a service failed within a minute of this one, 2 s longer each time and 20 s at most. systemd
# can do so by itself from version 254 on.
#
#   ExecStopPost=/usr/local/sbin/service-restart-delay %n
#
# shellcheck disable=SC2154 # systemctl gives the numbers, systemd the result
set -eu
eval "$(systemctl show --property=NRestarts,ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic "${1:?}")"
lived_us=$((ExecMainExitTimestampMonotonic - ExecMainStartTimestampMonotonic))
if [ "$SERVICE_RESULT" != success ] && [ "$lived_us" -lt 60000000 ]; then
  sleep "$((NRestarts < 10 ? 2 * NRestarts : 20))"
fi
