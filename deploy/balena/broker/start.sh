#!/bin/sh
# Starts mosquitto with one user, named by the same variables that Soundpost logs in with.
set -eu
if [ -z "${SOUNDPOST_MQTT_USERNAME:-}" ] || [ -z "${SOUNDPOST_MQTT_PASSWORD:-}" ]; then
  echo "start-broker: set SOUNDPOST_MQTT_USERNAME and SOUNDPOST_MQTT_PASSWORD for the whole fleet; without them nobody may log in." >&2
  # Not a loop of restarts: a change of the variables restarts the container.
  exec sleep infinity
fi
umask 077
mosquitto_passwd -b -c /tmp/passwords "$SOUNDPOST_MQTT_USERNAME" "$SOUNDPOST_MQTT_PASSWORD"
unset SOUNDPOST_MQTT_PASSWORD
if [ "$(id -u)" -eq 0 ]; then
  chown mosquitto: /tmp/passwords
  chown -R mosquitto: /mosquitto
  exec setpriv --reuid=mosquitto --regid=mosquitto --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \
    mosquitto -c /etc/mosquitto/mosquitto.conf
fi
exec mosquitto -c /etc/mosquitto/mosquitto.conf
