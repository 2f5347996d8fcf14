#!/bin/bash
# Runs a command of this project with the real Home Assistant, which is installed where it is not there yet.
#
#   tools/home-assistant/with-home.sh COMMAND ARGUMENT…
#
# SOUNDPOST_TEST_HOMEASSISTANT: the folder in which it is, or is to be installed (.tmp/homeassistant)
#
# In a network of its own, in which there is nothing but loopback, so that nothing can reach anything else.
set -euo pipefail
cd "$(dirname "$0")/../.."
export SOUNDPOST_TEST_HOMEASSISTANT=${SOUNDPOST_TEST_HOMEASSISTANT:-$PWD/.tmp/homeassistant}
if [ ! -e "$SOUNDPOST_TEST_HOMEASSISTANT/version" ]; then
  tools/home-assistant/install.sh "$SOUNDPOST_TEST_HOMEASSISTANT"
fi
user=()
if [ "$(id -u)" -ne 0 ]; then user=(--map-root-user); fi
# Home Assistant speaks to its neighbours by multicast, and complains where there is no way for that.
exec unshare "${user[@]}" --net sh -c '
  ip link set lo up multicast on
  ip route add 224.0.0.0/4 dev lo
  exec "$@"' sh "$@"
