#!/bin/sh
# Runs a command as the user "node", without capabilities and without a way back. Only root needs that: for everybody
# else the command just runs.
#
#   as-node COMMAND [ARGUMENT]…
set -eu

user=node

if [ "$(id -u)" -ne 0 ]; then
  exec "$@"
fi

# The group that may use the microphones has another number on another system: theirs counts, Debian's is added.
groups=$(getent group audio | cut -d: -f3)
for node in /dev/snd/*; do
  [ -c "$node" ] || continue
  group=$(stat -c %g "$node")
  case ",$groups,0," in *",$group,"*) ;; *) groups="$groups,$group" ;; esac
done

export HOME="/home/$user" USER="$user" LOGNAME="$user"
exec setpriv --reuid="$(id -u "$user")" --regid="$(id -g "$user")" --groups="$groups" --no-new-privs \
  --inh-caps=-all --bounding-set=-all "$@"
