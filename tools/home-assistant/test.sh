#!/bin/bash
# Runs the tests with the real Home Assistant: all of them, or the compiled files that are named.
#
# SOUNDPOST_TEST_HOMEASSISTANT: the folder in which it is, or is to be installed (.tmp/homeassistant)
set -euo pipefail
cd "$(dirname "$0")/../.."
files=("$@")
if [ ${#files[@]} -eq 0 ]; then files=(dist/test/homeassistant/*.test.js); fi
exec tools/home-assistant/with-home.sh \
  npx tap run --disable-coverage --reporter=tap --timeout=1800 --jobs=1 "${files[@]}"
