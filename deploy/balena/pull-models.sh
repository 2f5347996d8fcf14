#!/bin/sh
# Puts the models named in SOUNDPOST_MODELS into a folder, ready to be bundled with the program: ID, or ID@SHA256
# where the catalogue knows no digest. Called while the image is built, as root: "soundpost" would go on as "node",
# who may not write where the models are to be.
set -eu
target=$1
mkdir -p "$target"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wanted=${SOUNDPOST_MODELS:-}
# The program would take it for a setting.
unset SOUNDPOST_MODELS
for entry in $(printf '%s' "$wanted" | tr ',' ' '); do
  id=${entry%%@*}
  set -- "$id" --data-dir "$work"
  case $entry in *@*) set -- "$@" --accept-digest "${entry#*@}" ;; esac
  node /app/dist/src/main.js models pull "$@"
  mv "$work/models/$id" "$target/$id"
done
