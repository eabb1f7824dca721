#!/bin/bash
# Deletes instance $NAME, if it is there and still $OWNER's.
set -euo pipefail

if ! holder=$(incus config get "$NAME" user.fraud_owner 2> /dev/null); then
  # The instance is gone, or Incus does not answer: then this fails.
  incus list --format=csv > /dev/null
  exit 0
fi
if [[ $holder != "$OWNER" ]]; then
  echo "$NAME: belongs to ${holder:-something else} by now, left alone"
  exit 0
fi
incus delete --force "$NAME"
