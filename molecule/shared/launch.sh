#!/bin/sh
# launch.sh LOCK NETWORK KEY=VALUE... -- ARGUMENTS: launches a container on the scenarios' network, and makes the
# network first where it is missing. Both under a lock, as a scenario that ends deletes a network without containers.
set -eu
exec 9>"$1"
flock 9
shift
network=$1
shift
settings=
while [ "$1" != -- ]; do
  settings="$settings $1"
  shift
done
shift
if ! incus network show "$network" >/dev/null 2>&1; then
  # no setting has a space
  # shellcheck disable=SC2086
  incus network create "$network" $settings
fi
exec incus launch --quiet --network="$network" "$@"
