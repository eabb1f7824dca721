#!/bin/bash
# Makes bridge $NAME with address $ADDRESS; hosts on it reach the outside by NAT.
set -euo pipefail

if ! command -v incus > /dev/null || ! incus list --format=csv > /dev/null; then
  echo "Incus is not running. Run ansible-playbook playbooks/control_node.yml in ansible/, then apply again." >&2
  exit 1
fi

if incus network show "$NAME" > /dev/null 2>&1; then
  holder=$(incus network get "$NAME" user.fraud_owner)
  if [[ $holder != "$OWNER" && ( -z $holder || -d $holder ) ]]; then
    cat >&2 << EOF
Incus has a network $NAME already, and it is not this checkout's: it ${holder:+belongs to }${holder:-was made by something else}.
Nothing was changed. Destroy that lab first${holder:+ (terraform -chdir=$holder destroy)}, or give this one another lab_network
and lab_subnet in ansible/inventory/group_vars/all/network.yml.
EOF
    exit 1
  fi
  echo "$NAME: left by $holder; replaced, with the hosts on it"
  incus list --format=csv --columns=n "user.fraud_owner=$holder" | xargs --no-run-if-empty incus delete --force
  incus network delete "$NAME"
fi

# Whoever asks without a reservation gets an address from the upper end of the network.
incus network create "$NAME" \
  ipv4.address="$ADDRESS" ipv4.nat=true ipv4.dhcp.ranges="$DHCP_RANGE" ipv6.address=none \
  bridge.mtu="$MTU" dns.domain="$DOMAIN" \
  raw.dnsmasq="# incarnation $INCARNATION" user.fraud_owner="$OWNER"

# Each plan reads the incarnation back. If it were missing, every plan would replace the network and every host.
if ! grep -q "$INCARNATION" "$SETTINGS_FILE"; then
  incus network delete "$NAME"
  echo "$NAME: its settings are not in $SETTINGS_FILE; is this run as root, on Incus' own machine?" >&2
  exit 1
fi
