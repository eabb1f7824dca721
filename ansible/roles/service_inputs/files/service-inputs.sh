#!/bin/sh
# Ansible managed
# Tells whether services run with what is there now. It compares content; neither clocks nor the times of files count.
#
#   ExecStartPre=-+/usr/local/sbin/service-inputs note %n FILE...   in a unit: notes what its process is about to read
#   service-inputs changed UNIT...                                  prints a line for each difference: UNIT PATH
#
# A file counts by its content, a link by its target, package:NAME by its version; the unit's own files count too. A
# unit that does not run has no differences. Where the start of the process that runs was not noted, the unit itself is
# the difference (UNIT UNIT).
set -eu
umask 077
notes=${SERVICE_INPUTS_DIR:-/run/service-inputs}

# Prints "DIGEST PATH" for each path.
digests() {
  for path in "$@"; do
    if [ "$path" != "${path#package:}" ]; then
      echo "$(dpkg-query --show --showformat '${Version}' "${path#package:}" 2>/dev/null || echo missing) $path"
    elif [ -L "$path" ]; then
      echo "$(readlink "$path") $path"
    elif [ -f "$path" ]; then
      echo "$(sha256sum <"$path" | cut -d ' ' -f 1) $path"
    else
      echo "missing $path"
    fi
  done
}

show() {
  systemctl show --property "$2" --value "$1"
}

unit_files() {
  show "$1" FragmentPath
  show "$1" DropInPaths
}

note() {
  unit=$1
  shift
  mkdir -p "$notes"
  {
    echo "$INVOCATION_ID"
    digests "$@"
    # until daemon-reload, systemd starts the process by the unit that it has read, not by the changed file
    if [ "$(show "$unit" NeedDaemonReload)" = yes ]; then
      for path in $(unit_files "$unit"); do echo "outdated $path"; done
    else
      # shellcheck disable=SC2046 # several words
      digests $(unit_files "$unit")
    fi
  } >"$notes/$unit"
}

changed() {
  unit=$1
  case $(show "$unit" ActiveState) in
    active | activating | reloading) ;;
    *) return ;;
  esac
  if [ "$(show "$unit" InvocationID)" != "$(head -n 1 "$notes/$unit" 2>/dev/null)" ]; then
    echo "$unit $unit"
    return
  fi
  noted=$(tail -n +2 "$notes/$unit")
  # shellcheck disable=SC2046 # several words
  now=$(digests $(printf '%s\n' "$noted" | cut -d ' ' -f 2) $(unit_files "$unit"))
  # lines that only one of the two has
  { echo "$noted" | sort -u; echo "$now" | sort -u; } | sort | uniq -u | cut -d ' ' -f 2 | sort -u | sed "s|^|$unit |"
}

command=${1:?give note or changed}
shift
case $command in
  note) note "$@" ;;
  changed) for one in "$@"; do changed "$one"; done ;;
  *)
    echo "service-inputs: unknown command $command; there are note and changed" >&2
    exit 64
    ;;
esac
