#!/bin/sh
# "soundpost" in the container. The health check and the dashboard's terminal call it as root: it goes on as the user
# of the service, so that what it writes to /data is the service's own.
exec as-node node /app/dist/src/main.js "$@"
