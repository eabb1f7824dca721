#!/bin/bash
# Launches instance $NAME from $IMAGE, with the config and devices in $INSTANCE (YAML).
set -euo pipefail

if ! incus image info "$IMAGE" > /dev/null 2>&1; then
  echo "Incus has no image $IMAGE. Run ansible-playbook playbooks/control_node.yml in ansible/, then apply again." >&2
  exit 1
fi

if incus info "$NAME" > /dev/null 2>&1; then
  holder=$(incus config get "$NAME" user.fraud_owner)
  if [[ $holder == "$OWNER" ]]; then
    echo "$NAME: left by an apply that did not finish; replaced"
  elif [[ -n $holder && ! -d $holder ]]; then
    echo "$NAME: belonged to $holder, which is gone; replaced"
  else
    cat >&2 << EOF
Incus has an instance $NAME already, and it is not this checkout's: it ${holder:+belongs to }${holder:-was made by something else}.
Nothing was changed. If nobody needs it, delete it (incus delete --force $NAME)${holder:+, or destroy that lab
(terraform -chdir=$holder destroy)}, then apply again.
EOF
    exit 1
  fi
  incus delete --force "$NAME"
fi

incus launch --quiet --no-profiles --storage "$STORAGE_POOL" "$IMAGE" "$NAME" <<< "$INSTANCE"

# Each plan reads the incarnation back. If it were missing, every plan would replace every host.
if ! grep -q "fraud_incarnation: .*$INCARNATION" "$INCUS_DIR/containers/$NAME/backup.yaml"; then
  incus delete --force "$NAME"
  echo "$NAME: $INCUS_DIR/containers/$NAME/backup.yaml does not describe it; is this run as root, on Incus' own machine?" >&2
  exit 1
fi
