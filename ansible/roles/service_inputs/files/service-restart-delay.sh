#!/bin/sh
# Ansible managed
# Delays the next start of a service that failed within a minute of its start: 2 s longer each time, 20 s at most. From
# version 254 on, systemd can do so by itself.
#
#   ExecStopPost=/usr/local/sbin/service-restart-delay %n
#
# shellcheck disable=SC2154 # systemctl gives the numbers, systemd gives SERVICE_RESULT
set -eu
eval "$(systemctl show --property=NRestarts,ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic "${1:?}")"
lived_us=$((ExecMainExitTimestampMonotonic - ExecMainStartTimestampMonotonic))
if [ "$SERVICE_RESULT" != success ] && [ "$lived_us" -lt 60000000 ]; then
  sleep "$((NRestarts < 10 ? 2 * NRestarts : 20))"
fi
