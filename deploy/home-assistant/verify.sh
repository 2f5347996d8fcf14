#!/usr/bin/env bash
# Builds the image of the app (and the one that it begins with) and shows that it works with what the Supervisor gives
# it, without a Supervisor, a Docker engine and a registry. Needs root on Debian or Ubuntu, and the program built
# (npm ci && npm run build). For another processor than this one's it is built, but not started.
#
# Takes what deploy/balena/verify.sh takes: --arch, --keep, --no-build and the VERIFY_… variables.
#
#   deploy/home-assistant/verify.sh
exec "$(dirname "$0")/../balena/verify.sh" --app "$@"
