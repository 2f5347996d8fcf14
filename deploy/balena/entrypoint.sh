#!/bin/sh
# Entry point of the container. Started as root it prepares what only root can, then goes on as the user "node"
# without privileges: no process of root stays. Started as another user (user: node) it prepares nothing.
set -eu

user=node

if [ "$(id -u)" -eq 0 ]; then
  # A volume may have been created, or filled by an earlier version or by somebody who was root, with another owner.
  # Links are not followed, and what is mounted below belongs to somebody else.
  if [ -d /data ]; then
    find /data -xdev ! -uid "$(id -u "$user")" -exec chown -h "$user:" {} + ||
      echo "soundpost-entrypoint: not everything in /data can be given to $user" >&2
  fi

  # Where balena looks for the update lock. The mode is the one balena itself gives the folder when it takes the
  # lock; the owners stay, since balena knows its own locks by them.
  if [ -d /tmp/balena ]; then
    chmod 1777 /tmp/balena || echo "soundpost-entrypoint: /tmp/balena cannot be opened for $user" >&2
  fi

  # An engine copies the device nodes of the host when it starts a container: a microphone that is plugged in
  # later has none. A privileged container sees it in the kernel's own list of devices.
  kernel_devices=/dev/.kernel
  if mkdir -p "$kernel_devices" 2>/dev/null && mount -t devtmpfs -o nosuid,noexec none "$kernel_devices" 2>/dev/null; then
    rm -rf /dev/snd && ln -s "$kernel_devices/snd" /dev/snd
  else
    rmdir "$kernel_devices" 2>/dev/null || true
  fi
fi

exec as-node tini -- "$@"
